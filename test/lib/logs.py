# SPDX-License-Identifier: Apache-2.0
"""The two logs that a front end shares with a back end: dirty pages and in-flight descriptors."""

import os
import struct

from frontend import F, LOG_PAGE, Guest, Req, u64
from vring import Region


class Log:
    def __init__(self, mem, offset=LOG_PAGE):
        end = max(r.gpa + r.size for r in mem.regions)
        self.size = (end // LOG_PAGE + 7) // 8
        self.offset = offset
        self.region = Region(0, offset + self.size + LOG_PAGE)

    def payload(self):
        return struct.pack('<QQ', self.size, self.offset)

    def pages(self):
        bits = self.region.bytes[self.offset:self.offset + self.size]
        return {8 * i + n for i, byte in enumerate(bytes(bits)) if byte
                for n in range(8) if byte >> n & 1}

    def clear(self):
        self.region.bytes[:] = bytes(len(self.region.bytes))

    def guards_clean(self):
        return not any(self.region.bytes[:self.offset]) and \
            not any(self.region.bytes[self.offset + self.size:])


def pages_of(gpa, length):
    return set(range(gpa // LOG_PAGE, (gpa + length - 1) // LOG_PAGE + 1))


def start_log(guest, log):
    reply = guest.chan.call(Req.SET_LOG_BASE, log.payload(), [log.region.fd])
    assert reply.payload in (b'', u64(0))
    guest.set(Req.SET_FEATURES, u64(guest.features | F.LOG_ALL))


SPLIT_HEAD, SPLIT_DESC = struct.Struct('<QHHHH'), struct.Struct('<B5xHQ')

PACKED_HEAD, PACKED_DESC = struct.Struct('<QHHHHHHBB7x'), struct.Struct('<BxHHHQHHIQ')


class Inflight:
    """What GET_INFLIGHT_FD gave, or an area of our own making."""

    def __init__(self, size, offset, queues, queue_size, fd, packed):
        self.size, self.offset, self.queues, self.queue_size = size, offset, queues, queue_size
        self.fd, self.packed = fd, packed
        self.head, self.desc = (PACKED_HEAD, PACKED_DESC) if packed else (SPLIT_HEAD, SPLIT_DESC)
        # the head is padded to the alignment of the counters
        self.head_size = (self.head.size + 7) // 8 * 8

    @classmethod
    def get(cls, guest):
        queues, size = len(guest.queues) or 2 * guest.pairs, guest.size
        reply = guest.chan.call(Req.GET_INFLIGHT_FD, struct.pack('<QQHH', 0, 0, queues, size))
        assert len(reply.fds) == 1
        fields = struct.unpack('<QQHH', reply.payload[:20])
        return cls(*fields, reply.fds[0], bool(guest.features & F.RING_PACKED))

    def payload(self):
        return struct.pack('<QQHH', self.size, self.offset, self.queues, self.queue_size)

    def queue_bytes(self):
        return self.head_size + self.queue_size * self.desc.size

    def at(self, queue):
        return self.offset + queue * (self.size // self.queues)

    def read_head(self, queue):
        return self.head.unpack(os.pread(self.fd, self.head.size, self.at(queue)))

    def read_desc(self, queue, i):
        return self.desc.unpack(os.pread(self.fd, self.desc.size, self.at(queue) +
                                         self.head_size + i * self.desc.size))

    def write(self, queue, head, descs):
        os.pwrite(self.fd, self.head.pack(*head), self.at(queue))
        for i, d in descs.items():
            os.pwrite(self.fd, self.desc.pack(*d), self.at(queue) + self.head_size +
                      i * self.desc.size)

    def inflight(self, queue):
        return [i for i in range(self.queue_size) if self.read_desc(queue, i)[0]]

    def close(self):
        os.close(self.fd)


class InflightGuest(Guest):
    """A guest that hands over an in-flight area before it starts its rings, as QEMU does."""

    area = None

    def share_memory(self):
        super().share_memory()
        if self.area is None:
            self.area = Inflight.get(self)
        self.set(Req.SET_INFLIGHT_FD, self.area.payload(), [self.area.fd])
