#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/vhost_msg: what front ends do, in the input format of fuzz_vhost_msg.c.

Run by hand when that changes; the output is in the tree and repeatable.
"""
import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus', 'vhost_msg')

# enum action and enum kind of fuzz_vhost_msg.c
MESSAGE, BYTES, TURN, DRAIN, SHRINK, GROW, WRITE, RING, PRACTICE = range(9)
MEMORY, SMALL, EMPTY, EVENT, PIPE, SOCKET, READONLY = range(7)

ACK = 9
LOG_ALL, PROTOCOL, VERSION_1, PACKED, IN_ORDER = 1 << 26, 1 << 30, 1 << 32, 1 << 34, 1 << 35


def msg(request, payload=b'', fds=0, kind=0, flags=ACK):
    return bytes((MESSAGE, request, flags, kind << 4 | fds, len(payload) // 2)) + payload


def u64(request, value, **how):
    return msg(request, struct.pack('<Q', value), **how)


def state(request, index, num):
    return msg(request, struct.pack('<II', index, num))


def region(gpa, size, offset=0):
    return struct.pack('<QQQQ', gpa, size, gpa, offset)


def addr(ring, flags=0, log=0):
    at = ring * 0x4000
    return msg(9, struct.pack('<IIQQQQ', ring, flags, at, at + 0x2000, at + 0x1000, log))


def ring(index, size=64, base=0):
    return state(8, index, size) + state(10, index, base) + addr(index) + \
        u64(13, index, fds=1, kind=EVENT) + u64(12, index, fds=1, kind=EVENT) + \
        state(18, index, 1)


def look(index, error=0):
    return bytes((TURN, RING, index, error))


def inflight(request, queues, size, mmap_size=0, **how):
    return msg(request, struct.pack('<QQHHI', mmap_size, 0, queues, size, 0), **how)


BEGIN = bytes((PRACTICE,))
SPLIT = BEGIN + u64(2, VERSION_1 | PROTOCOL)
PACK = BEGIN + u64(2, VERSION_1 | PROTOCOL | PACKED)
RINGS = ring(0) + ring(1)
LOG = msg(6, struct.pack('<QQ', 4096, 0), fds=1, kind=SMALL)

SEEDS = {
    'questions': BEGIN + msg(1) + msg(15) + msg(17) + msg(36) + msg(40) + msg(3) +
                 bytes((TURN, DRAIN)),
    'split': SPLIT + RINGS + look(1) + state(11, 1, 0) + state(11, 0, 0),
    'split-legacy': BEGIN + u64(2, 0) + RINGS + look(1),
    'split-pairs': SPLIT + RINGS + ring(2) + ring(3) + look(3) + state(18, 2, 0) + state(18, 2, 1),
    'split-base': SPLIT + bytes((WRITE, MEMORY, 0x60, 4, 0, 0, 9, 0)) + ring(1, base=7) + look(1),
    'packed': PACK + ring(0, 60, 0x8000) + ring(1, 60, 0x80018001) + look(1) + state(11, 1, 0),
    'migrate': SPLIT + RINGS + LOG + u64(2, VERSION_1 | PROTOCOL | LOG_ALL) + addr(1, 1, 0x6000) +
               look(1) + u64(2, VERSION_1 | PROTOCOL) + addr(1) + state(11, 1, 0) +
               u64(19, 0x0605040302),
    'slots': SPLIT + RINGS + msg(37, bytes(8) + region(1 << 20, 4096), fds=1, kind=SMALL) +
             msg(38, bytes(8) + region(1 << 20, 4096)) + msg(38, bytes(8) + region(0, 65536)) +
             msg(37, bytes(8) + region(0, 65536), fds=1) + look(1),
    'table': SPLIT + RINGS + msg(5, struct.pack('<II', 2, 0) + region(0, 65536) +
                                 region(1 << 20, 4096), fds=8 | 2, kind=MEMORY) + look(1),
    'inflight-split': SPLIT + inflight(31, 4, 64) + RINGS + look(1) +
                      inflight(32, 4, 64, 4160 + 4096, fds=1) + look(1),
    'inflight-packed': PACK + inflight(31, 4, 64) + ring(1, 64, 0x8000) + look(1) +
                       inflight(32, 4, 64, 16384, fds=1) + look(1),
    'inflight-left-split': SPLIT + bytes((WRITE, SMALL, 0, 32)) +
                           struct.pack('<QHHHH', 0, 1, 64, 0, 0) + struct.pack('<B5xHQ', 1, 0, 5) +
                           inflight(32, 1, 64, 1088, fds=1, kind=SMALL) + ring(0) + look(0),
    'inflight-left-packed': PACK + bytes((WRITE, SMALL, 0, 64)) +
                            struct.pack('<QHHHHHHBB10x', 0, 1, 60, 1, 1, 1, 0, 1, 1) +
                            struct.pack('<BxHHHQ16x', 1, 1, 0, 1, 5) +
                            inflight(32, 1, 60, 2048, fds=1, kind=SMALL) + ring(0, 60, 0x8000) +
                            look(0),
    'fds': SPLIT + u64(14, 0, fds=1, kind=EVENT) + msg(7, fds=1, kind=EVENT) +
           msg(21, fds=1, kind=SOCKET) + u64(12, 0x100) + u64(13, 0x101) +
           u64(13, 0, fds=1, kind=PIPE),
    'fds-many': BEGIN + msg(40, fds=15, kind=MEMORY),
    'mtu-status': BEGIN + u64(20, 1500) + u64(20, 20) + u64(39, 15) + msg(40) + msg(4) + msg(34),
    'shrink': SPLIT + RINGS + bytes((TURN, SHRINK, MEMORY)) + look(1),
    'shrink-grow': SPLIT + RINGS + bytes((TURN, SHRINK, MEMORY, GROW, MEMORY)) + look(1) + msg(1),
    'broken-ring': SPLIT + RINGS + look(1, 0xff) + msg(1),
    'pieces': bytes((BYTES, 3, 1, 0, 0, TURN, BYTES, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, TURN, DRAIN)),
    'readonly': BEGIN + msg(5, struct.pack('<II', 1, 0) + region(0, 65536), fds=1, kind=READONLY),
    'unknown': BEGIN + msg(23, bytes(8)) + msg(28, flags=1),
}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(FOLDER, name), 'wb') as f:
            f.write(data)


main()
