# SPDX-License-Identifier: Apache-2.0
"""The systems under test: each starts with vhost-user ports as a case wants them, with one packet
thread on CPU 0, and tells the cycles that thread spent and the packets it moved.

A system owns the processes it starts and the directory it is given; stop() ends all of them.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import time

WORKER_CPU = 0
LOAD_CPU = 1
MAX_DPDK_PORTS = 32  # RTE_MAX_ETHPORTS of the packaged DPDK
HZ = os.sysconf("SC_CLK_TCK")
VNI = 100
VTEP, REMOTE = "192.0.2.1", "192.0.2.2"  # ours, and the load program's (bench/vxlan.c)


class Failed(Exception):
    """A system or the load program did not do what it was asked; the message says what."""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def deny_rules(case):
    """Destination and UDP port of each rule but the last, which allows UDP. No frame is denied, but
    the last of these name the addresses that frames go to (load.h, FLOW_ADDR): who remembers what
    was decided has to remember address and port, not just that the address is far off."""
    strangers = [f"10.200.{i >> 8}.{i & 255}" for i in range(case.rules - 1 - case.ports)]
    guests = [f"10.{i}.0.1" for i in range(case.ports)]
    return [(address, 1000 + i) for i, address in enumerate(strangers + guests)]


def seconds_waited(pids):
    """How long the busiest thread of these processes was ready to run, and something else ran."""
    busiest = (0, 0)
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                    ran, waited, _ = map(int, f.read().split())
            except OSError:
                continue  # it has ended
            busiest = max(busiest, (ran, waited))
    return busiest[1] / 1e9


def wait_for(what, predicate, process, seconds=20):
    end = time.monotonic() + seconds
    while not predicate():
        if process.poll() is not None:
            raise Failed(f"{what}: {process.args[0]} ended with status {process.returncode}")
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.01)


class System:
    name = None

    def __init__(self, build, directory, hugepages):
        self.build = build
        self.dir = directory
        self.hugepages = hugepages
        self.processes = []

    def unsupported(self, case):
        """Why this system cannot do the case, or None."""
        return None

    def start(self, case):
        raise NotImplementedError

    def socket(self, i):
        return f"{self.dir}/vm{i}.sock"

    def mark(self):
        """The counting starts here."""
        raise NotImplementedError

    def read(self):
        """Since mark(): dict of cycles (busy), packets, burst (average) and busy (0..1)."""
        raise NotImplementedError

    def spawn(self, argv, log, **kwargs):
        with open(f"{self.dir}/{log}", "ab") as out:
            p = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT,
                                 preexec_fn=die_with_parent, **kwargs)
        self.processes.append(p)
        return p

    def stop(self):
        for p in reversed(self.processes):
            if p.poll() is None:
                p.terminate()
        for p in reversed(self.processes):
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.processes = []

    def cpu_seconds(self):
        total = 0
        for p in self.processes:
            with open(f"/proc/{p.pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / HZ

    def log_tail(self):
        text = ""
        for name in sorted(os.listdir(self.dir)):
            if name.endswith(".log"):
                with open(f"{self.dir}/{name}", errors="replace") as f:
                    text += f"--- {name}\n" + "".join(f.readlines()[-15:])
        return text

    def eal_memory(self, mb):
        if self.hugepages:
            return ["--in-memory", "-m", str(mb)]
        return ["--no-huge", "--no-shconf", "-m", str(mb)]


class Testpmd(System):
    """DPDK's own forwarder: no switching at all, the floor of what librte_vhost costs."""

    name = "testpmd"

    def unsupported(self, case):
        if case.rules or case.churn or case.stateful:
            return "testpmd has no flows"
        if case.topology != "wire":
            return "testpmd does not learn addresses"
        if case.ports > MAX_DPDK_PORTS:
            return f"a DPDK process has at most {MAX_DPDK_PORTS} ports (RTE_MAX_ETHPORTS)"
        return None

    def start(self, case):
        # line-buffered, so that its answers come when they are given
        argv = ["stdbuf", "-oL", "dpdk-testpmd", "-l", f"{WORKER_CPU},{LOAD_CPU}",
                "--main-lcore", str(LOAD_CPU),
                "--no-pci", "--no-telemetry", "--log-level=error"] + self.eal_memory(256)
        for i in range(case.ports):
            tso = ",tso=1" if case.tso else ""
            argv += ["--vdev", f"net_vhost{i},iface={self.socket(i)},queues=1{tso}"]
        argv += ["--", "-i", "--forward-mode=io", "--record-core-cycles", "--record-burst-stats",
                 "--total-num-mbufs=32768", "--mbcache=512", "--no-lsc-interrupt",
                 "--disable-link-check"]
        self.testpmd = self.spawn(argv, "testpmd.log", stdin=subprocess.PIPE, text=True)
        self.say("start")
        wait_for("testpmd", lambda: "io packet forwarding - ports" in self.log(), self.testpmd)

    def log(self):
        with open(f"{self.dir}/testpmd.log", errors="replace") as f:
            return f.read()

    def say(self, command):
        self.testpmd.stdin.write(command + "\n")
        self.testpmd.stdin.flush()

    def stats(self):
        before = len(self.log())
        self.say("show fwd stats all")
        self.at = time.monotonic()
        wait_for("testpmd statistics", lambda: "CPU cycles/packet" in self.log()[before:],
                 self.testpmd)
        return self.log()[before:]

    def mark(self):
        self.say("clear fwd stats all")
        self.start_time = time.monotonic()

    def read(self):
        text = self.stats()
        m = re.search(r"total cycles=(\d+) / total io packets=(\d+)\) at (\d+) MHz", text)
        cycles, packets = int(m[1]), int(m[2])
        # "RX-bursts : 12345 [3% of 0 pkts + 96% of 32 pkts + 1% of others]", one line a port
        bursts = 0
        for n, parts in re.findall(r"RX-bursts\s*:\s*(\d+)\s*\[(.*?)\]", text):
            empty = re.search(r"(\d+)% of 0 pkts", parts)
            bursts += int(n) * (1 - int(empty[1] if empty else 0) / 100)
        return {"cycles": cycles, "packets": packets, "burst": packets / bursts if bursts else None,
                "busy": cycles / ((self.at - self.start_time) * int(m[3]) * 1e6)}

    def stop(self):
        if self.processes and self.testpmd.poll() is None:
            try:
                self.say("quit")
                self.testpmd.wait(5)
            except (OSError, subprocess.TimeoutExpired):
                pass
        super().stop()


