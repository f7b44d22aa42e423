#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/flow_extract: one frame of each kind that a flow key tells apart. Needs scapy.

Run by hand when the target's input format changes; the output is in the tree and repeatable.
"""
import os

from scapy.contrib.igmp import IGMP
from scapy.contrib.mpls import MPLS
from scapy.contrib.nsh import NSH
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptSrcLLAddr, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether, GRE, LLC, SNAP
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus', 'flow_extract')
ETH = Ether(dst='06:00:00:00:00:02', src='02:00:00:00:00:01')
IP4 = IP(src='10.0.0.1', dst='10.0.0.2', id=1, flags='DF')
IP6 = IPv6(src='2001:db8::1', dst='2001:db8::2', tc=0xab, fl=0x12345)
T = TCP(sport=4660, dport=80, seq=1, flags='PA')
U = UDP(sport=4660, dport=53)
DATA = Raw(bytes(range(24)))
HOP = IPv6ExtHdrHopByHop(options=[PadN(optdata=b'\0' * 4)])
MAC = '02:00:00:00:00:09'

# Packet types, as the target counts them.
ETHERNET, IPV4, IPV6, MPLS_TYPE, NSH_TYPE = 0, 1, 2, 5, 7

FRAMES = {
    'arp': ETH / ARP(hwsrc=MAC, psrc='10.0.0.1', hwdst=MAC, pdst='10.0.0.2'),
    'rarp': Ether(dst='06:00:00:00:00:02', src=MAC, type=0x8035) /
            ARP(op=3, hwsrc=MAC, psrc='10.0.0.1', hwdst=MAC, pdst='10.0.0.2'),
    'llc': ETH.copy() / LLC() / DATA,
    'snap': Ether(dst='06:00:00:00:00:02', src=MAC, type=36) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) /
            SNAP(OUI=0, code=0x800) / IP4 / U,
    'icmp': ETH / IP4 / ICMP() / DATA,
    'igmp': ETH / IP4 / IGMP(gaddr='224.0.0.251'),
    'gre': ETH / IP4 / GRE(),
    'tcp4': ETH / IP4 / T / DATA,
    'tcp4-options': ETH / IP4 / TCP(sport=1, dport=2, options=[('Timestamp', (1, 2))]) / DATA,
    'tcp4-ip-options': ETH / IP(src='10.0.0.1', dst='10.0.0.2', id=1, options=[b'\1' * 4]) / T / DATA,
    'tcp4-vlan': ETH / Dot1Q(vlan=10) / IP4 / T / DATA,
    'udp4': ETH / IP4 / U / DATA,
    'udp4-qinq': ETH / Dot1AD(vlan=100) / Dot1Q(vlan=10, prio=5) / IP4 / U / DATA,
    'udp4-3-tags': ETH / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / IP4 / U,
    'udp4-first-fragment': ETH / IP(src='10.0.0.1', dst='10.0.0.2', flags='MF') / U / DATA,
    'udp4-later-fragment': ETH / IP(src='10.0.0.1', dst='10.0.0.2', frag=10, proto=17) / DATA,
    'sctp4': ETH / IP4 / SCTP(sport=1, dport=2) / DATA,
    'tcp6': ETH / IP6 / T / DATA,
    'udp6-vlan': ETH / Dot1Q(vlan=10) / IP6 / U / DATA,
    'tcp6-extensions': ETH / IP6 / HOP / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / T / DATA,
    'tcp6-ah': ETH / IP6 / AH(nh=6, payloadlen=4, spi=1, seq=1, icv=b'\0' * 12) / T / DATA,
    'udp6-first-fragment': ETH / IP6 / IPv6ExtHdrFragment(m=1, id=1) / U / DATA,
    'udp6-later-fragment': ETH / IP6 / IPv6ExtHdrFragment(nh=17, offset=10, id=1) / DATA,
    'icmp6': ETH / IP6 / ICMPv6EchoRequest() / DATA,
    'icmp6-ns': ETH / IP6 / ICMPv6ND_NS(tgt='2001:db8::9') / ICMPv6NDOptSrcLLAddr(lladdr=MAC),
    'icmp6-na': ETH / IP6 / ICMPv6ND_NA(tgt='2001:db8::9') / ICMPv6NDOptDstLLAddr(lladdr=MAC) /
                ICMPv6NDOptSrcLLAddr(lladdr=MAC),
    'mpls': ETH / MPLS(label=1, s=0) / MPLS(label=2, s=0) / MPLS(label=3, s=0) / MPLS(label=4) / IP4,
    'nsh': ETH / NSH(spi=1, si=255) / DATA,
    'type-ipv4': IP4 / U / DATA,
    'type-ipv6': IP6 / HOP / T / DATA,
    'type-mpls': MPLS(label=1) / IP4,
    'type-nsh': NSH(mdtype=2, spi=1, si=255, length=2) / DATA,
}

TYPES = {'type-ipv4': IPV4, 'type-ipv6': IPV6, 'type-mpls': MPLS_TYPE, 'type-nsh': NSH_TYPE}

os.makedirs(FOLDER, exist_ok=True)
for name, frame in FRAMES.items():
    with open(os.path.join(FOLDER, name), 'wb') as f:
        f.write(bytes([TYPES.get(name, ETHERNET), 0, 0]) + bytes(frame))
