# SPDX-License-Identifier: Apache-2.0
"""Guest memory and the driver's side of a virtqueue (virtio 1.2, 2.7 and 2.8), in plain Python.

  Memory                  what the guest has of RAM: regions of shared files, an allocator
  SplitRing, PackedRing   a driver that obeys the rules; put_*() write any field to any value
  Queue                   a ring with its two eventfds

Loads and stores of ring fields are single machine accesses (memoryview.cast), so that the device
never sees half a field.  Nothing here checks numbers: tests that lie use the same functions.
"""

import collections
import mmap
import os
import select
import struct
import tempfile
import threading
import time

DESC_NEXT = 1
DESC_WRITE = 2
DESC_INDIRECT = 4
DESC_AVAIL = 1 << 7             # packed ring only
DESC_USED = 1 << 15

EVENT_ENABLE = 0                # packed event suppression areas
EVENT_DISABLE = 1
EVENT_DESC = 2

DESC = struct.Struct('<QIHH')

_fence_lock = threading.Lock()


def fence():
    """A full memory barrier: taking a lock is an atomic read-modify-write."""
    with _fence_lock:
        pass


def wait(condition, timeout=20.0, what='condition'):
    """Poll until condition() is true and return what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError('no %s within %g s' % (what, timeout))
        time.sleep(0.0002)


# -- guest memory

class Region:
    """A piece of guest RAM: `size` bytes at `offset` of a shared file."""

    def __init__(self, gpa, size, kind='memfd', offset=0):
        self.gpa, self.size, self.offset = gpa, size, offset
        self.uva = gpa + 0x5500_0000_0000
        if kind == 'memfd':
            self.fd = os.memfd_create('guest-ram')
        elif kind == 'hugetlb':
            self.fd = os.memfd_create('guest-ram', os.MFD_HUGETLB)
        else:
            self.fd, name = tempfile.mkstemp(dir=kind, prefix='guest-ram.')
            os.unlink(name)
        os.ftruncate(self.fd, offset + size)
        self.map = mmap.mmap(self.fd, size, offset=offset)
        self.bytes = memoryview(self.map)
        self.word = {n: self.bytes.cast(c) for n, c in ((2, 'H'), (4, 'I'), (8, 'Q'))}

    def describe(self):
        return struct.pack('<QQQQ', self.gpa, self.size, self.uva, self.offset)

    def close(self):
        for view in self.word.values():
            view.release()
        self.bytes.release()
        self.map.close()
        os.close(self.fd)


class Memory:
    """Guest RAM.  As on a PC it has a hole: rings are in the low region, buffers in the high."""

    LOW = 0
    HIGH = 1 << 32

    def __init__(self, kind='memfd', low_bytes=4 << 20, high_bytes=16 << 20, regions=None):
        self.regions = regions or [Region(self.LOW, low_bytes, kind),
                                   Region(self.HIGH, high_bytes, kind, offset=2 << 20)]
        # address 0 is as good as any other, but keep it free for tests that want it
        self.for_rings, self.for_buffers = self.regions[0], self.regions[-1]
        self.next = {r: 4096 for r in self.regions}
        self.free_lists = collections.defaultdict(list)

    def close(self):
        for r in self.regions:
            r.close()

    def find(self, gpa):
        for r in self.regions:
            if r.gpa <= gpa < r.gpa + r.size:
                return r
        raise ValueError('guest address 0x%x is not RAM' % gpa)

    def alloc(self, size, align=64, region=None):
        """The guest address of free memory; by default in the region for buffers."""
        size = 1 << (size - 1).bit_length()
        r = region or self.for_buffers
        spare = self.free_lists[r, size, align]
        if spare:
            return spare.pop()
        start = (self.next[r] + align - 1) // align * align
        if start + size > r.size:
            raise MemoryError('guest RAM is used up')
        self.next[r] = start + size
        return r.gpa + start

    def free(self, gpa, size, align=64):
        self.free_lists[self.find(gpa), 1 << (size - 1).bit_length(), align].append(gpa)

    def uva(self, gpa):
        r = self.find(gpa)
        return r.uva + gpa - r.gpa

    def read(self, gpa, size):
        out = b''
        while size:
            r = self.find(gpa)
            part = bytes(r.bytes[gpa - r.gpa:gpa - r.gpa + size])
            out += part
            gpa, size = gpa + len(part), size - len(part)
        return out

    def write(self, gpa, data):
        while data:
            r = self.find(gpa)
            n = min(len(data), r.gpa + r.size - gpa)
            r.bytes[gpa - r.gpa:gpa - r.gpa + n] = data[:n]
            gpa, data = gpa + n, data[n:]

    def load(self, gpa, size):
        r = self.find(gpa)
        return r.word[size][(gpa - r.gpa) // size]

    def store(self, gpa, size, value):
        r = self.find(gpa)
        r.word[size][(gpa - r.gpa) // size] = value & (1 << 8 * size) - 1

    def table(self):
        return struct.pack('<II', len(self.regions), 0) + \
            b''.join(r.describe() for r in self.regions)

    def fds(self):
        return [r.fd for r in self.regions]


# -- rings

class Ring:
    """What both formats share.  A segment is (guest address, bytes, descriptor flags); NEXT is
    added where it belongs.  Numbers are written as they come: nothing is checked."""

    def __init__(self, mem, size, event_idx=False, in_order=False):
        self.mem, self.size = mem, size
        self.event_idx, self.in_order = event_idx, in_order
        self.pending = collections.OrderedDict()  # id -> (token, descriptors taken)

    def put_table(self, gpa, segments):
        """Write an indirect table."""
        for i, (addr, length, fl) in enumerate(segments):
            more = i + 1 < len(segments)
            if self.packed:
                raw = DESC.pack(addr & (1 << 64) - 1, length & 0xffffffff, 0, fl)
            else:
                raw = DESC.pack(addr & (1 << 64) - 1, length & 0xffffffff,
                                fl | (DESC_NEXT if more else 0), i + 1 if more else 0)
            self.mem.write(gpa + 16 * i, raw)

    def retire(self, ident):
        """The device used `ident`: with in-order, also all that was made available before it."""
        if ident not in self.pending:
            raise AssertionError('the device used id %d, which it does not have' % ident)
        done = []
        if self.in_order:
            while True:
                head, entry = self.pending.popitem(last=False)
                done.append((head, entry))
                if head == ident:
                    return done
        return [(ident, self.pending.pop(ident))]


class SplitRing(Ring):
    packed = False

    def __init__(self, mem, size, **options):
        super().__init__(mem, size, **options)
        self.desc = mem.alloc(16 * size, 64, mem.for_rings)
        self.avail = mem.alloc(6 + 2 * size, 64, mem.for_rings)
        self.used = mem.alloc(6 + 8 * size, 64, mem.for_rings)
        self.reset()

    def reset(self, base=0):
        self.mem.write(self.desc, bytes(16 * self.size))
        self.mem.write(self.avail, bytes(6 + 2 * self.size))
        self.mem.write(self.used, bytes(6 + 8 * self.size))
        self.free = collections.deque(range(self.size))
        self.pending.clear()
        self.avail_idx = self.published = self.last_used = base
        self.mem.store(self.avail + 2, 2, base)
        self.mem.store(self.used + 2, 2, base)
        self.call_at(base)

    def start_base(self):
        """Where a device that starts anew goes on (SET_VRING_BASE); pop() first."""
        return self.used_idx()

    # the raw fields

    def put_desc(self, i, addr, length, flags, nxt=0):
        self.mem.write(self.desc + 16 * i, DESC.pack(addr & (1 << 64) - 1,
                                                     length & 0xffffffff, flags, nxt))

    def put_avail(self, slot, head):
        self.mem.store(self.avail + 4 + 2 * (slot % self.size), 2, head)

    def set_avail_idx(self, value):
        fence()
        self.mem.store(self.avail + 2, 2, value)
        fence()

    def used_idx(self):
        return self.mem.load(self.used + 2, 2)

    # the driver

    def add(self, segments, token=None):
        if len(self.free) < len(segments):
            raise BufferError('ring is full')
        chain = [self.free.popleft() for _ in segments]
        for i, (addr, length, flags) in enumerate(segments):
            more = i + 1 < len(segments)
            self.put_desc(chain[i], addr, length, flags | (DESC_NEXT if more else 0),
                          chain[i + 1] if more else 0)
        self.put_avail(self.avail_idx, chain[0])
        self.avail_idx = self.avail_idx + 1 & 0xffff
        self.pending[chain[0]] = (token, chain)
        return chain[0]

    def publish(self):
        """Make what was added available; true if the device wants a kick for it."""
        old, self.published = self.published, self.avail_idx
        if old == self.avail_idx:
            return False
        self.set_avail_idx(self.avail_idx)
        if self.event_idx:
            event = self.mem.load(self.used + 4 + 8 * self.size, 2)
            kick = (self.avail_idx - event - 1 & 0xffff) < (self.avail_idx - old & 0xffff)
        else:
            kick = not self.mem.load(self.used, 2) & 1
        return kick

    def pop(self):
        """All that the device has used: a list of (token, length); length None where an in-order
        device reported only the last of a batch."""
        out = []
        while self.last_used != self.used_idx():
            slot = self.used + 4 + 8 * (self.last_used % self.size)
            ident, length = self.mem.load(slot, 4), self.mem.load(slot + 4, 4)
            for head, (token, chain) in self.retire(ident):
                self.free.extend(chain)
                out.append((token, length if head == ident else None))
                self.last_used = self.last_used + 1 & 0xffff
        return out

    def call_off(self):
        self.mem.store(self.avail, 2, 1)
        if self.event_idx:
            self.call_at(self.last_used - 1 & 0xffff)

    def call_on(self):
        self.mem.store(self.avail, 2, 0)
        self.call_at(self.last_used)

    def call_at(self, index):
        """Event index: ask for a call when the used entry of this number is written."""
        if self.event_idx:
            self.mem.store(self.avail + 4 + 2 * self.size, 2, index)
        fence()

    def call_after(self, n):
        """Ask for a call at the n-th used buffer from now on (n >= 1)."""
        self.call_at(self.last_used + n - 1 & 0xffff)


class PackedRing(Ring):
    packed = True

    def __init__(self, mem, size, **options):
        super().__init__(mem, size, **options)
        self.desc = mem.alloc(16 * size, 64, mem.for_rings)
        self.avail = mem.alloc(4, 64, mem.for_rings)  # driver event suppression
        self.used = mem.alloc(4, 64, mem.for_rings)  # device event suppression
        self.reset()

    def reset(self, base=0x8000):
        """`base` as in SET_VRING_BASE: bits 0-14 position, bit 15 wrap counter."""
        wrap = base >> 15 & 1
        self.mem.write(self.desc, bytes(16 * self.size))
        if not wrap:  # as after one round: every descriptor used
            for i in range(self.size):
                self.put_desc(i, 0, 0, i, DESC_AVAIL | DESC_USED)
        self.mem.store(self.avail, 4, 0)
        self.mem.store(self.used, 4, 0)
        self.next_avail = self.next_used = base & 0x7fff
        self.avail_wrap = self.used_wrap = wrap
        self.free = collections.deque(range(self.size))
        self.room = self.size
        self.pending.clear()
        self.held = None
        self.last_start = (self.next_avail, self.avail_wrap)

    def start_base(self):
        base = self.next_used | self.used_wrap << 15
        return base | base << 16

    def put_desc(self, i, addr, length, ident, flags):
        """Address, length and id first, the flags last and alone."""
        self.mem.store(self.desc + 16 * i, 8, addr)
        self.mem.store(self.desc + 16 * i + 8, 4, length)
        self.mem.store(self.desc + 16 * i + 12, 2, ident)
        self.mem.store(self.desc + 16 * i + 14, 2, flags)

    def avail_flags(self):
        return DESC_AVAIL if self.avail_wrap else DESC_USED

    def add(self, segments, token=None, ident=None):
        if self.room < len(segments) or not self.free:
            raise BufferError('ring is full')
        ident = self.free.popleft() if ident is None else ident
        for i, (addr, length, flags) in enumerate(segments):
            more = i + 1 < len(segments)
            flags |= self.avail_flags() | (DESC_NEXT if more else 0)
            slot = self.next_avail
            if i == 0 and self.held is None:
                # the device stops at the first head: it goes live last
                self.held = (slot, flags)
                flags ^= DESC_AVAIL | DESC_USED
                self.last_start = (slot, self.avail_wrap)
            self.put_desc(slot, addr, length, ident, flags)
            self.next_avail += 1
            if self.next_avail == self.size:
                self.next_avail, self.avail_wrap = 0, self.avail_wrap ^ 1
        self.room -= len(segments)
        self.pending[ident] = (token, len(segments))
        return ident

    def publish(self):
        if self.held is None:
            return False
        slot, flags = self.held
        self.held = None
        fence()
        self.mem.store(self.desc + 16 * slot + 14, 2, flags)
        fence()
        word = self.mem.load(self.used, 4)
        off_wrap, mode = word & 0xffff, word >> 16
        kick = mode == EVENT_ENABLE
        if mode == EVENT_DESC and self.event_idx:
            # all counted from the first descriptor of this batch
            start, wrap = self.last_start
            event = (off_wrap & 0x7fff) + (0 if off_wrap >> 15 == wrap else self.size)
            new = self.next_avail + (0 if self.avail_wrap == wrap else self.size)
            if event >= start + self.size:  # of the round before: passed
                event -= 2 * self.size
            kick = start <= event < new
        return kick

    def pop(self):
        out = []
        while True:
            slot = self.desc + 16 * self.next_used
            flags = self.mem.load(slot + 14, 2)
            avail, used = bool(flags & DESC_AVAIL), bool(flags & DESC_USED)
            if avail != used or used != bool(self.used_wrap) or not self.pending:
                return out
            ident, length = self.mem.load(slot + 12, 2), self.mem.load(slot + 8, 4)
            for last, (token, count) in self.retire(ident):
                self.free.append(last)
                self.room += count
                self.next_used += count
                if self.next_used >= self.size:
                    self.next_used -= self.size
                    self.used_wrap ^= 1
                out.append((token, length if last == ident else None))

    def call_off(self):
        self.mem.store(self.avail, 4, EVENT_DISABLE << 16)
        fence()

    def call_on(self):
        self.mem.store(self.avail, 4, EVENT_ENABLE << 16)
        fence()

    def call_after(self, n):
        """Ask for a call when the n-th descriptor from the next used one on is written."""
        at = self.next_used + n - 1
        wrap = self.used_wrap
        if at >= self.size:
            at, wrap = at - self.size, wrap ^ 1
        self.mem.store(self.avail, 4, EVENT_DESC << 16 | at | wrap << 15)
        fence()


class Queue:
    """A ring, its number and its two eventfds."""

    def __init__(self, index, ring):
        self.index, self.ring = index, ring
        self.kick_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.call_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.kicks = 0
        self.partial = []  # used receive buffers of a frame whose rest has not been read

    def kick(self):
        self.kicks += 1
        os.eventfd_write(self.kick_fd, 1)

    def publish(self, kick=None):
        """kick: None = if the device wants it, else True or False."""
        wanted = self.ring.publish()
        if wanted if kick is None else kick:
            self.kick()

    def calls(self):
        """Calls since last asked."""
        try:
            return os.eventfd_read(self.call_fd)
        except BlockingIOError:
            return 0

    def wait_call(self, timeout=5.0):
        if not select.select([self.call_fd], [], [], timeout)[0]:
            raise TimeoutError('no call within %g s' % timeout)
        return self.calls()

    def close(self):
        os.close(self.kick_fd)
        os.close(self.call_fd)
