# SPDX-License-Identifier: Apache-2.0
"""The vhost-user protocol as a well-behaved front end sees it."""

import os
import random
import select
import socket
import struct
import time

import pytest

from frontend import (ALL_OFFLOADS, BASIC, BROADCAST, F, GUEST_OFFLOADS, HOST_OFFLOADS, NO_FD, P,
                      Channel, Closed, Req, close_all, ethernet, exchange, frames, u64, vring_state)
from logs import InflightGuest, Log, start_log
from vring import DESC_WRITE, Memory, Region, wait
from xvio import SLACK_KB, Xviod

rings = pytest.mark.parametrize('packed', [False, True], ids=['split', 'packed'])


# -- negotiation

def test_features_offered(lab):
    g = lab.guest(lab.port(csum=True, tso=True), up=False, start=False)
    g.connect()
    need = F.VERSION_1 | F.RING_PACKED | F.IN_ORDER | F.INDIRECT_DESC | F.EVENT_IDX | \
        F.MRG_RXBUF | F.MQ | F.MTU | F.GUEST_ANNOUNCE | F.LOG_ALL | F.PROTOCOL_FEATURES | \
        HOST_OFFLOADS | GUEST_OFFLOADS
    assert need & ~g.offered == 0
    assert not g.offered & F.ACCESS_PLATFORM
    need = P.MQ | P.LOG_SHMFD | P.RARP | P.REPLY_ACK | P.NET_MTU | P.BACKEND_REQ | \
        P.INFLIGHT_SHMFD | P.CONFIGURE_MEM_SLOTS | P.STATUS
    assert need & ~g.protocol_offered == 0


def test_offloads_not_offered_when_off(lab):
    g = lab.guest(lab.port(csum=False, tso=False), up=False, start=False)
    g.connect()
    assert not g.offered & (HOST_OFFLOADS | GUEST_OFFLOADS)
    g = lab.guest(lab.port(csum=True, tso=False), up=False, start=False)
    g.connect()
    assert g.offered & (F.CSUM | F.GUEST_CSUM) == F.CSUM | F.GUEST_CSUM
    assert not g.offered & (F.HOST_TSO4 | F.HOST_TSO6 | F.GUEST_TSO4 | F.GUEST_TSO6)


@pytest.mark.parametrize('queues', [1, 4, 32])
def test_queue_num(lab, queues):
    g = lab.guest(lab.port(queues=queues), up=False, start=False)
    g.connect()
    assert g.max_pairs == queues


@rings
def test_show(lab, packed):
    port = lab.port()
    p = lab.show(port)
    assert p['state'] == 'waiting' and not p['virtio']['connected']
    g = lab.guest(port, packed=packed)
    p = lab.show(port)
    v = p['virtio']
    assert p['queues_active'] == 1 and v['queue_pairs'] == 1
    assert v['connected'] and v['ring'] == ('packed' if packed else 'split')
    assert int(v['features'], 16) == g.features
    assert int(v['protocol_features'], 16) == g.protocol
    assert v['connects'] == 1 and v['disconnects'] == 0
    assert v['broken'] is None and v['broken_total'] == 0
    g.disconnect()
    wait(lambda: lab.show(port)['state'] == 'waiting')
    v = lab.show(port)['virtio']
    assert not v['connected'] and v['disconnects'] == 1 and v['broken_total'] == 0


def test_without_protocol_features(lab):
    """An old front end: rings are enabled from the start."""
    ports = lab.wired_ports()
    a, b = (lab.guest(p, features=F.VERSION_1 | F.MRG_RXBUF, protocol=P(0)) for p in ports)
    exchange(a, b)


def test_legacy_header(lab):
    """Without VERSION_1 and MRG_RXBUF the header has 10 bytes."""
    a, b = lab.pair(first={'features': F.PROTOCOL_FEATURES})
    assert a.hdr_len == 10 and b.hdr_len == 12
    exchange(a, b)


def test_reply_ack(lab):
    g = lab.guest(lab.port())
    assert g.chan.ack(Req.SET_OWNER) == 0
    assert g.chan.ack(Req.SET_VRING_ENABLE, vring_state(0, 0)) == 0
    assert g.chan.ack(Req.SET_VRING_ENABLE, vring_state(0, 1)) == 0
    # a request with an answer of its own gets only that
    g.chan.send(Req.GET_FEATURES, flags=1 | 8)
    assert g.chan.recv().req == Req.GET_FEATURES
    assert g.chan.ask_u64(Req.GET_PROTOCOL_FEATURES) == g.protocol_offered
    assert g.refused(Req.SET_VRING_NUM, vring_state(0, 3))


