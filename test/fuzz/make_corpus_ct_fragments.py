#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/ct_fragments: fragments as the comment in fuzz_ct_fragments.c says.

Run by hand when the input format changes; the output is in the tree and repeatable.
"""
import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus', 'ct_fragments')
V6, PORT, ID, NAT = 1, 2, 8, 0x20
LATER, GONE = b'\xff\xff', b'\xfe'
PAYLOAD = struct.pack('!HHHH', 1000, 2000, 64, 0) + bytes(range(56))


def piece(flags, start, end, last=None):
    more = end < len(PAYLOAD) if last is None else not last
    field = start | more if flags & V6 else start // 8 | more << 13
    return struct.pack('!BHB', flags, field, end - start) + PAYLOAD[start:end]


def pieces(flags, *ends):
    return b''.join(piece(flags, *end) for end in ends)


WHOLE = ((0, 16), (16, 40), (40, 64))
SEEDS = {
    'reversed': pieces(0, *WHOLE[::-1]),
    'ports': b''.join(pieces(PORT * i, *WHOLE) for i in range(3)),
    'interleaved': b''.join(piece(ID * i, *end) for end in WHOLE for i in range(3)),
    'nat': pieces(NAT, *WHOLE),
    'repeated': pieces(0, WHOLE[0], WHOLE[0], *WHOLE[1:]),
    'overlap': pieces(0, (0, 24), *WHOLE[1:]),
    'beyond': pieces(0, (0, 16), (16, 40, True), (40, 64)),
    'short': pieces(0, (0, 0), (0, 4), (8, 64)),
    'late': piece(0, 0, 16) + LATER + piece(0, 16, 64),
    'gone': piece(0, 0, 16) + GONE + piece(0, 16, 64),
    'far': piece(0, 0, 64, False) + struct.pack('!BHB', 0, 0x1fff, 8) + bytes(8),
    'many': b''.join(piece(0, at, at + 8) for at in range(0, 64, 8)),
    'ipv6': pieces(V6, *WHOLE),
    'ipv6-overlap': pieces(V6, (0, 24), *WHOLE[1:]),
}

os.makedirs(FOLDER, exist_ok=True)
for name, seed in SEEDS.items():
    with open(os.path.join(FOLDER, name), 'wb') as f:
        f.write(seed)
