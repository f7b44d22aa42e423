# SPDX-License-Identifier: Apache-2.0
"""A load balancer over three real guests, one of which is killed; FTP through NAT between two of them.

    a 10.0.0.1 is the client, b, c, d 10.0.0.2-4 the backends; all on network blue, d later on network ext
"""

import os
import pathlib
import subprocess

import pytest

from guest import IMAGE, wait
from lab import Lab
from xvio import program

IP = {'a': '10.0.0.1', 'b': '10.0.0.2', 'c': '10.0.0.3', 'd': '10.0.0.4'}
VIP, SOURCE, N = '10.0.0.100', '10.0.0.253', 150
ROUTER = {'name': 'r0', 'interfaces': [{'network': 'blue', 'address': '10.0.0.254/24'}, {'network': 'ext', 'address': '192.0.2.254/24'}],
          'nat': [{'type': 'snat', 'external': '192.0.2.254', 'internal': '10.0.0.0/24'},
                  {'type': 'floating', 'external': '192.0.2.50', 'internal': IP['c']}]}


@pytest.fixture(scope='module')
def initrd(tmp_path_factory):
    """The guests' usual one, and tcp_tool."""
    tree = tmp_path_factory.mktemp('initrd')
    (tree / 'bin').mkdir()
    os.symlink(program('tcp_tool'), tree / 'bin' / 'tcp_tool')
    more = subprocess.run(['cpio', '--quiet', '-o', '-L', '-H', 'newc'], cwd=tree, input=b'bin/tcp_tool\n', check=True,
                          stdout=subprocess.PIPE).stdout
    path = pathlib.Path(tree / 'initrd')
    path.write_bytes((IMAGE / 'initrd').read_bytes() + more)
    return path


def usable(lab):
    return [b['address'] for b in lab.daemon.rpc('lb.show', name='web')['backends'] if b['usable']]


def said(job, word, n):
    """The n-th line that begins so, once it is there."""
    def lines():
        found = [line.split()[1] for line in job.output().splitlines() if line.startswith(word) and len(line.split()) == 2]
        return found[n - 1] if len(found) >= n else None
    return wait(lines, 20, word, 0.2)


def test_killed_backend_and_ftp(request, initrd):
    lab = Lab()
    request.node.labs = [lab]
    lab.daemon.config = {
        'networks': [{'name': 'blue'}, {'name': 'ext'}], 'ports': [lab.vhost(name, network='blue') for name in IP],
        'load_balancers': [{'name': 'web', 'network': 'blue', 'address': VIP, 'port': 80, 'health': 'tcp', 'health_source': SOURCE,
                            'health_interval_ms': 200, 'health_timeout_ms': 200, 'health_fall': 3, 'health_rise': 1,
                            'backends': [{'address': IP[name], 'port': 8080} for name in 'bcd']}],
        'routers': [ROUTER]}
    with lab:
        guests = {name: lab.guest(name, initrd=initrd) for name in IP}
        for name, guest in guests.items():
            guest.ready().address(IP[name] + '/24')
            guest.check('ip route add default via 10.0.0.254')
        for name in 'bcd':
            job = guests[name].spawn('tcp_tool serve 8080 ' + name)
            wait(lambda: 'ready' in job.output(), 10, 'server', 0.1)
        wait(lambda: len(usable(lab)) == 3, 10, 'three backends', 0.1)

        a = guests['a']
        job = a.spawn('tcp_tool hold %s 80 %d' % (VIP, N))
        names = said(job, 'open:', 1)
        assert all(names.count(name) > N / 6 for name in 'bcd'), names
        a.check('echo >/tmp/hold')
        assert said(job, 'alive:', 1) == names
        guests['b'].kill()
        wait(lambda: usable(lab) == [IP['c'], IP['d']], 10, 'a backend that is down', 0.1)
        a.check('echo >/tmp/hold')
        alive = said(job, 'alive:', 2)
        # Only those of the killed one, and nobody else's moved.
        assert alive == names.replace('b', '.'), (names, alive)
        more = a.spawn('rm /tmp/hold; tcp_tool hold %s 80 30' % VIP)
        assert set(said(more, 'open:', 1)) == set('cd')

        # FTP: a client behind SNAT, a server behind a floating address.
        lab.daemon.rpc('port.set', name='d', network='ext')
        d, c = guests['d'], guests['c']
        d.check('ip addr flush dev eth0; ip addr add 192.0.2.1/24 dev eth0')
        for server in d, c:
            served = server.spawn('tcp_tool ftpd 300000')
            wait(lambda: 'ready' in served.output(), 10, 'FTP server', 0.1)
        for client, address, told in (a, '192.0.2.1', '192.0.2.1'), (d, '192.0.2.50', '192.0.2.50'):
            assert client.ping(address)
            for mode in 'active', 'passive':
                out = client.check('tcp_tool ftp %s %s' % (address, mode), 40).split()
                assert out == ['300000', '300000', 'of', told if mode == 'passive' else '-'], (address, mode, out)
        lab.check()
