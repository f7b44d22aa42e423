# SPDX-License-Identifier: Apache-2.0
"""What the kernel's connection tracking says of packets.

    this namespace: end 0 ---- another: forwards, tracks ---- end 1: this one again

Packets go in by a packet socket at one end and come out at the other end, where their DSCP says what `ct state` and `ct
direction` were; the kernel writes it there by nftables rules. Ends here have no address, and the MAC address
that packets are sent to is nobody's, so that this namespace's own stack never looks at them.
"""

import os
import select
import socket
import struct
import subprocess
import time

NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED = 1, 2, 3, 4, 5
REPLY = 8
NAMES = {NEW: 'new', ESTABLISHED: 'est', RELATED: 'rel', INVALID: 'inv', UNTRACKED: 'untracked', 0: 'none'}
ROUTER, NOBODY = '02:00:00:00:00:01', '02:00:00:00:00:02'
ETH_P_ALL = 3
INSIDE = ('in0', 'in1')

RULES = '''
table inet t {
	chain pre {
		type filter hook prerouting priority mangle; policy accept;
		%s
	}
}
'''
MATCHES = (('ct state new', NEW), ('ct state established ct direction original', ESTABLISHED),
           ('ct state established ct direction reply', ESTABLISHED | REPLY),
           ('ct state related ct direction original', RELATED),
           ('ct state related ct direction reply', RELATED | REPLY),
           ('ct state invalid', INVALID), ('ct state untracked', UNTRACKED))


def name(verdict):
    return NAMES.get(verdict & 7, '?') + ('|rpl' if verdict & REPLY else '')


def run(*args, **keys):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=60, **keys)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