def test_slow_sender(lab):
    """A message may come in pieces; nobody else waits for it."""
    a, b = lab.pair()
    c = Channel.connect(lab.path(lab.port()))
    for byte in struct.pack('<III', Req.GET_FEATURES, 1, 0):
        c.send_raw(bytes([byte]))
        exchange(a, b, 2)
    assert c.recv().req == Req.GET_FEATURES
    # several in one piece
    c.send_raw(struct.pack('<III', Req.GET_FEATURES, 1, 0) * 3)
    for _ in range(3):
        assert c.recv().req == Req.GET_FEATURES
    c.close()


def test_second_connection(lab):
    """One front end at a time; the one that is there is not disturbed."""
    a, b = lab.pair()
    exchange(a, b)
    other = Channel.connect(lab.path(a.port))
    try:
        other.send(Req.GET_FEATURES)
        other.closed(0.1)
    except Closed:
        pass
    exchange(a, b)
    other.close()
    exchange(a, b)
    assert lab.show(a.port)['virtio']['connected']


def test_status(lab):
    g = lab.guest(lab.port())
    for status in 1, 3, 11, 15:
        assert g.chan.ack(Req.SET_STATUS, u64(status)) == 0
        assert g.chan.ask_u64(Req.GET_STATUS) == status


def test_status_reset(lab):
    """A guest that reboots writes status 0: the rings are not touched any more."""
    a, b = lab.pair()
    exchange(a, b)
    assert a.chan.ack(Req.SET_STATUS, u64(0)) == 0
    before = a.rxq[0].ring.used_idx()
    b.send(*frames(a, b, 5), wait_used=False)
    time.sleep(0.05)
    assert a.rxq[0].ring.used_idx() == before
    for q in a.queues:
        a.stop_queue(q)
        q.ring.reset()
        q.calls()
    a.refill(a.rxq[0])
    a.start()
    lab.up(a.port)
    b.reap()
    a.poll()
    exchange(a, b)


def test_mtu(lab):
    g = lab.guest(lab.port(mtu=2000), features=BASIC | F.MTU)
    assert g.chan.ack(Req.NET_SET_MTU, u64(1500)) == 0
    assert g.chan.ack(Req.NET_SET_MTU, u64(2000)) == 0
    assert g.refused(Req.NET_SET_MTU, u64(2001))


@pytest.mark.parametrize('mtu', [0, 67, 65536, 1 << 63])
def test_bad_mtu(lab, mtu):
    g = lab.guest(lab.port(), features=BASIC | F.MTU)
    assert g.refused(Req.NET_SET_MTU, u64(mtu))


def test_backend_req_fd(lab):
    g = lab.guest(lab.port())
    g.sync()
    before = lab.daemon.fds()
    for _ in range(20):
        ours, theirs = socket.socketpair()
        assert g.chan.ack(Req.SET_BACKEND_REQ_FD, b'', [theirs.fileno()]) == 0
        theirs.close()
        ours.close()
    assert lab.daemon.fds() <= before + 1


def test_rarp(lab):
    net = lab.network()
    a, b, c = (lab.guest(lab.port(network=net)) for _ in range(3))
    mac = b'\x02\x11\x22\x33\x44\x55'
    assert a.chan.ack(Req.SEND_RARP, mac + b'\0\0') == 0
    for g in b, c:
        f = g.receive()[0].data
        assert f[:6] == BROADCAST and f[6:12] == mac and f[12:14] == b'\x80\x35'
        # RFC 903: Ethernet, IPv4, 6, 4, request reverse; both hardware addresses are the guest's
        assert struct.unpack('>HHBBH', f[14:22]) == (1, 0x0800, 6, 4, 3)
        assert f[22:28] == mac and f[32:38] == mac
        assert len(f) >= 60
    a.silence()
    # and the network has learned where the guest is now
    assert [m['port'] for m in lab.daemon.rpc('mac.list', network=net)
            if m['mac'] == '02:11:22:33:44:55'] == [a.port]


# -- life of a ring

@rings
def test_get_vring_base(lab, packed):
    a, b = lab.pair(packed=packed, size=64)
    exchange(a, b, 50)
    exchange(a, b, 50)
    tx = a.stop_queue(a.txq[0])
    rx = a.stop_queue(a.rxq[0])
    if packed:
        # 100 descriptors in a ring of 64: position 36 of the second round, whose wrap counter is 0
        assert tx == rx == 36 | 36 << 16
    else:
        assert tx == rx == 100


