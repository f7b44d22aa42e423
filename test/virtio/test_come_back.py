# SPDX-License-Identifier: Apache-2.0
"""Who comes back finds the other side within 10 ms: DPDK's driver a daemon, and a daemon its guests."""

import os
import statistics
import time

import pytest

from matrix_load import Load
from xvio import Xviod

BACK_MS = 10
# What DPDK's driver takes for itself when its back end has come back: one thread resets one port after
# the other, with pauses of a millisecond, and asks some 40 things, each a wake-up there and back.
DRIVER_MS = 15
ROUNDS = 11


@pytest.mark.parametrize('ring', ['split', 'packed'])
@pytest.mark.parametrize('driver', ['client', 'server'])
def test_driver_comes_back(lab, driver, ring):
    """From its socket being there to traffic in both directions."""
    ports = lab.wired_ports(mode='server' if driver == 'client' else 'client')
    took = []
    for _ in range(ROUNDS):
        with Load(['socket=%s,packed=%d,server=%d,queue-size=256' %
                   (lab.path(p), ring == 'packed', driver == 'server') for p in ports],
                  '--mode', 'check', '--seconds', 0.01) as load:
            result = load.result()
            assert result['ok'], result
            took.append(result['attach_ms'] + result['first_ms'])
        if driver == 'server':
            for p in ports:         # the driver refuses to start while the old one lies there
                if os.path.exists(lab.path(p)):
                    os.unlink(lab.path(p))
    assert statistics.median(took) < BACK_MS, took


@pytest.mark.parametrize('ring', ['split', 'packed'])
def test_daemon_comes_back(ring):
    """xviod is killed under load and started again: the guests go on by themselves."""
    config = {'ports': [{'name': 'vm%d' % i, 'kind': 'vhost', 'mode': 'client'} for i in range(2)],
              'wires': [{'name': 'w', 'ports': ['vm0', 'vm1']}]}
    took = []
    daemon = Xviod(config)
    for port in config['ports']:
        port['socket'] = str(daemon.dir / (port['name'] + '.sock'))
    with daemon:
        # It gives up after a while without progress: well beyond the second that xviod may be away.
        with Load(['socket=%s,packed=%d,server=1,queue-size=256' %
                   (port['socket'], ring == 'packed') for port in config['ports']],
                  '--mode', 'check', '--seconds', 3600, '--lossy', '--gap', 5,
                  '--timeout', 3) as load:
            load.wait_ready()
            for _ in range(ROUNDS):
                time.sleep(0.1)
                daemon.kill()
                time.sleep(0.1)
                daemon.start()
                took.append(time.monotonic())
            time.sleep(0.2)
            result = load.stop()
        assert result['ok'] and result['received'] > 0, result
    # of the pauses of each port, the one that ended when xviod was back, or just after
    delays = []
    for back in took:
        for port in (0, 1):
            ends = [g['to_s'] for g in result['gaps']
                    if g['port'] == port and g['from_s'] < back - 0.05 and g['to_s'] > back - 0.1]
            assert ends, 'no traffic after a restart: %s' % result
            delays.append((min(ends) - back) * 1e3)
    assert statistics.median(delays) < BACK_MS + DRIVER_MS, delays
