# SPDX-License-Identifier: Apache-2.0
"""The flow key of a frame, compared with what scapy says about the same bytes.

No daemon and no root: flow_keys (test/lib/flow_keys.c) prints the keys.
"""

import ipaddress
import re
import subprocess

import pytest
from scapy.contrib.igmp import IGMP
from scapy.contrib.mpls import MPLS
from scapy.contrib.nsh import NSH
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS,
                                ICMPv6ND_RS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptMTU,
                                ICMPv6NDOptSrcLLAddr, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Padding, Raw, bind_bottom_up

from xvio import program

# What scapy can read, but is not told to.
bind_bottom_up(Ether, ARP, type=0x8035)
bind_bottom_up(IP, IGMP, proto=2)
bind_bottom_up(AH, TCP, nh=6)

A, B = '02:00:00:00:00:01', '06:00:00:00:00:02'
NONEXT, ESP, AUTH, DEST, FRAG, ROUTER, HOP = (1 << i for i in range(7))


def ether(**fields):
    return Ether(src=A, dst=B, **fields)


def ip4(**fields):
    return IP(**{'src': '10.0.0.1', 'dst': '192.168.255.254', 'tos': 0xb8, 'ttl': 63, **fields})


def ip6(**fields):
    return IPv6(**{'src': '2001:db8::1', 'dst': 'fe80::ff:fe00:2', 'tc': 0xab, 'fl': 0x12345, 'hlim': 7,
                   **fields})


def udp(**fields):
    return UDP(**{'sport': 4660, 'dport': 53, **fields})


def tcp(**fields):
    return TCP(**{'sport': 65535, 'dport': 80, 'flags': 'PA', **fields})


def hop(**fields):
    return IPv6ExtHdrHopByHop(options=[PadN(optdata=b'\0' * 4)], **fields)


def dest():
    return IPv6ExtHdrDestOpt(options=[PadN(optdata=b'\0' * 12)])


DATA = Raw(bytes(range(64)))

