# SPDX-License-Identifier: Apache-2.0
"""Policies with traffic: what passes, what is counted, and what a change does to packets under way."""

import itertools
import json
import subprocess
import time

import pytest
from scapy.layers.inet import IP, TCP, UDP, ICMP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from frontend import wait
from xvio import program

A, B = '02:00:00:00:00:0a', '02:00:00:00:00:0b'
serial = itertools.count()


def frame(*layers, src=A, dst=B):
    packet = Ether(src=src, dst=dst)
    for layer in layers:
        packet /= layer
    return bytes(packet / Raw(bytes(64)))


@pytest.fixture
def policy(lab):
    """Makes policies; they go after the test, when no port uses them any more."""
    names = []

    def make(*rules, **keys):
        names.append('pol%d' % next(serial))
        lab.daemon.rpc('policy.add', name=names[-1], rules=list(rules), **keys)
        return names[-1]
    yield make
    lab.close()
    lab.guests, lab.ports, lab.wires, lab.networks = [], [], [], []
    for name in names:
        lab.daemon.rpc('policy.del', name=name)


def pair(lab, first=None, second=None):
    """Two guests on one network, each other's address learned."""
    network = lab.network()
    a, b = (lab.guest(lab.port(network=network, **(keys or {}))) for keys in (first, second))
    for guest, src, dst in (a, A, B), (b, B, A):
        guest.send(frame(ARP(), src=src, dst='ff:ff:ff:ff:ff:ff'))
    time.sleep(0.1)
    for guest in a, b:
        while guest.poll():
            pass
    return a, b


def passes(a, b, data, times=4):
    """How many of the frames arrive; the first ones are decided, later ones are flows, then fused."""
    arrived = 0
    for _ in range(times):
        a.send(data)
        try:
            b.receive(timeout=0.3)
            arrived += 1
        except TimeoutError:
            pass
        time.sleep(0.02)
    return arrived


WEB = {'action': 'allow', 'protocol': 'tcp', 'destination_port': '80-90'}
CASES = [
    (frame(IP(dst='10.0.0.2'), TCP(dport=80)), True),
    (frame(IP(dst='10.0.0.2'), TCP(dport=91)), False),
    (frame(IP(dst='10.0.0.2'), UDP(dport=80)), False),
    (frame(IPv6(dst='2001:db8::2'), TCP(dport=85)), True),
    (frame(IPv6(dst='2001:db8::2'), TCP(dport=8080)), False),
    (frame(IP(dst='10.0.0.2'), ICMP(type=8)), False),
    (frame(Dot1Q(vlan=7), IP(dst='10.0.0.2'), TCP(dport=80)), True),
    (frame(ARP(psrc='10.0.0.1', pdst='10.0.0.2')), False),
]


@pytest.mark.parametrize('direction', ['egress', 'ingress'])
def test_what_passes(lab, policy, direction):
    keys = {direction + '_policy': policy(WEB)}
    if direction == 'egress':
        network = lab.network()
        a = lab.guest(lab.port(network=network, **keys))
        b = lab.guest(lab.port(network=network))
        b.send(frame(ARP(), src=B, dst='ff:ff:ff:ff:ff:ff'))
        a.receive()
    else:
        a, b = pair(lab, second=keys)
    for data, allowed in CASES:
        before = lab.drops(a.port).get('policy', 0)
        assert passes(a, b, data) == (4 if allowed else 0), data.hex()
        assert lab.drops(a.port).get('policy', 0) - before == (0 if allowed else 4)


def test_change_counts_from_the_next_packet(lab, policy):
    name = policy(WEB)
    a, b = pair(lab, {'egress_policy': policy({'action': 'allow'})}, {'ingress_policy': name})
    web, dns = frame(IP(), TCP(dport=80)), frame(IP(), UDP(dport=53))
    assert passes(a, b, web) == 4 and passes(a, b, dns) == 0
    lab.daemon.rpc('policy.set', name=name, rules=[{'action': 'allow', 'protocol': 'udp'}])
    assert passes(a, b, web) == 0 and passes(a, b, dns) == 4
    lab.daemon.rpc('port.set', name=b.port, **{'ingress_policy': None})
    assert passes(a, b, web) == 4 and passes(a, b, dns) == 4


def rules(n, last):
    return [{'action': 'deny', 'protocol': 'udp', 'destination': '10.200.%d.%d/32' % (i >> 8, i & 255),
             'destination_port': 1000 + i} for i in range(n - 1)] + [last]


def test_many_flows_lose_nothing_while_rules_change(lab, policy):
    """20,000 flows behind 1,000 rules at full load; the rules are replaced all the time by others that say the same.

    No more frames are under way than fit in the receiver's ring. Without that bound the load offers a sending ring more, and where
    it and the worker get a CPU in turns only, the rest adds up in the worker until the output has no room: tx-full, rules or not.
    """
    name = policy(*rules(1000, {'action': 'allow', 'protocol': 'udp'}))
    network = lab.network()
    ports = [lab.port(network=network, **{'egress_policy': name}) for _ in range(2)]
    load = subprocess.Popen([program('xvio-load'), '--mode', 'check', '--seconds', '60', '--flows', '20000',
                             '--window', '768']
                            + [s for p in ports for s in ('--port', 'socket=' + lab.path(p))],
                            stdout=subprocess.PIPE, text=True)
    wait(lambda: lab.show(ports[0])['rx_packets'] > 1000, 10, 'traffic')
    changes, begin = 0, time.monotonic()
    while load.poll() is None:
        lab.daemon.rpc('policy.set', name=name,
                       rules=rules(999 + changes % 2, {'action': 'allow', 'protocol': 'udp'}))
        changes += 1
        time.sleep(0.02)
        # a busy machine needs longer for as many
        if time.monotonic() - begin > 5 and changes > 5 and \
                sum(lab.show(p)['rx_packets'] for p in ports) > 110000:
            load.terminate()
    result = json.loads(load.communicate()[0].strip().splitlines()[-1])
    assert result['lost'] == result['reordered'] == result['corrupt'] == 0, result
    assert result['received'] > 100000 and changes > 5
    for port in ports:
        assert not lab.drops(port)
