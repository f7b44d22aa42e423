# SPDX-License-Identifier: Apache-2.0
"""Security groups as VMs see them: taps in network namespaces, the kernel's own TCP, UDP, ICMP behind them; no guests.

    a 10.0.0.1, 2001:db8::1  in group client
    b 10.0.0.2               in group web
    c 10.0.0.3               in group db
    g 10.0.0.4               in no group: a router, or whatever else is on the network

Each test begins with these groups; sockets are opened in the VM's namespace by this process.
"""

import contextlib
import ctypes
import errno
import json
import os
import pathlib
import re
import select
import socket
import struct
import subprocess
import sys
import time
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'lib'))
from xvio import Error, Xviod, program  # noqa: E402

PREFIX = 'xvf%d' % (os.getpid() % 100000)
VMS = 'abcg'
GROUPS = {
    'client': [{'direction': 'egress', 'name': 'out'},
               {'direction': 'ingress', 'protocol': 'icmp', 'icmp_type': 8, 'remote': '10.0.0.4'}],
    'web': [{'direction': 'ingress', 'protocol': 'tcp', 'port': 80, 'name': 'http'},
            {'direction': 'ingress', 'protocol': 'tcp', 'port': 81, 'action': 'reject'},
            {'direction': 'ingress', 'protocol': 'udp', 'port': 53, 'action': 'reject'},
            {'direction': 'ingress', 'protocol': 'tcp', 'port': 22, 'remote': '10.0.0.1', 'name': 'ssh', 'log': True},
            {'direction': 'ingress', 'protocol': 'tcp', 'port': 23, 'action': 'deny', 'name': 'telnet', 'log': True},
            {'direction': 'egress', 'protocol': 'tcp', 'port': 5432, 'remote_group': 'db'},
            {'direction': 'egress', 'protocol': 'tcp', 'port': 9999, 'action': 'reject'}],
    'db': [{'direction': 'ingress', 'protocol': 'tcp', 'port': 5432, 'remote_group': 'web', 'name': 'sql'},
           {'direction': 'ingress', 'protocol': 'udp', 'port': '5000-5010', 'name': 'logs'},
           {'direction': 'ingress', 'protocol': 'icmp', 'icmp_type': 8}],
}
OF = {'a': ['client'], 'b': ['web'], 'c': ['db']}
LIBC = ctypes.CDLL(None, use_errno=True)
SILENCE = 0.25     # what did not come by then does not come


def run(*args, check=True):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=20)
    assert not check or done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


def ip(vm, v6=False):
    return ('2001:db8::%d' if v6 else '10.0.0.%d') % (VMS.index(vm) + 1)


def mac(vm):
    return bytes([2, 0, 0, 0, 0, VMS.index(vm) + 1])


def mac_text(raw):
    return ':'.join('%02x' % b for b in raw)


