# SPDX-License-Identifier: Apache-2.0
"""Front ends that break every rule: messages, file descriptors, shared logs, floods.

Each time: xviod lives; the port is marked broken with a sentence and a counter, or the packet is
dropped with a reason, or the message is refused; two well-behaved guests beside it lose nothing;
the port serves the next, honest guest.  The classes are those of the vhost CVEs of 2018-2026.
"""

import contextlib
import os
import random
import socket
import struct
import threading
import time

import pytest

from arena import (HIGH_BYTES, LOW_BYTES, MB, NOWHERE, R, TOP, body, inflight_fd, inflight_payload,
                   log_region, mutating, odd_fds, raw_region, raw_table, with_inflight)
from frontend import F, NO_FD, P, VERSION, Channel, Closed, Req, close_all, u64, vring_state
from vring import Memory, Region, wait
from xvio import SLACK_KB

rings = pytest.mark.parametrize('packed', [False, True], ids=['split', 'packed'])


BAD_REGIONS = {
    'size-0': raw_region(0, 0, 1 << 40, 0),
    'beyond-file': raw_region(0, 2 * MB, 1 << 40, 0),
    'one-byte-beyond-file': raw_region(0, MB + 1, 1 << 40, 0),
    'offset-at-end': raw_region(0, 4096, 1 << 40, MB),
    'offset-beyond': raw_region(0, 4096, 1 << 40, 16 * MB),
    'offset-plus-size': raw_region(0, MB, 1 << 40, 4096),
    'offset-wraps': raw_region(0, MB, 1 << 40, TOP - 4096),
    'offset-wraps-to-0': raw_region(0, MB, 1 << 40, TOP - MB),
    'gpa-wraps': raw_region(TOP - 4096, MB, 1 << 40, 0),
    'uva-wraps': raw_region(0, MB, TOP - 4096, 0),
    'size-max': raw_region(0, TOP - 1, 1 << 40, 0),
    'size-2^63': raw_region(0, 1 << 63, 1 << 40, 0),
    'size-page-less': raw_region(0, TOP - 4096, 1 << 40, 4096),
}


@pytest.mark.parametrize('req', [Req.SET_MEM_TABLE, Req.ADD_MEM_REG], ids=lambda r: r.name)
@pytest.mark.parametrize('region', BAD_REGIONS.values(), ids=BAD_REGIONS)
def test_bad_region(arena, req, region):
    """2026-86561: every size is held against the file."""
    g = arena.attacker(protocol=~P(0))
    fd = os.memfd_create('odd')
    os.ftruncate(fd, MB)
    # ADD_MEM_REG must not even overlap what is there
    if req == Req.ADD_MEM_REG and region[:8] == bytes(8):
        region = struct.pack('<Q', 1 << 42) + region[8:]
    arena.refused(g, req, raw_table(region) if req == Req.SET_MEM_TABLE else bytes(8) + region,
                  [fd])
    os.close(fd)


