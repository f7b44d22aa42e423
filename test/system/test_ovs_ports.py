# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch's interfaces of type xviovhost, and of OVS-DPDK's names, with guests behind them."""

import re

import pytest

import ovs
from guest import Guest, Nic, Ping, wait
from ovs_lab import OvsLab

pytestmark = pytest.mark.skipif(not ovs.is_built(), reason='xvio-vswitchd is not built: make build-ovs')


@pytest.fixture
def lab(request):
    with OvsLab(request) as lab:
        yield lab


def test_vm_port(lab):
    """All that an operator sees and does of a VM port, while its guest comes, talks and goes."""
    vs = lab.vs
    vs.vsctl('add-br br0 -- set bridge br0 datapath_type=xvio')
    for name in 'a', 'b':
        lab.vm_port('br0', name, 'options:vhost-role=server options:n_rxq=2 mtu_request=9000')
    a, b = (Guest(name, [Nic(lab.socket(name), queues=2)], directory=lab.dir).start() for name in 'ab')
    lab.guests += [a, b]
    assert vs.interface('a', 'link_state') == 'down'
    a.ready().address('10.0.0.1/24', mtu=9000)
    b.ready().address('10.0.0.2/24', mtu=9000)
    a.reaches('10.0.0.2')
    wait(lambda: vs.interface('a', 'link_state') == 'up', 5, 'link state')
    assert a.ping('10.0.0.2', count=3, size=8000)

    def status():
        return vs.interface('a', 'status')
    wait(lambda: 'status=connected' in status(), 10, 'status')
    for text in 'mode=server', 'n_queues="1"', 'state=up', 'socket="%s"' % lab.socket('a'), 'driver_name=xvio':
        assert text in status(), status()
    assert lab.dp_port('a')['virtio']['connected'] and lab.dp_port('a')['queues'] == 2

    # A reason why xviod drops is a counter of the interface.
    vs.flows('br0', 'priority=1,icmp,actions=drop\npriority=0,actions=normal\n')
    a.run('ping -c 3 -i 0.2 -w 1 10.0.0.2')
    ports = vs.run('ovs-ofctl', '-O', 'OpenFlow14', 'dump-ports', 'br0', 'a')
    assert re.search(r'drop-[a-z-]+=[3-9]', ports), ports
    vs.flows('br0', 'actions=normal\n')

    # The MTU may change while the guest runs, which does not notice: no new device.
    vs.vsctl('set interface b mtu_request=4000')
    assert vs.interface('b', 'mtu') == '4000'
    assert not a.ping('10.0.0.2', size=8000, count=1, wait_s=1)
    wait(lambda: a.ping('10.0.0.2', size=3000, count=1, wait_s=2), 10, 'ping that fits')
    assert lab.dp_port('b')['virtio']['connects'] == 1

    # A new device under flows that are in use: those that lead to the old one go.
    pings = Ping(a, '10.0.0.2')
    vs.vsctl('set interface b options:n_rxq=3')
    assert lab.dp_port('b')['queues'] == 3
    a.reaches('10.0.0.2', 10)
    pings.stop()

    # The other side goes. By then OVS has looked at statistics, which it does every five seconds.
    statistics = wait(lambda: lab.statistics('a').get('rx_packets', 0) >= 6 and lab.statistics('a'), 10, 'statistics')
    assert statistics['tx_packets'] >= 6 and any(key.startswith('drop-') for key in statistics), statistics
    changes = int(vs.interface('a', 'link_resets'))
    a.stop()
    wait(lambda: vs.interface('a', 'link_state') == 'down', 5, 'link state')
    assert int(vs.interface('a', 'link_resets')) == changes + 1
    wait(lambda: 'status=disconnected' in status(), 10, 'status')
    lab.calm()


