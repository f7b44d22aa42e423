# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch for a test: ovsdb-server and a vswitchd, everything of theirs in one directory.

Debian's ovsdb-server and tools; the vswitchd is ours, or (stock) Debian's with its userspace datapath.
"""

import os
import pathlib
import shlex
import subprocess
import time

from guest import die_with_parent, wait
from xvio import BUILD, Error

VSWITCHD = BUILD / 'vswitchd' / 'xvio-vswitchd'
SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'


def is_built():
    return os.access(VSWITCHD, os.X_OK)


class Vswitch:
    """ovsdb-server and vswitchd of a host.

    directory: an existing one. socket: xviod's; None: stock. netns: where vswitchd runs. config: keys of other_config.
    """

    def __init__(self, directory, socket=None, netns=None, config=None):
        self.dir = pathlib.Path(directory)
        self.socket, self.config = socket, dict(config or {})
        self.enter = ['ip', 'netns', 'exec', netns] if netns else []
        self.env = {**os.environ, 'OVS_RUNDIR': str(self.dir), 'OVS_LOGDIR': str(self.dir),
                    'OVS_DBDIR': str(self.dir), 'OVS_SYSCONFDIR': str(self.dir), 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}
        if socket:
            self.env['XVIO_OVS_SOCKET'] = str(socket)
        self.server = self.process = None
        self.log = self.dir / 'ovs-vswitchd.log'
        self.pids = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.close()

    def start(self):
        self.run('ovsdb-tool', 'create', self.dir / 'conf.db', SCHEMA)
        self.server = self.spawn('ovsdb-server', self.dir / 'conf.db', '--remote=punix:%s' % (self.dir / 'db.sock'),
                                 '--no-chdir', '--pidfile', '--log-file')
        wait((self.dir / 'db.sock').exists, 10, 'ovsdb-server')
        self.vsctl('--no-wait', 'init')
        for key, value in self.config.items():
            self.vsctl('--no-wait', 'set', 'Open_vSwitch', '.', 'other_config:%s=%s' % (key, value))
        self.start_vswitchd()

    def start_vswitchd(self):
        # Files are named by what it is called.
        name = self.dir / 'bin' / 'ovs-vswitchd'
        name.parent.mkdir(exist_ok=True)
        if not name.exists():
            name.symlink_to(VSWITCHD if self.socket else '/usr/lib/openvswitch-switch/ovs-vswitchd')
        self.process = self.spawn(*self.enter, name, 'unix:%s' % (self.dir / 'db.sock'), '--no-chdir', '--pidfile',
                                  '--log-file', '-vconsole:off', '--disable-system')
        wait((self.dir / ('ovs-vswitchd.%d.ctl' % self.process.pid)).exists, 10, 'ovs-vswitchd')

    def spawn(self, *command):
        with open(self.dir / 'output', 'a') as log:
            process = subprocess.Popen(list(map(str, command)), env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, preexec_fn=die_with_parent)
        self.pids.append(process.pid)
        return process

    def stop_vswitchd(self, kill=False):
        """As for an upgrade, or (kill) as a crash: its ports and flows stay."""
        if self.process and self.process.poll() is None:
            if kill:
                self.process.kill()
            else:
                self.appctl('exit')
            self.process.wait(20)
        self.process = None

    def close(self):
        try:
            if self.process and self.process.poll() is None:
                self.appctl('exit', '--cleanup')
                self.process.wait(20)
        finally:
            for process in self.process, self.server:
                if process and process.poll() is None:
                    process.kill()
                    process.wait()
            self.process = self.server = None

    # tools

    def run(self, *command, timeout=20.0):
        done = subprocess.run(list(map(str, command)), env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout)
        if done.returncode:
            raise Error('%s: %s' % (shlex.join(map(str, command)), done.stderr.strip() or done.stdout.strip()))
        return done.stdout

    def vsctl(self, *arguments):
        """One command, as words or as a line."""
        words = shlex.split(arguments[0]) if len(arguments) == 1 else list(arguments)
        return self.run('ovs-vsctl', '--db=unix:%s' % (self.dir / 'db.sock'), '--timeout=15', *words).strip()

    def ofctl(self, *arguments):
        return self.run('ovs-ofctl', '-O', 'OpenFlow13', *arguments)

    def appctl(self, *arguments):
        return self.run('ovs-appctl', '-t', self.dir / ('ovs-vswitchd.%d.ctl' % self.process.pid), *arguments)

    def bridge(self, name):
        """Wait until vswitchd has it."""
        def answers():
            try:
                return self.ofctl('show', name)
            except Error:
                return None
        wait(answers, 10, 'bridge ' + name, 0.1)

    def flows(self, bridge, text):
        """The bridge's OpenFlow table becomes this one."""
        path = self.dir / 'flows.txt'
        path.write_text(text)
        self.ofctl('replace-flows', bridge, path)

    def interface(self, name, column):
        return self.vsctl('--if-exists', 'get', 'Interface', name, column).strip('"')

    def show(self):
        return self.vsctl('show')

    def datapath_flows(self):
        return self.appctl('dpctl/dump-flows', '-m').splitlines()

    def tail(self, lines=40):
        try:
            return '\n'.join(self.log.read_text(errors='replace').splitlines()[-lines:])
        except FileNotFoundError:
            return ''

    def said(self, text, timeout=10.0):
        """Wait until the log has it."""
        def has():
            return self.log.exists() and text in self.log.read_text(errors='replace')
        wait(has, timeout, 'log of ovs-vswitchd: ' + text)


class Host:
    """A network namespace; close() removes it."""

    serial = 0

    def __init__(self, name):
        Host.serial += 1
        self.name = 'xvo%d-%d-%s' % (os.getpid(), Host.serial, name)
        self.ip_('netns', 'add', self.name)
        self.sh('ip link set dev lo up; sysctl -qw net.ipv6.conf.default.disable_ipv6=1')

    @staticmethod
    def ip_(*arguments):
        subprocess.run(['ip', *arguments], check=True, stdin=subprocess.DEVNULL, timeout=20)

    def sh(self, command, timeout=20.0):
        done = subprocess.run(['ip', 'netns', 'exec', self.name, 'sh', '-c', command], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise Error('%s: %s\n%s%s' % (self.name, command, done.stdout, done.stderr))
        return done.stdout

    def cable(self, device, other, other_device):
        """A veth pair between two hosts, both ends up; without the kernel's own checksum offload at this end."""
        self.ip_('link', 'add', device, 'netns', self.name, 'type', 'veth', 'peer', 'name', other_device, 'netns', other.name)
        self.sh('ip link set dev %s up' % device)
        other.sh('ip link set dev %s up' % other_device)
        return self

    def reaches(self, address, timeout=10.0):
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.sh('ping -c 1 -W 1 %s' % address)
                return self
            except Error:
                if time.monotonic() > deadline:
                    raise

    def spawn(self, *command, **keys):
        keys.setdefault('stdin', subprocess.DEVNULL)
        return subprocess.Popen(['ip', 'netns', 'exec', self.name, *command], preexec_fn=die_with_parent, **keys)

    def close(self):
        self.ip_('netns', 'del', self.name)