FRAMES = {
    # L2
    'unknown-type': ether(type=0x88b5) / DATA,
    'llc': ether() / LLC(dsap=0x42, ssap=0x42, ctrl=3) / DATA,
    'snap-other-oui': ether(type=40) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(OUI=12, code=0x2000) / DATA,
    'snap-udp': ether(type=100) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(OUI=0, code=0x800) / ip4() / udp(),
    'vlan-udp': ether() / Dot1Q(vlan=10, prio=5) / ip4() / udp() / DATA,
    'vlan-0': ether() / Dot1Q(vlan=0, prio=7) / ip4() / udp() / DATA,
    'vlan-4095-dei': ether() / Dot1Q(vlan=4095, prio=3, id=1) / ip4() / udp() / DATA,
    'vlan-tcp6': ether() / Dot1Q(vlan=11) / ip6() / tcp() / DATA,
    'vlan-arp': ether() / Dot1Q(vlan=12) / ARP(hwsrc=A, psrc='10.0.0.1', pdst='10.0.0.2'),
    'service-tag': ether() / Dot1AD(vlan=100) / ip4() / udp() / DATA,
    'qinq-udp': ether() / Dot1AD(vlan=100, prio=1) / Dot1Q(vlan=10, prio=6) / ip4() / udp() / DATA,
    'qinq-tcp6': ether() / Dot1Q(vlan=100) / Dot1Q(vlan=10) / ip6() / tcp() / DATA,
    'three-tags': ether() / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / ip4() / udp(),
    'eight-tags': ether() / Dot1AD(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / Dot1Q(vlan=4) /
                  Dot1Q(vlan=5) / Dot1Q(vlan=6) / Dot1Q(vlan=7) / Dot1Q(vlan=8) / ip4() / udp(),
    # ARP
    'arp-request': ether() / ARP(op=1, hwsrc=A, psrc='10.0.0.1', pdst='10.0.0.2'),
    'arp-reply': ether() / ARP(op=2, hwsrc=A, psrc='10.0.0.1', hwdst=B, pdst='10.0.0.2') / Padding(b'\0' * 18),
    'rarp': ether(type=0x8035) / ARP(op=3, hwsrc=A, psrc='10.0.0.1', hwdst=B, pdst='10.0.0.2'),
    # IPv4
    'udp': ether() / ip4() / udp() / DATA,
    'udp-empty': ether() / ip4() / udp(),
    'udp-padded': ether() / ip4() / udp() / Padding(b'\0' * 18),
    'udp-big': ether() / ip4() / udp() / Raw(b'x' * 8900),
    'udp-other-ports': ether() / ip4(tos=0, ttl=255) / udp(sport=0, dport=65535) / DATA,
    'tcp': ether() / ip4() / tcp() / DATA,
    'tcp-syn': ether() / ip4(flags='DF') / tcp(flags='S', options=[('MSS', 1460), ('WScale', 7)]),
    'tcp-all-flags': ether() / ip4() / tcp(flags=0x1ff) / DATA,
    'tcp-no-flags': ether() / ip4() / tcp(flags=0) / DATA,
    'tcp-reserved-flags': ether() / ip4() / tcp(flags='A', reserved=7) / DATA,
    'tcp-most-options': ether() / ip4() / tcp(options=[('NOP', None)] * 40) / DATA,
    'sctp': ether() / ip4() / SCTP(sport=1000, dport=2000) / DATA,
    'icmp-echo': ether() / ip4() / ICMP(type=8) / DATA,
    'icmp-unreachable': ether() / ip4() / ICMP(type=3, code=13) / DATA,
    'igmp-report': ether() / ip4() / IGMP(type=0x16, gaddr='224.0.0.251'),
    'gre': ether() / ip4() / GRE() / DATA,
    'esp': ether() / ip4(proto=50) / DATA,
    'ip-options': ether() / ip4(options=[b'\1' * 4]) / udp() / DATA,
    'ip-most-options': ether() / ip4(options=[b'\1' * 40]) / tcp() / DATA,
    'fragment-first': ether() / ip4(flags='MF') / udp(len=2000) / DATA,
    'fragment-middle': ether() / ip4(flags='MF', frag=100, proto=17) / DATA,
    'fragment-last': ether() / ip4(frag=200, proto=6) / DATA,
    'fragment-tiny': ether() / ip4(flags='MF', proto=6) / Raw(b'\1' * 8),
    'dont-fragment': ether() / ip4(flags='DF') / udp() / DATA,
    # IPv6
    'udp6': ether() / ip6() / udp() / DATA,
    'udp6-padded': ether() / ip6() / udp() / Padding(b'\0' * 8),
    'tcp6': ether() / ip6() / tcp() / DATA,
    'tcp6-options': ether() / ip6() / tcp(flags='S', options=[('Timestamp', (1, 2))]),
    'tcp6-plain': ether() / ip6(tc=0, fl=0, hlim=255) / tcp(flags='FA') / DATA,
    'sctp6': ether() / ip6() / SCTP(sport=1000, dport=2000) / DATA,
    'no-next-header': ether() / ip6(nh=59),
    'esp6': ether() / ip6(nh=50) / DATA,
    'hop-udp6': ether() / ip6() / hop() / udp() / DATA,
    'hop-dest-routing-tcp6': ether() / ip6() / hop() / dest() / IPv6ExtHdrRouting(addresses=['2001:db8::5']) /
                             tcp() / DATA,
    'ah-tcp6': ether() / ip6() / AH(nh=6, payloadlen=4, spi=1, seq=1, icv=b'\0' * 12) / tcp() / DATA,
    'fragment6-first': ether() / ip6() / IPv6ExtHdrFragment(m=1, id=1) / udp(len=2000) / DATA,
    'fragment6-later': ether() / ip6() / IPv6ExtHdrFragment(nh=17, offset=10, m=1, id=1) / DATA,
    'fragment6-last': ether() / ip6() / IPv6ExtHdrFragment(nh=6, offset=10, id=1) / DATA,
    'fragment6-atomic': ether() / ip6() / IPv6ExtHdrFragment(id=1) / udp() / DATA,
    'hop-fragment6-dest': ether() / ip6() / hop() / IPv6ExtHdrFragment(m=1, id=1) / dest() / udp(len=2000) / DATA,
    'icmp6-echo': ether() / ip6() / ICMPv6EchoRequest() / DATA,
    'icmp6-unreachable': ether() / ip6() / ICMPv6DestUnreach(code=4) / DATA,
    'icmp6-rs': ether() / ip6() / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=A),
    'nd-solicitation': ether() / ip6() / ICMPv6ND_NS(tgt='2001:db8::9') / ICMPv6NDOptSrcLLAddr(lladdr=A),
    'nd-solicitation-bare': ether() / ip6() / ICMPv6ND_NS(tgt='2001:db8::9'),
    'nd-advertisement': ether() / ip6() / ICMPv6ND_NA(tgt='2001:db8::9') / ICMPv6NDOptDstLLAddr(lladdr=B),
    'nd-both': ether() / ip6() / ICMPv6ND_NA(tgt='fe80::9') / ICMPv6NDOptMTU() / ICMPv6NDOptSrcLLAddr(lladdr=A) /
               ICMPv6NDOptDstLLAddr(lladdr=B),
    # Labels, service headers
    'mpls': ether() / MPLS(label=22, cos=3, ttl=64) / ip4() / udp(),
    'mpls-3': ether() / MPLS(label=1, s=0) / MPLS(label=2, s=0, cos=7) / MPLS(label=1048575, s=1, ttl=255) / ip4(),
    'mpls-16': ether() / MPLS(label=1, s=0) / MPLS(label=2, s=0) / MPLS(label=3, s=0) / MPLS(label=4, s=0) /
               MPLS(label=5, s=0) / MPLS(label=6, s=0) / MPLS(label=7, s=0) / MPLS(label=8, s=0) /
               MPLS(label=9, s=0) / MPLS(label=10, s=0) / MPLS(label=11, s=0) / MPLS(label=12, s=0) /
               MPLS(label=13, s=0) / MPLS(label=14, s=0) / MPLS(label=15, s=0) / MPLS(label=16, s=1) / ip4(),
    'mpls-vlan': ether() / Dot1Q(vlan=10, type=0x8847) / MPLS(label=22) / ip4() / udp(),
    'nsh-1': ether() / NSH(spi=0x3020, si=254, nextproto=3, ttl=63) / ether() / ip4(),
    'nsh-2': ether() / NSH(mdtype=2, spi=5, si=1, length=2, nextproto=1) / ip4(),
}


