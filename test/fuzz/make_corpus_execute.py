#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Seeds for fuzz_execute: some action programs in front of some packets. Writes corpus/execute."""
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
OUTPUT, PUNT, SET, PUSH_VLAN, POP_VLAN, PUSH_MPLS, POP_MPLS, PUSH_ETH, POP_ETH, PUSH_NSH, POP_NSH, TUNNEL, RECIRC, \
    HASH, METER, SAMPLE, CLONE, CHECK_LEN, TRUNC, FORWARD, DROP = range(21)

ETH = bytes.fromhex('02000000000b02000000000a')


def ipv4(proto, l4, ttl=64):
    return struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(l4), 1, 0, ttl, proto, 0, b'\x0a\0\0\1',
                       b'\x0a\0\0\2') + l4


UDP = struct.pack('>HHHH', 1000, 53, 28, 0x1234) + bytes(20)
TCP = struct.pack('>HHIIBBHHH', 1000, 80, 1, 2, 0x50, 0x18, 100, 0x4321, 0) + bytes(10)
FRAMES = {
    'udp': ETH + b'\x08\x00' + ipv4(17, UDP),
    'tcp': ETH + b'\x08\x00' + ipv4(6, TCP),
    'vlan': ETH + b'\x81\0\0\x05\x08\x00' + ipv4(17, UDP),
    'ipv6': ETH + b'\x86\xdd' + struct.pack('>IHBB', 6 << 28, len(UDP), 17, 64) + bytes(15) + b'\1'
    + bytes(15) + b'\2' + UDP,
    'mpls': ETH + b'\x88\x47' + struct.pack('>I', 100 << 12 | 1 << 8 | 64) + ipv4(17, UDP),
    'arp': ETH + b'\x08\x06' + bytes.fromhex('0001080006040001') + bytes(20),
}
ALL = 0x3f


def program(*actions):
    return bytes([len(actions)]) + b''.join(bytes(a) for a in actions)


def set_field(word, mask, value):
    pairs = b''.join(bytes([m, v]) for m, v in zip(mask, value))
    return bytes([SET, word, len(mask)]) + pairs


PROGRAMS = {
    'output': (program([OUTPUT, 1]), program()),
    'both': (program([OUTPUT, 1], [OUTPUT, 2]), program()),
    'recirc': (program([RECIRC, 1]), program([OUTPUT, 2])),
    'mac': (program(set_field(18, b'\xff' * 6, b'\2\2\2\2\2\2'), [OUTPUT, 1]), program()),
    'ttl': (program(set_field(30, b'\0\0\0\0\0\0\xff', b'\0\0\0\0\0\0\x3f'), [OUTPUT, 1]), program()),
    'ports': (program(set_field(32, b'\xff\xff\xff\xff', b'\1\2\3\4'), [OUTPUT, 1]), program()),
    'push': (program([PUSH_VLAN, 0x81, 0, 0x10, 7], [OUTPUT, 1]), program()),
    'pop': (program([POP_VLAN, 0], [OUTPUT, 1]), program()),
    'mpls': (program([PUSH_MPLS, 1, 2, 3, 4, 0], [OUTPUT, 1]), program()),
    'tunnel': (program([TUNNEL, 0, 0, 0, 0, 0, 7, 0, 0, 0], [OUTPUT, 2]), program()),
    'clone': (program([CLONE, 1, OUTPUT, 1], [RECIRC, 1]), program([TRUNC, 40], [OUTPUT, 2])),
    'check': (program([CHECK_LEN, 60, 1, OUTPUT, 1, 1, 1, OUTPUT, 2]), program()),
    'drop': (program([METER, 1], [DROP, 3]), program()),
}


def main():
    folder = os.path.join(HERE, 'corpus', 'execute')
    os.makedirs(folder, exist_ok=True)
    for frame_name, frame in FRAMES.items():
        for name, (first, second) in PROGRAMS.items():
            body = bytes([ALL]) + first + bytes([0]) + second
            body += bytes(max(0, len(frame) - len(body)))       # the frame is at most half of it
            with open(os.path.join(folder, f'{frame_name}-{name}'), 'wb') as f:
                f.write(bytes([min(255, len(frame) - 20)]) + body + frame)


if __name__ == '__main__':
    main()
