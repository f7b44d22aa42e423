# SPDX-License-Identifier: Apache-2.0
"""A vhost-user front end and a virtio-net driver, by hand, in plain Python.

It stands where QEMU and the guest's driver stand: the socket, the shared memory, the rings, the
eventfds.  Used as it is, it is a correct guest; every part of it can also be told to lie, which is
what the hostile tests do.

  Channel   the socket: messages with file descriptors, no opinion on their content
  Guest     socket, memory and rings (vring.py) together: negotiate, start, send(frame), receive()

Guest physical, user and file addresses differ on purpose, so that mixing them up shows.
A Guest is used by one thread.
"""

import collections
import enum
import errno
import math
import os
import random
import socket
import struct
import time

from vring import DESC_INDIRECT, DESC_WRITE, Memory, PackedRing, Queue, SplitRing, wait

# -- numbers of the vhost-user specification

VERSION = 0x1
REPLY = 0x4
NEED_REPLY = 0x8
NO_FD = 0x100                   # in the u64 of SET_VRING_KICK/CALL/ERR
LOG_PAGE = 4096
VRING_F_LOG = 1


class Req(enum.IntEnum):
    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    POSTCOPY_ADVISE = 28
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    RESET_DEVICE = 34
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40


class P(enum.IntFlag):
    """Protocol features."""
    MQ = 1 << 0
    LOG_SHMFD = 1 << 1
    RARP = 1 << 2
    REPLY_ACK = 1 << 3
    NET_MTU = 1 << 4
    BACKEND_REQ = 1 << 5
    INFLIGHT_SHMFD = 1 << 12
    CONFIGURE_MEM_SLOTS = 1 << 15
    STATUS = 1 << 16


class F(enum.IntFlag):
    """Device features."""
    CSUM = 1 << 0
    GUEST_CSUM = 1 << 1
    MTU = 1 << 3
    GUEST_TSO4 = 1 << 7
    GUEST_TSO6 = 1 << 8
    GUEST_ECN = 1 << 9
    GUEST_UFO = 1 << 10
    HOST_TSO4 = 1 << 11
    HOST_TSO6 = 1 << 12
    HOST_ECN = 1 << 13
    HOST_UFO = 1 << 14
    MRG_RXBUF = 1 << 15
    STATUS = 1 << 16
    CTRL_VQ = 1 << 17
    GUEST_ANNOUNCE = 1 << 21
    MQ = 1 << 22
    LOG_ALL = 1 << 26
    ANY_LAYOUT = 1 << 27
    INDIRECT_DESC = 1 << 28
    EVENT_IDX = 1 << 29
    PROTOCOL_FEATURES = 1 << 30
    VERSION_1 = 1 << 32
    ACCESS_PLATFORM = 1 << 33
    RING_PACKED = 1 << 34
    IN_ORDER = 1 << 35


HOST_OFFLOADS = F.CSUM | F.HOST_TSO4 | F.HOST_TSO6 | F.HOST_ECN | F.HOST_UFO
GUEST_OFFLOADS = F.GUEST_CSUM | F.GUEST_TSO4 | F.GUEST_TSO6 | F.GUEST_ECN | F.GUEST_UFO
BASIC = F.VERSION_1 | F.PROTOCOL_FEATURES | F.MQ
ALL_OFFLOADS = BASIC | F.MRG_RXBUF | HOST_OFFLOADS | GUEST_OFFLOADS
ALL_PROTOCOL = P.MQ | P.LOG_SHMFD | P.RARP | P.REPLY_ACK | P.NET_MTU | P.BACKEND_REQ | \
    P.INFLIGHT_SHMFD | P.CONFIGURE_MEM_SLOTS | P.STATUS

# struct virtio_net_hdr

HDR_NEEDS_CSUM = 1
HDR_DATA_VALID = 2
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_UDP = 3
GSO_TCPV6 = 4
GSO_ECN = 0x80

NET_HDR = struct.Struct('<BBHHHHH')