@rings
def test_stop_and_go(lab, packed):
    """A stopped ring is not touched; started again where it was, nothing is lost or repeated."""
    a, b = lab.pair(packed=packed)
    for _ in range(5):
        exchange(a, b)
        bases = [a.stop_queue(q) for q in a.queues]
        # made available while stopped: must wait
        late = frames(b, a, 10)
        a.send(*late, wait_used=False, kick=True)
        b.silence(0.02)
        assert not a.txq[0].ring.pop()
        for q, base in zip(a.queues, bases):
            a.start_queue(q, base)
            q.kick()
        assert [f.data for f in b.receive(10)] == late
        a.drain()
        lab.up(a.port)


@rings
def test_enable(lab, packed):
    a, b = lab.pair(packed=packed)
    exchange(a, b)
    # no new packets into a disabled receive ring
    b.enable(b.rxq[0], False)
    a.send(*frames(b, a, 5))
    b.silence()
    b.enable(b.rxq[0])
    lab.up(b.port)
    exchange(a, b)
    # a disabled transmit ring has no effect on others
    b.enable(b.txq[0], False)
    b.send(*frames(a, b, 5), wait_used=False, kick=True)
    a.silence()
    b.enable(b.txq[0])
    b.txq[0].kick()
    lab.up(b.port)
    b.drain()
    time.sleep(0.02)
    a.poll()
    exchange(a, b)


@rings
def test_without_kick_fd(lab, packed):
    """Bit 8 of SET_VRING_KICK: there is no eventfd, the ring has to be polled."""
    a, b = lab.pair(packed=packed)
    for g in a, b:
        for q in g.queues:
            base = g.stop_queue(q)
            g.start_queue(q, base)
            g.set(Req.SET_VRING_KICK, u64(q.index | NO_FD))
            g.set(Req.SET_VRING_CALL, u64(q.index | NO_FD))
        lab.up(g.port)
    for _ in range(10):
        exchange(a, b, kick=False)
        time.sleep(0.01)


# -- guest memory

def memory_pair(lab, make, **options):
    guests = []
    for port in lab.wired_ports():
        guest = lab.guest(port, mem=make(), **options)
        guest.own_mem = True
        guests.append(guest)
    return guests


@rings
@pytest.mark.parametrize('kind', ['memfd', '/dev/shm', '/var/tmp'])
def test_memory_kinds(lab, packed, kind):
    a, b = memory_pair(lab, lambda: Memory(kind), packed=packed)
    exchange(a, b, 100)


@pytest.fixture
def hugepages():
    """16 pages of 2 MiB, taken back afterwards."""
    knob = '/proc/sys/vm/nr_hugepages'
    with open(knob) as f:
        before = int(f.read())
    try:
        with open(knob, 'w') as f:
            f.write(str(before + 16))
        with open('/proc/meminfo') as f:
            free = next(int(line.split()[1]) for line in f if line.startswith('HugePages_Free'))
        if free < 16:
            pytest.skip('this machine gives no 16 hugepages of 2 MiB')
        yield
    except OSError as e:
        pytest.skip('hugepages cannot be set: %s' % e)
    finally:
        try:
            with open(knob, 'w') as f:
                f.write(str(before))
        except OSError:
            pass


@rings
def test_memory_hugetlbfs(lab, packed, hugepages):
    def make():
        return Memory(regions=[Region(0, 2 << 20, 'hugetlb'), Region(1 << 32, 4 << 20, 'hugetlb')])
    a, b = memory_pair(lab, make, packed=packed, rx_layout=(1024,))
    exchange(a, b, 100)


@rings
def test_memory_slots(lab, packed):
    """Regions one by one (QEMU with virtio-mem or memory hotplug)."""
    a, b = lab.pair(packed=packed, protocol=~P(0))
    assert a.chan.ask_u64(Req.GET_MAX_MEM_SLOTS) >= 8
    exchange(a, b)
    # hot-plug a region while traffic may flow, use it, unplug it
    region = Region(1 << 33, 1 << 20)
    for _ in range(3):
        a.set(Req.ADD_MEM_REG, u64(0) + region.describe(), [region.fd])
        a.mem.regions.append(region)
        sent = ethernet(b, a, os.urandom(200))
        a.mem.write(region.gpa, bytes(12) + sent)
        a.txq[0].ring.add([(region.gpa, 12 + len(sent), 0)])
        a.txq[0].publish()
        assert b.receive()[0].data == sent
        exchange(a, b)
        a.mem.regions.remove(region)
        a.set(Req.REM_MEM_REG, u64(0) + region.describe())
        exchange(a, b)
    region.close()


