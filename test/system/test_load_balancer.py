# SPDX-License-Identifier: Apache-2.0
"""Load balancers and routers as VMs see them: taps in network namespaces, the kernel's own TCP, UDP, ICMP behind them; no guests.

    blue    c 10.0.0.1   client           ext   x 192.0.2.1   the world
            d 10.0.0.11                         y 192.0.2.2
            e 10.0.0.12  backends
            f 10.0.0.13
            router 10.0.0.254                   router 192.0.2.254

Sockets are opened in the VM's namespace by this process.
"""

import collections
import contextlib
import ctypes
import ftplib
import io
import ipaddress
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'lib'))
from guest import wait  # noqa: E402
from xvio import Error, Xviod  # noqa: E402

PREFIX = 'xvl%d' % (os.getpid() % 100000)
WHERE = {'c': ('blue', 1), 'd': ('blue', 11), 'e': ('blue', 12), 'f': ('blue', 13), 'x': ('ext', 1), 'y': ('ext', 2)}
NETS = {'blue': ('10.0.0.%d', '2001:db8:1::%x'), 'ext': ('192.0.2.%d', '2001:db8:2::%x')}
VIP, VIP6, SOURCE, SOURCE6 = '10.0.0.100', '2001:db8:1::100', '10.0.0.253', '2001:db8:1::253'
LIBC = ctypes.CDLL(None, use_errno=True)
HOME = '/proc/self/fd/%d' % os.open('/proc/self/ns/net', os.O_RDONLY)
SILENCE = 0.3


def run(*args, check=True):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=20)
    assert not check or done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


def ip(vm, v6=False):
    net, n = WHERE[vm]
    return NETS[net][v6] % n


def mac(vm):
    return '02:00:00:00:%02x:%02x' % (WHERE[vm][0] == 'ext', WHERE[vm][1])


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


def backends(*vms, v6=False, **keys):
    return [{'address': ip(vm, v6), **keys} for vm in vms]


