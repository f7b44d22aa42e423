#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/ring_split and corpus/ring_packed: rings as sound drivers fill them.

The format is that of fuzz_ring.c. Run by hand when it changes; the output is in the tree and repeatable.
"""
import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus')

V1, MRG, ORDER, EVENT, INDIRECT, OFFLOADS, DIRTY, INFLIGHT = (1 << i for i in range(8))
AVX512, THREAD, WRAP0, FEW_MBUFS, LENDS = 1, 2, 4, 8, 16
RECV, SEND, AVAIL, MUTATE, BACKLOG, ARM, DISARM, PACKET, RESTART = range(9)
NEXT, WRITE, TABLE = 1, 2, 4

BUFFERS, BUFFER_BYTES = 0x10000, 0x4000 + 1000
BUFFER = 256
LONG = 9000  # overlapping; those further up reach into the next region


def layout(packed, size, features):
    """Bytes of descriptors, available and used ring."""
    if packed:
        return 16 * size, 4, 4
    event = 2 if features & EVENT else 0
    return 16 * size, 4 + 2 * size + event, 4 + 8 * size + event


class Ring:
    """What the guest writes: n buffers of `shape` ('one', 'two', 'table', 'long') in a ring of `size`."""

    def __init__(self, packed, size, features, start, writable, shape):
        self.parts = [bytearray(n) for n in layout(packed, size, features)]
        self.tables = {}
        write = WRITE if writable else 0
        per = 2 if shape == 'two' else 1
        for i in range(size // per):
            at = BUFFERS + i * BUFFER % 0x4000
            first = 12 if features & (V1 | MRG) or packed else 10
            pieces = [(at, BUFFER)] if shape == 'one' else [(at, first), (at + first, BUFFER - first)]
            if shape == 'long':
                pieces = [(at + i * 900, LONG)]
            if shape == 'table':
                table = at + BUFFER - 64  # in the tail of the buffer
                self.tables[table] = b''.join(
                    struct.pack('<QIHH', a, n, 0, write) if packed else
                    struct.pack('<QIHH', a, n, write | (NEXT if k == 0 else 0), 1)
                    for k, (a, n) in enumerate(pieces))
                pieces = [(table, 32)]
            for k, (a, n) in enumerate(pieces):
                flags = TABLE if shape == 'table' else write | (NEXT if k + 1 < len(pieces) else 0)
                slot = (start + i * per + k) % size if packed else i * per + k
                entry = (struct.pack('<QIHH', a, n, i, flags) if packed else
                         struct.pack('<QIHH', a, n, flags, slot + 1))
                self.parts[0][16 * slot:16 * slot + 16] = entry
            if not packed:
                struct.pack_into('<H', self.parts[1], 4 + 2 * ((start + i) % size), i * per)
        if not packed:
            struct.pack_into('<H', self.parts[1], 2, start)


def frames(features, n):
    """n buffers with headers, some with requests."""
    memory = bytearray(BUFFER_BYTES)
    for i in range(0, n * BUFFER, BUFFER):
        header = struct.pack('<BBHHHHH', 0, 0, 0, 0, 0, 0, 0)
        if features & OFFLOADS and i // BUFFER % 3 == 1:
            header = struct.pack('<BBHHHHH', 1, 0, 0, 0, 34, 16, 0)
        if features & OFFLOADS and i // BUFFER % 3 == 2:
            header = struct.pack('<BBHHHHH', 1, 1, 54, 400, 34, 16, 0)
        memory[i:i + len(header)] = header
    return memory


def seed(packed, features, how, size, start, ops, mutations=(), shape='one'):
    rings = [Ring(packed, size, features, start, False, shape),
             Ring(packed, size, features, start, True, shape)]
    memory = frames(features, size)
    image = b''.join(bytes(p) for r in rings for p in r.parts)
    for r in rings[:1]:
        for gpa, table in r.tables.items():
            memory[gpa - BUFFERS:gpa - BUFFERS + len(table)] = table
    used = len(memory.rstrip(b'\0'))
    code = size - 1 if packed else size.bit_length() - 1
    return (struct.pack('<BBBBHBB', features, how, code, code, start, len(ops), len(mutations)) +
            b''.join(struct.pack('<BB', *o) for o in ops) +
            b''.join(struct.pack('<HH', *m) for m in mutations) + image + bytes(memory[:used]))


def main():
    for kind in ('split', 'packed'):
        packed = kind == 'packed'
        folder = os.path.join(FOLDER, 'ring_' + kind)
        os.makedirs(folder, exist_ok=True)
        both = [(AVAIL, 2 * 8), (AVAIL, 2 * 8 + 1)]
        walk = both + [(ARM, 0), (RECV, 31), (PACKET, 0), (PACKET, 32), (PACKET, 3), (SEND, 0),
                       (BACKLOG, 8), (DISARM, 0)] + both + [(MUTATE, 2), (RECV, 63), (SEND, 0),
                                                            (RESTART, 0), (RESTART, 1)] + both
        walk += [(RECV, 63), (SEND, 0)]
        # Flags and lengths of the first descriptors, index of the available ring, headers.
        mutations = [(8, 0), (12, 3), (14, 0x80), (14, 0x8080), (14, 0x8000), (30, 0x80), (16 * 8 + 2, 40),
                     (0, 0xffff), (6, 1), (24, 0xffff)]
        # The first descriptor is there, is not there, is there ...
        flips = [(8, BUFFER), (14, 0x80), (8, BUFFER), (14, 0x8000)]
        seeds = {
            'plain': (0, 0, 8, 0, walk),
            'avx512': (V1, AVX512, 16, 0, walk),
            'merged': (V1 | MRG, 0, 8, 5, walk),
            'merged-avx512': (V1 | MRG | EVENT, AVX512, 32, 30, walk),
            'in-order': (V1 | ORDER, 0, 16, 3, walk),
            'offloads': (V1 | MRG | OFFLOADS, AVX512, 16, 2, walk),
            'dirty-log': (V1 | MRG | DIRTY, 0, 8, 1, walk),
            'in-flight-log': (V1 | MRG | INFLIGHT, 0, 8, 1, walk),
            'few-mbufs': (V1 | ORDER, FEW_MBUFS, 16, 1, walk),
            'thread': (V1 | MRG, THREAD, 4, 0, walk * 2, mutations),
            'thread-avx512': (V1 | MRG, THREAD | AVX512, 16, 0, walk * 2, mutations),
            'thread-small': (V1, THREAD, 1, 0, [(RECV, 63), (RESTART, 0)] * 100, flips),
            'thread-small-avx512': (V1, THREAD | AVX512, 8, 0, [(RECV, 63), (RESTART, 0)] * 100, flips),
            'mutations': (V1 | MRG, 0, 8, 0, walk, mutations),
            'wrap': (V1 | EVENT, WRAP0, 8, 7, walk * 3),
            'chains': (V1 | MRG, 0, 8, 0, walk, (), 'two'),
            'chains-odd-end': (0, 0, 8, 7, walk, mutations, 'two'),
            'tables': (V1 | INDIRECT, 0, 8, 0, walk, (), 'table'),
            'lent': (V1 | MRG, LENDS, 8, 0, walk, (), 'long'),
            'lent-in-order': (V1 | ORDER, LENDS | AVX512, 8, 6, walk, (), 'long'),
            'lent-thread': (V1 | MRG, LENDS | THREAD, 8, 0, walk * 2, mutations, 'long'),
            'lent-few-mbufs': (V1 | MRG | OFFLOADS, LENDS | FEW_MBUFS, 8, 0, walk, (), 'long'),
            'tables-thread': (INDIRECT | MRG, THREAD, 8, 0, walk, mutations, 'table'),
        }
        if not packed:
            seeds['index-wraps'] = (V1 | EVENT, AVX512, 16, 65530, walk * 3)
        for name, arguments in seeds.items():
            with open(os.path.join(folder, name), 'wb') as f:
                f.write(seed(packed, *arguments))


main()