def test_regions_told_twice(lab):
    """QEMU 7.2 adds and removes each region once for every queue pair."""
    a, b = lab.pair(protocol=~P(0))
    region = Region(1 << 33, 1 << 20)
    for req, fds in ((Req.ADD_MEM_REG, [region.fd]), (Req.REM_MEM_REG, [])) * 2:
        for _ in range(3):
            a.set(req, u64(0) + region.describe(), fds)
        exchange(a, b)
    region.close()


def test_all_memory_slots(lab):
    g = lab.guest(lab.port(), protocol=~P(0))
    slots = g.chan.ask_u64(Req.GET_MAX_MEM_SLOTS)
    maps = lab.daemon.maps()
    extra = Region(1 << 40, 4096)
    for i in range(slots - len(g.mem.regions)):
        g.set(Req.ADD_MEM_REG, u64(0) + struct.pack('<QQQQ', (1 << 40) + (i << 12), 4096,
                                                    (1 << 46) + (i << 12), 0), [extra.fd])
    assert g.refused(Req.ADD_MEM_REG, u64(0) + struct.pack('<QQQQ', 1 << 41, 4096, 1 << 47, 0),
                     [extra.fd])
    g.disconnect()
    wait(lambda: lab.daemon.maps() < maps, what='regions to be unmapped')
    extra.close()


@rings
def test_mem_table_again(lab, packed):
    """A new table while rings run (memory hotplug without slots): they go on."""
    a, b = lab.pair(packed=packed)
    region = Region(1 << 33, 1 << 20)
    exchange(a, b)
    a.mem.regions.append(region)
    for _ in range(5):
        a.set(Req.SET_MEM_TABLE, a.mem.table(), a.mem.fds())
        exchange(a, b)
    region_frame = ethernet(b, a, os.urandom(200))
    a.mem.write(region.gpa, bytes(12) + region_frame)
    a.txq[0].ring.add([(region.gpa, 12 + len(region_frame), 0)])
    a.txq[0].publish()
    assert b.receive()[0].data == region_frame


@rings
@pytest.mark.parametrize('direction', ['transmit', 'receive'])
def test_buffer_across_regions(lab, packed, direction):
    """Two regions that touch in guest physical memory (a DIMM after a DIMM) are mapped apart; one
    buffer may lie in both."""
    def make():
        return Memory(regions=[Region(0, 1 << 20), Region(1 << 20, 4 << 20)])
    a, b = memory_pair(lab, make, packed=packed, rx_layout=(1024,))
    for before in 1, 6, 12, 13, 60, 500:
        gpa = (1 << 20) - before
        sent = ethernet(b, a, os.urandom(600))
        if direction == 'transmit':
            a.mem.write(gpa, bytes(12) + sent)
            a.txq[0].ring.add([(gpa, 12 + len(sent), 0)])
            a.txq[0].publish()
            assert b.receive()[0].data == sent
        else:
            # only this buffer is there when the frame comes
            ring = b.rxq[0].ring
            while len(ring.pending) > 0:
                a.send(ethernet(b, a))
                wait(lambda: b.poll(refill=False))
            ring.add([(gpa, 1024, DESC_WRITE)], token=())
            b.rxq[0].publish()
            a.send(sent)
            (token, length), = wait(ring.pop)
            assert b.mem.read(gpa, length)[12:] == sent
            b.refill(b.rxq[0])


# -- reconnect

