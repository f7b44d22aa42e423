# SPDX-License-Identifier: Apache-2.0
"""Connection tracking against the kernel's: the same packets through both, the same answers and the same table.

Dialogues (test/lib/ct_scripts.py) run many at a time, a packet of each in turn. After each round, what both say of the
packets and what their tables hold is compared; a difference is either a defect or listed in docs/firewall.md, and then
not generated.
FULL=1: thousands of dialogues instead of hundreds. CT_SEED=N: that dialogue only, with all its steps when it differs.
"""

import ipaddress
import os
import pathlib
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'lib'))
import ct_scripts  # noqa: E402
from ct_kernel import Kernel, name  # noqa: E402
from xvio import program  # noqa: E402

FULL = os.environ.get('FULL', '') not in ('', '0')
PREFIX = 'xv%d' % (os.getpid() % 100000)

# Shorter than the pause in the middle of the scripts (PAUSE_S), longer than a batch takes up to there; and one
# that tells its cause from another. Names of XVIO's timeouts and of the kernel's settings.
TIMEOUTS = {'tcp_close': ('tcp_timeout_close', 2), 'tcp_syn_recv': ('tcp_timeout_syn_recv', 2),
            'tcp_retransmit': ('tcp_timeout_max_retrans', 400), 'icmp_first': ('icmp_timeout', 2),
            'icmp_reply': ('icmp_timeout', 2), 'sctp_closed': ('sctp_timeout_closed', 2),
            'sctp_cookie_wait': ('sctp_timeout_cookie_wait', 30)}
TCP_STATES = ('NONE', 'SYN_SENT', 'SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT', 'LAST_ACK', 'TIME_WAIT', 'CLOSE',
              'SYN_SENT2')
SCTP_STATES = ('NONE', 'CLOSED', 'COOKIE_WAIT', 'COOKIE_ECHOED', 'ESTABLISHED', 'SHUTDOWN_SENT', 'SHUTDOWN_RECD',
               'SHUTDOWN_ACK_SENT', 'HEARTBEAT_SENT')


def clock_ms():
    return time.monotonic_ns() // 1000000 & 0xffffffff


