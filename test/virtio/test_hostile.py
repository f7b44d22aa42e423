# SPDX-License-Identifier: Apache-2.0
"""Guests that break every rule: rings, descriptors, headers, memory.

Each time: xviod lives; the port is marked broken with a sentence and a counter, or the packet is
dropped with a reason, or the message is refused; two well-behaved guests beside it lose nothing;
the port serves the next, honest guest.  The classes are those of the vhost CVEs of 2018-2026.
"""

import contextlib
import os
import random
import struct
import time

import pytest

from arena import (GOOD, HIGH_BYTES, HOLE, LOW_BYTES, NOWHERE, TOP, body, flip, log_region,
                   mutating, place, resolve, with_inflight)
from frontend import (BASIC, F, GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP, GUEST_OFFLOADS,
                      HDR_NEEDS_CSUM, HOST_OFFLOADS, NetHdr, Req, u64)
from vring import DESC_AVAIL, DESC_INDIRECT, DESC_NEXT, DESC_USED, DESC_WRITE, Memory, wait

rings = pytest.mark.parametrize('packed', [False, True], ids=['split', 'packed'])


CHAINS = {
    'unmapped': [(NOWHERE, 100, 0)],
    'hole': [(HOLE, 100, 0)],
    'end-of-low': [(LOW_BYTES - 8, 100, 0)],
    'end-of-high': [(Memory.HIGH + HIGH_BYTES - 50, 100, 0)],
    'start-below-high': [(Memory.HIGH - 8, 100, 0)],
    'last-byte': [(TOP - 1, 100, 0)],
    'wrap': [(TOP - 50, 100, 0)],
    'wrap-to-good': [(TOP - 0x1000, 0x3000, 0)],
    'long': [(GOOD, 0xffffffff, 0)],
    'long-to-end': [(GOOD, HIGH_BYTES, 0)],
    'header-then-unmapped': [(GOOD, 12, 0), (NOWHERE, 100, 0)],
    'header-then-wrap': [(GOOD, 12, 0), (TOP - 4, 100, 0)],
    'unmapped-header': [(NOWHERE, 12, 0), (GOOD, 100, 0)],
    'good-then-unmapped': [(GOOD, 100, 0), (GOOD, 100, 0), (NOWHERE, 1, 0)],
    'front-end-address': [(Memory.HIGH + 0x5500_0000_0000, 100, 0)],
    'empty': [(GOOD, 0, 0)],
    'many-empty': [(GOOD, 0, 0)] * 100,
    'empty-unmapped': [(NOWHERE, 0, 0)],
    'header-cut': [(GOOD, 11, 0)],
    'header-cut-in-two': [(GOOD, 5, 0), (GOOD, 6, 0)],
    'header-only': [(GOOD, 12, 0)],
    'runt-frame': [(GOOD, 12 + 13, 0)],
    'writable': [(GOOD, 100, DESC_WRITE)],
    'writable-first': [(GOOD, 12, DESC_WRITE), (GOOD, 100, 0)],
    'writable-last': [(GOOD, 100, 0), (GOOD, 100, DESC_WRITE)],
    'huge': [(GOOD, 12, 0)] + [(Memory.HIGH, 65536, 0)] * 200,
    'huge-4G': [(GOOD, 12, 0)] + [(Memory.HIGH, HIGH_BYTES, 0)] * 250,
}


@rings
@pytest.mark.parametrize('chain', CHAINS.values(), ids=CHAINS)
def test_transmit_chain(arena, packed, chain):
    g = arena.attacker(packed=packed)
    g.txq[0].ring.add(resolve(g, chain))
    g.txq[0].publish(kick=True)
    arena.contained()
    arena.peer.silence(0.01)


@rings
@pytest.mark.parametrize('chain', CHAINS.values(), ids=CHAINS)
def test_transmit_indirect_chain(arena, packed, chain):
    g = arena.attacker(packed=packed, features=BASIC | F.INDIRECT_DESC)
    table = g.mem.alloc(16 * len(chain))
    g.txq[0].ring.put_table(table, resolve(g, chain))
    g.txq[0].ring.add([(table, 16 * len(chain), DESC_INDIRECT)])
    g.txq[0].publish(kick=True)
    if packed and any(f & DESC_WRITE for _, _, f in chain):
        # DPDK's driver does so: read all the same, from the guest's own memory
        assert len(arena.peer.receive(1)) == 1
        return
    arena.contained()
    arena.peer.silence(0.01)