BAD_TABLES = {
    # payload, number of fds
    'empty-payload': (b'', 0),
    'head-only': (raw_table(count=1), 1),
    'cut': (raw_table(R)[:-1], 1),
    'longer-than-any': (raw_table(R) + bytes(32 * 8), 1),
    'no-fd': (raw_table(R), 0),
    'two-fds': (raw_table(R), 2),
    'one-fd-of-two': (raw_table(R, raw_region(MB, MB, 1 << 41, 0)), 1),
    'count-9': (raw_table(*(raw_region(i * MB, MB, (1 << 40) + i * MB, 0) for i in range(8)),
                          count=9), 8),
    'count-max': (raw_table(R, count=0xffffffff), 1),
    'count-wraps': (raw_table(R, count=0x08000001), 1),
    'overlap': (raw_table(R, raw_region(MB // 2, MB, 1 << 41, 0)), 2),
    'overlap-same': (raw_table(R, R), 2),
    'overlap-inside': (raw_table(raw_region(0, MB, 1 << 40, 0),
                                 raw_region(4096, 4096, 1 << 41, 0)), 2),
    'second-bad': (raw_table(R, raw_region(MB, 2 * MB, 1 << 41, 0)), 2),
}


@pytest.mark.parametrize('case', BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_mem_table(arena, case):
    payload, count = case
    g = arena.attacker()
    fd = os.memfd_create('odd')
    os.ftruncate(fd, MB)
    arena.refused(g, Req.SET_MEM_TABLE, payload, [fd] * count)
    os.close(fd)


@pytest.mark.parametrize('req', [Req.SET_MEM_TABLE, Req.ADD_MEM_REG], ids=lambda r: r.name)
@pytest.mark.parametrize('kind', ['pipe', 'socket', 'null', 'zero', 'directory', 'path', 'epoll',
                                  'eventfd', 'memfd', 'read-only', 'write-only'])
def test_memory_of_wrong_kind(arena, req, kind):
    """Not a file that can be mapped and written ('memfd' is empty here)."""
    g = arena.attacker(protocol=~P(0))
    region = raw_region(1 << 42, MB, 1 << 43, 0)
    with odd_fds() as fds:
        arena.refused(g, req, raw_table(region) if req == Req.SET_MEM_TABLE else bytes(8) + region,
                      [fds[kind]])


REGION = raw_region(1 << 42, MB, 1 << 43, 0)
BAD_SLOTS = {
    'short': (Req.ADD_MEM_REG, bytes(8) + REGION[:-8], 1),
    'long': (Req.ADD_MEM_REG, bytes(8) + REGION + bytes(8), 1),
    'no-fd': (Req.ADD_MEM_REG, bytes(8) + REGION, 0),
    'two-fds': (Req.ADD_MEM_REG, bytes(8) + REGION, 2),
    'overlaps': (Req.ADD_MEM_REG, bytes(8) + raw_region(4096, 4096, 1 << 43, 0), 1),
    'remove-unknown': (Req.REM_MEM_REG, bytes(8) + REGION, 0),
    'remove-short': (Req.REM_MEM_REG, bytes(8), 0),
    'remove-other-size': (Req.REM_MEM_REG, bytes(8) + raw_region(
        Memory.HIGH, 4096, Memory.HIGH + 0x5500_0000_0000, 0), 0),
    'remove-other-uva': (Req.REM_MEM_REG, bytes(8) + raw_region(Memory.HIGH, HIGH_BYTES, 1, 0), 0),
}


@pytest.mark.parametrize('case', BAD_SLOTS.values(), ids=BAD_SLOTS)
def test_bad_mem_reg(arena, case):
    req, payload, count = case
    g = arena.attacker(protocol=~P(0))
    fd = os.memfd_create('odd')
    os.ftruncate(fd, MB)
    arena.refused(g, req, payload, [fd] * count)
    os.close(fd)


@rings
@pytest.mark.parametrize('region', [0, 1], ids=['rings', 'buffers'])
@pytest.mark.parametrize('how', ['remove', 'table'])
def test_memory_taken_away(arena, packed, region, how):
    """2026-86567: a region goes while the rings, or what they point to, lie in it."""
    g = arena.attacker(packed=packed, protocol=~P(0))
    for _ in range(200):
        g.queue_frame(body())
    g.txq[0].publish()
    gone = g.mem.regions[region]
    with contextlib.suppress(Closed):
        if how == 'remove':
            g.chan.ack(Req.REM_MEM_REG, bytes(8) + gone.describe())
        else:
            kept = g.mem.regions[1 - region]
            g.chan.ack(Req.SET_MEM_TABLE, raw_table(kept.describe()), [kept.fd])
    for _ in range(3):
        g.txq[0].kick()
        arena.peer.send(*(body() for _ in range(20)), wait_used=False)
        time.sleep(0.01)
    for q in g.rxq:
        q.ring.pending.clear()
    # neither is this a port that works
    wait(lambda: arena.is_broken() or arena.lab.show(arena.port)['state'] != 'up',
         what='a port that is not up')


BAD_MESSAGES = {
    # name: request, payload, kinds of fds
    'request-0': (0, b'', ()),
    'request-26': (26, bytes(8), ()),
    'request-41': (41, b'', ()),
    'request-1000': (1000, bytes(64), ()),
    'request-max': (0xffffffff, b'', ()),
    'postcopy': (Req.POSTCOPY_ADVISE, b'', ()),
    'iotlb': (Req.IOTLB_MSG, bytes(32), ()),
    'endian': (Req.SET_VRING_ENDIAN, vring_state(0, 1), ()),
    'set-config': (Req.SET_CONFIG, bytes(76), ()),
    'features-short': (Req.SET_FEATURES, bytes(4), ()),
    'features-empty': (Req.SET_FEATURES, b'', ()),
    'features-long': (Req.SET_FEATURES, bytes(16), ()),
    'features-unknown': (Req.SET_FEATURES, u64(1 << 63 | F.VERSION_1), ()),
    'features-iommu': (Req.SET_FEATURES, u64(F.ACCESS_PLATFORM | F.VERSION_1), ()),
    'protocol-short': (Req.SET_PROTOCOL_FEATURES, bytes(7), ()),
    'protocol-unknown': (Req.SET_PROTOCOL_FEATURES, u64(1 << 40), ()),
    'owner-long': (Req.SET_OWNER, bytes(8), ()),
    'num-0': (Req.SET_VRING_NUM, vring_state(0, 0), ()),
    'num-32769': (Req.SET_VRING_NUM, vring_state(0, 32769), ()),
    'num-65536': (Req.SET_VRING_NUM, vring_state(0, 65536), ()),
    'num-65792': (Req.SET_VRING_NUM, vring_state(0, 65792), ()),
    'num-max': (Req.SET_VRING_NUM, vring_state(0, 0xffffffff), ()),
    'num-short': (Req.SET_VRING_NUM, bytes(4), ()),
    'num-long': (Req.SET_VRING_NUM, vring_state(0, 256) + bytes(8), ()),
    'base-short': (Req.SET_VRING_BASE, bytes(4), ()),
    'addr-short': (Req.SET_VRING_ADDR, bytes(39), ()),
    'addr-long': (Req.SET_VRING_ADDR, bytes(48), ()),
    'addr-zero': (Req.SET_VRING_ADDR, bytes(40), ()),
    'enable-short': (Req.SET_VRING_ENABLE, bytes(4), ()),
    'kick-short': (Req.SET_VRING_KICK, bytes(4), ('eventfd',)),
    'kick-without-fd': (Req.SET_VRING_KICK, u64(0), ()),
    'kick-two-fds': (Req.SET_VRING_KICK, u64(0), ('eventfd', 'eventfd')),
    'kick-no-fd-and-fd': (Req.SET_VRING_KICK, u64(NO_FD), ('eventfd',)),
    'kick-file': (Req.SET_VRING_KICK, u64(0), ('memfd',)),
    'kick-directory': (Req.SET_VRING_KICK, u64(0), ('directory',)),
    'kick-path': (Req.SET_VRING_KICK, u64(0), ('path',)),
    'kick-null': (Req.SET_VRING_KICK, u64(0), ('null',)),
    'call-without-fd': (Req.SET_VRING_CALL, u64(0), ()),
    'call-two-fds': (Req.SET_VRING_CALL, u64(0), ('eventfd', 'eventfd')),
    'call-file': (Req.SET_VRING_CALL, u64(0), ('memfd',)),
    'call-read-only': (Req.SET_VRING_CALL, u64(0), ('read-only',)),
    'call-directory': (Req.SET_VRING_CALL, u64(0), ('directory',)),
    'err-without-fd': (Req.SET_VRING_ERR, u64(0), ()),
    'rarp-short': (Req.SEND_RARP, bytes(4), ()),
    'mtu-short': (Req.NET_SET_MTU, bytes(4), ()),
    'backend-without-fd': (Req.SET_BACKEND_REQ_FD, b'', ()),
    'backend-two-fds': (Req.SET_BACKEND_REQ_FD, b'', ('socket', 'socket')),
    'status-short': (Req.SET_STATUS, b'\1', ()),
    'status-large': (Req.SET_STATUS, u64(0x100), ()),
    'log-fd-without-fd': (Req.SET_LOG_FD, b'', ()),
    **{'%s-index-%d' % (req.name.lower(), index): (req, vring_state(index, 1), ())
       for req in (Req.SET_VRING_NUM, Req.SET_VRING_BASE, Req.SET_VRING_ENABLE)
       for index in (4, 64, 255, 256, 0xffffffff)},
    **{'%s-index-%d' % (req.name.lower(), index): (req, u64(index), ('eventfd',))
       for req in (Req.SET_VRING_KICK, Req.SET_VRING_CALL, Req.SET_VRING_ERR)
       for index in (4, 64, 255)},
    **{'addr-index-%d' % index: (Req.SET_VRING_ADDR, struct.pack('<IIQQQQ', index, 0, 0, 0, 0, 0),
                                 ()) for index in (4, 64, 255, 256, 0xffffffff)},
}


@pytest.mark.parametrize('case', BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_bad_message(arena, case):
    req, payload, kinds = case
    g = arena.attacker()
    with odd_fds() as fds:
        arena.refused(g, req, payload, [fds[k] for k in kinds])


@pytest.mark.parametrize('size', [4096, 65536, 0x7fffffff, 0xffffffff], ids='size-{}'.format)
def test_payload_size_beyond_any(arena, size):
    g = arena.attacker()
    with contextlib.suppress(Closed):
        g.chan.send(Req.SET_FEATURES, bytes(4096), size=size)
    assert g.chan.closed()
    arena.broken()


@pytest.mark.parametrize('flags', [0, 2, 3, VERSION | 4, 0xfffffffe], ids='flags-{:x}'.format)
def test_header_flags(arena, flags):
    """Wrong version, or a reply that nobody asked for."""
    g = arena.attacker()
    g.chan.send(Req.GET_FEATURES, flags=flags)
    assert g.chan.closed()
    arena.broken()


@pytest.mark.parametrize('index', [4, 64, 255, 256, 0xffffffff])
def test_get_vring_base_index(arena, index):
    g = arena.attacker()
    g.chan.send(Req.GET_VRING_BASE, vring_state(index, 0))
    assert g.chan.closed()
    arena.broken()


def test_fds_where_none_belong(arena):
    g = arena.attacker()
    g.sync()
    before = arena.lab.daemon.fds()
    with odd_fds() as fds:
        for _ in range(20):
            try:
                g.chan.ack(Req.SET_OWNER, b'', list(fds.values()))
                g.chan.call(Req.GET_FEATURES, b'', list(fds.values()))
            except Closed:
                g.connect()
    arena.settle(fds=before)


@pytest.mark.parametrize('count', [9, 32, 253])
def test_too_many_fds(arena, count):
    """More than any message carries, up to what the kernel lets through: all closed again."""
    for _ in range(5):
        arena.mark()
        g = arena.attacker()
        g.sync()
        before = arena.lab.daemon.fds()
        fd = os.memfd_create('odd')
        os.ftruncate(fd, MB)
        arena.refused(g, Req.SET_MEM_TABLE, raw_table(R), [fd] * count)
        os.close(fd)
        arena.settle(fds=before)
        g.close()
        wait(lambda: not arena.virtio()['connected'])


# -- ring set-up

def bad_start(arena, g, num=None, base=None, **addr):
    """Set up ring 1 of a fresh connection with wrong values: some message is refused, or the port
    is broken when the ring should start."""
    g.connect()
    arena.mark()
    g.make_queues()
    q = g.queues[1]
    ring = q.ring
    try:
        g.set(Req.SET_FEATURES, u64(g.features))
        g.share_memory()
        g.start_queue(g.queues[0])
        g.set(Req.SET_VRING_NUM, vring_state(1, ring.size if num is None else num))
        g.set(Req.SET_VRING_BASE, vring_state(1, ring.start_base() if base is None else base))
        g.set(Req.SET_VRING_ADDR, g.vring_addr(q, **addr))
        g.set(Req.SET_VRING_CALL, u64(1), [q.call_fd])
        g.set(Req.SET_VRING_KICK, u64(1), [q.kick_fd])
        for each in g.queues[:2]:
            g.enable(each)
            each.kick()
    except OSError:
        return
    except Closed:
        pass
    arena.broken()


@pytest.mark.parametrize('num', [3, 100, 255])
def test_split_size_not_power_of_two(arena, num):
    bad_start(arena, arena.lab.guest(arena.port, up=False, start=False), num=num)


@pytest.mark.parametrize('base', [256, 0x7fff, 0xffff], ids=hex)
def test_packed_base_beyond_ring(arena, base):
    bad_start(arena, arena.lab.guest(arena.port, up=False, start=False, packed=True), base=base)


PLACES = {
    'nowhere': lambda uva, size: NOWHERE,
    'zero': lambda uva, size: 0,
    'guest-address': lambda uva, size: 0x1000,
    'end-of-region': lambda uva, size: 0x5500_0000_0000 + LOW_BYTES,
    'half-outside': lambda uva, size: 0x5500_0000_0000 + LOW_BYTES - (size // 2 or 1) // 16 * 16,
    'before-region': lambda uva, size: 0x5500_0000_0000 - 16,
    'wrap': lambda uva, size: TOP - 16,
    'top': lambda uva, size: TOP - 4,
    'off-by-one': lambda uva, size: uva + 1,
}


@rings
@pytest.mark.parametrize('part', ['desc', 'avail', 'used'])
@pytest.mark.parametrize('where', PLACES.values(), ids=PLACES)
def test_ring_address(arena, packed, part, where):
    """Outside memory, half outside, misaligned."""
    g = arena.lab.guest(arena.port, up=False, start=False, packed=packed, fill=False)
    size = {'desc': 16 * 256, 'avail': 4 if packed else 518, 'used': 4 if packed else 2054}[part]
    # the same places as make_queues() will choose
    shadow = {'desc': 0x1000, 'avail': 0x1000, 'used': 0x1000}
    bad_start(arena, g, **{part: where(0x5500_0000_0000 + shadow[part], size)})


@pytest.mark.parametrize('align', [2, 4, 8])
def test_split_descriptors_misaligned(arena, align):
    g = arena.lab.guest(arena.port, up=False, start=False, fill=False)
    bad_start(arena, g, desc=0x5500_0000_1000 + align)


@rings
def test_ring_size_changes_while_running(arena, packed):
    """2019-14818, 2026-86565: the size is checked against the addresses when the ring starts."""
    g = arena.attacker(packed=packed, size=64)
    with contextlib.suppress(Closed):
        g.chan.ack(Req.SET_VRING_NUM, vring_state(1, 32768))
        g.chan.ack(Req.SET_VRING_ADDR, g.vring_addr(g.queues[1], desc=0x5500_0000_0000 +
                                                    LOW_BYTES - 64 * 16))
    g.txq[0].kick()
    time.sleep(0.02)
    arena.bystander.check()


OUT_OF_ORDER = {
    'kick-first': [(Req.SET_VRING_KICK, u64(0), 1)],
    'call-first': [(Req.SET_VRING_CALL, u64(0), 1)],
    'enable-first': [(Req.SET_VRING_ENABLE, vring_state(0, 1), 0)],
    'addr-first': [(Req.SET_VRING_ADDR, struct.pack('<IIQQQQ', 0, 0, 1 << 40, 1 << 40, 1 << 40, 0),
                    0)],
    'base-first': [(Req.SET_VRING_BASE, vring_state(1, 65535), 0)],
    'all-but-memory': [(Req.SET_VRING_NUM, vring_state(1, 256), 0),
                       (Req.SET_VRING_ADDR, struct.pack('<IIQQQQ', 1, 0, 1 << 40, 1 << 40, 1 << 40,
                                                        0), 0),
                       (Req.SET_VRING_KICK, u64(1), 1), (Req.SET_VRING_CALL, u64(1), 1),
                       (Req.SET_VRING_ENABLE, vring_state(1, 1), 0)],
    'kick-without-addresses': [(Req.SET_MEM_TABLE, raw_table(R), 1),
                               (Req.SET_VRING_NUM, vring_state(1, 256), 0),
                               (Req.SET_VRING_KICK, u64(1), 1),
                               (Req.SET_VRING_ENABLE, vring_state(1, 1), 0)],
    'no-num': [(Req.SET_MEM_TABLE, raw_table(R), 1),
               (Req.SET_VRING_ADDR, struct.pack('<IIQQQQ', 1, 0, 1 << 40, 1 << 40, 1 << 40, 0), 0),
               (Req.SET_VRING_KICK, u64(1), 1), (Req.SET_VRING_ENABLE, vring_state(1, 1), 0)],
    'memory-twice': [(Req.SET_MEM_TABLE, raw_table(R), 1)] * 3,
    'get-base-of-stopped': [(Req.GET_VRING_BASE, vring_state(0, 0), 0)] * 3,
    'rarp-before-all': [(Req.SEND_RARP, bytes(8), 0)],
    'reset': [(Req.RESET_OWNER, b'', 0)] * 3,
    'status-first': [(Req.SET_STATUS, u64(0xf), 0), (Req.SET_STATUS, u64(0), 0)],
}


@pytest.mark.parametrize('owner', [False, True], ids=['bare', 'negotiated'])
@pytest.mark.parametrize('steps', OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
def test_out_of_order(arena, owner, steps):
    """Accepted or refused, but no crash and no port that claims to be up."""
    g = arena.lab.guest(arena.port, up=False, start=False)
    if owner:
        g.connect()
        g.set(Req.SET_FEATURES, u64(g.features))
    else:
        g.chan = Channel.connect(g.path)
    fd = os.eventfd(1)
    memory = os.memfd_create('odd')
    os.ftruncate(memory, MB)
    with contextlib.suppress(Closed):
        for req, payload, count in steps:
            fds = [memory if req == Req.SET_MEM_TABLE else fd] * count
            g.chan.send(req, payload, fds)
        g.chan.ask_u64(Req.GET_FEATURES) if not any(s[0] == Req.GET_VRING_BASE for s in steps) \
            else g.chan.recv()
    os.eventfd_write(fd, 1)
    arena.peer.send(body(), wait_used=False)
    time.sleep(0.01)
    assert arena.lab.show(arena.port)['state'] != 'up'
    close_all([fd, memory])


@pytest.mark.parametrize('cut', [1, 8, 11, 12, 13, 12 + 8 + 31])
def test_closed_in_mid_message(arena, cut):
    """Also with file descriptors on board."""
    fd = os.memfd_create('odd')
    os.ftruncate(fd, MB)
    message = struct.pack('<III', Req.SET_MEM_TABLE, VERSION, len(raw_table(R))) + raw_table(R)
    g = arena.attacker()
    g.disconnect()
    wait(lambda: not arena.virtio()['connected'])
    before = arena.lab.daemon.fds()
    for _ in range(10):
        c = Channel.connect(g.path)
        c.call(Req.GET_FEATURES)
        c.send_raw(message[:cut], [fd])
        c.close()
        wait(lambda: not arena.virtio()['connected'])
    arena.settle(fds=before)
    os.close(fd)


# -- notification file descriptors

@pytest.mark.parametrize('kind', ['saturated-eventfd', 'blocking-again', 'full-pipe', 'socket'])
def test_call_would_block(arena, kind):
    """A call must never make a worker wait."""
    g = arena.attacker()
    keep = []
    if kind == 'full-pipe':
        r, call = os.pipe()
        os.set_blocking(call, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(call, bytes(65536))
        os.set_blocking(call, True)
        keep = [r]
    elif kind == 'socket':
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                theirs.send(bytes(65536))
        theirs.setblocking(True)
        call, keep = os.dup(theirs.fileno()), [os.dup(ours.fileno())]
    else:
        call = os.eventfd((1 << 32) - 1)
        os.eventfd_write(call, (1 << 64) - 2 - ((1 << 32) - 1))
    with contextlib.suppress(Closed):
        for q in g.queues[:2]:
            g.chan.ack(Req.SET_VRING_CALL, u64(q.index), [call])
    if kind == 'blocking-again':
        os.set_blocking(call, True)         # the flag is shared: it is ours to clear
    for _ in range(5):
        g.txq[0].ring.call_on()
        with contextlib.suppress(TimeoutError, BufferError):
            g.send(body(), kick=True, timeout=0.2)
        arena.peer.send(body(), wait_used=False)
        time.sleep(0.01)
    arena.bystander.check()
    arena.lab.daemon.rpc('version')
    close_all([call, *keep])


@pytest.mark.parametrize('kind', ['pipe', 'socket', 'epoll', 'zero'])
def test_kick_of_other_kind(arena, kind):
    g = arena.attacker()
    with odd_fds() as fds:
        with contextlib.suppress(Closed):
            for q in g.queues[:2]:
                g.chan.ack(Req.SET_VRING_KICK, u64(q.index), [fds[kind]])
        with contextlib.suppress(TimeoutError):
            g.send(body(), timeout=0.1)
    arena.bystander.check()


def test_kick_storm(arena):
    """Kicks as fast as one can: the others' packets still go."""
    g = arena.attacker()
    with mutating(g.txq[0].kick):
        time.sleep(0.3)
        arena.bystander.check()


def test_same_fd_for_all(arena):
    """One eventfd as kick and call of every ring: it wakes itself."""
    g = arena.attacker()
    for q in g.queues:
        g.chan.ack(Req.SET_VRING_CALL, u64(q.index), [g.queues[0].kick_fd])
        g.chan.ack(Req.SET_VRING_KICK, u64(q.index), [g.queues[0].kick_fd])
    with contextlib.suppress(TimeoutError):
        g.send(body(), kick=True, timeout=0.5)
    arena.bystander.check()


# -- dirty log

BAD_LOGS = {
    'size-0': (0, 0), 'beyond-file': (1 << 30, 0), 'offset-beyond': (4096, 1 << 30),
    'offset-wraps': (8192, TOP - 4096), 'size-wraps': (TOP - 4096, 8192),
    'both-max': (TOP - 1, TOP - 1),
    'sum-is-0': (TOP - 4096, 4096), 'one-byte-beyond': (MB + 1, 0), 'offset-plus-size': (MB, 4096),
}


def log_refused(arena, g, payload, fds):
    try:
        reply = g.chan.call(Req.SET_LOG_BASE, payload, fds)
        assert len(reply.payload) == 8 and reply.payload != bytes(8), 'accepted'
    except Closed:
        arena.broken()


@pytest.mark.parametrize('case', BAD_LOGS.values(), ids=BAD_LOGS)
def test_log_area(arena, case):
    """2020-10722, 2026-86563."""
    g = arena.attacker()
    region = Region(0, MB)
    log_refused(arena, g, struct.pack('<QQ', *case), [region.fd])
    region.close()


@pytest.mark.parametrize('kind', ['none', 'pipe', 'socket', 'null', 'directory', 'memfd',
                                  'read-only', 'eventfd'])
def test_log_fd(arena, kind):
    g = arena.attacker()
    with odd_fds() as fds:
        log_refused(arena, g, struct.pack('<QQ', 4096, 0), [] if kind == 'none' else [fds[kind]])


@pytest.mark.parametrize('payload', [b'', bytes(8), bytes(15), bytes(24)], ids=len)
def test_log_payload(arena, payload):
    g = arena.attacker()
    region = Region(0, MB)
    log_refused(arena, g, payload, [region.fd])
    region.close()


@rings
@pytest.mark.parametrize('log', [0, 1 << 40, TOP - 4, TOP - 4096, TOP - 2048])
def test_log_of_ring_outside(arena, packed, log):
    """log_guest_addr is the guest's word: what the log has no bit for is not written anywhere."""
    g = arena.attacker(packed=packed)
    region, size = log_region(g, 8192)
    g.chan.call(Req.SET_LOG_BASE, struct.pack('<QQ', size, 4096), [region.fd])
    with contextlib.suppress(Closed):
        g.chan.ack(Req.SET_FEATURES, u64(g.features | F.LOG_ALL))
        for q in g.queues[:2]:
            g.chan.ack(Req.SET_VRING_ADDR, g.vring_addr(q, flags=1, log=log))
    arena.peer.send(*(body() for _ in range(10)), wait_used=False)
    with contextlib.suppress(TimeoutError):
        g.send(*(body() for _ in range(10)), timeout=0.2)
    assert not any(region.bytes[:4096]) and not any(region.bytes[4096 + size:])
    region.close()


@rings
def test_log_too_small(arena, packed):
    """Refused, or pages beyond it are not logged; never written beyond its end."""
    g = arena.attacker(packed=packed)
    region = Region(0, 3 * 4096)
    with contextlib.suppress(Closed):
        g.chan.call(Req.SET_LOG_BASE, struct.pack('<QQ', 100, 4096), [region.fd])
        g.chan.ack(Req.SET_FEATURES, u64(g.features | F.LOG_ALL))
    arena.peer.send(*(body() for _ in range(20)), wait_used=False)
    time.sleep(0.02)
    assert not any(region.bytes[:4096]) and not any(region.bytes[4196:])
    region.close()


# -- in-flight log

@pytest.mark.parametrize('packed', [False, True], ids=['split', 'packed'])
@pytest.mark.parametrize('case', [(0, 256), (5, 256), (64, 256), (0xffff, 256), (2, 0),
                                  (2, 32769), (2, 0xffff), (0xffff, 0xffff)],
                         ids='{0[0]}x{0[1]}'.format)
def test_get_inflight_of_bad_size(arena, packed, case):
    g = arena.attacker(packed=packed)
    try:
        reply = g.chan.call(Req.GET_INFLIGHT_FD, struct.pack('<QQHH', 0, 0, *case))
        close_all(reply.fds)
        # no area, or an empty one
        assert not reply.fds and reply.payload[:8] == bytes(8)
    except Closed:
        arena.broken()


def test_get_inflight_again_and_again(arena):
    """2020-10726, 2022-0669: neither descriptors nor memory pile up."""
    g = arena.attacker()
    close_all([inflight_fd(g)[0]])
    g.sync()
    fds, maps = arena.lab.daemon.fds(), arena.lab.daemon.maps()
    for _ in range(200):
        close_all([inflight_fd(g)[0]])
    arena.settle(fds=fds, maps=maps)
    # and with descriptors that nobody asked for
    with odd_fds() as odd:
        for _ in range(20):
            try:
                close_all(g.chan.call(Req.GET_INFLIGHT_FD, struct.pack('<QQHH', 0, 0, 2, 256),
                                      [odd['memfd'], odd['pipe']]).fds)
            except Closed:
                g.disconnect()
                g.connect()
    arena.settle(fds=fds + 1)


BAD_INFLIGHT = {
    'size-0': (0, 0), 'too-small': (64, 0), 'one-queue': (16 + 16 * 256, 0),
    'beyond-file': (2 * MB, 0), 'offset-beyond': (MB, MB), 'offset-wraps': (MB, TOP - 4096),
    'size-max': (TOP - 1, 0), 'sum-0': (TOP - 4096, 4096),
    'queues-0': (MB, 0, 0), 'queues-5': (MB, 0, 5), 'queues-max': (MB, 0, 0xffff),
    'ring-0': (MB, 0, 2, 0), 'ring-32769': (MB, 0, 2, 32769), 'ring-max': (MB, 0, 2, 0xffff),
    'all-max': (MB, 0, 0xffff, 0xffff),
}


@rings
@pytest.mark.parametrize('case', BAD_INFLIGHT.values(), ids=BAD_INFLIGHT)
def test_set_inflight_of_bad_size(arena, packed, case):
    """2021-3839."""
    g, _ = with_inflight(arena, packed=packed)
    region = Region(0, MB)
    arena.refused(g, Req.SET_INFLIGHT_FD, inflight_payload(*case), [region.fd])
    region.close()
    os.close(g.inflight)


@pytest.mark.parametrize('kind', ['none', 'two', 'pipe', 'socket', 'null', 'directory', 'memfd',
                                  'read-only', 'eventfd'])
def test_set_inflight_fd(arena, kind):
    g, payload = with_inflight(arena)
    with odd_fds() as fds:
        arena.refused(g, Req.SET_INFLIGHT_FD, payload, [] if kind == 'none' else
                      [g.inflight] * 2 if kind == 'two' else [fds[kind]])
    os.close(g.inflight)


@rings
@pytest.mark.parametrize('size', [2, 128, 512, 1024])
def test_ring_size_other_than_inflight(arena, packed, size):
    """2026-86565: a table for another ring size; refused or harmless, never out of bounds."""
    g = arena.lab.guest(arena.port, up=False, start=False, packed=packed, size=256)
    g.connect()
    arena.mark()
    g.make_queues()
    g.set(Req.SET_FEATURES, u64(g.features))
    fd, mmap_size, offset, queues, got = inflight_fd(g, size=size)
    os.close(fd)
    # the area ends with its file, and so shows writes beyond it
    region = Region(0, (offset + mmap_size + 4095) // 4096 * 4096 + 4096)
    end = offset + mmap_size
    region.bytes[end:] = b'\xa5' * (len(region.bytes) - end)
    g.share_memory()
    try:
        g.set(Req.SET_INFLIGHT_FD, inflight_payload(mmap_size, offset, queues, size), [region.fd])
        for q in g.queues:
            g.start_queue(q)
        for q in g.queues:
            g.enable(q)
            q.kick()
        with contextlib.suppress(TimeoutError, AssertionError):
            for _ in range(10):
                g.send(*(body() for _ in range(50)), timeout=0.2)
    except (OSError, Closed):
        pass
    assert bytes(region.bytes[end:]) == b'\xa5' * (len(region.bytes) - end)
    region.close()
    arena.bystander.check()


NOISE = {
    'ones': lambda n: b'\xff' * n,
    'all-inflight': lambda n: b'\1' * n,
    'random-1': random.Random(1).randbytes,
    'random-2': random.Random(2).randbytes,
    'random-3': random.Random(3).randbytes,
}


@rings
@pytest.mark.parametrize('keep_head', [False, True], ids=['all', 'entries'])
@pytest.mark.parametrize('noise', NOISE.values(), ids=NOISE)
def test_inflight_area_full_of_noise(arena, packed, keep_head, noise):
    """Counters, links, indexes and sizes of an earlier life cannot be believed."""
    def change(fd, size, offset):
        step = size // 2
        for i in range(2):
            head = os.pread(fd, 32 if packed else 16, offset + i * step) if keep_head else b''
            os.pwrite(fd, head + noise(step - len(head)), offset + i * step)
    g, payload = with_inflight(arena, change, packed=packed)
    try:
        g.set(Req.SET_INFLIGHT_FD, payload, [g.inflight])
        g.start()
        with contextlib.suppress(TimeoutError, AssertionError):
            g.send(*(body() for _ in range(50)), timeout=0.2)
    except (OSError, Closed):
        pass
    os.close(g.inflight)
    time.sleep(0.02)
    arena.bystander.check()


@rings
def test_inflight_area_changes(arena, packed):
    """Written to while the rings run."""
    g, payload = with_inflight(arena, packed=packed)
    g.set(Req.SET_INFLIGHT_FD, payload, [g.inflight])
    g.start()
    arena.lab.up(arena.port)
    size = struct.unpack('<Q', payload[:8])[0]
    rng = random.Random(1)
    with mutating(lambda: os.pwrite(g.inflight, rng.randbytes(8), rng.randrange(size - 8))):
        deadline = time.monotonic() + 0.7
        with contextlib.suppress(TimeoutError, AssertionError):
            while time.monotonic() < deadline:
                g.send(*(body() for _ in range(50)), timeout=0.2)
                arena.peer.poll()
    os.close(g.inflight)
    arena.bystander.check()


# -- floods

def test_message_flood_without_reading(arena):
    """Requests without end whose answers nobody takes: nothing grows, others are served."""
    g = arena.attacker()
    rss = arena.lab.daemon.rss_kb()
    message = struct.pack('<III', Req.GET_FEATURES, VERSION, 0) * 1000
    g.chan.sock.setblocking(False)
    deadline = time.monotonic() + 1.0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() < deadline:
            try:
                g.chan.sock.send(message)
            except BlockingIOError:
                time.sleep(0.001)
    t = time.monotonic()
    arena.lab.daemon.rpc('version')
    assert time.monotonic() - t < 1
    arena.bystander.check()
    assert arena.lab.daemon.rss_kb() < rss + SLACK_KB


def test_message_flood(arena):
    """A busy connection does not keep the control thread from the others."""
    g = arena.attacker()
    stop = threading.Event()

    def run():
        with contextlib.suppress(Closed, OSError, TimeoutError):
            while not stop.is_set():
                for _ in range(100):
                    g.chan.send(Req.GET_FEATURES)
                for _ in range(100):
                    g.chan.recv()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        worst = 0
        for _ in range(20):
            t = time.monotonic()
            arena.lab.daemon.rpc('version')
            worst = max(worst, time.monotonic() - t)
            time.sleep(0.01)
        assert worst < 1
        arena.bystander.check()
    finally:
        stop.set()
        thread.join()


def test_mem_table_flood(arena):
    g = arena.attacker()
    g.sync()
    fds, maps, rss = (getattr(arena.lab.daemon, n)() for n in ('fds', 'maps', 'rss_kb'))
    for _ in range(200):
        g.set(Req.SET_MEM_TABLE, g.mem.table(), g.mem.fds())
    g.send(body())
    arena.bystander.check()
    arena.settle(fds=fds, maps=maps + 2)
    assert arena.lab.daemon.rss_kb() < rss + SLACK_KB


def test_connection_flood(arena):
    path = arena.lab.path(arena.port)
    Channel.connect(path).close()
    wait(lambda: not arena.virtio()['connected'])
    time.sleep(0.05)
    before = arena.lab.daemon.fds()
    for _ in range(300):
        Channel.connect(path).close()
    socks = []
    for _ in range(100):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):      # the backlog is full: fine
            s.connect(path)
        socks.append(s)
    time.sleep(0.05)
    # one front end at a time
    arena.settle(fds=before + 8)
    arena.bystander.check()
    for s in socks:
        s.close()
    arena.settle(fds=before)


def test_feature_flip_while_running(arena):
    """Split becomes packed and back under rings that run."""
    g = arena.attacker()
    with contextlib.suppress(Closed, TimeoutError, AssertionError):
        for i in range(50):
            g.chan.ack(Req.SET_FEATURES, u64(g.features ^ (F.RING_PACKED if i % 2 else 0)))
            g.queue_frame(body())
            g.txq[0].publish(kick=True)
            arena.peer.send(body(), wait_used=False)
            arena.peer.poll()
