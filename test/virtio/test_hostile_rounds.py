# SPDX-License-Identifier: Apache-2.0
"""A thousand rounds of mixed attacks: nothing leaks, the honest guests never notice."""

import contextlib
import os
import random
import struct
import time

from arena import MB, R, body, inflight_payload, odd_fds, raw_table, resolve
from frontend import BASIC, F, NEED_REPLY, VERSION, Channel, Closed, Guest, Req, close_all
from test_hostile import CHAINS, RX_CHAINS
from test_hostile_messages import BAD_INFLIGHT, BAD_LOGS, BAD_MESSAGES, BAD_TABLES
from vring import Memory, Region, wait
from xvio import SLACK_KB


def small(arena, **options):
    g = Guest(arena.lab.path(arena.port), mem=Memory(low_bytes=1 << 18, high_bytes=1 << 18),
              size=16, rx_layout=(1024,), **options)
    g.own_mem = True
    return g


def round_chain(arena, rng):
    with small(arena, packed=rng.random() < 0.5, features=BASIC | F.INDIRECT_DESC) as g:
        chain = resolve(g, rng.choice(list(CHAINS.values()))[:12])
        g.txq[0].ring.add(chain)
        g.txq[0].publish(kick=True)
        time.sleep(0.0003)


def round_receive(arena, rng):
    with small(arena, packed=rng.random() < 0.5, fill=False) as g:
        g.rxq[0].ring.add(resolve(g, rng.choice(list(RX_CHAINS.values()))[:12]))
        g.rxq[0].publish(kick=True)
        arena.peer.send(body(), wait_used=False)
        time.sleep(0.0003)


def round_message(arena, rng):
    with small(arena) as g, odd_fds() as fds:
        req, payload, kinds = rng.choice(list(BAD_MESSAGES.values()))
        with contextlib.suppress(Closed):
            g.chan.send(req, payload, [fds[k] for k in kinds], VERSION | NEED_REPLY)
            if rng.random() < 0.5:
                g.chan.recv()


def round_memory(arena, rng):
    c = Channel.connect(arena.lab.path(arena.port))
    fd = os.memfd_create('odd')
    os.ftruncate(fd, MB)
    with contextlib.suppress(Closed):
        payload, count = rng.choice(list(BAD_TABLES.values()))
        c.send(Req.SET_MEM_TABLE, raw_table(R), [fd])
        c.send(Req.SET_MEM_TABLE, payload, [fd] * count)
        c.closed(0.002)
    c.close()
    os.close(fd)


def round_inflight(arena, rng):
    with small(arena) as g, odd_fds() as fds:
        with contextlib.suppress(Closed, AssertionError, IndexError):
            close_all(g.chan.call(Req.GET_INFLIGHT_FD, struct.pack(
                '<QQHH', 0, 0, rng.choice((2, 4, 9, 0xffff)), rng.choice((0, 16, 256))),
                [fds['memfd']] * rng.randrange(3)).fds)
            g.chan.ack(Req.SET_INFLIGHT_FD, inflight_payload(*rng.choice(
                list(BAD_INFLIGHT.values()))), [fds['memfd']])


def round_log(arena, rng):
    with small(arena) as g:
        region = Region(0, MB)
        with contextlib.suppress(Closed):
            g.chan.send(Req.SET_LOG_BASE, struct.pack('<QQ', *rng.choice(
                [*BAD_LOGS.values(), (MB, 0)])), [region.fd])
            g.chan.recv()
        region.close()


def round_cut(arena, rng):
    fd = os.memfd_create('odd')
    os.ftruncate(fd, MB)
    message = struct.pack('<III', Req.SET_MEM_TABLE, VERSION, len(raw_table(R))) + raw_table(R)
    c = Channel.connect(arena.lab.path(arena.port))
    c.send_raw(message[:rng.randrange(1, len(message))], [fd] * rng.randrange(1, 20))
    c.close()
    os.close(fd)


def round_shrink(arena, rng):
    with small(arena) as g:
        for r in g.mem.regions:
            os.ftruncate(r.fd, 0)
        g.txq[0].kick()
        time.sleep(0.0003)


ROUNDS = [round_chain, round_receive, round_message, round_memory, round_inflight, round_log,
          round_cut, round_shrink]


def test_thousand_rounds(arena):
    """Descriptors, mappings and memory of xviod before and after; the honest guests throughout."""
    rng = random.Random(2)

    def rounds(n):
        for i in range(n):
            rng.choice(ROUNDS)(arena, rng)
            arena.peer.poll()
            arena.peer.reap()
        wait(lambda: not arena.virtio()['connected'], what='the end of the connection')

    daemon = arena.lab.daemon
    rounds(100)
    time.sleep(0.1)
    fds, maps, rss = daemon.fds(), daemon.maps(), daemon.rss_kb()
    broken = arena.virtio()['broken_total']
    rounds(1000)
    arena.settle(fds=fds, maps=maps + 4, rss_kb=rss + SLACK_KB)
    assert arena.virtio()['broken_total'] > broken + 100
    arena.bystander.check()
