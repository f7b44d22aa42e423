# SPDX-License-Identifier: Apache-2.0
"""The control side of a real daemon: host file, API, command line, and what they say to bad input.

No guests: vhost ports without a peer, taps, dummies.  Needs root (taps), no hugepages.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'lib'))
from xvio import SLACK_KB, Error, Xviod, program  # noqa: E402


@pytest.fixture
def xviod(tmp_path):
    with Xviod(example(tmp_path), dir=short_dir(tmp_path)) as daemon:
        yield daemon


SHORT = pathlib.Path('/tmp/xvio-control-%d' % os.getpid())


@pytest.fixture(scope='module', autouse=True)
def short_dirs():
    yield
    shutil.rmtree(SHORT, ignore_errors=True)


def short_dir(tmp_path):
    """pytest's directories may be too long for a unix socket."""
    path = SHORT / ('%x' % (hash(tmp_path) % 2 ** 32))
    path.mkdir(parents=True, exist_ok=True)
    return path


def example(tmp_path):
    d = short_dir(tmp_path)
    return {
        'networks': [{'name': 'blue'}, {'name': 'red'}],
        'ports': [
            {'name': 'vm1', 'socket': '%s/vm1' % d, 'network': 'blue', 'vlan': 10,
             'trunk': [20, '30-39'], 'rx_limit_bps': '1G'},
            {'name': 'vm2', 'socket': '%s/vm2' % d, 'network': 'blue', 'queues': 4},
            {'name': 'd1', 'kind': 'dummy'},
            {'name': 'd2', 'kind': 'dummy'},
        ],
        'wires': [{'name': 'direct', 'ports': ['d1', 'd2']}],
    }


def xvioctl(daemon, *args, stdin=None):
    """Exit status, standard output, standard error."""
    run = subprocess.run([program('xvioctl'), '-s', daemon.api, *map(str, args)],
                         input=stdin, capture_output=True, text=True, timeout=20)
    return run.returncode, run.stdout, run.stderr


def refused(daemon, *args):
    """The command must fail with one sentence, which is returned, and print nothing else."""
    status, out, err = xvioctl(daemon, *args)
    assert status == 1 and out == '', (status, out, err)
    assert re.fullmatch(r'xvioctl: .+\n', err), err
    return err[len('xvioctl: '):-1]


def snapshot(daemon):
    """All that is configured, and the sockets that exist: what a refused change must leave alone."""
    everything = [daemon.rpc(kind + '.list') for kind in ('port', 'network', 'policy', 'wire')]
    workers = [(w['name'], w['cpu'], w['queues']) for w in daemon.rpc('worker.list')]
    files = {p.name: p.stat().st_ino for p in daemon.dir.iterdir() if p.is_socket()}
    return everything, workers, daemon.rpc('daemon.show'), files


def apply(daemon, text, *args):
    file = daemon.dir / 'new.yaml'
    file.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
    return xvioctl(daemon, 'apply', file, *args)


# -- showing

def test_list_and_show(xviod):
    ports = xviod.ctl('port', 'list')
    assert [p['name'] for p in ports] == ['vm1', 'vm2', 'd1', 'd2']
    vm1 = xviod.ctl('port', 'show', 'vm1')
    assert vm1 == ports[0]
    assert vm1['kind'] == 'vhost' and vm1['state'] == 'waiting' and vm1['mode'] == 'server'
    assert vm1['trunk'] == [20, '30-39'] and vm1['rx_limit_bps'] == 10 ** 9
    assert vm1['virtio']['connected'] is False and vm1['virtio']['broken'] is None
    assert vm1['rx_packets'] == vm1['forwarded'] == vm1['held'] == sum(vm1['drops'].values()) == 0
    assert ports[2]['wire'] == 'direct' and 'virtio' not in ports[2]
    worker = xviod.ctl('worker', 'show', 'w0')
    assert worker['queues'] == 7 and worker['ports'] == 4 and worker['cpu'] is None
    assert xviod.ctl('network', 'show', 'blue')['ports'] == ['vm1', 'vm2']
    assert xviod.ctl('wire', 'list') == [{'name': 'direct', 'ports': ['d1', 'd2'], 'state': 'up'}]
    assert xviod.ctl('mac', 'list') == xviod.ctl('drop', 'list') == []
    assert xviod.ctl('mac', 'flush', 'network=blue') == {'flushed': 0}
    assert xviod.ctl('show')['ports']['total'] == 4
    assert set(xviod.ctl('version')) == {'xviod', 'xvioctl', 'dpdk', 'api'}


@pytest.mark.parametrize('command', [
    'show', 'port list', 'port show vm1', 'policy list', 'help policy', 'network list', 'network show blue', 'wire list',
    'wire show direct', 'worker list', 'worker show w0', 'mac list', 'mac list network=blue',
    'drop list', 'drop list port=vm1', 'event list', 'event list port=vm1', 'daemon show',
    'log show', 'version', 'doctor', 'help', 'help port', 'port --help'])
def test_human_output(xviod, command):
    status, out, err = xvioctl(xviod, *command.split())
    assert status == 0 and err == '' and out.endswith('\n')
    if 'help' not in command:
        json.loads(subprocess.check_output([program('xvioctl'), '-s', xviod.api, '--json',
                                            *command.split()], text=True))


