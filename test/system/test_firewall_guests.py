# SPDX-License-Identifier: Apache-2.0
"""Security groups between real guests: what may open a connection does, what a rule change cuts is cut, all else
goes on.

Three guests on one network, booted once: a is a client of the server b; c is somebody else. They offload: what
connection tracking sees of a copy is segments of up to 64 kB.
"""

import itertools
import os
import pathlib
import subprocess

import pytest

from guest import IMAGE, Copy, wait
from lab import Lab
from xvio import program

V4, V6 = {'a': '10.0.0.1', 'b': '10.0.0.2', 'c': '10.0.0.3'}, {'a': 'fd00::1', 'b': 'fd00::2', 'c': 'fd00::3'}
SSH, OTHER, DNS, NOBODY, REFUSED = 22, 23, 53, 54, 81

GROUPS = {
    'clients': [{'direction': 'egress'}],
    'others': [{'direction': 'egress'}],
    # The server opens nothing itself: whatever it sends answers somebody.
    'servers': [
        {'direction': 'ingress', 'protocol': 'tcp', 'port': SSH, 'remote_group': 'clients', 'name': 'ssh'},
        {'direction': 'ingress', 'protocol': 'tcp', 'port': '5000-5999', 'remote_group': 'clients', 'name': 'copy'},
        {'direction': 'ingress', 'protocol': 'udp', 'port': '%d-%d' % (DNS, NOBODY), 'remote_group': 'clients'},
        {'direction': 'ingress', 'protocol': 'icmp', 'remote_group': 'clients', 'name': 'ping'},
        {'direction': 'ingress', 'protocol': 'icmpv6', 'remote_group': 'clients', 'name': 'ping6'},
        {'direction': 'ingress', 'protocol': 'tcp', 'port': OTHER, 'remote_group': 'others'},
        {'direction': 'ingress', 'action': 'reject', 'protocol': 'tcp', 'port': REFUSED},
        {'direction': 'ingress', 'action': 'reject', 'protocol': 'udp', 'port': REFUSED}]}


def server_rules(**changed):
    """The server's rules; by name: other keys of a rule, or None: without it."""
    return [{**rule, **(changed.get(rule.get('name')) or {})} for rule in GROUPS['servers']
            if changed.get(rule.get('name'), {}) is not None]


class Stream:
    """Lines, ten a second, that the other end sends back: somebody types."""

    serial = itertools.count()

    def __init__(self, guest, address, port):
        self.guest, n = guest, next(Stream.serial)
        self.go, self.out = '/tmp/go.%d' % n, '/tmp/out.%d' % n
        self.job = guest.spawn('touch %s; while [ -e %s ]; do echo line; usleep 100000; done | nc %s %d >%s' %
                               (self.go, self.go, address, port, self.out))

    def lines(self):
        return int(self.guest.check('cat %s 2>/dev/null | wc -l' % self.out))

    def goes_on(self, timeout=10.0):
        """More answers come, from now on."""
        target = self.lines() + 5
        wait(lambda: self.lines() >= target, timeout, 'answers to a stream', 0.1)
        return self

    def end(self):
        self.guest.check('rm -f ' + self.go)
        assert self.job.wait(20)[0] == 0


class World:
    """The lab and its guests; groups are as GROUPS says at the start of each test."""

    def __init__(self, lab, initrd):
        self.lab = lab
        self.guests = {name: lab.guest(name, nic={'mac': self.mac(name)}, initrd=initrd) for name in 'abc'}
        self.__dict__.update(self.guests)
        for name in 'abc':
            self.set_up(name)
        self.b.spawn('nc -ll -p %d -e cat' % SSH)
        self.b.spawn('nc -ll -p %d -e cat' % OTHER)
        served = self.b.spawn('udp_tool serve %d' % DNS)
        wait(lambda: 'ready' in served.output(), 10, 'UDP server', 0.1)

    @staticmethod
    def mac(name):
        return '52:54:00:00:00:0' + name

    @staticmethod
    def ports(lab):
        groups = {'a': 'clients', 'b': 'servers', 'c': 'others'}
        return [lab.vhost(name, network='blue', groups=[group], mac=World.mac(name), addresses=[V4[name], V6[name]])
                for name, group in groups.items()]

    def set_up(self, name):
        guest = self.guests[name].ready()
        guest.check('echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad')
        guest.address(V4[name] + '/24').check('ip -6 addr add %s/64 dev eth0' % V6[name])

    def rules(self, **changed):
        self.lab.daemon.rpc('group.set', name='servers', rules=server_rules(**changed))

    def drops(self, port):
        """As an operator sees them: reason -> packets."""
        return {drop['reason']: drop['packets'] for drop in self.lab.daemon.ctl('drop', 'list', 'port=' + port)}

    def dropped(self, port, reason, before):
        return self.drops(port).get(reason, 0) - before.get(reason, 0)

    def ask(self, guest, address, port, count=3, size=100):
        """What udp_tool says: answers, and the first error."""
        good, error = guest.check('udp_tool ask %s %d %d %d' % (address, port, count, size), 30).split()
        return int(good), error


