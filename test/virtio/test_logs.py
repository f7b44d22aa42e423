# SPDX-License-Identifier: Apache-2.0
"""What live migration and restarts build on: dirty log and in-flight log."""

import os

import pytest

from frontend import Closed, LOG_PAGE, Req, ethernet, exchange, frames, u64
from logs import Inflight, InflightGuest, Log, pages_of, start_log
from vring import wait

rings = pytest.mark.parametrize('packed', [False, True], ids=['split', 'packed'])


# -- dirty log


@rings
@pytest.mark.parametrize('layout', [(2048,), (256,), (12, 1000)], ids=['one', 'merged', 'chain'])
def test_dirty_log(lab, packed, layout):
    """Migration starts in mid-life: all that is written from now on is logged."""
    a, b = lab.pair(packed=packed, rx_layout=layout)
    exchange(a, b)
    log = Log(b.mem)
    start_log(b, log)
    lab.up(b.port)
    b.trace = []
    for _ in range(20):
        a.send(*frames(b, a, 5))
        b.receive(5)
    written = {page for piece in b.trace for page in pages_of(*piece)}
    marked = log.pages()
    assert written <= marked, 'written but not logged: %s' % sorted(written - marked)
    assert log.guards_clean()
    # what the device only reads is not dirty
    gpa = b.mem.HIGH + (15 << 20)
    sent = ethernet(a, b, os.urandom(100))
    b.mem.write(gpa, bytes(12) + sent)
    b.txq[0].ring.add([(gpa, 12 + len(sent), 0)])
    b.txq[0].publish()
    assert a.receive()[0].data == sent
    assert not pages_of(gpa, len(sent)) & log.pages()
    # and with logging off nothing is
    b.set(Req.SET_FEATURES, u64(b.features))
    lab.up(b.port)
    log.clear()
    a.send(*frames(b, a, 5))
    b.receive(5)
    assert not log.pages()
    log.region.close()


@rings
def test_dirty_log_of_rings(lab, packed):
    """VHOST_VRING_F_LOG: writes to the used ring are logged, counted from log_guest_addr."""
    a, b = lab.pair(packed=packed)
    exchange(a, b)
    log = Log(b.mem)
    start_log(b, log)
    b.log_rings = True
    elsewhere = 0x8000_0000         # need not be guest memory
    for q in b.queues:
        b.set(Req.SET_VRING_ADDR, b.vring_addr(q, log=0 if packed else
                                               elsewhere + (q.index << 20)))
    lab.up(b.port)
    log.clear()
    exchange(a, b, 10)
    marked = log.pages()
    for q in b.queues:
        if packed:
            assert marked & pages_of(q.ring.desc, 16 * q.ring.size)
        else:
            # the index is in the first bytes
            assert pages_of(elsewhere + (q.index << 20), 4) <= marked
            assert not marked & pages_of(q.ring.used, 4)
    # all entries of the ring in time
    for _ in range(60):
        exchange(a, b, 10)
    marked = log.pages()
    for q in b.queues:
        area = (q.ring.desc, 16 * q.ring.size) if packed else \
            (elsewhere + (q.index << 20), 4 + 8 * q.ring.size)
        assert pages_of(*area) <= marked
    assert log.guards_clean()
    log.region.close()


# -- in-flight log


def inflight_guest(lab, port, start=True, **options):
    g = InflightGuest(lab.path(port), start=False, **options)
    g.port = port
    lab.guests.append(g)
    if start:
        g.connect()
        g.start()
        lab.up(port)
    return g


@rings
def test_get_inflight_fd(lab, packed):
    g = lab.guest(lab.port(queues=4), packed=packed, pairs=4)
    area = Inflight.get(g)
    assert (area.queues, area.queue_size) == (8, 256)
    assert area.size >= area.queues * area.queue_bytes()
    assert os.fstat(area.fd).st_size >= area.offset + area.size
    assert area.size <= area.queues * (area.queue_bytes() + LOG_PAGE)
    area.close()


@rings
def test_inflight_area_in_use(lab, packed):
    ports = lab.wired_ports()
    a, b = (inflight_guest(lab, p, packed=packed) for p in ports)
    for _ in range(20):
        exchange(a, b, 50)
    for q in a.queues:
        wait(lambda: not a.area.inflight(q.index), what='an empty in-flight table')
        head = a.area.read_head(q.index)
        assert head[1:3] == (1, 256)         # version, desc_num
        if packed:
            # where the next used descriptor goes, twice
            assert head[5] == head[6] == q.ring.next_used
            assert head[7] == head[8] == q.ring.used_wrap
        else:
            assert head[4] == q.ring.used_idx()
    # the same area serves after a reconnect
    for _ in range(3):
        a.disconnect()
        wait(lambda: lab.show(a.port)['state'] == 'waiting')
        a.connect()
        a.start()
        lab.up(a.port)
        exchange(a, b, 50)
    a.area.close()
    b.area.close()


@pytest.mark.parametrize('done', [0, 1], ids=['in-order', 'out-of-order'])
def test_inflight_resubmit_split(lab, done):
    """A back end took three chains, gave back one and died: the other two are still to be sent,
    then the fourth, which nobody has seen.  A back end that always works in order may refuse an
    area in which the second was given back first, but must not guess."""
    ports = lab.wired_ports()
    b = lab.guest(ports[1])
    a = inflight_guest(lab, ports[0], start=False)
    a.connect()
    a.make_queues()
    a.set(Req.SET_FEATURES, u64(a.features))
    a.area = Inflight.get(a)
    sent = frames(b, a, 4)
    heads = []
    ring = a.txq[0].ring
    for f in sent:
        a.queue_frame(f)
        heads.append(next(reversed(ring.pending)))
    ring.publish()
    ring.mem.store(ring.used + 4, 4, heads[done])
    ring.mem.store(ring.used + 2, 2, 1)
    a.area.write(1, (0, 1, a.size, heads[done], 1),
                 {heads[i]: (int(i != done), 0, i + 1) for i in range(3)})
    try:
        a.start()
        lab.up(a.port)
        sent.pop(done)
        assert [f.data for f in b.receive(3)] == sent
        a.drain()
    except (OSError, Closed):
        assert done, 'refused'
    b.silence(0.02)
    a.area.close()


@rings
def test_inflight_area_too_small_is_refused(lab, packed):
    g = lab.guest(lab.port(), packed=packed, start=False, up=False)
    g.connect()
    g.set(Req.SET_FEATURES, u64(g.features))
    area = Inflight.get(g)
    area.size = area.queue_bytes()
    assert g.refused(Req.SET_INFLIGHT_FD, area.payload(), [area.fd])
    area.close()


