# SPDX-License-Identifier: Apache-2.0
"""What Open vSwitch asks of its datapath beyond flows, each with traffic: TCP flags, hashes, meters, limits; flows and their ports."""

import re
import struct
import subprocess
import sys

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
    a, b = lab.two_hosts()
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
    a, b = lab.two_hosts()
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
    a, b = lab.two_hosts()
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


def test_egress_qos_of_kernel_devices(lab):
    """linux-htb on a device of the kernel is the kernel's own, and what xviod sends goes through it."""
    a, b = lab.two_hosts()
    lab.vs.vsctl('--', 'set', 'port', 'b', 'qos=@q', '--', '--id=@q', 'create', 'qos', 'type=linux-htb',
                 'other-config:max-rate=8000000')
    wait(lambda: 'htb' in lab.host.sh('tc qdisc show dev b'), 5, 'qdisc')
    assert 6e6 < measure(a, b, '10.0.0.2', 2.0) < 10e6
    lab.calm()


def test_flows_follow_ports(lab):
    """A port that goes and comes again under its number: flows stay as OVS has them, drop meanwhile, and go on."""
    a, b = lab.two_hosts()
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
