# SPDX-License-Identifier: Apache-2.0
"""Every type of tunnel against the kernel of a guest, whose NICs are the underlay.

    namespace: a tap per network (10.N.0.1) -- xviod -- uplinks, vhost -- guest: the other end of each tunnel (10.N.0.2)

The kernel has no device for Ethernet over MPLS, but tc pushes and pops labels, on what goes into and comes out of a
tunnel for MPLS (tc-mpls(8)). It knows no NVGRE either: that is GRE with a key whose last byte may be anything.
"""

import hashlib
import os
import random
import subprocess
import sys

import pytest

from guest import Guest, Nic, wait
from lab import unbalanced
from xvio import Xviod

PREFIX = 'xv%d' % (os.getpid() % 100000)
SIZE = 1 << 18
V4, V6, VL = ('198.18.77.1', '198.18.77.2'), ('2001:db8:77::1', '2001:db8:77::2'), ('198.18.78.1', '198.18.78.2')

VTEPS = {
    'v4': {'address': V4[0] + '/24'},
    'v6': {'address': V6[0] + '/64'},
    # Everything that is not the default.
    'vl': {'address': VL[0] + '/24', 'vlan': 20, 'csum': True, 'ttl': 'inherit', 'dscp': 'inherit', 'df': False},
}
ENDS = {'v4': V4, 'v6': V6, 'vl': VL}

# name: VTEP, keys of the network, what the guest calls "ip link" with; {l} and {r}: its address and ours.
NETWORKS = {
    'vxlan4': ('v4', dict(tunnel='vxlan', vni=101), 'vxlan id 101 local {l} remote {r} dstport 4789'),
    'gbp4': ('v4', dict(tunnel='vxlan', vni=102, gbp=7, udp_port=4790),
             'vxlan id 102 local {l} remote {r} dstport 4790 gbp'),
    'geneve4': ('v4', dict(tunnel='geneve', vni=103), 'geneve id 103 remote {r}'),
    'gre4': ('v4', dict(tunnel='gre'), 'gretap local {l} remote {r}'),
    'grekey4': ('v4', dict(tunnel='gre', vni=0xdeadbeef), 'gretap local {l} remote {r} key 0xdeadbeef'),
    'mplsgre4': ('v4', dict(tunnel='mpls-gre', vni=106), 'gre local {l} remote {r}'),
    'mplsudp4': ('v4', dict(tunnel='mpls-udp', vni=107),
                 'ipip mode mplsip local {l} remote {r} encap fou encap-sport auto encap-dport 6635'),
    'vxlan6': ('v6', dict(tunnel='vxlan', vni=101), 'vxlan id 101 local {l} remote {r} dstport 4789'),
    'gbp6': ('v6', dict(tunnel='vxlan', vni=102, gbp=65535, udp_port=4790),
             'vxlan id 102 local {l} remote {r} dstport 4790 gbp'),
    'geneve6': ('v6', dict(tunnel='geneve', vni=103), 'geneve id 103 remote {r}'),
    'gre6': ('v6', dict(tunnel='gre'), 'ip6gretap local {l} remote {r}'),
    'grekey6': ('v6', dict(tunnel='gre', vni=1), 'ip6gretap local {l} remote {r} key 1'),
    'mplsgre6': ('v6', dict(tunnel='mpls-gre', vni=16), 'ip6gre local {l} remote {r}'),
    'mplsudp6': ('v6', dict(tunnel='mpls-udp', vni=0xfffff),
                 'ip6tnl mode any local {l} remote {r} encap fou encap-csum encap-sport auto encap-dport 6635'),
    'csumgre': ('vl', dict(tunnel='gre'), 'gretap local {l} remote {r} csum'),
    'csumgeneve': ('vl', dict(tunnel='geneve', vni=0xffffff, udp_port=6082),
                   'geneve id 0xffffff remote {r} dstport 6082 udpcsum'),
    'nvgre': ('vl', dict(tunnel='nvgre', vni=0x4567), 'gretap external'),
}

