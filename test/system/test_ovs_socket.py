# SPDX-License-Identifier: Apache-2.0
"""What ovs-vswitchd asks of xviod over its socket (src/ovs/protocol.h), asked by hand: settings, and what is no message."""

import errno
import pathlib
import re
import socket
import struct

import pytest

from guest import wait
from xvio import Xviod

HEADER = pathlib.Path(__file__).parents[2] / 'src/ovs/protocol.h'
TIMEOUTS = 17  # XV_OVS_TIMEOUTS


def enum(name):
    """Names of an enum of the protocol, without their prefix, and their numbers."""
    body = re.search(r'enum %s \{(.*?)\};' % name, HEADER.read_text(encoding='utf-8'), re.S).group(1)
    names = re.findall(r'XV_OVS_(\w+)(?: = 1)?,', re.sub(r'/\*.*?\*/', '', body, flags=re.S))
    return {n: i for i, n in enumerate(names, 1)}


REQUEST, ITEM = enum('xv_ovs_request'), enum('xv_ovs_item_type')
VERSION = int(re.search(r'#define XV_OVS_VERSION (\d+)', HEADER.read_text(encoding='utf-8'))[1])


def item(name, body=b''):
    if isinstance(body, int):
        body = struct.pack('=I', body)
    return struct.pack('=IHH', len(body), ITEM[name], 0) + body + bytes(-len(body) % 8)


class Connection:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)

    def send(self, name, *items):
        body = b''.join(items)
        kind = REQUEST.get(name, 999)
        self.sock.sendall(struct.pack('=IHHII', 16 + len(body), kind, 0, 0, 0) + body)

    def receive(self, n):
        data = b''
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def ask(self, name, *items):
        """The errno, and the answer's items: (name, body)."""
        self.send(name, *items)
        length, _, _, error, _ = struct.unpack('=IHHII', self.receive(16))
        data, answer = self.receive(length - 16), []
        while data:
            n, kind, _ = struct.unpack_from('=IHH', data)
            answer.append(([k for k, v in ITEM.items() if v == kind][0], data[8:8 + n]))
            data = data[8 + (n + 7) // 8 * 8:]
        return error, answer


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('ovs') / 'ovs.sock')
    config = {'daemon': {'ovs_socket': path, 'hugepages': 'off'}, 'conntrack': {'max_connections': 20000}}
    with Xviod(config):
        yield path


@pytest.fixture
def xviod(path):
    connection = Connection(path)
    assert connection.ask('HELLO', item('VERSION_ITEM', VERSION))[0] == 0
    return connection


def test_what_is_not_there(xviod):
    assert xviod.ask('HELLO', item('VERSION_ITEM', VERSION + 1))[0] == errno.EPROTO
    assert xviod.ask('DP_STATS')[0] == errno.ENODEV
    assert xviod.ask('DP_OPEN', item('NAME', b'nobody'))[0] == errno.ENODEV
    assert xviod.ask('DP_OPEN', item('NAME', b'new'), item('CREATE'))[0] == 0
    assert xviod.ask('DP_OPEN', item('NAME', b'new'), item('CREATE'))[0] == errno.EEXIST
    assert xviod.ask('no such request')[0] == errno.EOPNOTSUPP
    error, answer = xviod.ask('DP_STATS')
    assert error == 0 and answer == [('DP_STATS_ITEM', bytes(32))]
    assert xviod.ask('DP_DEL')[0] == 0


def test_meters(xviod):
    rate = struct.pack('=QQII', 1000, 0, 100, 0)
    assert xviod.ask('METER_GET', item('METER', 7))[0] == errno.ENOENT
    assert xviod.ask('METER_SET', item('METER', 7))[0] == errno.EINVAL
    assert xviod.ask('METER_SET', item('METER', 65536), item('RATE', rate))[0] == errno.EINVAL
    assert xviod.ask('METER_SET', item('METER', 7), item('RATE', rate))[0] == 0
    error, answer = xviod.ask('METER_GET', item('METER', 7))
    assert error == 0 and struct.unpack('=5Q', answer[0][1])[:4] == (0, 0, 0, 0)
    assert xviod.ask('METER_DEL', item('METER', 7))[0] == 0
    assert xviod.ask('METER_DEL', item('METER', 7))[0] == errno.ENOENT


