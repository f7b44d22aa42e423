# SPDX-License-Identifier: Apache-2.0
"""Numbers of src/ovs/protocol.h, without the XV_OVS_ of their names: what writes messages by hand uses them."""

import pathlib
import re

HEADER = (pathlib.Path(__file__).resolve().parents[2] / 'src/ovs/protocol.h').read_text()


def enum(name):
    body = re.sub(r'/\*.*?\*/', '', re.search(r'enum %s \{(.*?)\}' % name, HEADER, re.S)[1], flags=re.S)
    value, values = -1, {}
    for member in filter(None, map(str.strip, body.split(','))):
        key, _, given = map(str.strip, member.partition('='))
        value = int(given, 0) if given else value + 1
        values[key.replace('XV_OVS_', '')] = value
    return values


REQUEST, ITEM = enum('xv_ovs_request'), enum('xv_ovs_item_type')
KIND, OP = enum('xv_ovs_port_kind'), enum('xv_ovs_op')
VERSION = int(re.search(r'#define XV_OVS_VERSION (\d+)', HEADER)[1])