def test_options_change(lab):
    """A port follows its options without being added again, and its numbers stay."""
    vs = lab.vs
    vs.vsctl('add-br br0 -- set bridge br0 datapath_type=xvio')
    lab.vm_port('br0', 'a', 'options:vhost-role=server')
    lab.vm_port('br0', 'b', 'options:vhost-role=server')
    before = vs.interface('a', 'ofport'), vs.appctl('dpctl/show').count('port 2: a ')
    vs.vsctl('set interface a options:vhost-server-path=%s options:n_rxq=4' % lab.socket('other'))
    port = lab.dp_port('a')
    assert (port['socket'], port['queues'], port['mode']) == (lab.socket('other'), 4, 'server')
    assert (vs.interface('a', 'ofport'), vs.appctl('dpctl/show').count('port 2: a ')) == before
    # What xviod cannot do is refused, said, and put right again.
    vs.run('ovs-vsctl', '--db=unix:%s' % (vs.dir / 'db.sock'), '--no-wait', 'set', 'interface', 'a',
           'options:vhost-server-path=%s' % lab.socket('b'))
    wait(lambda: lab.socket('b') in vs.interface('a', 'error'), 5, 'error')
    vs.vsctl('set interface a options:vhost-server-path=%s' % lab.socket('a'))
    wait(lambda: vs.interface('a', 'error') == '[]', 5, 'no error')
    assert lab.dp_port('a')['socket'] == lab.socket('a') and lab.dp_port('b')['socket'] == lab.socket('b')
    lab.calm()


BAD_OPTIONS = [
    ('type=xviovhost', 'options:vhost-server-path is missing'),
    ('type=xviovhost options:vhost-server-path=run/a.sock', 'the socket\'s path "run/a.sock" is to be absolute'),
    ('type=xviovhost options:vhost-server-path=/run/a.sock options:vhost-role=both', 'options:vhost-role is client or server'),
    ('type=xviovhost options:vhost-server-path=/run/a.sock options:n_rxq=33', 'options:n_rxq is a number from 1 to 32, not "33"'),
    ('type=xviovhost options:vhost-server-path=/run/a.sock options:n_rxq=two', 'options:n_rxq is a number from 1 to 32, not "two"'),
    ('type=xviovhost options:vhost-server-path=/proc/a.sock options:vhost-role=server', '/proc/a.sock'),
    ('type=xvioeth', 'options:dpdk-devargs is missing'),
    ('type=xvioeth options:xvio-devargs=net_nothing0', 'net_nothing0'),
    ('type=dpdkvhostuserclient options:vhost-server-path=/run/a.sock', 'could not open network device a'),
]


def test_bad_options(lab):
    """One sentence in the interface's error, and other ports do not mind."""
    vs = lab.vs
    vs.vsctl('add-br br0 -- set bridge br0 datapath_type=xvio')
    lab.vm_port('br0', 'b')
    for what, sentence in BAD_OPTIONS:
        vs.vsctl('--no-wait', 'add-port', 'br0', 'a', '--', 'set', 'interface', 'a', *what.split())
        error = wait(lambda: vs.interface('a', 'error').strip('[]'), 5, 'error')
        assert sentence in error.replace('\\"', '"').replace('\\', '"') and error.count('\n') == 0, error
        assert 'error: "' in vs.show()
        assert vs.interface('b', 'error') == '[]'
        vs.vsctl('del-port br0 a')
    # Put right, it comes.
    vs.vsctl('--no-wait', 'add-port', 'br0', 'a', '--', 'set', 'interface', 'a', 'type=xviovhost')
    wait(lambda: 'missing' in vs.interface('a', 'error'), 5, 'error')
    vs.vsctl('set interface a options:vhost-server-path=%s options:n_rxq=2' % lab.socket('a'))
    wait(lambda: vs.interface('a', 'error') == '[]', 5, 'no error')
    assert lab.dp_port('a')['kind'] == 'vhost'
    lab.calm()