def test_socket_from_environment(xviod):
    out = subprocess.check_output([program('xvioctl'), 'port', 'list'], text=True,
                                  env={**os.environ, 'XVIO_SOCKET': xviod.api})
    assert out.splitlines()[1].split()[:3] == ['vm1', 'vhost', 'waiting']


# -- changing single objects

def test_add_set_del(xviod):
    other = xviod.rpc('port.show', name='vm1')
    inode = os.stat(other['socket']).st_ino
    assert xvioctl(xviod, 'network', 'add', 'green', 'mac_limit=10') == (0, '', '')
    assert xvioctl(xviod, 'port', 'add', 'vm3', 'socket=%s/vm3' % xviod.dir, 'network=green',
                   'trunk=1-4,9', 'tx_limit_pps=10k', 'tso=off') == (0, '', '')
    vm3 = xviod.port('vm3')
    assert vm3['trunk'] == ['1-4', 9] and vm3['tx_limit_pps'] == 10000 and vm3['tso'] is False
    assert (xviod.dir / 'vm3').is_socket()
    xvioctl(xviod, 'port', 'set', 'vm3', 'vlan=7', 'mtu=1500', 'trunk=')
    vm3 = xviod.port('vm3')
    assert vm3['vlan'] == 7 and vm3['mtu'] == 1500 and 'trunk' not in vm3
    xvioctl(xviod, 'port', 'set', 'vm3', 'network=', 'vlan=')
    assert 'network' not in xviod.port('vm3')
    xviod.rpc('network.del', name='green')
    xviod.rpc('port.add', name='vm4', socket='%s/vm4' % xviod.dir)
    xviod.rpc('wire.add', name='w', ports=['vm3', 'vm4'])
    assert xviod.port('vm4')['wire'] == 'w'
    xviod.rpc('wire.del', name='w')
    xviod.rpc('port.del', name='vm3')
    xviod.rpc('port.del', name='vm4')
    assert not (xviod.dir / 'vm3').exists()
    assert os.stat(other['socket']).st_ino == inode  # the others' sockets were never touched
    assert xviod.rpc('port.show', name='vm1') == other


RULES = [{'action': 'allow', 'protocol': 6, 'destination': '10.1.2.3/8', 'destination_port': '80-90'},
         {'action': 'deny', 'source': '2001:DB8::/32', 'name': 'no-lab'}]


def test_policies(xviod):
    before = xviod.port('vm1')
    assert xvioctl(xviod, 'policy', 'add', 'web', 'rules=' + json.dumps(RULES)) == (0, '', '')
    web = xviod.ctl('policy', 'show', 'web')
    none = {'packets': 0, 'bytes': 0}
    assert web == {'name': 'web', 'default': 'deny', 'ports': [], 'no_rule': none, 'rules': [
        {'action': 'allow', 'protocol': 'tcp', 'destination': '10.0.0.0/8', 'destination_port': '80-90', **none},
        {'action': 'deny', 'name': 'no-lab', 'source': '2001:db8::/32', **none}]}
    assert xviod.ctl('policy', 'list') == [web]
    assert xvioctl(xviod, 'port', 'set', 'vm1', 'ingress_policy=web') == (0, '', '')
    assert xvioctl(xviod, 'port', 'set', 'vm2', 'ingress_policy=web', 'egress_policy=web') == (0, '', '')
    assert xviod.rpc('policy.show', name='web')['ports'] == ['vm1', 'vm2']
    assert xviod.port('vm1') == {**before, 'ingress_policy': 'web'}
    status, out, _ = xvioctl(xviod, 'policy', 'show', 'web')
    assert status == 0 and out.splitlines()[2:] == [
        'rules: 2', '  1: allow, protocol tcp, destination 10.0.0.0/8, destination_port 80-90: 0 packets, 0 bytes',
        '  2: deny, name no-lab, source 2001:db8::/32: 0 packets, 0 bytes', 'no_rule:', '  packets: 0', '  bytes: 0',
        'ports: vm1, vm2']
    status, out, _ = xvioctl(xviod, 'policy', 'list')
    assert [line.split() for line in out.splitlines()] == [
        ['NAME', 'DEFAULT', 'RULES', 'PORTS'], ['web', 'deny', '2', 'vm1,', 'vm2']]
    # A change reaches the ports without a new device; the rest of the policy stays.
    inode = os.stat(xviod.dir / 'vm1').st_ino
    assert xviod.rpc('policy.set', name='web', default='allow')['changes'] == [
        '~ policy web: default deny -> allow']
    assert len(xviod.rpc('policy.show', name='web')['rules']) == 2
    assert xvioctl(xviod, 'policy', 'set', 'web', 'rules=[{action: deny, vlan: 7}]') == (0, '', '')
    assert xviod.rpc('policy.show', name='web')['rules'] == [{'action': 'deny', 'vlan': 7, **none}]
    assert os.stat(xviod.dir / 'vm1').st_ino == inode
    assert refused(xviod, 'policy', 'del', 'web') == 'policy web: is used by port vm1'
    assert refused(xviod, 'port', 'set', 'vm1', 'network=', 'vlan=', 'trunk=') == (
        'port vm1: ingress_policy: works only on a network: a wire looks at no packet')
    xviod.rpc('port.set', name='vm1', **{'ingress_policy': None})
    xviod.rpc('port.set', name='vm2', **{'ingress_policy': None})
    assert refused(xviod, 'policy', 'del', 'web') == 'policy web: is used by port vm2'
    xviod.rpc('port.set', name='vm2', **{'egress_policy': None})
    assert xvioctl(xviod, 'policy', 'del', 'web') == (0, '', '')
    assert xviod.rpc('policy.list') == [] and xviod.port('vm1') == before