def split(text):
    """"a(x=1,b(y)),c(2)" -> [("a", "x=1,b(y)"), ("c", "2")]"""
    groups, depth, start = [], 0, 0
    for i, char in enumerate(text):
        if char == '(':
            depth += 1
            if depth == 1:
                name, body = text[start:i].lstrip(','), i + 1
        elif char == ')':
            depth -= 1
            if depth == 0:
                groups.append((name, text[body:i]))
                start = i + 1
    assert depth == 0 and start == len(text), text
    return groups


METADATA = {'skb_priority': '0', 'skb_mark': '0', 'ct_state': '0', 'ct_zone': '0', 'ct_mark': '0', 'ct_label': '0',
            'recirc_id': '0', 'dp_hash': '0', 'in_port': '0'}


class Key:
    """A line of flow_keys: .result, layout, and .groups by name, without the metadata; .tags is [(TPID, text)]."""

    def __init__(self, line):
        *numbers, text = line.split(' ', 6)
        self.result, self.l2_5, self.l3, self.l4, self.l4_len, self.end = map(int, numbers)
        self.tags, self.groups = [], {}
        groups = split(text)
        while groups:
            name, body = groups.pop(0)
            if name == 'encap':
                self.tags.append((self.groups.pop('eth_type'), self.groups.pop('vlan')))
                assert not groups
                groups = split(body)
            else:
                assert name not in self.groups
                self.groups[name] = body
        for name, zero in METADATA.items():
            assert self.groups.pop(name) == zero, text


def keys_of(packets):
    """Keys of (packet type, bytes)."""
    lines = ''.join('%#x %s\n' % (kind, bytes(data).hex()) for kind, data in packets)
    out = subprocess.run([program('flow_keys')], input=lines, capture_output=True, text=True, timeout=60, check=True)
    keys = [Key(line) for line in out.stdout.splitlines()]
    assert len(keys) == len(packets)
    return keys


@pytest.fixture(scope='module')
def keys():
    return dict(zip(FRAMES, keys_of([(0, frame) for frame in FRAMES.values()])))


def dissected(name):
    """The bytes as scapy reads them. Of NSH it does not read all that it writes."""
    frame = FRAMES[name]
    return frame if NSH in frame else Ether(bytes(frame))


def number(address):
    return str(ipaddress.ip_address(address))


