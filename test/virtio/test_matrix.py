# SPDX-License-Identifier: Apache-2.0
"""A wire between two of DPDK's virtio drivers, in all their modes: every byte of every frame is
checked, and its order; none may be lost, whichever side is slower.

Every run takes a spread of the matrix that has each combination of three settings as often as its
number of cases allows; FULL=1 takes all of it, and more frames of each.
"""

import itertools
import json
import os
import random
import time

import pytest

from frontend import wait
from matrix_load import F_INDIRECT_DESC, FeatureFilter, Load
from xvio import SLACK_KB

FULL = os.environ.get('FULL', '') not in ('', '0')
SPREAD = 30
FRAMES = 1_000_000 if FULL else 300_000
KILLS = 104 if FULL else 48

AXES = {
    'ring': ('split', 'packed'),
    'mrg': (False, True),
    'in_order': (False, True),
    'indirect': (False, True),
    'vectorized': (False, True),
    'queues': (1, 4),
    'size': (64, 1518, 9000),
    'driver': ('client', 'server'),
}


def matrix():
    every = [dict(zip(AXES, values)) for values in itertools.product(*AXES.values())]
    if FULL:
        return every
    return spread(every, SPREAD)


def spread(every, count):
    """The cases that cover the most combinations of three settings, greedily."""
    def triples(case):
        return set(itertools.combinations(case.items(), 3))

    left, missing = list(every), set().union(*map(triples, every))
    random.Random(1).shuffle(left)
    chosen = []
    while len(chosen) < count:
        best = max(left, key=lambda case: len(triples(case) & missing))
        left.remove(best)
        missing -= triples(best)
        chosen.append(best)
    return chosen


def name(case):
    return '-'.join([case['ring'], *(key for key in ('mrg', 'in_order', 'indirect', 'vectorized')
                                     if case[key]),
                     '%dq' % case['queues'], str(case['size']), case['driver']])


def spec(path, case):
    return 'socket=%s,packed=%d,mrg=%d,in-order=%d,vectorized=%d,queues=%d,queue-size=256,' \
        'server=%d' % (path, case['ring'] == 'packed', case['mrg'], case['in_order'],
                       case['vectorized'], case['queues'], case['driver'] == 'server')


@pytest.fixture
def filters():
    made = []
    yield made
    for f in made:
        f.close()


def driver_path(lab, port, case, filters):
    """Where the driver's socket is: xviod's own, or the filter's that hides indirect tables."""
    path = lab.path(port)
    if case['indirect']:
        return path
    if case['driver'] == 'client':
        filters.append(FeatureFilter(path + '.f', path, F_INDIRECT_DESC, device_listens=True))
    else:
        filters.append(FeatureFilter(path, path + '.f', F_INDIRECT_DESC, device_listens=False))
    return path + '.f'


@pytest.mark.parametrize('case', matrix(), ids=name)
def test_matrix(lab, filters, case):
    role = 'server' if case['driver'] == 'client' else 'client'
    ports = lab.wired_ports(mode=role, queues=case['queues'])
    args = ['--mode', 'check', '--size', case['size'], '--frames', FRAMES // (2 * case['queues'])]
    # DPDK's vectorized sender for packed rings (22.11) overruns the ring when a burst has chains.
    if case['indirect'] or not (case['ring'] == 'packed' and case['in_order'] and
                                case['vectorized']):
        # Half of the bursts are frames in one piece, half in up to 7: chains, or indirect tables.
        args += ['--segments', '1-7']
        if case['mrg']:     # a large frame spans several buffers
            args += ['--buffer', 1024 if case['size'] < 9000 else 2048]
    with Load([spec(driver_path(lab, p, case, filters), case) for p in ports], *args) as load:
        load.wait_ready()
        for p in ports:
            virtio = lab.show(p)['virtio']
            assert virtio['ring'] == case['ring']
            assert bool(int(virtio['features'], 16) & F_INDIRECT_DESC) == case['indirect']
        result = load.result()
    assert result['ok'], json.dumps([result] + [lab.show(p) for p in ports], indent=1)
    assert result['received'] == FRAMES // (2 * case['queues']) * 2 * case['queues']
    assert not any(lab.drops(p) for p in ports)


def resources(daemon):
    return {'fds': daemon.fds(), 'maps': daemon.maps()}


def test_kill_at_full_load(lab):
    """kill -9 over and over: nothing leaks, and the neighbours lose not one frame."""
    victims, others = lab.wired_ports(queues=4), lab.wired_ports()
    with Load(['socket=%s,mrg=1' % lab.path(p) for p in others], '--mode', 'check',
              '--size', '60-1514', '--seconds', 3600) as bystander:
        bystander.wait_ready()
        for i in range(KILLS):
            spec_ = 'packed=%d,in-order=%d,queues=4,queue-size=256' % (i % 2, i // 2 % 2)
            with Load(['socket=%s,%s' % (lab.path(p), spec_) for p in victims], '--mode', 'speed',
                      '--warmup', 0.01, '--seconds', 60) as load:
                load.wait_ready()
                time.sleep(random.uniform(0, 0.03))
            for p in victims:
                wait(lambda: not lab.show(p)['virtio']['connected'], what='end of the connection')
            if i == 3:      # every mode has been there once
                before, rss_kb = resources(lab.daemon), lab.daemon.rss_kb()
        assert resources(lab.daemon) == before
        assert lab.daemon.rss_kb() - rss_kb < SLACK_KB
        result = bystander.stop()
    assert result['ok'] and result['lost'] == 0, result
    for p in victims:
        assert lab.show(p)['virtio']['broken_total'] == 0