def test_apply_policies(xviod, tmp_path):
    config = example(tmp_path)
    config['policies'] = [{'name': 'web', 'rules': RULES}, {'name': 'open', 'default': 'allow'}]
    config['ports'][0]['egress_policy'] = 'web'
    changes = ['+ policy web', '+ policy open', '~ port vm1: egress_policy unset -> web']
    assert apply(xviod, config, '--dry-run') == (0, '\n'.join(changes) + '\n', '')
    assert apply(xviod, config) == (0, '\n'.join(changes) + '\n', '')
    assert apply(xviod, config) == (0, 'nothing to change\n', '')
    config['policies'][0]['rules'] = RULES[::-1]
    config['ports'][0]['ingress_policy'] = 'open'
    changes = ['~ policy web: rules changed', '~ port vm1: ingress_policy unset -> open']
    # Something else fails: the old policies stay.
    before = snapshot(xviod)
    config['ports'].append({'name': 'bad', 'kind': 'ethdev', 'device': 'net_af_packet0,iface=nope0'})
    assert apply(xviod, config)[0] == 1
    assert snapshot(xviod) == before
    config['ports'].pop()
    assert apply(xviod, config) == (0, '\n'.join(changes) + '\n', '')
    # From a network to a wire, policies must go, too.
    config['ports'].append({'name': 'd3', 'kind': 'dummy', 'egress_policy': 'open'})
    config['ports'].append({'name': 'd4', 'kind': 'dummy'})
    config['wires'].append({'name': 'w', 'ports': ['d3', 'd4']})
    before = snapshot(xviod)
    status, _, err = apply(xviod, config)
    assert status == 1 and re.search(r'new\.yaml:\d+: port d3: egress_policy: works only on a network', err), err
    assert snapshot(xviod) == before
    assert apply(xviod, example(tmp_path))[0] == 0 and xviod.rpc('policy.list') == []


