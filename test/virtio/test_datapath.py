# SPDX-License-Identifier: Apache-2.0
"""Frames and notifications on split and packed rings, as a well-behaved guest sees them."""

import math
import os
import random
import struct
import time

import pytest

from frontend import BASIC, F, Guest, ethernet, exchange, frames
from vring import wait
from xvio import Xviod

rings = pytest.mark.parametrize('packed', [False, True], ids=['split', 'packed'])

RING_FEATURES = {
    'plain': F(0),
    'mrg': F.MRG_RXBUF,
    'indirect': F.MRG_RXBUF | F.INDIRECT_DESC,
    'event': F.MRG_RXBUF | F.EVENT_IDX,
    'inorder': F.IN_ORDER,
    'all': F.MRG_RXBUF | F.INDIRECT_DESC | F.EVENT_IDX | F.IN_ORDER,
}


# -- data path

@rings
@pytest.mark.parametrize('features', RING_FEATURES.values(), ids=RING_FEATURES)
@pytest.mark.parametrize('layout', [(2048,), (12, 2036), (100, 200, 1800)],
                         ids=['one', 'header', 'three'])
def test_data(lab, packed, features, layout):
    a, b = lab.pair(features=BASIC | features, packed=packed, rx_layout=layout, size=64)
    assert a.features & features == features
    for cuts in (), (12,), (12, 26, 60), (5, 7, 13):
        exchange(a, b, 100, cuts=cuts)
        if features & F.INDIRECT_DESC:
            exchange(a, b, 100, cuts=cuts, indirect=True)


@rings
def test_frame_sizes(lab, packed):
    """Sizes around every edge, sent and received in one piece and in many."""
    a, b = lab.pair(features=BASIC | F.MRG_RXBUF, packed=packed, rx_layout=(512,))
    for size in [*range(60, 132), *range(490, 530), *range(1000, 1050), 1514, 1518, 2048, 4096,
                 9018]:
        sent = ethernet(b, a, os.urandom(size - 14), size=0)
        a.send(sent, cuts=(random.randrange(12, size),))
        f = b.receive()[0]
        assert f.data == sent
        assert f.hdr.num_buffers == math.ceil((size + 12) / 512)


@rings
def test_num_buffers_is_one(lab, packed):
    """Virtio 1.2, 5.1.6.4.1: without MRG_RXBUF the device sets num_buffers to 1."""
    a, b = lab.pair(features=BASIC, packed=packed)
    a.send(*frames(b, a, 10))
    assert {f.hdr.num_buffers for f in b.receive(10)} == {1}


@rings
@pytest.mark.parametrize('mrg', [False, True])
def test_header_split_over_descriptors(lab, packed, mrg):
    """VERSION_1 implies any layout: also the received header may be scattered."""
    a, b = lab.pair(features=BASIC | (F.MRG_RXBUF if mrg else 0), packed=packed,
                    rx_layout=(1, 4, 6, 3, 2000))
    exchange(a, b, 50, cuts=(1, 2, 3, 11))


@rings
def test_frame_larger_than_buffer(lab, packed):
    """Without mergeable buffers it cannot be delivered: dropped and counted, the next ones pass."""
    a, b = lab.pair(features=BASIC, packed=packed, rx_layout=(1000,))
    a.send(*frames(b, a, 3, 1200, 1500))
    good = frames(b, a, 10, 46, 900)
    a.send(*good)
    assert [f.data for f in b.receive(10)] == good
    assert lab.drops(a.port) == {'tx-size': 3}


@rings
@pytest.mark.parametrize('size', [2, 4, 16, 32768])
def test_ring_sizes(lab, packed, size):
    a, b = lab.pair(packed=packed, size=size, rx_layout=(256,))
    for _ in range(20):
        exchange(a, b, high=200)


@pytest.mark.parametrize('size', [3, 100, 255])
def test_packed_ring_of_any_size(lab, size):
    a, b = lab.pair(packed=True, size=size)
    for _ in range(10):
        exchange(a, b, 50, cuts=(12,) if size > 3 else ())


def test_split_index_wrap(lab):
    """The 16-bit indexes wrap."""
    a, b = lab.pair(ring_base=65500)
    for _ in range(10):
        exchange(a, b, 30)


@pytest.mark.parametrize('base', [0x8000, 0x80008000, 0x00050005, 0x80fe80fe],
                         ids=['virtio-user', 'first', 'wrapped', 'near-end'])
def test_packed_base(lab, base):
    """Position and wrap counter; DPDK's virtio-user leaves the used half zero."""
    a, b = lab.pair(packed=True, ring_base=base & 0xffff, start=False, up=False)
    for g in a, b:
        g.connect()
        original = g.start_queue
        g.start_queue = lambda q, start=original: start(q, base)
        g.start()
        lab.up(g.port)
    for _ in range(20):
        exchange(a, b, 30)


@rings
@pytest.mark.parametrize('features', [F.MRG_RXBUF, F.IN_ORDER | F.EVENT_IDX],
                         ids=['mrg', 'inorder-event'])