class OvsDpdk(System):
    """Open vSwitch with its userspace datapath, on a private database."""

    name = "ovs-dpdk"
    binary = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
    bridge = "xviobench0"  # also the name of a tap, in a namespace of our own
    underlay = "xviobench1"

    def unsupported(self, case):
        if case.flood:
            return "its rules here are of UDP"
        if case.tso:
            return "with userspace-tso-enable, too, its vhost ports offered the driver no segmentation (3.1)"
        if case.frame_bytes > 1500:
            return "lost frames of 9000 bytes, and changed others, with mtu_request=9000 (3.1; not looked into)"
        return "flows are added by a program of XVIO's (churn.c)" if case.churn else None

    def ovs(self, *argv):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=self.env)
        if done.returncode != 0:
            raise Failed(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def vsctl(self, *argv):
        return self.ovs("ovs-vsctl", f"--db=unix:{self.dir}/db.sock", "--timeout=20", *argv)

    def start(self, case):
        self.env = dict(os.environ, OVS_RUNDIR=self.dir, OVS_LOGDIR=self.dir, OVS_DBDIR=self.dir)
        self.ovs("ovsdb-tool", "create", f"{self.dir}/conf.db",
                 "/usr/share/openvswitch/vswitch.ovsschema")
        db = self.spawn(["ovsdb-server", f"{self.dir}/conf.db",
                         f"--remote=punix:{self.dir}/db.sock",
                         f"--unixctl={self.dir}/db.ctl"], "ovsdb.log", env=self.env)
        wait_for("ovsdb-server", lambda: os.path.exists(f"{self.dir}/db.sock"), db)
        memory = ["--no-pci", "--no-telemetry"]
        memory += ["--in-memory"] if self.hugepages else ["--no-huge", "--no-shconf"]
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".",
                   "other_config:dpdk-init=true",
                   "other_config:dpdk-alloc-mem=1024",
                   f"other_config:dpdk-extra=\"{' '.join(memory)}\"",
                   f"other_config:pmd-cpu-mask={1 << WORKER_CPU:#x}")
        # The addresses of bridges are those of their taps: in a namespace of its own, which has no
        # IPv6, so that the kernel says nothing by itself.
        vswitchd = self.spawn(["unshare", "--net", "sh", "-c",
                               "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; "
                               'exec "$0" "$@"', self.binary, f"unix:{self.dir}/db.sock",
                               f"--unixctl={self.dir}/ovs.ctl"], "vswitchd.log", env=self.env)
        wait_for("ovs-vswitchd", lambda: os.path.exists(f"{self.dir}/ovs.ctl"), vswitchd)
        # "secure": nothing is forwarded but by the flows below; "standalone": MAC learning
        learn = case.topology == "l2" and not case.rules
        argv = ["add-br", self.bridge, "--", "set", "bridge", self.bridge, "datapath_type=netdev",
                "fail-mode=" + ("standalone" if learn else "secure")]
        bridges = [self.bridge] * case.ports
        if case.topology == "vxlan":
            bridges[1] = self.underlay
            argv += ["--", "add-port", self.bridge, "vxlan0", "--", "set", "interface", "vxlan0",
                     "type=vxlan", f"options:remote_ip={REMOTE}", f"options:key={VNI}",
                     "--", "add-br", self.underlay, "--", "set", "bridge", self.underlay,
                     "datapath_type=netdev", "fail-mode=standalone"]
        for i, bridge in enumerate(bridges):
            argv += ["--", "add-port", bridge, f"vm{i}.sock", "--", "set", "interface",
                     f"vm{i}.sock", "type=dpdkvhostuser", f"ofport_request={i + 1}"]
        self.vsctl(*argv)
        if case.topology == "vxlan":
            for command in (["addr", "add", f"{VTEP}/24", "dev", self.underlay],
                            ["link", "set", self.underlay, "up"]):
                self.ovs("nsenter", "-t", str(vswitchd.pid), "-n", "ip", *command)
            wait_for("route to the other host",
                     lambda: self.underlay in self.appctl("ovs/route/show"), vswitchd)
        if not learn:
            with open(f"{self.dir}/flows", "w") as f:
                f.write("".join(flow + "\n" for flow in self.flows(case)))
            self.ovs("ovs-ofctl", "add-flows", f"unix:{self.dir}/{self.bridge}.mgmt",
                     f"{self.dir}/flows")
        wait_for("vhost sockets", lambda: all(os.path.exists(self.socket(i))
                                              for i in range(case.ports)), vswitchd)

    @staticmethod
    def flows(case):
        if case.topology == "wire":
            return [f"in_port={i + 1},actions=output:{(i ^ 1) + 1}" for i in range(case.ports)]
        # the first that matches decides, as in a policy: falling priorities
        if case.stateful:
            # As XVIO does: each packet of a connection is judged by all rules, by what opened it.
            return ["table=0,priority=1,arp,actions=NORMAL",
                    "table=0,priority=1,ip,actions=ct(table=1)",
                    "table=1,priority=2001,ct_state=+trk+inv,ip,actions=drop"] + \
                   [f"table=1,priority={case.rules - i},{match},actions=drop"
                    for i, (address, port) in enumerate(deny_rules(case))
                    for match in (f"ct_state=+trk+new,udp,nw_dst={address},tp_dst={port}",
                                  f"ct_state=+trk+est,ip,ct_nw_proto=17,ct_nw_dst={address},"
                                  f"ct_tp_dst={port}")] + \
                   ["table=1,priority=1,ct_state=+trk+est,udp,actions=NORMAL",
                    "table=1,priority=1,ct_state=+trk+new,udp,actions=ct(commit),NORMAL"]
        return [f"priority={case.rules - i},udp,nw_dst={address},tp_dst={port},actions=drop"
                for i, (address, port) in enumerate(deny_rules(case))] + \
               ["priority=1,udp,actions=NORMAL"]

    def appctl(self, *argv):
        return self.ovs("ovs-appctl", "-t", f"{self.dir}/ovs.ctl", *argv)

    def mark(self):
        self.appctl("dpif-netdev/pmd-stats-clear")

    def read(self):
        text = self.appctl("dpif-netdev/pmd-stats-show")
        pmd = re.search(rf"pmd thread numa_id \d+ core_id {WORKER_CPU}:(.*?)(?=\n\w|\Z)",
                        text, re.S)

        def value(key):
            return float(re.search(rf"{key}: ([\d.]+)", pmd[1])[1])

        cycles, packets = value("processing cycles"), value("packets received")
        return {"cycles": cycles, "packets": packets,
                "burst": value("avg. packets per output batch"),
                "busy": cycles / max(1, cycles + value("idle cycles"))}