def test_many_rules(xviod):
    text = 'policies:\n- name: big\n  rules:\n'
    rule = '  - {action: allow, protocol: tcp, source: 10.%d.%d.0/24, destination_port: %d}\n'
    text += ''.join(rule % (i // 250, i % 250, i) for i in range(10000))
    start = time.monotonic()
    status, out, err = apply(xviod, text)
    assert status == 0, err
    assert time.monotonic() - start < 5 * (10 if os.environ.get('SAN') else 1)
    assert len(xviod.rpc('policy.show', name='big')['rules']) == 10000
    status, out, err = apply(xviod, text + '  - {action: deny}\n')
    assert status == 1 and 'policy big: rules: has more than 10000 entries' in err, err


def test_kind_and_queues_need_a_new_device(xviod):
    xviod.rpc('port.set', name='vm2', queues=2)
    assert xviod.rpc('worker.show', name='w0')['queues'] == 5
    assert (xviod.dir / 'vm2').is_socket()
    xviod.rpc('port.set', name='vm2', kind='dummy')
    vm2 = xviod.port('vm2')
    assert vm2['kind'] == 'dummy' and 'socket' not in vm2 and vm2['network'] == 'blue'
    assert not (xviod.dir / 'vm2').exists()


def test_workers_come_and_go(xviod):
    xviod.rpc('worker.add', name='w1')
    assert sorted(w['queues'] for w in xviod.rpc('worker.list')) == [3, 4]
    xviod.rpc('worker.add', name='w2', cpu=min(os.sched_getaffinity(0)))
    assert sorted(w['queues'] for w in xviod.rpc('worker.list')) == [2, 2, 3]
    xviod.rpc('worker.del', name='w0')
    xviod.rpc('worker.del', name='w1')
    assert [(w['name'], w['queues']) for w in xviod.rpc('worker.list')] == [('w2', 7)]
    xviod.rpc('worker.set', name='w2', cpu=None)
    assert [(w['cpu'], w['queues']) for w in xviod.rpc('worker.list')] == [(None, 7)]
    assert refused(xviod, 'worker', 'del', 'w2') == 'worker w2: is the last one'


def test_tap(xviod):
    name = 'xvt%d' % (os.getpid() % 10 ** 6)
    xviod.rpc('port.add', name='t0', kind='tap', interface=name, network='blue')
    assert os.path.exists('/sys/class/net/' + name)
    xviod.rpc('port.set', name='t0', network='red')
    assert os.path.exists('/sys/class/net/' + name)
    xviod.rpc('port.del', name='t0')
    assert not os.path.exists('/sys/class/net/' + name)


def test_log_level(xviod):
    assert xviod.ctl('log', 'show') == {'level': 'info'}
    xvioctl(xviod, 'log', 'set', 'level=debug')
    assert xviod.ctl('log', 'show') == {'level': 'debug'}
    assert refused(xviod, 'log', 'set', 'level=loud').startswith('level: must be error, ')


def test_events(xviod):
    xviod.rpc('port.add', name='x', kind='dummy')
    xviod.rpc('port.del', name='x')
    events = [(e['object'], e['event']) for e in xviod.rpc('event.list')]
    assert events[-2:] == [('port x', 'added'), ('port x', 'removed')]
    assert [e['object'] for e in xviod.rpc('event.list', port='vm1')] == ['port vm1']


# -- apply

def test_apply_says_what_changed(xviod, tmp_path):
    config = example(tmp_path)
    assert apply(xviod, config) == (0, 'nothing to change\n', '')
    config['networks'].append({'name': 'green', 'mac_age_s': 10})
    config['ports'][0].update(vlan=11, network='green')
    del config['ports'][1]
    config['workers'] = [{'name': 'w0'}, {'name': 'w1'}]
    config['daemon'] = {'batch_wait_us': 20}
    changes = ['~ daemon: batch_wait_us 8 -> 20', '+ worker w1', '+ network green', '- port vm2',
               '~ port vm1: network blue -> green, vlan 10 -> 11']
    before, inode = snapshot(xviod), os.stat(xviod.dir / 'vm1').st_ino
    assert apply(xviod, config, '--dry-run') == (0, '\n'.join(changes) + '\n', '')
    assert snapshot(xviod) == before
    assert apply(xviod, config) == (0, '\n'.join(changes) + '\n', '')
    assert apply(xviod, config) == (0, 'nothing to change\n', '')
    assert os.stat(xviod.dir / 'vm1').st_ino == inode  # no new device for a new network
    assert not (xviod.dir / 'vm2').exists()
    assert xvioctl(xviod, 'apply', '-', stdin='')[0] == 0  # an empty file is an empty host
    assert xviod.rpc('port.list') == [] and len(xviod.rpc('worker.list')) == 1


def test_apply_renames_and_swaps(xviod, tmp_path):
    """Sockets change hands inside one transaction."""
    config = example(tmp_path)
    config['ports'][1]['name'] = 'other'
    assert apply(xviod, config) == (0, '- port vm2\n+ port other\n', '')
    assert (xviod.dir / 'vm2').is_socket()
    a, b = config['ports'][0], config['ports'][1]
    a['socket'], b['socket'] = b['socket'], a['socket']
    assert apply(xviod, config)[0] == 0
    assert xviod.port('vm1')['socket'].endswith('/vm2')
    for name in ('vm1', 'vm2'):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(xviod.dir / name))


def test_apply_is_all_or_nothing(xviod, tmp_path):
    """The last object cannot be created: what came before it is taken back."""
    before = snapshot(xviod)
    config = example(tmp_path)
    config['networks'] = [{'name': 'green'}]
    config['workers'] = [{'name': 'new'}]
    config['ports'] = [{'name': 'n1', 'socket': '%s/n1' % xviod.dir, 'network': 'green'},
                       {'name': 'vm1x', 'socket': '%s/vm1' % xviod.dir, 'network': 'green'},
                       {'name': 'bad', 'kind': 'ethdev', 'device': 'net_af_packet0,iface=nope0'}]
    config['wires'] = []
    status, out, err = apply(xviod, config)
    assert status == 1 and out == ''
    assert re.search(r'new\.yaml:\d+: port bad: device: ', err), err
    assert snapshot(xviod) == before


def test_apply_restores_what_it_released(xviod, tmp_path):
    """A port must be released for its successor, which then cannot be created."""
    before = snapshot(xviod)
    config = example(tmp_path)
    config['daemon'] = {'socket_owner': 'no-such-user'}
    config['ports'][0]['name'] = 'heir'
    status, out, err = apply(xviod, config)
    assert status == 1 and 'port heir: ' in err and 'no-such-user' in err, err
    everything, workers, daemon, files = snapshot(xviod)
    assert (everything, workers, daemon) == before[:3]
    assert files.keys() == before[3].keys()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(xviod.dir / 'vm1'))


def test_many_changes_leak_nothing(xviod):
    def round_trip(i):
        xviod.rpc('port.add', name='x', socket='%s/x' % xviod.dir, network='blue', queues=2,
                  rx_limit_pps='1k')
        xviod.rpc('port.set', name='x', rx_limit_pps=i + 1)
        xviod.rpc('policy.add', name='y', rules=RULES)
        xviod.rpc('port.set', name='x', **{'egress_policy': 'y', 'ingress_policy': 'y'})
        xviod.rpc('policy.set', name='y', default='allow')
        xviod.rpc('port.set', name='x', network='red', queues=1)
        xviod.rpc('worker.add', name='extra')
        xviod.rpc('worker.del', name='extra')
        xviod.rpc('port.del', name='x')
        xviod.rpc('policy.del', name='y')
    for i in range(20):
        round_trip(i)
    time.sleep(0.1)
    fds, maps, rss = xviod.fds(), xviod.maps(), xviod.rss_kb()
    for i in range(100):
        round_trip(i)
    time.sleep(0.1)
    assert xviod.fds() == fds
    assert xviod.maps() <= maps + 4
    assert xviod.rss_kb() < rss + SLACK_KB


# -- bad input: object, key and line are named; exit status 1; nothing changes