# One process in the namespace: for each connection to port 7777 says what came; port 7778 sends what stdin says.
HOST = '''
import hashlib, os, random, socket, threading
def say(text):      # in one piece: print() alone writes the end of the line by itself
    print(text + chr(10), end="", flush=True)
def take(c, a):
    h, n = hashlib.md5(), 0
    while True:
        d = c.recv(1 << 16)
        if not d: break
        h.update(d); n += len(d)
    say("%%s %%d %%s" %% (c.getsockname()[0], n, h.hexdigest()))
def give(c, a):
    c.sendall(random.Random(c.getsockname()[0]).randbytes(%d)); c.close()
def serve(port, what):
    s = socket.create_server(("", port), backlog=50)
    say("ready")
    while True:
        threading.Thread(target=what, args=s.accept(), daemon=True).start()
threading.Thread(target=serve, args=(7777, take), daemon=True).start()
serve(7778, give)
''' % SIZE


def run(*args, check=True):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, (args, done.stdout, done.stderr)
    return done


def batch(guest, program, lines):
    """Many commands of ip or tc, by one process: starting one takes long on an emulated processor."""
    for at in range(0, len(lines), 20):     # a line of the console holds so much
        some = ' '.join('"%s"' % line for line in lines[at:at + 20])
        guest.check("printf '%%s\\n' %s | /sbin/%s -batch -" % (some, program))


def devices(guest):
    """The guest's end of each network: device tN with an address."""
    links, rules = [], []
    for n, (name, (vtep, keys, link)) in enumerate(NETWORKS.items(), 1):
        dev, l, r = {'v4': 'eth0', 'v6': 'eth1', 'vl': 'eth2.20'}[vtep], ENDS[vtep][1], ENDS[vtep][0]
        link = link.format(l=l, r=r) + (' dev ' + dev if link.startswith('vxlan') else '')
        type = keys['tunnel']
        if type in ('vxlan', 'geneve', 'gre'):
            links.append('link add t%d type %s' % (n, link))
        else:
            # In front of the tunnel, a pair of Ethernet devices; tc joins its other end with the tunnel.
            links += ['link add t%d type veth peer name u%d' % (n, n), 'link add w%d type %s' % (n, link),
                      'link set u%d up' % n, 'link set w%d up' % n]
            into = 'action mpls mac_push label %d ttl 64' % keys['vni']
            out = 'protocol mpls_uc matchall action mpls pop protocol teb'
            if type == 'nvgre':
                into = 'action tunnel_key set src_ip %s dst_ip %s id %d nocsum' % (l, r, keys['vni'] << 8)
                out = 'matchall'
            rules += ['qdisc add dev u%d clsact' % n, 'qdisc add dev w%d clsact' % n,
                      'filter add dev u%d ingress matchall %s action mirred egress redirect dev w%d' % (n, into, n),
                      'filter add dev w%d ingress %s action mirred egress redirect dev u%d' % (n, out, n)]
        links += ['link set t%d mtu 1400 up' % n, 'addr add 10.%d.0.2/24 dev t%d' % (n, n)]
    batch(guest, 'ip', links)
    batch(guest, 'tc', rules)
    guest.check('for u in /sys/class/net/[tu]*; do ethtool -K ${u##*/} tso off gso off tx off; done >/dev/null 2>&1; :')


def drops(lab):
    ports = lab.daemon.rpc('port.list') + lab.daemon.rpc('tunnel.list')
    return {p['name']: {k: v for k, v in p['drops'].items() if v} for p in ports if any(p['drops'].values())}


@pytest.fixture
def namespace():
    run('ip', 'netns', 'add', PREFIX)
    try:
        yield PREFIX
    finally:
        run('ip', 'netns', 'del', PREFIX, check=False)