class NetHdr(collections.namedtuple('NetHdr', 'flags gso_type hdr_len gso_size csum_start '
                                    'csum_offset num_buffers', defaults=(0,) * 7)):
    """struct virtio_net_hdr_v1."""

    def pack(self):
        return NET_HDR.pack(*self)


Frame = collections.namedtuple('Frame', 'hdr data')
Msg = collections.namedtuple('Msg', 'req flags payload fds')


def u64(value):
    return struct.pack('<Q', value & (1 << 64) - 1)


def vring_state(index, num):
    return struct.pack('<II', index & 0xffffffff, num & 0xffffffff)


def close_all(fds):
    for fd in fds:
        os.close(fd)


# -- the socket

class Closed(Exception):
    """The back end closed the connection."""


class Channel:
    """One end of a vhost-user connection."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b''
        self.fds = []

    @classmethod
    def connect(cls, path, timeout=5.0):
        """For a back end in server mode; waits until somebody listens."""
        deadline = time.monotonic() + timeout
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(path)
                return cls(sock)
            except (FileNotFoundError, ConnectionRefusedError):
                sock.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)

    @staticmethod
    def listen(path):
        """For a back end in client mode; accept() takes what this returns."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(path)
        sock.listen(4)
        return sock

    @classmethod
    def accept(cls, listener, timeout=5.0):
        listener.settimeout(timeout)
        return cls(listener.accept()[0])

    def send(self, req, payload=b'', fds=(), flags=VERSION, size=None):
        """One message; `size` is what the header claims."""
        header = struct.pack('<III', req, flags, len(payload) if size is None else size)
        self.send_raw(header + payload, fds)

    def send_raw(self, data, fds=()):
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('%di' % len(fds), *fds))] \
            if fds else []
        self.sock.settimeout(5.0)
        try:
            self.sock.sendmsg([data], anc)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def _read(self, n, deadline):
        while len(self.buffer) < n:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data, anc, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(4 * 32))
            except ConnectionResetError:
                raise Closed from None
            except socket.timeout:
                raise TimeoutError('no reply from the back end') from None
            for level, kind, raw in anc:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self.fds += struct.unpack('%di' % (len(raw) // 4), raw)
            if not data:
                raise Closed
            self.buffer += data
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def recv(self, timeout=5.0):
        deadline = time.monotonic() + timeout
        req, flags, size = struct.unpack('<III', self._read(12, deadline))
        payload = self._read(size, deadline)
        fds, self.fds = self.fds, []
        return Msg(req, flags, payload, fds)

    def call(self, req, payload=b'', fds=(), timeout=5.0):
        """Send a request that has a reply of its own, and return the reply."""
        self.send(req, payload, fds)
        reply = self.recv(timeout)
        if reply.req != req or reply.flags & 7 != VERSION | REPLY:
            raise AssertionError('reply %d/0x%x to request %d' % (reply.req, reply.flags, req))
        return reply

    def ask_u64(self, req, payload=b''):
        reply = self.call(req, payload)
        close_all(reply.fds)
        return struct.unpack('<Q', reply.payload)[0]

    def ack(self, req, payload=b'', fds=(), timeout=5.0):
        """Send with NEED_REPLY; the result: 0 for done, else refused."""
        self.send(req, payload, fds, VERSION | NEED_REPLY)
        reply = self.recv(timeout)
        if reply.req != req or reply.flags & 7 != VERSION | REPLY:
            raise AssertionError('reply %d/0x%x to request %d' % (reply.req, reply.flags, req))
        return struct.unpack('<Q', reply.payload)[0]

    def closed(self, timeout=5.0):
        """Wait for the back end to close; false if it does not."""
        try:
            while True:
                close_all(self.recv(timeout).fds)
        except Closed:
            return True
        except TimeoutError:
            return False

    def close(self):
        close_all(self.fds)
        self.fds = []
        self.sock.close()


# -- all together

class Guest:
    """A guest with one NIC.

    path, or listener: where the back end is, or comes to.
    features: what the driver would take; what it gets is that and what is offered (`force` adds
    bits that were not offered).
    rx_layout: sizes of the descriptors of one receive buffer; fill: offer such buffers at start.
    """

    def __init__(self, path=None, listener=None, features=BASIC | F.MRG_RXBUF, force=0,
                 protocol=ALL_PROTOCOL & ~P.CONFIGURE_MEM_SLOTS, packed=False, pairs=1, size=256,
                 rx_layout=(2048,), mem=None, log_rings=False, start=True, mac=None,
                 ring_base=None, fill=True):
        self.path, self.listener = path, listener
        self.wanted, self.force = features | (F.RING_PACKED if packed else 0), force
        self.protocol_wanted = protocol
        self.pairs, self.size, self.rx_layout = pairs, size, rx_layout
        self.own_mem = mem is None
        self.mem = mem or Memory()
        self.log_rings, self.ring_base, self.fill = log_rings, ring_base, fill
        self.mac = mac or b'\x02' + os.urandom(5)
        self.queues = []
        self.chan = None
        self.trace = None       # a list: collects (address, bytes) of all that is received
        if start:
            self.connect()
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # life

    def connect(self, timeout=5.0):
        """Connect and negotiate protocol features, as QEMU does before the guest boots."""
        if self.listener:
            self.chan = Channel.accept(self.listener, timeout)
        else:
            self.chan = Channel.connect(self.path, timeout)
        c = self.chan
        self.offered = F(c.ask_u64(Req.GET_FEATURES))
        self.protocol = P(0)
        self.max_pairs = 1
        if self.offered & F.PROTOCOL_FEATURES:
            self.protocol_offered = P(c.ask_u64(Req.GET_PROTOCOL_FEATURES))
            self.protocol = self.protocol_offered & self.protocol_wanted
            c.send(Req.SET_PROTOCOL_FEATURES, u64(self.protocol))
            if self.protocol & P.MQ:
                self.max_pairs = c.ask_u64(Req.GET_QUEUE_NUM)
        self.set(Req.SET_OWNER)
        self.features = self.offered & self.wanted | self.force

    def set(self, req, payload=b'', fds=()):
        """A message without a reply of its own; confirmed if the back end can confirm."""
        if self.protocol & P.REPLY_ACK:
            result = self.chan.ack(req, payload, fds)
            if result:
                raise OSError(errno.EPROTO, '%s refused: %d' % (Req(req).name, result))
        else:
            self.chan.send(req, payload, fds)

    def refused(self, req, payload=b'', fds=()):
        """True if the back end says no: by a failure, or by closing the connection."""
        try:
            return self.chan.ack(req, payload, fds) != 0
        except Closed:
            return True

    def start(self):
        """Features, memory, rings: DRIVER_OK."""
        if not self.queues:
            self.make_queues()
        self.set(Req.SET_FEATURES, u64(self.features))
        self.share_memory()
        for q in self.queues:
            self.start_queue(q)
        for q in self.queues:
            self.enable(q)
            q.kick()
        if self.protocol & P.STATUS:
            self.set(Req.SET_STATUS, u64(0x0f))
        self.sync()

    def make_queues(self):
        kind = PackedRing if self.features & F.RING_PACKED else SplitRing
        for i in range(2 * self.pairs):
            ring = kind(self.mem, self.size, event_idx=bool(self.features & F.EVENT_IDX),
                        in_order=bool(self.features & F.IN_ORDER))
            if self.ring_base is not None:
                ring.reset(self.ring_base)
            self.queues.append(Queue(i, ring))
        modern = self.features & (F.VERSION_1 | F.MRG_RXBUF)
        self.hdr_len = 12 if modern else 10
        if self.fill:
            for q in self.rxq:
                self.refill(q)

    @property
    def rxq(self):
        return self.queues[0::2]

    @property
    def txq(self):
        return self.queues[1::2]

    def share_memory(self):
        if self.protocol & P.CONFIGURE_MEM_SLOTS:
            for r in self.mem.regions:
                self.set(Req.ADD_MEM_REG, u64(0) + r.describe(), [r.fd])
        else:
            self.set(Req.SET_MEM_TABLE, self.mem.table(), self.mem.fds())

    def vring_addr(self, q, log=0, **change):
        """The payload of SET_VRING_ADDR; `change` overrides fields."""
        r = q.ring
        f = {'index': q.index, 'flags': VRING_F_LOG if self.log_rings else 0,
             'desc': self.mem.uva(r.desc), 'used': self.mem.uva(r.used),
             'avail': self.mem.uva(r.avail), 'log': log or r.used}
        f.update(change)
        return struct.pack('<IIQQQQ', *(f[k] for k in ('index', 'flags', 'desc', 'used',
                                                       'avail', 'log')))

    def start_queue(self, q, base=None):
        self.set(Req.SET_VRING_NUM, vring_state(q.index, q.ring.size))
        self.set(Req.SET_VRING_BASE,
                 vring_state(q.index, q.ring.start_base() if base is None else base))
        self.set(Req.SET_VRING_ADDR, self.vring_addr(q))
        self.set(Req.SET_VRING_CALL, u64(q.index), [q.call_fd])
        self.set(Req.SET_VRING_KICK, u64(q.index), [q.kick_fd])

    def enable(self, q, on=True):
        if self.features & F.PROTOCOL_FEATURES:
            self.set(Req.SET_VRING_ENABLE, vring_state(q.index, int(on)))

    def stop_queue(self, q):
        """Stop it and return where the device stood."""
        reply = self.chan.call(Req.GET_VRING_BASE, vring_state(q.index, 0))
        index, num = struct.unpack('<II', reply.payload)
        if index != q.index:
            raise AssertionError('GET_VRING_BASE %d answered for ring %d' % (q.index, index))
        return num

    def sync(self):
        """Wait until the back end has handled all messages sent so far."""
        return self.chan.ask_u64(Req.GET_FEATURES)

    def disconnect(self):
        if self.chan:
            self.chan.close()
            self.chan = None

    def close(self):
        self.disconnect()
        for q in self.queues:
            q.close()
        self.queues = []
        if self.own_mem and self.mem:
            self.mem.close()
            self.mem = None

    # transmit

    def buffer(self, data, cuts=(), in_table=False, ring=None, align=64):
        """Put data into fresh buffers, cut at the given offsets; returns segments to add."""
        edges = [0, *(c for c in cuts if 0 < c < len(data)), len(data)]
        segments = []
        for a, b in zip(edges, edges[1:]):
            gpa = self.mem.alloc(max(b - a, 1), align)
            self.mem.write(gpa, data[a:b])
            segments.append((gpa, b - a, 0))
        if in_table:
            table = self.mem.alloc(16 * len(segments))
            ring.put_table(table, segments)
            return [(table, 16 * len(segments), DESC_INDIRECT)], segments
        return segments, segments

    def queue_frame(self, data, hdr=NetHdr(), q=0, cuts=(), indirect=False):
        """Add a frame to a transmit ring without publishing it."""
        ring = self.txq[q].ring
        raw = hdr.pack()[:self.hdr_len] + data
        # one descriptor holds at most 32 kB, like a guest's largest page fragment
        cuts = sorted(set(cuts) | set(range(32768, len(raw), 32768)))
        segments, parts = self.buffer(raw, cuts, indirect, ring)
        ring.add(segments, token=segments + parts if indirect else segments)

    def send(self, *frames, hdr=NetHdr(), q=0, cuts=(), indirect=False, kick=None, wait_used=True,
             timeout=5.0):
        """Send frames; waits for room and, unless told not to, until the device has read them."""
        for data in frames:
            deadline = time.monotonic() + timeout
            while True:
                try:
                    self.queue_frame(data, hdr, q, cuts, indirect)
                    break
                except BufferError:
                    self.txq[q].publish(kick)
                    if not self.reap(q):
                        time.sleep(0.0001)
                    if time.monotonic() > deadline:
                        raise TimeoutError('the device does not read its ring')
        self.txq[q].publish(kick)
        if wait_used:
            self.drain(q, timeout)

    def reap(self, q=0):
        """Take back used transmit buffers; how many."""
        done = self.txq[q].ring.pop()
        for token, _ in done:
            for gpa, length, _ in token or ():
                self.mem.free(gpa, max(length, 1))
        return len(done)

    def drain(self, q=0, timeout=5.0):
        """Wait until the device has read all that was sent."""
        def empty():
            self.reap(q)
            return not self.txq[q].ring.pending
        wait(empty, timeout, 'used transmit buffers')

    # receive

    def refill(self, q, publish=True):
        """Give all free descriptors of a receive ring to the device."""
        ring, n = q.ring, 0
        while True:
            segments = [(self.mem.alloc(size), size, DESC_WRITE) for size in self.rx_layout]
            try:
                ring.add(segments, token=segments)
                n += 1
            except BufferError:
                for gpa, size, _ in segments:
                    self.mem.free(gpa, size)
                break
        if publish and n:
            q.publish()
        return n

    def _gather(self, segments, length):
        data = b''
        for gpa, size, _ in segments:
            n = min(size, length - len(data))
            data += self.mem.read(gpa, n)
            if n and self.trace is not None:
                self.trace.append((gpa, n))
            self.mem.free(gpa, size)
        if len(data) != length:
            raise AssertionError('the device used %d bytes of a smaller buffer' % length)
        return data

    def poll(self, q=0, refill=True):
        """Frames received on one ring since last asked."""
        queue, frames = self.rxq[q], []
        queue.partial += [self._gather(token, length) for token, length in queue.ring.pop()]
        while queue.partial:
            first = queue.partial[0]
            if len(first) < self.hdr_len:
                raise AssertionError('received a buffer without a header')
            hdr = NetHdr(*NET_HDR.unpack(first[:self.hdr_len].ljust(12, b'\0')))
            count = hdr.num_buffers if self.features & F.MRG_RXBUF else 1
            if count < 1:
                raise AssertionError('num_buffers is 0')
            if len(queue.partial) < count:
                raise AssertionError('num_buffers is %d but %d were used' %
                                     (count, len(queue.partial)))
            frames.append(Frame(hdr, b''.join([first[self.hdr_len:], *queue.partial[1:count]])))
            del queue.partial[:count]
        if refill and frames:
            self.refill(queue)
        return frames

    def receive(self, count=1, timeout=5.0, queues=None):
        """Wait for `count` frames on all (or the given) receive rings."""
        frames = []
        deadline = time.monotonic() + timeout
        while len(frames) < count:
            for q in queues or range(self.pairs):
                frames += self.poll(q)
            if len(frames) < count:
                if time.monotonic() > deadline:
                    raise TimeoutError('%d of %d frames within %g s' %
                                       (len(frames), count, timeout))
                time.sleep(0.0001)
        return frames

    def silence(self, seconds=0.05):
        """Nothing may arrive for this long."""
        time.sleep(seconds)
        got = [f for q in range(self.pairs) for f in self.poll(q)]
        if got:
            raise AssertionError('%d unexpected frames, first %s' %
                                 (len(got), got[0].data[:64].hex()))


def ethernet(dst, src, payload=b'', ethertype=0x88b5, size=60):
    """A frame of a local experimental ethertype (nobody interprets it)."""
    raw = (dst.mac if isinstance(dst, Guest) else dst) + \
        (src.mac if isinstance(src, Guest) else src) + struct.pack('>H', ethertype) + payload
    return raw.ljust(size, b'\0')


BROADCAST = b'\xff' * 6


def frames(dst, src, count=20, low=46, high=1500):
    return [ethernet(dst, src, os.urandom(random.randint(low, high))) for _ in range(count)]


def exchange(a, b, count=20, low=46, high=1500, **options):
    """Both ways, every byte compared, in order; no more at once than the receiver has room for."""
    for src, dst in (a, b), (b, a):
        room = dst.size // len(dst.rx_layout) // math.ceil((high + 26) / sum(dst.rx_layout))
        for done in range(0, count, room):
            sent = frames(dst, src, min(room, count - done), low, high)
            src.send(*sent, **options)
            got = dst.receive(len(sent))
            assert [f.data for f in got] == sent
            for f in got:
                assert f.hdr.flags == 0 and f.hdr.gso_type == GSO_NONE
