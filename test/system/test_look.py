# SPDX-License-Identifier: Apache-2.0
"""Looking into the flow engine from outside: flow list and stats, trace, drop watch.

No guests: taps, into which frames are put with packet sockets.  Needs root, no hugepages.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'lib'))
from xvio import Error, Xviod, program  # noqa: E402

DIR = pathlib.Path('/tmp/xvio-look-%d' % os.getpid())
TAPS = 3


def tap(n):
    return 'xvk%d-%d' % (os.getpid() % 10 ** 6, n)


def config():
    ports = [{'name': 't%d' % n, 'kind': 'tap', 'interface': tap(n), 'network': 'blue'} for n in range(TAPS)]
    ports[0]['egress_policy'] = 'web'
    return {
        'networks': [{'name': 'blue'}, {'name': 'red'}],
        'policies': [{'name': 'web', 'rules': [
            {'action': 'allow', 'name': 'http', 'protocol': 'udp', 'destination_port': 80,
             'destination': '10.0.0.2'},
            {'action': 'deny', 'protocol': 'udp', 'source_port': 1},  # so each port is a flow of its own
            {'action': 'allow', 'ether_type': '0x88b5'}]}],
        'ports': ports + [{'name': 'lone', 'kind': 'dummy'}, {'name': 'd1', 'kind': 'dummy'},
                          {'name': 'd2', 'kind': 'dummy'},
                          {'name': 'access', 'kind': 'dummy', 'network': 'blue', 'vlan': 7}],
        'wires': [{'name': 'w', 'ports': ['d1', 'd2']}],
    }


class Host:
    """A daemon and a packet socket for each of its taps."""

    def __init__(self):
        DIR.mkdir(parents=True, exist_ok=True)
        self.daemon = Xviod(config(), dir=DIR)
        self.daemon.start()
        self.sockets = []
        for n in range(TAPS):
            pathlib.Path('/proc/sys/net/ipv6/conf/%s/disable_ipv6' % tap(n)).write_text('1')
            subprocess.run(['ip', 'link', 'set', tap(n), 'up'], check=True)
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            s.bind((tap(n), 0))
            self.sockets.append(s)
        self.wait(self.known)

    def known(self):
        """Whether the network has learned who is behind the taps; say it again."""
        for n in range(1, TAPS):
            self.sockets[n].send(frame(n, 255))
        macs = {m['mac']: m['port'] for m in self.daemon.rpc('mac.list')}
        return all(macs.get('02:00:00:00:00:0%d' % n) == 't%d' % n for n in range(1, TAPS))

    def close(self):
        for s in self.sockets:
            s.close()
        self.daemon.stop()

    def send(self, n, *frames):
        """Put frames in by tap n, and wait until the daemon has them."""
        before = self.daemon.port('t%d' % n)['rx_packets']
        for i, f in enumerate(frames):
            self.sockets[n].send(f)
            if i % 100 == 99:
                self.wait(lambda i=i: self.daemon.port('t%d' % n)['rx_packets'] > before + i - 50)
        self.wait(lambda: self.daemon.port('t%d' % n)['rx_packets'] >= before + len(frames))

    def wait(self, condition, timeout=20):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def ctl(self, *args):
        """Standard output; it must succeed."""
        run = subprocess.run([program('xvioctl'), '-s', self.daemon.api, *map(str, args)],
                             capture_output=True, text=True, timeout=20)
        assert run.returncode == 0 and run.stderr == '', run
        return run.stdout

    def fuse(self, f):
        """One packet makes the flow, the next one the fused flow."""
        self.send(0, f)
        self.wait(lambda: self.flows(port='t0'))
        self.send(0, f)

    def flows(self, **keys):
        return self.daemon.rpc('flow.list', **keys)


def mac(n):
    return bytes([2, 0, 0, 0, 0, n]) if n < 255 else b'\xff' * 6


def frame(src, dst, payload=bytes(46), ethertype=0x88b5):
    return mac(dst) + mac(src) + struct.pack('!H', ethertype) + payload


def udp(src, dst, sport, dport, ip_dst='10.0.0.2'):
    packet = struct.pack('!BBHHHBBH4s4sHHHH', 0x45, 0, 28, 0, 0, 64, 17, 0, socket.inet_aton('10.0.0.1'),
                         socket.inet_aton(ip_dst), sport, dport, 8, 0)
    return frame(src, dst, packet + bytes(18), 0x0800)


@pytest.fixture(scope='module')
def shared():
    host = Host()
    try:
        yield host
    finally:
        host.close()
        shutil.rmtree(DIR, ignore_errors=True)


@pytest.fixture
def host(shared):
    """Without flows of earlier tests: what was decided for a port goes when it is bound anew."""
    shared.daemon.rpc('port.set', name='t0', network='red')
    shared.daemon.rpc('port.set', name='t0', network='blue')
    shared.wait(lambda: not shared.flows(port='t0'))
    return shared


# -- flow list

def test_flow_list(host):
    host.send(0, *[udp(0, 1, 1000, 80)] * 7, *[udp(0, 1, 1, 99)] * 3)
    flows = host.flows(port='t0')
    assert len(flows) == 2
    allow, deny = sorted(flows, key=lambda f: f['actions'], reverse=True)
    assert allow['actions'] == 'forward' and allow['origin'] == 'web: http' and allow['port'] == 't0'
    assert allow['packets'] == 7 and allow['bytes'] == 7 * 60 and 0 <= allow['used_s'] < 5
    assert 'in_port(t0)' in allow['match'] and 'udp(dst=80)' in allow['match']
    assert deny['actions'] == 'drop(policy)' and deny['origin'] == 'web: rule 2' and deny['packets'] == 3
    line = next(l for l in host.ctl('flow', 'list', 'port=t0').splitlines() if 'forward' in l)
    assert re.fullmatch(r'id:\d+, recirc_id\(0\),in_port\(t0\),.*, packets:7, bytes:420, used:\d+\.\d{3}s, '
                        r'actions:forward, origin:web: http', line)


def test_flow_list_is_exact(host):
    """Also of packets that only fused flows have seen, at once."""
    for total in (1, 10, 300, 1000):
        sent = sum(f['packets'] for f in host.flows(port='t0'))
        host.send(0, *[udp(0, 1, 1000, 80)] * (total - sent))
        assert sum(f['packets'] for f in host.flows(port='t0')) == total


def test_flow_list_filters(host):
    host.send(0, udp(0, 1, 1000, 80), udp(0, 1, 30000, 99), udp(0, 1, 30001, 99))
    host.wait(lambda: len(host.flows(port='t0')) == 3)
    assert len(host.flows(limit=2, port='t0')) == 2
    # Those that are denied look at no address.
    assert len(host.flows(address='10.0.0.2', port='t0')) == len(host.flows(address='10.0.0.0/24', port='t0')) == 1
    assert host.flows(address='10.0.0.3', port='t0') == host.flows(address='2001:db8::1', port='t0') == []
    assert host.flows(address='02:00:00:00:00:77') == []
    assert host.flows(network='red') == []
    assert len(host.flows(network='blue')) >= 3
    assert [f['actions'] for f in host.flows(port='t1')] == ['output(t1)']
    assert host.flows(port='lone') == []


def test_flow_show(host):
    host.fuse(udp(0, 1, 1000, 80))
    host.send(0, *[udp(0, 1, 1000 + i, 80) for i in range(5)])
    listed, = host.flows(port='t0')
    shown = host.daemon.rpc('flow.show', id=listed['id'])
    assert {k: shown[k] for k in listed if k != 'used_s'} == {k: listed[k] for k in listed if k != 'used_s'}
    assert shown['fields']['in_port'] == 't0' and shown['fields']['udp'] == {'dst': '80'}
    assert shown['fields']['ipv4']['dst'] == '10.0.0.2' and shown['fields']['ipv4']['proto'] == '17'
    assert shown['packets'] == 7 and shown['fused'] == {'w0': 5} and 0 <= shown['used_s'] <= shown['created_s'] < 9
    out = host.ctl('flow', 'show', listed['id'])
    assert re.search(r'^  udp:\n    dst: 80$', out, re.M) and re.search(r'^fused:\n  w0: 5$', out, re.M)
    # Its fused flows go with it, and nobody ever has its number again.
    host.daemon.rpc('port.set', name='t0', network='red')
    with pytest.raises(Error, match='there is no flow %d' % listed['id']):
        host.daemon.rpc('flow.show', id=listed['id'])
    host.daemon.rpc('port.set', name='t0', network='blue')
    host.fuse(udp(0, 1, 1000, 80))
    again, = host.flows(port='t0')
    assert again['id'] > listed['id'] and host.daemon.rpc('flow.show', id=again['id'])['fused'] == {'w0': 1}


def test_flow_list_in_a_row(host):
    """Answers come in the order of the requests, also to a client that has said all it had to say."""
    host.send(0, udp(0, 1, 1000, 80))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(host.daemon.api)
        methods = ['flow.list', 'version', 'flow.list', 'flow.stats', 'flow.list']
        text = ''.join(json.dumps({'jsonrpc': '2.0', 'id': i, 'method': m}) + '\n' for i, m in enumerate(methods))
        text += json.dumps({'jsonrpc': '2.0', 'method': 'flow.list'}) + '\n'   # nobody wants to know
        s.sendall(text.encode())
        s.shutdown(socket.SHUT_WR)
        s.settimeout(5)
        answers = [json.loads(l) for l in s.makefile()]
    assert [a['id'] for a in answers] == list(range(len(methods)))
    assert isinstance(answers[0]['result'], list) and 'xviod' in answers[1]['result']


def test_flow_list_client_goes_away(host):
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(host.daemon.api)
            s.sendall(b'{"jsonrpc": "2.0", "id": "x", "method": "flow.list"}\n' * 3)
    assert host.daemon.alive() and isinstance(host.flows(), list)


def test_many_flows_hold_nobody_up(host):
    """While a long list is written, others are answered."""
    n = 20000
    host.send(0, *[udp(0, 1, 20000 + i % 40000, 99 + i // 40000) for i in range(n)])
    host.wait(lambda: host.daemon.rpc('flow.stats')['requested'] == 0)
    worst, done = [], threading.Event()

    def others():
        daemon = Xviod(dir=DIR)
        while not done.is_set():
            start = time.monotonic()
            daemon.rpc('version')
            worst.append(time.monotonic() - start)
        daemon.hang_up()
    thread = threading.Thread(target=others)
    thread.start()
    try:
        start = time.monotonic()
        flows = host.flows(port='t0')
        took = time.monotonic() - start
    finally:
        done.set()
        thread.join()
    # Some had to be asked for twice; then their first packet is a second one's.
    assert 0.5 * n < len(flows) <= n + 5 and len({f['match'] for f in flows}) == len(flows)
    print('%d flows in %.0f ms, others waited at most %.1f ms' % (len(flows), took * 1e3, max(worst) * 1e3))
    assert max(worst) < max(0.25, took / 4)  # of a machine that is not idle, and of Python
    # Long answers in a row, to a client that reads late and has nothing more to say.
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(host.daemon.api)
        for i, method in enumerate(['flow.list', 'flow.list', 'version', 'flow.list', 'version']):
            s.sendall(json.dumps({'jsonrpc': '2.0', 'id': i, 'method': method}).encode() + b'\n')
        s.shutdown(socket.SHUT_WR)
        s.settimeout(5)
        time.sleep(0.3)
        answers = [json.loads(l) for l in s.makefile()]
    assert [a['id'] for a in answers] == [0, 1, 2, 3, 4] and len(answers[3]['result']) >= len(flows)


def test_flow_stats(host):
    before = host.daemon.rpc('flow.stats')
    host.fuse(udp(0, 1, 1000, 80))
    host.send(0, *[udp(0, 1, 1000, 80)] * 50)
    stats = host.daemon.rpc('flow.stats')
    assert stats['flows'] >= 1 and stats['masks'] >= 1 and stats['requested'] == 0
    worker, = stats['workers']
    assert worker['name'] == 'w0' and worker['fused'] >= 1 and worker['trails'] >= 1
    assert worker['hits'] - before['workers'][0]['hits'] >= 50
    assert worker['inserted'] > before['workers'][0]['inserted']
    out = host.ctl('flow', 'stats')
    assert re.search(r'^flows: \d+$', out, re.M) and re.search(r'^  hits: \d+', out, re.M)


def test_metrics(host):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        address = '127.0.0.1:%d' % s.getsockname()[1]
    host.fuse(udp(0, 1, 1000, 80))
    host.send(0, udp(0, 1, 1000, 80))
    host.daemon.rpc('daemon.set', metrics=address)
    with urllib.request.urlopen('http://%s/metrics' % address, timeout=5) as r:
        text = r.read().decode()
    host.daemon.rpc('daemon.set', metrics=None)
    for name in ('xvio_flows', 'xvio_flow_masks', 'xvio_flow_lookups_total', 'xvio_worker_fused_flows{worker="w0"}',
                 'xvio_worker_fused_hits_total{worker="w0"}'):
        value, = [l.rsplit(' ', 1)[1] for l in text.splitlines() if l.startswith(name + ' ')]
        assert float(value) > 0, name


# -- trace

def trace(host, port, **keys):
    return host.daemon.rpc('trace', port=port, **keys)


TO_1 = {'dst_mac': '02:00:00:00:00:01', 'src_mac': '02:00:00:00:00:09'}


@pytest.mark.parametrize('port,keys,result', [
    ('t0', {**TO_1, 'src': '10.0.0.1', 'dst': '10.0.0.2', 'dst_port': 80}, 'sent to t1'),
    ('t0', {**TO_1, 'src': '10.0.0.1', 'dst': '10.0.0.3', 'dst_port': 80},
     "dropped: policy (a rule of the port's policy denies it)"),
    ('t0', {**TO_1}, 'sent to t1'),
    ('t2', {'dst_mac': 'ff:ff:ff:ff:ff:ff'}, 'flooded to t0, t1'),
    ('t2', {'dst_mac': '02:00:00:00:00:77'}, 'flooded to t0, t1'),
    ('t2', {'dst_mac': '02:00:00:00:00:02'},
     'dropped: same-port (destination was learned on the input port itself)'),
    ('access', {**TO_1, 'vlan': 5}, 'dropped: vlan (VLAN is not allowed on the input port)'),
    ('lone', TO_1, 'dropped: unbound (input port belongs to no network and no wire)'),
    ('d1', TO_1, 'sent to d2'),
    ('d1', {'packet': '0200'}, 'dropped: runt (frame is shorter than an Ethernet header)'),
])
def test_trace(host, port, keys, result):
    answer = trace(host, port, **keys)
    assert answer['result'] == result and answer['complete'] is True
    args = ['%s=%s' % item for item in keys.items()]
    lines = host.ctl('trace', 'port=' + port, *args).splitlines()
    assert lines[0].startswith('packet ') and lines[-1].split(maxsplit=1) == ['result', result]


def test_trace_tells_flow_and_rule(host):
    keys = {**TO_1, 'src': '10.0.0.1', 'dst': '10.0.0.2', 'src_port': 1000, 'dst_port': 80}
    stages = {s['stage']: s['text'] for s in trace(host, 't0', **keys)['stages']}
    assert stages['egress policy'] == 'policy web: http: allow'
    assert trace(host, 't0', **keys)['stages'][2]['text'].startswith('none yet')
    assert host.flows(port='t0') == []
    host.send(0, udp(0, 1, 1000, 80))
    host.wait(lambda: host.flows(port='t0'))
    answer = trace(host, 't0', packet=udp(0, 1, 1000, 80).hex())
    assert 'origin:web: http' in answer['stages'][2]['text']
    assert answer['outputs'] == ['t1'] and answer['drops'] == []


# -- drop watch

def test_drop_watch(host):
    watch = subprocess.Popen([program('xvioctl'), '-s', host.daemon.api, 'drop', 'watch', 'port=t0', 'reason=policy',
                              'count=2'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(50):
            host.send(0, udp(0, 1, 30000, 99))
            host.send(2, frame(2, 2))  # another reason, another port
            if watch.poll() is not None:
                break
            time.sleep(0.05)
        out, err = watch.communicate(timeout=5)
    finally:
        watch.kill()
    lines = out.splitlines()
    assert watch.returncode == 0 and err == '' and len(lines) == 6
    assert re.fullmatch(r"[\d-]+ [\d:.]+  t0  policy \(a rule of the port's policy denies it\)  60 bytes", lines[0])
    assert lines[1].startswith('    in_port(t0),eth(src=02:00:00:00:00:00,dst=02:00:00:00:00:01)')
    assert lines[2].strip() == udp(0, 1, 30000, 99).hex()


def test_drop_watch_api(host):
    rpc = host.daemon.rpc
    begin = rpc('drop.watch')
    assert begin['drops'] == []
    host.send(2, frame(2, 2), frame(2, 2, bytes(100)))
    host.send(0, udp(0, 1, 30000, 99))
    answer = rpc('drop.watch', after=begin['next'])
    assert [(d['port'], d['reason'], d['bytes']) for d in answer['drops']] == [
        ('t2', 'same-port', 60), ('t2', 'same-port', 114), ('t0', 'policy', 60)]
    assert answer['missed'] == 0 and len(answer['drops'][1]['hex']) == 128
    assert abs(answer['drops'][0]['time_ms'] / 1000 - time.time()) < 5
    # Several watch, each from where it is.
    first = rpc('drop.watch', after=begin['next'], count=1)
    assert len(first['drops']) == 1
    rest = rpc('drop.watch', after=first['next'])
    assert first['drops'] + rest['drops'] == answer['drops'] and rest['next'] == answer['next']
    assert [d['port'] for d in rpc('drop.watch', after=begin['next'], port='t0')['drops']] == ['t0']
    # More than is kept: what is missing is said.
    host.send(2, *[frame(2, 2)] * 3000)
    answer = rpc('drop.watch', after=answer['next'])
    total = len(answer['drops']) + answer['missed']
    while len(answer['drops']) > 0:
        answer = rpc('drop.watch', after=answer['next'])
        total += len(answer['drops']) + answer['missed']
    assert total == 3000


def test_drop_watch_ends_by_itself(host):
    begin = host.daemon.rpc('drop.watch')
    time.sleep(2.5)
    host.send(2, frame(2, 2))
    answer = host.daemon.rpc('drop.watch', after=begin['next'])
    assert answer == {'next': begin['next'], 'missed': 0, 'drops': []}
    host.send(2, frame(2, 2))
    assert len(host.daemon.rpc('drop.watch', after=begin['next'])['drops']) == 1


def test_drop_watch_json(host):
    watch = subprocess.Popen([program('xvioctl'), '-s', host.daemon.api, '--json', 'drop', 'watch', 'count=1'],
                             stdout=subprocess.PIPE, text=True)
    try:
        while watch.poll() is None:
            host.send(2, frame(2, 2))
            time.sleep(0.05)
        out, _ = watch.communicate(timeout=5)
    finally:
        watch.kill()
    drop, = [json.loads(l) for l in out.splitlines()]
    assert drop['reason'] == 'same-port' and drop['hex'] == frame(2, 2).hex()


# -- trace live

def begin(host, **keys):
    """A live trace that has begun.  The one before it may have been left a moment ago."""
    deadline = time.monotonic() + 4
    while True:
        try:
            return host.daemon.rpc('trace.live', **keys)['trace']
        except Error as e:
            assert 'there is one at a time' in str(e) and time.monotonic() < deadline
            time.sleep(0.01)


def end(host, live):
    assert host.daemon.rpc('trace.live', trace=live, stop=True)['ended'] == 'stopped'


def packets(host, live, n):
    """The next n packets, and why it ended, if it did."""
    found, ended = [], None
    while len(found) < n:
        answer = host.daemon.rpc('trace.live', trace=live)
        assert answer['missed'] == 0
        found += answer['packets']
        ended = answer['ended']
        assert found[:1] and (ended is None or len(found) == n)
    return found, ended


def stages(packet):
    return [s['stage'] for s in packet['stages']]


def test_trace_live(host):
    live = begin(host, port='t0', filter='udp dst port 80', count=4)
    host.send(0, udp(0, 1, 1000, 99), udp(0, 1, 1000, 80))
    host.wait(lambda: host.flows(port='t0'))
    host.send(0, udp(0, 1, 1000, 80))
    host.send(0, udp(0, 1, 1000, 80), udp(0, 1, 1000, 80, ip_dst='10.0.0.3'))
    found, ended = packets(host, live, 4)
    assert ended == 'count' and [p['number'] for p in found] == [1, 2, 3, 4]
    assert [(p['port'], p['queue'], p['bytes'], p['later']) for p in found] == [('t0', 0, 60, False)] * 4
    assert found[0]['hex'] == udp(0, 1, 1000, 80).hex() and abs(found[0]['time_us'] / 1e6 - time.time()) < 5
    first, second, third, denied = found
    assert stages(first)[:2] == ['long way', 'configuration'] and 'web: http: allow' in first['stages'][1]['text']
    assert stages(second) == ['long way', 'flow', 'MAC table', 'flow', 'output', 'sent']
    assert stages(third) == ['fused flow', 'fused flow', 'output', 'sent']
    # The flows are those of flow list.
    allow, = [f for f in host.flows(port='t0') if f['actions'] == 'forward']
    assert third['stages'][0]['flow'] == second['stages'][1]['flow'] == allow['id']
    assert third['stages'][-1]['port'] == 't1' and third['stages'][-1]['queue'] == 0
    times = [s['ns'] for s in third['stages']]
    assert times == sorted(times)
    assert stages(denied)[-1] == 'drop' and denied['stages'][-1]['reason'] == 'policy'
    with pytest.raises(Error, match='live trace %d is over' % live):
        host.daemon.rpc('trace.live', trace=live)


def test_trace_live_cli(host):
    """As it comes, as text; to a file, for others to read."""
    file = DIR / 'live.pcapng'
    for more in ([], ['--write', file]):
        ctl = subprocess.Popen([program('xvioctl'), '-s', host.daemon.api, 'trace', 'live', 'port=t2', 'count=2',
                                'filter=ether proto 0x88b5', *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            while ctl.poll() is None:
                host.send(2, frame(2, 1, b'live' * 100), udp(2, 1, 1, 1))
                time.sleep(0.05)
            out, err = ctl.communicate(timeout=5)
        finally:
            ctl.kill()
        assert ctl.returncode == 0
        if not more:
            lines = out.splitlines()
            assert err == '' and len(lines) == 10
            assert re.fullmatch(r'\d\d:\d\d:\d\d\.\d{6}  #1  t2 queue 0  414 bytes', lines[0])
            assert lines[1].startswith('    in_port(t2),eth(src=02:00:00:00:00:02,')
            assert re.fullmatch(r' +\d+\.\d us  MAC table  the address is known: port t1', lines[2])
            assert re.fullmatch(r' +\d+\.\d us  sent       t1 queue 0', lines[4])
    assert out == '' and err == '2 packets are in %s\n' % file
    assert b'sent: t1 queue 0' in file.read_bytes() and b't2' in file.read_bytes()
    dump = subprocess.run(['tcpdump', '-n', '-xx', '-r', file], capture_output=True, text=True, check=True, timeout=20).stdout
    found = bytes.fromhex(''.join(re.findall(r'0x[0-9a-f]+:  ([0-9a-f ]+)', dump)).replace(' ', ''))
    assert found == frame(2, 1, b'live' * 100) * 2


def test_trace_live_one_at_a_time(host):
    """A second one is refused, until the client of the first has gone."""
    begin(host, seconds=60, filter='tcp port 80')
    with pytest.raises(Error, match=r'another live trace is running, for \d+ s \(filter tcp port 80\)'):
        host.daemon.rpc('trace.live')
    other = begin(host)     # nobody has called for the first for 2 s
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(host.daemon.api)
        s.sendall(json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'trace.live',
                              'params': {'trace': other}}).encode() + b'\n')
    start = time.monotonic()
    last = begin(host, seconds=1)
    assert time.monotonic() - start < 1.8   # else it is 2 s
    while host.daemon.rpc('trace.live', trace=last)['ended'] != 'seconds':
        pass
    assert time.monotonic() - start < 10


def test_trace_live_bounded(host):
    """Of more than can be followed so many are, and the others are counted; all are forwarded."""
    live = begin(host, port='t2')
    before = host.daemon.port('t1')['tx_packets']
    host.send(2, *[frame(2, 1)] * 2000)
    found = missed = 0
    while found + missed < 2000:
        answer = host.daemon.rpc('trace.live', trace=live)
        assert answer['packets'] or answer['missed']
        found += sum(not p['later'] for p in answer['packets'])
        missed += answer['missed']
    assert found + missed == 2000 and missed > 0 and found >= 128
    host.wait(lambda: host.daemon.port('t1')['tx_packets'] >= before + 2000)
    end(host, live)
    end(host, begin(host))


@pytest.mark.parametrize('arguments,sentence', [
    (['filter=tcp prt 80'], r'filter: "tcp prt 80": can\'t parse filter expression: syntax error'),
    (['filter=port 99999'], r'filter: "port 99999": illegal port number 99999 > 65535'),
    (['filter=host no-such.invalid'], r'filter: .*'),
    (['port=t9'], r'port: there is no port "?t9.*'),
    (['count=0'], r'count: 0 is out of range.*'),
    (['trace=999'], r'live trace 999 is over.*'),
    (['--write'], r'trace live: --write: which file\?'),
    (['seconds=1', '--write', '/nowhere/at/all'], r'/nowhere/at/all: No such file or directory'),
])
def test_trace_live_bad_arguments(shared, arguments, sentence):
    run = subprocess.run([program('xvioctl'), '-s', shared.daemon.api, 'trace', 'live', *arguments],
                         capture_output=True, text=True, timeout=20)
    assert run.returncode == 1 and run.stdout == ''
    assert re.fullmatch('xvioctl: ' + sentence + '\n', run.stderr), run.stderr


# -- bad arguments

@pytest.mark.parametrize('command,sentence', [
    ('flow list port=t9', r'port: there is no port "?t9.*'),
    ('flow list address=10.0.0', r'address: must be an IP address or a MAC address.*"10.0.0"'),
    ('flow list limit=0', r'limit: 0 is out of range.*'),
    ('flow show', r'id: is missing'),
    ('flow show x', r'id: must be .*'),
    ('flow show 999999', r'there is no flow 999999, or not any more.*'),
    ('flow list t0', r'flow list: "t0" is not KEY=VALUE'),
    ('flow stats port=t0', r'flow stats: unexpected argument "port=t0"'),
    ('trace', r'port: is missing'),
    ('trace port=t0', r'dst_mac: is needed, or the whole frame as packet'),
    ('trace port=t0 packet=xy', r'packet: must be pairs of hexadecimal digits, not "xy"'),
    ('trace port=t0 packet=00 vlan=1', r'vlan: does not go with packet, which is the whole frame'),
    ('trace port=t0 dst_mac=02:00:00:00:00:01 src=10.0.0.0/8', r'src: must be one address, not a prefix'),
    ('trace port=t0 dst_mac=02:00:00:00:00:01 proto=tcp', r'proto: needs IP addresses: give src and dst'),
    ('trace port=t0 dst-mc=1', r'dst-mc: unknown key; did you mean "dst_mac"\?'),
    ('drop watch reason=polcy', r'reason: must be .*; did you mean "policy"\?'),
    ('drop watch count=x', r'count: must be .*'),
])
def test_bad_arguments(shared, command, sentence):
    run = subprocess.run([program('xvioctl'), '-s', shared.daemon.api, *command.split()],
                         capture_output=True, text=True, timeout=20)
    assert run.returncode == 1 and run.stdout == ''
    assert re.fullmatch('xvioctl: ' + sentence + '\n', run.stderr), run.stderr


def test_help_and_completion(shared):
    assert 'dst_mac' in shared.ctl('help', 'trace') and 'address' in shared.ctl('help', 'flow')
    assert set(shared.ctl('complete', 'xvioctl flow ').split()) == {'list', 'show', 'stats'}
    assert shared.ctl('complete', 'xvioctl drop watch reason=po').split() == ['policy']
    assert 't0' in shared.ctl('complete', 'xvioctl trace port=').split()
    assert 'live' in shared.ctl('complete', 'xvioctl trace ').split()
    assert 'dst_mac=' not in shared.ctl('complete', 'xvioctl trace live ').split()
    assert 'filter=' in shared.ctl('complete', 'xvioctl trace live ').split()
    with pytest.raises(Error):
        shared.daemon.rpc('flow.list', port='nobody')
