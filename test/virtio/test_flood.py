# SPDX-License-Identifier: Apache-2.0
"""A SYN flood that saturates the worker, and two VMs that talk TCP: one worker on a CPU, one load program on the other.

The load program (bench/flood.c) is the attacker and both victims, in turns of peace and flood of 50 ms; so the machine disturbs
both alike, and what is compared is what xviod makes of it. Ports 0 and 1 are the attacker's and who he sends to, 2 talks to 3.
"""

import json
import os
import statistics
import subprocess
import sys

import pytest

from xvio import Xviod, program

FULL = os.environ.get('FULL', '') not in ('', '0')
SECONDS = float(os.environ.get('FLOOD_SECONDS', '3'))
RULES = [{'direction': 'ingress', 'protocol': 'tcp'}, {'direction': 'egress'}]
HALF_OPEN_PER_PORT = 65536     # src/fastpath/flow.c


def flood(size, rate=0, window=0):
    """What the load program saw, and each port's counters."""
    cpus = sorted(os.sched_getaffinity(0))
    ports = ['attacker', 'target', 'client', 'server']
    with Xviod({'workers': [{'name': 'w0', 'cpu': cpus[0]}], 'networks': [{'name': 'blue'}],
                'groups': [{'name': 'all', 'rules': RULES}]}) as xviod:
        command = [program('xvio-load'), '--cpus', str(cpus[-1]), '--mode', 'flood', '--seconds', str(SECONDS), '--size', str(size)]
        for name in ports:
            socket = str(xviod.dir / name)
            xviod.rpc('port.add', name=name, socket=socket, network='blue', groups=['all'], anti_spoofing=False)
            command += ['--port', 'socket=%s,in-order=1' % socket]
        command += ['--rate', str(rate)] * (rate > 0) + ['--window', str(window)] * (window > 0)
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), {name: xviod.port(name) for name in ports}


def figures(result):
    rounds = result['rounds']
    shares = [r['flood'] / r['peace'] for r in rounds if r['peace']]
    return {'share': statistics.median(shares), 'peace': statistics.median(r['peace'] for r in rounds) * 8e-9,
            'flood': statistics.median(r['flood'] for r in rounds) * 8e-9, 'syns': statistics.median(r['syns'] for r in rounds),
            'rounds': len(rounds), 'opened': result['opened'], 'not_opened': result['not_opened'],
            'open_worst_ms': result['open_worst_ms'], 'resent': result['resent']}


def show(what, f):
    return '%s: share %.2f of %.2f Gbit/s in %d rounds, %.0f SYN/s, %d of %d opened within %.1f ms, %d resent' % (
        what, f['share'], f['peace'], f['rounds'], f['syns'], f['opened'], f['opened'] + f['not_opened'], f['open_worst_ms'],
        f['resent'])


def check(result, ports):
    f = figures(result)
    print(show('flood', f))
    assert result['corrupt'] == 0
    # New connections open at once, each in the middle of a flood.
    assert f['not_opened'] == 0 and f['opened'] >= 10 and f['open_worst_ms'] < 1000, f
    # It was one: more SYNs than an account holds came through, all the time.
    assert ports['attacker']['rx_packets'] > min(HALF_OPEN_PER_PORT, 10000 * SECONDS / 2) and min(r['syns'] for r in result['rounds']) > 1000, f
    # Nothing of the two that talk was dropped; the load program's hello, which is UDP and goes to all, is not allowed by the rules.
    for name in 'client', 'server':
        drops = {reason: n for reason, n in ports[name]['drops'].items() if n}
        assert set(drops) <= {'firewall', 'no-member'} and sum(drops.values()) <= len(ports), (name, drops)
    return f


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason='needs two CPUs: one for the worker, one for the load')
@pytest.mark.parametrize('rate', [0, 300000], ids=['as fast as it goes', 'half'])
def test_established_connections_keep_their_throughput(rate):
    """A worker that shares packets and not time leaves them 0.18 to 0.36 at saturation. There the control thread, which lets the
    attacker's connections expire, has some of one of our two CPUs: 0.79 to 0.96 were seen. The best of five is held to 0.9, with
    FULL=1."""
    if rate or not FULL:
        f = check(*flood(1514, rate))
        assert f['share'] >= (0.9 if rate else 0.5), f
    else:
        runs = [check(*flood(1514)) for _ in range(5)]
        assert max(f['share'] for f in runs) >= 0.9, runs


if __name__ == '__main__':
    for args in [a.split(',') for a in sys.argv[1:]]:
        result, _ = flood(*map(int, args))
        print(show(','.join(args), figures(result)), flush=True)
