#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/parse and corpus/offload: frames as guests send them. Needs scapy.

Run by hand when a target's input format changes; the output is in the tree and repeatable.
"""
import os
import struct

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting, ICMPv6EchoRequest, PadN)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether, LLC
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus')
ETH = Ether(dst='06:00:00:00:00:02', src='02:00:00:00:00:01')
IP4 = IP(src='10.0.0.1', dst='10.0.0.2', id=1, flags='DF')
IP6 = IPv6(src='2001:db8::1', dst='2001:db8::2')
T = TCP(sport=4660, dport=80, seq=1, flags='PA')
U = UDP(sport=4660, dport=53)
DATA = Raw(bytes(range(100)))
HOP = IPv6ExtHdrHopByHop(options=[PadN(optdata=b'\0' * 4)])

CSUM, ECN = 1, 0x80
TCPV4, UFO, TCPV6 = 1, 3, 4

FRAMES = {
    'arp': ETH / ARP(),
    'llc': ETH.copy() / LLC(),
    'icmp': ETH / IP4 / ICMP() / DATA,
    'tcp4': ETH / IP4 / T / DATA,
    'tcp4-options': ETH / IP4 / TCP(sport=1, dport=2, options=[('Timestamp', (1, 2))]) / DATA,
    'tcp4-ip-options': ETH / IP(src='10.0.0.1', dst='10.0.0.2', id=1, options=[b'\1' * 4]) / T / DATA,
    'tcp4-vlan': ETH / Dot1Q(vlan=10) / IP4 / T / DATA,
    'tcp4-qinq': ETH / Dot1AD(vlan=100) / Dot1Q(vlan=10) / IP4 / T / DATA,
    'udp4': ETH / IP4 / U / DATA,
    'udp4-first-fragment': ETH / IP(src='10.0.0.1', dst='10.0.0.2', flags='MF') / U / DATA,
    'udp4-later-fragment': ETH / IP(src='10.0.0.1', dst='10.0.0.2', frag=10, proto=17) / DATA,
    'sctp4': ETH / IP4 / SCTP(sport=1, dport=2) / DATA,
    'tcp6': ETH / IP6 / T / DATA,
    'tcp6-vlan': ETH / Dot1Q(vlan=10) / IP6 / T / DATA,
    'tcp6-extensions': ETH / IP6 / HOP / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / T / DATA,
    'tcp6-ah': ETH / IP6 / AH(spi=1, seq=1, icv=b'\0' * 12) / T / DATA,
    'udp6': ETH / IP6 / U / DATA,
    'udp6-first-fragment': ETH / IP6 / IPv6ExtHdrFragment(m=1, id=1) / U / DATA,
    'udp6-later-fragment': ETH / IP6 / IPv6ExtHdrFragment(nh=17, offset=10, id=1) / DATA,
    'icmp6': ETH / IP6 / ICMPv6EchoRequest() / DATA,
}


def write(target, name, data):
    os.makedirs(os.path.join(FOLDER, target), exist_ok=True)
    with open(os.path.join(FOLDER, target, name), 'wb') as f:
        f.write(data)


def l4_offset(packet, layer):
    return len(packet) - len(packet[layer])


def request(packet, gso_type, gso_size, flags=CSUM, caps=0, how=0, cuts=()):
    """struct input of fuzz_offload.c."""
    layer = UDP if UDP in packet else TCP
    return struct.pack('<BBHHHBB6B', flags, gso_type, gso_size, l4_offset(packet, layer),
                       6 if layer is UDP else 16, caps, how,
                       *(tuple(cuts) + (0,) * 6)[:6])


def main():
    for name, packet in FRAMES.items():
        write('parse', name, struct.pack('<H', 0) + bytes(packet))
    write('parse', 'tcp4-seen-in-part', struct.pack('<H', 60) + bytes(FRAMES['tcp4'])[:-60])
    write('parse', 'runt', bytes(12))

    for name, packet in FRAMES.items():
        if TCP not in packet and UDP not in packet:
            continue
        frame = bytes(packet)
        gso = UFO if UDP in packet else TCPV6 if IPv6 in packet else TCPV4
        write('offload', name + '-csum', request(packet, 0, 0, how=1) + frame)
        write('offload', name + '-gso', request(packet, gso, 48) + frame)
        write('offload', name + '-gso-ecn', request(packet, gso | ECN, 56, cuts=(1, 13, 7)) + frame)
        write('offload', name + '-gso-64k',
              request(packet, gso, 1448, how=0xfe, caps=1, cuts=(60,)) + frame)
        write('offload', name + '-gso-hostile', request(packet, gso, 1, flags=0) + frame)


main()