@rings
def test_bad_chain_between_good_ones(arena, packed):
    """What was sent before arrives; what comes after a broken ring does not."""
    g = arena.attacker(packed=packed)
    sent = [body() for _ in range(10)]
    for f in sent:
        g.queue_frame(f)
    g.txq[0].ring.add([(NOWHERE, 100, 0)])
    g.queue_frame(body())
    g.txq[0].publish(kick=True)
    arena.contained()
    assert [f.data for f in arena.peer.receive(10)][:10] == sent


# -- indirect tables

INDIRECT = {
    'length-0': (0, []),
    'length-8': (8, []),
    'length-17': (17, []),
    'length-40': (40, []),
    'length-max': (0xffffffff, []),
    'length-max-aligned': (0xfffffff0, []),
    'nested': (16, [('table', 16, DESC_INDIRECT)]),
    'nested-self': (16, [('table', 16, DESC_INDIRECT | DESC_NEXT)]),
    'nested-second': (32, [(GOOD, 100, 0), (GOOD, 16, DESC_INDIRECT)]),
    'more-than-any-frame-has': (16 * 60000, [(GOOD, 12, 0)] + [(GOOD, 1, 0)] * 59999),
    'all-empty': (HIGH_BYTES // 2, Memory.HIGH + HIGH_BYTES // 2),
    'table-unmapped': (32, NOWHERE),
    'table-in-hole': (32, HOLE),
    'table-half-outside': (32, Memory.HIGH + HIGH_BYTES - 16),
    'table-wraps': (32, TOP - 16),
}


@rings
@pytest.mark.parametrize('case', INDIRECT.values(), ids=INDIRECT)
def test_indirect(arena, packed, case):
    length, entries = case
    g = arena.attacker(packed=packed, features=BASIC | F.INDIRECT_DESC)
    ring = g.txq[0].ring
    table = entries
    if isinstance(entries, list):
        table = g.mem.alloc(max(8192, 16 * len(entries)))
        # what lies behind a short length is a good chain
        ring.put_table(table, resolve(g, [(table if a == 'table' else a, n, f)
                                          for a, n, f in entries or [(GOOD, 100, 0)] * 3]))
    ring.add([(table, length, DESC_INDIRECT)])
    g.txq[0].publish(kick=True)
    if packed and entries == INDIRECT['nested-second'][1]:
        # 2.8.7: in a packed ring's table only WRITE has a meaning
        assert len(arena.peer.receive()[0].data) == 104
        return
    arena.contained()
    arena.peer.silence(0.01)


@rings
def test_indirect_not_negotiated(arena, packed):
    g = arena.attacker(packed=packed)
    assert not g.features & F.INDIRECT_DESC
    table = g.mem.alloc(64)
    g.txq[0].ring.put_table(table, resolve(g, [(GOOD, 100, 0)]))
    g.txq[0].ring.add([(table, 16, DESC_INDIRECT)])
    g.txq[0].publish(kick=True)
    arena.contained()


@rings
@pytest.mark.parametrize('place_', ['first', 'second'])
def test_indirect_and_next(arena, packed, place_):
    """Virtio 1.2, 2.7.5.3.1: a driver must not set both; nor mix tables into a chain (packed)."""
    g = arena.attacker(packed=packed, features=BASIC | F.INDIRECT_DESC)
    table = g.mem.alloc(64)
    g.txq[0].ring.put_table(table, resolve(g, [(GOOD, 100, 0)]))
    chain = [(table, 16, DESC_INDIRECT), (place(g)[0], 100, 0)]
    if packed or place_ == 'first':
        g.txq[0].ring.add(chain if place_ == 'first' else chain[::-1])
        g.txq[0].publish(kick=True)
        arena.contained()
    else:
        # legal on a split ring: direct descriptors, then one table at the end
        g.txq[0].ring.add([(place(g)[0], 112, 0), chain[0]])
        g.txq[0].publish(kick=True)
        assert len(arena.peer.receive()[0].data) == 200


@pytest.mark.parametrize('nxt', [0, 1, 2, 255, 0xffff], ids='next-{}'.format)
def test_split_indirect_next(arena, nxt):
    """Loops inside a table, and links out of it."""
    g = arena.attacker(features=BASIC | F.INDIRECT_DESC)
    table = g.mem.alloc(64)
    gpa = place(g)[0]
    for i, link in (0, 1), (1, nxt):
        g.mem.write(table + 16 * i, struct.pack('<QIHH', gpa, 20, DESC_NEXT, link))
    g.txq[0].ring.add([(table, 32, DESC_INDIRECT)])
    g.txq[0].publish(kick=True)
    arena.contained()
    arena.peer.silence(0.01)


# -- the rings themselves

@pytest.mark.parametrize('direction', ['tx', 'rx'])
@pytest.mark.parametrize('head', [256, 257, 0x7fff, 0xffff], ids='head-{}'.format)
def test_split_head_beyond_ring(arena, direction, head):
    g = arena.attacker(fill=False)
    q = (g.txq if direction == 'tx' else g.rxq)[0]
    q.ring.put_avail(0, head)
    q.ring.set_avail_idx(1)
    q.kick()
    if direction == 'rx':
        arena.peer.send(body(), wait_used=False)
    arena.contained()


@pytest.mark.parametrize('direction', ['tx', 'rx'])
@pytest.mark.parametrize('jump', [257, 0x1000, 0x8000, 0xffff], ids='jump-{}'.format)
def test_split_avail_index_jumps(arena, direction, jump):
    """More available entries than the ring has; also backwards."""
    g = arena.attacker(fill=False)
    q = (g.txq if direction == 'tx' else g.rxq)[0]
    gpa = place(g)[0]
    for i in range(256):
        q.ring.put_desc(i, gpa, 200, DESC_WRITE if direction == 'rx' else 0)
        q.ring.put_avail(i, i)
    q.ring.set_avail_idx(jump)
    q.kick()
    if direction == 'rx':
        arena.peer.send(body(), wait_used=False)
    arena.broken()
    arena.peer.silence(0.01)


LOOPS = {
    'self': {0: 0},
    'pair': {0: 1, 1: 0},
    'tail': {0: 1, 1: 2, 2: 1},
    'ring': {i: (i + 1) % 256 for i in range(256)},
    'next-256': {0: 256},
    'next-max': {0: 0xffff},
    'second-max': {0: 1, 1: 0xffff},
}


@pytest.mark.parametrize('direction', ['tx', 'rx'])
@pytest.mark.parametrize('length', [0, 1, 100])
@pytest.mark.parametrize('links', LOOPS.values(), ids=LOOPS)
def test_split_loop(arena, direction, links, length):
    g = arena.attacker(fill=False)
    q = (g.txq if direction == 'tx' else g.rxq)[0]
    gpa = place(g)[0]
    for i, nxt in links.items():
        q.ring.put_desc(i, gpa, length, DESC_NEXT | (DESC_WRITE if direction == 'rx' else 0), nxt)
    q.ring.put_avail(0, 0)
    q.ring.set_avail_idx(1)
    q.kick()
    if direction == 'rx':
        arena.peer.send(body(), wait_used=False)
    arena.contained()
    arena.peer.silence(0.01)


@pytest.mark.parametrize('direction', ['tx', 'rx'])
@pytest.mark.parametrize('length', [0, 1, 100])
def test_packed_chain_without_end(arena, direction, length):
    """Every descriptor of the ring says that one more follows."""
    g = arena.attacker(packed=True, fill=False)
    q = (g.txq if direction == 'tx' else g.rxq)[0]
    gpa = place(g)[0]
    flags = DESC_NEXT | DESC_AVAIL | (DESC_WRITE if direction == 'rx' else 0)
    for i in reversed(range(g.size)):
        q.ring.put_desc(i, gpa, length, 0, flags)
    q.kick()
    if direction == 'rx':
        arena.peer.send(body(size=9000), wait_used=False)
    arena.contained()
    arena.peer.silence(0.01)


def test_packed_chain_into_unavailable(arena):
    """The chain runs on into a descriptor that the driver has not made available; a device need not
    look (the head comes last), so what it finds there counts: here, nothing."""
    g = arena.attacker(packed=True)
    gpa = place(g)[0]
    g.txq[0].ring.put_desc(0, gpa, 100, 0, DESC_NEXT | DESC_AVAIL)
    g.txq[0].kick()
    time.sleep(0.02)
    for f in arena.peer.poll():
        assert f.data == g.mem.read(gpa + 12, 88)


# -- descriptors that we write (the guest receives)

def writable(segments):
    return [(a, n, (f ^ DESC_WRITE) & (DESC_WRITE | DESC_INDIRECT)) for a, n, f in segments]


RX_CHAINS = {name: writable(chain) for name, chain in CHAINS.items()
             if not name.startswith(('huge', 'runt-frame', 'header-only', 'good-then'))}
RX_CHAINS['header-readable'] = [(GOOD, 12, 0), (GOOD, 2048, DESC_WRITE)]
RX_CHAINS['data-readable'] = [(GOOD, 12, DESC_WRITE), (GOOD, 2048, 0)]


@rings
@pytest.mark.parametrize('mrg', [False, True], ids=['plain', 'mrg'])
@pytest.mark.parametrize('chain', RX_CHAINS.values(), ids=RX_CHAINS)
def test_receive_chain(arena, packed, mrg, chain):
    g = arena.attacker(packed=packed, fill=False, features=BASIC | (F.MRG_RXBUF if mrg else 0))
    page = g.mem.alloc(8192, 4096)
    g.mem.write(page, b'\xa5' * 8192)
    g.rxq[0].ring.add([(page + 4096 if a is GOOD else a, n, f) for a, n, f in chain])
    g.rxq[0].publish(kick=True)
    arena.peer.send(body(), wait_used=False)
    arena.contained()
    # not before the buffer, not behind what a frame can need, nothing into what is read-only
    now = g.mem.read(page, 8192)
    assert now[:4096] == b'\xa5' * 4096
    assert now[4096 + 12 + 214:] == b'\xa5' * (4096 - 226)
    if not any(f & DESC_WRITE for a, _, f in chain if a is GOOD):
        assert now == b'\xa5' * 8192


@rings
@pytest.mark.parametrize('mrg', [False, True], ids=['plain', 'mrg'])
@pytest.mark.parametrize('layout', [*((n,) for n in range(12)), (1,) * 11, (0, 11), (5, 6), (0, 0)],
                         ids=lambda v: '+'.join(map(str, v)) if len(v) < 5 else '1x11')
@pytest.mark.parametrize('count', [1, 40])
def test_runt_receive_buffers(arena, packed, mrg, layout, count):
    """Buffers that cannot even hold the header (2022-2132, 2026-86566)."""
    if len(layout) * count > 256:
        count = 256 // len(layout)
    g = arena.attacker(packed=packed, fill=False, features=BASIC | (F.MRG_RXBUF if mrg else 0))
    arena_bytes = 64 * count * len(layout)
    base = g.mem.alloc(arena_bytes)
    g.mem.write(base, b'\xa5' * arena_bytes)
    at = base
    allowed = set()
    for _ in range(count):
        segments = []
        for n in layout:
            segments.append((at, n, DESC_WRITE))
            allowed |= set(range(at - base, at - base + n))
            at += 64
        g.rxq[0].ring.add(segments)
    g.rxq[0].publish(kick=True)
    for _ in range(3):
        arena.peer.send(body(), wait_used=False)
    assert wait(lambda: arena.is_broken() or arena.drops() - arena.drops_before == 3,
                what='a broken port or 3 drops')
    now = g.mem.read(base, arena_bytes)
    assert all(byte == 0xa5 or i in allowed for i, byte in enumerate(now))


@rings
@pytest.mark.parametrize('size', [12, 13, 14, 25])
def test_tiny_mergeable_buffers(arena, packed, size):
    """Just a header, or a byte more: a frame may take many, but no byte goes beside them."""
    g = arena.attacker(packed=packed, fill=False, features=BASIC | F.MRG_RXBUF)
    base = g.mem.alloc(64 * 256)
    g.mem.write(base, b'\xa5' * 64 * 256)
    for i in range(256):
        g.rxq[0].ring.add([(base + 64 * i, size, DESC_WRITE)])
    g.rxq[0].publish(kick=True)
    arena.peer.send(body(), body(size=1400), wait_used=False)
    time.sleep(0.05)
    now = g.mem.read(base, 64 * 256)
    assert all(now[i:i + 64][size:] == b'\xa5' * (64 - size) for i in range(0, len(now), 64))


@rings
def test_receive_ring_bad_in_mid_burst(arena, packed):
    """Good buffers, then a bad one: the peer is not held up by it."""
    g = arena.attacker(packed=packed, fill=False)
    for i in range(20):
        g.rxq[0].ring.add([(g.mem.alloc(2048), 2048, DESC_WRITE)])
    g.rxq[0].ring.add([(NOWHERE, 2048, DESC_WRITE)])
    g.rxq[0].publish(kick=True)
    arena.peer.send(*(body() for _ in range(60)), wait_used=False)
    arena.contained()
    arena.peer.drain()


# -- virtio-net headers

def ip4(proto, payload, ihl=5, total=None):
    total = 4 * ihl + len(payload) if total is None else total
    return b'\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0' + struct.pack(
        '>BBHHHBBH4s4s', 0x40 | ihl, 0, total & 0xffff, 1, 0, 64, proto, 0, b'\x0a\0\0\1',
        b'\x0a\0\0\2') + bytes(max(4 * ihl - 20, 0)) + payload


def tcp(size=3000, doff=5, proto=6, **ip):
    return ip4(proto, struct.pack('>HHIIBBHHH', 1, 2, 3, 4, doff << 4, 0x18, 500, 0, 0) +
               bytes(size), **ip)


CSUM = HDR_NEEDS_CSUM
TCP_CSUM = (34, 16)
# certainly wrong: must not be delivered, with or without offloads on the other side
BAD_HEADERS = {
    'csum-start-at-end': (NetHdr(CSUM, 0, 0, 0, 3054, 0), tcp()),
    'csum-start-beyond': (NetHdr(CSUM, 0, 0, 0, 60000, 0), tcp()),
    'csum-start-max': (NetHdr(CSUM, 0, 0, 0, 0xffff, 0), tcp()),
    'csum-offset-beyond': (NetHdr(CSUM, 0, 0, 0, 34, 60000), tcp()),
    'csum-both-max': (NetHdr(CSUM, 0, 0, 0, 0xffff, 0xffff), tcp()),
    'csum-sum-wraps': (NetHdr(CSUM, 0, 0, 0, 0x8000, 0x8000), tcp()),
    'csum-field-half-out': (NetHdr(CSUM, 0, 0, 0, 34, 3054 - 34 - 1), tcp()),
    'csum-field-behind': (NetHdr(CSUM, 0, 0, 0, 34, 3054 - 34), tcp()),
    'gso-size-0': (NetHdr(CSUM, GSO_TCPV4, 54, 0, *TCP_CSUM), tcp()),
    'gso6-size-0': (NetHdr(CSUM, GSO_TCPV6, 54, 0, *TCP_CSUM), tcp()),
    'ufo-size-0': (NetHdr(CSUM, GSO_UDP, 42, 0, 34, 6), tcp(proto=17)),
    'ecn-size-0': (NetHdr(CSUM, GSO_TCPV4 | GSO_ECN, 54, 0, *TCP_CSUM), tcp()),
    'gso-2': (NetHdr(CSUM, 2, 54, 1000, *TCP_CSUM), tcp()),
    'gso-5': (NetHdr(CSUM, 5, 42, 1000, 34, 6), tcp(proto=17)),
    'gso-6': (NetHdr(CSUM, 6, 54, 1000, *TCP_CSUM), tcp()),
    'gso-7f': (NetHdr(CSUM, 0x7f, 54, 1000, *TCP_CSUM), tcp()),
    'gso-ff': (NetHdr(CSUM, 0xff, 54, 1000, *TCP_CSUM), tcp()),
    'gso-csum-beyond': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, 60000, 16), tcp()),
}
# a careless driver, or one that aims at whoever finishes the work: no delivery if it had to be
# finished here; unchanged and consistent if it could be passed on
ODD_HEADERS = {
    'hdr-len-beyond': (NetHdr(CSUM, GSO_TCPV4, 60000, 1000, *TCP_CSUM), tcp()),
    'hdr-len-max': (NetHdr(CSUM, GSO_TCPV4, 0xffff, 1000, *TCP_CSUM), tcp()),
    'tcp-without-csum': (NetHdr(0, GSO_TCPV4, 54, 1000, 0, 0), tcp()),
    'not-ip': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM), body(size=3000)),
    'not-tcp': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM), tcp(proto=17)),
    'v4-as-v6': (NetHdr(CSUM, GSO_TCPV6, 54, 1000, *TCP_CSUM), tcp()),
    'tcp-as-ufo': (NetHdr(CSUM, GSO_UDP, 42, 1000, 34, 6), tcp()),
    'ihl-0': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM), tcp(ihl=0)),
    'ihl-4': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM), tcp(ihl=4)),
    'doff-0': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM), tcp(doff=0)),
    'doff-4': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM), tcp(doff=4)),
    'doff-beyond': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM), tcp(4, doff=15)),
    'tcp-header-cut': (NetHdr(CSUM, GSO_TCPV4, 54, 10, 34, 6), tcp()[:44]),
    'ip-header-cut': (NetHdr(CSUM, GSO_TCPV4, 54, 10, 14, 6), tcp()[:28]),
    'ip-length-beyond': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM), tcp(total=60000)),
    'ip-length-small': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM), tcp(total=20)),
    'csum-elsewhere': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, 0, 0), tcp()),
    'one-byte-segments': (NetHdr(CSUM, GSO_TCPV4, 54, 1, *TCP_CSUM), tcp(60000)),
    'runt': (NetHdr(CSUM, GSO_TCPV4, 54, 1000, 10, 2), tcp()[:14]),
}