class Xvio:
    """conntrack_tool: XVIO's tracking, on a clock of ours."""

    def __init__(self, loose):
        args = ['%s=%d' % (key, seconds) for key, (_, seconds) in TIMEOUTS.items()] + ['loose'] * loose
        self.process = subprocess.Popen([program('conntrack_tool'), *args], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        if exc[0]:
            self.process.kill()
        assert self.process.wait(20) == 0 or exc[0]

    def send(self, now_ms, packets):
        """As Kernel.send(), but names; and the table after it."""
        pieces = [[packet] if isinstance(packet, bytes) else packet for _, packet in packets]
        lines = ['@%d' % now_ms] + [piece.hex() for packet in pieces for piece in packet] + ['dump\n']
        self.process.stdin.write('\n'.join(lines))
        self.process.stdin.flush()
        answers = []
        for packet in pieces:     # of its fragments, one completes it or none does
            words = {self.process.stdout.readline().strip() for _ in packet}
            answers.append((words - {'-'} or {'none'}).pop())
        table = {}
        for line in iter(self.process.stdout.readline, 'end\n'):
            assert line, 'conntrack_tool died'
            words = line.split()
            proto, state = int(words[0]), int(words[5])
            names = {6: TCP_STATES, 132: SCTP_STATES}.get(proto, ('',))
            key = (proto, ipaddress.ip_address(words[1]), ipaddress.ip_address(words[2]), int(words[3]), int(words[4]))
            table[key] = (names[state], words[6] == '1', words[7] == '1', int(words[8]))
        return answers, table

    def flush(self):
        self.process.stdin.write('@%d\nflush\n' % clock_ms())


def owners(entries):
    """Entries of a table by the script whose they are: hosts have its number."""
    out = {}
    for key, value in entries.items():
        number = int(ipaddress.ip_address(key[1])) & 0xffff
        out.setdefault(number, {})[key[:1] + tuple(map(str, key[1:]))] = value
    return out


def same(ours, theirs, slack):
    """slack: seconds between the one and the other."""
    return ours.keys() == theirs.keys() and all(
        ours[key][:3] == theirs[key][:3] and abs(ours[key][3] - theirs[key][3]) <= 1 + slack for key in ours)


def show(packet):
    """As scapy says it: for reports only."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    if not isinstance(packet, bytes):
        return '; '.join(map(show, packet))
    return (IP if packet[0] >> 4 == 4 else IPv6)(packet).summary() + ' ' + packet.hex()


def run_batch(kernel, xvio, seeds):
    """Run these scripts through both. Returns how many packets, and {seed: report} of scripts that differ."""
    scripts = {number: ct_scripts.script(seed, number) for number, seed in enumerate(seeds)}
    hosts = {(number + 16) & 0xffff: number for number in scripts}
    log, differ, done = {number: [] for number in scripts}, {}, 0
    kernel.flush()
    xvio.flush()
    for step in range(ct_scripts.STEPS):
        if step == ct_scripts.PAUSE:
            time.sleep(ct_scripts.PAUSE_S)
        now = [(number, steps[step]) for number, (_, steps) in scripts.items()
               if number not in differ and len(steps) > step and steps[step]]
        packets = [packet for _, packet in now]
        now_ms = clock_ms()
        theirs = [name(verdict) for verdict in kernel.send(packets)]
        their_table = owners({(key[0], ipaddress.ip_address(key[1]), ipaddress.ip_address(key[2]), *key[3:]): value
                              for key, value in kernel.entries().items()})
        slack = (clock_ms() - now_ms) / 1000
        ours, our_table = xvio.send(now_ms, packets)
        our_table = owners(our_table)
        done += len(packets)
        for (number, packet), our, their in zip(now, ours, theirs):
            host = number + 16
            log[number].append('%2d %s xvio %s kernel %s\n     %s\n     %s' % (
                step, '<-' if packet[0] else '->', our, their, our_table.get(host),
                show(packet[1]) if len(seeds) == 1 else ''))
            if our != their:
                differ[number] = 'xvio says %s, the kernel %s' % (our, their)
        for host in set(our_table) | set(their_table):
            number = hosts.get(host)
            if number is not None and number not in differ and not same(
                    our_table.get(host, {}), their_table.get(host, {}), slack):
                differ[number] = 'xvio has %s, the kernel %s' % (our_table.get(host), their_table.get(host))
    return done, {seeds[number]: '%s, step %d: %s\n%s' % (
        scripts[number][0], len(log[number]), why, '\n'.join(log[number])) for number, why in differ.items()}


@pytest.mark.parametrize('loose', (1, 0), ids=('loose', 'strict'))
def test_dialogues(loose):
    """Verdicts and states of dialogues agree, with connections picked up in the middle, and without."""
    settings = {kernel: value for kernel, value in TIMEOUTS.values()}
    seeds = range(loose, 6000 if FULL else 360, 2)
    if 'CT_SEED' in os.environ:
        seeds = [int(os.environ['CT_SEED'])]
    size, differ, total = 300, {}, 0
    affinity = os.sched_getaffinity(0)
    with Kernel(PREFIX, {**settings, 'tcp_loose': loose, 'icmpv6_timeout': 2}) as kernel, Xvio(loose) as xvio:
        os.sched_setaffinity(0, {min(affinity)})            # one queue into the kernel: packets stay in order
        try:
            for at in range(0, len(seeds), size):
                done, reports = run_batch(kernel, xvio, list(seeds[at:at + size]))
                total += done
                if reports:      # a machine that stood still for seconds does that to timeouts; but not again
                    differ.update(run_batch(kernel, xvio, sorted(reports))[1])
        finally:
            os.sched_setaffinity(0, affinity)
    assert total > 5 * len(seeds) or len(seeds) == 1
    assert not differ, '%d of %d dialogues differ: %s\n%s' % (
        len(differ), len(seeds), sorted(differ), '\n\n'.join(report for _, report in sorted(differ.items())[:3]))
