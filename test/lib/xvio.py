# SPDX-License-Identifier: Apache-2.0
"""Run xviod for a test and talk to it.  The binaries come from the build directory XVIO_BUILD."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import yaml

BUILD = pathlib.Path(os.environ.get('XVIO_BUILD', 'build')).resolve()


# What a process may grow by without leaking. A sanitizer keeps what was freed, and looks for leaks itself
# when the process ends.
SLACK_KB = 4096 if not os.environ.get('SAN') else 1 << 20


class Error(Exception):
    """xviod (or xvioctl) refused; `data` is the error's data member."""

    def __init__(self, message, data=None):
        super().__init__(message)
        self.data = data or {}


def program(name):
    for path in sorted(BUILD.rglob(name)):
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise FileNotFoundError('%s is not built under %s (set XVIO_BUILD)' % (name, BUILD))


class Xviod:
    """One daemon with a directory of its own: sockets, host file and log are in `dir`.

    config: the host file, as a dictionary. netns: the network namespace that it runs in.
    """

    def __init__(self, config=None, dir=None, args=(), netns=None):
        self.own_dir = dir is None
        self.dir = pathlib.Path(dir or tempfile.mkdtemp(prefix='xvio-', dir='/tmp'))
        self.api = str(self.dir / 'xviod.sock')
        self.log = self.dir / 'xviod.log'
        self.config, self.args = config or {}, list(args)
        self.enter = ['ip', 'netns', 'exec', netns] if netns else []
        self.process = self.sock = None
        self.ident = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()
        if self.own_dir and exc[0] is None:
            shutil.rmtree(self.dir)

    # life

    def start(self, timeout=20.0):
        """Start and wait until it says READY."""
        host = self.dir / 'host.yaml'
        host.write_text(yaml.safe_dump(self.config))
        ready = str(self.dir / 'notify.sock')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, \
                open(self.log, 'a') as log:
            notify.bind(ready)
            self.process = subprocess.Popen(
                [*self.enter, program('xviod'), '-c', str(host), '-s', self.api, *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, 'NOTIFY_SOCKET': ready})
            notify.settimeout(0.05)
            deadline = time.monotonic() + timeout
            try:
                while True:
                    try:
                        if b'READY=1' in notify.recv(4096):
                            return
                    except socket.timeout:
                        pass
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise Error('xviod did not start (status %s):\n%s' %
                                    (self.process.poll(), self.tail()))
            finally:
                os.unlink(ready)

    def stop(self, timeout=20.0):
        """SIGTERM; it must leave with status 0."""
        self.hang_up()
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise Error('xviod did not stop on SIGTERM:\n' + self.tail()) from None
        if process.returncode:
            raise Error('xviod ended with status %d:\n%s' % (process.returncode, self.tail()))

    def kill(self):
        self.hang_up()
        self.process.kill()
        self.process.wait()
        self.process = None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def tail(self, lines=40):
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-lines:])

    # what the kernel knows of it

    def fds(self):
        return len(os.listdir('/proc/%d/fd' % self.pid))

    def rss_kb(self):
        with open('/proc/%d/status' % self.pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith('VmRSS'))

    def maps(self):
        """Number of mappings."""
        with open('/proc/%d/maps' % self.pid) as f:
            return sum(1 for _ in f)

    def cpu_s(self):
        """Processor time used so far, all threads."""
        with open('/proc/%d/stat' % self.pid) as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    # the API

    def rpc(self, method, timeout=10.0, **params):
        """One JSON-RPC call; its result, or Error."""
        if self.sock is None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(self.api)
            self.reader = self.sock.makefile('rb')
        self.ident += 1
        self.sock.settimeout(timeout)
        self.sock.sendall(json.dumps({'jsonrpc': '2.0', 'id': self.ident, 'method': method,
                                      'params': params}).encode() + b'\n')
        reply = json.loads(self.reader.readline())
        if 'error' in reply:
            raise Error(reply['error']['message'], reply['error'].get('data'))
        return reply['result']

    def hang_up(self):
        if self.sock:
            self.reader.close()
            self.sock.close()
            self.sock = None

    def ctl(self, *args, timeout=20.0):
        """xvioctl --json ARGS; its result, or Error with the sentence it printed."""
        run = subprocess.run([program('xvioctl'), '-s', self.api, '--json', *map(str, args)],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             timeout=timeout)
        if run.returncode:
            raise Error(run.stderr.strip())
        return json.loads(run.stdout) if run.stdout.strip() else None

    def port(self, name):
        return self.rpc('port.show', name=name)