def header_attack(arena, packed, receiver, case, features=HOST_OFFLOADS):
    hdr, frame = case
    arena.peer.close()
    arena.peer = arena.lab.guest(arena.peer_port, features=BASIC | F.MRG_RXBUF |
                                 (GUEST_OFFLOADS if receiver == 'offloads' else 0))
    g = arena.attacker(packed=packed, features=BASIC | features)
    g.send(frame, hdr=hdr, wait_used=False, kick=True)
    return g


def consistent(f):
    """What a receiver may rely on."""
    if f.hdr.flags & HDR_NEEDS_CSUM:
        assert f.hdr.csum_start + f.hdr.csum_offset + 2 <= len(f.data)
    assert f.hdr.flags & ~3 == 0
    if f.hdr.gso_type:
        assert f.hdr.gso_type & ~GSO_ECN in (GSO_TCPV4, GSO_TCPV6, GSO_UDP)
        assert f.hdr.gso_size > 0 and f.hdr.hdr_len <= len(f.data)


receivers = pytest.mark.parametrize('receiver', ['offloads', 'none'])


@rings
@receivers
@pytest.mark.parametrize('case', BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_bad_header(arena, packed, receiver, case):
    g = header_attack(arena, packed, receiver, case)
    if arena.contained() == 'dropped':
        g.drain()
        good = body()
        g.send(good)
        assert [f.data for f in arena.peer.receive()] == [good]
    arena.peer.silence(0.01)


@rings
@receivers
@pytest.mark.parametrize('case', ODD_HEADERS.values(), ids=ODD_HEADERS)
def test_odd_header(arena, packed, receiver, case):
    g = header_attack(arena, packed, receiver, case)

    got = []
    wait(lambda: got.extend(arena.peer.poll()) or got or arena.is_broken() or
         arena.drops() > arena.drops_before, what='an outcome')
    time.sleep(0.02)
    got += arena.peer.poll()
    for f in got:
        consistent(f)
        if f.hdr.gso_type:
            assert receiver == 'offloads' and f.data == case[1]
    # what could only be finished here and was nonsense does not grow out of hand
    assert len(got) <= 1 + len(case[1]) // 40
    if not arena.is_broken():
        g.drain()


@rings
@pytest.mark.parametrize('case', {**BAD_HEADERS, **ODD_HEADERS}.values(),
                         ids={**BAD_HEADERS, **ODD_HEADERS})
def test_header_without_offloads(arena, packed, case):
    """A guest that negotiated no offloads has no say in them."""
    header_attack(arena, packed, 'offloads', case, features=0)
    time.sleep(0.03)
    for f in arena.peer.poll():
        assert f.hdr.flags & HDR_NEEDS_CSUM == 0 and f.hdr.gso_type == 0
        assert f.data == case[1]


@rings
def test_many_bad_headers(arena, packed):
    """Each is dropped and counted; none is held."""
    g = arena.attacker(packed=packed, features=BASIC | HOST_OFFLOADS)
    hdr, frame = BAD_HEADERS['csum-both-max']
    for _ in range(20):
        g.send(*[frame] * 100, hdr=hdr, wait_used=False)
        if arena.is_broken():
            return
    g.drain()
    assert arena.contained(2000) == 'dropped'


def while_changing(arena, make, seconds=0.3, **options):
    """make(guest) returns how to send and what to change meanwhile; a broken guest starts anew."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        arena.mark()
        g = arena.attacker(**options)
        again, action = make(g)
        with mutating(action):
            while time.monotonic() < deadline:
                again()
                arena.peer.txq[0].publish()
                for f in arena.peer.poll():
                    consistent(f)
                arena.peer.reap()
                if arena.is_broken():
                    break
        g.close()
        wait(lambda: not arena.virtio()['connected'])
    assert arena.lab.daemon.alive()


def resend(g, segments):
    """A function that makes the same chain available again and again."""
    def again():
        ring = g.txq[0].ring
        for _ in range(16):
            with contextlib.suppress(BufferError):
                ring.add(segments)
        g.txq[0].publish(kick=True)
        time.sleep(0.0005)
        with contextlib.suppress(AssertionError):
            ring.pop()
    return again


@rings
@pytest.mark.parametrize('field', ['address', 'length', 'flags', 'table-length'])
def test_indirect_table_changes(arena, packed, field):
    """2026-93683: read once, checked, and used from there."""
    def make(g):
        ring = g.txq[0].ring
        gpa, n = place(g)
        table = g.mem.alloc(64)
        ring.put_table(table, [(gpa, 50, 0), (gpa, n, 0), (gpa, n, 0)])
        action = {
            'address': flip(g.mem, table + 16, 8, gpa, NOWHERE, TOP - 8, Memory.HIGH - 4),
            'length': flip(g.mem, table + 16 + 8, 4, n, 0xffffffff, 0, HIGH_BYTES),
            'flags': flip(g.mem, table + 16 + 12, 4, DESC_NEXT | 2 << 16, DESC_INDIRECT,
                          DESC_NEXT | 0xffff << 16, DESC_NEXT, DESC_WRITE),
            'table-length': flip(g.mem, ring.desc + 8, 4, 48, 0xfffffff0, 0, 17),
        }[field]
        return resend(g, [(table, 48, DESC_INDIRECT)]), action
    while_changing(arena, make, packed=packed, features=BASIC | F.INDIRECT_DESC)


@rings
@pytest.mark.parametrize('field', ['address', 'length', 'flags'])
def test_descriptor_changes(arena, packed, field):
    def make(g):
        ring = g.txq[0].ring
        gpa, n = place(g)
        at = ring.desc + 16
        action = {
            'address': flip(g.mem, at, 8, gpa, NOWHERE, TOP - 8),
            'length': flip(g.mem, at + 8, 4, n, 0xffffffff, 0, 11),
            'flags': flip(g.mem, at + 14 if packed else at + 12, 2, 0, DESC_NEXT, DESC_WRITE,
                          DESC_AVAIL | DESC_NEXT, DESC_USED, DESC_INDIRECT),
        }[field]
        return resend(g, [(gpa, n, 0)]), action
    while_changing(arena, make, packed=packed)


@rings
@receivers
@pytest.mark.parametrize('field', ['flags', 'gso_type', 'hdr_len', 'gso_size', 'csum_start',
                                   'csum_offset'])
def test_header_changes(arena, packed, receiver, field):
    """2024-11614 and its fix's double fetch: csum_start checked is csum_start used."""
    if receiver == 'offloads':
        arena.peer.close()
        arena.peer = arena.lab.guest(arena.peer_port,
                                     features=BASIC | F.MRG_RXBUF | GUEST_OFFLOADS)

    def make(g):
        hdr = NetHdr(CSUM, GSO_TCPV4, 54, 1000, *TCP_CSUM)
        gpa, n = place(g, hdr.pack() + tcp())
        offset, size, bad = {'flags': (0, 2, [0, GSO_TCPV4 << 8]),
                             'gso_type': (0, 2, [CSUM, CSUM | 5 << 8, CSUM | GSO_UDP << 8]),
                             'hdr_len': (2, 2, [0, 0xffff]), 'gso_size': (4, 2, [0, 1]),
                             'csum_start': (6, 2, [0xffff, 3053, 0]),
                             'csum_offset': (8, 2, [0xffff, 3020])}[field]
        good = struct.unpack_from('<H', hdr.pack(), offset)[0]
        return resend(g, [(gpa, n, 0)]), flip(g.mem, gpa + offset, size, good, *bad)
    while_changing(arena, make, packed=packed, features=BASIC | HOST_OFFLOADS)


@rings
@pytest.mark.parametrize('target', ['descriptors', 'available', 'used', 'receive'])
def test_rings_full_of_noise(arena, packed, target):
    """Random bytes in the rings, all the time, in both directions."""
    rng = random.Random(1)

    def make(g):
        ring = (g.rxq if target == 'receive' else g.txq)[0].ring
        gpa, n = place(g)
        area, size = {'descriptors': (ring.desc, 16 * ring.size), 'receive': (ring.desc, 256),
                      'available': (ring.avail, 4 if packed else 64),
                      'used': (ring.used, 4 if packed else 64)}[target]

        def action():
            g.mem.store(area + 2 * rng.randrange(size // 2), 2, rng.choice(
                (0, 1, 2, 3, 4, 0x80, 0x8080, 0x8000, 0xffff, rng.randrange(65536))))
        again = resend(g, [(gpa, n, 0)])

        def both():
            again()
            with contextlib.suppress(BufferError, TimeoutError):
                arena.peer.send(body(), wait_used=False, timeout=0.01)
            g.rxq[0].kick()
        return both, action
    while_changing(arena, make, packed=packed)


# -- files that shrink

@rings
@pytest.mark.parametrize('region', ['rings', 'buffers'])
@pytest.mark.parametrize('direction', ['transmit', 'receive'])
@pytest.mark.parametrize('to', [0, 4096])
def test_memory_file_shrinks(arena, packed, region, direction, to):
    """Nobody here may touch that memory afterwards: SIGBUS would come to us as well."""
    g = arena.attacker(packed=packed)
    g.send(*(body() for _ in range(20)))
    arena.peer.receive(20)
    if direction == 'transmit':
        for _ in range(200):
            g.queue_frame(body())
        g.txq[0].ring.publish()
    os.ftruncate(g.mem.regions[0 if region == 'rings' else 1].fd,
                 to + g.mem.regions[0 if region == 'rings' else 1].offset)
    g.txq[0].kick()
    arena.peer.send(*(body() for _ in range(20)), wait_used=False)
    if region == 'buffers' and direction == 'receive' or region == 'rings':
        arena.broken()
    else:
        # what was read before the file shrank has arrived; the rest breaks the port
        wait(lambda: arena.is_broken() or len(arena.peer.poll()) < 0, what='a broken port')
    assert 'memory' in arena.virtio()['broken'].lower() or 'file' in arena.virtio()['broken']


@pytest.mark.parametrize('kind', ['/var/tmp', '/dev/shm'])
def test_plain_file_shrinks(arena, kind):
    g = arena.attacker(mem=Memory(kind))
    g.own_mem = True
    g.send(body())
    for r in g.mem.regions:
        os.ftruncate(r.fd, 0)
    g.txq[0].kick()
    arena.peer.send(body(), wait_used=False)
    arena.broken()


@pytest.mark.parametrize('times', [30])
def test_memory_shrinks_again_and_again(arena, times):
    """Each is one broken port, none is a leak."""
    def once():
        arena.mark()
        g = arena.attacker()
        for r in g.mem.regions:
            os.ftruncate(r.fd, 0)
        g.txq[0].kick()
        arena.peer.send(body(), wait_used=False)
        arena.broken()
        g.close()
        wait(lambda: not arena.virtio()['connected'])
    once()
    fds, maps = arena.lab.daemon.fds(), arena.lab.daemon.maps()
    for _ in range(times):
        once()
    arena.settle(fds=fds, maps=maps + 4)


@rings
def test_log_file_shrinks(arena, packed):
    g = arena.attacker(packed=packed)
    region, size = log_region(g)
    g.chan.call(Req.SET_LOG_BASE, struct.pack('<QQ', size, 0), [region.fd])
    g.set(Req.SET_FEATURES, u64(g.features | F.LOG_ALL))
    arena.lab.up(arena.port)
    arena.peer.send(body())
    g.receive()
    os.ftruncate(region.fd, 0)
    arena.peer.send(*(body() for _ in range(20)), wait_used=False)
    arena.broken()
    os.ftruncate(region.fd, region.size)
    region.close()


@rings
def test_inflight_file_shrinks(arena, packed):
    g, payload = with_inflight(arena, packed=packed)
    g.set(Req.SET_INFLIGHT_FD, payload, [g.inflight])
    g.start()
    arena.lab.up(arena.port)
    g.send(body())
    try:
        os.ftruncate(g.inflight, 0)
    except PermissionError:
        os.close(g.inflight)        # sealed: it cannot shrink
        return
    with contextlib.suppress(TimeoutError):
        g.send(*(body() for _ in range(20)), timeout=0.5)
    arena.peer.send(body(), wait_used=False)
    arena.broken()
    os.close(g.inflight)
