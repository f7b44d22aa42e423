# SPDX-License-Identifier: Apache-2.0
"""Networks over tunnels against the kernel's own tunnel devices, in network namespaces; no guests.

    namespace vm: tap (10.0.0.1) -- xviod -- uplink 198.18.77.1 -- bridge in namespace lan -- namespaces r2, r3 ...:
    198.18.77.N with a kernel vxlan device, 10.0.0.N on it.
"""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'lib'))
from lab import spread  # noqa: E402
from xvio import Xviod, program  # noqa: E402

PREFIX = 'xv%d' % (os.getpid() % 100000)
V4, V6 = '198.18.77.%d', '2001:db8:77::%d'     # nobody's on this machine


def run(*args, check=True, timeout=60):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=timeout)
    assert not check or done.returncode == 0, (args, done.stdout, done.stderr)
    return done


class Lan:
    """xviod with one VM and one uplink, and remote hosts that run the kernel's tunnels."""

    def __init__(self, uplink='af_packet', underlay=V4, tunnel='vxlan', remotes=(2,), vni=100, bits=None, ports=(),
                 network=None, listed=None, mtu=None):
        self.uplink, self.underlay, self.tunnel, self.vni = uplink, underlay, tunnel, vni
        self.bits = bits or (24 if underlay == V4 else 64)
        self.remotes, self.namespaces = list(remotes), []
        up = {'name': 'up', 'kind': 'ethdev', 'device': 'net_af_packet_%s,iface=%su' % (PREFIX, PREFIX)}
        if uplink == 'tap':
            up = {'name': 'up', 'kind': 'tap', 'interface': PREFIX + 'u'}
        if mtu:
            up['mtu'] = mtu
        self.config = {
            'networks': [dict({'name': 'blue', 'vtep': 'v0', 'vni': vni, 'tunnel': tunnel,
                               'remotes': [underlay % r for r in (listed or remotes)]}, **(network or {}))],
            'vteps': [{'name': 'v0', 'port': 'up', 'address': '%s/%d' % (underlay % 1, self.bits)}],
            'ports': [up, {'name': 'vm', 'kind': 'tap', 'interface': PREFIX + 'v', 'network': 'blue'}, *ports]}
        self.xviod = Xviod(self.config)

    def __enter__(self):
        try:
            self.setup()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        try:
            if exc[0] is None:
                self.check_ledger()
        finally:
            self.close()

    def ns(self, name):
        full = PREFIX + name
        run('ip', 'netns', 'add', full)
        self.namespaces.append(full)
        run('ip', '-n', full, 'link', 'set', 'lo', 'up')
        return full

    def sysctl(self, name, key, value):
        self.on(name, 'sysctl', '-qw', '%s=%s' % (key, value))

    def on(self, name, *args, **keys):
        return run('ip', 'netns', 'exec', PREFIX + name, *args, **keys)

    def setup(self):
        lan = self.ns('lan')
        self.ns('vm')
        run('ip', '-n', lan, 'link', 'add', 'sw', 'type', 'bridge', 'mcast_snooping', '0')
        run('ip', '-n', lan, 'link', 'set', 'sw', 'up')
        if self.uplink != 'tap':
            self.cable(PREFIX + 'u', None)
        self.xviod.start()
        if self.uplink == 'tap':
            run('ip', 'link', 'set', PREFIX + 'u', 'netns', lan)
            run('ip', '-n', lan, 'link', 'set', PREFIX + 'u', 'master', 'sw', 'up')
        run('ip', 'link', 'set', PREFIX + 'v', 'netns', PREFIX + 'vm')
        self.sysctl('vm', 'net.ipv6.conf.all.disable_ipv6', 1)   # nobody talks unasked
        self.address('vm', PREFIX + 'v', '10.0.0.1/24')
        run('ip', '-n', PREFIX + 'vm', 'link', 'set', PREFIX + 'v', 'mtu', self.inner_mtu, 'up')
        for r in self.remotes:
            self.remote(r)

    @property
    def inner_mtu(self):
        return 1400 if self.underlay == V6 else 1450

    def address(self, ns, device, address):
        nodad = ['nodad'] if ':' in address else []
        run('ip', '-n', PREFIX + ns, 'addr', 'add', address, 'dev', device, *nodad)

    def cable(self, name, ns):
        """A cable into the bridge; its other end is `name` in ns (None: our own)."""
        lan, peer = PREFIX + 'lan', 'b' + name[-12:]
        run('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', peer, 'netns', lan)
        run('ip', '-n', lan, 'link', 'set', peer, 'master', 'sw', 'up')
        if ns:
            run('ip', 'link', 'set', name, 'netns', ns)
        at = ['-n', ns] if ns else []
        run('ip', *at, 'link', 'set', name, 'up')
        if not ns:
            run('sysctl', '-qw', 'net.ipv6.conf.%s.disable_ipv6=1' % name)

    def remote(self, r, vni=None, inner=None):
        """Host r: its underlay address and the kernel's tunnel device vx."""
        ns = self.ns('r%d' % r)
        self.cable(PREFIX + 'r%d' % r, ns)
        run('ip', '-n', ns, 'link', 'set', PREFIX + 'r%d' % r, 'name', 'eth0')
        # af_packet hands packets on as they lie in memory: checksums have to be finished.
        self.on('r%d' % r, 'ethtool', '-K', 'eth0', 'tx', 'off')
        self.address('r%d' % r, 'eth0', '%s/%d' % (self.underlay % r, self.bits))
        self.device('r%d' % r, r, vni or self.vni)
        self.sysctl('r%d' % r, 'net.ipv6.conf.vx.disable_ipv6', 1)
        self.address('r%d' % r, 'vx', inner or '10.0.0.%d/24' % r)
        run('ip', '-n', ns, 'link', 'set', 'vx', 'mtu', self.inner_mtu, 'up')

    def device(self, ns, r, vni):
        n = PREFIX + ns
        if self.tunnel == 'vxlan':
            run('ip', '-n', n, 'link', 'add', 'vx', 'type', 'vxlan', 'id', vni, 'local', self.underlay % r, 'remote',
                self.underlay % 1, 'dstport', 4789, 'dev', 'eth0')
        elif self.tunnel == 'geneve':
            run('ip', '-n', n, 'link', 'add', 'vx', 'type', 'geneve', 'id', vni, 'remote', self.underlay % 1)
        else:  # NVGRE: the key is the VSID and, in its last byte, the flow
            run('ip', '-n', n, 'link', 'add', 'vx', 'type', 'gretap', 'local', self.underlay % r, 'remote',
                self.underlay % 1, 'okey', vni << 8)

    def close(self):
        try:
            if self.xviod.process:
                self.xviod.stop()
        finally:
            for ns in self.namespaces:
                run('ip', 'netns', 'del', ns, check=False)
            run('ip', 'link', 'del', PREFIX + 'u', check=False)

    # what it says

    def ports(self):
        return {p['name']: p for p in self.xviod.rpc('port.list') + self.xviod.rpc('tunnel.list')}

    def drops(self, port):
        return {k: v for k, v in self.ports()[port]['drops'].items() if v}

    def tunnel_port(self, r=2):
        return 'blue@' + self.underlay % r

    def until(self, condition, timeout=20, told=None):
        """Wait until the condition holds; told: what to say when it never does."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, (told or self.ports)()
            time.sleep(0.05)

    def check_ledger(self):
        def wrong():
            return [p for p in self.ports().values() if p['rx_packets'] + p['copies'] !=
                    p['forwarded'] + p['punts'] + p['held'] + sum(p['drops'].values())]
        self.until(lambda: not wrong(), told=wrong)

    def wait_up(self, r=None):
        def down():
            return [t for t in self.xviod.rpc('tunnel.list')
                    if t['state'] != 'up' and (r is None or t['remote'] == self.underlay % r)]
        self.until(lambda: not down(), told=down)

    def ping(self, ns, address, size=56, count=3, wait=2.0, expect=None):
        """How many of the requests were answered, with what they carried; expect: all, unless told."""
        out = self.on(ns, sys.executable, '-c', PING, address, size, count, wait).stdout
        assert int(out) == (count if expect is None else expect), out


PING = '''
import random, socket, struct, sys, time
address, size, count, wait = sys.argv[1], *map(float, sys.argv[2:])
v6 = ":" in address
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, 58 if v6 else 1)
if not v6:
    s.setsockopt(socket.IPPROTO_IP, 10, 2)        # IP_MTU_DISCOVER, IP_PMTUDISC_DO
data, ident, answered = random.Random(size).randbytes(int(size)), random.randrange(65536), 0
for seq in range(int(count)):
    head = struct.pack("!HH", ident, seq)
    packet = bytes([128 if v6 else 8, 0, 0, 0]) + head + data
    total = sum(struct.unpack("!%dH" % (len(packet + packet[:len(packet) % 2]) // 2), packet + bytes(len(packet) % 2)))
    total = (total & 0xffff) + (total >> 16)
    packet = packet[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + packet[4:]
    s.sendto(packet, (address, 0))
    end = time.monotonic() + wait
    while time.monotonic() < end:
        s.settimeout(max(0.001, end - time.monotonic()))
        try:
            got = s.recv(65536)
        except socket.timeout:
            break
        got = got if v6 else got[(got[0] & 15) * 4:]
        if got[0] == (129 if v6 else 0) and got[4:] == head + data:
            answered += 1
            break
print(answered)
'''
SERVER = '''
import hashlib, socket, sys
s = socket.create_server(("", 7777), family=socket.AF_INET6, dualstack_ipv6=True); print("ready", flush=True)
c, _ = s.accept(); h = hashlib.sha256(); n = 0
while True:
    d = c.recv(1 << 16)
    if not d: break
    h.update(d); n += len(d)
c.sendall(h.hexdigest().encode()); c.close(); print(n)
'''
CLIENT = '''
import hashlib, random, socket, sys
data = random.Random(1).randbytes(int(sys.argv[2])); c = socket.create_connection((sys.argv[1], 7777), 10)
c.sendall(data); c.shutdown(socket.SHUT_WR); assert c.recv(100).decode() == hashlib.sha256(data).hexdigest()
'''


def copy(lan, from_ns, to_ns, address, size=20_000_000):
    """A TCP connection that carries so many bytes; both ends agree on their checksum."""
    server = subprocess.Popen(['ip', 'netns', 'exec', PREFIX + to_ns, sys.executable, '-c', SERVER],
                              stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == 'ready\n'
        lan.on(from_ns, sys.executable, '-c', CLIENT, address, size)
        assert int(server.communicate(timeout=10)[0]) == size
    finally:
        server.kill()


@pytest.mark.parametrize('uplink', ['af_packet', 'tap'])
@pytest.mark.parametrize('underlay', [V4, V6], ids=['ipv4', 'ipv6'])
def test_ping_and_copy(uplink, underlay):
    with Lan(uplink, underlay) as lan:
        lan.wait_up()
        lan.ping('vm', '10.0.0.2')
        lan.ping('r2', '10.0.0.1')
        lan.ping('vm', '10.0.0.2', 1358)   # frames of 1400 bytes
        lan.ping('r2', '10.0.0.1', 1358)
        lan.ping('r2', underlay % 1)       # the VTEP itself
        copy(lan, 'vm', 'r2', '10.0.0.2')
        copy(lan, 'r2', 'vm', '10.0.0.1')
        lan.check_ledger()
        ports = lan.ports()
        tunnel, up, vm = ports[lan.tunnel_port()], ports['up'], ports['vm']
        assert tunnel['state'] == 'up' and tunnel['next_hop'] == underlay % 2
        assert up['forwarded'] == tunnel['rx_packets'] > 5000 and tunnel['tx_packets'] > 5000 // 20
        assert vm['copies'] > 5000        # segments of what the VM left to us
        assert sum(tunnel['drops'].values()) == 0, tunnel['drops']
        macs = {m['port'] for m in lan.xviod.rpc('mac.list')}
        assert macs == {'vm', lan.tunnel_port()}


def test_iperf3():
    """Both ways, with segmentation offload: the load that people try first."""
    with Lan() as lan:
        lan.ping('vm', '10.0.0.2')
        for way in ([], ['--reverse']):
            server = subprocess.Popen(['ip', 'netns', 'exec', PREFIX + 'r2', 'iperf3', '-s', '-1', '-B', '10.0.0.2'],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                for _ in range(50):
                    if ':5201' in lan.on('r2', 'ss', '-Hltn').stdout:
                        break
                    time.sleep(0.1)
                done = lan.on('vm', 'iperf3', '-c', '10.0.0.2', '-t', '2', '-J', *way, check=False)
                report = json.loads(done.stdout)
                assert 'error' not in report, report['error']
                assert report['end']['sum_received']['bytes'] > 10_000_000, report['end']['sum_received']
            finally:
                server.kill()
                server.wait()


def test_two_remotes_flood_without_loops():
    with Lan(remotes=(2, 3, 4)) as lan:
        lan.wait_up()
        lan.xviod.rpc('mac.flush')
        # A broadcast of the VM reaches every remote once; one of a remote the VM, and no remote through us.
        before = lan.ports()

        def more(port, counter):
            return lan.ports()[port][counter] - before[port][counter]
        lan.on('vm', sys.executable, '-c', BROADCAST, PREFIX + 'v', '10')
        for r in (2, 3, 4):
            lan.until(lambda: more(lan.tunnel_port(r), 'tx_packets') >= 10)
        lan.until(lambda: more('vm', 'copies') >= 20)
        before = lan.ports()
        lan.on('r2', sys.executable, '-c', BROADCAST, 'vx', '10')
        lan.until(lambda: more(lan.tunnel_port(2), 'rx_packets') >= 10 and more('vm', 'tx_packets') >= 10)
        after = lan.ports()
        for r in (3, 4):
            assert after[lan.tunnel_port(r)]['tx_packets'] == before[lan.tunnel_port(r)]['tx_packets']
        for r in (2, 3, 4):
            lan.ping('vm', '10.0.0.%d' % r)


BROADCAST = '''
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0))
mac = s.getsockname()[4]
for i in range(int(sys.argv[2])):
    s.send(b"\\xff" * 6 + mac + b"\\x88\\xb5" + bytes(50))
'''


def test_strangers_are_counted():
    # r3 is on the same LAN, and no remote of the network; r4 is one, and has another VNI.
    with Lan(remotes=(2, 3), listed=(2, 4)) as lan:
        lan.remote(4, vni=200)
        lan.wait_up()
        lan.ping('r3', '10.0.0.1', count=1, wait=1, expect=0)
        lan.ping('r4', '10.0.0.1', count=1, wait=1, expect=0)
        drops = lan.drops('up')
        assert drops['tunnel-source'] > 0 and drops['tunnel-vni'] > 0
        assert lan.ports()[lan.tunnel_port(4)]['rx_packets'] == 0
        # A checksum that is wrong, and a port that is nobody's.
        lan.on('r2', sys.executable, '-c', DATAGRAM, V4 % 2, V4 % 1, '4789', '1234')
        lan.on('r2', sys.executable, '-c', DATAGRAM, V4 % 2, V4 % 1, '9', '0')
        lan.until(lambda: lan.drops('up').get('tunnel-csum') and lan.drops('up').get('tunnel-stray'))
        assert lan.drops('up')['tunnel-csum'] == 1
        lan.ping('vm', '10.0.0.2')
        reasons = {(d['port'], d['reason']) for d in lan.xviod.rpc('drop.list')}
        assert ('up', 'tunnel-source') in reasons and ('up', 'tunnel-vni') in reasons


DATAGRAM = '''
import socket, struct, sys
src, dst, port, csum = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
payload = struct.pack("!II", 0x08000000, 100 << 8) + b"\\xff" * 6 + bytes(54)
udp = struct.pack("!HHHH", 5000, port, 8 + len(payload), csum) + payload
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(src), socket.inet_aton(dst))
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW); s.sendto(ip + udp, (dst, 0))
'''


@pytest.mark.parametrize('underlay', spread([V4], [V6]), ids=spread(['ipv4'], ['ipv6']))
def test_neighbour_that_gets_another_mac_address(underlay):
    with Lan(underlay=underlay) as lan:
        lan.wait_up()
        lan.ping('vm', '10.0.0.2')
        old = lan.ports()[lan.tunnel_port()]['next_hop_mac']
        n = PREFIX + 'r2'
        run('ip', '-n', n, 'link', 'set', 'eth0', 'address', '02:aa:bb:cc:dd:ee')
        # Nobody tells us (the kernel announces nothing by default): we find out by asking.
        run('ip', '-n', n, 'neigh', 'flush', 'all', check=False)
        lan.until(lambda: lan.ports()[lan.tunnel_port()]['next_hop_mac'] == '02:aa:bb:cc:dd:ee', 30)
        assert old != '02:aa:bb:cc:dd:ee'
        lan.ping('vm', '10.0.0.2')


def test_neighbour_that_asks_is_learned_at_once():
    with Lan() as lan:
        lan.wait_up()
        n = PREFIX + 'r2'
        run('ip', '-n', n, 'link', 'set', 'eth0', 'address', '02:aa:bb:cc:dd:01')
        lan.ping('r2', '10.0.0.1')         # its own ARP request comes first
        assert lan.ports()[lan.tunnel_port()]['next_hop_mac'] == '02:aa:bb:cc:dd:01'


def test_next_hop_that_comes_late():
    with Lan(remotes=(), listed=(2,)) as lan:
        time.sleep(0.3)
        assert lan.xviod.rpc('tunnel.list')[0]['state'] == 'resolving'
        lan.on('vm', sys.executable, '-c', BROADCAST, PREFIX + 'v', '40')
        lan.until(lambda: lan.ports()['vm']['held'] == 32 and lan.drops('vm').get('no-neighbour', 0) >= 8)  # bounded
        lan.remote(2)
        lan.wait_up()
        lan.until(lambda: lan.ports()['vm']['held'] == 0)
        lan.check_ledger()
        vm = lan.ports()['vm']
        assert vm['forwarded'] + vm['drops']['no-neighbour'] == vm['rx_packets']
        lan.ping('vm', '10.0.0.2')
    with Lan(remotes=(), listed=(2,)) as lan:                            # and for one that never comes
        lan.on('vm', sys.executable, '-c', BROADCAST, PREFIX + 'v', '5')
        lan.until(lambda: lan.drops('vm').get('no-neighbour', 0) >= 5)
        vm = lan.ports()['vm']
        assert vm['held'] == 0 and vm['drops']['no-neighbour'] == vm['rx_packets'] >= 5


def test_gateway():
    # 198.51.100.9 is behind r2, which routes.
    lan = Lan(remotes=(2,), listed=(2,))
    lan.config['vteps'][0]['gateway'] = V4 % 2
    lan.config['networks'][0]['remotes'] = ['198.51.100.9']
    with lan:
        n = PREFIX + 'r2'
        run('ip', '-n', n, 'addr', 'add', '198.51.100.9/32', 'dev', 'lo')
        run('ip', '-n', n, 'link', 'del', 'vx')
        run('ip', '-n', n, 'link', 'add', 'vx', 'type', 'vxlan', 'id', 100, 'local', '198.51.100.9', 'remote', V4 % 1,
            'dstport', 4789)
        lan.address('r2', 'vx', '10.0.0.2/24')
        run('ip', '-n', n, 'link', 'set', 'vx', 'mtu', 1450, 'up')
        lan.wait_up()
        lan.ping('vm', '10.0.0.2')
        assert lan.xviod.rpc('tunnel.list')[0]['next_hop'] == V4 % 2


def test_policy_and_vlan_on_such_a_network():
    lan = Lan()
    lan.config['policies'] = [{'name': 'no-ping', 'default': 'allow', 'rules': [
        {'action': 'deny', 'protocol': 'icmp', 'icmp_type': 8}]}]
    with lan:
        lan.wait_up()
        lan.ping('vm', '10.0.0.2')
        lan.xviod.rpc('port.set', **{'name': 'vm', 'ingress_policy': 'no-ping'})
        lan.ping('r2', '10.0.0.1', count=2, wait=0.5, expect=0)
        assert lan.drops(lan.tunnel_port())['policy'] == 2
        lan.ping('vm', '10.0.0.2')                   # the answers may come in
        lan.xviod.rpc('port.set', **{'name': 'vm', 'ingress_policy': None, 'egress_policy': 'no-ping'})
        lan.ping('vm', '10.0.0.2', count=2, wait=0.5, expect=0)
        assert lan.drops('vm')['policy'] == 2
        lan.ping('r2', '10.0.0.1')
        copy(lan, 'vm', 'r2', '10.0.0.2', 2_000_000)
        copy(lan, 'r2', 'vm', '10.0.0.1', 2_000_000)


def test_changes_while_running():
    with Lan(remotes=(2, 3), listed=(2,)) as lan:
        lan.wait_up()
        ctl = lan.xviod.rpc
        lan.ping('vm', '10.0.0.2')
        lan.ping('vm', '10.0.0.3', count=1, wait=0.3, expect=0)
        ctl('network.set', **{'name': 'blue', 'remotes': [V4 % 2, V4 % 3]})
        lan.wait_up()
        lan.ping('vm', '10.0.0.3')
        lan.ping('vm', '10.0.0.2')
        ctl('network.set', **{'name': 'blue', 'vni': 101})
        lan.ping('vm', '10.0.0.2', count=1, wait=0.3, expect=0)
        ctl('network.set', **{'name': 'blue', 'vni': 100})
        lan.wait_up()
        lan.ping('vm', '10.0.0.2')
        ctl('vtep.set', **{'name': 'v0', 'gateway': V4 % 3})     # a new VTEP, new tunnels
        lan.wait_up()
        lan.ping('vm', '10.0.0.2')
        ctl('port.set', **{'name': 'up', 'tso': False})          # a new device: the port is made anew
        lan.wait_up()
        lan.ping('vm', '10.0.0.2')
        ctl('network.set', **{'name': 'blue', 'remotes': [V4 % 3]})
        lan.ping('vm', '10.0.0.2', count=1, wait=0.3, expect=0)
        lan.ping('vm', '10.0.0.3')
        ctl('network.set', **{'name': 'blue', 'vtep': None, 'vni': None, 'tunnel': None, 'remotes': None})
        ctl('vtep.del', **{'name': 'v0'})
        assert ctl('tunnel.list') == [] and ctl('vtep.list') == []
        lan.check_ledger()
        file = lan.xviod.dir / 'again.yaml'
        file.write_text(yaml.safe_dump(lan.config))
        run(program('xvioctl'), '-s', lan.xviod.api, 'apply', file)
        lan.wait_up()
        lan.ping('vm', '10.0.0.2')


BAD = [
    ({'networks': [{'vtep': 'v1'}]}, r'network blue: vtep: there is no vtep "v1"; did you mean "v0"\?'),
    ({'networks': [{'vni': None}]}, r'network blue: vni: is missing: a network with a vtep needs one'),
    ({'networks': [{'vni': 1 << 24}]}, r'network blue: vni: 16777216 is none of vxlan: 0 to 16777215'),
    ({'networks': [{'tunnel': 'vxlam'}]}, r'network blue: tunnel: .*vxlan.*'),
    ({'networks': [{'tunnel': 'nvgre'}]}, r'network blue: vni: 100 is none of nvgre: 4096 to 16777214'),
    ({'networks': [{'remotes': ['192.0.2.300']}]}, r'network blue: remotes: .*'),
    ({'networks': [{'remotes': ['239.1.1.1']}]}, r'network blue: remotes: "239.1.1.1" is out of range: .*'),
    ({'networks': [{'remotes': ['192.0.2.2', '192.0.2.2']}]}, r'network blue: remotes: names 192.0.2.2 twice'),
    ({'networks': [{'remotes': ['192.0.2.1']}]}, r'network blue: remotes: 192.0.2.1 is the address of vtep v0 itself'),
    ({'networks': [{'remotes': ['2001:db8::1']}]}, r'network blue: remotes: 2001:db8::1: vtep v0 has an IPv4 address'),
    ({'networks': [{'remotes': ['198.51.100.1']}]},
     r'network blue: remotes: 198.51.100.1 is not in 192.0.2.1/24, and vtep v0 has no gateway'),
    ({'networks': [{'tunnel': 'mpls-udp', 'vni': 15}]}, r'network blue: vni: 15 is none of mpls-udp: 16 to 1048575'),
    ({'networks': [{'vni': 1 << 32}]}, r'network blue: vni: 4294967296 is out of range 0\.\.4294967295'),
    ({'networks': [{'gbp': 65536}]}, r'network blue: gbp: 65536 is out of range 0\.\.65535'),
    ({'networks': [{'gbp': 1, 'tunnel': 'geneve'}]}, r'network blue: gbp: only vxlan has a group policy, not geneve'),
    ({'networks': [{'udp_port': 1, 'tunnel': 'gre'}]},
     r'network blue: udp_port: has no meaning with gre, which is not over UDP'),
    ({'networks': [{'udp_port': 6081}, {'name': 'red', 'vtep': 'v0', 'vni': 7, 'tunnel': 'geneve'}]},
     r'network blue: udp_port: 6081 is used for geneve by network red on the same vtep'),
    ({'networks': [{}] + [{'name': 'n%d' % n, 'vtep': 'v0', 'vni': n, 'udp_port': n} for n in range(1, 9)]},
     r'network \w+: udp_port: networks of vtep v0 have more than 8 different ones'),
    ({'networks': [{'tunnel': 'gre'}, {'name': 'red', 'vtep': 'v0', 'vni': 5000, 'tunnel': 'nvgre'}]},
     r'network blue: tunnel: gre with a vni and nvgre look the same on the wire: network red needs another vtep'),
    ({'networks': [{'tunnel': 'gre', 'vni': None}, {'name': 'red', 'vtep': 'v0', 'tunnel': 'gre'}]},
     r'network blue: vni: is missing, as in network red on the same vtep: one of them needs a key'),
    ({'networks': [{'vtep': None, 'vni': None, 'gbp': 1}]}, r'network blue: gbp: has a meaning only together with vtep'),
    ({'networks': [{'vtep': None}]}, r'network blue: vni: has a meaning only together with vtep'),
    ({'networks': [{}, {'name': 'red', 'vtep': 'v0', 'vni': 100}]},
     r'network blue: vni: 100 is used by network red on the same vtep'),
    ({'vteps': [{'port': 'vm'}]}, r'vtep v0: port: port vm belongs to network blue'),
    ({'vteps': [{'port': None}]}, r'vtep v0: port: is missing: a vtep needs port or ports'),
    ({'vteps': [{'ports': ['d']}]}, r'vtep v0: ports: stands instead of port, not beside it'),
    ({'vteps': [{'port': None, 'ports': []}]}, r'vtep v0: ports: must be 1 to 8 names, not 0'),
    ({'vteps': [{'port': None, 'ports': ['up', 'up']}]}, r'vtep v0: ports: names up twice'),
    ({'vteps': [{'port': None, 'ports': ['up', 'vm']}]}, r'vtep v0: ports: port vm belongs to network blue'),
    ({'vteps': [{'port': None, 'ports': ['up', 'x']}]}, r'vtep v0: ports: there is no port "x".*'),
    ({'vteps': [{'ttl': 0}]}, r'vtep v0: ttl: 0 is out of range 1\.\.255'),
    ({'vteps': [{'ttl': 'inherits'}]}, r'vtep v0: ttl: must be number 1\.\.255 or inherit, not "inherits"'),
    ({'vteps': [{'dscp': 64}]}, r'vtep v0: dscp: 64 is out of range 0\.\.63'),
    ({'vteps': [{'vlan': 4095}]}, r'vtep v0: vlan: 4095 is out of range 0\.\.4094'),
    ({'vteps': [{'csum': 7}]}, r'vtep v0: csum: must be true or false, not "7"'),
    ({'vteps': [{'address': '192.0.2.1'}]}, r'vtep v0: address: .*'),
    ({'vteps': [{'gateway': '10.1.1.1'}]}, r'vtep v0: gateway: 10.1.1.1 must be another address in 192.0.2.1/24'),
    ({'vteps': [{}, {'name': 'v1', 'port': 'up', 'address': '192.0.2.9/24'}]},
     r'vtep v0: port: port up is used by vtep v1|vtep v1: port: port up is used by vtep v0'),
    ({'wires': [{'name': 'w', 'ports': ['up', 'd']}]}, r'wire w: ports: port up is used by vtep v0'),
]


def test_bad_configuration_is_refused_with_one_sentence():
    base = {'networks': [{'name': 'blue', 'vtep': 'v0', 'vni': 100, 'remotes': ['192.0.2.2']}],
            'vteps': [{'name': 'v0', 'port': 'up', 'address': '192.0.2.1/24'}],
            'ports': [{'name': 'up', 'kind': 'dummy'}, {'name': 'vm', 'kind': 'dummy', 'network': 'blue'},
                      {'name': 'd', 'kind': 'dummy'}]}
    with Xviod(base) as xviod:
        def ctl(*args):
            return run(program('xvioctl'), '-s', xviod.api, *args, check=False)
        before = xviod.rpc('network.list'), xviod.rpc('vtep.list'), xviod.rpc('tunnel.list')
        assert before[2][0]['name'] == 'blue@192.0.2.2' and before[2][0]['state'] == 'resolving'
        for change, sentence in BAD:
            config = yaml.safe_load(yaml.safe_dump(base))
            for section, entries in change.items():
                have = config.setdefault(section, [])
                for i, entry in enumerate(entries):
                    if i == len(have):
                        have.append({})
                    have[i].update(entry)
                    have[i] = {k: v for k, v in have[i].items() if v is not None}
            file = xviod.dir / 'bad.yaml'
            file.write_text(yaml.safe_dump(config))
            bad = ctl('apply', file)
            assert bad.returncode == 1 and bad.stdout == '', (change, bad)
            assert re.fullmatch(r'xvioctl: \S*bad\.yaml:\d+: (%s)\n' % sentence, bad.stderr), (change, bad.stderr)
        assert before == (xviod.rpc('network.list'), xviod.rpc('vtep.list'), xviod.rpc('tunnel.list'))
        for args, sentence in ((('vtep', 'del', 'v0'), 'is used by network blue'),
                               (('port', 'del', 'up'), 'is used by vtep v0')):
            bad = ctl(*args)
            assert bad.returncode == 1 and sentence in bad.stderr, bad
        good = ctl('tunnel', 'list')
        assert good.returncode == 0 and '192.0.2.2' in good.stdout and 'resolving' in good.stdout
        assert '192.0.2.1/24' in ctl('vtep', 'list').stdout and '02:' in ctl('vtep', 'show', 'v0').stdout


@pytest.mark.parametrize('tunnel', ['vxlan', 'geneve', 'nvgre'])
@pytest.mark.parametrize('underlay', [V4, V6], ids=['ipv4', 'ipv6'])
def test_two_of_ours(tunnel, underlay):
    """Another xviod at the other end: the tunnels that this kernel may not have."""
    lan = Lan('tap', underlay, tunnel, remotes=(), listed=(9,), vni=5000)
    other = {'networks': [{'name': 'blue', 'vtep': 'v0', 'vni': 5000, 'tunnel': tunnel, 'remotes': [underlay % 1]}],
             'vteps': [{'name': 'v0', 'port': 'up', 'address': '%s/%d' % (underlay % 9, lan.bits)}],
             'ports': [{'name': 'up', 'kind': 'tap', 'interface': PREFIX + 'x'},
                       {'name': 'vm', 'kind': 'tap', 'interface': PREFIX + 'y', 'network': 'blue'}]}
    with lan, Xviod(other) as second:
        lan.ns('vm2')
        run('ip', 'link', 'set', PREFIX + 'x', 'netns', PREFIX + 'lan')
        run('ip', '-n', PREFIX + 'lan', 'link', 'set', PREFIX + 'x', 'master', 'sw', 'up')
        run('ip', 'link', 'set', PREFIX + 'y', 'netns', PREFIX + 'vm2')
        lan.address('vm2', PREFIX + 'y', '10.0.0.9/24')
        run('ip', '-n', PREFIX + 'vm2', 'link', 'set', PREFIX + 'y', 'mtu', 1400, 'up')
        lan.wait_up()
        lan.ping('vm', '10.0.0.9')
        lan.ping('vm', '10.0.0.9', 1300)
        copy(lan, 'vm', 'vm2', '10.0.0.9', 5_000_000)
        copy(lan, 'vm2', 'vm', '10.0.0.1', 5_000_000)
        tunnel_port = second.rpc('tunnel.list')[0]
        assert tunnel_port['rx_packets'] > 1000 and tunnel_port['tunnel'] == tunnel


def test_two_workers():
    lan = Lan('tap', remotes=(2, 3))
    lan.config['workers'] = [{'name': 'w0'}, {'name': 'w1'}]
    with lan:
        lan.wait_up()
        copy(lan, 'vm', 'r2', '10.0.0.2')
        copy(lan, 'r2', 'vm', '10.0.0.1')
        workers = lan.xviod.rpc('worker.list')
        assert all(w['packets'] > 1000 for w in workers), workers
        # One goes, with its queues; next hops are there still.
        lan.xviod.rpc('worker.del', **{'name': 'w1'})
        lan.ping('vm', '10.0.0.2')
        lan.ping('r3', '10.0.0.1')


def test_rate_limit_of_the_uplink():
    lan = Lan()
    lan.config['ports'][0].update({'tx_limit_pps': 100, 'limit_burst_ms': 1})
    with lan:
        lan.wait_up()
        lan.on('vm', sys.executable, '-c', BROADCAST, PREFIX + 'v', '1000')
        lan.until(lambda: lan.drops('vm').get('rate-limit', 0) > 500)


def test_a_change_that_fails_changes_nothing():
    with Lan(remotes=(2, 3)) as lan:
        lan.wait_up()
        before = lan.xviod.rpc('vtep.list'), [t['name'] for t in lan.xviod.rpc('tunnel.list')]
        config = yaml.safe_load(yaml.safe_dump(lan.config))
        config['vteps'][0]['gateway'] = V4 % 3
        config['networks'][0].update(vni=7, remotes=[V4 % 2, V4 % 9])
        config['ports'].append({'name': 'bad', 'kind': 'ethdev', 'device': 'net_af_packet_bad,iface=nosuch0'})
        file = lan.xviod.dir / 'bad.yaml'
        file.write_text(yaml.safe_dump(config))
        for _ in range(3):
            bad = run(program('xvioctl'), '-s', lan.xviod.api, 'apply', file, check=False)
            assert bad.returncode == 1 and 'port bad' in bad.stderr, bad
            assert before == (lan.xviod.rpc('vtep.list'), [t['name'] for t in lan.xviod.rpc('tunnel.list')])
            lan.wait_up()
            lan.ping('vm', '10.0.0.2')
            lan.ping('r3', '10.0.0.1')
