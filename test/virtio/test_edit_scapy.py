# SPDX-License-Identifier: Apache-2.0
"""Header edits, pushes and pops against frames that scapy builds anew, byte for byte.

No daemon: test/lib/edit_tool.c calls the code of src/net/edit.h, push_pop.h and packet_share.h.
"""

import random
import socket
import subprocess

import pytest
from scapy.compat import raw
from scapy.contrib.mpls import MPLS
from scapy.contrib.nsh import NSH
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptMTU, ICMPv6NDOptSrcLLAddr, IPv6, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Raw
from scapy.utils import inet_aton, mac2str

from xvio import program

DATA = Raw(bytes(range(101)))
A, B, C = '02:00:00:00:00:01', '02:00:00:00:00:02', '06:00:00:00:00:aa'
IP4, IP6, NSH_TYPE = 0x10800, 0x186dd, 0x1894f


@pytest.fixture(scope='module')
def edit():
    """edit(frame, 'field=value', ...) -> bytes; .line has what the tool said."""
    tool = subprocess.Popen([program('edit_tool')], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(frame, *steps):
        tool.stdin.write(' '.join([raw(frame).hex(), *steps]) + '\n')
        tool.stdin.flush()
        run.line = tool.stdout.readline().strip()
        assert run.line and not run.line.startswith('error'), (run.line, steps)
        return bytes.fromhex(run.line.split()[0])

    yield run
    tool.stdin.close()
    assert tool.wait(10) == 0


def mac(m):
    return mac2str(m).hex()


def ip4(a):
    return inet_aton(a).hex()


def ip6(a):
    return socket.inet_pton(socket.AF_INET6, a).hex()


def same(got, want):
    assert got.hex() == raw(want).hex()


def eth(**k):
    return Ether(**{**dict(dst=B, src=A), **k})


def v4(**k):
    return IP(**{**dict(src='10.0.0.1', dst='10.0.0.2', ttl=64, tos=0, id=7), **k})


def v6(**k):
    return IPv6(**{**dict(src='2001:db8::1', dst='2001:db8::2', hlim=64, tc=0, fl=0), **k})


def arp(**k):
    return ARP(**{**dict(op=1, hwsrc=A, psrc='10.0.0.1', hwdst='00:00:00:00:00:00', pdst='10.0.0.2'), **k})


def nsh(**k):
    return NSH(**{**dict(oam=0, ttl=63, mdtype=1, nextproto=3, spi=10, si=255, context_header=bytes(16)), **k})


def tcp(**k):
    return TCP(**{**dict(sport=1000, dport=80, options=[('NOP', None)] * 4), **k})


def udp(**k):
    return UDP(**{**dict(sport=1000, dport=53), **k})


def sctp(**k):
    return SCTP(**{**dict(sport=1000, dport=5060, tag=9), **k}) / SCTPChunkData(data=bytes(range(200)))


def icmp(**k):
    return ICMP(**{**dict(type=8, code=0, id=1, seq=2), **k})


# Field of the key, the layer's builder and field, value in scapy's words and in hex.
ETHER = [('eth_dst', eth, 'dst', C, mac(C)), ('eth_src', eth, 'src', C, mac(C))]
V4 = [('ipv4_src', v4, 'src', '192.168.255.1', ip4('192.168.255.1')),
      ('ipv4_dst', v4, 'dst', '255.255.255.255', ip4('255.255.255.255')),
      ('ip_tos', v4, 'tos', 0xb8, 'b8'), ('ip_ttl', v4, 'ttl', 63, '3f'), ('ip_ttl', v4, 'ttl', 0, '00')]
V6 = [('ipv6_src', v6, 'src', 'fe80::1:ffff', ip6('fe80::1:ffff')), ('ipv6_dst', v6, 'dst', 'ff02::1', ip6('ff02::1')),
      ('ip_tos', v6, 'tc', 0xb8, 'b8'), ('ip_ttl', v6, 'hlim', 63, '3f'), ('ipv6_label', v6, 'fl', 0xabcde, '000abcde')]
PORTS = [('tp_src', 'sport', 65535, 'ffff'), ('tp_dst', 'dport', 0, '0000')]
HOP, FRAGMENT = IPv6ExtHdrHopByHop(), IPv6ExtHdrFragment(m=0, id=5)
OVER_V4 = {
    'tcp': (tcp, lambda l4: l4 / DATA, PORTS),
    'udp': (udp, lambda l4: l4 / DATA, PORTS),
    'udp-none': (lambda **k: udp(chksum=0, **k), lambda l4: l4 / DATA, PORTS),
    'sctp': (sctp, lambda l4: l4, PORTS),
    'icmp': (icmp, lambda l4: l4 / DATA, [('tp_src', 'type', 0, '0000'), ('tp_dst', 'code', 3, '0003')]),
}
OVER_V6 = {
    'tcp': OVER_V4['tcp'],
    'udp': OVER_V4['udp'],
    'sctp': OVER_V4['sctp'],
    'icmp6': (lambda **k: ICMPv6EchoRequest(id=1, seq=2, **k), lambda l4: l4 / DATA,
              [('tp_src', 'type', 129, '0081'), ('tp_dst', 'code', 3, '0003')]),
}
L2 = {'plain': [], 'vlan': [Dot1Q(vlan=100, prio=3)], 'qinq': [Dot1AD(vlan=5), Dot1Q(vlan=100)]}
L3 = {
    'v4': (v4, [], V4, OVER_V4),
    'v4-options': (lambda **k: v4(options=[IPOption_NOP()] * 8, **k), [], V4, OVER_V4),
    'v6': (v6, [], V6, OVER_V6),
    'v6-extensions': (v6, [HOP, IPv6ExtHdrRouting(segleft=0, addresses=['2001:db8::9']), FRAGMENT], V6, OVER_V6),
}


def stack(*layers):
    frame = layers[0].copy()
    for layer in layers[1:]:
        frame = frame / layer.copy()
    return frame


@pytest.mark.parametrize('l2', L2)
@pytest.mark.parametrize('l3,l4', [(l3, l4) for l3 in L3 for l4 in L3[l3][3]])
def test_ip_fields(edit, l2, l3, l4):
    build3, extensions, fields3, over = L3[l3]
    build4, payload, fields4 = over[l4]

    def frame(k2, k3, k4):
        return stack(eth(**k2), *L2[l2], build3(**k3), *extensions, payload(build4(**k4)))

    before, every = frame({}, {}, {}), ({}, {}, {})
    settings = {}
    for level, fields in ((0, [(f, k, v, h) for f, _, k, v, h in ETHER]),
                          (1, [(f, k, v, h) for f, _, k, v, h in fields3]), (2, fields4)):
        for field, key, value, hexed in fields:
            changed = ({}, {}, {})
            changed[level][key] = every[level][key] = value
            same(edit(before, field + '=' + hexed), frame(*changed))
            settings[field] = hexed
    steps = ['%s=%s' % s for s in settings.items()]
    same(edit(before, *steps), frame(*every))
    same(edit(before, 'own', *steps), frame(*every))


@pytest.mark.parametrize('l2', L2)
def test_arp(edit, l2):
    fields = [('arp_op', 'op', 2, '02'), ('arp_sha', 'hwsrc', C, mac(C)), ('arp_tha', 'hwdst', C, mac(C)),
              ('arp_spa', 'psrc', '1.2.3.4', '01020304'), ('arp_tpa', 'pdst', '4.3.2.1', '04030201')]
    before = stack(eth(), *L2[l2], arp())
    for field, key, value, hexed in fields:
        same(edit(before, field + '=' + hexed), stack(eth(), *L2[l2], arp(**{key: value})))
    same(edit(before, *('%s=%s' % (f, h) for f, _, _, h in fields)),
         stack(eth(), *L2[l2], arp(**{k: v for _, k, v, _ in fields})))


@pytest.mark.parametrize('message,option,field', [
    (ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, 'nd_sll'), (ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, 'nd_tll')])
def test_neighbour_discovery(edit, message, option, field):
    def frame(target='fe80::2', lladdr=A, **k):
        return stack(eth(), v6(**k), message(tgt=target), ICMPv6NDOptMTU(), option(lladdr=lladdr))

    same(edit(frame(), 'nd_target=' + ip6('fe80::ff')), frame(target='fe80::ff'))
    same(edit(frame(), field + '=' + mac(C)), frame(lladdr=C))
    same(edit(frame(), field + '=' + mac(C), 'nd_target=' + ip6('fe80::ff'), 'ipv6_src=' + ip6('fe80::3')),
         frame(lladdr=C, target='fe80::ff', src='fe80::3'))
    same(edit(stack(eth(), v6(), message(tgt='fe80::2')), field + '=' + mac(C)),
         stack(eth(), v6(), message(tgt='fe80::2')))


def test_routing_header_destination(edit):
    """On the way, the checksum has the last address of the routing header: it does not follow the next one."""
    def frame(**k):
        return stack(eth(), v6(**k), IPv6ExtHdrRouting(segleft=1, addresses=['2001:db8::9']), tcp(), DATA)

    same(edit(frame(), 'ipv6_dst=' + ip6('2001:db8::7')), frame(dst='2001:db8::7'))
    same(edit(frame(), 'ipv6_src=' + ip6('2001:db8::7')), frame(src='2001:db8::7'))


def first_fragment(frame, l3, l4_end):
    """The first bytes of a frame as an IPv4 fragment."""
    ip = IP(raw(frame)[l3:l4_end])
    ip.len, ip.flags, ip.chksum = l4_end - l3, 'MF', None
    return Ether(raw(frame)[:l3]) / ip


@pytest.mark.parametrize('l4', ['tcp', 'udp'])
def test_fragments(edit, l4):
    def frame(sport=1000, **k):
        return eth() / v4(**k) / OVER_V4[l4][0](sport=sport) / DATA

    same(edit(first_fragment(frame(), 14, 90), 'ipv4_src=01020304', 'tp_src=ffff'),
         first_fragment(frame(src='1.2.3.4', sport=65535), 14, 90))

    def later(**k):
        return eth() / v4(frag=10, proto=6, **k) / DATA

    same(edit(later(), 'ipv4_src=01020304', 'tp_src=ffff'), later(src='1.2.3.4'))


@pytest.mark.parametrize('build,field,value,offset', [(v4, 'ipv4_dst', '10.9.8.7', 16), (v6, 'ipv6_dst', 'fe80::7', 16),
                                                      (v4, 'ipv4_src', '10.9.8.7', 6), (v6, 'ipv6_src', 'fe80::7', 6)])
def test_unfinished_checksum(edit, build, field, value, offset):
    """A pseudo-header's sum follows the addresses and nothing else, and is finished to the right checksum."""
    def pseudo(frame):
        """The frame with the pseudo-header's sum where the checksum goes."""
        data, l3 = bytearray(raw(frame)), 14
        l4 = l3 + (20 if build is v4 else 40)
        p = bytes(data[l3 + 12:l3 + 20] if build is v4 else data[l3 + 8:l3 + 40])
        p += (len(data) - l4).to_bytes(4, 'big') + bytes([0, 0, 0, 6 if offset == 16 else 17])
        total = sum(int.from_bytes(p[i:i + 2], 'big') for i in range(0, len(p), 2))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        data[l4 + offset:l4 + offset + 2] = total.to_bytes(2, 'big')
        return bytes(data), l4

    def frame(port=80, **k):
        return eth() / build(**k) / (tcp(dport=port) if offset == 16 else udp(dport=port)) / DATA

    before, l4 = pseudo(frame())
    after, _ = pseudo(frame(port=443, **{field[-3:]: value}))
    hexed = ip4(value) if build is v4 else ip6(value)
    request = 'csum=%d,%d' % (l4, offset)
    assert edit(Raw(before), request, field + '=' + hexed, 'tp_dst=01bb').hex() == after.hex()
    assert edit.line.endswith('csum=%d' % l4)
    tagged = edit(Raw(before), request, field + '=' + hexed, 'vlan_push=8100,0064', 'tp_dst=01bb')
    assert tagged.hex() == (after[:12] + bytes.fromhex('81000064') + after[12:]).hex()
    assert edit.line.endswith('csum=%d' % (l4 + 4))


def test_vlan(edit):
    plain = eth() / v4() / tcp() / DATA
    one = eth() / Dot1Q(vlan=100, prio=3) / v4() / tcp() / DATA
    two = eth() / Dot1AD(vlan=5) / Dot1Q(vlan=100, prio=3) / v4() / tcp() / DATA
    three = eth() / Dot1Q(vlan=6) / Dot1AD(vlan=5) / Dot1Q(vlan=100, prio=3) / v4() / tcp() / DATA
    same(edit(plain, 'vlan_push=8100,6064'), one)
    same(edit(plain, 'vlan_push=8100,6064', 'vlan_push=88a8,0005'), two)
    same(edit(plain, 'vlan_push=8100,6064', 'vlan_push=88a8,0005', 'vlan_push=8100,0006'), three)
    same(edit(three, 'vlan_pop'), two)
    same(edit(two, 'vlan_pop', 'vlan_pop'), plain)
    same(edit(one, 'vlan0_tci=1007'), eth() / Dot1Q(vlan=7) / v4() / tcp() / DATA)
    same(edit(two, 'vlan1_tci=1007', 'vlan0_tpid=8100'),
         eth() / Dot1Q(vlan=5, type=0x8100) / Dot1Q(vlan=7) / v4() / tcp() / DATA)
    same(edit(plain, 'own', 'vlan_push=8100,6064', 'ipv4_dst=01020304', 'eth_dst=' + mac(C)),
         eth(dst=C) / Dot1Q(vlan=100, prio=3) / v4(dst='1.2.3.4') / tcp() / DATA)


def test_mpls(edit):
    plain = eth() / v4() / tcp() / DATA
    tagged = eth() / Dot1Q(vlan=100) / v4() / tcp() / DATA
    inner = v4() / tcp() / DATA

    def labels(*values, ttl=64):
        return stack(*(MPLS(label=v, s=i == len(values) - 1, cos=1, ttl=ttl) for i, v in enumerate(values)))

    def lse(label, bottom, ttl=64):
        return '%08x' % (label << 12 | 1 << 9 | bottom << 8 | ttl)

    same(edit(plain, 'mpls_push=%s,8847' % lse(16, 1)), eth(type=0x8847) / labels(16) / inner)
    same(edit(tagged, 'mpls_push=%s,8847' % lse(16, 1), 'mpls_push=%s,8848' % lse(17, 0)),
         eth() / Dot1Q(vlan=100, type=0x8848) / labels(17, 16) / inner)
    two = eth(type=0x8847) / labels(17, 16) / inner
    same(edit(two, 'mpls0=' + lse(99, 0)), eth(type=0x8847) / labels(99, 16) / inner)
    same(edit(two, 'mpls1=' + lse(99, 1)), eth(type=0x8847) / labels(17, 99) / inner)
    same(edit(two, 'mpls0=' + lse(17, 0, 9), 'mpls1=' + lse(16, 1, 9)),
         eth(type=0x8847) / labels(17, 16, ttl=9) / inner)
    same(edit(eth(type=0x8847) / labels(17, 18, 16, 19) / inner, 'mpls2=' + lse(99, 0)),
         eth(type=0x8847) / labels(17, 18, 99, 19) / inner)
    same(edit(two, 'mpls_pop=8847'), eth(type=0x8847) / labels(16) / inner)
    same(edit(two, 'mpls_pop=8847', 'mpls_pop=0800'), plain)
    same(edit(eth() / Dot1Q(vlan=100, type=0x8847) / labels(16) / inner, 'mpls_pop=0800'), tagged)
    same(edit(two, 'mpls_pop=8847', 'mpls_pop=0800', 'ip_ttl=05'), eth() / v4(ttl=5) / tcp() / DATA)
    # Before Ethernet, under an outer one.
    same(edit(plain, 'mpls_push=%s,8847,l2' % lse(16, 1), 'eth_push=%s,%s' % (mac(C), mac(B))),
         eth(dst=C, src=B, type=0x8847) / labels(16) / Raw(raw(plain)))
    same(edit(eth(type=0x8847) / labels(16) / Raw(raw(plain)), 'eth_pop', 'mpls_pop=6558'), plain)
    assert edit.line.split()[1] == 'type=0'
    same(edit(inner, 'type=%x' % IP4, 'mpls_push=%s,8847' % lse(16, 1)), labels(16) / inner)


def test_nsh(edit):
    plain = eth() / v4() / tcp() / DATA
    context = bytes(range(16))
    same(edit(plain, 'nsh_push=02,3f,01,00000aff,' + context.hex()),
         nsh(oam=1, context_header=context) / Raw(raw(plain)))
    assert edit.line.split()[1] == 'type=%x' % NSH_TYPE
    same(edit(plain, 'nsh_push=00,3f,01,00000aff,' + context.hex(), 'eth_push=%s,%s' % (mac(C), mac(B))),
         eth(dst=C, src=B, type=0x894f) / nsh(context_header=context) / Raw(raw(plain)))
    for l3, packet_type, proto in ((v4() / tcp() / DATA, IP4, 1), (v6() / udp() / DATA, IP6, 2),
                                   (nsh() / plain, NSH_TYPE, 4)):
        same(edit(l3, 'type=%x' % packet_type, 'nsh_push=00,3f,01,00000aff,' + context.hex()),
             nsh(context_header=context, nextproto=proto) / Raw(raw(l3)))
        same(edit(nsh(nextproto=proto) / Raw(raw(l3)), 'type=%x' % NSH_TYPE, 'nsh_pop'), l3)
        assert edit.line.split()[1] == 'type=%x' % packet_type
    # Metadata of type 2: one option of 8 bytes.
    md2 = bytes.fromhex('0001000401020304')
    same(edit(plain, 'nsh_push=00,3f,02,00000aff,' + md2.hex()),
         Raw(bytes.fromhex('0fc4020300000aff') + md2 + raw(plain)))
    same(edit(nsh() / Raw(raw(plain)), 'type=%x' % NSH_TYPE, 'nsh_pop'), plain)
    same(edit(eth(type=0x894f) / nsh() / Raw(raw(plain)), 'eth_pop', 'nsh_pop', 'ip_ttl=05'),
         eth() / v4(ttl=5) / tcp() / DATA)

    for type_, outer in ((NSH_TYPE, ()), (0, (eth(type=0x894f),))):
        def frame(**k):
            return stack(*outer, nsh(**k) / Raw(raw(plain)))

        args = ['type=%x' % type_] if type_ else []
        same(edit(frame(), *args, 'nsh_flags=02'), frame(oam=1))
        same(edit(frame(), *args, 'nsh_ttl=05'), frame(ttl=5))
        same(edit(frame(), *args, 'nsh_path_hdr=123456fe'), frame(spi=0x123456, si=0xfe))
        same(edit(frame(), *args, 'nsh_context=' + context.hex()), frame(context_header=context))
        same(edit(frame(), *args, 'nsh_flags=02', 'nsh_ttl=05', 'nsh_path_hdr=123456fe',
                  'nsh_context=' + context.hex()),
             frame(oam=1, ttl=5, spi=0x123456, si=0xfe, context_header=context))


def test_ethernet(edit):
    inner = v6() / udp() / DATA
    same(edit(eth() / inner, 'eth_pop'), inner)
    assert edit.line.split()[1] == 'type=%x' % IP6
    same(edit(eth() / Dot1AD(vlan=5) / Dot1Q(vlan=100) / inner, 'eth_pop'), inner)
    same(edit(inner, 'type=%x' % IP6, 'eth_push=%s,%s' % (mac(B), mac(A)), 'tp_dst=0000'),
         eth() / v6() / udp(dport=0) / DATA)
    same(edit(inner, 'type=%x' % IP6, 'ip_ttl=05', 'tp_dst=0000'), v6(hlim=5) / udp(dport=0) / DATA)


def test_random_nat(edit):
    """Many values, so that checksums come by 0 and 0xffff."""
    rand = random.Random(1)
    for _ in range(1500):
        build = rand.choice([tcp, udp])
        src, dst = ('%d.%d.%d.%d' % tuple(rand.choice([0, 255, rand.randrange(256)]) for _ in range(4)) for _ in '12')
        ports = [rand.choice([0, 65535, rand.randrange(65536)]) for _ in '12']
        data = Raw(bytes(rand.randrange(256) for _ in range(rand.randrange(9))))
        same(edit(eth() / v4() / build() / data, 'ipv4_src=' + ip4(src), 'ipv4_dst=' + ip4(dst),
                  'tp_src=%04x' % ports[0], 'tp_dst=%04x' % ports[1]),
             eth() / v4(src=src, dst=dst) / build(sport=ports[0], dport=ports[1]) / data)
