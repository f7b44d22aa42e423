#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/ct_helper: struct input of fuzz_ct_helper.c, then pieces of a control connection. Needs scapy.

Run by hand when the input format changes; the output is in the tree and repeatable.
"""
import os
import struct

from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting
from scapy.packet import Raw

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus', 'ct_helper')
SERVER, CUT, PENDING, AGAIN = 1, 2, 4, 8
V6, SNAT, DNAT, TFTP, ERROR = 1, 2, 4, 8, 16
HELLO = [(SERVER, '220 hello\r\n'), (0, 'USER x\r\n')]
TALKS = {
    'port': [(0, 'PORT 10,0,0,1,156,64\r\n'), (SERVER, '200 ok\r\n'), (0, 'LIST\r\n')],
    'eprt4': [(0, 'EPRT |1|10.0.0.1|40000|\r\n')],
    'eprt6': [(0, 'EPRT |2|fd00::a00:1|40000|\r\n')],
    '227': [(SERVER, '227 Entering Passive Mode (10,0,0,2,156,64).\r\n'), (0, 'LIST\r\n')],
    '229': [(SERVER, '229 Entering Extended Passive Mode (|||40000|)\r\n')],
    'lines': [(0, 'NOOP\r\nPORT 10,0,0,1,1,1\r\nLIST\r\n')],
    'cut': [(CUT | PENDING, 'PORT 10,0,0,1,156,64\r\n')],
    'part': [(0, 'PORT 10,0,0'), (0, ',1,1,1\r\n')],
    'sack': [(0, 'PORT 10,0,0,1,156,64\r\n'), (SERVER, '\x01\x01\x05\x0a\xff\xff\xff\x80\xff\xff\xff\x90\r\n')],
}


def write(name, flags, body, room=64):
    with open(os.path.join(FOLDER, name), 'wb') as f:
        f.write(struct.pack('<BBH', flags, room, 40000) + body)


def talk(lines):
    body = b''
    for flags, text in lines:
        text = text.encode('latin-1')
        body += struct.pack('BBBB', flags, 5, len(text), len(text)) + text
    return body


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for name, lines in TALKS.items():
        for kind, flags in (('plain', 0), ('snat', SNAT), ('dnat', DNAT), ('both6', V6 | SNAT | DNAT)):
            write('%s-%s' % (name, kind), flags, talk(HELLO + lines))
    again = TALKS['port'][0][1]
    write('again', SNAT, talk(HELLO + [(0, again)]) + struct.pack('BBBB', AGAIN, 0, len(again), len(again)) + again.encode())
    write('no-room', SNAT, talk(HELLO + TALKS['port']), room=0)
    write('tftp', TFTP | SNAT, talk([(0, '\0\1file\0octet\0')]))
    v4, v6 = IP(src='10.0.0.1', dst='10.0.0.2'), IPv6(src='fd00::1', dst='fd00::2')
    for name, packet in (('tcp', v4 / TCP()), ('udp', v4 / UDP()), ('icmp', v4 / ICMP()), ('later', IP(frag=5) / Raw(b'x' * 8))):
        write('inner4-' + name, ERROR, raw(packet))
    for name, packet in (('tcp', v6 / TCP()), ('udp', v6 / IPv6ExtHdrDestOpt() / UDP()), ('icmp', v6 / ICMPv6EchoRequest()),
                         ('routed', v6 / IPv6ExtHdrRouting(segleft=1, addresses=['fd00::5']) / UDP()),
                         ('fragment', v6 / IPv6ExtHdrFragment(m=1) / UDP())):
        write('inner6-' + name, ERROR | V6, raw(packet))


main()
