#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/ovs_socket: what ovs-vswitchd's provider says, in the input format of fuzz_ovs_socket.c.

Run by hand when that or src/ovs/protocol.h changes; the output is in the tree and repeatable.
"""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, 'corpus', 'ovs_socket')

sys.path.insert(0, os.path.join(HERE, '../lib'))
sys.dont_write_bytecode = True

from ovs_protocol import ITEM as T, KIND, OP, REQUEST as R, VERSION  # noqa: E402


def item(kind, *bodies):
    body = b''.join(bodies)
    return struct.pack('=IHH', len(body), T[kind], 0) + body + bytes(-len(body) % 8)


def u32(kind, value):
    return item(kind, struct.pack('=I', value))


def request(kind, *items):
    body = b''.join(items)
    assert len(body) // 8 < 256, kind
    return bytes((R[kind], len(body) // 8)) + body


def attr(kind, *bodies):
    body = b''.join(bodies)
    return struct.pack('=HH', 4 + len(body), kind) + body + bytes(-len(body) % 4)


# linux/openvswitch.h: OVS_KEY_ATTR_*
def key(port, ones=False):
    """TCP from a port."""
    a = b'\xff' if ones else None
    return (attr(3, a * 4 if ones else struct.pack('=I', port)) +
            attr(4, a * 12 if ones else bytes.fromhex('0200000000010200000000ff')) +
            attr(6, a * 2 if ones else b'\x08\0') + attr(7, a * 12 if ones else bytes([10, 0, 0, 1, 10, 0, 0, 2, 6, 0, 64, 0])) +
            attr(9, a * 4 if ones else struct.pack('>HH', 1024, 80)))


def tcp():
    return (bytes.fromhex('0200000000ff020000000001' '0800' '4500002800010000400600000a0000010a000002') +
            bytes.fromhex('04000050000000000000000050022000' '00000000'))


def port(name, kind, number, *more):
    return request('PORT_ADD', item('NAME', name), item('NETDEV_TYPE', b'system'), u32('KIND', KIND['PORT_' + kind]),
                   u32('NUMBER', number), *more)


UFID = bytes(range(16))
OPEN = (request('HELLO', u32('VERSION_ITEM', VERSION)) + request('DP_OPEN', item('NAME', b'ovs-xvio'), item('CREATE')) +
        port(b'ovs-xvio', 'INTERNAL', 0, item('DEVICE', b'ovs-xvio')) + port(b'a', 'KERNEL', 1, item('DEVICE', b'a')) +
        port(b'vm', 'VHOST', 2, item('SOCKET_PATH', b'/run/vm.sock'), item('CLIENT'), u32('QUEUES', 4), u32('MTU', 9000)) +
        port(b'vxlan_sys_4789', 'TUNNEL', 3, u32('TUNNEL_TYPE', 1), u32('UDP_PORT', 4789)))


def put(actions, flags=3):
    return request('OPERATE', item('OP', u32('OP_TYPE', OP['OP_PUT']), u32('FLAGS', flags), item('UFID', UFID), item('KEY', key(1)),
                                   item('MASK', key(1, True)), item('ACTIONS', actions)))


def execute(actions):
    return request('OPERATE', item('OP', u32('OP_TYPE', OP['OP_EXECUTE']), item('KEY', attr(3, struct.pack('=I', 1))),
                                   item('ACTIONS', actions), item('PACKET', tcp())))


OUTPUT = attr(1, struct.pack('=I', 2))
CT = attr(12, attr(1), attr(2, struct.pack('=H', 5)), attr(7))     # ct(commit,zone=5) ... as OVS_CT_ATTR_* has them
SEEDS = {
    'hello': request('HELLO', u32('VERSION_ITEM', VERSION)) + request('DP_LIST') + request('LINKS'),
    'ports': OPEN + request('PORT_DUMP') + request('PORT_GET', item('NAME', b'a')) + request('PORT_STATS', item('NAME', b'vm')) +
    request('PORT_SET', item('NAME', b'vm'), item('NETDEV_TYPE', b'xviovhost'), u32('KIND', KIND['PORT_VHOST']),
            item('SOCKET_PATH', b'/run/other.sock'), u32('QUEUES', 2), item('LIMIT_BPS', struct.pack('=Q', 1000000))) +
    request('PORT_DEL', u32('NUMBER', 2)) + request('LINKS') + request('DP_DEL'),
    'flows': OPEN + put(OUTPUT) + request('DP_STATS') + request('FLOW_DUMP') +
    request('OPERATE', item('OP', u32('OP_TYPE', OP['OP_GET']), item('UFID', UFID))) +
    request('OPERATE', item('OP', u32('OP_TYPE', OP['OP_DEL']), item('UFID', UFID))) + request('FLOW_FLUSH'),
    'execute': OPEN + request('UPCALL_SET', u32('ON', 1)) + request('UPCALL_TAKE', u32('HANDLER', 0), u32('HANDLERS', 1)) +
    execute(OUTPUT),
    'upcall': OPEN + request('UPCALL_SET', u32('ON', 1)) + execute(attr(2, attr(1, bytes(4)), attr(2, b'cookie'))) +
    request('UPCALL_TAKE', u32('HANDLER', 0), u32('HANDLERS', 1)),
    'actions': OPEN + put(attr(2, attr(1, bytes(4)), attr(2, b'cookie'))) + put(CT + attr(5, struct.pack('=I', 7))) +
    put(attr(3, attr(7, bytes([10, 0, 0, 9, 10, 0, 0, 8, 6, 0, 64, 0]))) + OUTPUT) +
    put(attr(4, struct.pack('>HH', 0x8100, 0x1005)) + OUTPUT) + put(attr(6, attr(1, struct.pack('=I', 1 << 31)), attr(2, OUTPUT))),
    'away': OPEN + put(OUTPUT) + request('PORT_DEL', u32('NUMBER', 2)) + request('FLOW_DUMP') +
    request('PORT_DEL', u32('NUMBER', 1)) + request('FLOW_DUMP') + put(OUTPUT + OUTPUT) +
    port(b'b', 'KERNEL', 1, item('DEVICE', b'b')) + port(b'c', 'KERNEL', 2, item('DEVICE', b'c')) + request('FLOW_DUMP') +
    request('PORT_DEL', u32('NUMBER', 1)) + request('OPERATE', item('OP', u32('OP_TYPE', OP['OP_DEL']), item('UFID', UFID))),
    'bonds': OPEN + request('BOND_SET', u32('BOND', 70000), item('MEMBERS', struct.pack('=I', 2) * 256)) +
    put(attr(1003, struct.pack('=I', 70000))) + execute(attr(1003, struct.pack('=I', 70000))) +
    request('BOND_STATS', u32('BOND', 70000)) + request('PORT_DEL', u32('NUMBER', 2)) + request('BOND_DEL', u32('BOND', 70000)),
    'queues': OPEN + port(b'q', 'KERNEL', 5, item('DEVICE', b'q'), item('TX_BPS', struct.pack('=Q', 10000000)),
                          item('TX_QUEUE', struct.pack('=IIQQ', 0, 10, 1000000, 0)),
                          item('TX_QUEUE', struct.pack('=IIQQ', 7, 10, 0, 2000000))) +
    put(attr(3, attr(2, struct.pack('=I', 1 << 16 | 8))) + attr(1, struct.pack('=I', 5))) +
    execute(attr(3, attr(2, struct.pack('=I', 1 << 16 | 8))) + attr(1, struct.pack('=I', 5))) +
    request('PORT_STATS', item('NAME', b'q')),
    'ct': OPEN + request('CT_DUMP') + request('CT_STATS') + request('CT_FLUSH', u32('ZONE', 5)) +
    request('CT_FLUSH', item('TUPLE', bytes(40))) +
    request('CT_LIMIT_SET', u32('LIMIT', 10), item('ZONE_LIMIT', struct.pack('=III', 5, 3, 0))) +
    request('CT_LIMIT_GET', item('ZONE_LIMIT', struct.pack('=III', 5, 0, 0))) +
    request('CT_TIMEOUT_SET', u32('POLICY', 1), item('SECONDS', bytes(68))) + request('CT_TIMEOUT_DEL', u32('POLICY', 1)),
}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for name, body in SEEDS.items():
        with open(os.path.join(FOLDER, name), 'wb') as f:
            f.write(b'\1' + body)
    # The same as a stream, in pieces of 100 bytes.
    stream, at, body = b'', 0, SEEDS['ports']
    while at < len(body):
        size = body[at + 1] * 8
        stream += struct.pack('=IHHII', 16 + size, body[at], 0, 0, 1) + body[at + 2:at + 2 + size]
        at += 2 + size
    with open(os.path.join(FOLDER, 'stream'), 'wb') as f:
        f.write(bytes([198]) + stream)


main()