FILE_MISTAKES = [
    # what is done to the text of the example, what must be said
    (('vlan: 10', 'vlaan: 10'), r':\d+: port vm1: vlaan: unknown key; did you mean "vlan"\?'),
    (('wires:', 'wyres:'), r':\d+: wyres: unknown section; did you mean "wires"\?'),
    (('vlan: 10', 'vlan: ten'), r':\d+: port vm1: vlan: must be number 0..4094, not "ten"'),
    (('vlan: 10', 'vlan: [10]'), r':\d+: port vm1: vlan: must be number 0..4094, not a list'),
    (('vlan: 10', 'vlan: 4095'), r':\d+: port vm1: vlan: 4095 is out of range 0..4094'),
    (('queues: 4', 'queues: 0'), r':\d+: port vm2: queues: 0 is out of range 1..32'),
    (('queues: 4', 'queues: 33'), r':\d+: port vm2: queues: 33 is out of range 1..32'),
    (('name: vm2', 'name: vm1'), r':\d+: port vm1: name: is used already, on line \d+'),
    (('name: vm2', 'name: "v m"'), r':\d+: port v m: name: "v m" is not a name'),
    (('/vm2', '/vm1'), r':\d+: port vm2: socket: /tmp/\S+/vm1 is used by port vm1'),
    (('/vm2', '/' + 'x' * 108), r':\d+: port vm2: socket: path is longer than the 107 bytes'),
    (('socket: /', 'socket: ./'), r':\d+: port vm1: socket: "\./\S+" is not an absolute path'),
    (('/vm2', '/no/such/directory/vm2'), r':\d+: port vm2: socket: the directory of \S+ does not exist'),
    (('network: blue', 'network: bleu'),
     r':\d+: port vm1: network: there is no network "bleu"; did you mean "blue"\?'),
    (('- d2', '- d3'), r':\d+: wire direct: ports: there is no port "d3"; did you mean '),
    (('- d2', '- vm2'), r':\d+: wire direct: ports: port vm2 belongs to network blue'),
    (('kind: dummy', 'kind: ethdev'), r':\d+: port d1: device: is missing'),
    (('kind: dummy', 'kind: ethdev\n  device: 0000:99:00.0'), r':\d+: port d1: device: '),
    (('kind: dummy', 'kind: ethdev\n  device: net_nonsense0'), r':\d+: port d1: device: '),
    (('kind: dummy', 'kind: tap\n  interface: lo'), r':\d+: port d1: interface: '),
    (('kind: dummy', 'kind: dmumy'), r':\d+: port d1: kind: must be .*did you mean "dummy"\?'),
    (('trunk:', 'trunk: ['), r':\d+: not YAML: '),
    (('vlan: 10', 'egress_policy: web'), r':\d+: port vm1: egress_policy: there is no policy "web"'),
    (('networks:', 'policies:\n- name: p\n  rules:\n  - {action: allow}\n  - {action: deny, vlan: x}\nnetworks:'),
     r':5: policy p: rule 2: vlan: must be number 0..4094, not "x"'),
    (('networks:', 'policies:\n- name: p\n  rules:\n  - action: deny\n    source_port: 1\nnetworks:'),
     r':5: policy p: rule 1: source_port: needs protocol tcp, udp or sctp'),
    (('networks:', 'workers:\n- name: w\n  cpu: 1000\nnetworks:'),
     r':\d+: worker w: cpu: CPU 1000 does not exist'),
    (('networks:', 'daemon:\n  metrics: 999.0.0.1:1\nnetworks:'), r':\d+: daemon: metrics: '),
    (('networks:', 'daemon:\n  memory_mb: 77\nnetworks:'),
     r':\d+: daemon: memory_mb: cannot change while xviod runs'),
]


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    """One daemon for all tests that must not change it."""
    tmp_path = tmp_path_factory.mktemp('shared')
    with Xviod(example(tmp_path), dir=short_dir(tmp_path)) as daemon:
        daemon.text = yaml.safe_dump(example(tmp_path), sort_keys=False)
        yield daemon


