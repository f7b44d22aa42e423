# SPDX-License-Identifier: Apache-2.0
"""Dialogues for connection tracking, good and bad: what test_conntrack_kernel.py sends through XVIO and the kernel.

A script is a list of steps; a step is (direction, IP packet), or None where nothing is sent. Direction 0 goes from the
side of the client (which most dialogues begin at) to that of the server. A packet may come as Fragments. script(seed) is repeatable.

Addresses and so the tuples of scripts are all different; so many of them can run at the same time.
"""

import ipaddress
import random
import struct

PAUSE = 9       # before the step of this number everybody is silent for PAUSE_S
PAUSE_S = 2.6
STEPS = 22

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << i for i in range(8))
MASK = 0xffffffff


def csum(data):
    if len(data) % 2:
        data += b'\0'
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def _crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82f63b78 if i & 1 else 0)
        table.append(i)
    return table


CRC = _crc_table()


def crc32c(data):
    crc = MASK
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 0xff]
    return crc ^ MASK


class Path:
    """Two hosts, and routers between them that may send errors; IPv4 or IPv6."""

    def __init__(self, number, ipv6):
        self.ipv6 = ipv6
        if ipv6:
            self.host = [ipaddress.ip_address('fd00:%d::%x' % (side + 1, number + 16)).packed for side in (0, 1)]
            self.router = [ipaddress.ip_address('fd00:%d::2' % (side + 1)).packed for side in (0, 1)]
        else:
            self.host = [ipaddress.ip_address('10.%d.%d.%d' % (
                side + 1, (number + 16) >> 8, (number + 16) & 255)).packed for side in (0, 1)]
            self.router = [ipaddress.ip_address('10.%d.0.2' % (side + 1)).packed for side in (0, 1)]

    def pseudo(self, src, dst, proto, length):
        if self.ipv6:
            return src + dst + struct.pack('!IHBB', length, 0, 0, proto)
        return src + dst + struct.pack('!BBH', 0, proto, length)

    def ip(self, side, proto, payload, src=None, dst=None):
        """side: who sends."""
        src, dst = src or self.host[side], dst or self.host[not side]
        if self.ipv6:
            return struct.pack('!IHBB', 6 << 28, len(payload), proto, 64) + src + dst + payload
        head = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(payload), 0, 0x4000, 64, proto, 0) + src + dst
        return head[:10] + struct.pack('!H', csum(head)) + head[12:] + payload

    def summed(self, side, proto, head, at, body, bad=False, **keys):
        """An IP packet whose transport checksum lies at `at` in head."""
        src, dst = keys.get('src') or self.host[side], keys.get('dst') or self.host[not side]
        pseudo = b'' if proto == 1 else self.pseudo(src, dst, proto, len(head) + len(body))
        value = csum(pseudo + head + body) or 0xffff
        if bad:
            value = value ^ 0x0100 or 1
        head = head[:at] + struct.pack('!H', value) + head[at + 2:]
        return self.ip(side, proto, head + body, **keys)

    def icmp(self, side, kind, code, rest, body=b'', bad=False, **keys):
        head = struct.pack('!BBH', kind, code, 0) + rest
        return self.summed(side, 58 if self.ipv6 else 1, head, 2, body, bad, **keys)


# ---- TCP ----

def nop_pad(options):
    return options + b'\1' * (-len(options) % 4)


