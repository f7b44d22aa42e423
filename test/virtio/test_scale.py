# SPDX-License-Identifier: Apache-2.0
"""Many ports: how fast the daemon starts, what it holds, what it costs idle; changes while traffic runs."""

import json
import os
import subprocess
import time

import pytest

from frontend import Guest, wait
from xvio import Xviod, program

SANITIZED = bool(os.environ.get('SAN'))


def ports(daemon_dir, n):
    return [{'name': 'vm%d' % i, 'kind': 'vhost', 'socket': '%s/vm%d.sock' % (daemon_dir, i),
             'network': 'blue'} for i in range(n)]


@pytest.fixture
def many(tmp_path):
    """A daemon with 64 ports, and how long it took to be ready."""
    daemon = Xviod({'daemon': {'hugepages': 'off'}, 'networks': [{'name': 'blue'}],
                    'ports': ports(tmp_path, 64)}, dir=tmp_path)
    begin = time.monotonic()
    daemon.start()
    daemon.took = time.monotonic() - begin
    yield daemon
    daemon.stop()


def test_64_ports_start_in_a_second_and_300_mb(many):
    if not SANITIZED:
        assert many.took < 1.0
        assert many.rss_kb() < 300 * 1024
    assert len(many.rpc('port.list')) == 64


def test_32_idle_guests_cost_nothing(many):
    guests = [Guest('%s/vm%d.sock' % (many.dir, i)) for i in range(32)]
    try:
        wait(lambda: sum(p['state'] == 'up' for p in many.rpc('port.list')) == 32,
             what='32 guests')
        time.sleep(0.5)
        before, begin = many.cpu_s(), time.monotonic()
        time.sleep(4)
        used = (many.cpu_s() - before) / (time.monotonic() - begin)
        if not SANITIZED:
            assert used <= 0.01, '%.1f %% of a core' % (100 * used)
    finally:
        for guest in guests:
            guest.close()


def test_changes_do_not_disturb_others(tmp_path):
    """A wire under full load loses nothing while ports, networks, wires and workers come and go."""
    with Xviod({'ports': [{'name': n, 'kind': 'vhost', 'socket': '%s/%s.sock' % (tmp_path, n)}
                          for n in ('a', 'b')],
                'wires': [{'name': 'ab', 'ports': ['a', 'b']}]}, dir=tmp_path) as daemon:
        load = subprocess.Popen([program('xvio-load'), '--mode', 'check', '--seconds', '5',
                                 '--port', 'socket=%s/a.sock' % tmp_path,
                                 '--port', 'socket=%s/b.sock' % tmp_path],
                                stdout=subprocess.PIPE, text=True)
        wait(lambda: daemon.port('a')['rx_packets'] > 1000, 10, 'traffic')
        rounds = 0
        while load.poll() is None:
            daemon.rpc('network.add', name='n')
            daemon.rpc('port.add', name='c', kind='vhost', socket='%s/c.sock' % tmp_path,
                       network='n')
            daemon.rpc('port.add', name='d', kind='dummy', network='n')
            daemon.rpc('worker.add', name='extra')
            daemon.rpc('port.set', name='c', rx_limit_pps=1000, vlan=7)
            daemon.rpc('worker.del', name='extra')
            daemon.rpc('port.del', name='c')
            daemon.rpc('port.del', name='d')
            daemon.rpc('network.del', name='n')
            rounds += 1
        result = json.loads(load.communicate()[0].strip().splitlines()[-1])
        assert load.returncode == 0, (result['lost'], daemon.port('a'), daemon.port('b'))
        assert result['lost'] == result['reordered'] == result['corrupt'] == 0
        assert rounds > 10
        for name in 'ab':
            port = daemon.port(name)
            assert port['rx_packets'] == port['forwarded'] and not any(port['drops'].values())