@pytest.mark.parametrize('edit,sentence', FILE_MISTAKES)
def test_bad_host_file(shared, edit, sentence):
    before = snapshot(shared)
    assert edit[0] in shared.text
    text = shared.text.replace(*edit, 1)
    status, out, err = apply(shared, text)
    assert status == 1 and out == '', out
    assert re.match('xvioctl: ' + re.escape(str(shared.dir / 'new.yaml')) + sentence, err), err
    assert err.count('\n') == 1
    line = int(re.search(r'new\.yaml:(\d+):', err)[1])
    wrong = edit[1].split('\n')[-1 if 'kind' in edit[0] else 0].strip('[')
    near = '\n'.join(text.splitlines()[line - 1:line + 2])
    assert wrong in near or 'is missing' in err or '\n' in edit[1] or 'not YAML' in err, (near, err)
    assert snapshot(shared) == before
    # The same file at start-up, and --check: the same sentence, exit status 1.
    if 'cannot change' in sentence:
        return
    for args in (['--check'], ['-s', str(shared.dir / 'second.sock')]):
        if args == ['--check'] and re.search('directory of|device: $|interface: $|metrics: $', sentence):
            continue  # only seen when it is tried
        run = subprocess.run([program('xviod'), '-c', str(shared.dir / 'new.yaml'), *args],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
        assert run.returncode == 1
        if args == ['--check'] or 'vhost' not in run.stderr:
            assert run.stderr.count(' error ') == 1, run.stderr
    assert not (shared.dir / 'second.sock').exists()


@pytest.mark.parametrize('args,sentence', [
    ('port add vm1 socket=/x', 'port vm1: exists already'),
    ('port add a socket={dir}/vm1', 'port a: socket: {dir}/vm1 is used by port vm1'),
    ('port add a sokcet=/x', 'port a: sokcet: unknown key; did you mean "socket"?'),
    ('port add a', 'port a: socket: is missing'),
    ('port add a kind=tap socket=/x', 'port a: socket: only ports of kind vhost have this key, not tap'),
    ('port add a socket=/x queues=many', 'port a: queues: must be number 1..32, not "many"'),
    ('port add a socket=/x network=bleu',
     'port a: network: there is no network "bleu"; did you mean "blue"?'),
    ('port set vm1 network= vlan=10 trunk=', 'port vm1: vlan: has a meaning only together with network'),
    ('port set vm1 vlan=20', 'port vm1: trunk: VLAN 20 cannot be tagged here: it is the one of '
                             'untagged frames'),
    ('port set nope vlan=1', 'port nope: does not exist'),
    ('port del vm3', 'port vm3: does not exist; did you mean "vm1"?'),
    ('port del d1', 'port d1: is used by wire direct'),
    ('port show nope', 'port nope: does not exist'),
    ('network del blue', 'network blue: is used by port vm1'),
    ('policy add p rules=[{{"action":"alow"}}]',
     'policy p: rule 1: action: must be deny, allow or reject, not "alow"; did you mean "allow"?'),
    ('policy add p rules=[{{"action":"allow","icmp_type":8}}]',
     'policy p: rule 1: icmp_type: needs protocol icmp or icmpv6'),
    ('policy add p rules=allow', 'policy p: rules: must be list of rules, not "allow"'),
    ('policy add p rules=[', 'policy p: rules: not YAML: did not find expected node content while parsing a flow node'),
    ('policy add p rules=&a', 'policy p: rules: anchors and aliases (& and *) are not supported'),
    ('port set vm1 egress_policy=web', 'port vm1: egress_policy: there is no policy "web"'),
    ('wire add w ports=vm1,vm2', 'wire w: ports: port vm1 belongs to network blue'),
    ('wire add w ports=d1,d2', 'wire w: ports: port d1 is used by wire direct'),
    ('wire add w ports=d1', 'wire w: ports: must be 2 names, not 1'),
    ('worker add w0', 'worker w0: exists already'),
    ('worker add w9 cpu=1000', 'worker w9: cpu: CPU 1000 does not exist or xviod may not use it'),
    ('mac list network=bleu', 'network: there is no network "bleu"; did you mean "blue"?'),
    ('drop list prot=vm1', 'prot: unknown key; did you mean "port"?'),
    ('daemon set hugepages=off', 'daemon: hugepages: cannot change while xviod runs; restart it'),
    ('prot list', 'there is no command "prot list"; did you mean "port list"?'),
    ('port frob vm1', 'there is no command "port frob"; did you mean "port add"?'),
    ('port add', 'port add: which port?'),
    ('port add a b', 'port add: "b" is not KEY=VALUE'),
    ('port del vm1 vm2', 'port del: unexpected argument "vm2"'),
    ('port set vm1 vlan=1 vlan=2', 'port set: vlan is given twice'),
    ('apply', 'apply: which host file?'),
    ('apply /no/such/file', '/no/such/file: No such file or directory'),
])
def test_bad_command(shared, args, sentence):
    before = snapshot(shared)
    said = refused(shared, *args.format(dir=shared.dir).split())
    if 'frob' not in args:
        assert said == sentence.format(dir=shared.dir)
    assert snapshot(shared) == before


def test_not_reachable(tmp_path):
    run = subprocess.run([program('xvioctl'), '-s', str(tmp_path / 'none'), 'port', 'list'],
                         capture_output=True, text=True)
    assert run.returncode == 1
    assert re.fullmatch(r'xvioctl: cannot reach xviod on \S+: No such file or directory; '
                        r'is it running\?\n', run.stderr)
    run = subprocess.run([program('xvioctl'), '-s', str(tmp_path / 'none'), 'doctor'],
                         capture_output=True, text=True)
    assert run.returncode == 0 and 'problem  xviod: cannot reach xviod' in run.stdout


def test_foreign_socket_is_left_alone(shared):
    """A socket on which somebody else listens, and a file that is no socket."""
    path = str(shared.dir / 'foreign')
    before = snapshot(shared)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        said = refused(shared, 'port', 'add', 'a', 'socket=' + path)
        assert said.startswith('port a: socket: ') and 'in use' in said
    os.unlink(path)
    pathlib.Path(path).write_text('precious')
    assert refused(shared, 'port', 'add', 'a', 'socket=' + path).startswith('port a: socket: ')
    assert pathlib.Path(path).read_text() == 'precious'
    os.unlink(path)
    assert snapshot(shared) == before


def test_stale_socket_is_replaced(shared):
    path = str(shared.dir / 'stale')
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    assert xvioctl(shared, 'port', 'add', 'a', 'socket=' + path) == (0, '', '')
    shared.rpc('port.del', name='a')
    assert not os.path.exists(path)


# -- the API as a stranger sees it

@contextlib.contextmanager
def raw(daemon):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(daemon.api)
        yield s


def lines(s, n):
    with s.makefile('rb') as f:
        return [json.loads(f.readline()) for _ in range(n)]


@pytest.mark.parametrize('text,code', [
    (b'nonsense\n', -32700),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "version"\n', -32700),
    (b'"\xff"\n', -32700),
    (b'[]\n', -32600),
    (b'17\n', -32600),
    (b'{}\n', -32600),
    (b'{"id": 1, "method": "version"}\n', -32600),
    (b'{"jsonrpc": "2.0", "id": 1, "method": 7}\n', -32600),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "prot.list"}\n', -32601),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "port.show", "params": [1]}\n', -32602),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "port.show"}\n', -32602),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "port.show", "params": {"name": 1}}\n', -32602),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "port.list", "params": {"x": 1}}\n', -32602),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "port.add", "params": []}\n', -32602),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "port.add", "params": {"name": "a\\u0000"}}\n', -32700),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "host.apply", "params": {"text": 5}}\n', -32602),
    (b'[' * 5000 + b'\n', -32700),
])
def test_bad_request(shared, text, code):
    with raw(shared) as s:
        s.sendall(text + b'{"jsonrpc": "2.0", "id": "after", "method": "version"}\n')
        error, after = lines(s, 2)
    assert error['error']['code'] == code and error['error']['message']
    assert after['id'] == 'after' and 'result' in after  # the connection goes on


