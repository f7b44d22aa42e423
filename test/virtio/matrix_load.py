# SPDX-License-Identifier: Apache-2.0
"""DPDK's virtio driver as the guest: the load program of bench/, and a man in the middle that hides
features which the driver has no option for."""

import array
import json
import os
import select
import signal
import socket
import struct
import subprocess
import threading
import time

from xvio import program

GET_FEATURES = 1
F_INDIRECT_DESC = 1 << 28


class LoadFailed(Exception):
    pass


class Load:
    """One run of xvio-load. ports: socket=...,key=value specifications, in pairs."""

    def __init__(self, ports, *args):
        argv = [program('xvio-load'), '--cpus', '0-%d' % (os.cpu_count() - 1)]
        for port in ports:
            argv += ['--port', port]
        self.process = subprocess.Popen(argv + [str(a) for a in args], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()

    def wait_ready(self):
        """Until frames have come through on every port; later output is left in the pipe."""
        said = ''
        for line in self.process.stderr:
            said += line
            if 'xvio-load: ready' in line:
                return
        raise LoadFailed(said)

    def result(self, timeout=300):
        """What it printed, once it has ended."""
        out, err = self.process.communicate(timeout=timeout)
        if not out:
            raise LoadFailed('xvio-load: status %d\n%s' % (self.process.returncode, err))
        return json.loads(out)

    def stop(self):
        """It stops sending, waits for what is under way, and reports."""
        self.process.send_signal(signal.SIGTERM)
        return self.result()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class FeatureFilter(threading.Thread):
    """Sits between driver and device and passes everything on (memory and rings are shared
    directly), but takes the given bits out of the features that the device offers.

    listen: the side that connects finds us here; connect: where the other side listens;
    device_listens: which of the two is xviod.
    """

    def __init__(self, listen, connect, hide, device_listens):
        super().__init__(daemon=True)
        self.listen, self.connect = listen, connect
        self.hide, self.device_listens = hide, device_listens
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(listen)
        self.listener.listen()
        self.start()

    def run(self):
        near, _ = self.listener.accept()
        far = socket.socket(socket.AF_UNIX)
        while True:
            try:
                far.connect(self.connect)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.005)
        device = far if self.device_listens else near
        other = {near: far, far: near}
        with near, far:
            while True:
                for sock in select.select([near, far], [], [])[0]:
                    try:
                        if not self.forward(sock, other[sock], sock is device):
                            return
                    except ConnectionError:
                        return

    def forward(self, source, sink, from_device):
        """One message with its descriptors; False at the end."""
        head, control, _, _ = source.recvmsg(12, socket.CMSG_SPACE(8 * 4), socket.MSG_WAITALL)
        if len(head) < 12:
            return False
        fds = array.array('i')
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
        request, _, size = struct.unpack('<III', head)
        payload = source.recv(size, socket.MSG_WAITALL) if size else b''
        if from_device and request == GET_FEATURES:
            payload = struct.pack('<Q', struct.unpack('<Q', payload)[0] & ~self.hide)
        sink.sendmsg([head + payload],
                     [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
        for fd in fds:
            os.close(fd)
        return True

    def close(self):
        self.listener.close()
        os.unlink(self.listen)
