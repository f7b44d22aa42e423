# SPDX-License-Identifier: Apache-2.0
"""One xviod and the QEMU guests on its ports: what the system tests and the demonstration share."""

import contextlib
import os
import shutil

from guest import Guest, Nic, wait
from xvio import Xviod


def unbalanced(port):
    """What a port's ledger is off by, as `port show` gave it: 0 once it is quiet."""
    return port['rx_packets'] + port['copies'] - port['forwarded'] - port['punts'] - \
        sum(port['drops'].values()) - port['held']


FULL = os.environ.get('FULL', '') not in ('', '0')


def spread(always, full):
    """Parameters of tests with real guests, which take ten seconds and more each: `full` with FULL=1 only."""
    return always + (full if FULL else [])


class Lab:
    """A daemon in a directory of its own; with it go its guests.

    config: the host file, as a dictionary. Use as a context, or start() and close().
    """

    def __init__(self, config=None, **keys):
        self.daemon = Xviod(config, **keys)
        self.dir = self.daemon.dir
        self.guests = []
        self.pid = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close(failed=exc[0] is not None)

    def start(self):
        self.daemon.start()
        self.pid = self.daemon.pid

    def close(self, failed=False):
        """Guests first: what the daemon does when they go is tested too, by its exit status."""
        for guest in self.guests:
            guest.stop()
        if failed:
            # The daemon's own end would only hide what went wrong.
            with contextlib.suppress(Exception):
                self.daemon.stop()
        else:
            self.daemon.stop()
            if self.daemon.own_dir:
                shutil.rmtree(self.dir)

    def socket(self, port):
        return str(self.dir / (port + '.sock'))

    def vhost(self, name, **keys):
        """The keys of a vhost port, for the host file or port.add."""
        return {'name': name, 'kind': 'vhost', 'socket': self.socket(name), **keys}

    def add(self, name, **keys):
        """Add a vhost port to the running daemon."""
        return self.daemon.rpc('port.add', **self.vhost(name, **keys))

    def guest(self, port, name=None, nic=None, **keys):
        """A guest on a port, whichever role the port has; started. nic: more options of its NIC."""
        listen = self.daemon.port(port)['mode'] == 'client'
        guest = Guest(name or port, [Nic(self.socket(port), listen=listen, **(nic or {}))],
                      directory=self.dir, **keys)
        self.guests.append(guest)
        return guest.start()

    def show(self, port):
        return self.daemon.port(port)

    def state(self, port, state, timeout=20.0):
        wait(lambda: self.show(port)['state'] == state, timeout, '%s %s' % (port, state))

    def balance(self, timeout=20.0):
        """Every port's ledger, once they all balance."""
        def balanced():
            ports = self.daemon.rpc('port.list')
            return not any(map(unbalanced, ports)) and ports
        try:
            return wait(balanced, timeout, 'ledger', 0.1)
        except TimeoutError:
            raise AssertionError('ledger off by %s: %s' % (
                {p['name']: unbalanced(p) for p in self.daemon.rpc('port.list')},
                self.daemon.rpc('port.list'))) from None

    def check(self):
        """What holds at the end of every test."""
        assert self.daemon.alive() and self.daemon.pid == self.pid, \
            'xviod died:\n' + self.daemon.tail()
        self.balance()
        for port in self.daemon.rpc('port.list'):
            assert not port.get('virtio', {}).get('broken_total'), port

    def macs(self, network):
        """MAC address -> (port, VLAN)."""
        return {entry['mac']: (entry['port'], entry['vlan'])
                for entry in self.daemon.rpc('mac.list', network=network)}

    def tails(self):
        return '\n'.join(['-- xviod:\n' + self.daemon.tail()] +
                         ['-- guest %s:\n%s' % (guest.name, guest.tail())
                          for guest in self.guests])
