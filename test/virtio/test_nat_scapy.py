# SPDX-License-Identifier: Apache-2.0
"""Translated packets against frames that scapy builds anew, byte for byte: also the packets inside of ICMP errors.

No daemon: test/lib/nat_tool.c calls the code of src/fastpath/conntrack_nat.c and src/net/icmp_edit.h.
"""

import socket
import subprocess

import pytest
from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_Redirect, ICMPv6PacketTooBig,
                                IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Raw

from xvio import program

DATA = Raw(bytes(range(101)))
ETH = Ether(dst='06:00:00:00:00:02', src='02:00:00:00:00:01')
# The client, the server as the client knows it; what they become. The router is somewhere in between.
V4 = ('10.0.0.1', '192.0.2.80', '203.0.113.9', '10.1.255.255', '198.51.100.1')
V6 = ('fd00::1', '2001:db8::80', '2001:db8:ffff::9', 'fd01::ffff:0', '2001:db8:9::1')
SPORT, DPORT, SPORT2, DPORT2 = 40000, 80, 1024, 65535
PROTOS = {'tcp': 6, 'udp': 17, 'sctp': 132, 'icmp': 1, 'icmp6': 58}


@pytest.fixture(scope='module')
def nat():
    """nat(frame, connection, 'reply', ...) -> bytes, or the error."""
    tool = subprocess.Popen([program('nat_tool')], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(frame, connection, *options):
        tool.stdin.write(' '.join([raw(frame).hex(), *options, connection]) + '\n')
        tool.stdin.flush()
        line = tool.stdout.readline().strip()
        assert line
        return line if line.startswith('error') else bytes.fromhex(line)

    yield run
    tool.stdin.close()
    assert tool.wait(10) == 0


def addr(a):
    return socket.inet_pton(socket.AF_INET6 if ':' in a else socket.AF_INET, a).hex()


def connection(kind, hosts, snat, dnat):
    """The tuples of a connection whose client, server or both are translated, and what a client's packet becomes."""
    client, server, client2, server2, _ = hosts
    seen = (client2 if snat else client, server2 if dnat else server)
    if kind.startswith('icmp'):
        types = ('0800', '0000') if kind == 'icmp' else ('8000', '8100')
        ports = (SPORT2 if snat else SPORT, 0)
        tuples = ((client, server, '%04x' % SPORT, types[0]), (seen[1], seen[0], '%04x' % ports[0], types[1]))
    else:
        ports = (SPORT2 if snat else SPORT, DPORT2 if dnat else DPORT)
        tuples = ((client, server, '%04x' % SPORT, '%04x' % DPORT), (seen[1], seen[0], '%04x' % ports[1], '%04x' % ports[0]))
    return ' '.join([str(PROTOS[kind])] + [','.join((addr(s), addr(d), p, q)) for s, d, p, q in tuples]), seen, ports


def ip(src, dst, *extensions, **k):
    layer = IPv6(src=src, dst=dst, hlim=63, **k) if ':' in src else IP(src=src, dst=dst, id=7, ttl=63, **k)
    for e in extensions:
        layer = layer / e.copy()
    return layer


def l4(kind, sport, dport, reply=False, none=False):
    if kind == 'icmp':
        return ICMP(type=0 if reply else 8, id=sport, seq=3) / DATA
    if kind == 'icmp6':
        return (ICMPv6EchoReply if reply else ICMPv6EchoRequest)(id=sport, seq=3) / DATA
    if reply:
        sport, dport = dport, sport
    if kind == 'tcp':
        return TCP(sport=sport, dport=dport, seq=1, ack=2, options=[('Timestamp', (1, 2))]) / DATA
    if kind == 'udp':
        return UDP(sport=sport, dport=dport, **({'chksum': 0} if none else {})) / DATA
    return SCTP(sport=sport, dport=dport, tag=9) / SCTPChunkData(data=bytes(range(40)))


KINDS = [(k, h) for k in PROTOS for h in (V4, V6) if (k != 'icmp' or h is V4) and (k != 'icmp6' or h is V6)]
BOTH = [(True, False), (False, True), (True, True)]
IDS = ['snat', 'dnat', 'both']


@pytest.mark.parametrize('snat,dnat', BOTH, ids=IDS)
@pytest.mark.parametrize('kind,hosts', KINDS, ids=['%s-%s' % (k, 'v4' if h is V4 else 'v6') for k, h in KINDS])
def test_packets(nat, kind, hosts, snat, dnat):
    line, seen, ports = connection(kind, hosts, snat, dnat)
    exts = ([],) if hosts is V4 else ([], [IPv6ExtHdrDestOpt()])
    options = [{}, {'options': [IPOption_NOP()] * 4}] if hosts is V4 else [{}]
    for extensions in exts:
        for k in options:
            for tag in ([], [Dot1Q(vlan=5)]):
                def frame(src, dst, sport, dport, reply=False, none=False):
                    f = ETH.copy()
                    for t in tag:
                        f = f / t.copy()
                    return f / ip(src, dst, *extensions, **k) / l4(kind, sport, dport, reply, none)

                out = frame(seen[0], seen[1], *ports)
                assert nat(frame(*hosts[:2], SPORT, DPORT), line).hex() == raw(out).hex()
                back = frame(hosts[1], hosts[0], SPORT, DPORT, True)
                assert nat(frame(seen[1], seen[0], *ports, True), line, 'reply').hex() == raw(back).hex()
                if kind == 'udp' and hosts is V4:
                    assert nat(frame(*hosts[:2], SPORT, DPORT, none=True), line).hex() == \
                        raw(frame(seen[0], seen[1], *ports, none=True)).hex()


def error_of(kind, hosts, inner, sender, receiver):
    if hosts is V4:
        body = ICMP(type=3, code=3) if kind != 'tcp' else ICMP(type=3, code=4, nexthopmtu=1400)
        return ETH / ip(sender, receiver) / body / Raw(inner)
    body = ICMPv6DestUnreach(code=4) if kind != 'tcp' else ICMPv6PacketTooBig(mtu=1400)
    return ETH / ip(sender, receiver) / body / Raw(inner)


@pytest.mark.parametrize('quoted', [8, 28, 1000])
@pytest.mark.parametrize('snat,dnat', BOTH, ids=IDS)
@pytest.mark.parametrize('kind,hosts', [k for k in KINDS if k[0] != 'sctp'],
                         ids=['%s-%s' % (k, 'v4' if h is V4 else 'v6') for k, h in KINDS if k != 'sctp'])
def test_errors(nat, kind, hosts, snat, dnat, quoted):
    """A router's or the server's error about a client's packet, and the client's about a server's; of the packet inside only
    eight bytes of transport header, its checksum as well, or all."""
    line, seen, ports = connection(kind, hosts, snat, dnat)
    client, server, _, _, router = hosts
    for extensions in ([],) if hosts is V4 else ([], [IPv6ExtHdrDestOpt()]):
        def inner(src, dst, sport, dport, reply):
            p = ip(src, dst, *extensions) / l4(kind, sport, dport, reply)
            return raw(p)[:len(ip(src, dst, *extensions)) + quoted]

        for sender in (router, seen[1]):
            before = error_of(kind, hosts, inner(seen[0], seen[1], *ports, False), sender, seen[0])
            # The server hides behind its address, and so does who speaks for it.
            after = error_of(kind, hosts, inner(client, server, SPORT, DPORT, False), server if dnat else sender, client)
            assert nat(before, line, 'reply', 'error').hex() == raw(after).hex()
        for sender in (router, client):
            before = error_of(kind, hosts, inner(server, client, SPORT, DPORT, True), sender, server)
            after = error_of(kind, hosts, inner(seen[1], seen[0], *ports, True), seen[0] if snat else sender, seen[1])
            assert nat(before, line, 'error').hex() == raw(after).hex()


def test_inner_without_checksum(nat):
    line, seen, ports = connection('udp', V4, True, True)
    inner = raw(ip(seen[0], seen[1]) / l4('udp', *ports, none=True))
    want = raw(ip(*V4[:2]) / l4('udp', SPORT, DPORT, none=True))
    assert nat(error_of('udp', V4, inner, V4[4], seen[0]), line, 'reply', 'error').hex() == \
        raw(error_of('udp', V4, want, V4[1], V4[0])).hex()


def test_inner_sctp(nat):
    """Its CRC stays: it covers what is not there."""
    line, seen, ports = connection('sctp', V4, True, True)
    inner = bytearray(raw(ip(seen[0], seen[1]) / l4('sctp', *ports))[:40])
    want = bytearray(raw(ip(*V4[:2]) / l4('sctp', SPORT, DPORT))[:40])
    want[28:32] = inner[28:32]
    assert nat(error_of('udp', V4, bytes(inner), V4[4], seen[0]), line, 'reply', 'error').hex() == \
        raw(error_of('udp', V4, bytes(want), V4[1], V4[0])).hex()


def test_inner_first_fragment_and_routing(nat):
    line, seen, ports = connection('udp', V6, True, True)
    first = IPv6ExtHdrFragment(m=1, id=5)

    def fragment(src, dst, sport, dport):
        whole = raw(ip(src, dst) / l4('udp', sport, dport))
        p = raw(ip(src, dst, first, nh=44) / Raw(whole[40:80]))
        return p[:40] + bytes([17]) + p[41:]

    assert nat(error_of('udp', V6, fragment(*seen, *ports), V6[4], seen[0]), line, 'reply', 'error').hex() == \
        raw(error_of('udp', V6, fragment(*V6[:2], SPORT, DPORT), V6[1], V6[0])).hex()

    # On its way through a routing header: the checksum has the last address of it and does not follow dst.
    def routed(src, dst, sport, dport):
        return raw(ip(src, dst, IPv6ExtHdrRouting(segleft=1, addresses=['2001:db8:5::5'])) / l4('udp', sport, dport))

    assert nat(error_of('udp', V6, routed(*seen, *ports), V6[4], seen[0]), line, 'reply', 'error').hex() == \
        raw(error_of('udp', V6, routed(*V6[:2], SPORT, DPORT), V6[1], V6[0])).hex()


@pytest.mark.parametrize('hosts', [V4, V6], ids=['v4', 'v6'])
def test_unfinished_checksums(nat, hosts):
    """A pseudo-header's sum follows the addresses; nothing of an ICMPv6 error is summed up before it is finished."""
    line, seen, ports = connection('tcp', hosts, True, True)

    def pseudo(frame, l4_start, proto, offset):
        data = bytearray(raw(frame))
        p = bytes(data[26:34] if hosts is V4 else data[22:54]) + (len(data) - l4_start).to_bytes(4, 'big') + bytes([0, 0, 0, proto])
        total = sum(int.from_bytes(p[i:i + 2], 'big') for i in range(0, len(p), 2))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        data[l4_start + offset:l4_start + offset + 2] = total.to_bytes(2, 'big')
        return bytes(data)

    start = 34 if hosts is V4 else 54
    before = pseudo(ETH / ip(*hosts[:2]) / l4('tcp', SPORT, DPORT), start, 6, 16)
    after = pseudo(ETH / ip(*seen) / l4('tcp', *ports), start, 6, 16)
    assert nat(Raw(before), line, 'csum=%d,16' % start).hex() == after.hex()
    if hosts is V6:
        inner, want = (raw(ip(*h) / l4('tcp', *p)) for h, p in ((seen, ports), (hosts[:2], (SPORT, DPORT))))
        before = pseudo(error_of('tcp', hosts, inner, hosts[4], seen[0]), start, 58, 2)
        after = pseudo(error_of('tcp', hosts, want, hosts[1], hosts[0]), start, 58, 2)
        assert nat(Raw(before), line, 'csum=%d,2' % start, 'reply', 'error').hex() == after.hex()


def test_refused(nat):
    """Cut off, redirects, another protocol inside."""
    line, seen, ports = connection('udp', V4, True, True)
    inner = raw(ip(*seen) / l4('udp', *ports))
    error = error_of('udp', V4, inner, V4[4], seen[0])
    for quoted in range(27):
        assert nat(error_of('udp', V4, inner[:quoted], V4[4], seen[0]), line, 'reply', 'error') == 'error: Invalid argument'
    for cut in (42, 61, 69):
        assert nat(error, line, 'reply', 'error', 'cut=%d' % cut) == 'error: Invalid argument'
    assert isinstance(nat(error, line, 'reply', 'error', 'cut=70'), bytes)
    redirect = ETH / ip(V4[4], seen[0]) / ICMP(type=5, code=1, gw='10.0.0.9') / Raw(inner)
    assert nat(redirect, line, 'reply', 'error') == 'error: Invalid argument'
    line6, seen6, ports6 = connection('udp', V6, True, True)
    redirect6 = ETH / ip(V6[4], seen6[0]) / ICMPv6ND_Redirect(tgt='fe80::1', dst='fe80::1')
    assert nat(redirect6, line6, 'reply', 'error') == 'error: Invalid argument'
    other = error_of('udp', V4, raw(ip(*seen) / l4('tcp', *ports)), V4[4], seen[0])
    assert nat(other, line, 'reply', 'error') == 'error: Invalid argument'
