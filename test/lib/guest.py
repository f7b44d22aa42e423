# SPDX-License-Identifier: Apache-2.0
"""Boot, drive and stop QEMU guests: Debian's cloud kernel, busybox, virtio NICs over vhost-user.

A guest is driven through its second serial port, so its network may be broken as the test likes.
tools/guest-image builds what it boots and has the guest's side of the protocol.  Guests belong to
the thread that started them, and die with it.
"""

import ctypes
import itertools
import json
import mmap
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
IMAGE = pathlib.Path(os.environ.get('XVIO_GUEST_DIR', ROOT / 'build' / 'guest'))

BOOT_TIMEOUT_S = 60.0      # an emulated guest takes 2 s on an idle machine

libc = ctypes.CDLL(None)


class Error(Exception):
    """A guest, or the QEMU around it, did not do what it was told to."""


def build_image():
    """Once for all who run beside each other: tools/check has done it, and a namespace cannot download."""
    if not os.environ.get('XVIO_GUEST_BUILT'):
        subprocess.run([str(ROOT / 'tools' / 'guest-image'), str(IMAGE)], check=True)


def wait(predicate, timeout=10.0, what='condition', interval=0.02):
    """Wait until predicate() is true and return what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError('%s: not within %g s' % (what, timeout))
        time.sleep(interval)


def die_with_parent():
    libc.prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG


class TornMemory(Error):
    """A migration that QEMU called complete, and was not: `pages` says which. Nothing moved."""

    def __init__(self, message, pages):
        super().__init__(message)
        self.pages = pages


class Nic:
    """One virtio NIC and the vhost-user socket behind it.

    listen: QEMU creates the socket, for a port in mode client.
    host_mtu: what the device tells its driver; the port must offer it too.
    options: further properties of virtio-net-pci, "csum=off".
    """

    def __init__(self, path, listen=False, mac=None, queues=1, packed=False, mrg_rxbuf=True,
                 host_mtu=0, options=''):
        self.path, self.listen, self.mac, self.queues = str(path), listen, mac, queues
        self.properties = ['packed=%s' % ('on' if packed else 'off'),
                           'mrg_rxbuf=%s' % ('on' if mrg_rxbuf else 'off'),
                           'mq=%s' % ('on' if queues > 1 else 'off')]
        if host_mtu:
            self.properties.append('host_mtu=%d' % host_mtu)
        if options:
            self.properties.append(options)

    def arguments(self, index, kvm):
        n = index
        properties = ['virtio-net-pci', 'netdev=net%d' % n, 'mac=' + self.mac, 'romfile=',
                      *self.properties]
        if not kvm:
            # QEMU 7.2 has no irqfd without KVM and dies of MSI-X on a vhost-user device.
            properties.append('vectors=0')
        role = 'server=on,wait=off' if self.listen else 'reconnect=1'
        return ['-chardev', 'socket,id=vhost%d,path=%s,%s' % (n, self.path, role),
                '-netdev', 'vhost-user,id=net%d,chardev=vhost%d,queues=%d' % (n, n, self.queues),
                '-device', ','.join(properties)]


class Job:
    """A command that runs in the guest while others do."""

    def __init__(self, guest, number):
        self.guest, self.file = guest, '/tmp/job.%d' % number

    def running(self):
        return self.guest.run('[ -e %s.rc ]' % self.file)[0] != 0

    def wait(self, timeout=60.0):
        """Wait for its end; (status, output)."""
        status, output = self.guest.run(
            'while [ ! -s %s.rc ]; do sleep 0.1; done; cat %s.rc %s' % ((self.file,) * 3), timeout)
        if status:
            raise Error('%s: job not done within %g s:\n%s' %
                        (self.guest.name, timeout, self.output()))
        first, _, rest = output.partition('\n')
        return int(first), rest

    def output(self):
        return self.guest.run('cat ' + self.file)[1]

    def interrupt(self):
        """SIGINT to its processes: ping prints its figures."""
        self.guest.run('kill -INT -$(cat %s.pid)' % self.file)


class Guest:
    """One QEMU process.

    start() returns when QEMU runs, ready() when the guest takes commands: several boot at a time.
    incoming: a socket's path; the guest is not booted but arrives there from another.
    initrd: 'initrd-tunnels' has ip, tc and all tunnels of the kernel.
    """

    serial = itertools.count(1)

    def __init__(self, name, nics=(), directory=None, memory_mb=256, cpus=1, incoming=None,
                 accel=None, initrd='initrd'):
        self.name, self.nics = name, list(nics)
        self.own_dir = directory is None
        self.dir = pathlib.Path(directory or tempfile.mkdtemp(prefix='xvio-guest-', dir='/tmp'))
        self.memory_mb, self.cpus, self.incoming = memory_mb, cpus, incoming
        self.accel, self.initrd = accel, initrd
        self.process = self.console = self.monitor = self.replies = None
        self.buffer = b''
        self.numbers = itertools.count(1)
        self.seconds = 0.0             # that the last boot took
        for nic in self.nics:
            if nic.mac is None:
                nic.mac = '52:54:00:%02x:00:%02x' % (os.getpid() & 0xff, next(Guest.serial) & 0xff)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
        if self.own_dir and exc[0] is None:
            shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, what):
        return str(self.dir / ('%s.%s' % (self.name, what)))

    # life

    def start(self):
        """Start QEMU. It waits for the back end of its NICs before it does anything else."""
        accel = self.accel or accelerator()
        kvm = accel == 'kvm'
        for what in 'cmd', 'qmp':
            if os.path.exists(self.path(what)):
                os.unlink(self.path(what))
        command = [
            'qemu-system-x86_64', '-name', self.name, '-no-user-config', '-nodefaults',
            '-display', 'none', '-machine', 'pc,memory-backend=mem,usb=off', '-accel', accel,
            '-cpu', 'host' if kvm else 'qemu64', '-smp', str(self.cpus),
            '-m', '%dM' % self.memory_mb,
            '-object', 'memory-backend-memfd,id=mem,size=%dM,share=on' % self.memory_mb,
            '-kernel', str(IMAGE / 'vmlinuz'), '-initrd', str(IMAGE / self.initrd),
            # Without ACPI: interpreted under emulation, it runs into its own time limits when the
            # machine is busy, and leaves PCI without interrupts.
            '-append', 'console=ttyS0 quiet panic=1 mitigations=off acpi=off',
            '-chardev', 'file,id=console,path=%s,append=on' % self.path('console'),
            '-serial', 'chardev:console',
            '-chardev', 'socket,id=cmd,path=%s,server=on,wait=off' % self.path('cmd'),
            '-serial', 'chardev:cmd',
            '-qmp', 'unix:%s,server=on,wait=off' % self.path('qmp')]
        for index, nic in enumerate(self.nics):
            command += nic.arguments(index, kvm)
        if self.incoming:
            command += ['-incoming', 'unix:' + self.incoming, '-S']
        self.started = time.monotonic()
        with open(self.path('qemu'), 'a') as log:
            # A session of its own: Ctrl-C is for the test, which then stops its guests.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True,
                                            preexec_fn=die_with_parent)
        try:
            self.console = self.connect('cmd')
            if self.incoming:
                # QEMU listens there before it answers here.
                self.qmp('query-status')
        except BaseException:
            self.kill()
            raise
        self.buffer = b''
        return self

    def connect(self, what):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

        def connected():
            if self.process.poll() is not None:
                raise Error('%s: QEMU ended with status %d:\n%s' %
                            (self.name, self.process.returncode, self.tail()))
            try:
                sock.connect(self.path(what))
                return True
            except (FileNotFoundError, ConnectionRefusedError):
                return False
        try:
            wait(connected, 20.0, 'socket of ' + self.name)
        except BaseException:
            sock.close()
            raise
        return sock

    def ready(self, timeout=BOOT_TIMEOUT_S):
        """Wait until it has booted."""
        self.read_until(re.compile(rb'<<ready>>\n'), time.monotonic() + timeout, 'boot')
        self.seconds = time.monotonic() - self.started
        return self

    def boot(self):
        return self.start().ready()

    def reboot(self, hard=False):
        """hard: as by the reset button. Return at once; ready() tells when it is back."""
        self.started = time.monotonic()
        if hard:
            self.qmp('system_reset')
        else:
            self.send('0 10 reboot -f')
        return self

    def stop(self):
        """Power off, if need be by force."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        """As a crash would: SIGKILL."""
        for sock in self.console, self.monitor:
            if sock:
                sock.close()
        self.console = self.monitor = None
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def tail(self, lines=25):
        """The end of what QEMU and the guest's kernel said."""
        text = []
        for what in 'qemu', 'console':
            try:
                with open(self.path(what), errors='replace') as f:
                    text += ['%s %s| %s' % (self.name, what, line.rstrip())
                             for line in f.readlines()[-lines:]]
            except FileNotFoundError:
                pass
        return '\n'.join(text)

    # commands

    def send(self, line):
        self.console.sendall(line.encode() + b'\n')

    def read_until(self, pattern, deadline, what):
        """Read the console up to a match of pattern; return (what came before, the match)."""
        while True:
            match = pattern.search(self.buffer)
            if match:
                before, self.buffer = self.buffer[:match.start()], self.buffer[match.end():]
                return before, match
            left = deadline - time.monotonic()
            if left <= 0:
                raise Error('%s: %s: no answer in time; it said %r\n%s' %
                            (self.name, what, self.buffer[-500:], self.tail()))
            self.console.settimeout(left)
            try:
                data = self.console.recv(65536)
            except socket.timeout:
                continue
            if not data:
                raise Error('%s: %s: QEMU has gone\n%s' % (self.name, what, self.tail()))
            self.buffer += data

    def run(self, command, timeout=20.0):
        """Run a shell command in the guest; (status, output). It is killed after the timeout."""
        if '\n' in command:
            raise ValueError('one line only')
        number = next(self.numbers)
        # The guest ends the command in time; the host's own limit is for a guest that is stuck.
        self.send('%d %d %s' % (number, max(1, round(timeout)), command))
        output, match = self.read_until(re.compile(rb'\n<<%d (\d+)>>\n' % number),
                                        time.monotonic() + timeout + 15.0, command)
        return int(match[1]), output.decode(errors='replace')

    def check(self, command, timeout=20.0):
        """run() that must succeed; its output."""
        status, output = self.run(command, timeout)
        if status:
            raise Error('%s: "%s" ended with status %d:\n%s' %
                        (self.name, command, status, output))
        return output

    def spawn(self, command):
        """Start a command that goes on while others run."""
        number = next(self.numbers)
        job = '/tmp/job.%d' % number
        script = 'echo $$ >%s.pid; (%s) >%s 2>&1; echo $? >%s.rc' % (job, command, job, job)
        # With a process group of its own, so that interrupt() reaches all of it; the shell that
        # writes the status survives that.
        self.check("setsid sh -c 'trap : INT; %s' >/dev/null 2>&1 & true" %
                   script.replace("'", "'\\''"))
        return Job(self, number)

    # the monitor

    def qmp(self, command, **arguments):
        if self.monitor is None:
            self.monitor = self.connect('qmp')
            self.monitor.settimeout(BOOT_TIMEOUT_S)
            self.replies = self.monitor.makefile('rb')
            self.replies.readline()    # its greeting
            self.qmp('qmp_capabilities')
        request = {'execute': command}
        if arguments:
            request['arguments'] = {key.replace('_', '-'): value
                                    for key, value in arguments.items()}
        self.monitor.sendall(json.dumps(request).encode() + b'\n')
        while True:
            line = self.replies.readline()
            if not line:
                raise Error('%s: the monitor is gone: %s\n%s' % (self.name, command, self.tail()))
            reply = json.loads(line)
            if 'error' in reply:
                raise Error('%s: %s: %s' % (self.name, command, reply['error']['desc']))
            if 'return' in reply:
                return reply['return']

    def memory(self):
        """Its memory, mapped."""
        directory = pathlib.Path('/proc/%d/fd' % self.process.pid)
        for link in directory.iterdir():
            if 'memfd:memory-backend' in os.readlink(link):
                with open(link, 'rb') as f:
                    return mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        raise Error('%s: QEMU has no memory' % self.name)

    def migrate(self, target, timeout=60.0):
        """Move this guest, live, into target's QEMU, which was started with incoming.

        Before it goes on there, its memory is compared with what it was here, page by page: what
        QEMU or a device wrote and did not send fails here and now, and not as a mystery later.
        QEMU's emulated processor (7.2) does lose stores now and then, whatever the back end is: it
        decides outside the lock that a page needs no tracking, while tracking starts anew. Then
        the guest goes on here, target is stopped, and TornMemory is raised: try again.

        Else this object goes with the guest, and so do its jobs: target's QEMU is its own then, and
        target is nothing any more. Returns QEMU's figures: downtime and total-time in ms, ram.
        """
        self.qmp('migrate-set-parameters', max_bandwidth=1 << 30, downtime_limit=200)
        self.qmp('migrate', uri='unix:' + target.incoming)

        def ended():
            info = self.qmp('query-migrate')
            if info.get('status') in ('failed', 'cancelled'):
                raise Error('%s: migration %s: %s\n%s\n%s' %
                            (self.name, info['status'], info.get('error-desc'), self.tail(),
                             target.tail()))
            return info.get('status') == 'completed' and info
        info = wait(ended, timeout, 'migration of ' + self.name, 0.05)
        wait(lambda: target.qmp('query-status')['status'] != 'inmigrate', 10.0,
             'arrival of ' + target.name)
        with self.memory() as here, target.memory() as there:
            page = mmap.PAGESIZE
            torn = [at for at in range(0, len(here), page)
                    if here[at:at + page] != there[at:at + page]]
        if torn:
            target.stop()
            self.qmp('cont')
            raise TornMemory('%s: pages lost by the migration: %s' %
                             (self.name, ' '.join(map(hex, torn[:20]))), torn)
        target.qmp('cont')
        self.stop()
        for what in 'name', 'dir', 'nics', 'process', 'console', 'monitor', 'replies', 'buffer':
            setattr(self, what, getattr(target, what))
        target.process = target.console = target.monitor = None
        status, output = self.run('echo here', 20.0)
        if status or output != 'here\n':
            raise Error('%s: deaf after its migration: %r' % (self.name, output))
        return info

    # what tests ask of a network

    def address(self, address, device='eth0', mtu=None):
        """Give a NIC its address, "10.0.0.1/24"."""
        if mtu:
            self.check('ip link set %s mtu %d' % (device, mtu))
        self.check('ip link set %s up; ip addr flush dev %s; ip addr add %s dev %s' %
                   (device, device, address, device))
        return self

    def ping(self, address, count=3, size=56, wait_s=10):
        """True if an answer to every request came."""
        status, output = self.run('ping -c %d -i 0.2 -s %d -w %d %s' %
                                  (count, size, wait_s, address), wait_s + 5)
        return status == 0 and ' 0% packet loss' in output

    def misses(self, address, size=56):
        """True if no request was answered, a second and more after each; answers take milliseconds."""
        # busybox looks at -w when it sends, at -W after the last.
        return '100% packet loss' in self.run('ping -c 3 -i 0.2 -s %d -W 1 %s' % (size, address))[1]

    def reaches(self, address, timeout=20.0):
        """Wait until an address answers."""
        status, output = self.run('until ping -c 1 -W 1 %s; do :; done >/dev/null' % address,
                                  timeout)
        if status:
            raise Error('%s: no answer from %s within %g s\n%s' %
                        (self.name, address, timeout, self.run('ifconfig; ip neigh')[1]))
        return self


