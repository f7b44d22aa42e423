# SPDX-License-Identifier: Apache-2.0
"""What ovs-vswitchd asks of xviod over its socket (src/ovs/protocol.h), asked by hand: settings, and what is no message."""

import errno
import pathlib
import re
import socket
import struct

import pytest

from xvio import Xviod

HEADER = pathlib.Path(__file__).parents[2] / 'src/ovs/protocol.h'
TIMEOUTS = 17  # XV_OVS_TIMEOUTS


def enum(name):
    """Names of an enum of the protocol, without their prefix, and their numbers."""
    body = re.search(r'enum %s \{(.*?)\};' % name, HEADER.read_text(encoding='utf-8'), re.S).group(1)
    names = re.findall(r'XV_OVS_(\w+)(?: = 1)?,', re.sub(r'/\*.*?\*/', '', body, flags=re.S))
    return {n: i for i, n in enumerate(names, 1)}


REQUEST, ITEM = enum('xv_ovs_request'), enum('xv_ovs_item_type')


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
    assert connection.ask('HELLO', item('VERSION_ITEM', 1))[0] == 0
    return connection


def test_what_is_not_there(xviod):
    assert xviod.ask('HELLO', item('VERSION_ITEM', 2))[0] == errno.EPROTO
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
