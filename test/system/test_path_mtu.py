# SPDX-License-Identifier: Apache-2.0
"""VMs that do not know how short the way through a tunnel is: they are told, and what may be cut is cut. The kernel's path MTU
discovery on one side, its VXLAN device on the other (see test_vxlan.py); no guests.
"""

import struct
import subprocess
import sys

import pytest

from test_vxlan import PREFIX, V4, V6, Lan, copy, run

# Sends datagrams of 1472 bytes that must not be cut, until it is told how long they may be; then one that is just that long, and
# one that is a byte longer, which the kernel refuses.
PROBE = '''
import errno, socket, sys, time
v6 = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
level, discover, mtu = (socket.IPPROTO_IPV6, 23, 24) if v6 else (socket.IPPROTO_IP, 10, 14)
s.setsockopt(level, discover, 2); s.connect((sys.argv[1], 9)); head = 48 if v6 else 28
end = time.monotonic() + 3
while s.getsockopt(level, mtu) == 1500 and time.monotonic() < end:
    try:
        s.send(bytes(1500 - head))
    except ConnectionRefusedError:
        pass
    except OSError as e:
        assert e.errno == errno.EMSGSIZE, e
    time.sleep(0.02)
size = s.getsockopt(level, mtu); sent = False
while not sent:
    try:
        sent = s.send(bytes(size - head)) > 0
    except ConnectionRefusedError:
        pass
    except OSError as e:        # the answer to the last one that was too long
        assert e.errno == errno.EMSGSIZE and time.monotonic() < end, e
try:
    s.send(bytes(size - head + 1)); print("not refused")
except OSError as e:
    print(size, errno.errorcode[e.errno])
'''
ECHO = '''
import hashlib, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 7778)); print("ready", flush=True)
while True:
    data, peer = s.recvfrom(65536); s.sendto(hashlib.sha256(data).digest(), peer)
'''
ASK = '''
import hashlib, random, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
s.setsockopt(socket.IPPROTO_IP, 10, 0)      # IP_PMTUDISC_DONT: no DF
for size in map(int, sys.argv[2:]):
    data = random.Random(size).randbytes(size); s.sendto(data, (sys.argv[1], 7778))
    assert s.recv(100) == hashlib.sha256(data).digest(), size
'''


class Wide(Lan):
    """VMs and remote hosts have an MTU of 1500; the remote's own underlay has room for it."""
    inner_mtu = 1500

    def device(self, ns, r, vni):
        run('ip', '-n', PREFIX + ns, 'link', 'set', 'eth0', 'mtu', 1600)
        super().device(ns, r, vni)

    def setup(self):
        super().setup()
        for ns, device, address in (('vm', PREFIX + 'v', 'fd00::1/64'), ('r2', 'vx', 'fd00::2/64')):
            self.sysctl(ns, 'net.ipv6.conf.all.disable_ipv6', 0)
            self.sysctl(ns, 'net.ipv6.conf.%s.disable_ipv6' % device, 0)
            self.address(ns, device, address)


def udp_frame(lan, size, fragment):
    """A frame of the VM to the other host with an IPv4 packet of so many bytes; fragment: flags and offset."""
    def mac(ns, device):
        return bytes.fromhex(lan.on(ns, 'cat', '/sys/class/net/%s/address' % device).stdout.strip().replace(':', ''))
    ip = struct.pack('!BBHHHBBHII', 0x45, 0, size, 1, fragment, 64, 17, 0, 0x0a000001, 0x0a000002)
    return mac('r2', 'vx') + mac('vm', PREFIX + 'v') + b'\x08\0' + ip + struct.pack('!HHHH', 1, 9, size - 20, 0) + bytes(size - 28)


@pytest.mark.parametrize('uplink, underlay, mtu, inner', [('af_packet', V4, None, 1450), ('tap', V6, 1400, 1330)],
                         ids=['device-ipv4', 'configured-ipv6'])
def test_vms_are_told(uplink, underlay, mtu, inner):
    with Wide(uplink, underlay, mtu=mtu) as lan:
        lan.wait_up()
        lan.ping('vm', '10.0.0.2')
        # A connection whose ends both believe in 1500: segments of 1448 bytes, cut by us, until the error comes.
        for address in ('10.0.0.2', 'fd00::2'):
            copy(lan, 'vm', 'r2', address, 3_000_000)
        vm = lan.ports()['vm']
        assert vm['answers'] >= 2 and vm['drops']['mtu'] >= 2 and vm['answers_limited'] == 0, vm
        assert 'mtu %d' % inner in lan.on('vm', 'ip', 'route', 'get', '10.0.0.2').stdout
        assert 'mtu %d' % inner in lan.on('vm', 'ip', '-6', 'route', 'get', 'fd00::2').stdout
        # Datagrams to addresses that the VM has learned nothing of yet; the answer must not need one that is there.
        for address in ('10.0.0.3', 'fd00::3'):
            lan.address('r2', 'vx', address + ('/24' if '.' in address else '/64'))
            assert lan.on('vm', sys.executable, '-c', PROBE, address).stdout == '%d EMSGSIZE\n' % inner
        # A trace says the same.
        trace = lan.xviod.rpc('trace', port='vm', packet=udp_frame(lan, inner + 1, 0x4000).hex())
        assert trace['result'].startswith('dropped: mtu') and "an IP sender is told" in trace['stages'][-1]['text'], trace
        trace = lan.xviod.rpc('trace', port='vm', packet=udp_frame(lan, inner + 1, 0).hex())
        assert trace['result'].startswith('sent to blue@') and 'cut into fragments' in trace['stages'][-2]['text'], trace
        trace = lan.xviod.rpc('trace', port='vm', packet=udp_frame(lan, inner, 0x4000).hex())
        assert trace['result'].startswith('sent to blue@'), trace
        lan.ping('vm', '10.0.0.2', inner - 28)
        lan.ping('vm', 'fd00::2', inner - 48)


def test_what_may_be_cut_is_cut():
    with Wide('tap', mtu=1300) as lan:
        lan.wait_up()
        server = subprocess.Popen(['ip', 'netns', 'exec', PREFIX + 'r2', sys.executable, '-c', ECHO],
                                  stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout.readline() == 'ready\n'
            lan.on('vm', sys.executable, '-c', ASK, '10.0.0.2', 100, 1222, 1223, 1472, 1473, 5000, 60000)
        finally:
            server.kill()
        vm = lan.ports()['vm']
        assert vm['copies'] >= 40 and vm['answers'] == vm['drops']['mtu'] == 0, vm


def test_a_bridge_is_silent():
    """Without a tunnel between: two ports of a network, one with a smaller MTU. No errors, and the reason is shown."""
    with Lan('tap') as lan:
        lan.xviod.rpc('port.add', **{'name': 'narrow', 'kind': 'tap', 'interface': PREFIX + 'n', 'network': 'blue', 'mtu': 1300})
        lan.ns('vm2')
        run('ip', 'link', 'set', PREFIX + 'n', 'netns', PREFIX + 'vm2')
        lan.address('vm2', PREFIX + 'n', '10.0.0.9/24')
        run('ip', '-n', PREFIX + 'vm2', 'link', 'set', PREFIX + 'n', 'up')
        lan.ping('vm', '10.0.0.9', 1272)
        lan.ping('vm', '10.0.0.9', 1400, count=1, wait=0.3, expect=0)
        vm = lan.ports()['vm']
        assert vm['drops']['mtu'] == 1 and vm['answers'] == 0
