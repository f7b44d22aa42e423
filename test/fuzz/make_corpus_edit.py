#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/edit: struct input of fuzz_edit.c and a frame. Needs scapy.

Run by hand when the input format changes; the output is in the tree and repeatable.
"""
import os
import struct

from scapy.compat import raw
from scapy.contrib.mpls import MPLS
from scapy.contrib.nsh import NSH
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptMTU,
                                ICMPv6NDOptSrcLLAddr, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether, LLC, SNAP
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Raw

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus', 'edit')
ETH = Ether(dst='06:00:00:00:00:02', src='02:00:00:00:00:01')
IP4 = IP(src='10.0.0.1', dst='10.0.0.2', id=1)
IP6 = IPv6(src='2001:db8::1', dst='2001:db8::2')
DATA = Raw(bytes(range(40)))
ROUTED = IPv6ExtHdrRouting(segleft=1, addresses=['2001:db8::9'])

FRAMES = {
    'arp': ETH / ARP(hwsrc='02:00:00:00:00:01', psrc='10.0.0.1', pdst='10.0.0.2'),
    'tcp4': ETH / IP4 / TCP(options=[('Timestamp', (1, 2))]) / DATA,
    'udp4-vlan': ETH / Dot1Q(vlan=1) / IP4 / UDP() / DATA,
    'udp4-none': ETH / IP4 / UDP(chksum=0) / DATA,
    'udp4-fragment': ETH / IP(flags='MF') / UDP() / DATA,
    'udp4-later': ETH / IP(frag=9, proto=17) / DATA,
    'sctp4-qinq': ETH / Dot1AD(vlan=2) / Dot1Q(vlan=1) / IP4 / SCTP() / SCTPChunkData(data=b'abc'),
    'three-tags': ETH / Dot1Q() / Dot1Q() / Dot1Q() / IP4,
    'icmp4': ETH / IP4 / ICMP() / DATA,
    'tcp6': ETH / IP6 / TCP() / DATA,
    'udp6-routed': ETH / IP6 / IPv6ExtHdrHopByHop() / ROUTED / UDP() / DATA,
    'tcp6-fragment': ETH / IP6 / IPv6ExtHdrFragment(m=1) / TCP() / DATA,
    'icmp6': ETH / IP6 / ICMPv6EchoRequest() / DATA,
    'ns': ETH / IP6 / ICMPv6ND_NS(tgt='fe80::1') / ICMPv6NDOptSrcLLAddr(lladdr='02:00:00:00:00:01'),
    'na': ETH / IP6 / ICMPv6ND_NA(tgt='fe80::1') / ICMPv6NDOptMTU() / ICMPv6NDOptDstLLAddr(lladdr='02:00:00:00:00:01'),
    'mpls': ETH / MPLS(label=1, s=0) / MPLS(label=2, s=0) / MPLS(label=3, s=1) / IP4,
    'nsh': Ether(type=0x894f) / NSH(nextproto=3, context_header=bytes(16)) / Raw(raw(ETH / IP4)),
    'llc': ETH.copy() / LLC(),
    'snap': ETH.copy() / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(OUI=0, code=0x800) / IP4,
}
EDIT, NONE = 0, 255
# As numbered in step() of fuzz_edit.c, modulo 8; 0 is an edit there.
VLAN_PUSH, VLAN_POP, MPLS_PUSH, MPLS_POP, NSH_PUSH, NSH_POP, ETH_PUSH, ETH_POP = 8, 1, 2, 3, 4, 5, 6, 7
STEPS = {
    'edit': (EDIT, EDIT, EDIT, EDIT, EDIT),
    'push': (VLAN_PUSH, EDIT, MPLS_PUSH, EDIT, VLAN_POP),
    'pop': (ETH_POP, NSH_PUSH, ETH_PUSH, EDIT, NONE),
}


def request(packet):
    """struct xv_offload: the checksum of a transport header."""
    for layer, offset in ((TCP, 16), (UDP, 6)):
        if layer in packet:
            return struct.pack('<BBHHH', 1, 0, 0, len(packet) - len(packet[layer]), offset)
    return bytes(8)


def write(name, req, packet_type, how, codes, seed, packet):
    """struct input, with its padding, and the frame."""
    head = req + struct.pack('<HHB5B', packet_type, 0, how, *codes)
    head += bytes(-len(head) % 8) + struct.pack('<Q', seed)
    with open(os.path.join(FOLDER, name), 'wb') as f:
        f.write(head + raw(packet))


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for number, (name, packet) in enumerate(FRAMES.items()):
        for steps, codes in STEPS.items():
            how = (number + len(steps)) % 8 if steps != 'edit' else 1
            write(name + '-' + steps, request(packet), 0, how, codes, number, packet)
    for name, type_, packet in (('l3-ipv4', 0x0800, IP4 / UDP() / DATA), ('l3-ipv6', 0x86dd, IP6 / TCP() / DATA),
                                ('l3-mpls', 0x8847, MPLS(s=1) / IP4),
                                ('l3-nsh', 0x894f, NSH(nextproto=1, context_header=bytes(16)) / Raw(raw(IP4)))):
        write(name, bytes(8), type_, 0, (EDIT, MPLS_POP, NSH_POP, ETH_PUSH, EDIT), 1, packet)


main()