@pytest.fixture(scope='module')
def initrd(tmp_path_factory):
    """The guests' usual one, and udp_tool."""
    tree = tmp_path_factory.mktemp('initrd')
    (tree / 'bin').mkdir()
    os.symlink(program('udp_tool'), tree / 'bin' / 'udp_tool')
    more = subprocess.run(['cpio', '--quiet', '-o', '-L', '-H', 'newc'], cwd=tree, input=b'bin/udp_tool\n', check=True,
                          stdout=subprocess.PIPE).stdout
    path = pathlib.Path(tree / 'initrd')
    path.write_bytes((IMAGE / 'initrd').read_bytes() + more)
    return path


@pytest.fixture(scope='module')
def booted(initrd):
    lab = Lab()
    lab.daemon.config = {'networks': [{'name': 'blue'}], 'ports': World.ports(lab),
                         'groups': [{'name': name, 'rules': rules} for name, rules in GROUPS.items()]}
    with lab:
        yield World(lab, initrd)


@pytest.fixture
def world(request, booted):
    request.node.labs, request.node.failed = [booted.lab], True
    booted.rules()
    yield booted
    if not request.node.failed:
        booted.lab.check()


def test_allowed(world):
    """Both families: TCP both ways, UDP and its answers, ping; an ICMP error about what was allowed."""
    a, b = world.a, world.b
    for address in V4['b'], V6['b']:
        a.reaches(address)
        assert a.ping(address, size=1400)
        stream = Stream(a, address, SSH).goes_on()
        before = world.lab.show('a')
        Copy(a, b, address, mb=10).finish()
        after = world.lab.show('a')
        # Segmentation is left to us, and then to the receiver: packets are larger, on average, than any frame may be.
        packets = after['rx_packets'] - before['rx_packets']
        assert (after['rx_bytes'] - before['rx_bytes']) / packets > 1514, (before, after)
        stream.goes_on().end()
        assert world.ask(a, address, DNS, 5) == (5, '-')
        assert world.ask(a, address, NOBODY, 2) == (0, 'ECONNREFUSED')     # related
    assert world.lab.show('b')['drops']['firewall'] == 0


def test_denied(world):
    """Who is not in the group, what the group does not name, and what the server opens itself; `drop list` says so."""
    a, b, c = world.a, world.b, world.c
    assert 'connected' == c.check('echo | nc -w 3 %s %d >/dev/null && echo connected' % (V4['b'], OTHER)).strip()
    for guest, name, address, port in (c, 'c', V4['b'], SSH), (c, 'c', V6['b'], SSH), (a, 'a', V4['b'], OTHER), \
            (b, 'b', V4['a'], SSH):
        before = world.drops(name)
        assert guest.run('nc -w 1 %s %d </dev/null' % (address, port))[0] != 0
        assert world.dropped(name, 'firewall', before) > 0, (name, world.drops(name))
    before = world.drops('b')
    assert all(b.run('ping -c 1 -W 1 ' + address)[0] != 0 for address in (V4['a'], V6['a']))
    assert world.dropped('b', 'firewall', before) >= 2
    before = world.drops('c')
    assert world.ask(c, V4['b'], DNS, 1) == (0, 'ETIMEDOUT')
    assert world.dropped('c', 'firewall', before) == 1
    # A guest that takes another's address.
    before = world.drops('c')
    c.check('ip addr add %s/32 dev lo' % '10.0.0.77')
    assert c.run('ping -c 1 -W 1 -I 10.0.0.77 %s' % V4['b'])[0] != 0
    assert world.dropped('c', 'spoofed', before) > 0
    assert world.lab.show('b')['drops'].get('spoofed', 0) == 0


def test_rejected(world):
    """The sender is told, at once."""
    before = world.drops('c')
    for address, error in (V4['b'], 'EHOSTUNREACH'), (V6['b'], 'EACCES'):
        output = world.c.run('time nc %s %d </dev/null 2>&1' % (address, REFUSED), 10)
        assert output[0] != 0 and 'refused' in output[1], output
        assert world.ask(world.c, address, REFUSED, 1) == (0, error)
    assert world.dropped('c', 'firewall', before) == 4


def test_rules_change(world):
    """A rule goes: the connections that it allowed stall, in both families; others between the same guests go on. It
    comes back in time, and so do they. It rejects: they end."""
    copy = Copy(world.a, world.b, V4['b'], mb=10, endless=True)
    streams = [Stream(world.a, address, SSH).goes_on() for address in (V4['b'], V6['b'])]
    kept = Stream(world.c, V4['b'], OTHER).goes_on()

    before = world.drops('a')
    world.rules(ssh=None)
    stalled = [stream.lines() for stream in streams]
    kept.goes_on()
    # What was under way when they were counted may still have come.
    assert all(stream.lines() <= n + 1 for stream, n in zip(streams, stalled)), stalled
    assert all(stream.job.running() for stream in streams) and copy.running()
    assert world.dropped('a', 'firewall', before) > 0

    world.rules()
    for stream in streams:
        stream.goes_on(20)

    world.rules(ssh={'action': 'reject'})
    for stream in streams:
        stream.job.wait(10)
    assert copy.running()
    kept.goes_on().end()
    copy.finish()


def test_reboot(world):
    """One guest reboots in the middle of a connection; it comes back, with another. Nobody else notices."""
    streams = [Stream(world.a, address, SSH).goes_on() for address in (V4['b'], V6['b'])]
    Stream(world.c, V4['b'], OTHER).goes_on()
    world.c.reboot(hard=True)
    streams[0].goes_on()
    world.set_up('c')
    Stream(world.c, V4['b'], OTHER).goes_on().end()
    for stream in streams:
        stream.goes_on().end()