def fragments(xviod):
    error, answer = xviod.ask('FRAGMENTS_GET')
    assert error == 0
    waiting, most, *rest = struct.unpack('=II' + 'II6Q' * 2, answer[0][1])
    return waiting, most, rest[0:2], rest[8:10]


def test_fragments(xviod):
    assert fragments(xviod) == (0, 1000, [1, 1200], [1, 1280])
    assert xviod.ask('FRAGMENTS_SET', item('LIMIT', 5001))[0] == errno.ERANGE
    assert xviod.ask('FRAGMENTS_SET', item('BYTES', 399))[0] == errno.ERANGE
    assert xviod.ask('FRAGMENTS_SET', item('LIMIT', 500))[0] == 0
    assert xviod.ask('FRAGMENTS_SET', item('BYTES', 400))[0] == 0
    assert xviod.ask('FRAGMENTS_SET', item('IPV6'), item('ON', 0))[0] == 0
    assert fragments(xviod) == (0, 500, [1, 400], [0, 1280])
    assert xviod.ask('FRAGMENTS_DUMP') == (0, [])


def test_timeout_policies_are_remembered(xviod, path):
    seconds = struct.pack(f'={TIMEOUTS}I', *range(10, 10 + TIMEOUTS))
    assert xviod.ask('CT_TIMEOUT_SET', item('POLICY', 3), item('SECONDS', seconds[4:]))[0] == errno.EINVAL
    assert xviod.ask('CT_TIMEOUT_SET', item('POLICY', 256), item('SECONDS', seconds))[0] == errno.ENOSPC
    assert xviod.ask('CT_TIMEOUT_SET', item('POLICY', 3), item('SECONDS', seconds))[0] == 0
    # By the next vswitchd, too.
    error, answer = Connection(path).ask('CT_TIMEOUT_DUMP')
    assert error == 0 and answer == [('TIMEOUT', item('POLICY', 3) + item('SECONDS', seconds))]
    assert xviod.ask('CT_TIMEOUT_DUMP', item('POLICY', 4)) == (0, [])
    assert xviod.ask('CT_TIMEOUT_DEL', item('POLICY', 3))[0] == 0
    assert xviod.ask('CT_TIMEOUT_DEL', item('POLICY', 3))[0] == errno.ENOENT


def test_settings_of_connections(xviod):
    def stats():
        return struct.unpack('=4I', xviod.ask('CT_STATS')[1][0][1])[:3]

    assert stats() == (0, 20000, 1)
    assert xviod.ask('CT_MAX_SET', item('LIMIT', 10))[0] == 0
    assert xviod.ask('CT_SEQ_SET', item('ON', 0))[0] == 0
    assert stats() == (0, 10, 0)
    assert xviod.ask('CT_MAX_SET', item('LIMIT', 30000))[0] == errno.ERANGE
    limits = item('ZONE_LIMIT', struct.pack('=III', 5, 7, 0)) + item('ZONE_LIMIT', struct.pack('=III', 6, 8, 0))
    assert xviod.ask('CT_LIMIT_SET', item('LIMIT', 9), limits)[0] == 0
    error, answer = xviod.ask('CT_LIMIT_GET')
    assert error == 0 and answer[0] == ('LIMIT', struct.pack('=I', 9))
    assert [struct.unpack('=III', body) for _, body in answer[1:]] == [(5, 7, 0), (6, 8, 0)]


def attr(kind, body):
    return struct.pack('=HH', 4 + len(body), kind) + body + bytes(-len(body) % 4)


def number(value):
    return struct.pack('=I', value)


# linux/openvswitch.h
KEY_ETHERTYPE, KEY_IN_PORT, KEY_RECIRC_ID, ACTION_OUTPUT, ACTION_RECIRC = 6, 3, 20, 1, 7
KIND_DEVICE, PUT, DEL, EXECUTE = 4, 1, 2, 4