class Kernel:
    """sysctls: of net.netfilter in the namespace, without their nf_conntrack_."""

    def __init__(self, prefix, sysctls):
        self.ns = prefix + 'k'
        self.ends = (prefix + 'a', prefix + 'b')
        self.sysctls = sysctls
        self.holder, self.sockets, self.sent = None, [], 0

    def __enter__(self):
        try:
            self.setup()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def inside(self, *args, **keys):
        return run('ip', 'netns', 'exec', self.ns, *args, **keys)

    def setup(self):
        run('ip', 'netns', 'add', self.ns)
        run('ip', '-n', self.ns, 'link', 'set', 'lo', 'up')
        rules = '\n\t\t'.join('meta nfproto %s %s %s dscp set %d' % (proto, match, field, code)
                              for proto, field in (('ipv4', 'ip'), ('ipv6', 'ip6')) for match, code in MATCHES)
        self.inside('nft', '-f', '-', input=RULES % rules)
        for end, side in zip(self.ends, INSIDE):
            run('ip', 'link', 'add', end, 'type', 'veth', 'peer', 'name', side, 'address', ROUTER,
                'netns', self.ns)
            with open('/proc/sys/net/ipv6/conf/%s/disable_ipv6' % end, 'w', encoding='ascii') as f:
                f.write('1')
            run('ip', 'link', 'set', end, 'up', 'arp', 'off', 'mtu', '9000')
            run('ip', '-n', self.ns, 'link', 'set', side, 'up', 'mtu', '9000')
        values = {'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1, 'net.ipv4.conf.all.rp_filter': 0,
                  'net.ipv4.conf.in0.rp_filter': 0, 'net.ipv4.conf.in1.rp_filter': 0, 'net.ipv4.icmp_ratelimit': 0,
                  **{'net.netfilter.nf_conntrack_' + key: value for key, value in self.sysctls.items()}}
        self.inside('sysctl', '-qw', *('%s=%s' % item for item in values.items()))
        for number, side in enumerate(INSIDE, 1):
            for family, gateway, net in (('-4', '169.254.%d.2' % number, '10.%d.0.0/16' % number),
                                         ('-6', 'fe80::2', 'fd00:%d::/64' % number)):
                run('ip', '-n', self.ns, family, 'neigh', 'add', gateway, 'lladdr', NOBODY, 'nud',
                    'permanent', 'dev', side)
                run('ip', '-n', self.ns, family, 'route', 'add', net, 'via', gateway, 'dev', side, 'onlink')
        self.holder = subprocess.Popen(['ip', 'netns', 'exec', self.ns, 'sleep', 'infinity'])
        for end in self.ends:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            sock.bind((end, 0))
            sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)        # SO_RCVBUFFORCE
            sock.setblocking(False)
            self.sockets.append(sock)
        time.sleep(0.1)

    def close(self):
        for sock in self.sockets:
            sock.close()
        if self.holder:
            self.holder.kill()
            self.holder.wait()
        for end in self.ends:
            subprocess.run(['ip', 'link', 'del', end], capture_output=True, check=False)
        subprocess.run(['ip', 'netns', 'del', self.ns], capture_output=True, check=False)

    def send(self, packets, timeout=0.5):
        """Send (direction, IP packet) in order; returns what the kernel said of each, 0 if it did not come out again.

        Packets are known again by their IPv4 identification or IPv6 flow label. One may come as ct_scripts.Fragments.
        """
        heads = {4: bytes.fromhex((ROUTER + NOBODY).replace(':', '')) + b'\x08\x00',
                 6: bytes.fromhex((ROUTER + NOBODY).replace(':', '')) + b'\x86\xdd'}
        verdicts = {}
        numbers, wanted = [], 0
        for direction, packet in packets:
            # Not again within the time for which fragments wait; 0 is what the kernel's own packets have.
            self.sent = self.sent % 65535 + 1
            numbers.append(self.sent)
            wanted += not getattr(packet, 'lost', False)
            for piece in [packet] if isinstance(packet, bytes) else packet:
                piece = self.ipv4_id(piece, self.sent) if piece[0] >> 4 == 4 else self.ipv6_id(piece, self.sent)
                self.sockets[direction].send(heads[piece[0] >> 4] + piece)
            if len(numbers) % 64 == 63:
                self.collect(verdicts, 0)
        while len(verdicts) < wanted and self.collect(verdicts, timeout):
            pass
        return [verdicts.get(i, 0) for i in numbers]

    @staticmethod
    def ipv6_id(packet, i):
        fragment = packet[40:44] + struct.pack('!I', i) + packet[48:] if packet[6] == 44 else packet[40:]
        return struct.pack('!I', 6 << 28 | i) + packet[4:40] + fragment

    @staticmethod
    def ipv4_id(packet, i):
        head = packet[:4] + struct.pack('!H', i) + packet[6:10] + b'\0\0' + packet[12:20]
        total = sum(struct.unpack('!10H', head))
        total = (total & 0xffff) + (total >> 16)
        return head[:10] + struct.pack('!H', ~(total + (total >> 16)) & 0xffff) + head[12:] + packet[20:]

    def collect(self, verdicts, wait):
        """Read what came out. False: nothing did."""
        ready, any_read = select.select(self.sockets, [], [], wait)[0], False
        for sock in ready:
            while True:
                try:
                    frame, address = sock.recvfrom(16384)
                except BlockingIOError:
                    break
                if address[2] == socket.PACKET_OUTGOING or len(frame) < 34:
                    continue
                kind = frame[12:14]
                if kind == b'\x08\x00':
                    i, dscp = struct.unpack('!H', frame[18:20])[0], frame[15] >> 2
                elif kind == b'\x86\xdd':
                    word = struct.unpack('!I', frame[14:18])[0]
                    i, dscp = word & 0xfffff, word >> 22 & 63
                else:
                    continue
                if i:
                    verdicts[i] = dscp
                    any_read = True
        return any_read

    def entries(self):
        """The table, by original tuples: {(protocol, source, destination, port, port): (state, seen reply, assured,
        seconds left)}; ports 0 where there are none (ICMP: identifier, type << 8 | code)."""
        out = {}
        with open('/proc/%d/net/nf_conntrack' % self.pid(), encoding='ascii') as f:
            for line in f:
                words = line.split()
                proto, left = int(words[3]), int(words[4])
                state = words[5] if '=' not in words[5] and words[5][0] != '[' else ''
                first = {}
                for word in words[5:]:
                    key, eq, value = word.partition('=')
                    if eq and key not in first:
                        first[key] = value
                ports = (int(first.get('sport', 0)), int(first.get('dport', 0)))
                if 'id' in first:
                    ports = (int(first['id']), int(first['type']) << 8 | int(first['code']))
                out[(proto, first['src'], first['dst'], *ports)] = (
                    state, '[UNREPLIED]' not in words, '[ASSURED]' in words, left)
        return out

    def pid(self):
        return self.holder.pid

    def flush(self):
        self.inside('conntrack', '-F')