def test_many(lab, packed, features):
    """A stream with full and empty rings in between: nothing lost, nothing twice, in order."""
    a, b = lab.pair(features=BASIC | features, packed=packed, size=128)
    total, sent, seen = 5000, 0, 0
    deadline = time.monotonic() + 60
    while seen < total:
        # never more in flight than the receiver has buffers for
        n = min(random.randint(1, 60), total - sent, 100 - (sent - seen))
        a.send(*(ethernet(b, a, struct.pack('>I', sent + i)) for i in range(n)), wait_used=False)
        sent += n
        if random.random() < 0.1:
            time.sleep(0.0005)
        for f in b.poll():
            assert struct.unpack('>I', f.data[14:18])[0] == seen
            seen += 1
        assert time.monotonic() < deadline
    assert not lab.drops(a.port)


@rings
def test_multiqueue(lab, packed):
    a, b = lab.pair(packed=packed, pairs=4, port={'queues': 4})
    assert lab.show(a.port)['queues_active'] == 4
    sent = []
    for q in range(4):
        batch = frames(b, a, 20)
        a.send(*batch, q=q)
        sent += batch
    assert sorted(f.data for f in b.receive(80)) == sorted(sent)


@rings
def test_disabled_queues_of_a_pair(lab, packed):
    """A guest with 4 pairs that uses 1 (Linux before `ethtool -L`): nothing goes to the others."""
    a, b = lab.pair(packed=packed, pairs=4, port={'queues': 4})
    for q in b.queues[2:]:
        b.enable(q, False)
    wait(lambda: lab.show(b.port)['queues_active'] == 1)
    for q in range(4):
        a.send(*frames(b, a, 20), q=q)
    b.receive(80, queues=[0])


# -- notifications

EVENT = pytest.mark.parametrize('event', [False, True], ids=['flags', 'event-idx'])


def features_of(event):
    return BASIC | F.MRG_RXBUF | (F.EVENT_IDX if event else 0)


@rings
@EVENT
def test_calls(lab, packed, event):
    """With calls wanted, every burst brings one."""
    a, b = lab.pair(features=features_of(event), packed=packed)
    for _ in range(50):
        b.rxq[0].ring.call_on()
        b.rxq[0].calls()
        a.send(*frames(b, a, 3))
        b.rxq[0].wait_call()
        b.receive(3)


@rings
@EVENT
def test_no_calls(lab, packed, event):
    a, b = lab.pair(features=features_of(event), packed=packed)
    exchange(a, b, 1)               # the first use of a ring may call in any case
    b.rxq[0].ring.call_off()
    a.txq[0].ring.call_off()
    b.rxq[0].calls()
    a.txq[0].calls()
    for _ in range(20):
        a.send(*frames(b, a, 5))
        b.receive(5)
    assert b.rxq[0].calls() == 0
    assert a.txq[0].calls() == 0


@rings
@pytest.mark.parametrize('after', [1, 5, 17])
def test_event_index_call(lab, packed, after):
    """The call comes with the buffer that was asked for: not before, and not forgotten."""
    a, b = lab.pair(features=features_of(True), packed=packed, size=64)
    b.rxq[0].ring.call_after(1)
    exchange(a, b, 1)               # the first use of a ring, or of the mode, may call in any case
    for _ in range(8):
        b.rxq[0].ring.call_after(after)
        b.rxq[0].calls()
        for _ in range(after - 1):
            a.send(ethernet(b, a))
            wait(lambda: b.poll(refill=False))
        time.sleep(0.005)
        assert b.rxq[0].calls() == 0, 'called early'
        a.send(ethernet(b, a))
        b.rxq[0].wait_call()
        b.receive()
        b.refill(b.rxq[0])


@rings
@EVENT
def test_wake_up_is_never_lost(lab, packed, event):
    """Kick only when the device asks for it, at every moment around its falling asleep."""
    a, b = lab.pair(features=features_of(event), packed=packed)
    for i in range(1500):
        time.sleep(random.choice((0, 1e-5, 3e-5, 5e-5, 8e-5, 1e-4, 2e-4, 1e-3)))
        a.send(ethernet(b, a, struct.pack('>I', i)), wait_used=False)
        f = b.receive(timeout=2)[0]
        assert struct.unpack('>I', f.data[14:18])[0] == i


@rings
@EVENT
def test_kicks_are_suppressed(packed, event):
    """A device that polls does not ask for kicks."""
    with Xviod({'daemon': {'idle_spin_us': 10000}}) as daemon:
        for name in 'a', 'b':
            daemon.rpc('port.add', name=name, kind='vhost', socket=str(daemon.dir / name))
        daemon.rpc('wire.add', name='w', ports=['a', 'b'])
        with Guest(str(daemon.dir / 'a'), features=features_of(event), packed=packed) as a, \
                Guest(str(daemon.dir / 'b'), features=features_of(event), packed=packed) as b:
            for name in 'a', 'b':
                wait(lambda: daemon.port(name)['state'] == 'up')
            a.txq[0].kicks = 0
            for i in range(500):
                a.send(ethernet(b, a), wait_used=False)
                b.receive()
            assert a.txq[0].kicks < 50

            # and when it sleeps, it does
            def asked():
                time.sleep(0.1)
                before = a.txq[0].kicks
                a.send(ethernet(b, a), wait_used=False)
                b.receive()
                return a.txq[0].kicks == before + 1
            wait(asked, what='a device that asks for kicks')


