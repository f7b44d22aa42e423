# SPDX-License-Identifier: Apache-2.0
"""xviod and the ovs-vswitchd that drives it, in a network namespace of their own, and guests on their ports."""

import re

from guest import wait
from lab import Lab, unbalanced
from ovs import Host, Vswitch


class OvsLab(Lab):
    """request: pytest's, whose test shows what was said when it fails; config: other_config; late: xviod is not started."""

    def __init__(self, request=None, config=None, late=False):
        self.late = late
        self.host = Host('ovs')
        super().__init__({}, netns=self.host.name)
        self.daemon.config = {'daemon': {'ovs_socket': str(self.dir / 'ovs.sock')}}
        self.vs = Vswitch(self.dir, self.dir / 'ovs.sock', self.host.name, config)
        self.hosts = [self.host]
        if request is not None:
            request.node.labs = [self]

    def start(self):
        if not self.late:
            super().start()
        self.vs.start()

    def close(self, failed=False):
        """Guests first, then vswitchd, which removes what it made, then xviod."""
        try:
            for guest in self.guests:
                guest.stop()
            self.vs.close()
            super().close(failed)
        finally:
            for host in self.hosts:
                host.close()

    def add_host(self, name, address, bridge):
        """A host behind a device of the kernel on a bridge."""
        host = Host(name)
        self.hosts.append(host)
        host.cable('eth0', self.host, name)
        host.sh('ip addr add %s dev eth0; ethtool -K eth0 tx off tso off' % address)
        self.vs.vsctl('add-port %s %s' % (bridge, name))
        return host

    def two_hosts(self):
        """On a bridge of their own, and they reach each other."""
        self.vs.vsctl('add-br br0 -- set bridge br0 datapath_type=xvio')
        a, b = self.add_host('a', '10.0.0.1/24', 'br0'), self.add_host('b', '10.0.0.2/24', 'br0')
        a.reaches('10.0.0.2')
        return a, b

    def vm_port(self, bridge, name, more=''):
        self.vs.vsctl('add-port %s %s -- set interface %s type=xviovhost options:vhost-server-path=%s %s' %
                      (bridge, name, name, self.socket(name), more))

    def dp_port(self, name):
        """As xviod shows it."""
        return self.daemon.port(name + '@ovs-xvio')

    def statistics(self, name):
        text = self.vs.vsctl('get interface %s statistics' % name)
        return {key: int(value) for key, value in re.findall(r'"?([\w-]+)"?=(\d+)', text)}

    def calm(self):
        """What holds at the end: nothing is lost unaccounted for, and nobody died or broke."""
        def off():
            return {p['name']: unbalanced(p) for p in self.daemon.rpc('port.list') if unbalanced(p)}
        wait(lambda: not off(), 10, 'ledger')
        assert self.daemon.alive() and self.vs.process.poll() is None
        for port in self.daemon.rpc('port.list'):
            assert not port.get('virtio', {}).get('broken_total'), port

    def tails(self):
        if not self.daemon.log.exists():
            return 'nothing was logged, or it is gone'
        return super().tails() + '\n-- ovs-vswitchd (status %s):\n%s' % (self.vs.process and self.vs.process.poll(), self.vs.tail())