class Tcp:
    """Both ends of a connection, as far as the next plausible segment is concerned."""

    def __init__(self, rng, path):
        self.rng, self.path = rng, path
        self.port = [rng.randrange(1024, 65536), rng.choice((22, 80, 443, 5001))]
        near_wrap = rng.random() < 0.3
        self.next = [self.isn(near_wrap), self.isn(near_wrap)]
        self.scale = [rng.choice((None, 0, 2, 7, 14)) for _ in (0, 1)]
        self.sack = [rng.random() < 0.6 for _ in (0, 1)]
        self.win = [rng.choice((0, 1, 100, 1000, 8192, 29200, 65535)) if rng.random() < 0.3 else
                    rng.choice((1000, 8192, 65535)) for _ in (0, 1)]
        self.acked = [0, 0]
        self.steps = []

    def isn(self, near_wrap):
        return (-self.rng.randrange(1, 4000)) & MASK if near_wrap else self.rng.randrange(1 << 32)

    def options(self, side, syn):
        out = b''
        if syn:
            if self.rng.random() < 0.8:
                out += struct.pack('!BBH', 2, 4, 1460)
            if self.scale[side] is not None:
                out += bytes((1, 3, 3, self.scale[side]))
            if self.sack[side]:
                out += b'\x04\x02'
            if self.rng.random() < 0.05:
                out += self.rng.choice((b'\x03\x03', b'\x03\x04\x02\x00', b'\x04\x03\x00', b'\x03\x00', b'\xfe\xff',
                                        b'\0', b'\x03\x03\x20', b'\x05\x0a' + bytes(8)))
        elif self.rng.random() < 0.3:
            out += b'\1\1\x08\x0a' + struct.pack('!II', self.rng.randrange(1 << 32), 0)
        return nop_pad(out)[:40]

    def raw(self, side, flags, seq, ack, win, options=b'', body=b'', bad=False, doff=None, urg=0):
        head = struct.pack('!HHIIBBHHH', self.port[side], self.port[not side], seq & MASK, ack & MASK,
                           (5 + len(options) // 4 if doff is None else doff) << 4, flags, win, 0, urg) + options
        self.steps.append((side, self.path.summed(side, 6, head, 16, body, bad)))

    def send(self, side, flags=ACK, size=0, advance=True, seq=None, ack=None, win=None, options=None, raw_ack=0,
             **keys):
        seq = self.next[side] if seq is None else seq
        ack = self.next[not side] if ack is None else ack
        if not flags & ACK:
            # The kernel believes the field also without the flag: see docs/firewall.md.
            ack = 0x7e57ab1e if flags & RST else raw_ack
        syn = bool(flags & SYN)
        self.raw(side, flags, seq, ack, self.win[side] if win is None else win,
                 self.options(side, syn) if options is None else options, bytes(size), **keys)
        if advance:
            self.next[side] = (seq + size + syn + bool(flags & FIN)) & MASK

    def open(self, side=0):
        self.send(side, SYN)
        self.send(not side, SYN | ACK)
        self.send(side, ACK)

    def talk(self, n, side=None):
        for _ in range(n):
            who = self.rng.randrange(2) if side is None else side
            self.send(who, ACK | self.rng.choice((0, PSH)), self.rng.choice((0, 0, 1, 100, 500)))

    def close(self, side=0):
        self.send(side, FIN | ACK)
        if self.rng.random() < 0.6:
            self.send(not side, ACK)
        if self.rng.random() < 0.8:
            self.send(not side, FIN | ACK)
            if self.rng.random() < 0.9:
                self.send(side, ACK)

    def near(self, side):
        """A sequence number that might be wrong."""
        rng, base = self.rng, self.next[side]
        return (base + rng.choice((0, 0, 1, -1, 10, -10, 500, -500, 1000, 8192, 65535, 65536, 66000, -66000, 70000,
                                   -70000, 1 << 20, -(1 << 20), 1 << 30, 1 << 31, -base,
                                   rng.randrange(1 << 32)))) & MASK

    def odd(self):
        """Something unexpected."""
        rng, side = self.rng, self.rng.randrange(2)
        flags = rng.choice((ACK, ACK, ACK, ACK | PSH, SYN, SYN | ACK, FIN | ACK, RST, RST | ACK, ACK | URG, FIN, 0,
                            SYN | FIN, SYN | RST, FIN | PSH | URG, SYN | PSH, SYN | URG, RST | PSH, ACK | ECE | CWR,
                            SYN | ECE | CWR,
                            RST | FIN | ACK, SYN | ACK | URG, FIN | ACK | URG, rng.randrange(256)))
        options = None
        if rng.random() < 0.15:
            edge = self.near(not side)
            options = b'\1\1\x05\x0a' + struct.pack('!II', (edge - 100) & MASK, edge)
            if rng.random() < 0.3:
                options = b'\1\1\x05' + bytes((rng.choice((2, 9, 10, 18, 11, 40)),)) + rng.randbytes(20)
                options = options[:rng.choice((4, 12, 24))]
        self.send(side, flags, rng.choice((0, 0, 1, 100, 1400)), advance=rng.random() < 0.2, seq=self.near(side),
                  ack=self.near(not side), raw_ack=rng.choice((0, self.next[not side])),
                  win=rng.choice((None, None, 0, 1, 65535)), options=options,
                  bad=flags & (SYN | FIN | RST) and rng.random() < 0.05,
                  doff=rng.choice((0, 4, 6, 15)) if rng.random() < 0.03 else None)


def tcp_plain(t):
    t.open()
    t.talk(t.rng.randrange(1, 10))
    t.close(t.rng.randrange(2))
    t.talk(2)


def tcp_retransmit(t):
    rng = t.rng
    for _ in range(rng.randrange(1, 4)):
        t.send(0, SYN, advance=False)
    t.next[0] += 1
    for _ in range(rng.randrange(1, 3)):
        t.send(1, SYN | ACK, advance=False)
    t.next[1] += 1
    t.send(0, ACK)
    t.talk(3)
    side = rng.randrange(2)
    for _ in range(rng.randrange(2, 7)):
        t.send(side, ACK, 100, advance=False, options=b'')
    t.next[side] += 100
    t.talk(3)


def tcp_new_syn(t):
    """The client gives up and begins again with other numbers; an old SYN-ACK or a challenge may answer."""
    rng, old = t.rng, None
    t.send(0, SYN)
    old = t.next[0]
    if rng.random() < 0.4:
        t.send(1, SYN | ACK, advance=rng.random() < 0.5)
    t.next[0] = rng.choice((t.next[0] + 1000, t.next[0] - 1000, rng.randrange(1 << 32))) & MASK
    t.send(0, SYN)
    if rng.random() < 0.5:
        t.send(1, ACK, ack=old)
        t.send(0, RST, seq=old, raw_ack=rng.choice((0, old)))
        t.send(0, SYN, seq=(t.next[0] - 1) & MASK)
    t.send(1, SYN | ACK)
    t.send(0, ACK)
    t.talk(4)


def tcp_simultaneous(t):
    t.send(0, SYN)
    t.send(1, SYN)
    order = [0, 1]
    t.rng.shuffle(order)
    if t.rng.random() < 0.5:
        for side in order:
            t.send(side, SYN | ACK, seq=(t.next[side] - 1) & MASK)
    for side in order:
        t.send(side, ACK)
    t.talk(5)
    t.close()


def tcp_reset(t):
    rng = t.rng
    when = rng.randrange(5)
    t.send(0, SYN)
    if when == 0:
        t.send(1, rng.choice((RST, RST | ACK)), seq=rng.choice((0, 0, rng.randrange(1 << 32))),
               ack=rng.choice((t.next[0], t.next[0], 0, t.near(0))), win=0, options=b'')
        t.send(0, SYN, seq=(t.next[0] - 1) & MASK)
        t.send(1, SYN | ACK)
        t.send(0, ACK)
        return
    t.send(1, SYN | ACK)
    if when == 1:
        t.send(0, RST, seq=t.near(0), advance=False, options=b'')
    t.send(0, ACK)
    if when > 2:
        t.talk(rng.randrange(1, 6))
    for _ in range(rng.randrange(1, 4)):
        side = rng.randrange(2)
        if rng.random() < 0.3:
            t.send(side, ACK, 100)
        t.send(side, rng.choice((RST, RST | ACK)), seq=t.near(side),
               ack=t.near(not side) if rng.random() < 0.3 else None, advance=False, options=b'')
        if rng.random() < 0.5:
            t.send(not side, ACK)                           # challenge
            t.send(side, RST, options=b'', advance=False)     # and its answer
    t.talk(2)
    t.send(0, SYN, seq=rng.choice((t.next[0], t.near(0))))
    t.send(1, SYN | ACK)
    t.send(0, ACK)


def tcp_syn_inside(t):
    """RFC 5961, section 4: a SYN where there is a connection."""
    rng = t.rng
    t.open()
    t.talk(rng.randrange(4))
    if rng.random() < 0.5:
        t.send(rng.randrange(2), FIN | ACK)
        if rng.random() < 0.7:
            t.send(rng.randrange(2), FIN | ACK)
    side = rng.choice((0, 0, 0, 1))
    syn = t.near(side)
    t.send(side, SYN, seq=syn, advance=False)
    what = rng.randrange(4)
    if what == 0:                                            # challenge, reset, again
        t.send(not side, ACK)
        t.send(side, RST, options=b'', advance=False)
        t.send(side, SYN, seq=syn)
        t.send(not side, SYN | ACK)
        t.send(side, ACK)
    elif what == 1:                                          # it was the start of a new connection
        t.next[side] = (syn + 1) & MASK
        t.next[not side] = rng.randrange(1 << 32)
        t.send(not side, SYN | ACK)
        t.send(side, ACK)
        t.talk(4)
    elif what == 2:
        t.send(not side, rng.choice((RST, RST | ACK)), seq=rng.choice((0, t.next[not side])), ack=(syn + 1) & MASK,
               options=b'')
    t.talk(3)


def tcp_reuse(t):
    """The same ports again, in TIME-WAIT or later."""
    rng = t.rng
    t.open()
    t.talk(rng.randrange(3))
    if rng.random() < 0.2:
        t.send(rng.randrange(2), RST, options=b'')
    else:
        t.close(rng.randrange(2))
    side = rng.choice((0, 0, 1))
    if rng.random() < 0.5:
        t.next = [(n + rng.choice((0, 100, 1 << 20, rng.randrange(1 << 32)))) & MASK for n in t.next]
    t.open(side)
    t.talk(3)
    t.close(rng.randrange(2))


def tcp_pick_up(t):
    rng = t.rng
    first = rng.randrange(2)
    if rng.random() < 0.2:
        t.send(1, SYN | ACK)
    t.send(first, rng.choice((ACK, ACK | PSH, ACK, FIN | ACK, RST)), rng.choice((0, 100)))
    t.talk(rng.randrange(2, 9))
    if rng.random() < 0.5:
        t.odd()
    t.close(rng.randrange(2))


def tcp_windows(t):
    rng = t.rng
    t.open()
    t.talk(2)
    for _ in range(rng.randrange(2, 8)):
        side = rng.randrange(2)
        what = rng.randrange(4)
        if what == 0:                                        # fill, and overfill, the window
            scaled = None not in t.scale
            size = t.win[not side] << (t.scale[not side] if scaled else 0)
            t.send(side, ACK, 1, seq=(t.next[side] + size + rng.choice((-2, -1, 0, 1, 2, 100))) & MASK,
                   advance=rng.random() < 0.3)
        elif what == 1:                                      # acknowledge what was not sent, or long ago
            ack = t.next[not side] + rng.choice((1, 2, -1, -65999, -66000, -66001, -66002, 5000))
            t.send(side, ACK, ack=ack & MASK)
        elif what == 2:                                      # zero window and its probe
            t.send(side, ACK, win=0)
            t.send(not side, ACK, 1, advance=False)
            t.send(side, ACK, win=rng.choice((0, 5000)))
        else:                                                # keep-alive
            t.send(side, ACK, rng.choice((0, 1)), seq=(t.next[side] - 1) & MASK, advance=False)
            t.send(not side, ACK)
    t.talk(2)


def tcp_random(t):
    if t.rng.random() < 0.6:
        t.open()
    while len(t.steps) < STEPS:
        t.odd()


TCP = (tcp_plain, tcp_retransmit, tcp_new_syn, tcp_simultaneous, tcp_reset, tcp_reset, tcp_syn_inside, tcp_syn_inside,
       tcp_reuse, tcp_pick_up, tcp_windows, tcp_windows, tcp_random)


def tcp(rng, path):
    t = Tcp(rng, path)
    rng.choice(TCP)(t)
    if rng.random() < 0.4:
        at = rng.randrange(len(t.steps) + 1)
        rest, t.steps = t.steps[at:], t.steps[:at]
        for _ in range(rng.randrange(1, 4)):
            t.odd()
        t.steps += rest
    return t.steps


# ---- UDP and what has no ports ----

def udp(rng, path):
    steps = []
    port = [rng.randrange(1024, 65536), rng.choice((53, 123, 4789))]
    both = rng.random() < 0.8
    for _ in range(rng.randrange(1, STEPS)):
        side = rng.randrange(2) if both and steps else 0
        body = rng.randbytes(rng.choice((0, 1, 12, 100, 1200)))
        size = 8 + len(body)
        if rng.random() < 0.06:
            size = rng.choice((0, 7, 8, size + 1, size - 1, 65535))
        head = struct.pack('!HHHH', port[side], port[not side], size, 0)
        if rng.random() < 0.1 and not path.ipv6:
            packet = path.ip(side, 17, head + body)         # no checksum
        else:
            packet = path.summed(side, 17, head, 6, body)
        if rng.random() < 0.02:
            packet = path.ip(side, 17, head[:rng.randrange(8)])
        steps.append((side, packet))
    return steps


def other(rng, path):
    proto = rng.choice((2, 50, 89, 97, 253))
    sides = [rng.randrange(2) for _ in range(rng.randrange(1, 8))]
    return [(side, path.ip(side, proto, rng.randbytes(rng.randrange(8 if proto == 2 else 0, 40)))) for side in sides]


def icmp(rng, path):
    steps = []
    queries = ((128, 129), (139, 140)) if path.ipv6 else ((8, 0), (13, 14), (15, 16), (17, 18))
    query, answer = rng.choice(queries + queries[:1] * 4)
    ident = rng.randrange(65536)
    for i in range(rng.randrange(1, STEPS)):
        side, kind, code, number = 0, query, 0, ident
        if i and rng.random() < 0.5:
            side, kind = 1, answer
        if rng.random() < 0.15:
            side = rng.randrange(2)
            kind = rng.choice((answer, query, rng.randrange(256), rng.randrange(20), rng.randrange(128, 160)))
            # Neighbour and multicast discovery: see docs/firewall.md.
            while path.ipv6 and (130 <= kind <= 143 or 151 <= kind <= 153):
                kind = rng.randrange(256)
        if rng.random() < 0.1:
            number, code = rng.randrange(65536), rng.choice((0, 0, 1))
        rest = struct.pack('!HH', number, i)
        if rng.random() < 0.03:
            rest = rest[:rng.randrange(4)]
        body = rng.randbytes(rng.choice((0, 8, 56)))
        steps.append((side, path.icmp(side, kind, code, rest, body, rng.random() < 0.05)))
    return steps


# ---- SCTP ----

class Sctp:
    def __init__(self, rng, path):
        self.rng, self.path = rng, path
        self.port = [rng.randrange(1024, 65536), 3868]
        self.tag = [rng.randrange(1, 1 << 32), rng.randrange(1, 1 << 32)]    # that each side wants to see
        self.steps = []

    def chunk(self, kind, body=b'', flags=0, size=None):
        head = struct.pack('!BBH', kind, flags, 4 + len(body) if size is None else size)
        return head + body + b'\0' * (-len(body) % 4)

    def packet(self, side, *chunks, tag=None, bad=False):
        body = b''.join(chunks)
        head = struct.pack('!HHI', self.port[side], self.port[not side], self.tag[not side] if tag is None else tag)
        crc = crc32c(head + bytes(4) + body) ^ (1 if bad else 0)
        self.steps.append((side, self.path.ip(side, 132, head + struct.pack('<I', crc) + body)))

    def init(self, side, kind=1, **keys):
        body = struct.pack('!IIHHI', self.tag[side], 65536, 10, 10, 1)
        if kind == 2:
            body += self.chunk(7, b'cookie00')
        self.packet(side, self.chunk(kind, body), tag=0 if kind == 1 else None, **keys)

    def data(self, side, **keys):
        self.packet(side, self.chunk(0, struct.pack('!IHHI', 1, 0, 0, 0) + b'data', 3), **keys)

    def sack(self, side):
        self.packet(side, self.chunk(3, struct.pack('!IIHH', 1, 65536, 0, 0)))

    def beat(self, side, kind=4, **keys):
        self.packet(side, self.chunk(kind, b'\0\1\0\x08beat'), **keys)

    def open(self):
        self.init(0)
        self.init(1, 2)
        self.packet(0, self.chunk(10, b'cookie00'))
        self.packet(1, self.chunk(11))

    def talk(self, n):
        for _ in range(n):
            side = self.rng.randrange(2)
            self.rng.choice((self.data, self.data, self.sack, self.beat))(side)

    def shut(self, side):
        self.packet(side, self.chunk(7, struct.pack('!I', 1)))
        self.packet(not side, self.chunk(8))
        self.packet(side, self.chunk(14))

    def odd(self):
        rng, side = self.rng, self.rng.randrange(2)
        tag = rng.choice((None, None, 0, self.tag[side], rng.randrange(1 << 32)))
        kinds = [rng.choice((0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 14, 12, 64, 192, 255))
                 for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        chunks = []
        for kind in kinds:
            body = rng.randbytes(rng.choice((16, 16, 4, 0, 20, 1)))
            if kind in (1, 2) and rng.random() < 0.7:
                body = struct.pack('!IIHHI', rng.choice((self.tag[side], rng.randrange(1 << 32))), 1, 1, 1, 1)
            chunks.append(self.chunk(kind, body, rng.choice((0, 0, 1)),
                                     rng.choice((0, 1, 3, 4, 100, 65535)) if rng.random() < 0.05 else None))
        if rng.random() < 0.03:
            chunks = [b''.join(chunks)[:rng.randrange(4)]]
        self.packet(side, *chunks, tag=tag, bad=rng.random() < 0.05)


def sctp(rng, path):
    s = Sctp(rng, path)
    kind = rng.randrange(7)
    if kind < 3:
        s.open()
        s.talk(rng.randrange(6))
        if kind == 1:
            s.shut(rng.randrange(2))
        if kind == 2:
            side, reflected = rng.randrange(2), rng.random() < 0.5
            s.packet(side, s.chunk(6, b'', int(reflected)), tag=s.tag[side] if reflected else None)
    elif kind == 3:                                          # the other path of an association
        s.beat(0)
        s.beat(1, 5)
        s.talk(5)
        if rng.random() < 0.6:                               # and now another association
            s.tag = [rng.randrange(1, 1 << 32), rng.randrange(1, 1 << 32)]
            first = rng.randrange(2)
            s.beat(first)
            s.beat(not first, 5)
            s.beat(not first)
            s.beat(first, 5)
            s.talk(3)
    elif kind == 4:                                          # INITs that cross
        s.init(0)
        s.init(1)
        s.init(0, 2)
        s.init(1, 2)
        s.packet(0, s.chunk(10, b'cookie00'))
        s.packet(1, s.chunk(10, b'cookie00'))
        s.packet(1, s.chunk(11))
        s.talk(3)
    elif kind == 5:
        s.init(0)
        s.init(0)
        s.init(1, 2)
        s.packet(0, s.chunk(10, b'cookie00'), s.chunk(0, bytes(12)))
        s.packet(1, s.chunk(11), s.chunk(3, bytes(12)))
        s.talk(3)
        s.shut(rng.randrange(2))
        s.open()
    else:
        if rng.random() < 0.5:
            s.open()
        while len(s.steps) < STEPS:
            s.odd()
    if rng.random() < 0.4:
        at = rng.randrange(len(s.steps) + 1)
        rest, s.steps = s.steps[at:], s.steps[:at]
        for _ in range(rng.randrange(1, 4)):
            s.odd()
        s.steps += rest
    return s.steps


# ---- Errors, and what happens to packets on their way ----

def error(rng, path, side, packet):
    """An ICMP error about a packet that `side` has sent, from a router or the other host; good or forged."""
    kinds = ((1, 4), (2, 0), (3, 0), (4, 1), (1, 0), (100, 0)) if path.ipv6 else \
        ((3, 0), (3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (4, 0), (5, 1))
    kind, code = rng.choice(kinds)
    inner = packet[:rng.choice((len(packet), len(packet), 28, 48, 68))]
    what = rng.randrange(12) if len(inner) >= 48 else 5
    at = 40 if path.ipv6 else 20
    if what == 0:                                            # another port
        inner = inner[:at] + rng.randbytes(2) + inner[at + 2:]
    elif what == 1:                                          # another host
        inner = inner[:at - 1] + bytes(((inner[at - 1] + 1) & 255,)) + inner[at:]
    elif what == 2:
        inner = inner[:rng.randrange(len(inner))]
    elif what == 3:                                          # of the wrong direction: as if the other side had sent it
        half = 16 if path.ipv6 else 4
        inner = inner[:at - 2 * half] + inner[at - half:at] + inner[at - 2 * half:at - half] + inner[at:]
    elif what == 4:                                          # an error inside an error
        inner = path.icmp(side, kind, code, bytes(4), packet[:60])
    sender = path.router[not side] if rng.random() < 0.7 else path.host[not side]
    receiver = path.host[side] if rng.random() < 0.95 else path.router[side]
    return (1 - side, path.icmp(1 - side, kind, code, bytes(4), inner, rng.random() < 0.05, src=sender, dst=receiver))


class Fragments(tuple):
    """A packet in pieces, in the order in which they are sent; `lost` if it cannot be put together again."""
    lost = False


# What the first fragment has at least: headers, also those inside of errors, and chunks.
FIRST_BYTES = {6: 64, 1: 128, 58: 128, 132: 96}


def fragment(packet, number, start, end):
    """Bytes of the payload as a fragment."""
    if packet[0] >> 4 == 6:
        payload = packet[40:]
        head = struct.pack('!BBHI', packet[6], 0, start | (end < len(payload)), number)
        return packet[:4] + struct.pack('!HB', 8 + end - start, 44) + packet[7:40] + head + payload[start:end]
    payload = packet[20:]
    head = packet[:2] + struct.pack('!HHH', 20 + end - start, number & 0xffff,
                                    start // 8 | (0x2000 if end < len(payload) else 0)) + packet[8:10] + b'\0\0' + packet[12:20]
    return head[:10] + struct.pack('!H', csum(head)) + head[12:] + payload[start:end]


def fragments(rng, packet):
    """In two to five pieces; in another order, repeated, missing, overlapping."""
    ipv6 = packet[0] >> 4 == 6
    head, proto = (40, packet[6]) if ipv6 else (20, packet[9])
    size, first = len(packet) - head, FIRST_BYTES.get(proto, 8)
    if size <= first + 8 or (proto == 6 and packet[head + 12] >> 4 < 5):
        return packet
    cuts = sorted({rng.randrange(first, size, 8) for _ in range(rng.randrange(1, 5))})
    ends = [(a, b) for a, b in zip([0] + cuts, cuts + [size])]
    what, lost = rng.random(), False
    if rng.random() < 0.5:
        rng.shuffle(ends)
    if what < 0.1:
        ends.insert(rng.randrange(len(ends) + 1), rng.choice(ends))
    elif what < 0.2:
        ends.pop(rng.randrange(len(ends)))
        lost = True
    elif what < 0.3:                                         # RFC 5722: with the one that came first
        start, end = ends[0]
        ends.insert(1, (start - 8, min(start + 8, size)) if end == size else (end - 8, min(end + 8, size)))
        lost = True
    number = rng.randrange(1 << 32)
    out = Fragments(fragment(packet, number, start, end) for start, end in ends)
    out.lost = lost
    return out


def disturb(rng, path, steps):
    """Loss, duplicates, another order; errors; and fragments."""
    steps = list(steps)
    if rng.random() < 0.5:
        for _ in range(rng.randrange(1, 4)):
            if not steps:
                break
            at, what = rng.randrange(len(steps)), rng.randrange(4)
            if what == 0:
                del steps[at]
            elif what == 1:
                steps.insert(min(at + rng.randrange(1, 4), len(steps)), steps[at])
            elif what == 2:
                steps.insert(max(0, at - rng.randrange(1, 3)), steps.pop(at))
            else:                                            # from the other side
                steps[at] = (1 - steps[at][0], steps[at][1]) if rng.random() < 0.1 else steps[at]
    if rng.random() < 0.35:
        for _ in range(rng.randrange(1, 4)):
            if steps:
                at = rng.randrange(len(steps))
                steps.insert(min(at + rng.randrange(1, 3), len(steps)), error(rng, path, *steps[at]))
    if rng.random() < 0.5 and steps:                          # so that the pause falls elsewhere
        for _ in range(rng.randrange(8)):
            steps.insert(rng.randrange(min(4, len(steps))), None)
    if rng.random() < 0.4:
        steps = [(step[0], fragments(rng, step[1])) if step and rng.random() < 0.6 else step for step in steps]
    return steps[:STEPS]


def script(seed, number):
    """number: which hosts talk, below 60000."""
    rng = random.Random(seed)
    path = Path(number, rng.random() < 0.35)
    make = rng.choice((tcp, tcp, tcp, tcp, tcp, udp, icmp, sctp, sctp, other))
    return make.__name__, disturb(rng, path, make(rng, path))