def test_error_data(shared):
    with pytest.raises(Error) as e:
        shared.rpc('host.apply', text='ports:\n  - name: vm1\n    sokcet: /x\n', file='a.yaml')
    assert str(e.value) == 'a.yaml:3: port vm1: sokcet: unknown key; did you mean "socket"?'
    assert e.value.data == {'error': 'unknown-key', 'object': 'port vm1', 'key': 'sokcet', 'line': 3}
    with pytest.raises(Error) as e:
        shared.rpc('port.add', name='vm1', socket='/x')
    assert e.value.data == {'error': 'exists', 'object': 'port vm1'}


def test_requests_in_a_row(shared):
    with raw(shared) as s:
        request = b'{"jsonrpc": "2.0", "id": %d, "method": "version"}\n'
        s.sendall(b''.join(request % i for i in range(500)))
        s.shutdown(socket.SHUT_WR)  # answers still come
        assert [a['id'] for a in lines(s, 500)] == list(range(500))


def test_notification_gets_no_answer(shared):
    with raw(shared) as s:
        s.sendall(b'{"jsonrpc": "2.0", "method": "version"}\n\n  \n'
                  b'{"jsonrpc": "2.0", "id": 1, "method": "version"}\n')
        assert lines(s, 1)[0]['id'] == 1


def test_oversized_request(shared):
    with raw(shared) as s:
        with contextlib.suppress(ConnectionError):
            s.sendall(b'{"x": "' + b'y' * (2 << 20))
        answer = lines(s, 1)[0]
        assert answer['error']['message'] == 'the request is larger than 1048576 bytes'
        with contextlib.suppress(ConnectionError):
            assert s.recv(1) == b''  # hung up
    assert shared.rpc('version')


def test_slow_reader(shared):
    """A client that never reads is not served without bound, and nobody else notices."""
    stuck = socket.socket(socket.AF_UNIX)
    stuck.connect(shared.api)
    stuck.settimeout(1)
    rss = shared.rss_kb()
    with contextlib.suppress(socket.timeout):
        for _ in range(20000):
            stuck.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "port.list"}\n' * 20)
    for _ in range(50):
        assert shared.rpc('version', timeout=1.0)
    assert shared.rss_kb() < rss + 2 * SLACK_KB
    stuck.close()
    assert shared.rpc('version')


def test_many_clients(shared):
    clients = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    shared.hang_up()
    for c in clients:
        c.connect(shared.api)
    for c in clients:
        c.close()
    time.sleep(0.2)
    assert shared.rpc('version')