def l3_fields(packet):
    """What the groups behind eth_type must be; packet is scapy's reading of the bytes."""
    if ARP in packet:
        arp = packet[ARP]
        return {'arp': 'sip=%s,tip=%s,op=%d,sha=%s,tha=%s' % (arp.psrc, arp.pdst, arp.op, arp.hwsrc, arp.hwdst)}
    if MPLS in packet:
        labels, layer = [], packet[MPLS]
        while isinstance(layer, MPLS) and len(labels) < 3:
            labels.append('label=%d,tc=%d,ttl=%d,bos=%d' % (layer.label, layer.cos, layer.ttl, layer.s))
            layer = layer.payload
        return {'mpls': ','.join(labels)}
    if NSH in packet:
        nsh = packet[NSH]
        flags = nsh.oam * 2 + nsh.unused1
        text = 'flags=%d,ttl=%d,mdtype=%d,np=%d,spi=%#x,si=%d' % (flags, nsh.ttl, nsh.mdtype, nsh.nextproto, nsh.spi,
                                                                 nsh.si)
        if nsh.mdtype == 1:
            context = bytes(nsh)[8:24]
            text += ''.join(',c%d=0x%x' % (i + 1, int.from_bytes(context[4 * i:4 * i + 4], 'big')) for i in range(4))
        return {'nsh': text}
    if IP in packet:
        ip = packet[IP]
        frag = 'later' if ip.frag else 'first' if ip.flags.MF else 'no'
        text = 'src=%s,dst=%s,proto=%d,tos=%s,ttl=%d,frag=%s' % (ip.src, ip.dst, ip.proto, sharp(ip.tos), ip.ttl, frag)
        return {'ipv4': text, **({} if frag == 'later' else l4_fields(packet, ip.proto))}
    if IPv6 in packet:
        ip = packet[IPv6]
        proto, exthdrs, frag = extensions(ip)
        groups = {'ipv6': 'src=%s,dst=%s,label=%s,proto=%d,tclass=%s,hlimit=%d,frag=%s' %
                          (number(ip.src), number(ip.dst), sharp(ip.fl), proto, sharp(ip.tc), ip.hlim, frag)}
        if exthdrs:
            groups['ipv6_exthdrs'] = '%#x' % exthdrs
        return {**groups, **({} if frag == 'later' else l4_fields(packet, proto))}
    return {}


def sharp(value):
    """As C's %#x."""
    return '%#x' % value if value else '0'


def extensions(ip):
    """Protocol behind the extension headers, the headers, the kind of fragment."""
    bits = {0: HOP, 60: DEST, 43: ROUTER, 44: FRAG, 51: AUTH}
    proto, layer, seen, frag = ip.nh, ip.payload, 0, 'no'
    while proto in bits:
        seen |= bits[proto]
        if proto == 44:
            if layer.offset:
                return 44, seen, 'later'
            if layer.m:
                frag = 'first'
        proto, layer = layer.nh, layer.payload
    return proto, seen | {59: NONEXT, 50: ESP}.get(proto, 0), frag


def l4_fields(packet, proto):
    """Groups of the transport header, if all of it is there."""
    if TCP in packet and len(packet[TCP]) < 20:
        return {'tcp': 'src=0,dst=0', 'tcp_flags': '0'}
    if TCP in packet:
        header = packet[TCP]
        names = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns', '[200]', '[400]', '[800]']
        bits = int.from_bytes(bytes(header)[12:14], 'big') & 0xfff
        flags = '|'.join(name for i, name in enumerate(names) if bits >> i & 1) or '0'
        return {'tcp': 'src=%d,dst=%d' % (header.sport, header.dport), 'tcp_flags': flags}
    for name, layer in ('udp', UDP), ('sctp', SCTP):
        if layer in packet:
            return {name: 'src=%d,dst=%d' % (packet[layer].sport, packet[layer].dport)}
    for name, layer in ('icmp', ICMP), ('igmp', IGMP):
        if layer in packet:
            code = packet[ICMP].code if layer is ICMP else bytes(packet[IGMP])[1]
            return {name: 'type=%d,code=%d' % (packet[layer].type, code)}
    if proto == 58:
        layer = next(p for p in layers(packet) if type(p).__name__.startswith('ICMPv6'))
        groups = {'icmpv6': 'type=%d,code=%d' % (layer.type, layer.code)}
        if ICMPv6ND_NS in packet or ICMPv6ND_NA in packet:
            sll, tll = (packet[o].lladdr if o in packet else '00:00:00:00:00:00'
                        for o in (ICMPv6NDOptSrcLLAddr, ICMPv6NDOptDstLLAddr))
            groups['nd'] = 'target=%s,sll=%s,tll=%s' % (number(layer.tgt), sll, tll)
        return groups
    return {}


def layers(packet):
    while packet:
        yield packet
        packet = packet.payload


def tags_of(frame):
    """Offset of the type behind the tags, and these: read from the bytes, two at most."""
    offset, tags = 12, []
    while len(tags) < 2 and frame[offset:offset + 2] in (b'\x81\0', b'\x88\xa8'):
        tci = int.from_bytes(frame[offset + 2:offset + 4], 'big')
        tags.append(('0x' + frame[offset:offset + 2].hex(), 'vid=%d,pcp=%d' % (tci & 0xfff, tci >> 13)))
        offset += 4
    return offset, tags


