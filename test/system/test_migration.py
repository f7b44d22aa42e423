# SPDX-License-Identifier: Apache-2.0
"""A guest migrates, live, between two daemons whose networks are joined by a veth pair."""

import os
import subprocess

import pytest

from guest import Copy, Guest, Nic, Ping, TornMemory
from lab import FULL, spread

ROUND_TRIPS = 10 if FULL else 1

# How many migrations QEMU may spoil (guest.py says how), and how many pages each. A back end that
# does not log what it writes spoils every one, by the dozen of pages.
TORN_TRIPS, TORN_PAGES = 6, 40


def ip(*arguments):
    subprocess.run(['ip', *arguments], check=True)


@pytest.fixture
def cable():
    """The two ends of a veth pair."""
    ends = ['xvm%da' % os.getpid(), 'xvm%db' % os.getpid()]
    # DPDK numbers an af_packet device's fanout group by process ^ interface, and groups of two devices must differ: two processes
    # that start one after the other never differ by just this bit.
    index = 20000 + os.getpid() % 10000
    ip('link', 'add', ends[0], 'index', str(index), 'type', 'veth', 'peer', 'name', ends[1], 'index', str(index ^ 0x8000))
    try:
        for end in ends:
            # What the host itself would say here is not for the guests.
            with open('/proc/sys/net/ipv6/conf/%s/disable_ipv6' % end, 'w') as f:
                f.write('1')
            ip('link', 'set', end, 'promisc', 'on', 'up')
        yield ends
    finally:
        ip('link', 'del', ends[0])


@pytest.mark.parametrize('ring', spread(['split'], ['packed']))
def test_there_and_back(labs, cable, ring):
    """Ping and a checksummed copy go on with a guest that stays where it is."""
    sides = []
    for end in cable:
        side = labs({'networks': [{'name': 'blue'}],
                     'ports': [{'name': 'up0', 'kind': 'ethdev', 'network': 'blue',
                                'device': 'net_af_packet0,iface=' + end}]})
        side.add('vm', network='blue')
        sides.append(side)
    sides[0].add('peer', network='blue')
    packed = ring == 'packed'
    peer = sides[0].guest('peer', nic={'packed': packed})
    vm = sides[0].guest('vm', name='vm0', nic={'packed': packed})
    vm.ready().address('10.0.0.1/24')
    peer.ready().address('10.0.0.2/24').reaches('10.0.0.1')
    mac = vm.nics[0].mac

    out = Copy(vm, peer, '10.0.0.2', endless=True)
    back = Copy(peer, vm, '10.0.0.1', endless=True)
    ping = Ping(peer, '10.0.0.1')
    here, there = sides
    downtimes, torn = [], []
    trip = 0
    while trip < 2 * (ROUND_TRIPS if ring == 'split' else min(ROUND_TRIPS, 2)):
        name = 'vm%d' % (trip + len(torn) + 1)
        target = Guest(name, [Nic(there.socket('vm'), mac=mac, packed=packed)],
                       directory=there.dir, incoming=str(there.dir / (name + '.sock')))
        there.guests.append(target)
        target.start()
        try:
            downtimes.append(vm.migrate(target)['downtime'])
        except TornMemory as e:
            torn.append(str(e))
            assert len(torn) <= TORN_TRIPS and len(e.pages) <= TORN_PAGES, '\n'.join(torn)
            there.state('vm', 'waiting')
            peer.reaches('10.0.0.1', 10)
            continue
        trip += 1
        here.state('vm', 'waiting')
        assert there.show('vm')['virtio']['connected']
        # Both daemons know where it is now: from its own frames or the announcement.
        peer.reaches('10.0.0.1', 10)
        assert there.macs('blue')[mac] == ('vm', 0)
        assert sides[0].macs('blue')[mac] == ('vm' if there is sides[0] else 'up0', 0)
        assert out.running() and back.running(), 'a copy broke on trip %d' % trip
        here, there = there, here
    sent, received, gap, figures = ping.stop()
    out.finish()
    back.finish()
    print('downtime ms: %s; spoilt by QEMU: %s; ping: %d of %d, longest gap %.1f s, %s' %
          (downtimes, torn, received, sent, gap, figures))
    assert gap <= 3.0, figures