def test_api_socket(shared):
    mode = os.stat(shared.api)
    assert stat.S_IMODE(mode.st_mode) == 0o660
    second = subprocess.run([program('xviod'), '-c', str(shared.dir / 'host.yaml'), '-s', shared.api],
                            capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert 'another xviod is running' in second.stderr and second.stderr.count('\n') == 1
    assert os.stat(shared.api).st_ino == mode.st_ino


# -- life

def test_start_and_stop(tmp_path):
    daemon = Xviod(example(tmp_path), dir=short_dir(tmp_path))
    for sig in (signal.SIGTERM, signal.SIGINT):
        daemon.start()
        daemon.process.send_signal(sig)
        assert daemon.process.wait(20) == 0
        assert not [p for p in daemon.dir.iterdir() if p.is_socket()]
    # After a kill the sockets stay behind; the next start replaces them.
    daemon.start()
    daemon.kill()
    assert (daemon.dir / 'vm1').is_socket()
    daemon.start()
    daemon.stop()


def test_reload(xviod, tmp_path):
    config = example(tmp_path)
    del config['ports'][1]
    (xviod.dir / 'host.yaml').write_text(yaml.safe_dump(config))
    os.kill(xviod.pid, signal.SIGHUP)
    deadline = time.monotonic() + 10
    while len(xviod.rpc('port.list')) != 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [p['name'] for p in xviod.rpc('port.list')] == ['vm1', 'd1', 'd2']
    (xviod.dir / 'host.yaml').write_text('ports: 7\n')
    os.kill(xviod.pid, signal.SIGHUP)
    while 'reload refused' not in xviod.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 'reload refused, nothing changed: ' in xviod.log.read_text()
    assert len(xviod.rpc('port.list')) == 3


def test_options(tmp_path):
    def run(*args):
        return subprocess.run([program('xviod'), *args], capture_output=True, text=True, timeout=20)
    assert run('-V').stdout.startswith('xviod ') and run('-V').returncode == 0
    assert run('--help').stdout.startswith('Usage: xviod ') and run('-h').returncode == 0
    assert run('-x').returncode == 1 and run('extra').returncode == 1
    assert run('-l', 'loud', '--check').returncode == 1
    missing = run('-c', str(tmp_path / 'none.yaml'), '--check')
    assert missing.returncode == 1 and 'none.yaml: cannot be read: No such file' in missing.stderr
    good = tmp_path / 'good.yaml'
    good.write_text(yaml.safe_dump(example(tmp_path)))
    assert run('-c', str(good), '--check').returncode == 0


def test_idle_costs_nothing(xviod):
    """Control thread and worker asleep, but for the dummies, which are polled on a timer."""
    for wire, ports in (('direct', ('d1', 'd2')),):
        xviod.rpc('wire.del', name=wire)
        for port in ports:
            xviod.rpc('port.del', name=port)
    time.sleep(0.2)
    before = xviod.cpu_s()
    time.sleep(3)
    assert (xviod.cpu_s() - before) / 3 <= 0.01


# -- metrics

def scrape(address):
    with urllib.request.urlopen('http://%s/metrics' % address, timeout=5) as r:
        assert r.headers['Content-Type'].startswith('application/openmetrics-text')
        return r.read().decode()


def test_metrics(xviod):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        address = '127.0.0.1:%d' % s.getsockname()[1]
    xviod.rpc('daemon.set', metrics=address)
    text = scrape(address)
    assert text.endswith('\n# EOF\n')
    samples, families, current = {}, set(), None
    for line in text.splitlines()[:-1]:
        if line.startswith('# TYPE '):
            current = line.split()[2]
            assert current not in families, current
            families.add(current)
        elif not line.startswith('#'):
            name, value = line.rsplit(' ', 1)
            assert name.startswith(current), line  # samples stand under their family
            samples[name] = float(value)
    assert samples['xvio_port_rx_packets_total{port="vm1"}'] == 0
    assert samples['xvio_port_drops_total{port="d1",reason="mtu"}'] == 0
    assert samples['xvio_port_up{port="d1"}'] == 1 and samples['xvio_port_up{port="vm1"}'] == 0
    assert samples['xvio_worker_cycles_total{worker="w0"}'] > 0
    assert samples['xvio_network_macs{network="blue"}'] == 0
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen('http://%s/other' % address, timeout=5)
    # The address is taken: refused, the old endpoint goes on.
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        taken = '127.0.0.1:%d' % s.getsockname()[1]
        assert refused(xviod, 'daemon', 'set', 'metrics=' + taken).startswith('daemon: metrics: ')
    assert scrape(address)
    path = xviod.dir / 'metrics.sock'
    xviod.rpc('daemon.set', metrics='unix:%s' % path)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
        answer = b''.join(iter(lambda: s.recv(65536), b''))
    assert answer.endswith(b'# EOF\n')
    xviod.rpc('daemon.set', metrics=None)
    assert not path.exists()


# -- concurrent users

def test_two_writers(xviod):
    errors = []

    def work(n):
        try:
            for i in range(30):
                xvioctl(xviod, 'port', 'add', 'p%d' % n, 'kind=dummy', 'network=red')
                xvioctl(xviod, 'port', 'del', 'p%d' % n)
        except Exception as e:  # pylint: disable=broad-except
            errors.append(e)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert len(xviod.rpc('port.list')) == 4


# -- completion

@pytest.mark.parametrize('typed,offered', [
    ('xvioctl po', ['policy', 'port']),
    ('xvioctl policy add x default=', ['allow', 'deny']),
    ('xvioctl port set vm1 ingress_p', ['ingress_policy=']),
    ('xvioctl port s', ['set', 'show']),
    ('xvioctl port del v', ['vm1', 'vm2']),
    ('xvioctl port set vm1 net', ['network=']),
    ('xvioctl port set vm1 network=', ['blue', 'red']),
    ('xvioctl port add x kind=t', ['tap']),
    ('xvioctl --json mac list net', ['network=']),
    ('xvioctl wire del ', ['direct']),
    ('xvioctl log set level=d', ['debug']),
    ('xvioctl apply -', ['--dry-run']),
    ('xvioctl doc', ['doctor']),
    ('xvioctl nonsense ', []),
])
def test_completion(shared, typed, offered):
    status, out, _ = xvioctl(shared, 'complete', typed)
    assert status == 0 and sorted(set(out.split())) == offered
