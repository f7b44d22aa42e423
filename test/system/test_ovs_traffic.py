# SPDX-License-Identifier: Apache-2.0
"""What Open vSwitch asks of its datapath beyond flows, each with traffic: TCP flags, bonds, hashes, meters, limits, mirrors, samples."""

import re
import socket
import struct
import subprocess
import sys
import threading

import pytest

import ovs
from guest import wait
from ovs_lab import OvsLab
from ovs_traffic import UdpReceiver, tcp_once, udp_send

pytestmark = pytest.mark.skipif(not ovs.is_built(), reason='xvio-vswitchd is not built: make build-ovs')


@pytest.fixture
def lab(request):
    with OvsLab(request) as lab:
        yield lab


def two_hosts(lab):
    lab.vs.vsctl('add-br br0 -- set bridge br0 datapath_type=xvio')
    a, b = lab.add_host('a', '10.0.0.1/24', 'br0'), lab.add_host('b', '10.0.0.2/24', 'br0')
    a.reaches('10.0.0.2')
    return a, b


COLLECT = r'''
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', int(sys.argv[1])))
print('ready', flush=True)
while True:
    print(s.recv(65536).hex(), flush=True)
'''


class Collector:
    """Datagrams that vswitchd sends to a port of its own host."""

    def __init__(self, lab, port):
        self.process = lab.host.spawn(sys.executable, '-c', COLLECT, str(port), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == 'ready\n'

    def __iter__(self):
        for line in self.process.stdout:
            yield bytes.fromhex(line)

    def stop(self):
        self.process.kill()
        self.process.wait()


def test_tcp_flags(lab):
    """Flows say which TCP flags they have seen, and NetFlow does."""
    a, b = two_hosts(lab)
    tcp_once(a, b, '10.0.0.2', size=100000)

    def flags():
        return {f for line in lab.vs.datapath_flows() if 'eth_type(0x0800)' in line for f in re.findall(r'flags:([A-Z.]+)', line)}
    assert wait(lambda: {'SFP.'} & flags(), 5, 'flags of all packets of both directions'), flags()
    # Without TCP there are none.
    lab.vs.appctl('revalidator/purge')
    a.reaches('10.0.0.2')
    assert not flags()

    collector = Collector(lab, 2055)
    lab.vs.vsctl('--', 'set', 'bridge', 'br0', 'netflow=@n', '--', '--id=@n', 'create', 'netflow', 'targets="127.0.0.1:2055"',
                 'active-timeout=1')
    tcp_once(a, b, '10.0.0.2', size=100000)
    seen = {}
    for packet in collector:
        version, count = struct.unpack_from('>HH', packet)
        assert version == 5
        for i in range(count):
            record = packet[24 + 48 * i:][:48]
            if record[38] == 6:
                key = struct.unpack_from('>HH', record, 32)
                seen[key] = seen.get(key, 0) | record[37]
        if any(dst == 5001 and value & 0x1b == 0x1b for (_, dst), value in seen.items()):
            break
    collector.stop()
    lab.calm()


def test_lb_output(lab):
    """balance-tcp without recirculation: xviod spreads flows over the members, says how much each hash got, and follows when a member
    goes."""
    vs = lab.vs
    for i in '01':
        vs.vsctl('add-br br%s -- set bridge br%s datapath_type=xvio' % (i, i))
    for i in 'xy':
        lab.host.sh('ip link add %s0 type veth peer name %s1; ip link set %s0 up; ip link set %s1 up' % (i, i, i, i))
    for i in '01':
        vs.vsctl('add-bond br%s bond%s x%s y%s bond_mode=balance-tcp lacp=active other-config:lb-output-action=true '
                 'other-config:lacp-time=fast' % (i, i, i, i))
    a, b = lab.add_host('a', '10.0.0.1/24', 'br0'), lab.add_host('b', '10.0.0.2/24', 'br1')

    def negotiated():
        return all('lacp_status: negotiated' in vs.appctl('bond/show', 'bond' + i) and
                   vs.appctl('bond/show', 'bond' + i).count(': enabled') >= 2 for i in '01')
    wait(negotiated, 15, 'LACP')
    assert 'lb_output action: enabled' in vs.appctl('bond/show', 'bond0')
    a.reaches('10.0.0.2')

    def sent(*names):
        return [lab.dp_port(name)['tx_packets'] for name in names]
    before = sent('x0', 'y0')
    receiver = UdpReceiver(b)
    udp_send(a, '10.0.0.2', 3200, sources=64, rate=4000)
    got = receiver.stop()
    assert got['packets'] == 3200 and len(got['peers']) == 64
    shares = [n - m for n, m in zip(sent('x0', 'y0'), before)]
    assert min(shares) > 320 and sum(shares) >= 3200, shares
    flows = '\n'.join(vs.datapath_flows())
    assert 'lb_output(' in flows and 'hash(' not in flows, flows
    # The load of hashes is what rebalancing goes by.
    wait(lambda: len(re.findall(r'hash \d+: [1-9]\d* kB load', vs.appctl('bond/show', 'bond0'))) >= 8, 15, 'loads')
    # A member goes: so do its flows, to the other one.
    lab.host.sh('ip link set x0 down')
    wait(lambda: 'member x0: disabled' in vs.appctl('bond/show', 'bond0'), 10, 'member down')
    receiver = UdpReceiver(b)
    before = sent('x0', 'y0')
    udp_send(a, '10.0.0.2', 640, sources=64, rate=4000)
    assert receiver.stop()['packets'] == 640
    shares = [n - m for n, m in zip(sent('x0', 'y0'), before)]
    assert shares[0] == 0 and shares[1] >= 640, shares
    lab.calm()


def test_symmetric_hash(lab):
    """Select groups as OVS makes them of itself, by a symmetric dp_hash: flows spread over the buckets, and both directions of one take the same."""
    vs = lab.vs
    vs.vsctl('add-br br0 -- set bridge br0 datapath_type=xvio')
    hosts = {name: lab.add_host(name, address, 'br0') for name, address in
             (('a', '10.0.0.1/24'), ('b', '10.0.0.2/24'))}
    features = vs.appctl('dpif/show-dp-features', 'br0')
    assert 'Max dp_hash algorithm: 1' in features, features
    # Buckets mark what they got in the DSCP field.
    for group, to in (1, 'a'), (2, 'b'):
        buckets = ','.join('bucket=weight:1,actions=mod_nw_tos:%d,output:%s' % (4 * (i + 1), to) for i in range(4))
        vs.run('ovs-ofctl', '-O', 'OpenFlow15', 'add-group', 'br0',
               'group_id=%d,type=select,%s' % (group, buckets))
    vs.flows('br0', 'arp,actions=normal\npriority=2,ip,in_port=a,actions=group:2\npriority=2,ip,in_port=b,actions=group:1\n')
    hosts['a'].reaches('10.0.0.2')
    script = r"""
import socket
r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
r.bind(("", 5000)); r.setsockopt(0, socket.IP_RECVTOS, 1); r.settimeout(5)
print("ready", flush=True)
for i in range(64):
    data, ancillary, _, peer = r.recvmsg(100, 100)
    r.sendto(bytes([ancillary[0][2][0]]), peer)
"""
    process = hosts['b'].spawn(sys.executable, '-c', script, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    out = hosts['a'].sh("""%s -c '
import socket
for i in range(64):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(0, socket.IP_RECVTOS, 1); s.settimeout(5); s.connect(("10.0.0.2", 5000)); s.send(b"x")
    data, ancillary, _, _ = s.recvmsg(100, 100)
    print(data[0], ancillary[0][2][0])
'""" % sys.executable)
    pairs = [tuple(map(int, line.split())) for line in out.splitlines()]
    assert len(pairs) == 64 and len({there for there, _ in pairs}) == 4, pairs
    assert all(there == back for there, back in pairs), pairs
    assert 'hash(sym_l4(' in '\n'.join(vs.datapath_flows())
    lab.calm()


def meter_stats(vs, meter):
    text = vs.ofctl('meter-stats', 'br0', 'meter=%d' % meter)
    packets, size = map(int, re.search(r'packet_in_count:(\d+) byte_in_count:(\d+)', text).groups())
    dropped = int(re.search(r'0: packet_count:(\d+)', text)[1])
    return packets, size, dropped


def test_meters(lab):
    """What a meter lets through and what it drops is what arrives and what its statistics say, by packets and by bits."""
    a, b = two_hosts(lab)
    vs = lab.vs
    vs.ofctl('add-meter', 'br0', 'meter=1,pktps,burst,stats,bands=type=drop,rate=200,burst_size=100')
    vs.ofctl('add-meter', 'br0', 'meter=2,kbps,burst,stats,bands=type=drop,rate=4000,burst_size=1000')
    vs.flows('br0', 'priority=2,udp,tp_dst=5000,actions=meter:1,normal\npriority=2,udp,tp_dst=5001,actions=meter:2,normal\n'
                    'priority=0,actions=normal\n')
    for meter, port, size in (1, 5000, 100), (2, 5001, 1000):
        receiver = UdpReceiver(b, port)
        udp_send(a, '10.0.0.2', 2000, port=port, size=size, rate=1000)
        got = receiver.stop()
        asked, asked_bytes, dropped = meter_stats(vs, meter)
        assert asked == 2000 and asked_bytes == 2000 * (size + 42)
        assert got['packets'] + dropped == 2000
        # Two seconds at the rate, and the burst.
        expected = 100 + 2 * 200 if meter == 1 else (131072 * 8 + 2 * 4000000) / 8 / 1042
        assert expected * 0.9 < got['packets'] < expected * 1.2, got
    assert vs.appctl('dpctl/dump-flows').count('meter(') == 2
    vs.ofctl('del-meters', 'br0')
    lab.calm()


def measure(sender, receiver, address, seconds=1.0, rate=3000, size=1200):
    """Bits a second that arrive, of rate * size offered."""
    counter = UdpReceiver(receiver)
    udp_send(sender, address, int(seconds * rate), size=size, rate=rate)
    got = counter.stop()
    return got['bytes'] * 8 / max(seconds, got['seconds'])


def test_policing_of_kernel_devices(lab):
    """ingress_policing_rate of a device of the kernel and of an internal port: what it sends is held to it."""
    a, b = two_hosts(lab)
    vs = lab.vs
    assert measure(a, b, '10.0.0.2') > 25e6
    vs.vsctl('set interface a ingress_policing_rate=8000 ingress_policing_burst=1000')
    # The burst is saved up: 1 Mbit, or what is waiting in the device's own queue.
    assert 7e6 < measure(a, b, '10.0.0.2', 2.0) < 14e6
    assert measure(b, a, '10.0.0.1') > 25e6
    # Whoever comes later finds it so.
    vs.stop_vswitchd(kill=True)
    vs.start_vswitchd()
    vs.bridge('br0')
    assert measure(a, b, '10.0.0.2', 2.0) < 14e6
    vs.vsctl('set interface a ingress_policing_rate=0 ingress_policing_burst=0')
    assert measure(a, b, '10.0.0.2') > 25e6
    # The bridge's own port.
    lab.host.sh('ip addr add 10.0.0.3/24 dev br0; ip link set br0 up')
    b.reaches('10.0.0.3')
    vs.vsctl('set interface br0 ingress_policing_rate=8000 ingress_policing_burst=1000')
    assert 7e6 < measure(lab.host, b, '10.0.0.2', 2.0) < 14e6
    lab.calm()


def loop(lab):
    """a - br0 - VM port vm - virtio - device u - br1 - b: what goes through a VM port, without a VM."""
    vs = lab.vs
    for i in '01':
        vs.vsctl('add-br br%s -- set bridge br%s datapath_type=xvio' % (i, i))
    lab.vm_port('br0', 'vm', 'options:vhost-role=server')
    vs.vsctl('add-port br1 u -- set interface u type=xvioeth options:dpdk-devargs=net_virtio_user0,path=%s,queues=1' %
             lab.socket('vm'))
    a, b = lab.add_host('a', '10.0.0.1/24', 'br0'), lab.add_host('b', '10.0.0.2/24', 'br1')
    wait(lambda: vs.interface('vm', 'link_state') == 'up', 5, 'link')
    a.reaches('10.0.0.2')
    return a, b


def test_policing_of_vm_ports(lab):
    """ingress_policing_rate of a VM port: what comes from the VM is held to it, what goes there is not."""
    a, b = loop(lab)
    assert measure(b, a, '10.0.0.1') > 25e6
    lab.vs.vsctl('set interface vm ingress_policing_rate=8000 ingress_policing_burst=1000')
    assert 7e6 < measure(b, a, '10.0.0.1', 2.0) < 14e6
    assert measure(a, b, '10.0.0.2') > 25e6
    lab.vs.vsctl('set interface vm ingress_policing_rate=0 ingress_policing_burst=0')
    assert measure(b, a, '10.0.0.1') > 25e6
    lab.calm()


def test_egress_qos(lab):
    """linux-htb on a VM port: max-rate holds, queues get what is theirs, and may have what others leave, up to their own max-rate."""
    a, b = loop(lab)
    vs = lab.vs
    # A queue for each port: 5001 has 6 of 10 Mbit of its own, 5002 at most 2, what has none is in queue 0.
    vs.vsctl('--', 'set', 'port', 'vm', 'qos=@q', '--', '--id=@q', 'create', 'qos', 'type=linux-htb', 'other-config:max-rate=10000000',
             'queues:0=@0', 'queues:1=@1', 'queues:2=@2', '--', '--id=@0', 'create', 'queue', 'other-config:min-rate=1000000', '--',
             '--id=@1', 'create', 'queue', 'other-config:min-rate=6000000', '--', '--id=@2', 'create', 'queue',
             'other-config:max-rate=2000000')
    vs.flows('br0', 'priority=2,udp,tp_dst=5001,actions=set_queue:1,normal\npriority=2,udp,tp_dst=5002,actions=set_queue:2,normal\n'
                    'priority=0,actions=normal\n')

    def rates(ports, seconds=2.0, rate=2500):
        receivers = {port: UdpReceiver(b, port) for port in ports}
        senders = [threading.Thread(target=udp_send, args=(a, '10.0.0.2', int(seconds * rate)),
                                    kwargs={'port': port, 'size': 1200, 'rate': rate}) for port in ports]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        got = {port: r.stop() for port, r in receivers.items()}
        return {port: r['bytes'] * 8 / max(seconds, r['seconds']) for port, r in got.items()}
    # Alone: all that there is, or what it may have. What was saved up comes on top: 128 KiB for each limit.
    saved = 131072 * 8 / 2.0
    assert 9e6 < rates([5000])[5000] < 10.5e6 + saved
    assert 9e6 < rates([5001])[5001] < 10.5e6 + saved
    assert 1.5e6 < rates([5002])[5002] < 2.2e6 + saved
    # Together: who has a share keeps it, and all of it is not more than the port's.
    both = rates([5000, 5001])
    assert both[5001] > 5.5e6 and sum(both.values()) < 10.5e6 + 2 * saved, both
    stats = vs.run('ovs-ofctl', '-O', 'OpenFlow13', 'queue-stats', 'br0', 'vm')
    for queue in 0, 1, 2:
        packets, errors = map(int, re.search(r'queue %d: bytes=\d+, pkts=(\d+), errors=(\d+)' % queue, stats).groups())
        assert packets > 300 and errors > 0, stats
    # vswitchd comes back to a port that has it.
    vs.stop_vswitchd(kill=True)
    vs.start_vswitchd()
    vs.bridge('br0')
    assert lab.dp_port('vm')['tx_limit_bps'] == 10000000
    vs.vsctl('clear port vm qos')
    assert 'tx_limit_bps' not in lab.dp_port('vm')
    a.reaches('10.0.0.2')
    assert rates([5000])[5000] > 20e6
    lab.calm()


def test_egress_qos_of_kernel_devices(lab):
    """linux-htb on a device of the kernel is the kernel's own, and what xviod sends goes through it."""
    a, b = two_hosts(lab)
    lab.vs.vsctl('--', 'set', 'port', 'b', 'qos=@q', '--', '--id=@q', 'create', 'qos', 'type=linux-htb',
                 'other-config:max-rate=8000000')
    wait(lambda: 'htb' in lab.host.sh('tc qdisc show dev b'), 5, 'qdisc')
    assert 6e6 < measure(a, b, '10.0.0.2', 2.0) < 10e6
    lab.calm()


def test_flows_follow_ports(lab):
    """A port that goes and comes again under its number: flows stay as OVS has them, drop meanwhile, and go on."""
    a, b = two_hosts(lab)
    vs = lab.vs
    vs.flows('br0', 'priority=2,ip,in_port=a,actions=output:b\npriority=2,ip,in_port=b,actions=output:a\npriority=0,actions=normal\n')
    a.reaches('10.0.0.2')
    receiver = UdpReceiver(b)
    udp_send(a, '10.0.0.2', 10)
    missed = lab.daemon.port('a@ovs-xvio')['punts']
    # Another ofport: OVS takes the port out of the datapath and puts it in again.
    vs.vsctl('set interface b ofport_request=77')
    assert vs.interface('b', 'ofport') == '77'
    vs.flows('br0', 'priority=2,ip,in_port=a,actions=output:77\npriority=2,ip,in_port=77,actions=output:a\npriority=0,actions=normal\n')
    a.reaches('10.0.0.2')
    udp_send(a, '10.0.0.2', 10)
    assert receiver.stop()['packets'] == 20
    assert lab.daemon.port('a@ovs-xvio')['punts'] - missed < 30
    log = vs.log.read_text()
    assert 'failed to put' not in log, log
    lab.calm()


STORM = r'''
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for port in range(1024, 65536):
        if port == 5000:
            continue
        try:
            s.sendto(b"", (sys.argv[1], port))
        except OSError:
            pass
'''


TUNNEL_INGRESS = 1024  # sFlow: extended_ipv4_tunnel_ingress


def test_samples(lab):
    """sFlow and IPFIX get samples of packets, from inside a tunnel too, with the tunnel's addresses and key."""
    vs = lab.vs
    # Two hosts' worth of bridges in one vswitchd: a VXLAN tunnel between br0 and a kernel's end on host b.
    vs.vsctl('add-br br0 -- set bridge br0 datapath_type=xvio')
    vs.vsctl('add-br underlay -- set bridge underlay datapath_type=xvio')
    a = lab.add_host('a', '10.1.0.1/24', 'br0')
    b = lab.add_host('b', '10.0.0.2/24', 'underlay')
    lab.host.sh('ip addr add 10.0.0.1/24 dev underlay; ip link set underlay up')
    b.sh('ip link add v type vxlan id 5 remote 10.0.0.1 dstport 4789 dev eth0; ip addr add 10.1.0.2/24 dev v; ip link set v up')
    vs.vsctl('add-port br0 t -- set interface t type=vxlan options:remote_ip=10.0.0.2 options:key=5')
    a.reaches('10.1.0.2')
    sflow, ipfix = Collector(lab, 6343), Collector(lab, 4739)
    vs.vsctl('--', 'set', 'bridge', 'br0', 'sflow=@s', '--', '--id=@s', 'create', 'sflow', 'agent=lo', 'target="127.0.0.1:6343"',
             'sampling=1', 'polling=0', 'header=128')
    vs.vsctl('--', 'set', 'bridge', 'br0', 'ipfix=@i', '--', '--id=@i', 'create', 'ipfix', 'targets="127.0.0.1:4739"', 'sampling=1',
             'cache_active_timeout=0', 'cache_max_flows=0', 'other_config:enable-tunnel-sampling=true',
             'other_config:enable-input-sampling=true', 'other_config:enable-output-sampling=true')
    a.sh('ping -c 5 -i 0.2 10.1.0.2')
    # The inner packet, word for word, and the tunnel: sFlow's extended tunnel structures, IPFIX's elements.
    echo = socket.inet_aton('10.1.0.2') + socket.inet_aton('10.1.0.1')
    for datagram in sflow:
        if echo in datagram and struct.pack('>I', TUNNEL_INGRESS) in datagram and socket.inet_aton('10.0.0.2') in datagram:
            break
    for datagram in ipfix:
        if echo[:4] in datagram and socket.inet_aton('10.0.0.2') + socket.inet_aton('10.0.0.1') in datagram:
            break
    sflow.stop()
    ipfix.stop()
    lab.calm()


def test_upcall_storm(lab):
    """New flows of one port, as many as it can make: those of another port get their turn, and none of its packets is lost."""
    a, b = two_hosts(lab)
    c = lab.add_host('c', '10.0.0.3/24', 'br0')
    vs = lab.vs
    # Each UDP flow is one of its own for the datapath.
    vs.flows('br0', 'priority=2,udp,actions=move:NXM_OF_UDP_DST[]->NXM_NX_REG0[0..15],move:NXM_OF_UDP_SRC[]->NXM_NX_REG1[0..15],'
                    'normal\npriority=0,actions=normal\n')
    c.reaches('10.0.0.2')
    storm = a.spawn(sys.executable, '-c', STORM, '10.0.0.2')
    try:
        wait(lambda: lab.dp_port('a')['drops']['upcall-full'] > 1000, 10, 'storm')
        receiver = UdpReceiver(b)
        # A flow each, and slow enough for whoever is alone to be served.
        udp_send(c, '10.0.0.2', 200, sources=200, rate=100)
        got = receiver.stop()
        assert got['packets'] >= 190, got
        assert lab.dp_port('c')['drops']['upcall-full'] == 0
        # Established traffic goes on.
        receiver = UdpReceiver(b)
        udp_send(c, '10.0.0.2', 2000, rate=2000)
        assert receiver.stop()['packets'] >= 1900
    finally:
        storm.kill()
        storm.wait()
    lab.calm()


def test_mirror(lab):
    """A mirror port gets a copy of what a port sends and receives, and nothing of others."""
    a, b = two_hosts(lab)
    vs = lab.vs
    lab.add_host('c', '10.0.0.3/24', 'br0')
    lab.host.sh('ip link add m type veth peer name m2; ip link set m up; ip link set m2 up')
    vs.vsctl('add-port br0 m')
    vs.vsctl('--', '--id=@a', 'get', 'port', 'a', '--', '--id=@m', 'get', 'port', 'm', '--', '--id=@x', 'create', 'mirror', 'name=x',
             'select-src-port=@a', 'select-dst-port=@a', 'output-port=@m', '--', 'set', 'bridge', 'br0', 'mirrors=@x')

    def copies():
        return lab.dp_port('m')['tx_packets']
    a.reaches('10.0.0.3')
    before = copies()
    receiver = UdpReceiver(b)
    udp_send(a, '10.0.0.2', 500, rate=2000)
    assert receiver.stop()['packets'] == 500
    # ARP may add some.
    assert wait(lambda: copies() - before >= 500, 5, 'copies') and copies() - before < 520
    statistics = wait(lambda: re.search(r'tx_packets=(\d+)', vs.vsctl('get mirror x statistics')), 5, 'statistics')
    assert wait(lambda: int(re.search(r'tx_packets=(\d+)', vs.vsctl('get mirror x statistics'))[1]) >= 500, 8, 'counted'), statistics
    before = copies()
    receiver = UdpReceiver(lab.hosts[3])
    udp_send(b, '10.0.0.3', 100, rate=2000)
    assert receiver.stop()['packets'] == 100
    assert copies() - before < 20
    lab.calm()