def configure(lab, namespace):
    """Uplinks, VTEPs, networks, and a tap in each."""
    rpc, lines = lab.daemon.rpc, []
    for name, keys in VTEPS.items():
        lab.add('up-' + name)
        rpc('vtep.add', name=name, port='up-' + name, **keys)
    for n, (name, (vtep, keys, _)) in enumerate(NETWORKS.items(), 1):
        tap = '%sn%d' % (PREFIX, n)
        rpc('network.add', name=name, vtep=vtep, remotes=[ENDS[vtep][1]], **keys)
        rpc('port.add', name='vm-' + name, kind='tap', interface=tap, network=name)
        run('ip', 'link', 'set', tap, 'netns', namespace)
        lines += ['link set %s mtu 1400 up' % tap, 'addr add 10.%d.0.1/24 dev %s' % (n, tap)]
    subprocess.run(['ip', '-n', namespace, '-batch', '-'], input='\n'.join(lines), text=True, check=True)


def test_every_type(lab, namespace):
    configure(lab, namespace)
    guest = Guest('far', [Nic(lab.socket('up-' + name)) for name in VTEPS], directory=lab.dir, initrd='initrd-tunnels')
    lab.guests.append(guest.start())
    guest.ready()
    batch(guest, 'ip', ['link set eth0 up', 'link set eth1 up', 'link set eth2 up',
                        'addr add %s/24 dev eth0' % V4[1], 'addr add %s/64 dev eth1 nodad' % V6[1],
                        'link add link eth2 name eth2.20 type vlan id 20', 'link set eth2.20 up',
                        'addr add %s/24 dev eth2.20' % VL[1], 'fou add port 6635 ipproto 137'])
    batch(guest, 'ip -6', ['fou add port 6635 ipproto 137'])
    devices(guest)
    wait(lambda: all(t['state'] == 'up' for t in lab.daemon.rpc('tunnel.list')), 10, 'next hops')
    host = subprocess.Popen(['ip', 'netns', 'exec', namespace, sys.executable, '-c', HOST], stdout=subprocess.PIPE,
                            text=True)
    try:
        assert [host.stdout.readline() for _ in range(2)] == ['ready\n'] * 2
        numbers = range(1, len(NETWORKS) + 1)
        # One after the other: each ping of busybox hears the answers to all others, and has room for a few.
        out = guest.check('for n in %s; do ping -c 1 -w 5 10.$n.0.1; ping -c 1 -w 5 -s 1372 10.$n.0.1; done; true' %
                          ' '.join(map(str, numbers)), 40)
        answers = {name: [text in out for text in ('64 bytes from 10.%d.0.1' % n, '1380 bytes from 10.%d.0.1' % n)]
                   for n, name in enumerate(NETWORKS, 1)}
        assert answers == dict.fromkeys(NETWORKS, [True, True]), (drops(lab), guest.run('/sbin/ip neigh')[1])
        sent = guest.check('dd if=/dev/urandom of=data bs=64k count=%d 2>/dev/null; md5sum <data' % (SIZE >> 16))
        out = guest.check('mkfifo open; for n in %s; do nc 10.$n.0.1 7777 <data; '
                          'nc 10.$n.0.1 7778 <>open | md5sum; done' % ' '.join(map(str, numbers)), 60)
        got = [host.stdout.readline().split() for _ in numbers]
        assert sorted(got) == sorted(['10.%d.0.1' % n, str(SIZE), sent.split()[0]] for n in numbers)
        assert [line.split()[0] for line in out.splitlines()] == [
            hashlib.md5(random.Random('10.%d.0.1' % n).randbytes(SIZE)).hexdigest() for n in numbers]
    finally:
        host.kill()


# 64 flows to a server that answers; how many answers came within a second.
FLOWS = '''
import socket, sys, time
all, answers = [], 0
for n in range(64):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("10.0.0.2", 9999)); s.send(b"x%d" % n); all.append(s)
end = time.monotonic() + 1
for n, s in enumerate(all):
    s.settimeout(max(0.01, end - time.monotonic()))
    try:
        answers += s.recv(99) == b"x%d" % n
    except OSError:
        pass
print(answers)
'''
ECHO = '''
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 9999)); print("ready", flush=True)
while True:
    s.sendto(*s.recvfrom(99))
'''


