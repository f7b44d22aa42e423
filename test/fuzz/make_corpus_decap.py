#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/decap: tunnel frames behind a struct input of fuzz_decap.c. Needs scapy.

Run by hand when the input format changes; the output is in the tree and repeatable.
"""
import os
import struct

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether, GRE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus', 'decap')
ETH = Ether(dst='06:00:00:00:00:02', src='02:00:00:00:00:01')
FRAME = Raw(bytes(Ether(dst='06:00:00:00:00:04', src='02:00:00:00:00:03', type=0x88b5)) + bytes(range(30)))
DATAGRAM = Raw(bytes(IP(src='192.168.0.1', dst='192.168.0.2', id=1) / UDP(sport=1, dport=2) / Raw(b'abc')))
OPTIONS = bytes.fromhex('010280010001000201030100')


def udp(port, csum):
    return UDP(sport=0xc001, dport=port) if csum else UDP(sport=0xc001, dport=port, chksum=0)


def geneve(options, protocol=0x6558):
    critical = 0x40 if any(options[2:3]) else 0
    return Raw(struct.pack('!BBHI', len(options) // 4, critical, protocol, 5 << 8) + options)


TUNNELS = {
    'vxlan': lambda: udp(4789, False) / VXLAN(flags=8, vni=5) / FRAME,
    'vxlan-gbp': lambda: udp(4789, False) / VXLAN(flags=0x88, gpid=7, gpflags=8, vni=5) / FRAME,
    'vxlan-csum': lambda: udp(4789, True) / VXLAN(flags=8, vni=5) / FRAME,
    'geneve': lambda: udp(6081, False) / geneve(b'') / FRAME,
    'geneve-options': lambda: udp(6081, True) / geneve(OPTIONS, 0x0800) / DATAGRAM,
    'geneve-bad-options': lambda: udp(6081, True) / geneve(OPTIONS[:8] + b'\1\2\0\1') / FRAME,
    'gre': lambda: GRE(proto=0x6558) / FRAME,
    'gre-all': lambda: GRE(proto=0x0800, chksum_present=1, offset=0, key_present=1, key=0xdeadbeef,
                           seqnum_present=1, sequence_number=9) / DATAGRAM,
    'nvgre': lambda: GRE(proto=0x6558, key_present=1, key=0xabcdef01) / FRAME,
    'mpls-gre': lambda: GRE(proto=0x8847) / MPLS(label=100, s=1, ttl=64) / DATAGRAM,
    'mpls-udp': lambda: udp(6635, False) / MPLS(label=100, s=1, ttl=64) / FRAME,
    'mpls-udp-stack': lambda: udp(6635, True) / MPLS(label=100, s=0, ttl=64) / MPLS(label=2, s=1, ttl=64),
}


def write(name, packet, gre=7, config=6, beyond=0, csum_start=0):
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, name), 'wb') as f:
        f.write(struct.pack('4B', gre, config, beyond, csum_start) + bytes(packet))


def main():
    for name, make in TUNNELS.items():
        ip4 = IP(src='10.0.0.1', dst='10.0.0.2', id=1, flags='DF', proto=17 if UDP in make() else 47)
        ip6 = IPv6(src='2001:db8::1', dst='2001:db8::2', nh=17 if UDP in make() else 47)
        write(name + '-4', ETH / ip4 / make())
        write(name + '-6', ETH / ip6 / make())
        write(name + '-4-vlan', ETH / Dot1AD(vlan=100) / Dot1Q(vlan=10) / ip4 / make(), gre=1, config=0)
        write(name + '-4-request', ETH / ip4 / make(), config=14, csum_start=35)
        write(name + '-4-seen-in-part', bytes(ETH / ip4 / make())[:-20], beyond=20)
        write(name + '-4-padded', bytes(ETH / ip4 / make()) + bytes(10))
        ip4.options = [b'\1' * 4]
        write(name + '-4-options', ETH / ip4 / make(), gre=3)
        ext = IPv6ExtHdrDestOpt(nh=ip6.nh)
        del ip6.nh
        write(name + '-6-extension', ETH / ip6 / ext / make(), gre=5)
        write(name + '-6-fragment', ETH / ip6 / IPv6ExtHdrFragment(nh=ext.nh, m=1, id=1) / make(), config=7)


main()