@rings
def test_reconnect_server(lab, packed):
    """xviod listens: the guest comes back again and again, at once."""
    a, b = lab.pair(packed=packed)
    fds = lab.daemon.fds()
    times = []
    for _ in range(30):
        exchange(a, b, 5)
        a.disconnect()
        t = time.monotonic()
        a.connect()
        times.append(time.monotonic() - t)
        a.start()
        lab.up(a.port)
    assert sorted(times)[len(times) // 2] < 0.010
    v = lab.show(a.port)['virtio']
    assert v['connects'] == 31 and v['broken_total'] == 0
    assert lab.daemon.fds() <= fds


def test_reconnect_client(lab):
    """xviod connects: within 10 ms of the listener being back, forever."""
    ports = lab.port(mode='client'), lab.port()
    lab.wire(*ports)
    b = lab.guest(ports[1])
    path = lab.path(ports[0])
    time.sleep(0.3)                 # nobody there for a while
    listener = Channel.listen(path)
    a = lab.guest(ports[0], listener=listener)
    fds = lab.daemon.fds()
    times = []
    for i in range(30):
        exchange(a, b, 5)
        listener.close()
        os.unlink(path)
        a.disconnect()
        time.sleep(random.choice((0.001, 0.02, 0.1)))
        a.listener = listener = Channel.listen(path)
        t = time.monotonic()
        select.select([listener], [], [])
        times.append(time.monotonic() - t)
        a.connect()
        a.start()
        lab.up(a.port)
    assert sorted(times)[len(times) // 2] < 0.010, times
    assert lab.daemon.fds() <= fds
    # the connection alone is lost, the listener stays
    for _ in range(5):
        a.disconnect()
        a.connect()
        a.start()
        lab.up(a.port)
        exchange(a, b, 5)
    listener.close()


@pytest.mark.parametrize('packed', [False, True], ids=['split', 'packed'])
def test_xviod_dies_and_comes_back(packed, tmp_path):
    """Killed with traffic in the rings, in both socket roles: guests go on where they were."""
    config = {
        'ports': [{'name': 'a', 'kind': 'vhost', 'socket': str(tmp_path / 'a'), 'mode': 'client'},
                  {'name': 'b', 'kind': 'vhost', 'socket': str(tmp_path / 'b')}],
        'wires': [{'name': 'w', 'ports': ['a', 'b']}],
    }
    listener = Channel.listen(str(tmp_path / 'a'))
    daemon = Xviod(config, dir=tmp_path)
    daemon.start()
    try:
        a = InflightGuest(listener=listener, packed=packed, start=False)
        b = InflightGuest(str(tmp_path / 'b'), packed=packed, start=False)
        for g in a, b:
            g.connect()
            g.start()
        for _ in range(3):
            for name in 'a', 'b':
                wait(lambda: daemon.port(name)['state'] == 'up', what='link')
            exchange(a, b)
            a.send(*frames(b, a, 100), wait_used=False)
            daemon.kill()
            # still in the ring: for the next life
            a.send(*frames(b, a, 20), wait_used=False, kick=True)
            b.poll()
            a.reap()
            daemon.start()          # the socket file of the dead one is in the way
            for g in a, b:
                g.disconnect()
                g.connect()
                g.start()
            # every chain comes back exactly once (retire() checks that it was out)
            a.drain()
            time.sleep(0.05)
            b.poll()
        for g in a, b:
            g.area.close()
            g.close()
        daemon.stop()
    finally:
        listener.close()
        if daemon.process:
            daemon.kill()


def test_features_pinned(lab):
    """What a connected guest negotiated stays on offer, whatever becomes of the settings."""
    port = lab.port(csum=True, tso=True)
    g = lab.guest(port, features=ALL_OFFLOADS)
    assert g.features & F.HOST_TSO4
    lab.daemon.rpc('port.set', name=port, tso=False, csum=False)
    if g.chan.closed(0.05):
        g.chan.close()
    else:
        g.disconnect()
    g.connect()
    assert g.offered & ALL_OFFLOADS == ALL_OFFLOADS
    g.start()
    lab.up(port)


# -- housekeeping

def test_port_removed_under_traffic(lab):
    """The guest's connection ends, its memory is let go, the socket file is gone."""
    a, b = lab.pair()
    exchange(a, b)
    fds, maps = lab.daemon.fds(), lab.daemon.maps()
    a.send(*frames(b, a, 100), wait_used=False)
    lab.daemon.rpc('wire.del', name=lab.wires.pop())
    lab.daemon.rpc('port.del', name=a.port)
    lab.ports.remove(a.port)
    assert a.chan.closed()
    assert not os.path.exists(lab.path(a.port))
    wait(lambda: lab.daemon.fds() < fds and lab.daemon.maps() < maps)


def test_nothing_leaks(lab):
    """A hundred lives of a guest with everything that can be handed over."""
    ports = lab.wired_ports()
    b = lab.guest(ports[1])

    def life():
        a = InflightGuest(lab.path(ports[0]), packed=random.random() < 0.5)
        log = Log(a.mem)
        start_log(a, log)
        close_all([a.chan.call(Req.GET_INFLIGHT_FD, struct.pack('<QQHH', 0, 0, 2, 256)).fds[0]])
        lab.up(ports[0])
        exchange(a, b, 5)
        a.close()
        a.area.close()
        log.region.close()
        wait(lambda: not lab.show(ports[0])['virtio']['connected'])

    for _ in range(5):
        life()
    fds, maps, rss = lab.daemon.fds(), lab.daemon.maps(), lab.daemon.rss_kb()
    for _ in range(100):
        life()
    assert lab.daemon.fds() == fds
    assert lab.daemon.maps() <= maps + 4
    assert lab.daemon.rss_kb() < rss + SLACK_KB
