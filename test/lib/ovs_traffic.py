# SPDX-License-Identifier: Apache-2.0
"""Traffic between hosts (ovs.Host) of a lab: little programs that run in their network namespaces."""

import json
import subprocess
import sys

UDP_RECEIVE = r'''
import socket, sys, json, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
s.bind(('', int(sys.argv[1])))
print('ready', flush=True)
n = size = 0
first = last = None
s.settimeout(0.1)
peers = {}
while True:
    try:
        data, peer = s.recvfrom(65536)
    except TimeoutError:
        # Whoever is done closes our standard input.
        import select
        if select.select([sys.stdin], [], [], 0)[0]:
            break
        continue
    last = time.monotonic()
    first = first or last
    n += 1
    size += len(data)
    peers[peer[1]] = peers.get(peer[1], 0) + 1
print(json.dumps({'packets': n, 'bytes': size, 'seconds': (last - first) if n else 0, 'peers': peers}), flush=True)
'''

UDP_SEND = r'''
import socket, sys, time
address, port, count, size, rate, sources = sys.argv[1], *map(int, sys.argv[2:7])
all = []
for _ in range(sources):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((address, port))
    all.append(s)
begin = time.monotonic()
for i in range(count):
    if rate:
        wait = begin + i / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)
    all[i % sources].send(bytes(size))
'''


class UdpReceiver:
    """Counts datagrams to a port; stop() says how many packets, bytes, from the first to the last in how many seconds, and by
    source port."""

    def __init__(self, host, port=5000):
        self.process = host.spawn(sys.executable, '-c', UDP_RECEIVE, str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True)
        assert self.process.stdout.readline() == 'ready\n'

    def stop(self):
        return json.loads(self.process.communicate('\n', timeout=10)[0])


def udp_send(host, address, count, port=5000, size=100, rate=0, sources=1):
    """count datagrams, as fast as it goes or so many a second, from several source ports in turn."""
    host.sh("%s -c '%s' %s" % (sys.executable, UDP_SEND.replace("'", '"'), ' '.join(map(str, (address, port, count, size, rate, sources)))))


TCP_SERVE = r'''
import socket, sys
s = socket.create_server(('', int(sys.argv[1])))
print('ready', flush=True)
c, _ = s.accept()
while c.recv(65536):
    pass
c.close()
'''


def tcp_once(client, server, address, port=5001, size=1000):
    """A connection from its begin to its end, with so many bytes."""
    process = server.spawn(sys.executable, '-c', TCP_SERVE, str(port), stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    client.sh('%s -c "import socket; s = socket.create_connection((\'%s\', %d), 5); s.sendall(bytes(%d)); '
              's.shutdown(1); s.recv(1)"' % (sys.executable, address, port, size))
    assert process.wait(10) == 0