@contextlib.contextmanager
def inside(vm):
    """This thread, in the namespace of the VM."""
    def enter(path):
        with open(path) as f:
            assert LIBC.setns(f.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
    enter('/run/netns/' + PREFIX + vm)
    try:
        yield
    finally:
        enter(HOME)


HOME = '/proc/self/fd/%d' % os.open('/proc/self/ns/net', os.O_RDONLY)


class Lab:
    def __init__(self):
        self.open = []
        self.daemon = Xviod({
            'networks': [{'name': 'blue'}],
            'groups': [{'name': name, 'rules': rules} for name, rules in GROUPS.items()],
            'ports': [dict({'name': vm, 'kind': 'tap', 'interface': PREFIX + vm, 'network': 'blue'},
                           **({'groups': OF[vm], 'mac': mac_text(mac(vm)), 'addresses': [ip(vm), ip(vm, True)]}
                              if vm in OF else {})) for vm in VMS]})

    def setup(self):
        self.daemon.start()
        for vm in VMS:
            ns, dev = PREFIX + vm, PREFIX + vm
            run('ip', 'netns', 'add', ns)
            run('ip', 'link', 'set', dev, 'netns', ns)
            with inside(vm):
                run('sysctl', '-qw', 'net.ipv6.conf.%s.accept_dad=0' % dev, 'net.ipv6.conf.%s.router_solicitations=0' % dev,
                    'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0', 'net.ipv4.tcp_syn_linear_timeouts=0')
            for args in (['link', 'set', dev, 'address', mac_text(mac(vm)), 'up'], ['link', 'set', 'lo', 'up'],
                         ['addr', 'add', ip(vm) + '/24', 'dev', dev], ['addr', 'add', ip(vm, True) + '/64', 'dev', dev]):
                run('ip', '-n', ns, *args)

    def close(self):
        self.hang_up()
        try:
            self.daemon.stop()
        finally:
            for vm in VMS:
                run('ip', 'netns', 'del', PREFIX + vm, check=False)

    def hang_up(self):
        while self.open:
            self.open.pop().close()

    # what VMs do

    def socket(self, vm, *args):
        with inside(vm):
            s = socket.socket(*args)
        s.settimeout(2)
        self.open.append(s)
        return s

    def raw(self, vm):
        """Frames as the VM puts them on its wire, and those that come."""
        s = self.socket(vm, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.bind((PREFIX + vm, 0))
        return s

    def listen(self, vm, port, v6=False):
        s = self.socket(vm, socket.AF_INET6 if v6 else socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((ip(vm, v6), port))
        s.listen()
        return s

    def connect(self, vm, to, port, v6=False, timeout=2.0):
        s = self.socket(vm, socket.AF_INET6 if v6 else socket.AF_INET)
        s.settimeout(timeout)
        s.connect((ip(to, v6), port))
        s.settimeout(2)
        return s

    def stream(self, vm, to, port, v6=False):
        """Both ends of a connection that works."""
        with self.listen(to, port, v6) as listener:
            client = self.connect(vm, to, port, v6)
            server, _ = listener.accept()
        server.settimeout(2)
        self.open.append(server)
        assert self.passes(client, server) and self.passes(server, client)
        return client, server

    def passes(self, one, other, timeout=2.0):
        text = os.urandom(8)
        one.send(text)
        return self.comes(other, text, timeout)

    @staticmethod
    def comes(s, text, timeout=2.0):
        s.settimeout(timeout)
        got = b''
        try:
            while text not in got:
                got += s.recv(65536)
        except TimeoutError:
            return False
        return True

    def refused_by_silence(self, vm, to, port, v6=False):
        with pytest.raises(TimeoutError):
            self.connect(vm, to, port, v6, SILENCE)

    def udp(self, vm, port=0, v6=False):
        s = self.socket(vm, socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((ip(vm, v6), port))
        return s

    # what xviod says

    def drops(self, port):
        return self.daemon.port(port)['drops']

    def dropped(self, port, reason, n=1, before=None):
        """Wait until n more are."""
        deadline = time.monotonic() + 2
        while self.drops(port).get(reason, 0) < before.get(reason, 0) + n:
            assert time.monotonic() < deadline, (reason, before, self.drops(port))
            time.sleep(0.002)

    def lines(self, text):
        deadline = time.monotonic() + 2
        while True:
            found = [l for l in self.daemon.log.read_text().splitlines() if re.search(text, l)]
            if found or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    def ctl(self, *args):
        return run(program('xvioctl'), '-s', self.daemon.api, *args)

    def connections(self, **keys):
        return self.daemon.rpc('ct.list', **keys)

    def balance(self):
        deadline = time.monotonic() + 3
        while True:
            off = {p['name']: p for p in self.daemon.rpc('port.list') if p['rx_packets'] + p['copies'] - p['forwarded'] -
                   p['punts'] - sum(p['drops'].values()) - p['held']}
            if not off:
                return
            assert time.monotonic() < deadline, off
            time.sleep(0.02)


@pytest.fixture(scope='module')
def shared():
    lab = Lab()
    try:
        lab.setup()
        yield lab
    finally:
        lab.close()


@pytest.fixture
def lab(shared):
    for name, rules in GROUPS.items():
        shared.daemon.rpc('group.set', name=name, rules=rules)
    for name, groups in OF.items():
        shared.daemon.rpc('port.set', name=name, groups=groups)
    yield shared
    shared.hang_up()
    shared.balance()
    assert shared.daemon.alive()


def checksum(data):
    total = sum(struct.unpack('!%dH' % ((len(data) + 1) // 2), data + bytes(len(data) % 2)))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def eth(dst, src, kind, payload):
    frame = dst + src + struct.pack('!H', kind) + payload
    return frame + bytes(max(0, 60 - len(frame)))


def ipv4(src, dst, proto, payload, ttl=64):
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), 7, 0, ttl, proto, 0, socket.inet_aton(src),
                       socket.inet_aton(dst))
    return head[:10] + struct.pack('!H', checksum(head)) + head[12:] + payload


def udp4(src, dst, sport, dport, payload=b''):
    return ipv4(src, dst, 17, struct.pack('!HHHH', sport, dport, 8 + len(payload), 0) + payload)


def icmp4(src, dst, kind, code, rest):
    body = bytes([kind, code]) + bytes(2) + rest
    return ipv4(src, dst, 1, body[:2] + struct.pack('!H', checksum(body)) + body[4:])


def ipv6(src, dst, proto, payload):
    return struct.pack('!IHBB', 6 << 28, len(payload), proto, 255) + socket.inet_pton(socket.AF_INET6, src) + \
        socket.inet_pton(socket.AF_INET6, dst) + payload


def icmp6(src, dst, body):
    packet = ipv6(src, dst, 58, body)
    check = checksum(packet[8:40] + struct.pack('!II', len(body), 58) + body)
    return packet[:42] + struct.pack('!H', check) + packet[44:]


def arp(sender_mac, sender, target, op=1):
    return struct.pack('!HHBBH', 1, 0x800, 6, 4, op) + sender_mac + socket.inet_aton(sender) + bytes(6) + \
        socket.inet_aton(target)


# -- what passes

@pytest.mark.parametrize('v6', [False, True], ids=['ipv4', 'ipv6'])
def test_default_is_deny(lab, v6):
    lab.listen('b', 8080, v6)
    before = lab.drops('a')
    lab.refused_by_silence('a', 'b', 8080, v6)
    lab.dropped('a', 'firewall', before=before)
    # Nothing leaves b but what a rule names.
    lab.listen('g', 8080, v6)
    before = lab.drops('b')
    lab.refused_by_silence('b', 'g', 8080, v6)
    lab.dropped('b', 'firewall', before=before)


@pytest.mark.parametrize('v6', [False, True], ids=['ipv4', 'ipv6'])
def test_answers_pass(lab, v6):
    client, server = lab.stream('a', 'b', 80, v6)
    for _ in range(20):     # as fused flows, too
        assert lab.passes(client, server) and lab.passes(server, client)
    client.close()
    assert server.recv(1) == b''
    one, other = lab.udp('a', 0, v6), lab.udp('c', 5005, v6)
    for _ in range(3):
        one.sendto(b'question', (ip('c', v6), 5005))
        text, sender = other.recvfrom(100)
        other.sendto(b'answer', sender)
        assert text == b'question' and one.recv(100) == b'answer'
    # An answer without a question.
    other.sendto(b'x', (ip('a', v6), 4444))
    before = lab.drops('c')
    other.sendto(b'x', (ip('a', v6), 4445))
    lab.dropped('c', 'firewall', before=before)


def test_who_has_no_group(lab):
    """It may send what it wants, and is sent what it wants; rules of others hold for it as for all."""
    lab.stream('g', 'b', 80)
    lab.stream('a', 'g', 8080)
    lab.listen('b', 8080)
    lab.refused_by_silence('g', 'b', 8080)


@pytest.mark.parametrize('v6', [False, True], ids=['ipv4', 'ipv6'])
def test_reject(lab, v6):
    start = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        lab.connect('a', 'b', 81, v6)
    with pytest.raises(ConnectionRefusedError):     # by the rules of its own port
        lab.connect('b', 'g', 9999, v6)
    s = lab.udp('a', 0, v6)
    s.connect((ip('b', v6), 53))
    s.send(b'query')
    with pytest.raises(OSError) as e:
        s.recv(100)
    assert e.value.errno == (errno.EACCES if v6 else errno.EHOSTUNREACH)     # administratively prohibited
    assert time.monotonic() - start < 1


def test_fragments(lab):
    """They are judged together: by the ports of the first."""
    one, other, denied = lab.udp('a'), lab.udp('c', 5000), lab.udp('c', 4999)
    other.settimeout(5)
    denied.settimeout(0.3)
    one.sendto(b'whole', (ip('c'), 5000))     # whose receiver is known from now on
    assert other.recv(65536) == b'whole'
    before, data = lab.drops('a'), os.urandom(4000)
    one.sendto(data, (ip('c'), 5000))
    assert other.recv(65536) == data
    one.sendto(data, (ip('c'), 4999))
    lab.dropped('a', 'firewall', 3, before)
    with pytest.raises(TimeoutError):
        denied.recv(65536)


def test_tcp_with_offloads(lab):
    """Large segments whose checksums are to be filled in: none of them is invalid."""
    before = {vm: lab.drops(vm) for vm in 'ab'}
    client, server = lab.stream('a', 'b', 80)
    text, got = os.urandom(1 << 20), 0
    client.setblocking(False)
    sent = 0
    deadline = time.monotonic() + 5
    while got < len(text):
        assert time.monotonic() < deadline, (sent, got)
        r, w, _ = select.select([server], [client] if sent < len(text) else [], [], 1)
        if w:
            sent += client.send(text[sent:sent + 65536])
        if r:
            chunk = server.recv(65536)
            assert chunk == text[got:got + len(chunk)]
            got += len(chunk)
    for vm in 'ab':
        assert {k: v for k, v in lab.drops(vm).items() if k != 'tx-full'} == \
            {k: v for k, v in before[vm].items() if k != 'tx-full'}


# -- changes

def test_remote_group(lab):
    lab.stream('b', 'c', 5432)
    lab.listen('c', 5432)
    lab.refused_by_silence('a', 'c', 5432)
    lab.daemon.rpc('port.set', name='a', groups=['client', 'web'])
    client = lab.connect('a', 'c', 5432)
    client.send(b'x')
    # It leaves the group: c's firewall changes, and the connection with it.
    lab.daemon.rpc('port.set', name='a', groups=['client'])
    lab.refused_by_silence('a', 'c', 5432)
    before = lab.drops('a')
    client.send(b'y')
    lab.dropped('a', 'firewall', before=before)


def test_included_groups(lab):
    """A VM has the rules of what its groups include, and is a member of those: one change, and it is undone by one."""
    web, web_server = lab.stream('a', 'b', 80)
    lab.listen('b', 8443)
    lab.refused_by_silence('a', 'b', 8443)
    lab.listen('a', 9100)
    lab.refused_by_silence('b', 'a', 9100)
    lab.daemon.rpc('group.add', name='tls', rules=[{'direction': 'ingress', 'protocol': 'tcp', 'port': 8443, 'name': 'alt'},
                                                   {'direction': 'egress', 'protocol': 'tcp', 'port': 9100, 'name': 'scrape'}])
    lab.daemon.rpc('group.add', name='site', includes=['tls'])
    lab.daemon.rpc('rule.add', rule='client/metrics', direction='ingress', protocol='tcp', port='9100', remote_group='tls')
    try:
        lab.ctl('group', 'set', 'web', 'includes=site')
        client = lab.connect('a', 'b', 8443)     # by b's rules
        other = lab.connect('b', 'a', 9100)      # by what a's rules say of its members
        assert lab.passes(web, web_server)
        assert lab.daemon.rpc('group.show', name='tls')['ports'] == ['b'] == lab.daemon.rpc('group.show', name='site')['ports']
        text = lab.ctl('policy', 'test', 'port=a', 'to=b', 'proto=tcp', 'dst_port=8443')
        assert re.search(r'^ingress of b +group tls, rule alt: allow$', text, re.M), text
        text = lab.ctl('policy', 'test', 'port=b', 'to=a', 'proto=tcp', 'dst_port=9100')
        assert re.search(r'^egress of b +group tls, rule scrape: allow\ningress of a +group client, rule metrics: allow$', text, re.M), text
        assert int(lab.daemon.rpc('rule.show', rule='tls/alt')['packets']) >= 3
        # A cycle is refused, and nothing has changed; so is a file that has one.
        before = lab.daemon.rpc('group.list')
        for name, way in ('tls', 'web -> site -> tls -> web'), ('site', 'web -> site -> web'), ('web', 'web -> web'):
            with pytest.raises(Error) as e:
                lab.daemon.rpc('group.set', name=name, includes=['web'])
            assert str(e.value).endswith('%s is a cycle: a group cannot include itself, neither directly nor through others' % way)
        file = lab.daemon.dir / 'cycle.yaml'
        file.write_text('networks:\n  - name: blue\ngroups:\n  - {name: x, includes: [y]}\n  - {name: y, includes: [x]}\n')
        done = subprocess.run([program('xvioctl'), '-s', lab.daemon.api, 'apply', str(file)], capture_output=True, text=True)
        assert done.returncode != 0 and 'cycle.yaml:4: group x: includes: x -> y -> x is a cycle' in done.stderr, done
        assert [dict(g, rules=None) for g in before] == [dict(g, rules=None) for g in lab.daemon.rpc('group.list')]
        assert lab.passes(web, web_server)
        # It is not included any more: what it allowed stops, the rest goes on.
        lab.ctl('group', 'set', 'web', 'includes=')
        drops = {vm: lab.drops(vm) for vm in 'ab'}
        client.send(b'x')
        other.send(b'y')
        for vm in 'ab':
            lab.dropped(vm, 'firewall', before=drops[vm])
        assert lab.passes(web, web_server)
    finally:
        lab.daemon.rpc('group.set', name='web', includes=None)
        lab.daemon.rpc('group.set', name='client', rules=GROUPS['client'])
        for name in 'site', 'tls':
            lab.daemon.rpc('group.del', name=name)


def test_a_change_cuts_what_it_forbids(lab):
    """... and nothing else."""
    web, web_server = lab.stream('a', 'b', 80)
    ssh, ssh_server = lab.stream('a', 'b', 22)
    sql, sql_server = lab.stream('b', 'c', 5432)
    for _ in range(5):     # they are fused flows by now
        assert lab.passes(web, web_server) and lab.passes(ssh, ssh_server) and lab.passes(sql_server, sql)
    lab.daemon.rpc('group.set', name='web', rules=[r for r in GROUPS['web'] if r.get('name') != 'http'])
    text = b'after the change'
    web.send(text)
    web_server.send(text)
    for _ in range(5):
        assert lab.passes(ssh, ssh_server) and lab.passes(ssh_server, ssh)
        assert lab.passes(sql, sql_server) and lab.passes(sql_server, sql)
    assert not lab.comes(web_server, text, SILENCE) and not lab.comes(web, text, 0.01)
    # It is allowed again before TCP gives up: what was lost is sent again.
    lab.daemon.rpc('group.set', name='web', rules=GROUPS['web'])
    assert lab.comes(web_server, text, 5) and lab.comes(web, text, 5)


def test_a_rule_that_rejects_ends_connections(lab):
    """Of an established connection, too, the sender is told."""
    client, server = lab.stream('a', 'b', 80)
    rules = [dict(r, action='reject') if r.get('name') == 'http' else r for r in GROUPS['web']]
    lab.daemon.rpc('group.set', name='web', rules=rules)
    with pytest.raises(ConnectionResetError):     # at once, if an acknowledgement was still on its way
        client.send(b'x')
        client.recv(1)


def test_groups_come_and_go(lab):
    """A port gets its first group, and gives up its last."""
    lab.stream('a', 'g', 8080)
    with pytest.raises(Error, match='mac'):
        lab.daemon.rpc('port.set', name='g', groups=['db'])
    lab.daemon.rpc('port.set', name='g', groups=['db'], mac=mac_text(mac('g')), addresses=[ip('g')])
    lab.listen('g', 8080)
    lab.refused_by_silence('a', 'g', 8080)
    lab.daemon.rpc('port.set', name='g', groups=None, mac=None, addresses=None)
    lab.connect('a', 'g', 8080)


# -- errors

def test_icmp_errors_are_related(lab):
    s = lab.udp('a')
    s.connect((ip('c'), 5001))
    s.send(b'to nobody')
    with pytest.raises(ConnectionRefusedError):
        s.recv(1)


def test_icmp_errors_of_routers(lab):
    """They come from anywhere, to either end; what matters is whose packet they carry."""
    client, server = lab.udp('a', 4000), lab.udp('c', 5002)
    client.connect((ip('c'), 5002))
    server.connect((ip('a'), 4000))
    client.send(b'x')
    server.send(b'y')
    assert server.recv(9) == b'x' and client.recv(9) == b'y'
    g = lab.raw('g')
    for to, other, ports in (('a', 'c', (4000, 5002)), ('c', 'a', (5002, 4000))):
        before = lab.drops('g')
        bad = udp4(ip(to), ip(other), *ports)
        g.send(eth(mac(to), mac('g'), 0x800, icmp4('198.51.100.1', ip(to), 3, 3, bytes(4) + bad)))
        with pytest.raises(ConnectionRefusedError):
            (client if to == 'a' else server).recv(9)
        # Of a connection that there is not.
        bad = udp4(ip(to), ip(other), 4001, 4002)
        g.send(eth(mac(to), mac('g'), 0x800, icmp4('198.51.100.1', ip(to), 3, 3, bytes(4) + bad)))
        lab.dropped('g', 'ct-invalid', before=before)


def test_ping(lab):
    def ping(vm, to, timeout=2.0):
        s = lab.socket(vm, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        s.settimeout(timeout)
        s.connect((ip(to), 0))
        s.send(icmp4(ip(vm), ip(to), 8, 0, b'idsq')[20:])
        return s.recv(100)[20] == 0

    assert ping('a', 'c')
    assert ping('g', 'a')
    before = lab.drops('b')
    with pytest.raises(TimeoutError):
        ping('b', 'c', SILENCE)
    lab.dropped('b', 'firewall', before=before)


# -- spoofing

WRONG = bytes([2, 0, 0, 0, 0, 0x77])
ALL = b'\xff' * 6
LINK_LOCAL = 'fe80::ff:fe00:%d'

SPOOFS = {
    'mac': lambda: eth(mac('g'), WRONG, 0x800, udp4(ip('a'), ip('g'), 1, 2)),
    'mac, not ip': lambda: eth(mac('g'), WRONG, 0x88b5, b''),
    'ip': lambda: eth(mac('g'), mac('a'), 0x800, udp4('10.0.0.9', ip('g'), 1, 2)),
    'ipv6': lambda: eth(mac('g'), mac('a'), 0x86dd, ipv6('2001:db8::9', ip('g', True), 17, bytes(8))),
    'arp': lambda: eth(ALL, mac('a'), 0x806, arp(mac('a'), ip('b'), ip('g'))),
    'arp of another mac': lambda: eth(ALL, mac('a'), 0x806, arp(WRONG, ip('a'), ip('g'))),
    'arp answer': lambda: eth(mac('g'), mac('a'), 0x806, arp(mac('a'), ip('b'), ip('g'), 2)),
    'dhcp server': lambda: eth(ALL, mac('a'), 0x800, udp4(ip('a'), '255.255.255.255', 67, 68, bytes(240))),
    'dhcpv6 server': lambda: eth(mac('g'), mac('a'), 0x86dd, ipv6(ip('a', True), ip('g', True), 17,
                                                                 struct.pack('!HHHH', 547, 546, 8, 0))),
    'router': lambda: eth(b'\x33\x33\0\0\0\x01', mac('a'), 0x86dd,
                          icmp6(LINK_LOCAL % 1, 'ff02::1', bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8))),
    'neighbour': lambda: eth(mac('g'), mac('a'), 0x86dd, icmp6(
        ip('a', True), ip('g', True), bytes([136, 0, 0, 0, 32, 0, 0, 0]) +
        socket.inet_pton(socket.AF_INET6, ip('b', True)) + b'\2\1' + mac('a'))),
    'no address': lambda: eth(mac('g'), mac('a'), 0x800, udp4('0.0.0.0', ip('g'), 1, 2)),
}
OWN = {
    'udp': lambda: eth(mac('g'), mac('a'), 0x800, udp4(ip('a'), ip('g'), 1, 2)),
    'arp': lambda: eth(ALL, mac('a'), 0x806, arp(mac('a'), ip('a'), ip('g'))),
    'arp probe': lambda: eth(ALL, mac('a'), 0x806, arp(mac('a'), '0.0.0.0', ip('a'))),
    'dhcp client': lambda: eth(ALL, mac('a'), 0x800, udp4('0.0.0.0', '255.255.255.255', 68, 67, bytes(240))),
    'link local': lambda: eth(b'\x33\x33\0\0\0\x02', mac('a'), 0x86dd,
                              icmp6(LINK_LOCAL % 1, 'ff02::2', bytes([133, 0, 0, 0, 0, 0, 0, 0]))),
    'duplicate address detection': lambda: eth(
        b'\x33\x33\xff\0\0\x01', mac('a'), 0x86dd,
        icmp6('::', 'ff02::1:ff00:1', bytes([135, 0, 0, 0, 0, 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, ip('a', True)))),
}


def sees(s, frame):
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if frame in s.recv(65536):
            return True
    return False


def test_spoofing(lab):
    vm, g = lab.raw('a'), lab.raw('g')
    for name, make in SPOOFS.items():
        before = lab.drops('a')
        for _ in range(3):     # the third one by a fused flow
            vm.send(make())
        lab.dropped('a', 'spoofed', 3, before)
        after = lab.drops('a')
        assert after['spoofed'] == before.get('spoofed', 0) + 3, name
    for name, make in OWN.items():
        for _ in range(3):
            vm.send(make())
            assert sees(g, make()), name
    lab.daemon.rpc('port.set', name='a', anti_spoofing=False)
    vm.send(SPOOFS['ip']())
    assert sees(g, SPOOFS['ip']())
    lab.daemon.rpc('port.set', name='a', anti_spoofing=None)
    before = lab.drops('a')
    vm.send(SPOOFS['ip']())
    lab.dropped('a', 'spoofed', before=before)


# -- log

def test_log(lab):
    client, _ = lab.stream('a', 'b', 22)
    port = client.getsockname()[1]
    line, = lab.lines(r'port a: .*web/ssh.* 10\.0\.0\.1:%d -> ' % port)
    assert re.search(r'port a: firewall: web/ssh: allowed: tcp 10\.0\.0\.1:%d -> 10\.0\.0\.2:22$' % port, line), line
    lab.refused_by_silence('a', 'b', 23)
    assert lab.lines(r'port a: firewall: web/telnet: denied: tcp 10\.0\.0\.1:\d+ -> 10\.0\.0\.2:23$')


# -- flooding

def test_flooding(lab):
    """Where nobody knows yet who is where, each port's firewall is asked all the same."""
    client, server = lab.udp('a', 4100), lab.udp('c', 5003)
    client.sendto(b'x', (ip('c'), 5003))
    assert server.recv(9) == b'x'     # ARP is done
    lab.ctl('ct', 'flush')
    inserted = lab.daemon.rpc('ct.stats')['inserted']
    g, b = lab.raw('g'), lab.raw('b')
    lab.daemon.rpc('mac.flush', network='blue')
    before = lab.drops('a')
    client.sendto(b'flooded-0001', (ip('c'), 5003))
    assert server.recv(99) == b'flooded-0001'
    lab.dropped('a', 'firewall', before=before)     # for b
    assert lab.drops('a')['firewall'] == before.get('firewall', 0) + 1
    assert lab.daemon.rpc('ct.stats')['inserted'] == inserted + 1     # for c and g
    server.sendto(b'answer', (ip('a'), 4100))
    assert client.recv(9) == b'answer'
    b.settimeout(0.05)
    with pytest.raises(TimeoutError):
        while True:
            assert b'flooded-0001' not in b.recv(65536)


# -- connections

def test_ct_list(lab):
    lab.daemon.rpc('ct.flush')
    client, server = lab.stream('a', 'b', 80)
    for _ in range(10):
        assert lab.passes(client, server)
    one, other = lab.udp('a', 4200), lab.udp('c', 5004)
    one.sendto(b'12345678', (ip('c'), 5004))
    assert other.recv(9) == b'12345678'
    port = client.getsockname()[1]
    c, = lab.connections(dst_port=80)
    assert c['protocol'] == 'tcp' and c['state'] == 'established' and c['network'] == 'blue' and c['zone'] > 0
    assert {k: c['original'][k] for k in ('src', 'dst', 'src_port', 'dst_port')} == \
        {'src': ip('a'), 'dst': ip('b'), 'src_port': port, 'dst_port': 80}
    assert c['reply']['src'] == ip('b') and c['reply']['dst_port'] == port
    assert c['status'] == ['seen_reply', 'assured'] and c['timeout_s'] > 3600
    u, = lab.connections(state='unreplied')
    assert u['original']['dst_port'] == 5004 and u['status'] == [] and u['original']['packets'] == 1
    assert u['original']['bytes'] == 20 + 8 + 8 and u['reply']['packets'] == 0
    # Counters are exact, of packets that only fused flows have seen, too.
    for n in (1, 7, 50):
        before = lab.connections(state='unreplied')[0]['original']['packets']
        for _ in range(n):
            one.sendto(b'12345678', (ip('c'), 5004))
            assert other.recv(9) == b'12345678'
        assert lab.connections(state='unreplied')[0]['original']['packets'] == before + n
    line, = [l for l in lab.ctl('ct', 'list').splitlines() if l.startswith('tcp')]
    assert re.fullmatch(r'tcp,orig=\(src=10\.0\.0\.1,dst=10\.0\.0\.2,sport=%d,dport=80,packets=\d+,bytes=\d+\),'
                        r'reply=\(src=10\.0\.0\.2,dst=10\.0\.0\.1,sport=80,dport=%d,packets=\d+,bytes=\d+\),zone=\d+,'
                        r'network=blue,status=SEEN_REPLY\|ASSURED,timeout=\d+,protoinfo=\(state=ESTABLISHED\)' %
                        (port, port), line), line


def test_group_show(lab):
    assert re.search(r'^  1: ingress allow, name http, protocol tcp, port 80: \d+ packets, \d+ bytes$', lab.ctl('group', 'show', 'web'), re.M)


def test_ct_filters_and_flush(lab):
    lab.daemon.rpc('ct.flush')
    lab.stream('a', 'b', 80)
    lab.stream('b', 'c', 5432)
    lab.stream('a', 'b', 80, True)
    for keys, n in (({}, 3), ({'address': ip('b')}, 2), ({'address': '10.0.0.0/24'}, 2), ({'address': ip('a', True)}, 1),
                    ({'src': ip('b')}, 1), ({'dst': ip('b')}, 1), ({'proto': 'udp'}, 0), ({'proto': 'tcp'}, 3),
                    ({'dst_port': 80}, 2), ({'src_port': 80}, 0), ({'network': 'blue'}, 3), ({'zone': 65000}, 0),
                    ({'state': 'established'}, 3), ({'state': 'assured'}, 3), ({'state': 'unreplied'}, 0), ({'limit': 2}, 2),
                    ({'src': ip('a'), 'dst_port': 80}, 1)):
        assert len(lab.connections(**keys)) == n, keys
    with pytest.raises(Error, match='established'):
        lab.connections(state='etablished')
    stats = lab.daemon.rpc('ct.stats')
    zone, = stats['zones']
    assert stats['connections'] == zone['connections'] == 3 and zone['network'] == 'blue'
    assert lab.daemon.rpc('ct.flush', dst_port=5432) == {'flushed': 1}
    assert lab.ctl('ct', 'flush', 'address=' + ip('a', True)) == 'flushed: 1\n'
    assert [c['original']['dst'] for c in lab.connections()] == [ip('b')]
    assert lab.daemon.rpc('ct.stats')['deleted'] == stats['deleted'] + 2
    assert re.search(r'^connections: 1$', lab.ctl('ct', 'stats'), re.M)


def test_a_flushed_connection_is_opened_again(lab):
    """... by its next packet, if the rules allow it from that end."""
    client, server = lab.stream('a', 'b', 80)
    for _ in range(5):
        assert lab.passes(client, server)
    lab.daemon.rpc('ct.flush')
    assert lab.passes(client, server) and lab.passes(server, client) and lab.passes(client, server)
    lab.daemon.rpc('ct.flush')     # the client has nothing left to acknowledge
    before = lab.drops('b')
    server.send(b'x')
    lab.dropped('b', 'firewall', before=before)


def test_many_connections_hold_nobody_up(lab):
    lab.daemon.rpc('ct.flush')
    lab.daemon.rpc('mac.flush', network='blue')
    g, c = lab.raw('g'), lab.udp('c', 5000)
    c.sendto(b'x', (ip('g'), 9))      # who c is
    frame = bytearray(eth(mac('c'), mac('g'), 0x800, udp4(ip('g'), ip('c'), 0, 5000)))
    n = 20000
    received = lab.daemon.port('g')['rx_packets']
    for i in range(n):
        frame[34:36] = struct.pack('!H', 10000 + i)
        g.send(frame)
        if i % 100 == 99:
            deadline = time.monotonic() + 2
            while lab.daemon.port('g')['rx_packets'] < received + i - 100:
                assert time.monotonic() < deadline
    start = time.monotonic()
    other = Xviod(dir=lab.daemon.dir)
    other.rpc('version')
    lab.daemon.sock.sendall(b'{"jsonrpc": "2.0", "id": 0, "method": "ct.list", "params": {"dst_port": 5000}}\n')
    worst = 0
    while not select.select([lab.daemon.sock], [], [], 0)[0] or worst == 0:
        start = time.monotonic()
        other.rpc('version')
        worst = max(worst, time.monotonic() - start)
    found = json.loads(lab.daemon.reader.readline())['result']
    other.hang_up()
    assert len({c['id'] for c in found}) == len(found) >= 0.9 * n and worst < 0.25, (len(found), worst)
    assert lab.daemon.rpc('ct.flush', dst_port=5000)['flushed'] == len(found)


def test_ct_metrics(lab):
    lab.daemon.rpc('ct.flush')
    lab.stream('a', 'b', 80)
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        address = '127.0.0.1:%d' % s.getsockname()[1]
    lab.daemon.rpc('daemon.set', metrics=address)
    with urllib.request.urlopen('http://%s/metrics' % address, timeout=5) as r:
        text = r.read().decode()
    lab.daemon.rpc('daemon.set', metrics=None)
    values = dict(l.rsplit(' ', 1) for l in text.splitlines() if not l.startswith('#'))
    assert values['xvio_connections{network="blue"}'] == '1' and values['xvio_connections_half_open'] == '0'
    assert int(values['xvio_connections_inserted_total']) > 0 and int(values['xvio_connections_memory_bytes']) > 0


# -- trace

def trace(lab, vm, to, **keys):
    return lab.daemon.rpc('trace', port=vm, src_mac=mac_text(mac(vm)), dst_mac=mac_text(mac(to)), src=ip(vm), dst=ip(to),
                          **keys)


def test_trace(lab):
    """Through connection tracking, without a trace of it."""
    client, _ = lab.stream('a', 'b', 80)
    lab.stream('b', 'c', 5432)     # so that all are known
    before = lab.connections()
    for args, keys, result, rules in (
            ('ab', {'proto': 'tcp', 'dst_port': 80}, 'sent to b', ['client/out: allow', 'web/http: allow']),
            ('ab', {'proto': 'tcp', 'dst_port': 8080}, 'dropped: firewall', ['client/out: allow', 'default: deny']),
            ('ab', {'proto': 'tcp', 'dst_port': 81}, 'dropped: firewall', ['client/out: allow', 'web/2: reject']),
            ('bc', {'proto': 'tcp', 'dst_port': 5432}, 'sent to c', ['web/6: allow', 'db/sql: allow']),
            ('ba', {'proto': 'tcp', 'dst_port': 22}, 'dropped: firewall', ['default: deny']),
            ('ba', {'proto': 'tcp', 'src_port': 80, 'dst_port': client.getsockname()[1]}, 'sent to a',
             ['web/http: allow', 'client/out: allow'])):
        answer = trace(lab, *args, **keys)
        stages = [s['text'] for s in answer['stages']]
        assert answer['complete'] and answer['result'].startswith(result), (args, keys, answer)
        assert [s for s in stages if s.startswith('firewall: ')] == ['firewall: ' + r for r in rules], stages
        assert re.fullmatch(r'zone \d+: (new|established reply)', [s for s in stages if s.startswith('zone')][0]), stages
    assert 'reply' in ' '.join(stages)
    answer = lab.daemon.rpc('trace', port='a', dst_mac=mac_text(mac('b')), src=ip('c'), dst=ip('b'))
    assert answer['result'].startswith('dropped: spoofed')
    answer = lab.daemon.rpc('trace', port='a', src_mac=mac_text(mac('a')), dst_mac='02:00:00:00:00:66', src=ip('a'),
                            dst='10.0.0.9', proto='tcp', dst_port=80)
    assert answer['result'] == 'flooded to b, g; a copy is dropped: firewall (%s)' % answer['drops'][0]['explanation'], answer
    assert [c['id'] for c in lab.connections()] == [c['id'] for c in before]
