# SPDX-License-Identifier: Apache-2.0
"""ICMP errors, TCP resets and fragments against what scapy builds, byte for byte.

No daemon: test/lib/answer_tool.c calls the code of src/net/icmp_error.h and fragment.h.
"""

import random
import subprocess

import pytest
from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6MLReport, ICMPv6ND_NS, ICMPv6ND_Redirect,
                                ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

from xvio import program

A, B = '02:00:00:00:00:01', '02:00:00:00:00:02'
ERRORS = {'EMSGSIZE': 'error -90', 'EPROTO': 'error -71', 'E2BIG': 'error -7'}


@pytest.fixture(scope='module')
def tool():
    """tool('too-big', frame, 1400) -> the line, or frames in a list."""
    process = subprocess.Popen([program('answer_tool')], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(command, frame, *numbers):
        process.stdin.write(' '.join([command, raw(frame).hex(), *map(str, numbers)]) + '\n')
        process.stdin.flush()
        line = process.stdout.readline().rstrip('\n')
        assert line, 'the tool is gone'
        return line if line == 'none' or line.startswith('error') else [bytes.fromhex(w) for w in line.split()]

    yield ask
    process.stdin.close()
    assert process.wait(10) == 0


def eth(*tags, **k):
    p = Ether(**{**dict(src=A, dst=B), **k})
    for tag in tags:
        p /= tag
    return p


def v4(**k):
    return IP(**{**dict(src='10.0.0.1', dst='10.0.0.2', flags='DF', id=77, tos=0x2e), **k})


def v6(**k):
    return IPv6(**{**dict(src='2001:db8::1', dst='2001:db8::2', tc=3, fl=99), **k})


TAGS = [(), (Dot1Q(vlan=7, prio=3),), (Dot1AD(vlan=100), Dot1Q(vlan=7)), tuple(Dot1Q(vlan=n) for n in range(1, 9))]
PAYLOADS = [UDP(sport=1, dport=2), TCP(sport=3, dport=4, options=[('Timestamp', (1, 2))]), SCTP(sport=1, dport=2)]


def error4(frame, tags, offender, type, code, **k):
    """What the sender of an IPv4 offender gets: as much of it as fits into 576 bytes."""
    ip = frame[IP]
    return raw(eth(*tags, src=B, dst=A) / IP(src=ip.dst, dst=ip.src, tos=0xc0, id=0, flags='DF', ttl=64) /
               ICMP(type=type, code=code, **k) / Raw(raw(offender)[:576 - 28]))


def error6(frame, tags, offender, icmp):
    ip = frame[IPv6]
    return raw(eth(*tags, src=B, dst=A) / IPv6(src=ip.dst, dst=ip.src, hlim=64) / icmp /
               Raw(raw(offender)[:1280 - 48]))


@pytest.mark.parametrize('tags', TAGS, ids=len)
@pytest.mark.parametrize('size', [1, 9, 520, 521, 600, 1190, 1300, 8000])
def test_errors(tool, tags, size):
    for l4 in (*PAYLOADS, ICMP(type=8), None):
        packet = v4() / (l4 or UDP()) / Raw(random.Random(size).randbytes(size))
        frame = eth(*tags) / packet
        for padding in (b'', b'\0' * 18):
            got = tool('too-big', Raw(raw(frame) + padding), 1404)
            assert got == [error4(frame, tags, packet, 3, 4, nexthopmtu=1404)]
        assert tool('unreachable', frame, 13, 1) == [error4(frame, tags, packet, 3, 13)]
    for l4 in (*PAYLOADS, ICMPv6EchoRequest(), IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP()):
        packet = v6() / l4 / Raw(random.Random(size).randbytes(size))
        frame = eth(*tags) / packet
        assert tool('too-big', frame, 1404) == [error6(frame, tags, packet, ICMPv6PacketTooBig(mtu=1404))]
        assert tool('unreachable', frame, 13, 4) == [error6(frame, tags, packet, ICMPv6DestUnreach(code=4))]


def test_mtu_field(tool):
    packet = v4() / UDP() / Raw(bytes(100))
    assert tool('too-big', eth() / packet, 1 << 20) == [error4(eth() / packet, (), packet, 3, 4, nexthopmtu=65535)]
    packet = v6() / UDP() / Raw(bytes(100))
    assert tool('too-big', eth() / packet, 1 << 20) == [error6(eth() / packet, (), packet, ICMPv6PacketTooBig(mtu=1 << 20))]


DATA = Raw(bytes(64))
FIRST4 = eth() / v4(flags='MF') / UDP() / Raw(bytes(80))
FIRST6 = eth() / v6() / IPv6ExtHdrFragment(m=1, id=5, nh=17) / UDP() / Raw(bytes(80))


def test_fragments_are_answered_once(tool):
    """The first one is, the others are not."""
    assert tool('too-big', FIRST4, 500) == [error4(FIRST4, (), FIRST4[IP], 3, 4, nexthopmtu=500)]
    assert tool('too-big', FIRST6, 1280) == [error6(FIRST6, (), FIRST6[IPv6], ICMPv6PacketTooBig(mtu=1280))]
    for frame in (eth() / v4(flags='MF', frag=10, proto=17) / DATA, eth() / v4(flags=0, frag=10, proto=6) / DATA,
                  eth() / v6() / IPv6ExtHdrFragment(m=1, offset=10, id=5, nh=17) / DATA):
        assert tool('too-big', frame, 500) == tool('unreachable', frame, 1, 1) == tool('reset', frame) == 'none'
    for first in (eth() / v4(flags='MF') / TCP(flags='S') / DATA,
                  eth() / v6() / IPv6ExtHdrFragment(m=1, id=5, nh=6) / TCP(flags='S') / DATA):
        assert tool('reset', first) == 'none'      # how long is the segment?


NEVER = [
    eth() / ARP(), eth(type=0x88b5) / DATA, Raw(bytes(10)), Raw(bytes(14)),
    *(eth() / v4() / ICMP(type=t) / v4() / UDP() / DATA for t in (3, 4, 5, 11, 12, 30, 255)),
    *(eth() / v6() / p / v6() / UDP() / DATA for p in (ICMPv6DestUnreach(), ICMPv6PacketTooBig(), ICMPv6TimeExceeded())),
    eth() / v6() / ICMPv6ND_Redirect(), eth() / v6(nh=58) / Raw(b'\x7f' + bytes(20)),
    eth() / v6() / IPv6ExtHdrDestOpt() / ICMPv6TimeExceeded() / v6() / UDP() / DATA,
    # More than one receiver, or none.
    eth(dst='ff:ff:ff:ff:ff:ff') / v4() / TCP() / DATA, eth(dst='33:33:00:00:00:01') / v6() / TCP() / DATA,
    eth(src='03:00:00:00:00:01') / v4() / TCP() / DATA,
    *(eth() / v4(dst=a) / TCP() / DATA for a in ('224.0.0.1', '239.1.2.3', '255.255.255.255', '240.0.0.1', '127.0.0.1', '0.0.0.0')),
    *(eth() / v4(src=a) / TCP() / DATA for a in ('0.0.0.0', '224.0.0.1', '255.255.255.255', '127.0.0.1')),
    *(eth() / v6(dst=a) / TCP() / DATA for a in ('ff02::1', '::', '::1')),
    *(eth() / v6(src=a) / TCP() / DATA for a in ('ff02::1', '::', '::1')),
    eth() / v6(src='::', dst='ff02::1:ff00:1') / ICMPv6ND_NS(), eth() / v6(dst='ff02::16') / ICMPv6MLReport(),
    # Not what it says, or nothing in it.
    eth() / v4(ihl=4) / TCP() / DATA, eth() / v4(len=2000) / TCP() / DATA, eth() / v4(version=5) / TCP() / DATA,
    eth() / v6(plen=2000) / TCP() / DATA, eth() / v6(version=4) / TCP() / DATA, eth() / v4() / TCP(dataofs=4) / DATA,
    eth() / v4(proto=6), eth() / v6(nh=59) / DATA, eth() / v6(nh=58), eth() / v4(proto=1),
]


def test_never_answered(tool):
    for frame in NEVER:
        assert tool('too-big', frame, 1280) == tool('unreachable', frame, 1, 1) == tool('reset', frame) == 'none', frame


@pytest.mark.parametrize('tags', TAGS[:3], ids=len)
@pytest.mark.parametrize('ip', [v4, v6], ids=['ipv4', 'ipv6'])
def test_resets(tool, ip, tags):
    def reset(frame, **k):
        p = frame[IP] if IP in frame else frame[IPv6]
        back = IP(src=p.dst, dst=p.src, id=0, flags='DF', ttl=64) if IP in frame else IPv6(src=p.dst, dst=p.src, hlim=64)
        return [raw(eth(*tags, src=B, dst=A) / back / TCP(sport=frame[TCP].dport, dport=frame[TCP].sport, window=0, **k))]

    def tcp(flags, data=b'', **k):
        return eth(*tags) / ip() / TCP(sport=1234, dport=80, seq=1000, ack=2000, flags=flags, **k) / Raw(data)

    options = [('MSS', 1460), ('NOP', None), ('WScale', 7)]
    for padding in (b'', b'\0' * 6):
        def ask(frame):
            return tool('reset', Raw(raw(frame) + padding))
        # A segment with ACK says which sequence number it takes.
        for flags, data in (('A', b'x' * 100), ('SA', b''), ('PA', b'abc'), ('FA', b'')):
            assert ask(tcp(flags, data)) == reset(tcp(flags, data), seq=2000, flags='R')
        # One without is acknowledged, with SYN and FIN.
        assert ask(tcp('S', options=options)) == reset(tcp('S'), seq=0, ack=1001, flags='RA')
        assert ask(tcp('S', b'fast open', options=options)) == reset(tcp('S'), seq=0, ack=1010, flags='RA')
        assert ask(tcp('', b'12345')) == reset(tcp(''), seq=0, ack=1005, flags='RA')
        assert ask(tcp('F', b'12345')) == reset(tcp('F'), seq=0, ack=1006, flags='RA')
        assert ask(tcp('SF', b'12345')) == reset(tcp('S'), seq=0, ack=1007, flags='RA')
        for flags in ('R', 'RA', 'SR'):
            assert ask(tcp(flags)) == 'none'
    last = eth(*tags) / ip() / TCP(seq=0xffffffff, flags='S')
    assert tool('reset', last) == reset(last, seq=0, ack=0, flags='RA')
    assert tool('reset', eth(*tags) / ip() / UDP() / DATA) == 'none'


# ---- Fragments ----

def by_scapy(tags, packet, size):
    """Scapy cuts by bytes of payload."""
    return [raw(eth(*tags) / f) for f in packet.fragment(fragsize=size)]


@pytest.mark.parametrize('tags', TAGS, ids=len)
def test_fragments(tool, tags):
    rng = random.Random(1)
    for size, mtu in ((1, 68), (8, 28), (9, 28), (1400, 1500), (1472, 1500), (1473, 1500), (1480, 1404), (8000, 1450), (65507, 1500)):
        packet = v4(flags=0, id=rng.randrange(65536)) / UDP(sport=5, dport=6) / Raw(rng.randbytes(size))
        want = by_scapy(tags, IP(raw(packet)), (mtu - 20) & ~7)
        cuts = sorted(rng.sample(range(1, size + 28), min(size, 4)))
        frame = Raw(raw(eth(*tags) / packet) + b'\0' * 20)      # padding goes nowhere
        assert tool('fragment', frame, mtu) == want
        assert tool('fragment', frame, mtu, *cuts) == want
        assert all(len(f) - len(raw(eth(*tags))) <= mtu for f in want)


def test_fragments_of_fragments(tool):
    packet = v4(flags=0) / UDP() / Raw(random.Random(2).randbytes(5000))
    first = [IP(raw(f)) for f in IP(raw(packet)).fragment(fragsize=1480)]
    again = [g for f in first for g in tool('fragment', eth() / f, 620)]
    # The same as cut at once, but for where the pieces end.
    data = bytearray(5008)
    for i, f in enumerate(Ether(g)[IP] for g in again):
        assert len(f) <= 620 and f.id == 77 and (len(f) - 20) % 8 == (0 if i < len(again) - 1 else 5008 % 8)
        assert bool(f.flags & 1) == (i < len(again) - 1)
        data[f.frag * 8:f.frag * 8 + len(f.payload)] = raw(f.payload)
    assert bytes(data) == raw(packet)[20:]


def test_options(tool):
    """Into all fragments go those that say so (RFC 791 section 3.1); what is left is filled up to words."""
    data = random.Random(3).randbytes(400)
    for options, rest in (([IPOption_Router_Alert()], [IPOption_Router_Alert()]),
                          ([IPOption_RR(pointer=4, routers=['0.0.0.0'] * 4)], []),
                          ([IPOption_NOP(), IPOption_Timestamp(flg=0, length=8, pointer=9, timestamp=0), IPOption_Router_Alert()],
                           [IPOption_Router_Alert()])):
        packet = IP(raw(v4(flags=0, options=options) / UDP() / Raw(data)))
        got = [Ether(f)[IP] for f in tool('fragment', eth() / packet, 120)]
        size = (120 - packet.ihl * 4) & ~7
        assert raw(got[0]) == raw(IP(src='10.0.0.1', dst='10.0.0.2', id=77, tos=0x2e, flags='MF', proto=17, options=options) /
                                  Raw(raw(packet.payload)[:size]))
        for i, f in enumerate(got[1:], 1):
            more = 'MF' if i < len(got) - 1 else 0
            assert raw(f) == raw(IP(src='10.0.0.1', dst='10.0.0.2', id=77, tos=0x2e, flags=more, frag=i * size // 8, proto=17,
                                    options=rest) / Raw(raw(packet.payload)[i * size:(i + 1) * size]))


def test_what_is_not_fragmented(tool):
    data = Raw(bytes(400))
    for frame, mtu, error in (
            (eth() / v4() / UDP() / data, 300, 'EMSGSIZE'), (eth() / v4(flags=0) / UDP() / data, 27, 'EMSGSIZE'),
            (eth() / v6() / UDP() / data, 300, 'EPROTO'), (eth() / ARP(), 300, 'EPROTO'), (Raw(bytes(5)), 300, 'EPROTO'),
            (eth() / v4(flags=0, len=500) / UDP() / data, 300, 'EPROTO'), (eth() / v4(flags=0, ihl=4) / UDP() / data, 300, 'EPROTO'),
            (eth() / v4(flags=0, len=19) / UDP() / data, 300, 'EPROTO'),
            (eth() / v4(flags='MF') / Raw(bytes(401)), 300, 'EPROTO'),       # not a multiple of 8
            (eth() / v4(flags=0, frag=8150) / Raw(bytes(400)), 300, 'EPROTO'),   # beyond 65535
            (Raw(raw(eth() / v4(flags=0, ihl=6)) + b'\x94\x05\0\0' + bytes(400)), 300, 'EPROTO'),
            (Raw(raw(eth() / v4(flags=0, ihl=6, len=424)) + b'\x94\x05\0\0' + bytes(400)), 300, 'EPROTO'),
            (Raw(raw(eth() / v4(flags=0, ihl=6, len=424)) + b'\x94\x01\0\0' + bytes(400)), 300, 'EPROTO'),
            (Raw(raw(eth() / v4(flags=0, ihl=6, len=424)) + b'\1\1\1\x94' + bytes(400)), 300, 'EPROTO'),
            (eth() / v4(flags=0) / Raw(bytes(60000)), 28, 'E2BIG')):
        assert tool('fragment', frame, mtu) == ERRORS[error]
