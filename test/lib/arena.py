# SPDX-License-Identifier: Apache-2.0
"""Where hostile guests and front ends meet xviod, and what they throw."""

import contextlib
import os
import random
import select
import socket
import struct
import tempfile
import threading
import time

from frontend import Closed, Guest, Req, close_all, ethernet, u64
from vring import Region, wait

NOWHERE = 0xdead_0000_0000
HOLE = 0x8000_0000
TOP = 1 << 64
LOW_BYTES, HIGH_BYTES = 4 << 20, 16 << 20
MB = 1 << 20


class Bystander(threading.Thread):
    """Two honest guests on a wire, always talking: every frame arrives, in order, unchanged."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.guests = []
        for name in 'honest-a', 'honest-b':
            path = str(daemon.dir / name)
            daemon.rpc('port.add', name=name, kind='vhost', socket=path)
            self.guests.append(Guest(path))
        daemon.rpc('wire.add', name='honest', ports=['honest-a', 'honest-b'])
        for name in 'honest-a', 'honest-b':
            wait(lambda: daemon.port(name)['state'] == 'up')
        self.xviod, self.pid = daemon, daemon.pid
        self.rounds, self.error, self.leave = 0, None, False
        self.start()

    def run(self):
        try:
            number = 0
            while not self.leave:
                for src, dst in self.guests, self.guests[::-1]:
                    sent = [ethernet(dst, src, struct.pack('>I', number + i) * 20)
                            for i in range(8)]
                    src.send(*sent)
                    got = [f.data for f in dst.receive(8)]
                    if got != sent:
                        raise AssertionError('frames %d.. came changed' % number)
                    number += 8
                self.rounds += 1
                time.sleep(0.003)
        except Exception as e:      # told to whoever asks next
            self.error = e

    def check(self):
        target = self.rounds + 2
        wait(lambda: self.error or self.rounds >= target, 15, 'word from the honest guests')
        if self.error:
            raise AssertionError('the honest guests were disturbed') from self.error
        for name in 'honest-a', 'honest-b':
            port = self.xviod.port(name)
            assert port['state'] == 'up' and not any(port['drops'].values()), port
            assert port['virtio']['connects'] == 1

    def finish(self):
        self.leave = True
        self.join()
        for g in self.guests:
            g.close()


class Arena:
    """A port for the attacker, wired to one with an honest guest, `peer`."""

    def __init__(self, lab, bystander):
        self.lab, self.bystander = lab, bystander
        self.port, self.peer_port = lab.wired_ports(csum=True, tso=True, queues=2)
        self.peer = lab.guest(self.peer_port)
        self.mark()

    def attacker(self, **options):
        g = self.lab.guest(self.port, **options)
        self.mark()
        return g

    def mark(self):
        """Outcomes are counted from here."""
        self.broken_before = self.virtio()['broken_total']
        self.drops_before = self.drops()

    def virtio(self):
        return self.lab.show(self.port)['virtio']

    def drops(self):
        return sum(sum(self.lab.drops(p).values()) for p in (self.port, self.peer_port))

    def is_broken(self):
        """Broken, with a sentence, once; true also after the connection was ended for it."""
        port = self.lab.show(self.port)
        v = port['virtio']
        if v['broken_total'] == self.broken_before:
            return False
        assert v['broken_total'] == self.broken_before + 1
        assert v['broken'] and v['broken'].strip() and len(v['broken']) > 8
        assert port['state'] == 'broken' or not v['connected']
        return True

    def contained(self, count=1):
        """The device is broken, or exactly this many frames were dropped with a reason."""
        def done():
            dropped = self.drops() - self.drops_before
            return 'broken' if self.is_broken() else dropped >= count and 'dropped'
        result = wait(done, what='a broken port or %d drops' % count)
        if result == 'dropped':
            assert self.drops() - self.drops_before == count
        return result

    def broken(self):
        wait(self.is_broken, what='a broken port')

    def refused(self, g, req, payload=b'', fds=()):
        """The message is refused; if the connection was ended for it, the port says why."""
        try:
            assert g.chan.ack(req, payload, fds) != 0, 'accepted'
        except Closed:
            self.broken()

    def settle(self, **limits):
        """What attacks cost xviod is given back: fds, maps, rss_kb at most."""
        daemon = self.lab.daemon
        for what, limit in limits.items():
            wait(lambda: getattr(daemon, what)() <= limit, what='%s <= %d' % (what, limit))

    def still_serves(self):
        """The next guest on this port is served as if nothing had been."""
        g = self.lab.guest(self.port)
        self.peer.rxq[0].partial.clear()
        v = self.virtio()
        assert v['broken'] is None and v['connected']
        for src, dst in (g, self.peer), (self.peer, g):
            dst.poll()
            sent = [ethernet(dst, src, os.urandom(random.randint(46, 1400))) for _ in range(10)]
            src.send(*sent)
            got = []                # perhaps after frames of the attacker that had to wait
            while len(got) < 10:
                got += [f.data for f in dst.receive() if f.data in sent]
            assert got == sent
        g.close()


def body(dst=b'\x02\0\0\0\0\1', size=200):
    return ethernet(dst, b'\x02\0\0\0\0\2', os.urandom(size))


def place(g, data=None):
    """A good header and frame in guest memory: its address and length."""
    data = bytes(12) + body() if data is None else data
    gpa = g.mem.alloc(max(len(data), 1))
    g.mem.write(gpa, data)
    return gpa, len(data)


GOOD = 'good'


def resolve(g, segments):
    good = place(g)[0]
    return [(good if addr is GOOD else addr, length, flags) for addr, length, flags in segments]


@contextlib.contextmanager
def mutating(action):
    """Run action() again and again in another thread."""
    stop = threading.Event()

    def run():
        while not stop.is_set():
            for _ in range(200):
                action()
            time.sleep(0)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def flip(mem, addr, size, good, *bad):
    values = [v for b in bad for v in (b, good)]
    state = iter(())

    def action():
        nonlocal state
        for value in state:
            mem.store(addr, size, value)
            return
        state = iter(values)
    return action


def log_region(g, extra=4096):
    end = max(r.gpa + r.size for r in g.mem.regions)
    size = (end // 4096 + 7) // 8
    return Region(0, size + extra), size


def inflight_fd(g, queues=None, size=None):
    reply = g.chan.call(Req.GET_INFLIGHT_FD, struct.pack(
        '<QQHH', 0, 0, len(g.queues) if queues is None else queues,
        g.size if size is None else size))
    mmap_size, offset, queues, size = struct.unpack('<QQHH', reply.payload[:20])
    return reply.fds[0], mmap_size, offset, queues, size


def with_inflight(arena, change=None, **options):
    """An attacker whose rings use an in-flight area; change(fd, bytes, offset) before it starts."""
    g = arena.lab.guest(arena.port, up=False, start=False, **options)
    g.connect()
    g.make_queues()
    g.set(Req.SET_FEATURES, u64(g.features))
    fd, mmap_size, offset, queues, size = inflight_fd(g)
    if change:
        change(fd, mmap_size, offset)
    g.share_memory()
    arena.mark()
    g.inflight = fd
    return g, struct.pack('<QQHH', mmap_size, offset, queues, size)


def inflight_payload(mmap_size, offset, queues=2, size=256):
    return struct.pack('<QQHH', mmap_size & TOP - 1, offset & TOP - 1, queues, size)


@contextlib.contextmanager
def odd_fds():
    """File descriptors that are not what was asked for."""
    r, w = os.pipe()
    ours, theirs = socket.socketpair()
    epoll = select.epoll()
    made = {
        'memfd': os.memfd_create('odd'), 'pipe': r, 'socket': theirs.fileno(),
        'null': os.open('/dev/null', os.O_RDWR), 'zero': os.open('/dev/zero', os.O_RDWR),
        'directory': os.open('/', os.O_RDONLY), 'path': os.open('/', os.O_PATH),
        'epoll': epoll.fileno(), 'eventfd': os.eventfd(0),
    }
    with tempfile.NamedTemporaryFile() as f:
        f.truncate(1 << 20)
        made['read-only'] = os.open(f.name, os.O_RDONLY)
        made['write-only'] = os.open(f.name, os.O_WRONLY)
    try:
        yield made
    finally:
        close_all({fd for name, fd in made.items() if name not in ('socket', 'epoll')} | {w})
        ours.close()
        theirs.close()
        epoll.close()


def raw_region(gpa, size, uva, offset):
    return struct.pack('<QQQQ', *(v & TOP - 1 for v in (gpa, size, uva, offset)))


def raw_table(*regions, count=None):
    return struct.pack('<II', len(regions) if count is None else count, 0) + b''.join(regions)


R = raw_region(0, MB, 1 << 40, 0)