def test_flows_follow_ports(xviod):
    """A port goes and comes again under a flow: OVS sees its flow all the time, and no packet that it counted is lost."""
    assert xviod.ask('DP_OPEN', item('NAME', b'follow'), item('CREATE'))[0] == 0
    ufid = bytes(range(16))

    def add(port, device):
        assert xviod.ask('PORT_ADD', item('NAME', b'p%d' % port), item('NETDEV_TYPE', b'dpdk'), item('KIND', KIND_DEVICE),
                         item('NUMBER', port), item('DEVICE', b'net_null%d,no-rx=1' % device)) == (0, [('NUMBER', number(port))])

    def delete(port):
        assert xviod.ask('PORT_DEL', item('NUMBER', port))[0] == 0

    def operate(kind, *items):
        error, answer = xviod.ask('OPERATE', item('OP', item('OP_TYPE', kind) + b''.join(items)))
        assert error == 0
        result = answer[0][1]
        at, found = 0, {}
        while at < len(result):
            n, name, _ = struct.unpack_from('=IHH', result, at)
            found[[k for k, v in ITEM.items() if v == name][0]] = result[at + 8:at + 8 + n]
            at += 8 + (n + 7) // 8 * 8
        assert found['ERROR'] == number(0)
        return found

    def send():
        operate(EXECUTE, item('KEY', attr(KEY_IN_PORT, number(1))), item('ACTIONS', attr(ACTION_RECIRC, number(5))),
                item('PACKET', bytes.fromhex('02000000000b02000000000a88b5') + bytes(46)))

    def sent(port):
        stats = dict(xviod.ask('PORT_STATS', item('NAME', b'p%d' % port))[1])['PORT_STATS_ITEM']
        return struct.unpack_from('=6Q', stats)[3]

    def flows():
        """Packets of each."""
        error, answer = xviod.ask('FLOW_DUMP')
        assert error == 0
        return [struct.unpack_from('=Q', body, body.index(struct.pack('=IHH', 32, ITEM['STATS'], 0)) + 8)[0]
                for name, body in answer if name == 'FLOW']

    add(1, 1)
    add(2, 2)
    ones = b'\xff'
    operate(PUT, item('FLAGS', 1), item('UFID', ufid),
            item('KEY', attr(KEY_RECIRC_ID, number(5)) + attr(KEY_IN_PORT, number(1)) + attr(KEY_ETHERTYPE, b'\x88\xb5')),
            item('MASK', attr(KEY_RECIRC_ID, ones * 4) + attr(KEY_IN_PORT, ones * 4) + attr(KEY_ETHERTYPE, ones * 2)),
            item('ACTIONS', attr(ACTION_OUTPUT, number(2))))
    send()
    wait(lambda: sent(2) == 1, 5, 'first packet')
    # Where it goes to is away: it is dropped, by the flow.
    delete(2)
    assert flows() == [1]
    send()
    wait(lambda: flows() == [2], 5, 'dropped packet')
    add(2, 3)
    send()
    wait(lambda: sent(2) == 1, 5, 'packet to the new port')
    # Where it comes from is away: it matches nothing, and knows what it has counted.
    delete(1)
    assert flows() == [3]
    add(1, 4)
    send()
    wait(lambda: sent(2) == 2, 5, 'packet from the new port')
    wait(lambda: flows() == [4], 5, 'all packets')
    delete(1)
    delete(2)
    assert struct.unpack_from('=Q', operate(DEL, item('UFID', ufid))['STATS'])[0] == 4
    assert flows() == []
    assert xviod.ask('DP_DEL')[0] == 0


@pytest.mark.parametrize('message', [
    struct.pack('=IHHII', 15, 1, 0, 0, 0),  # shorter than its header
    struct.pack('=IHHII', 17, 1, 0, 0, 0),  # not a multiple of 8
    struct.pack('=IHHII', 3 << 20, 1, 0, 0, 0),
    b'\xff' * 64,
])
def test_no_message_ends_its_own_connection_only(xviod, path, message):
    bad = Connection(path)
    bad.sock.sendall(message)
    with pytest.raises((EOFError, ConnectionError)):
        bad.receive(1)
    assert xviod.ask('CT_STATS')[0] == 0
