#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/conntrack: packets as the comment in fuzz_conntrack.c says.

Run by hand when the input format changes; the output is in the tree and repeatable.
"""
import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus', 'conntrack')
V6, TCP, UDP, ICMP, SCTP, REPLY, COMMIT, FORCE, ERROR, CUT = 1, 0, 2, 4, 6, 8, 0x10, 0x20, 0x40, 0x80
NAT, PICK_UP = 1, 2
ZONE, MARK = 4, 8
FIN, SYN, RST, ACK = 1, 2, 4, 16


def packet(what, kind=0, text=b'', who=0):
    return struct.pack('BBBB', what, who, kind, len(text)) + text


def tcp(flags, seq, ack=0, what=0, win=8000, data=b'', who=0, options=b''):
    words = 5 + len(options) // 4
    text = struct.pack('!IIBBHHH', seq % 2**32, ack % 2**32, words << 4, 0, win, 0, 0) + options + data
    return packet(TCP | what, flags, text, who)


def sctp(chunk, tag, what=0, value=b'', who=0):
    return packet(SCTP | what, chunk, struct.pack('!IIBBH', tag, 0, 0, 0, 4 + len(value)) + value, who)


def time(n):
    return bytes((0xff, n))


EXPIRE = b'\xfe\0'


def handshake(what=0, who=0, seq=100):
    return (tcp(SYN, seq, what=what | COMMIT, who=who) + tcp(SYN | ACK, 500, seq + 1, what | REPLY, who=who) +
            tcp(ACK, seq + 1, 501, what, who=who))


def talk(what=0, who=0, seq=100):
    return b''.join(tcp(ACK, seq + 1 + 10 * i, 501 + 10 * i, what, data=bytes(10), who=who) +
                    tcp(ACK, 501 + 10 * i, seq + 11 + 10 * i, what | REPLY, data=bytes(10), who=who) for i in range(4))


def close(what=0):
    return (tcp(FIN | ACK, 141, 541, what) + tcp(FIN | ACK, 541, 142, what | REPLY) + tcp(ACK, 142, 542, what))


SCALE = bytes((2, 4, 5, 0xb4, 1, 3, 3, 7))
SACK = bytes((1, 1, 5, 10)) + struct.pack('!II', 511, 521)
STAMP = bytes((1, 1, 8, 10)) + bytes(8)
UDP_TEXT = struct.pack('!HH', 0, 0) + b'question'
ECHO = struct.pack('!HH', 3, 1) + b'ping'
INIT = struct.pack('!IIHHI', 0x1234, 1000, 1, 1, 5)
SEEDS = {
    'tcp': (0, handshake() + talk() + close() + time(40) + EXPIRE),
    'tcp6': (0, handshake(V6) + talk(V6) + close(V6)),
    'tcp-wrap': (0, handshake(seq=0xfffffff0) + talk(seq=0xfffffff0)),
    'tcp-again': (0, handshake() + talk() + close() + tcp(SYN, 9000, what=COMMIT)),
    'tcp-rst': (0, handshake() + tcp(RST, 101) + tcp(RST | ACK, 501, 101, REPLY) + talk()),
    'tcp-simultaneous': (0, tcp(SYN, 100, what=COMMIT) + tcp(SYN, 500, what=REPLY) + tcp(SYN | ACK, 100, 501) +
                         tcp(SYN | ACK, 500, 101, REPLY)),
    'tcp-retransmitted': (0, tcp(SYN, 100, what=COMMIT) * 3 + time(20) + handshake() + tcp(ACK, 101, 501, data=b'x') * 5),
    'tcp-options': (0, tcp(SYN, 100, what=COMMIT, options=SCALE) + tcp(SYN | ACK, 500, 101, REPLY, options=SCALE) +
                    tcp(ACK, 101, 501, options=STAMP) + tcp(ACK, 101, 501, options=SACK) + tcp(ACK, 501, 101, REPLY, win=0)),
    'tcp-picked-up': (PICK_UP, talk(COMMIT)),
    'tcp-far': (0, handshake() + tcp(ACK, 0x80000000, 501) + tcp(ACK, 101, 0x70000000) + talk()),
    'tcp-force': (0, handshake() + tcp(ACK, 501, 101, REPLY | COMMIT | FORCE) + talk()),
    'tcp-marked': (0, handshake() + talk() + tcp(ACK, 141, 541, COMMIT, who=MARK) + talk()),
    'tcp-zones': (0, handshake() + handshake(who=ZONE) + talk() + talk(who=ZONE)),
    'tcp-nat': (NAT, handshake() + talk() + close()),
    'tcp-error': (0, handshake() + tcp(ACK, 101, 501, ERROR) + tcp(ACK, 501, 101, REPLY | ERROR)),
    'tcp-error6-nat': (NAT, handshake(V6) + tcp(ACK, 101, 501, V6 | ERROR)),
    'tcp-cut': (0, handshake() + tcp(ACK, 101, 501, CUT)),
    'udp': (0, (packet(UDP | COMMIT, 0, UDP_TEXT) + packet(UDP | REPLY, 0, UDP_TEXT) + time(5)) * 4 + time(60) + EXPIRE),
    'udp-one-way': (0, packet(UDP | COMMIT, 0, UDP_TEXT) + packet(UDP, 0, UDP_TEXT) * 3),
    'udp6': (0, packet(V6 | UDP | COMMIT, 0, UDP_TEXT) + packet(V6 | UDP | REPLY, 0, UDP_TEXT) * 2),
    'udp-nat-many': (NAT, b''.join(packet(UDP | COMMIT, 0, UDP_TEXT, who) for who in range(8))),
    'udp-error': (0, packet(UDP | COMMIT, 0, UDP_TEXT) + packet(UDP | ERROR, 0, UDP_TEXT)),
    'icmp': (0, packet(ICMP | COMMIT, 8, ECHO) + packet(ICMP | REPLY, 0, ECHO) + packet(ICMP | COMMIT, 13, ECHO)),
    'icmp6': (0, packet(V6 | ICMP | COMMIT, 128, ECHO) + packet(V6 | ICMP | REPLY, 129, ECHO)),
    'icmp-nat': (NAT, packet(ICMP | COMMIT, 8, ECHO) + packet(ICMP | REPLY, 0, ECHO)),
    'sctp': (0, sctp(1, 0, COMMIT, INIT) + sctp(2, 0x1234, REPLY, INIT) + sctp(10, 0x1234) + sctp(11, 0x1234, REPLY) +
             sctp(0, 0x1234) + sctp(7, 0x1234) + sctp(8, 0x1234, REPLY) + sctp(14, 0x1234)),
    'sctp-heartbeat': (0, sctp(1, 0, COMMIT, INIT) + sctp(4, 0x1234) + sctp(5, 0x1234, REPLY) + sctp(6, 0)),
}

os.makedirs(FOLDER, exist_ok=True)
for name, (first, ops) in SEEDS.items():
    with open(os.path.join(FOLDER, name), 'wb') as f:
        f.write(bytes((first,)) + ops)
