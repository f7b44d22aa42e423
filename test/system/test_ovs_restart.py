# SPDX-License-Identifier: Apache-2.0
"""ovs-vswitchd and xviod go and come again, each under the other's running, and traffic."""

import errno
import re
import socket
import struct
import subprocess
import time

import pytest

import ovs
import ovs_protocol as protocol
from guest import wait
from ovs_lab import OvsLab
from xvio import Error, program

pytestmark = pytest.mark.skipif(not ovs.is_built(), reason='xvio-vswitchd is not built: make build-ovs')


@pytest.fixture
def lab(request):
    with OvsLab(request) as lab:
        yield lab


class Pings:
    """ping in the background, ten a second."""

    def __init__(self, host, address):
        self.process = host.spawn('ping', '-i', '0.1', address, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # Before it is ping, it would not survive being stopped.
        assert self.process.stdout.readline().startswith('PING')

    def stop(self):
        self.process.send_signal(2)
        text = self.process.communicate(timeout=10)[0]
        return tuple(map(int, re.search(r'(\d+) packets transmitted, (\d+) received', text).groups()))


def ports(vs):
    return re.findall(r'port \d+: \S+', vs.appctl('dpctl/show'))


def test_vswitchd_stopped(lab):
    """While vswitchd is away what has flows goes on, and it finds its ports again: same numbers, no new devices. As
    `ovs-ctl restart` does it: flows are those from before until OpenFlow's are back."""
    vs = lab.vs
    a, _ = lab.two_hosts()
    lab.vm_port('br0', 'vm', 'options:vhost-role=server')
    before = ports(vs)
    pings = Pings(a, '10.0.0.2')
    time.sleep(0.5)
    events = len(lab.daemon.log.read_text().splitlines())
    vs.vsctl('set Open_vSwitch . other_config:flow-restore-wait=true')
    vs.stop_vswitchd()
    time.sleep(1)
    vs.start_vswitchd()
    vs.bridge('br0')
    vs.vsctl('remove Open_vSwitch . other_config flow-restore-wait')
    time.sleep(1)
    sent, received = pings.stop()
    assert sent >= 20 and sent - received <= 1, (sent, received)
    assert ports(vs) == before
    news = lab.daemon.log.read_text().splitlines()[events:]
    assert not [line for line in news if ' dynamic ' in line], news
    lab.calm()


def test_vswitchd_killed(lab):
    """kill -9, and flow-restore-wait: flows are those from before until it is told otherwise. Connections stay."""
    vs = lab.vs
    a, b = lab.two_hosts()
    vs.flows('br0', 'table=0,priority=10,arp,actions=normal\n'
             'table=0,priority=5,ip,ct_state=-trk,actions=ct(table=0)\n'
             'table=0,priority=5,ip,ct_state=+trk+new,in_port=a,actions=ct(commit),normal\n'
             'table=0,priority=5,ip,ct_state=+trk+est,actions=normal\n'
             'table=0,priority=0,actions=drop\n')
    server = b.spawn('nc', '-l', '-p', '5001', stdout=subprocess.PIPE)
    client = a.spawn('sh', '-c', 'sleep 0.3; (echo one; sleep 4; echo two) | nc -q 1 10.0.0.2 5001', stdout=subprocess.DEVNULL)
    wait(lambda: 'ESTABLISHED' in vs.appctl('dpctl/dump-conntrack'), 10, 'connection')
    vs.vsctl('set Open_vSwitch . other_config:flow-restore-wait=true')
    vs.stop_vswitchd(kill=True)
    time.sleep(0.5)
    vs.start_vswitchd()
    vs.bridge('br0')
    assert 'ESTABLISHED' in vs.appctl('dpctl/dump-conntrack')
    assert vs.datapath_flows()
    # Whoever manages OpenFlow puts its rules back, and says so.
    vs.flows('br0', (vs.dir / 'flows.txt').read_text())
    vs.vsctl('remove Open_vSwitch . other_config flow-restore-wait')
    assert server.communicate(timeout=15)[0] == b'one\ntwo\n'
    assert client.wait(10) == 0
    lab.calm()


@pytest.mark.parametrize('kill', [False, True], ids=['stopped', 'killed'])
def test_xviod_restarted(lab, kill):
    """A new xviod is told ports and settings by the vswitchd that runs; flows come back with packets."""
    vs = lab.vs
    a, b = lab.two_hosts()
    lab.vm_port('br0', 'vm', 'options:vhost-role=server mtu_request=3000')
    vs.vsctl('set interface vm ingress_policing_rate=1000')
    vs.ofctl('add-meter', 'br0', 'meter=7 pktps bands=type=drop rate=1000')
    vs.appctl('dpctl/ct-set-limits', 'zone=5,limit=10')
    vs.appctl('dpctl/ct-set-limits', 'zone=6,limit=10')
    vs.appctl('dpctl/ct-set-limits', 'zone=6,limit=20')
    vs.appctl('dpctl/ipf-set-max-nfrags', '500')
    before = ports(vs)
    if kill:
        lab.daemon.kill()
    else:
        lab.daemon.stop()
    vs.said('xviod does not answer at')
    wait(lambda: 'xviod does not answer' in vs.show(), 5, 'ovs-vsctl show')
    assert vs.interface('vm', 'error').startswith('xviod does not answer at %s' % lab.vs.socket)
    with pytest.raises(Error, match='cannot reach xviod'):
        lab.daemon.ctl('port', 'list')
    doctor = subprocess.run([program('xvioctl'), '-s', lab.daemon.api, 'doctor'], capture_output=True, text=True, timeout=20)
    assert re.search('^problem  xviod: cannot reach xviod', doctor.stdout, re.M), doctor.stdout
    # What is wanted meanwhile is there afterwards.
    vs.run('ovs-vsctl', '--db=unix:%s' % (vs.dir / 'db.sock'), '--no-wait', 'add-port', 'br0', 'late', '--', 'set',
           'interface', 'late', 'type=internal')
    lab.daemon.start()
    lab.pid = lab.daemon.pid
    a.reaches('10.0.0.2')
    b.reaches('10.0.0.1')
    wait(lambda: 'error' not in vs.show(), 5, 'no error')
    wait(lambda: 'late' in vs.appctl('dpctl/show'), 5, 'late port')
    assert [p for p in ports(vs) if 'late' not in p] == before
    assert 'deleted interface' not in vs.log.read_text()
    port = lab.dp_port('vm')
    assert (port['mtu'], port['rx_limit_bps'], port['socket']) == (3000, 1000000, lab.socket('vm'))
    assert vs.datapath_flows()
    # Meters and settings are there again, too.
    limits = vs.appctl('dpctl/ct-get-limits')
    assert 'zone=5,limit=10' in limits and 'zone=6,limit=20' in limits, limits
    assert '500' in vs.appctl('dpctl/ipf-get-status')
    vs.flows('br0', 'in_port=a,actions=meter:7,normal\nin_port=b,actions=normal\n')
    a.reaches('10.0.0.2')
    meter = vs.ofctl('meter-stats', 'br0', 'meter=7')
    assert re.search(r'packet_in_count:[1-9]', meter), meter
    lab.calm()


def test_xviod_restarted_under_a_new_vswitchd(lab):
    """Ports that a vswitchd only found are told to a new xviod, too."""
    vs = lab.vs
    a, _ = lab.two_hosts()
    lab.vm_port('br0', 'vm', 'options:vhost-role=server')
    vs.stop_vswitchd(kill=True)
    vs.start_vswitchd()
    wait(lambda: 'port 4: vm' in ports(vs), 10, 'ports')
    lab.daemon.kill()
    lab.daemon.start()
    lab.pid = lab.daemon.pid
    a.reaches('10.0.0.2')
    assert lab.dp_port('vm')['mode'] == 'server'
    lab.calm()


def test_vswitchd_first(request):
    """vswitchd starts without xviod: says so, tries again, and makes its bridges when there is one."""
    with OvsLab(request, late=True) as lab:
        vs = lab.vs
        vs.run('ovs-vsctl', '--db=unix:%s' % (vs.dir / 'db.sock'), '--no-wait', 'add-br', 'br0', '--', 'set', 'bridge', 'br0',
               'datapath_type=xvio')
        vs.said('xviod does not answer at')
        wait(lambda: 'xviod does not answer at' in vs.show(), 5, 'error')
        lab.daemon.start()
        lab.pid = lab.daemon.pid
        wait(lambda: vs.interface('br0', 'ofport') == '65534', 10, 'bridge')
        assert 'error' not in vs.show()
        a, _ = lab.add_host('a', '10.0.0.1/24', 'br0'), lab.add_host('b', '10.0.0.2/24', 'br0')
        a.reaches('10.0.0.2')
        lab.calm()


# ---- Messages by hand: src/ovs/protocol.h ----

ITEM, REQUEST = protocol.ITEM, protocol.REQUEST


def item(kind, body):
    return struct.pack('=IHH', len(body), ITEM[kind], 0) + body + bytes(-len(body) % 8)


def message(request, *items, length=None):
    body = b''.join(items)
    return struct.pack('=IHHII', length if length is not None else 16 + len(body), REQUEST.get(request, 999), 0, 0, 7) + body


class Client:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        # EAGAIN: others that want to be accepted are in front.
        wait(lambda: self.sock.connect_ex(str(path)) in (0, errno.EISCONN), 5, 'connection')

    def ask(self, data):
        """The answer's error and items; None: the connection was closed."""
        try:
            self.sock.sendall(data)
            head = self.sock.recv(16, socket.MSG_WAITALL)
        except (BrokenPipeError, ConnectionResetError):
            return None
        if not head:
            return None
        length, _, _, error, seq = struct.unpack('=IHHII', head)
        assert seq == 7
        return error, self.sock.recv(length - 16, socket.MSG_WAITALL) if length > 16 else b''


def hello():
    return message('HELLO', item('VERSION_ITEM', struct.pack('=I', protocol.VERSION)))


def test_foreign_messages(lab):
    """What is no message closes its connection; others, and traffic, do not notice."""
    a, _ = lab.two_hosts()
    path = lab.vs.socket
    good = Client(path)
    assert good.ask(hello())[0] == 0
    pings = Pings(a, '10.0.0.2')
    for bad in (b'GET / HTTP/1.1\r\nHost: xviod\r\n\r\n',            # another protocol
                message('HELLO', length=8),                           # shorter than its header
                message('HELLO', length=0xfffffff8),                  # longer than any
                message('HELLO', length=20) + bytes(8),               # not a multiple of 8
                message('HELLO', struct.pack('=IHH', 100, 1, 0)),     # an item that is longer than the message
                message('HELLO', struct.pack('=IHH', 0xffffffff, 1, 0)),
                message('PORT_ADD', item('NAME', b'x'), struct.pack('=IHH', 9, 2, 0) + bytes(8)),  # its padding is missing
                message('DP_LIST', item('NAME', b'x'), b'\1\2\3\4', bytes(4))[:-8] + struct.pack('=IHH', 1, 2, 0)):
        client = Client(path)
        assert client.ask(bad) is None, bad
    # Wrong, but messages: they are answered.
    client = Client(path)
    for refused, why in ((message('HELLO', item('VERSION_ITEM', struct.pack('=I', 99))), 71), (message('HELLO'), 71),
                         (message('NOTHING'), 19), (message('PORT_ADD'), 19), (message('DP_OPEN', item('NAME', b'nobody')), 19),
                         (message('DP_OPEN'), 22), (message('DP_OPEN', item('NAME', b'x' * 200)), 22),
                         (message('DP_OPEN', item('NAME', b'a\0b')), 22)):
        assert client.ask(refused)[0] == why, (refused, client.ask(refused))
    assert client.ask(message('DP_OPEN', item('NAME', b'ovs-xvio')))[0] == 0
    for refused, why in ((message('NOTHING'), 95), (message('PORT_ADD'), 22), (message('PORT_ADD', item('NAME', b'x')), 22),
                         (message('UPCALL_TAKE', item('HANDLER', struct.pack('=I', 5)),
                                  item('HANDLERS', struct.pack('=I', 5))), 22)):
        assert client.ask(refused)[0] == why, refused
    # A message in pieces is one; half a message at the end of a connection is nothing.
    for byte in hello()[:-1]:
        client.sock.sendall(bytes([byte]))
    assert client.ask(hello()[-1:])[0] == 0
    client.sock.sendall(hello()[:-1])
    client.sock.close()
    assert good.ask(hello())[0] == 0
    sent, received = pings.stop()
    assert sent - received <= 1
    assert lab.vs.appctl('dpctl/show').count('port ') == 4
    lab.calm()


def test_too_many_connections(lab):
    """Whoever opens connections without end is refused; vswitchd's own go on."""
    a, _ = lab.two_hosts()
    clients = []
    for _ in range(300):
        clients.append(Client(lab.vs.socket))
    assert sum(client.ask(hello()) is None for client in clients) >= 40
    a.reaches('10.0.0.2')
    for client in clients:
        client.sock.close()
    wait(lambda: Client(lab.vs.socket).ask(hello()) is not None, 5, 'room')
    wait(lambda: len(ports(lab.vs)) == 4, 5, 'ports')


def test_other_users_stay_out(lab):
    """The socket is root's alone."""
    script = 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])'
    lab.dir.chmod(0o755)
    done = subprocess.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '/usr/bin/python3', '-c', script,
                           str(lab.vs.socket)], capture_output=True, text=True, timeout=20)
    assert 'PermissionError' in done.stderr, done.stderr