def test_drop_in_names(request):
    """A database made for OVS-DPDK works as it is: types, options and the socket directory."""
    with OvsLab(request, config={'xvio-replace-netdev': 'true', 'dpdk-init': 'true'}) as lab:
        vs = lab.vs
        vs.vsctl('add-br br0 -- set bridge br0 datapath_type=netdev')
        vs.vsctl('add-port br0 vhu1 -- set Interface vhu1 type=dpdkvhostuser mtu_request=2000')
        vs.vsctl('add-port br0 vhu2 -- set Interface vhu2 type=dpdkvhostuserclient '
                 'options:vhost-server-path=%s options:n_rxq_desc=1024' % lab.socket('vhu2'))
        vs.vsctl('add-port br0 dpdk0 -- set Interface dpdk0 type=dpdk options:dpdk-devargs=net_null0,no-rx=1 options:n_rxq=1')
        assert 'error' not in vs.show(), vs.show()
        types = vs.vsctl('get Open_vSwitch . iface_types')
        assert all(name in types for name in ('dpdk', 'dpdkvhostuser', 'dpdkvhostuserclient')), types
        port = lab.daemon.port('vhu1@ovs-netdev')
        assert (port['mode'], port['socket'], port['mtu']) == ('server', str(vs.dir / 'vhu1'), 2000)
        port = lab.daemon.port('vhu2@ovs-netdev')
        assert (port['mode'], port['socket'], port['mtu']) == ('client', lab.socket('vhu2'), 1500)
        assert lab.daemon.port('dpdk0@ovs-netdev')['kind'] == 'ethdev'
        assert 'netdev@ovs-netdev' in vs.appctl('dpif/show')
        one, two = Guest('vm1', [Nic(vs.dir / 'vhu1')], directory=lab.dir), \
            Guest('vm2', [Nic(lab.socket('vhu2'), listen=True)], directory=lab.dir)
        lab.guests += [one, two]
        for guest in one, two:
            guest.start()
        for number, guest in enumerate((one, two), 1):
            guest.ready().address('10.0.0.%d/24' % number)
        one.reaches('10.0.0.2')
        vs.vsctl('del-port br0 dpdk0 -- del-port br0 vhu2')
        assert 'vhu2@ovs-netdev' not in [p['name'] for p in lab.daemon.rpc('port.list')]


def test_internal_port(lab):
    """The bridge's own device: statistics as OVS has them, received by the switch is sent by the host."""
    vs = lab.vs
    vs.vsctl('add-br br0 -- set bridge br0 datapath_type=xvio')
    lab.host.sh('ip addr add 10.0.0.1/24 dev br0; ip link set br0 up')
    lab.add_host('a', '10.0.0.2/24', 'br0').reaches('10.0.0.1').sh('ping -c 5 -i 0.2 10.0.0.1')
    text = vs.ofctl('dump-ports', 'br0', 'LOCAL')
    seen = {way: int(re.search(r'%s pkts=(\d+)' % way, text)[1]) for way in ('rx', 'tx')}
    device = {way: int(lab.host.sh('cat /sys/class/net/br0/statistics/%s_packets' % way)) for way in ('rx', 'tx')}
    assert seen['rx'] == device['tx'] >= 5 and seen['tx'] == device['rx'] >= 5, (seen, device)
    port = lab.dp_port('br0')
    assert port['rx_packets'] == device['tx'] and port['tx_packets'] == device['rx'], (port, device)
    lab.calm()


def test_policing(lab):
    """ingress_policing_rate is xviod's rate limit, and follows changes."""
    vs = lab.vs
    vs.vsctl('add-br br0 -- set bridge br0 datapath_type=xvio')
    lab.vm_port('br0', 'a')
    vs.vsctl('set interface a ingress_policing_rate=10000 ingress_policing_burst=1000')
    port = lab.dp_port('a')
    assert (port['rx_limit_bps'], port['limit_burst_ms']) == (10000000, 100), port
    vs.vsctl('set interface a ingress_policing_rate=0 ingress_policing_burst=0')
    assert lab.dp_port('a').get('rx_limit_bps', 0) == 0