class Xvio(System):
    name = "xvio"

    def program(self, name):
        for root, _, files in os.walk(self.build):
            if name in files and os.access(f"{root}/{name}", os.X_OK):
                return f"{root}/{name}"
        raise Failed(f"no {name} in {self.build}")

    def start(self, case):
        self.api = f"{self.dir}/api.sock"
        self.ctl = self.program("xvioctl")
        lines = ["workers:", "  - name: w0", f"    cpu: {WORKER_CPU}"]
        if case.topology != "wire":
            lines += ["networks:", "  - name: n0"]
        if case.topology == "vxlan":
            lines += ["    vtep: v0", f"    vni: {VNI}", f"    remotes: [{REMOTE}]", "vteps:",
                      "  - name: v0", "    port: vm1", f"    address: {VTEP}/24"]
        if case.stateful:
            lines += ["groups:", "  - name: rules", "    rules:"]
            for direction in ("egress", "ingress"):
                lines += [f"      - {{direction: {direction}, action: deny, protocol: udp, "
                          f"remote: {address}/32, port: {port}}}"
                          for address, port in deny_rules(case)]
                lines += [f"      - {{direction: {direction}, protocol: {'tcp' if case.flood else 'udp'}}}"]
        elif case.rules:
            lines += ["policies:", "  - name: rules", "    default: deny", "    rules:"]
            lines += ["      - {action: deny, protocol: udp, "
                      f"destination: {address}/32, destination_port: {port}}}"
                      for address, port in deny_rules(case)]
            lines += ["      - {action: allow, protocol: udp}"]
        lines += ["ports:"]
        for i in range(case.ports):
            lines += [f"  - name: vm{i}", "    kind: vhost", f"    socket: {self.socket(i)}",
                      "    mode: server"]
            if case.topology == "vxlan" and i == 1:
                break
            if case.topology != "wire":
                lines += ["    network: n0"]
            if case.stateful:
                lines += ["    groups: [rules]", "    anti_spoofing: false"]
                continue
            if case.rules:
                lines += ["    egress_policy: rules"]
            if case.topology == "vxlan":  # what comes from the other host passes the rules here
                lines += ["    ingress_policy: rules"]
        if case.topology == "wire":
            lines += ["wires:"]
            for i in range(0, case.ports, 2):
                lines += [f"  - name: w{i}", f"    ports: [vm{i}, vm{i + 1}]"]
        with open(f"{self.dir}/host.yaml", "w") as f:
            f.write("\n".join(lines) + "\n")
        program = self.program("flow-churn" if case.churn else "xviod")
        daemon = self.spawn([program, "-c", f"{self.dir}/host.yaml", "-s", self.api],
                            "xviod.log", env=dict(os.environ, XVIO_CHURN=str(case.churn)))
        wait_for("xviod", lambda: os.path.exists(self.api) and
                 all(os.path.exists(self.socket(i)) for i in range(case.ports)), daemon)

    def churn_start(self):
        self.processes[0].send_signal(signal.SIGUSR1)

    def churn_rate(self):
        """Flows that were added a second, and as many deleted, since churn_start(). What the program
        says has to be so in the flow table, too."""
        with open(f"{self.dir}/xviod.log", errors="replace") as f:
            told = [json.loads(line) for line in f if line.startswith('{"seconds"')]
        first, last = next(t for t in told if t["deleted"] > 0), told[-1]
        kept = self.show("flow", "stats")["flows"]
        if not last["added"] - last["deleted"] <= kept < last["added"] - last["deleted"] + 1000:
            raise Failed(f"{last}, but {kept} flows")
        return (last["deleted"] - first["deleted"]) / (last["seconds"] - first["seconds"])

    def worker(self):
        return self.show("worker", "show", "w0")

    def show(self, *argv):
        done = subprocess.run([self.ctl, "-s", self.api, "--json", *argv], capture_output=True,
                              text=True, timeout=10)
        if done.returncode != 0:
            raise Failed(done.stderr.strip())
        return json.loads(done.stdout)

    def mark(self):
        self.before = self.worker()

    def read(self):
        after = self.worker()

        def delta(key):
            return after[key] - self.before[key]

        return {"cycles": delta("cycles_busy"), "packets": delta("packets"),
                "burst": delta("packets") / max(1, delta("bursts")),
                "busy": delta("cycles_busy") / max(1, delta("cycles_total"))}


SYSTEMS = {cls.name: cls for cls in (Xvio, OvsDpdk, Testpmd)}


def installed(name):
    """Why the system cannot run here, or None."""
    if name == "testpmd" and shutil.which("dpdk-testpmd") is None:
        return "dpdk-testpmd is not installed (package dpdk-dev)"
    if name == "ovs-dpdk" and not os.path.exists(OvsDpdk.binary):
        return "ovs-vswitchd-dpdk is not installed (package openvswitch-switch-dpdk)"
    return None
