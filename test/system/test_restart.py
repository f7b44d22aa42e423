# SPDX-License-Identifier: Apache-2.0
"""Either side of a vhost socket dies under a running copy."""

import os
import time

import pytest

from guest import Copy, Ping
from lab import FULL, spread

KILLS = int(os.environ.get('KILLS', 2))


def blue(lab, mode, names='ab', **keys):
    """The host file of some ports on one network."""
    return {'networks': [{'name': 'blue'}],
            'ports': [lab.vhost(name, network='blue', mode=mode, **keys) for name in names]}


@pytest.mark.parametrize('mode,packed', spread([('server', True), ('client', False)],
                                               [('server', False), ('client', True)]))
def test_daemon_killed(lab, mode, packed):
    """kill -9 and a new daemon: the guests notice a pause, and their connections live on. QEMU restores where a
    split ring stands, not a packed one: that xviod knows by itself."""
    lab.daemon.config = blue(lab, mode)
    lab.daemon.stop()
    lab.start()
    a, b = (lab.guest(name, nic={'packed': packed}) for name in 'ab')
    a.ready().address('10.0.0.1/24')
    b.ready().address('10.0.0.2/24').reaches('10.0.0.1')
    assert lab.show('a')['virtio']['ring'] == ('packed' if packed else 'split')
    copy, ping = Copy(a, b, '10.0.0.2', endless=True), Ping(a, '10.0.0.2')
    for _ in range(KILLS):
        time.sleep(1)
        lab.daemon.kill()
        lab.start()
        for name in 'a', 'b':
            lab.state(name, 'up')
        # QEMU, when it is the client, tries again only once a second.
        a.reaches('10.0.0.2', 10)
        assert copy.running()
    copy.finish()
    figures = ping.stop()[3]
    assert a.ping('10.0.0.2', count=10), figures
    assert b.ping('10.0.0.1', count=10)


def test_daemon_stopped(lab):
    """A daemon that is told to stop leaves its guests as well placed as one that crashes."""
    config = blue(lab, 'server')
    lab.daemon.config = config
    lab.daemon.stop()
    lab.start()
    a, b = lab.guest('a'), lab.guest('b')
    a.ready().address('10.0.0.1/24')
    b.ready().address('10.0.0.2/24').reaches('10.0.0.1')
    copy = Copy(a, b, '10.0.0.2', endless=True)
    time.sleep(1)  # it is to be under way
    lab.daemon.stop()
    time.sleep(1)
    lab.start()
    a.reaches('10.0.0.2', 10)
    copy.finish()


def test_guest_killed(lab):
    """kill -9 of a QEMU that sends at full speed; the next one on its port is served."""
    lab.daemon.rpc('network.add', name='blue')
    for name in 'a', 'b', 'c':
        lab.add(name, network='blue')
    a, b, c = (lab.guest(name) for name in ('a', 'b', 'c'))
    a.ready().address('10.0.0.1/24')
    b.ready().address('10.0.0.2/24').reaches('10.0.0.1')
    c.ready().address('10.0.0.3/24').reaches('10.0.0.1')
    copy, ping = Copy(a, b, '10.0.0.2', endless=True), Ping(a, '10.0.0.2')
    fds = lab.daemon.fds()
    kills = 3 if FULL else 2
    for _ in range(kills):
        Copy(c, a, '10.0.0.1', mb=5, endless=True)
        c.kill()
        lab.state('c', 'waiting')
        c = lab.guest('c').ready().address('10.0.0.3/24').reaches('10.0.0.1')
        assert copy.running()
    sent, received, _, figures = ping.stop()
    copy.finish()
    assert sent == received, figures
    assert lab.daemon.fds() == fds
    assert lab.show('c')['virtio']['connects'] == kills + 1
