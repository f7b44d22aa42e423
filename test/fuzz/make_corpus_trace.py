#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds corpus/trace_packet: a byte, then arguments of `trace` or `policy test` as JSON. Repeatable; run by hand."""
import json
import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'corpus', 'trace_packet')
ARP = 'ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000002'
SEEDS = {
    'hex': {'packet': ARP},
    'hex-spaced': {'packet': 'ff:ff:ff ff:ff:ff'},
    'hex-odd': {'packet': 'abc'},
    'udp': {'src_mac': '02:00:00:00:00:01', 'dst_mac': '02:00:00:00:00:02', 'src': '10.0.0.1', 'dst': '10.0.0.2'},
    'tcp6': {'src': 'fd00::1', 'dst': 'fd00::2', 'proto': 'tcp', 'src_port': 1, 'dst_port': '443', 'vlan': 4095},
    'icmp': {'src': '10.0.0.1', 'dst': '10.0.0.2', 'proto': 'icmp', 'src_port': 8, 'dst_port': 0, 'length': 65535},
    'type': {'ether_type': 'arp', 'length': 14},
    'prefix': {'src': '10.0.0.0/8', 'dst': 'fd00::2'},
    'both': {'packet': '00', 'length': 60},
    'mask': {'src_mac': '02:00:00:00:00:01/ff:ff:ff:00:00:00'},
    'number': {'proto': 132, 'src': '::', 'dst': '::', 'src_port': 65536},
    'state': {'to': 'b', 'state': 'established', 'src': '10.0.0.1', 'dst': '10.0.0.2'},
}

os.makedirs(FOLDER, exist_ok=True)
for name, args in SEEDS.items():
    for i, method in enumerate(('trace', 'test')):
        with open(os.path.join(FOLDER, '%s-%s' % (name, method)), 'wb') as f:
            f.write(bytes((i,)) + json.dumps(dict({'port': 'a'}, **args)).encode())
