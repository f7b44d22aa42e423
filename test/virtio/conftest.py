# SPDX-License-Identifier: Apache-2.0
"""One xviod per test module; ports, wires and guests per test.

Every test ends with the same questions: does xviod live, do the ledgers of the ports balance?
"""

import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'lib'))

from arena import Arena, Bystander  # noqa: E402
from frontend import Guest, wait  # noqa: E402
from xvio import Xviod  # noqa: E402

serial = itertools.count()


class Lab:
    """Ports and guests of one test.  A guest made here has .port, the name of its port."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.pid = daemon.pid
        self.ports, self.wires, self.networks, self.guests = [], [], [], []

    def path(self, port):
        return str(self.daemon.dir / (port + '.sock'))

    def port(self, **keys):
        name = 'p%d' % next(serial)
        self.daemon.rpc('port.add', **{'name': name, 'kind': 'vhost', 'socket': self.path(name),
                                       **keys})
        self.ports.append(name)
        return name

    def wire(self, *ports):
        name = 'w%d' % next(serial)
        self.daemon.rpc('wire.add', name=name, ports=list(ports))
        self.wires.append(name)

    def network(self, **keys):
        name = 'n%d' % next(serial)
        self.daemon.rpc('network.add', name=name, **keys)
        self.networks.append(name)
        return name

    def show(self, port):
        return self.daemon.port(port)

    def up(self, port):
        wait(lambda: self.show(port)['state'] == 'up', what='link of ' + port)

    def guest(self, port, up=True, **options):
        guest = Guest(self.path(port), **options)
        guest.port = port
        self.guests.append(guest)
        if up:
            self.up(port)
        return guest

    def wired_ports(self, **keys):
        ports = self.port(**keys), self.port(**keys)
        self.wire(*ports)
        return ports

    def pair(self, first=None, second=None, port=None, **both):
        """Two guests on one wire. first, second: options of one of them; port: of both ports."""
        ports = self.wired_ports(**(port or {}))
        return [self.guest(p, **{**both, **(o or {})}) for p, o in zip(ports, (first, second))]

    def drops(self, port):
        """By reason, those that happened."""
        return {reason: n for reason, n in self.show(port)['drops'].items() if n}

    def balanced(self, port):
        p = self.show(port)
        return p['rx_packets'] + p['copies'] == \
            p['forwarded'] + p['punts'] + sum(p['drops'].values()) + p['held']

    def check(self):
        assert self.daemon.alive() and self.daemon.pid == self.pid, self.daemon.tail()
        for port in self.ports:
            try:
                wait(lambda: self.balanced(port), what='balance')
            except TimeoutError:
                pytest.fail('ledger of %s does not balance: %s' % (port, self.show(port)))

    def close(self):
        for guest in self.guests:
            guest.close()
        if answers(self.daemon):
            for kind, names in ('wire', self.wires), ('port', self.ports), \
                    ('network', self.networks):
                for name in names:
                    self.daemon.rpc(kind + '.del', name=name)


def answers(daemon):
    try:
        return daemon.alive() and daemon.rpc('version', timeout=5)
    except OSError:
        return None


@pytest.fixture(scope='module')
def daemon():
    xviod = Xviod({'daemon': {'log_level': 'info'}})
    xviod.start()
    yield xviod
    xviod.stop()


@pytest.fixture
def lab(daemon):
    if not answers(daemon):         # an earlier test, which has failed, brought it down
        if daemon.process:
            daemon.kill()
        daemon.start()
    lab = Lab(daemon)
    try:
        yield lab
        assert answers(daemon), 'xviod died or hangs:\n' + daemon.tail()
        lab.check()
    finally:
        lab.close()


@pytest.fixture(scope='module')
def bystanders():
    """The honest guests, of the xviod that runs."""
    current = []
    yield current
    for b in current:
        b.finish()


@pytest.fixture
def bystander(lab, bystanders):
    if not bystanders or bystanders[-1].pid != lab.daemon.pid:
        bystanders.append(Bystander(lab.daemon))
    return bystanders[-1]


@pytest.fixture
def arena(lab, bystander):
    a = Arena(lab, bystander)
    yield a
    assert answers(lab.daemon), 'xviod died or hangs:\n' + lab.daemon.tail()
    for g in lab.guests:
        if g is not a.peer:
            g.close()
    wait(lambda: not a.virtio()['connected'], what='the end of the connection')
    a.still_serves()
    bystander.check()
