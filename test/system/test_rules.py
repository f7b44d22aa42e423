# SPDX-License-Identifier: Apache-2.0
"""Rules one by one: what they count, how they are changed, what would pass; settings of connection tracking. On the network of
test_firewall.py."""

import re
import socket
import subprocess
import time
import urllib.request

import pytest

from test_firewall import GROUPS, Lab, ip, lab, mac_text, mac, shared  # noqa: F401
from xvio import Error, program

UDP = 14 + 20 + 8     # bytes of a frame before its payload


def counts(lab, rule):
    shown = lab.daemon.rpc('rule.show', rule=rule)
    return shown['packets'], shown['bytes']


def names(lab, group):
    return [r['rule'] for r in lab.daemon.rpc('rule.list', group=group)]


def refused(lab, *args):
    done = subprocess.run([program('xvioctl'), '-s', lab.daemon.api, *args], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and done.stdout == '', done
    return done.stderr[len('xvioctl: '):-1]


# -- counters

def exchange(lab, n, port=5001):
    """n questions and answers between a and c, and one question before."""
    a, c = lab.udp('a', 4000 + port), lab.udp('c', port)
    for i in range(n + 1):
        a.sendto(b'question', (ip('c'), port))
        assert c.recv(99) == b'question'
        if i < n:
            c.sendto(b'answer!!', (ip('a'), 4000 + port))
            assert a.recv(99) == b'answer!!'
    a.close(), c.close()


def test_counters_are_exact(lab):
    for n, port in ((0, 5000), (1, 5001), (30, 5002), (200, 5003)):
        rules = 'client/out', 'db/logs'
        before = [counts(lab, r) for r in rules]
        exchange(lab, n, port)
        for rule, (packets, size) in zip(rules, before):
            assert counts(lab, rule) == (packets + 2 * n + 1, size + (2 * n + 1) * (UDP + 8)), rule
    # Those that are denied, too; a rule of another port's firewall has nothing to do with it.
    before = counts(lab, 'web/telnet')
    lab.refused_by_silence('a', 'b', 23)
    assert counts(lab, 'web/telnet')[0] > before[0]


def test_counters_outlive_flows_and_changes(lab):
    exchange(lab, 10)
    before = counts(lab, 'db/logs')
    assert before[0] >= 21
    # Another place in the group; another rule; flows that go; the connection that goes.
    lab.daemon.rpc('rule.add', rule='db/first', direction='ingress', protocol='tcp', port=1, position=1)
    assert names(lab, 'db') == ['db/first', 'db/sql', 'db/logs', 'db/4']
    lab.daemon.rpc('ct.flush')
    assert counts(lab, 'db/logs') == before
    exchange(lab, 5)
    assert counts(lab, 'db/logs')[0] == before[0] + 11
    lab.daemon.rpc('rule.set', rule='db/logs', position=1)
    assert names(lab, 'db') == ['db/logs', 'db/first', 'db/sql', 'db/4']
    assert counts(lab, 'db/logs')[0] == before[0] + 11
    # Another rule begins at zero, also by the same name.
    lab.daemon.rpc('rule.set', rule='db/logs', port='5000-5011')
    assert counts(lab, 'db/logs') == (0, 0)
    lab.daemon.rpc('rule.del', rule='db/first')


def test_counters_of_policies(lab):
    rules = [{'action': 'deny', 'protocol': 'udp', 'destination_port': 6000, 'name': 'no "quotes"'},
             {'action': 'allow', 'protocol': 'udp'}]
    lab.daemon.rpc('policy.add', name='stateless', default='allow', rules=rules)
    lab.daemon.rpc('port.set', name='g', egress_policy='stateless')
    try:
        g, c = lab.udp('g', 4321), lab.udp('c', 5009)
        for i in range(20):
            g.sendto(b'12345678', (ip('c'), 5009))
            assert c.recv(99) == b'12345678'
            g.sendto(b'1234', (ip('c'), 6000))
        # The last one is denied: nobody sees it arrive.
        wait_for(lambda: sum(r['packets'] for r in lab.daemon.rpc('policy.show', name='stateless')['rules']) >= 40)
        shown = lab.daemon.rpc('policy.show', name='stateless')
        assert [(r['packets'], r['bytes']) for r in shown['rules']] == [(20, 20 * (UDP + 4)), (20, 20 * (UDP + 8))], shown
        assert shown['no_rule']['packets'] > 0     # ARP
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            address = '127.0.0.1:%d' % s.getsockname()[1]
        lab.daemon.rpc('daemon.set', metrics=address)
        with urllib.request.urlopen('http://%s/metrics' % address, timeout=5) as r:
            values = dict(l.rsplit(' ', 1) for l in r.read().decode().splitlines() if not l.startswith('#'))
        assert values[r'xvio_rule_packets_total{policy="stateless",rule="no \"quotes\""}'] == '20'
        assert values['xvio_rule_bytes_total{policy="stateless",rule="2"}'] == str(20 * (UDP + 8))
        assert 'xvio_rule_packets_total{group="web",rule="http"}' in values
    finally:
        lab.daemon.rpc('daemon.set', metrics=None)
        lab.daemon.rpc('port.set', name='g', egress_policy=None)
        lab.daemon.rpc('policy.del', name='stateless')


# -- rule add, set, del, show, list

def test_rule_commands(lab):
    client, server = lab.stream('a', 'b', 80)
    lab.refused_by_silence('a', 'b', 8080)
    lab.ctl('rule', 'add', 'web/alt', 'direction=ingress', 'protocol=tcp', 'port=8080', 'position=2')
    assert names(lab, 'web')[:3] == ['web/http', 'web/alt', 'web/3']
    other, _ = lab.stream('a', 'b', 8080)
    assert re.search(r'^web/alt +2 +ingress +allow +\d+ +\d+ +protocol tcp, port 8080$', lab.ctl('rule', 'list', 'group=web'), re.M)
    assert re.search(r'^port: 8080$', lab.ctl('rule', 'show', 'web/2'), re.M)
    # A rule that is changed cuts what it forbids, and nothing else.
    lab.ctl('rule', 'set', 'web/alt', 'action=deny')
    assert lab.passes(client, server) and not lab.passes(other, _, 0.25)
    lab.ctl('rule', 'set', 'web/2', 'action=')     # its default
    assert lab.passes(other, _)
    lab.ctl('rule', 'set', 'web/alt', 'name=alternative', 'remote=10.0.0.9')
    assert names(lab, 'web')[1] == 'web/alternative' and not lab.passes(other, _, 0.25)
    lab.ctl('rule', 'del', 'web/alternative')
    assert lab.daemon.rpc('group.show', name='web')['rules'][1]['port'] == '81'
    assert lab.passes(client, server)


@pytest.mark.parametrize('args, sentence', [
    (['show', 'wob/http'], 'group wob: does not exist; did you mean "web"?'),
    (['show', 'web'], 'rule web: must be GROUP/RULE, where RULE is a name or a number from 1'),
    (['show', 'web/htp'], 'rule web/htp: does not exist; group web has 7 rules, see `xvioctl rule list`'),
    (['del', 'web/8'], 'rule web/8: does not exist; group web has 7 rules, see `xvioctl rule list`'),
    (['set', 'web/0', 'port=1'], 'rule web/0: does not exist; group web has 7 rules, see `xvioctl rule list`'),
    (['set', 'web/http', 'protocol='], 'rule web/http: port: needs protocol tcp, udp or sctp'),
    (['set', 'web/http', 'position=8'], 'rule web/http: position: 8 is out of range 1..7'),
    (['set', 'web/http', 'prot=80'], 'rule web/http: prot: unknown key; did you mean "port"?'),
    (['set', 'web/http', 'remote_group=wob'], 'group web: rules: group rule 1: remote_group: there is no group "wob"; did you mean "web"?'),
    (['add', 'web', 'protocol=tcp'], 'rule web: direction: is missing'),
    (['add', 'web/x', 'direction=in'], 'rule web/x: direction: must be ingress or egress, not "in"'),
    (['add', 'web', 'direction=ingress', 'position=9'], 'rule web: position: 9 is out of range 1..8'),
    (['add', 'web', 'direction=ingress', 'remote=10.0.0.0/8', 'remote_group=db'],
     'rule web: remote_group: says who may be at the other end, and so does remote: leave one out'),
    (['add', 'web', 'direction=ingress', 'protocol=icmpv6', 'remote=10.0.0.0/8'],
     'rule web: remote: means IPv4, but protocol means IPv6'),
    (['list', 'group=wob'], 'group: there is no group "wob"; did you mean "web"?'),
])
def test_bad_rules_are_refused(lab, args, sentence):
    before = lab.daemon.rpc('group.show', name='web')['rules']
    assert refused(lab, 'rule', *args) == sentence
    assert lab.daemon.rpc('group.show', name='web')['rules'] == before


def test_names_that_are_not_clear(lab):
    for _ in range(2):
        lab.daemon.rpc('rule.add', rule='web/twin', direction='ingress', protocol='tcp', port=7)
    assert refused(lab, 'rule', 'del', 'web/twin') == \
        'rule web/twin: 2 rules of group web have this name; say which by its number'
    lab.daemon.rpc('rule.del', rule='web/9')
    lab.daemon.rpc('rule.del', rule='web/twin')


# -- policy test

def verdict(lab, **keys):
    answer = lab.daemon.rpc('policy.test', **keys)
    return answer['result'], [(r['port'], r['direction'], r.get('group'), r['rule'], r['action']) for r in answer['rules']]


OUT = ('a', 'egress', 'client', 'out', 'allow')


def test_policy_test(lab):
    before = [counts(lab, 'client/out'), lab.daemon.rpc('ct.stats')['inserted']]
    for keys, answer in (
            (dict(port='a', to='b', proto='tcp', dst_port=80), ('allowed', [OUT, ('b', 'ingress', 'web', 'http', 'allow')])),
            (dict(port='a', to='b', proto='tcp', dst_port=81), ('rejected', [OUT, ('b', 'ingress', 'web', '2', 'reject')])),
            (dict(port='a', to='b', proto='tcp', dst_port=23), ('denied', [OUT, ('b', 'ingress', 'web', 'telnet', 'deny')])),
            (dict(port='a', to='b', proto='tcp', dst_port=1), ('denied', [OUT, ('b', 'ingress', None, 'default', 'deny')])),
            (dict(port='b', to='a', proto='tcp', dst_port=80), ('denied', [('b', 'egress', None, 'default', 'deny')])),
            (dict(port='b', to='a', proto='tcp', src_port=80, dst_port=5555, state='reply'),
             ('allowed', [('b', 'egress', 'web', 'http', 'allow'), ('a', 'ingress', 'client', 'out', 'allow')])),
            (dict(port='a', to='b', proto='tcp', dst_port=80, state='established'),
             ('allowed', [OUT, ('b', 'ingress', 'web', 'http', 'allow')])),
            (dict(port='b', to='c', proto='tcp', dst_port=5432),
             ('allowed', [('b', 'egress', 'web', '6', 'allow'), ('c', 'ingress', 'db', 'sql', 'allow')])),
            (dict(to='c', src='10.0.0.2', proto='tcp', dst_port=5432), ('allowed', [('c', 'ingress', 'db', 'sql', 'allow')])),
            (dict(to='c', src='10.0.0.77', proto='tcp', dst_port=5432), ('denied', [('c', 'ingress', None, 'default', 'deny')])),
            (dict(port='a', to='b', src='10.0.0.3', proto='tcp', dst_port=80), ('denied', [])),     # spoofed
            (dict(port='a', to='b', src=ip('a', True), proto='tcp', dst_port=80), ('allowed', [OUT, ('b', 'ingress', 'web', 'http', 'allow')])),
            (dict(port='g', to='a', src=ip('g'), proto='icmp', src_port=8), ('allowed', [('a', 'ingress', 'client', '2', 'allow')])),
            (dict(port='a', to='g', dst=ip('g'), proto='icmp', src_port=0, state='reply'), ('allowed', [('a', 'egress', 'client', '2', 'allow')]))):
        assert verdict(lab, **keys) == answer, (keys, lab.daemon.rpc('policy.test', **keys))
    # Nothing has happened.
    assert [counts(lab, 'client/out'), lab.daemon.rpc('ct.stats')['inserted']] == before
    # It says what really happens.
    lab.stream('a', 'b', 80)
    lab.refused_by_silence('a', 'b', 1)
    text = lab.ctl('policy', 'test', 'port=a', 'to=b', 'proto=tcp', 'dst_port=23')
    assert re.search(r'^egress of a   group client, rule out: allow\ningress of b  group web, rule telnet: deny\n'
                     r'result        denied: firewall \(', text, re.M), text


@pytest.mark.parametrize('args, sentence', [
    (['proto=tcp'], 'port: is missing: which port sends the packet, or (to) receives it?'),
    (['port=a', 'to=a'], 'to: is the port that sends'),
    (['port=a', 'to=z'], 'to: there is no port "z"'),
    (['port=a', 'to=b', 'state=old'], 'state: must be new, established, reply or actual, not "old"'),
])
def test_bad_tests_are_refused(lab, args, sentence):
    assert refused(lab, 'policy', 'test', *args).startswith(sentence)


# -- fragments

def test_flooded_fragments_open_their_connection(lab):
    client, server = lab.udp('a', 4100), lab.udp('c', 5003)
    client.sendto(b'x', (ip('c'), 5003))
    assert server.recv(9) == b'x'     # ARP is done
    text = bytes(range(256)) * 20
    lab.ctl('ct', 'flush')
    lab.daemon.rpc('mac.flush', network='blue')
    before = lab.daemon.rpc('ct.stats')['inserted'], lab.drops('a').get('firewall', 0)
    client.sendto(text, (ip('c'), 5003))
    assert server.recv(9999) == text
    assert lab.daemon.rpc('ct.stats')['inserted'] == before[0] + 1
    server.sendto(text, (ip('a'), 4100))     # which c may not send of itself
    assert client.recv(9999) == text
    assert lab.drops('a').get('firewall', 0) == before[1] + 4     # a copy of each for b
    # What nobody lets in opens nothing.
    lab.ctl('ct', 'flush')
    lab.daemon.rpc('mac.flush', network='blue')
    lab.daemon.rpc('port.set', name='g', groups=['web'], anti_spoofing=False)
    try:
        inserted = lab.daemon.rpc('ct.stats')['inserted']
        client.sendto(text, (ip('c'), 4999))
        wait_for(lambda: lab.drops('a').get('firewall', 0) >= before[1] + 4 + 3 * 4)
        assert lab.daemon.rpc('ct.stats')['inserted'] == inserted
    finally:
        lab.daemon.rpc('port.set', name='g', groups=None, anti_spoofing=None)


# -- settings of connection tracking

def test_timeouts_of_a_network(lab):
    daemon = lab.daemon

    def timeout_of(client):
        # By its port: those of earlier tests may be there, too.
        connection, = lab.connections(src_port=client.getsockname()[1], dst_port=80)
        assert connection['state'] == 'established'
        return connection['timeout_s']

    def has_timeout(client, seconds):
        # Not at once: what nobody has acknowledged yet is kept for 300 s at most.
        wait_for(lambda: seconds - 10 <= timeout_of(client) <= seconds)

    daemon.rpc('timeout.add', name='short', udp_first=5, tcp_established=100)
    daemon.rpc('network.set', name='blue', timeouts='short')
    try:
        lab.udp('a', 4777).sendto(b'x', (ip('c'), 5010))
        wait_for(lambda: lab.connections(dst_port=5010))
        assert lab.connections(dst_port=5010)[0]['timeout_s'] in (3, 4)
        client, server = lab.stream('a', 'b', 80)
        has_timeout(client, 100)
        # A change is for those that there are, too, with their next packet.
        daemon.rpc('timeout.set', name='short', tcp_established=5000)
        assert timeout_of(client) <= 100
        assert lab.passes(client, server)
        has_timeout(client, 5000)
        zone, = daemon.rpc('ct.stats')['zones']
        assert zone['network'] == 'blue' and zone['timeouts'] == 'short'
        assert daemon.rpc('timeout.show', name='short')['networks'] == ['blue']
        with pytest.raises(Error, match='is used by network blue'):
            daemon.rpc('timeout.del', name='short')
        # What network and conntrack say: the network.
        daemon.rpc('timeout.add', name='other', tcp_established=77)
        daemon.rpc('ct.set', timeouts='other')
        assert daemon.rpc('ct.stats')['zones'][0]['timeouts'] == 'short'
        daemon.rpc('network.set', name='blue', timeouts=None)
        has_timeout(lab.stream('a', 'b', 80)[0], 77)
        with pytest.raises(Error, match='timeouts: there is no timeout "other"'):
            daemon.rpc('timeout.del', name='other')
    finally:
        daemon.rpc('network.set', name='blue', timeouts=None)
        daemon.rpc('ct.set', timeouts=None)
        for name in [t['name'] for t in daemon.rpc('timeout.list')]:
            daemon.rpc('timeout.del', name=name)
    has_timeout(lab.stream('a', 'b', 80)[0], 432000)


def wait_for(what):
    deadline = time.monotonic() + 2
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_limits_of_zones(lab):
    lab.daemon.rpc('ct.flush')
    lab.ctl('ct', 'set', 'zone_limit=3')
    try:
        a = lab.udp('a', 4778)
        before = lab.daemon.rpc('ct.stats')['refused_zone']
        for port in range(5000, 5006):
            a.sendto(b'x', (ip('c'), port))
        wait_for(lambda: lab.daemon.rpc('ct.stats')['refused_zone'] >= before + 3)
        assert lab.daemon.rpc('ct.stats')['zones'][0]['limit'] == 3
        lab.daemon.rpc('network.set', name='blue', zone_limit=0)     # its own: none
        a.sendto(b'x', (ip('c'), 5007))
        wait_for(lambda: lab.connections(dst_port=5007))
        lab.daemon.rpc('network.set', name='blue', zone_limit=2)
        assert lab.daemon.rpc('ct.stats')['zones'][0]['limit'] == 2
    finally:
        lab.daemon.rpc('network.set', name='blue', zone_limit=None)
        lab.daemon.rpc('ct.set', zone_limit=0)
    assert lab.daemon.rpc('ct.stats')['zones'][0]['limit'] == 0


def test_half_open_limit(lab):
    lab.daemon.rpc('ct.flush')
    lab.daemon.rpc('ct.set', half_open_limit=5)
    try:
        a = lab.udp('a', 4779)
        before = lab.daemon.rpc('ct.stats')['evicted']
        for port in range(5000, 5010):
            a.sendto(b'x', (ip('c'), port))
        wait_for(lambda: lab.daemon.rpc('ct.stats')['evicted'] >= before + 5)
        assert lab.daemon.rpc('ct.stats')['half_open'] == 5
    finally:
        lab.daemon.rpc('ct.set', half_open_limit=None)


def test_pick_up(lab):
    """A connection that is established, and forgotten here."""
    client, server = lab.stream('a', 'b', 80)
    lab.daemon.rpc('ct.set', pick_up=False)
    try:
        lab.daemon.rpc('ct.flush')
        before = lab.drops('a')
        assert not lab.passes(client, server, 0.25)
        lab.dropped('a', 'ct-invalid', before=before)
    finally:
        lab.daemon.rpc('ct.set', pick_up=True)
    assert lab.passes(client, server)     # retransmitted


def test_settings_are_shown(lab):
    shown = lab.daemon.rpc('ct.show')
    assert shown['max_connections'] == 2097152 and shown['pick_up'] is True and shown['half_open_limit'] == 65536
    stats = lab.daemon.rpc('ct.stats')
    assert stats['max_connections'] == 2097152 and stats['half_open_limit'] == 65536 and stats['pick_up'] is True
    assert refused(lab, 'ct', 'set', 'max_connections=5000') == 'conntrack: max_connections: cannot change while xviod runs; restart it'
    assert refused(lab, 'timeout', 'add', 'x', 'tcp_established=0') == \
        'timeout x: tcp_established: 0 is out of range 1..1000000'
    assert refused(lab, 'network', 'set', 'blue', 'timeouts=none') == 'network blue: timeouts: there is no timeout "none"'


def test_a_network_that_goes_takes_its_connections(lab):
    lab.stream('a', 'b', 80)
    assert lab.connections()
    lab.daemon.rpc('network.add', name='red')
    for vm in 'abcg':
        lab.daemon.rpc('port.set', name=vm, network='red')
    lab.daemon.rpc('network.del', name='blue')
    try:
        wait_for(lambda: not lab.connections(dst_port=80))
    finally:
        lab.daemon.rpc('network.add', name='blue')
        for vm in 'abcg':
            lab.daemon.rpc('port.set', name=vm, network='blue')
        lab.daemon.rpc('network.del', name='red')
    lab.stream('a', 'b', 80)