@pytest.mark.parametrize('name', FRAMES)
def test_as_scapy(keys, name):
    key, data = keys[name], bytes(FRAMES[name])
    packet = dissected(name)
    offset, tags = tags_of(data)
    kind = int.from_bytes(data[offset:offset + 2], 'big')
    if kind < 0x600 and SNAP in packet and packet[SNAP].OUI == 0:
        kind = packet[SNAP].code
    groups = {'packet_type': 'ns=0,id=0', 'eth': 'src=%s,dst=%s' % (packet.src, packet.dst),
              'eth_type': '0x%04x' % kind if kind >= 0x600 else '0/0xffff'}
    if kind not in (0x8100, 0x88a8):
        groups.update(l3_fields(packet))
    assert key.result == 0
    assert key.tags == tags
    assert key.groups == groups


TRANSPORT = {TCP: lambda p: (p.dataofs or 5) * 4, UDP: lambda p: 8, SCTP: lambda p: 12, ICMP: lambda p: 8, IGMP: lambda p: 8}


@pytest.mark.parametrize('name', FRAMES)
def test_layout(keys, name):
    """Offsets: those at which scapy's own layers lie."""
    key, data = keys[name], bytes(FRAMES[name])
    packet = dissected(name)
    if len(tags_of(data)[1]) == 2 and key.groups['eth_type'] in ('0x8100', '0x88a8'):
        assert (key.l2_5, key.l3, key.l4, key.end) == (0, 0, 0, 0)
        return
    if MPLS in packet or NSH in packet:
        layer = packet[MPLS] if MPLS in packet else packet[NSH]
        assert (key.l2_5, key.l3, key.l4) == (len(data) - len(layer), 0, 0)
        return
    assert key.l2_5 == 0
    l3 = next((layer for layer in (IP, IPv6, ARP) if layer in packet), None)
    if l3 is None:
        assert (key.l3, key.l4, key.end) == (0, 0, 0)
        return
    assert key.l3 == data.index(bytes(packet[l3])[:20])
    length = {IP: lambda p: p.len, IPv6: lambda p: 40 + p.plen, ARP: lambda p: 28}[l3](packet[l3])
    assert key.end == key.l3 + length
    for layer, header_len in TRANSPORT.items():
        if layer in packet and len(packet[layer]) >= header_len(packet[layer]):
            assert key.l4 == data.rindex(bytes(packet[layer])[:8])
            assert key.l4_len == header_len(packet[layer])
    if 'frag=later' in str(key.groups):
        assert (key.l4, key.l4_len) == (0, 0)
    assert key.l4 + key.l4_len <= key.end


def test_enough_frames():
    assert len(FRAMES) >= 60
    assert len({bytes(frame) for frame in FRAMES.values()}) == len(FRAMES)


L3_TYPES = {0x800: IP, 0x86dd: IPv6, 0x8847: MPLS, 0x894f: NSH, 0x806: ARP}


def test_without_ethernet(keys):
    """The same packets, beginning with L3, have the same fields but for those of Ethernet."""
    names, packets = [], []
    for name, frame in FRAMES.items():
        offset, tags = tags_of(bytes(frame))
        kind = int.from_bytes(bytes(frame)[offset:offset + 2], 'big')
        if kind in L3_TYPES:
            names.append(name)
            packets.append((0x10000 | kind, bytes(frame)[offset + 2:]))
    assert len(names) > 50
    for name, key in zip(names, keys_of(packets)):
        whole = dict(keys[name].groups)
        del whole['eth']
        whole['packet_type'] = 'ns=1,id=0x%x' % int(whole['eth_type'], 16)
        assert key.groups == whole, name
        assert key.tags == []
        assert key.l4_len == keys[name].l4_len


def test_cut_off():
    """Every prefix of every frame: an answer, with no field that the bytes seen cannot have told."""
    for name, frame in FRAMES.items():
        data = bytes(frame)[:160]
        for n, key in enumerate(keys_of([(0, data[:i]) for i in range(len(data) + 1)])):
            assert (key.result == 1) == (n < 14), (name, n)
            assert key.l4 + key.l4_len <= n and key.l3 <= n and key.end <= n, (name, n)
            if key.l4_len == 0:
                assert not re.search(r'(tcp|udp|sctp)\(src=[1-9]', str(key.groups)), (name, n)