class Server:
    """What a backend runs: says its name to who connects, and echoes."""

    def __init__(self, lab, vm, port, v6=False, address=None, udp=False):
        self.vm, self.udp = vm, udp
        self.socket = lab.socket(vm, socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.settimeout(None)
        self.socket.bind((address or ('::' if v6 else '0.0.0.0'), port))
        if not udp:
            self.socket.listen(512)
        self.clients, self.peers = [], []
        self.thread = threading.Thread(target=self.serve_udp if udp else self.serve, daemon=True)
        self.thread.start()

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.socket.recvfrom(2048)
                if peer is None or data == b'stop':     # None: shut down
                    return
                self.peers.append(peer[0])
                self.socket.sendto(self.vm.encode() + data, peer)

    def serve(self):
        poll = select.epoll()
        poll.register(self.socket, select.EPOLLIN)
        by_fd = {}
        with contextlib.suppress(OSError, ValueError):
            while True:
                for fd, _ in poll.poll():
                    if fd == self.socket.fileno():
                        s, peer = self.socket.accept()
                        self.peers.append(peer[0])
                        by_fd[s.fileno()] = s
                        self.clients.append(s)
                        poll.register(s, select.EPOLLIN)
                        s.send(self.vm.encode())
                        continue
                    data = b''
                    with contextlib.suppress(OSError):
                        data = by_fd[fd].recv(4096)
                    if data:
                        by_fd[fd].send(data)
                    else:
                        poll.unregister(fd)
                        by_fd.pop(fd).close()


class Lab:
    def __init__(self):
        self.open = []
        self.daemon = Xviod({
            'networks': [{'name': 'blue', 'gateway_mac': '02:00:5e:00:00:01'}, {'name': 'ext', 'gateway_mac': '02:00:5e:00:00:02'}],
            'ports': [{'name': vm, 'kind': 'tap', 'interface': PREFIX + vm, 'network': net} for vm, (net, _) in WHERE.items()]})

    def setup(self):
        self.daemon.start()
        for vm in WHERE:
            ns, dev = PREFIX + vm, PREFIX + vm
            run('ip', 'netns', 'add', ns)
            run('ip', 'link', 'set', dev, 'netns', ns)
            with inside(vm):
                run('sysctl', '-qw', 'net.ipv6.conf.%s.accept_dad=0' % dev, 'net.ipv6.conf.%s.router_solicitations=0' % dev,
                    'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0', 'net.ipv4.conf.all.arp_ignore=1',
                    'net.ipv4.conf.all.arp_announce=2',
                    'net.ipv4.tcp_syn_linear_timeouts=0')
            for args in (['link', 'set', dev, 'address', mac(vm), 'up'], ['link', 'set', 'lo', 'up'],
                         ['addr', 'add', ip(vm) + '/24', 'dev', dev]):
                run('ip', '-n', ns, *args)
            self.addresses(vm)

    @staticmethod
    def addresses(vm):
        """All that the kernel forgets when a link goes down."""
        ns, dev = PREFIX + vm, PREFIX + vm
        run('ip', '-n', ns, 'link', 'set', dev, 'up')
        run('ip', '-n', ns, 'addr', 'replace', ip(vm, True) + '/64', 'dev', dev)
        if WHERE[vm][0] == 'blue':
            run('ip', '-n', ns, 'route', 'replace', 'default', 'via', '10.0.0.254')
            run('ip', '-n', ns, 'route', 'replace', 'default', 'via', '2001:db8:1::254')

    def close(self):
        try:
            self.daemon.stop()
        finally:
            for vm in WHERE:
                run('ip', 'netns', 'del', PREFIX + vm, check=False)

    def hang_up(self):
        while self.open:
            s = self.open.pop()
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
        for kind in 'lb', 'router':
            for o in self.daemon.rpc(kind + '.list'):
                self.daemon.rpc(kind + '.del', name=o['name'])
        for vm in WHERE:
            run('ip', '-n', PREFIX + vm, 'neigh', 'flush', 'all', check=False)
            run('ip', '-n', PREFIX + vm, 'addr', 'flush', 'dev', 'lo', check=False)
            self.addresses(vm)
        self.daemon.rpc('ct.flush')

    # what VMs do

    def socket(self, vm, *args):
        with inside(vm):
            s = socket.socket(*args)
        s.settimeout(2)
        self.open.append(s)
        return s

    def connect(self, vm, address, port, timeout=3.0, source=0):
        s = self.socket(vm, socket.AF_INET6 if ':' in address else socket.AF_INET)
        if source:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(('', source))
        s.settimeout(timeout)
        s.connect((address, port))
        return s

    def served_by(self, vm, address, port, n=1):
        """The names of those who answer n connections, and the connections."""
        streams = [self.connect(vm, address, port) for _ in range(n)]
        return [s.recv(1).decode() for s in streams], streams

    def ping(self, vm, address, count=1, *args):
        return subprocess.run(['ip', 'netns', 'exec', PREFIX + vm, 'ping', '-c', str(count), '-i', '0.05', '-W', '1', *args, address],
                              capture_output=True, text=True, timeout=20)

    def lb(self, name, **keys):
        self.daemon.rpc('lb.add', name=name, network='blue', **{'address': VIP, **keys})
        self.ready(name)

    def ready(self, name, *down):
        """All of its backends are as they should be."""
        want = {ip(vm, v6) for vm in down for v6 in (False, True)}
        wait(lambda: all(b['usable'] == (b['address'] not in want and not b['drain'] and b['weight'] > 0)
                         for b in self.daemon.rpc('lb.show', name=name)['backends']), 5, 'backends of ' + name)

    def router(self, **keys):
        self.daemon.rpc('router.add', name='r0', interfaces=[
            {'network': 'blue', 'address': '10.0.0.254/24'}, {'network': 'ext', 'address': '192.0.2.254/24'},
            {'network': 'blue', 'address': '2001:db8:1::254/64'}, {'network': 'ext', 'address': '2001:db8:2::254/64'}], **keys)

    def drops(self, port):
        return {k: v for k, v in self.daemon.port(port)['drops'].items() if v}


def echoes(s, text=b'hello'):
    try:
        s.send(text)
        return s.recv(len(text)) == text
    except (TimeoutError, ConnectionError):
        return False


@pytest.fixture(scope='module')
def built():
    lab = Lab()
    try:
        lab.setup()
        yield lab
    finally:
        lab.close()


@pytest.fixture
def lab(built):
    yield built
    built.hang_up()


# ---- Load balancers ----

@pytest.mark.parametrize('v6', [False, True], ids=['ipv4', 'ipv6'])
def test_nat(lab, v6):
    """Connections go to all backends by weight, and stay; backends see the client; nobody sees them; the port is another."""
    servers = {vm: Server(lab, vm, 8080, v6) for vm in 'def'}
    vip = VIP6 if v6 else VIP
    lab.lb('web', port=80, address=vip, backends=[{'address': ip(vm, v6), 'port': 8080, 'weight': w} for vm, w in zip('def', (1, 1, 2))])
    names, streams = lab.served_by('c', vip, 80, 200)
    count = collections.Counter(names)
    assert set(count) == set('def') and 70 <= count['f'] <= 130 and count['d'] > 25 and count['e'] > 25, count
    assert all(echoes(s, b'x' * 1000) for s in streams)
    assert all(set(s.peers) == {ip('c', v6)} for s in servers.values())
    shown = lab.daemon.rpc('lb.show', name='web')['backends']
    assert [b['connections_opened'] for b in shown] == [count[vm] for vm in 'def']
    assert lab.ping('c', vip).returncode == 0
    # Nothing else is at the address; who asks is told.
    with pytest.raises(ConnectionRefusedError):
        lab.connect('c', vip, 81)


def test_dsr(lab):
    """Backends have the virtual address on their loopback, get what the client sent, and answer directly."""
    for vm in 'def':
        run('ip', '-n', PREFIX + vm, 'addr', 'add', VIP + '/32', 'dev', 'lo')
        Server(lab, vm, 80)
    lab.lb('web', port=80, mode='dsr', backends=backends(*'def'))
    names, streams = lab.served_by('c', VIP, 80, 60)
    assert set(names) == set('def')
    assert all(echoes(s) for s in streams)
    # They stay where they are when a backend is taken out for new ones.
    lab.daemon.rpc('lb.set', name='web', backends=[*backends('d', drain=True), *backends('e', 'f')])
    assert set(lab.served_by('c', VIP, 80, 30)[0]) == set('ef')
    assert all(echoes(s) for s in streams)


def test_drain(lab):
    """A backend that drains gets no new connections; those that it has go on. Removed, they end, and only they."""
    for vm in 'def':
        Server(lab, vm, 80)
    lab.lb('web', port=80, backends=backends(*'def'))
    names, streams = lab.served_by('c', VIP, 80, 60)
    lab.daemon.rpc('lb.set', name='web', backends=[*backends('d', drain=True), *backends('e', 'f')])
    assert set(lab.served_by('c', VIP, 80, 40)[0]) == set('ef')
    assert all(echoes(s) for s in streams)
    lab.daemon.rpc('lb.set', name='web', backends=backends('e', 'f'))
    wait(lambda: not any(b['original']['dst'] == VIP and b['reply']['src'] == ip('d') for b in lab.daemon.rpc('ct.list')),
         5, 'forgotten connections')
    assert [echoes(s) for s in streams] == [name != 'd' for name in names]


@pytest.mark.parametrize('health, v6', [('tcp', False), ('icmp', False), ('tcp', True), ('icmp', True)])
def test_health(lab, health, v6):
    """A backend that does not answer any more gets no new connections; its own end at once, others go on; it comes back."""
    servers = {vm: Server(lab, vm, 80, v6) for vm in 'def'}
    vip = VIP6 if v6 else VIP
    lab.lb('web', port=80, address=vip, health=health, health_source=SOURCE6 if v6 else SOURCE, health_interval_ms=100,
           health_timeout_ms=100, health_fall=2, health_rise=1, backends=backends(*'def', v6=v6))
    assert all(not s.peers for s in servers.values())       # nobody has noticed
    names, streams = lab.served_by('c', vip, 80, 40)
    run('ip', '-n', PREFIX + 'e', 'link', 'set', PREFIX + 'e', 'down')
    lab.ready('web', 'e')
    assert set(lab.served_by('c', vip, 80, 30)[0]) == set('df')
    wait(lambda: not any(c['reply']['src'] == ip('e', v6) and c['original']['dst'] == vip for c in lab.daemon.rpc('ct.list')), 5,
         'forgotten connections')
    assert [echoes(s) for s in streams] == [name != 'e' for name in names]
    lost = streams[names.index('e')]
    lost.settimeout(2)
    with pytest.raises(ConnectionError):        # told at once, not by a time-out
        lost.send(b'x')
        lost.recv(1)
    assert [e['event'] for e in lab.daemon.rpc('event.list') if e['object'] == 'lb web'][-1] == 'down'
    lab.addresses('e')
    lab.ready('web')
    assert 'e' in lab.served_by('c', vip, 80, 40)[0]


def test_health_refused(lab):
    """Who refuses is down without waiting for a time; nobody is left: the client is refused, too."""
    server = Server(lab, 'd', 80)
    lab.lb('web', port=80, health='tcp', health_source=SOURCE, health_interval_ms=100, health_timeout_ms=100, health_fall=2,
           backends=backends('d'))
    assert lab.served_by('c', VIP, 80)[0] == ['d']
    server.socket.shutdown(socket.SHUT_RDWR)
    lab.ready('web', 'd')
    with pytest.raises(ConnectionRefusedError):
        lab.connect('c', VIP, 80)
    assert lab.drops('c')['no-backend'] > 0


def test_udp_and_errors(lab):
    """UDP is balanced by the same rules; ICMP errors of backends and of clients find their way."""
    for vm in 'def':
        Server(lab, vm, 53, udp=True)
    lab.lb('dns', protocol='udp', port=53, backends=backends(*'def'))
    seen = collections.Counter()
    for _ in range(30):
        s = lab.socket('c', socket.AF_INET, socket.SOCK_DGRAM)
        s.connect((VIP, 53))
        first = []
        for n in range(3):
            s.send(b'%d' % n)
            first.append(s.recv(100)[:1])
        assert len(set(first)) == 1
        seen[first[0]] += 1
    assert len(seen) == 3
    lab.daemon.rpc('lb.add', name='nobody', network='blue', address=VIP, protocol='udp', port=54, backends=backends('d'))
    lab.ready('nobody')
    s = lab.socket('c', socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((VIP, 54))
    s.send(b'x')
    with pytest.raises(ConnectionRefusedError):
        s.recv(100)


def test_backend_is_client(lab):
    """A backend that connects to the virtual address is served by another."""
    for vm in 'def':
        Server(lab, vm, 80)
    lab.lb('web', port=80, backends=backends(*'def'))
    names, _ = lab.served_by('d', VIP, 80, 30)
    assert set(names) == set('ef')


def test_refused_by_backend(lab):
    """What a backend says first, and last, comes from the virtual address: nobody waits for a time-out."""
    lab.lb('web', port=80, backends=backends(*'def'))
    for _ in range(5):
        with pytest.raises(ConnectionRefusedError):
            lab.connect('c', VIP, 80)


def fails(lab, vm, address, port):
    try:
        lab.connect(vm, address, port, SILENCE)
        return False
    except (TimeoutError, ConnectionError):
        return True


@pytest.mark.parametrize('v6', [False, True], ids=['ipv4', 'ipv6'])
def test_groups(lab, v6):
    """Rules judge a connection as the VM at hand sees it: the client's the virtual address and port, the backend's its own."""
    vip, bits = (VIP6, 128) if v6 else (VIP, 32)
    client_to_vip = [{'direction': 'egress', 'protocol': 'tcp', 'port': 80, 'remote': '%s/%d' % (vip, bits)}]
    client_to_backend = [{'direction': 'egress', 'protocol': 'tcp', 'port': 8080, 'remote': '%s/%d' % (ip('d', v6), bits)}]
    backend_8080 = [{'direction': 'ingress', 'protocol': 'tcp', 'port': 8080, 'remote': '%s/%d' % (ip('c', v6), bits)}]
    backend_80 = [{'direction': 'ingress', 'protocol': 'tcp', 'port': 80}]
    neighbours = [{'direction': d, 'protocol': 'icmpv6'} for d in ('egress', 'ingress')]

    def rules(client, backend):
        lab.daemon.rpc('group.set', name='clients', rules=client + neighbours)
        lab.daemon.rpc('group.set', name='servers', rules=backend + neighbours)

    Server(lab, 'd', 8080, v6)
    Server(lab, 'd', 80, v6)
    lab.lb('web', port=80, address=vip, backends=[{'address': ip('d', v6), 'port': 8080}])
    lab.daemon.rpc('group.add', name='clients', rules=[])
    lab.daemon.rpc('group.add', name='servers', rules=[])
    try:
        for vm, group in ('c', 'clients'), ('d', 'servers'):
            lab.daemon.rpc('port.set', name=vm, groups=[group], mac=mac(vm), addresses=[ip(vm), ip(vm, True)])
        rules(client_to_vip, backend_8080)
        lab.ready('web')
        names, (s,) = lab.served_by('c', vip, 80)
        assert names == ['d'] and echoes(s)
        # What is let to the virtual address is not to the backend itself, and the other way round.
        assert fails(lab, 'c', ip('d', v6), 8080)
        rules(client_to_backend, backend_8080)
        assert lab.connect('c', ip('d', v6), 8080).recv(1) == b'd'
        assert fails(lab, 'c', vip, 80)
        assert not echoes(s)            # nor may what is open
        # The backend's rules are asked about its own port.
        rules(client_to_vip, backend_80)
        assert fails(lab, 'c', vip, 80)
        # Once more, with flows that all of that left.
        rules(client_to_vip, backend_8080)
        names, (s,) = lab.served_by('c', vip, 80)
        assert names == ['d'] and all(echoes(s, b'x%d' % n) for n in range(20))
        rules(client_to_vip, [])
        assert not echoes(s)
    finally:
        for vm in 'cd':
            lab.daemon.rpc('port.set', name=vm, groups=None, mac=None, addresses=None)
        for group in 'clients', 'servers':
            lab.daemon.rpc('group.del', name=group)


SERVE = '''
import socket
s = socket.create_server(("", 8080)); print("ready", flush=True)
while True:
    c, peer = s.accept(); c.sendall(peer[0].encode()); c.sendall(c.recv(100)); c.close()
'''
ASK = '''
import socket, sys
c = socket.create_connection((sys.argv[1], 80), 3); c.sendall(b" hello"); text = b""
while not text.endswith(b"hello"):
    part = c.recv(100); assert part; text += part
print(text.decode())
'''


@pytest.mark.parametrize('groups', [False, True], ids=['plain', 'groups'])
def test_backend_on_another_host(groups):
    """The backend is behind a tunnel: found, checked, and reached there; its answers come from the virtual address."""
    from test_vxlan import PREFIX as NAME, Lan
    with Lan(network={'gateway_mac': '02:00:5e:00:00:01'}) as lan:
        server = subprocess.Popen(['ip', 'netns', 'exec', NAME + 'r2', sys.executable, '-c', SERVE], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout.readline() == 'ready\n'
            lan.wait_up()
            if groups:
                lan.xviod.rpc('group.add', name='clients', rules=[
                    {'direction': 'egress', 'protocol': 'tcp', 'port': 80, 'remote': '10.0.0.100/32'}])
                vm_mac = lan.on('vm', 'cat', '/sys/class/net/%sv/address' % NAME).stdout.strip()
                lan.xviod.rpc('port.set', name='vm', groups=['clients'], mac=vm_mac, addresses=['10.0.0.1'])
            lan.xviod.rpc('lb.add', name='web', network='blue', address='10.0.0.100', port=80, health='tcp',
                          health_source='10.0.0.253', health_interval_ms=100, health_timeout_ms=100, backends=[{'address': '10.0.0.2', 'port': 8080}])
            wait(lambda: lan.xviod.rpc('lb.show', name='web')['backends'][0]['usable'], 5, 'the backend')
            for _ in range(5):
                assert lan.on('vm', sys.executable, '-c', ASK, '10.0.0.100').stdout == '10.0.0.1 hello\n'
            shown = lan.xviod.rpc('lb.show', name='web')['backends'][0]
            assert shown['connections_opened'] == 5, shown
            if groups:      # to the backend itself nothing lets it
                assert lan.on('vm', sys.executable, '-c', ASK.replace('80), 3', '8080), 0.5'), '10.0.0.2', check=False).returncode != 0
        finally:
            server.kill()
            server.wait()


def test_trace_and_metrics(lab):
    Server(lab, 'd', 8080)
    lab.lb('web', port=80, backends=backends('d', port=8080))
    lab.served_by('c', VIP, 80)
    told = lab.daemon.ctl('trace', 'port=c', 'src_mac=' + mac('c'), 'dst_mac=02:00:5e:00:00:01', 'proto=tcp', 'src=' + ip('c'),
                          'src_port=4', 'dst=' + VIP, 'dst_port=80')
    assert told['result'] == 'sent to d', told
    stages = json.dumps(told['stages'])
    assert 'web: a backend is chosen' in stages and 'the destination becomes 10.0.0.11' in stages
    lab.daemon.rpc('daemon.set', metrics='127.0.0.1:19181')
    text = urllib.request.urlopen('http://127.0.0.1:19181/metrics').read().decode()
    assert 'xvio_lb_backend_up{lb="web",backend="10.0.0.11:8080"} 1' in text
    assert 'xvio_lb_backend_connections_total{lb="web",backend="10.0.0.11:8080"} 1' in text


# ---- Routers ----

def test_route(lab):
    """Between networks, both families: TCP, the TTL, what the router says about what does not go."""
    lab.router()
    for v6 in False, True:
        run('ip', '-n', PREFIX + 'x', 'route', 'replace', '2001:db8:1::/64' if v6 else '10.0.0.0/24', 'via', NETS['ext'][v6] % (0x254 if v6 else 254))
        Server(lab, 'x', 80, v6)
        s = lab.connect('c', ip('x', v6), 80)
        assert s.recv(1) == b'x' and echoes(s, b'y' * 1200)
        out = lab.ping('c', ip('x', v6))
        assert out.returncode == 0 and ('ttl=63' in out.stdout), out
        assert lab.ping('c', '2001:db8:2::254' if v6 else '192.0.2.254').returncode == 0
        out = lab.ping('c', ip('x', v6), 1, '-t', '1')
        assert 'exceeded' in out.stdout and ('2001:db8:1::254' if v6 else '10.0.0.254') in out.stdout, out
        out = lab.ping('c', '2001:db8:9::1' if v6 else '203.0.113.1')
        assert 'nreachable' in out.stdout or 'No route' in out.stdout, out
        out = lab.ping('c', '2001:db8:2::77' if v6 else '192.0.2.77', 1, '-W', '6')
        assert 'nreachable' in out.stdout, out


def test_snat(lab):
    """Many behind one address: TCP, UDP, ping, IPv6; nobody gets in; ports run out, counted."""
    lab.router(nat=[{'type': 'snat', 'external': '192.0.2.254', 'internal': '10.0.0.0/24'},
                    {'type': 'snat', 'external': '2001:db8:2::99', 'internal': '2001:db8:1::/64', 'ports': '3000-3003'}])
    server, server6 = Server(lab, 'x', 80), Server(lab, 'x', 80, True, address=ip('x', True))
    for vm in 'cde':
        s = lab.connect(vm, ip('x'), 80, source=4444)
        assert s.recv(1) == b'x' and echoes(s)
        assert lab.ping(vm, ip('x'), 3).returncode == 0
    assert set(server.peers) == {'192.0.2.254'}
    for _ in range(4):
        s = lab.connect('c', ip('x', True), 80)
        assert s.recv(1) == b'x' and echoes(s)
    assert set(server6.peers) == {'2001:db8:2::99'}
    before = lab.daemon.rpc('ct.stats')['nat_exhausted']
    with pytest.raises(TimeoutError):
        lab.connect('c', ip('x', True), 80, SILENCE)
    assert lab.daemon.rpc('ct.stats')['nat_exhausted'] > before and lab.drops('c')['ct-nat'] > 0
    assert lab.ping('x', '192.0.2.254').returncode == 0
    with pytest.raises((TimeoutError, ConnectionError)):
        lab.connect('x', '192.0.2.254', 4444, SILENCE)


def test_floating(lab):
    """One address outside for one VM, both ways; others go out by SNAT. Taken away, its connections stop."""
    rules = [{'type': 'floating', 'external': '192.0.2.50', 'internal': ip('d')},
             {'type': 'snat', 'external': '192.0.2.254', 'internal': '10.0.0.0/24'}]
    lab.router(nat=rules)
    inner, outer = Server(lab, 'd', 80), Server(lab, 'x', 80)
    s = lab.connect('x', '192.0.2.50', 80)
    assert s.recv(1) == b'd' and echoes(s) and inner.peers == [ip('x')]
    assert lab.ping('x', '192.0.2.50', 3).returncode == 0
    out = lab.connect('d', ip('x'), 80)
    assert out.recv(1) == b'x' and echoes(out) and lab.connect('e', ip('x'), 80).recv(1) == b'x'
    assert outer.peers == ['192.0.2.50', '192.0.2.254']
    # An error from inside about what was translated.
    u = lab.socket('x', socket.AF_INET, socket.SOCK_DGRAM)
    u.connect(('192.0.2.50', 9))
    u.send(b'x')
    with pytest.raises(ConnectionRefusedError):
        u.recv(10)
    lab.daemon.rpc('router.set', name='r0', nat=rules[1:])
    wait(lambda: not any(c['original']['dst'] == '192.0.2.50' for c in lab.daemon.rpc('ct.list')), 5, 'forgotten connections')
    assert not echoes(s)
    assert lab.connect('d', ip('x'), 80).recv(1) == b'x' and outer.peers[-1] == '192.0.2.254'


class Ftp(threading.Thread):
    """An FTP server for one client that has one file: RFC 959, RFC 2428."""

    def __init__(self, lab, vm, v6):
        super().__init__(daemon=True)
        self.lab, self.vm, self.v6, self.data = lab, vm, v6, os.urandom(50000)
        self.listener = lab.socket(vm, socket.AF_INET6 if v6 else socket.AF_INET)
        self.listener.settimeout(None)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.listener.bind(('', 21))
        self.listener.listen()
        self.from_who = []
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                control, _ = self.listener.accept()
                self.serve(control)

    def serve(self, control):
        connect = None
        say = lambda line: control.sendall(line.encode() + b'\r\n')
        say('220 ready')
        for line in control.makefile('r', newline='\r\n'):
            verb, _, arg = line.strip().partition(' ')
            if verb in ('PASV', 'EPSV'):
                passive = self.lab.socket(self.vm, self.listener.family)
                passive.bind(('', 0))
                passive.listen()
                port, own = passive.getsockname()[1], control.getsockname()[0]
                connect = passive
                say('229 go (|||%d|)' % port if verb == 'EPSV' else
                    '227 go (%s,%d,%d)' % (own.replace('.', ','), port >> 8, port & 255))
            elif verb == 'PORT':
                n = [int(x) for x in arg.split(',')]
                connect = ('.'.join(map(str, n[:4])), n[4] << 8 | n[5])
                say('200 ok')
            elif verb == 'EPRT':
                _, _, host, port, _ = arg.split('|')
                connect = (host, int(port))
                say('200 ok')
            elif verb == 'RETR':
                say('150 here it comes')
                if isinstance(connect, tuple):
                    s = self.lab.socket(self.vm, self.listener.family)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(('', 20))
                    s.connect(connect)
                    self.from_who.append(connect[0])
                else:
                    connect.settimeout(5)
                    s, peer = connect.accept()
                    self.from_who.append(peer[0])
                s.sendall(self.data)
                s.close()
                say('226 done')
            elif verb == 'QUIT':
                say('221 bye')
                control.close()
                return
            else:
                say('230 ok' if verb in ('USER', 'PASS') else '200 ok')


@pytest.mark.parametrize('v6', [False, True], ids=['ipv4', 'ipv6'])
@pytest.mark.parametrize('passive', [False, True], ids=['active', 'passive'])
@pytest.mark.parametrize('inside_', [False, True], ids=['client-inside', 'server-inside'])
def test_ftp(lab, v6, passive, inside_):
    """A client behind SNAT, a server behind a floating address: the lines that tell addresses are rewritten."""
    if v6:
        rules = [{'type': 'snat', 'external': '2001:db8:2::99', 'internal': '2001:db8:1::/64'},
                 {'type': 'floating', 'external': '2001:db8:2::50', 'internal': ip('d', True)}]
    else:
        rules = [{'type': 'snat', 'external': '192.0.2.254', 'internal': '10.0.0.0/24'},
                 {'type': 'floating', 'external': '192.0.2.50', 'internal': ip('d')}]
    lab.router(nat=rules)
    client, server = ('x', 'd') if inside_ else ('c', 'x')
    address = rules[1]['external'] if inside_ else ip('x', v6)
    ftp = Ftp(lab, server, v6)
    got = io.BytesIO()
    with inside(client):
        with ftplib.FTP(timeout=5) as session:
            session.connect(address)
            session.login('a', 'b')
            session.set_pasv(passive)
            session.retrbinary('RETR file', got.write)
    assert got.getvalue() == ftp.data
    assert [ipaddress.ip_address(a) for a in ftp.from_who] == [ipaddress.ip_address(ip('x', v6) if inside_ else rules[0]['external'])]


# ---- Bad input ----

LB = {'name': 'l', 'network': 'blue', 'address': VIP, 'port': 80}
ROUTER = {'name': 'r', 'interfaces': [{'network': 'blue', 'address': '10.0.0.254/24'}, {'network': 'ext', 'address': '192.0.2.254/24'}]}


@pytest.mark.parametrize('method, given, sentence', [
    ('lb.add', {**LB, 'backends': [{'port': 80}]}, 'lb l: backend 1: address: is missing'),
    ('lb.add', {**LB, 'network': 'red'}, 'lb l: network: there is no network "red"'),
    ('lb.add', {**LB, 'backends': [{'address': '2001:db8::1'}]}, 'lb l: backends: backend 1: address: 2001:db8::1 is not of the family of 10.0.0.100'),
    ('lb.add', {**LB, 'backends': [{'address': VIP}]}, 'lb l: backends: backend 1: address: 10.0.0.100 is the virtual address itself'),
    ('lb.add', {**LB, 'backends': [{'address': '10.0.0.1'}, {'address': '10.0.0.1'}]},
     'lb l: backends: backend 2: address: 10.0.0.1 with port 80 is backend 1 already'),
    ('lb.add', {**LB, 'mode': 'dsr', 'backends': [{'address': '10.0.0.1', 'port': 81}]}, 'lb l: backends: backend 1: port: cannot be another one with dsr'),
    ('lb.add', {**LB, 'health': 'tcp'}, 'lb l: health_source: is missing: health checks need an address of their own, or a router on network blue'),
    ('lb.add', {**LB, 'health': 'icmp', 'health_source': VIP}, 'lb l: health_source: 10.0.0.100 is the virtual address'),
    ('lb.add', {**LB, 'health': 'icmp', 'health_source': SOURCE, 'health_timeout_ms': 3000}, 'lb l: health_timeout_ms: 3000 is longer than health_interval_ms'),
    ('lb.add', {**LB, 'protocol': 'udp', 'health': 'tcp', 'health_source': SOURCE}, 'lb l: health_port: is missing'),
    ('lb.add', {**LB, 'backends': [{'address': '10.0.0.1', 'weight': 1001}]}, 'lb l: backend 1: weight: 1001 is out of range 0..1000'),
    ('router.add', {'name': 'r', 'interfaces': []}, 'router r: interfaces: is empty'),
    ('router.add', {'name': 'r', 'interfaces': [{'network': 'red', 'address': '10.0.0.1/24'}]}, 'router r: interfaces: interface 1: network: there is no network "red"'),
    ('router.add', {**ROUTER, 'interfaces': [*ROUTER['interfaces'], {'network': 'blue', 'address': '192.0.2.9/16'}]},
     'router r: interfaces: interface 3: address: 192.0.2.9/16 overlaps 192.0.2.254/24 of interface 2'),
    ('router.add', {**ROUTER, 'gateways': ['203.0.113.1']}, 'router r: gateways: 203.0.113.1 is on none of its networks'),
    ('router.add', {**ROUTER, 'nat': [{'type': 'snat', 'external': '203.0.113.1', 'internal': '10.0.0.0/24'}]},
     'router r: nat: nat rule 1: external: 203.0.113.1 is on none of the router'),
    ('router.add', {**ROUTER, 'nat': [{'type': 'floating', 'external': '192.0.2.50', 'internal': '10.0.0.0/24'}]},
     'router r: nat: nat rule 1: internal: 10.0.0.0/24 is not one address'),
    ('router.add', {**ROUTER, 'nat': [{'type': 'floating', 'external': '192.0.2.254', 'internal': '10.0.0.1'}]},
     "router r: nat: nat rule 1: external: 192.0.2.254 is the router's own address"),
    ('router.add', {**ROUTER, 'nat': [{'type': 'floating', 'external': '192.0.2.50', 'internal': '10.0.0.1'},
                                      {'type': 'snat', 'external': '192.0.2.50', 'internal': '10.0.0.0/24'}]},
     'router r: nat: nat rule 2: external: 192.0.2.50 is used by nat rule 1'),
    ('router.add', {**ROUTER, 'nat': [{'type': 'snat', 'external': '192.0.2.50', 'internal': '192.0.2.0/25'}]},
     'router r: nat: nat rule 1: internal: 192.0.2.0/25 is on the network of 192.0.2.50 itself'),
    ('router.add', {**ROUTER, 'nat': [{'type': 'snat', 'external': '192.0.2.50'}]}, 'router r: nat rule 1: internal: is missing')])
def test_bad_input(built, method, given, sentence):
    before = built.daemon.rpc('host.show')
    with pytest.raises(Error) as e:
        built.daemon.rpc(method, **given)
    assert sentence in str(e.value), e.value
    assert built.daemon.rpc('lb.list') == [] and built.daemon.rpc('router.list') == []
    assert built.daemon.rpc('host.show')['ports'] == before['ports']


def test_in_use(lab):
    lab.router()
    lab.lb('web', port=80)
    for method, given, sentence in (
            ('lb.add', {**LB, 'name': 'other'}, 'lb other: port: tcp 10.0.0.100 port 80 is used by lb web'),
            ('network.del', {'name': 'blue'}, 'network blue: is used by'),
            ('router.add', {'name': 'r1', 'interfaces': [{'network': 'blue', 'address': '10.9.0.1/24'}]},
             'router r1: interfaces: interface 1: network: blue belongs to router r0')):
        with pytest.raises(Error) as e:
            lab.daemon.rpc(method, **given)
        assert sentence in str(e.value), e.value
