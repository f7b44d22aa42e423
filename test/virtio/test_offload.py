# SPDX-License-Identifier: Apache-2.0
"""Checksum and segmentation offloads from guest to guest: passed on unchanged, or finished."""

import math
import os
import struct

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from frontend import (ALL_OFFLOADS, BASIC, F, GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP,
                      GUEST_OFFLOADS, HDR_NEEDS_CSUM, HOST_OFFLOADS, NetHdr)

rings = pytest.mark.parametrize('packed', [False, True], ids=['split', 'packed'])


NO_GUEST_OFFLOADS = BASIC | F.MRG_RXBUF | HOST_OFFLOADS
OFFLOAD_PORT = {'csum': True, 'tso': True}


def ones_sum(data):
    if len(data) & 1:
        data += b'\0'
    total = sum(struct.unpack('>%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def l3(a, b, version, proto):
    """Ethernet and IP headers from a to b."""
    ether = Ether(dst=b.mac, src=a.mac)
    if version == 6:
        return ether / IPv6(src='fd00::1', dst='fd00::2', nh=proto)
    return ether / IP(src='10.0.0.1', dst='10.0.0.2', id=0xfffe, proto=proto, ttl=63)


def partial(packet, proto, version):
    """The frame with the checksum field as a driver leaves it: the pseudo header's sum."""
    raw = bytearray(bytes(packet))
    start = 14 + (40 if version == 6 else 20)
    addresses = bytes(raw[22:54] if version == 6 else raw[26:34])
    offset = 16 if proto == 6 else 6
    raw[start + offset:start + offset + 2] = struct.pack(
        '>H', ones_sum(addresses + struct.pack('>II', proto, len(raw) - start)))
    return bytes(raw), start, offset


def tcp_frame(a, b, payload, version=4, flags='PA', options=()):
    packet = l3(a, b, version, 6) / TCP(sport=1000, dport=2000, seq=0xfffff000, ack=7, flags=flags,
                                        window=500, options=list(options)) / payload
    raw, start, offset = partial(packet, 6, version)
    return raw, start, offset, start + 4 * (raw[start + 12] >> 4)


def udp_frame(a, b, payload, version=4):
    packet = l3(a, b, version, 17) / UDP(sport=1000, dport=2000) / payload
    return partial(packet, 17, version)


def verify(frame):
    """All checksums and lengths are what scapy computes; returns the parsed packet."""
    p = Ether(frame)
    again = Ether(frame)
    if IP in again:
        del again[IP].chksum, again[IP].len
    elif IPv6 in again:
        del again[IPv6].plen
    if TCP in again:
        del again[TCP].chksum
    elif UDP in again:
        del again[UDP].chksum, again[UDP].len
    assert bytes(again) == frame
    return p


@rings
@pytest.mark.parametrize('version', [4, 6])
@pytest.mark.parametrize('proto', ['tcp', 'udp'])
@pytest.mark.parametrize('size', [1, 2, 63, 64, 999, 1400])
def test_checksum_finished(lab, packed, version, proto, size):
    """A receiver without GUEST_CSUM gets the complete checksum."""
    a, b = lab.pair(port=OFFLOAD_PORT, packed=packed, first={'features': ALL_OFFLOADS},
                    second={'features': NO_GUEST_OFFLOADS, 'rx_layout': (300,)})
    payload = os.urandom(size)
    raw, start, offset = (tcp_frame(a, b, payload, version)[:3] if proto == 'tcp' else
                          udp_frame(a, b, payload, version))
    a.send(raw, hdr=NetHdr(HDR_NEEDS_CSUM, csum_start=start, csum_offset=offset),
           cuts=(12, 12 + start + 1))
    f = b.receive()[0]
    assert f.hdr.flags & HDR_NEEDS_CSUM == 0
    assert len(f.data) == len(raw)
    assert bytes(verify(f.data)[TCP if proto == 'tcp' else UDP].payload) == payload


def test_udp_checksum_zero_becomes_ffff(lab):
    a, b = lab.pair(port=OFFLOAD_PORT, first={'features': ALL_OFFLOADS},
                    second={'features': NO_GUEST_OFFLOADS})
    raw, start, offset = udp_frame(a, b, bytes(20))
    fill = 0xffff - ones_sum(raw[start:])
    raw, start, offset = udp_frame(a, b, struct.pack('>H', fill) + bytes(18))
    a.send(raw, hdr=NetHdr(HDR_NEEDS_CSUM, csum_start=start, csum_offset=offset))
    f = b.receive()[0]
    assert f.data[start + offset:start + offset + 2] == b'\xff\xff'


@rings
def test_checksum_passed_unchanged(lab, packed):
    a, b = lab.pair(port=OFFLOAD_PORT, packed=packed, features=ALL_OFFLOADS)
    raw, start, offset = udp_frame(a, b, os.urandom(500))
    hdr = NetHdr(HDR_NEEDS_CSUM, csum_start=start, csum_offset=offset)
    a.send(raw, hdr=hdr)
    f = b.receive()[0]
    assert f.data == raw
    assert f.hdr[0:2] == hdr[0:2] and f.hdr[4:6] == hdr[4:6]


GSO = {
    'tcp4': (GSO_TCPV4, 4, 'PA'), 'tcp6': (GSO_TCPV6, 6, 'A'),
    'ecn4': (GSO_TCPV4 | GSO_ECN, 4, 'PAC'), 'ecn6': (GSO_TCPV6 | GSO_ECN, 6, 'FAC'),
}


def gso_frame(a, b, kind, size=60000, mss=1448, options=()):
    gso_type, version, flags = GSO[kind]
    payload = os.urandom(size)
    raw, start, offset, hdr_len = tcp_frame(a, b, payload, version, flags, options)
    return raw, payload, hdr_len, NetHdr(HDR_NEEDS_CSUM, gso_type, hdr_len, mss, start, offset)


@rings
@pytest.mark.parametrize('kind', GSO)
@pytest.mark.parametrize('layout', [(2048,), (66000,)], ids=['merged', 'large'])
def test_tso_passed_unchanged(lab, packed, kind, layout):
    """Guest to guest without segmentation, in mergeable or in large buffers."""
    features = ALL_OFFLOADS if layout == (2048,) else ALL_OFFLOADS & ~F.MRG_RXBUF
    a, b = lab.pair(port=OFFLOAD_PORT, packed=packed, features=features, rx_layout=layout, size=64)
    raw, payload, hdr_len, hdr = gso_frame(a, b, kind)
    a.send(raw, hdr=hdr, cuts=(12, 12 + hdr_len, 5000, 9000))
    f = b.receive()[0]
    assert f.data == raw
    assert f.hdr[:2] == hdr[:2] and f.hdr[3:6] == hdr[3:6]
    assert f.hdr.hdr_len in (0, hdr_len)
    assert lab.show(b.port)['tx_packets'] == 1


@rings
@pytest.mark.parametrize('kind', GSO)
@pytest.mark.parametrize('lacks', ['offloads', 'this'])
@pytest.mark.parametrize('size, mss', [(60000, 1448), (1449, 1448), (1448, 1448), (5000, 536),
                                       (100, 1448)])
def test_tso_finished(lab, packed, kind, lacks, size, mss):
    """A receiver that cannot take it gets segments as a network card would make them."""
    gso_type, version, flags = GSO[kind]
    missing = (GUEST_OFFLOADS if lacks == 'offloads' else
               F.GUEST_ECN if gso_type & GSO_ECN else
               F.GUEST_TSO4 if version == 4 else F.GUEST_TSO6)
    a, b = lab.pair(port=OFFLOAD_PORT, packed=packed, first={'features': ALL_OFFLOADS},
                    second={'features': ALL_OFFLOADS & ~missing})
    options = [('NOP', None), ('NOP', None), ('Timestamp', (1, 2))] if size == 60000 else []
    raw, payload, hdr_len, hdr = gso_frame(a, b, kind, size, mss, options)
    original = Ether(raw)
    a.send(raw, hdr=hdr)
    count = math.ceil(size / mss)
    got = b.receive(count)
    b.silence(0.01)
    data = b''
    for i, f in enumerate(got):
        assert f.hdr.gso_type == GSO_NONE
        if f.hdr.flags & HDR_NEEDS_CSUM:    # left to a receiver that can
            assert b.features & F.GUEST_CSUM
            start, at = f.hdr.csum_start, f.hdr.csum_start + f.hdr.csum_offset
            finished = bytearray(f.data)
            finished[at:at + 2] = struct.pack('>H', ~ones_sum(f.data[start:]) & 0xffff)
            f = f._replace(data=bytes(finished))
        p = verify(f.data)
        tcp = p[TCP]
        assert p.dst == original.dst and p.src == original.src
        assert tcp.seq == original[TCP].seq + len(data) & 0xffffffff
        assert (tcp.ack, tcp.window, tcp.options) == (7, 500, original[TCP].options)
        want = set(flags)
        if i:
            want -= {'C'}
        if i < count - 1:
            want -= {'F', 'P'}
        assert set(str(tcp.flags)) == want
        if version == 4:
            assert p[IP].id == original[IP].id + i & 0xffff
            assert p[IP].ttl == 63
        part = bytes(tcp.payload)
        assert len(part) == (mss if i < count - 1 else size - (count - 1) * mss)
        data += part
    assert data == payload


@rings
def test_ufo_passed_unchanged(lab, packed):
    a, b = lab.pair(port=OFFLOAD_PORT, packed=packed, features=ALL_OFFLOADS)
    raw, start, offset = udp_frame(a, b, os.urandom(9000))
    hdr = NetHdr(HDR_NEEDS_CSUM, GSO_UDP, start + 8, 1480, start, offset)
    a.send(raw, hdr=hdr)
    f = b.receive()[0]
    assert f.data == raw and f.hdr[:2] == hdr[:2] and f.hdr[3:6] == hdr[3:6]


@rings
@pytest.mark.parametrize('size', [9000, 1473, 60000])
def test_ufo_finished(lab, packed, size):
    """IP fragments that make up the datagram, with its checksum right."""
    a, b = lab.pair(port=OFFLOAD_PORT, packed=packed, first={'features': ALL_OFFLOADS},
                    second={'features': NO_GUEST_OFFLOADS})
    raw, start, offset = udp_frame(a, b, os.urandom(size))
    a.send(raw, hdr=NetHdr(HDR_NEEDS_CSUM, GSO_UDP, start + 8, 1480, start, offset))
    count = math.ceil((size + 8) / 1480)
    datagram = b''
    idents = set()
    for i, f in enumerate(b.receive(count)):
        assert f.hdr.flags & HDR_NEEDS_CSUM == 0 and f.hdr.gso_type == GSO_NONE
        ip = Ether(f.data)[IP]
        check = IP(bytes(ip))
        del check.chksum
        assert bytes(check) == bytes(ip)
        assert ip.frag * 8 == len(datagram) and bool(ip.flags.MF) == (i < count - 1)
        idents.add(ip.id)
        datagram += f.data[34:14 + ip.len]
    assert len(idents) == 1
    whole = Ether(raw)[IP]
    verify(raw[:start] + datagram)
    assert datagram[8:] == raw[start + 8:] and whole.len == 20 + len(datagram)
    b.silence(0.01)


def test_offload_to_many(lab):
    """Flooded to a guest that takes it as it is and to one that does not: each gets its own."""
    net = lab.network()
    a, b, c = (lab.guest(lab.port(network=net, **OFFLOAD_PORT), features=f)
               for f in (ALL_OFFLOADS, ALL_OFFLOADS, NO_GUEST_OFFLOADS))
    raw, payload, hdr_len, hdr = gso_frame(a, b, 'tcp4', 20000)
    a.send(raw, hdr=hdr)
    assert b.receive()[0].data == raw
    assert b''.join(bytes(verify(f.data)[TCP].payload) for f in c.receive(14)) == payload