class Ping:
    """Pings that go on until stop(), to see what a disturbance cost."""

    def __init__(self, guest, address, interval=0.1):
        self.interval = interval
        self.job = guest.spawn('exec ping -i %g %s' % (interval, address))

    def stop(self):
        """(sent, received, longest gap in s, figures as ping prints them); the one under way at the end does not count."""
        self.job.interrupt()
        output = self.job.wait()[1]
        match = re.search(r'(\d+) packets transmitted, (\d+) packets received', output)
        if not match:
            raise Error('ping gave no figures:\n' + output)
        answers = sorted(int(n) for n in re.findall(r'seq=(\d+) ', output))
        gap = max((b - a for a, b in zip(answers, answers[1:])), default=0) * self.interval
        sent, received = int(match[1]), int(match[2])
        # The last one may still have been under way.
        if sent == received + 1 and answers == list(range(received)):
            sent -= 1
        return sent, received, gap, output.strip().splitlines()[-2:]


class Copy:
    """A copy of random data over TCP from one guest to another, with a checksum at both ends.

    mb: the size of the data, MB unless told. endless: send it again and again until finish(), so that it is certain
    that the copy runs at full speed while something else is done.
    """

    MB = 50
    ports = itertools.count(5000)
    EMPTY = 'd41d8cd98f00b204e9800998ecf8427e'

    def __init__(self, sender, receiver, address, mb=None, endless=False):
        mb = mb or Copy.MB
        self.sender, self.receiver, self.mb = sender, receiver, mb
        port = next(Copy.ports)
        self.stopper = '/tmp/stop.%d' % port
        # New data each time: what a guest still has from the last copy must not pass for it.
        self.checksum = sender.check('dd if=/dev/urandom of=/tmp/data.%d bs=1M count=%d '
                                     '2>/dev/null; md5sum </tmp/data.%d' %
                                     (port, mb, port), 60).split()[0]
        # One checksum for each time that the data came. nc ends when either direction does, so it
        # gets an input that never ends.
        self.sink = receiver.spawn(
            'mkfifo /tmp/open.%d; nc -l -p %d <>/tmp/open.%d | while :; do '
            'sum=$(dd bs=64k count=%d iflag=fullblock 2>/dev/null | md5sum); '
            'echo $sum; [ "${sum%%%% *}" = %s ] && break; done' %
            (port, port, port, mb << 4, Copy.EMPTY))
        receiver.check('until netstat -tln | grep -q ":%d "; do sleep 0.1; done' % port)
        more = '[ -e %s ]' % self.stopper if endless else 'true'
        self.source = sender.spawn(
            'while :; do cat /tmp/data.%d || break; echo sent >&2; %s && break; done | nc %s %d; '
            'rm /tmp/data.%d' % (port, more, address, port, port))
        self.started = time.monotonic()

    def running(self):
        return self.source.running()

    def finish(self, timeout=120.0):
        """End the copy; (bytes, checksum, seconds). What came must be what was sent."""
        self.sender.check('touch ' + self.stopper)
        what = 'copy from %s to %s' % (self.sender.name, self.receiver.name)
        sent = self.source.wait(timeout)
        if sent[0] or set(sent[1].split()) != {'sent'}:
            raise Error('%s broke: sender %s' % (what, sent))  # who does not connect leaves the other one waiting
        received = self.sink.wait(timeout)
        seconds = time.monotonic() - self.started
        sums = [line.split()[0] for line in received[1].splitlines()]
        if received[0] or sums[-1:] != [Copy.EMPTY]:
            raise Error('%s broke: sender %s, receiver %s' % (what, sent, received))
        sums.pop()
        if sums != [self.checksum] * len(sent[1].split()):
            raise Error('%s: corrupted or short: %d x %s sent, %s received' %
                        (what, len(sent[1].split()), self.checksum, sums))
        return len(sums) * self.mb << 20, self.checksum, seconds


def accelerator():
    """'kvm' where a guest really boots with it, else 'tcg'. Tried once per boot of the machine."""
    with open('/proc/sys/kernel/random/boot_id') as f:
        machine = f.read().strip()
    cache = IMAGE / 'accel'
    try:
        known, answer = cache.read_text().split()
        if known == machine:
            return answer
    except (FileNotFoundError, ValueError):
        pass
    answer = 'tcg'
    if os.access('/dev/kvm', os.R_OK | os.W_OK):
        with tempfile.TemporaryDirectory(prefix='xvio-kvm-', dir='/tmp') as directory:
            probe = Guest('probe', directory=directory, accel='kvm')
            try:
                probe.start().ready(8.0)
                answer = 'kvm'
            except (Error, OSError):   # also a QEMU that dies while we speak to it
                pass
            finally:
                probe.kill()
    # By rename: another test may be reading it.
    new = IMAGE / ('accel.%d' % os.getpid())
    new.write_text('%s %s\n' % (machine, answer))
    new.rename(cache)
    return answer