def test_two_uplinks():
    """A remote that is reached by two cables: flows use both, and the other when one is cut."""
    near, far = PREFIX + 'n', PREFIX + 'f'
    daemon = Xviod({
        'vteps': [{'name': 'v0', 'ports': ['a', 'b'], 'address': V4[0] + '/24'}],
        'networks': [{'name': 'blue', 'vtep': 'v0', 'vni': 100, 'remotes': [V4[1]]}],
        'ports': [{'name': 'a', 'kind': 'tap', 'interface': PREFIX + 'a'},
                  {'name': 'b', 'kind': 'tap', 'interface': PREFIX + 'b'},
                  {'name': 'vm', 'kind': 'tap', 'interface': PREFIX + 'v', 'network': 'blue'}]})

    def state(wanted, timeout):
        wait(lambda: daemon.rpc('tunnel.list')[0]['state'] == wanted, timeout, wanted)

    def flows():
        """Answers, and what went out by each uplink."""
        before = {p['name']: p['tx_packets'] for p in daemon.rpc('port.list')}
        answers = int(run('ip', 'netns', 'exec', near, sys.executable, '-c', FLOWS).stdout)
        after = {p['name']: p['tx_packets'] for p in daemon.rpc('port.list')}
        return answers, after['a'] - before['a'], after['b'] - before['b']

    echo = None
    try:
        with daemon:
            for ns, lines in {
                    near: ['link set %sv up' % PREFIX, 'addr add 10.0.0.1/24 dev %sv' % PREFIX],
                    far: ['addr add %s/32 dev lo' % V4[1], 'link set lo up', 'link set %sa up' % PREFIX,
                          'link set %sb up' % PREFIX,
                          'route add %s/32 nexthop dev %sa nexthop dev %sb' % (V4[0], PREFIX, PREFIX),
                          'link add vx type vxlan id 100 local %s remote %s dstport 4789' % V4[::-1],
                          'link set vx up', 'addr add 10.0.0.2/24 dev vx']}.items():
                run('ip', 'netns', 'add', ns)
                for name in 'abv':
                    if (name == 'v') == (ns == near):
                        run('ip', 'link', 'set', PREFIX + name, 'netns', ns)
                run('ip', 'netns', 'exec', ns, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1',
                    'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.fib_multipath_hash_policy=1')
                for name in 'abv':
                    run('ip', 'netns', 'exec', ns, 'sysctl', '-qw', 'net.ipv4.conf.%s%s.rp_filter=0' % (PREFIX, name),
                        check=False)
                subprocess.run(['ip', '-n', ns, '-batch', '-'], input='\n'.join(lines), text=True, check=True)
            echo = subprocess.Popen(['ip', 'netns', 'exec', far, sys.executable, '-c', ECHO], stdout=subprocess.PIPE,
                                    text=True)
            assert echo.stdout.readline() == 'ready\n'
            state('up', 5)
            assert [u['port'] for u in daemon.rpc('tunnel.list')[0]['uplinks']] == ['a', 'b']
            answers, a, b = flows()
            assert answers == 64 and a > 16 and b > 16, (answers, a, b)
            run('ip', '-n', far, 'link', 'set', PREFIX + 'b', 'down')
            state('degraded', 7)
            answers, a, b = flows()
            assert answers == 64 and a >= 64, (answers, a, b)
            run('ip', '-n', far, 'link', 'set', PREFIX + 'b', 'up')
            state('up', 3)
            answers, a, b = flows()
            assert answers == 64 and b > 16, (answers, a, b)
            assert not any(map(unbalanced, daemon.rpc('port.list')))
    finally:
        if echo:
            echo.kill()
        for ns in near, far:
            run('ip', 'netns', 'del', ns, check=False)
