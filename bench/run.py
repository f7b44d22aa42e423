#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same load through XVIO, OVS-DPDK and testpmd, taking turns.

A round is every case through every system once: a machine that changes meanwhile changes for all of them, and only
what stands in one round is compared (ratios, and what a case costs beyond the wire, are medians of the rounds' own).

Environment: CASES="wire-split l2" runs only those, SYSTEMS likewise, QUICK=1 is one short round.
Writes BUILD/bench/results.json (a list of rows) and BUILD/bench/report.svg, prints a table.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import report
from systems import LOAD_CPU, SYSTEMS, VNI, Failed, die_with_parent, installed, seconds_waited

NR_HUGEPAGES = "/proc/sys/vm/nr_hugepages"
CHURN_LOAD = 0.8  # of saturation
CONNECT_SECONDS = 1  # no system forgets a connection within a round; tables are to hold all of them
WARMUP_SECONDS = 0.4
OPENED_A_SECOND = 125000  # connections, before they are measured as established; each system opened more when alone
WAITED_MOST = 0.05  # of the time; rounds in which something else had a CPU are taken again ...
RETRIES = 3  # ... so often
HUGEPAGES_MB = 2560  # OVS 1 GB, the load with 64 ports 0.7 GB, and room


@dataclass(frozen=True)
class Case:
    name: str
    ring: str = "split"
    ring_size: int = 1024
    topology: str = "wire"  # or l2: one MAC-learning network; vxlan: port 1 is the uplink
    ports: int = 2
    frame_bytes: int = 64
    flows: int = 0  # 0: one per port, and frames go round as they are
    rules: int = 0  # of the policy that both ports' traffic passes; the last one allows it
    sender: int = None  # only this port sends
    churn: int = 0  # flows that the control plane adds and deletes a second meanwhile
    stateful: bool = False  # rules are of connections; what one port sends, the other has answered
    connect: bool = False  # each frame opens a connection, and is answered
    flood: bool = False  # ports 2 and 3 talk TCP, in turns in peace and while port 0 floods with SYNs
    rate: int = 0  # of those two: segments a second
    tso: int = 0  # frames are TCP, to be segmented to so many bytes
    buffer: int = 0  # bytes of a guest's buffer; 0: a frame fits
    window: int = 0  # frames under way in each direction; 0: as many as the rings are good for


# The leanest driver that each ring has, so that the load outruns what it measures.
DRIVER = {"split": "in-order=1", "packed": "packed=1,in-order=1,vectorized=1"}


def all_cases(quick):
    density = (2, 64) if quick else (2, 8, 32, 64)
    qemu_rings = 256  # what QEMU gives a guest that is not told otherwise
    return [Case("wire-split"), Case("wire-packed", ring="packed"), Case("l2", topology="l2"),
            Case("flow-1", topology="l2", flows=1, rules=1000),
            Case("flow-10k", topology="l2", flows=10000, rules=1000),
            Case("flow-1m", topology="l2", flows=1000000, rules=1000),
            Case("vxlan", topology="vxlan", flows=10000, rules=1000, sender=0),
            Case("vxlan-rx", topology="vxlan", flows=10000, rules=1000, sender=1),
            Case("ct", topology="l2", flows=10000, rules=1000, stateful=True),
            Case("ct-1m", topology="l2", flows=1000000, rules=1000, stateful=True),
            Case("ct-vxlan", topology="vxlan", flows=10000, rules=1000, sender=0, stateful=True),
            Case("ct-vxlan-rx", topology="vxlan", flows=10000, rules=1000, sender=1, stateful=True),
            Case("cps", topology="l2", rules=1000, stateful=True, connect=True),
            Case("flood", topology="l2", ports=4, frame_bytes=1514, stateful=True, flood=True),
            Case("flood-half", topology="l2", ports=4, frame_bytes=1514, stateful=True, flood=True, rate=500000),
            Case("1500", frame_bytes=1500), Case("9000", frame_bytes=9000),
            # Linux's receive buffers are a page; 16 of them take a frame, 1024 of them 64.
            Case("tso", frame_bytes=65000, tso=1448, buffer=4096, window=48),
            Case("churn", topology="l2", flows=10000, rules=1000, churn=100000),
            Case("idle", ports=32)] + \
           [Case("density", ports=n, ring_size=qemu_rings) for n in density] + \
           [Case("density-deep", ports=n) for n in density]


class Hugepages:
    """Sees to it that there are enough for the run, and puts the number back afterwards."""

    def __enter__(self):
        with open(NR_HUGEPAGES) as f:
            self.before = int(f.read())
        size_kb, free = self.meminfo("Hugepagesize"), self.meminfo("HugePages_Free")
        need = HUGEPAGES_MB * 1024 // size_kb
        if free < need:
            self.write(self.before + need - free)
        self.enough = self.meminfo("HugePages_Free") >= need
        return self.enough

    def __exit__(self, *exc):
        self.write(self.before)

    @staticmethod
    def meminfo(key):
        with open("/proc/meminfo") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(key + ":"))

    @staticmethod
    def write(n):
        try:
            with open(NR_HUGEPAGES, "w") as f:
                f.write(str(n))
        except OSError as e:
            print(f"hugepages: {e.strerror}; running without", file=sys.stderr)


class Bench:
    def __init__(self, build, quick, hugepages):
        self.build = build
        self.quick = quick
        self.hugepages = hugepages
        self.rounds = 1 if quick else 5
        self.seconds = 0.5 if quick else 3
        self.load = f"{build}/bench/xvio-load"
        self.tsc_hz = None  # as the load program reads it

    def load_start(self, system, case, *argv):
        command = [self.load, "--cpus", str(LOAD_CPU), "--size", str(case.frame_bytes)]
        if self.hugepages:
            command.append("--hugepages")
        for i in range(case.ports):
            vxlan = f",vxlan={VNI}" if case.topology == "vxlan" and i == 1 else ""
            merged = ",mrg=1" if case.buffer else ""
            command += ["--port", f"socket={system.socket(i)},{DRIVER[case.ring]},"
                        f"queue-size={case.ring_size}{vxlan}{merged}"]
        for option in ("tso", "buffer", "window"):
            if getattr(case, option):
                command += [f"--{option}", str(getattr(case, option))]
        if case.sender is not None:
            command += ["--from", str(case.sender)]
        if case.flows:
            command += ["--flows", str(case.flows)]
        if case.stateful and not case.connect and not case.flood:
            command.append("--replies")
        p = subprocess.Popen(command + list(argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, preexec_fn=die_with_parent)
        said = []
        for line in p.stderr:
            said.append(line)
            if "xvio-load: ready" in line:
                return p
        p.wait()
        raise Failed("load: " + "".join(said).strip())

    def load_finish(self, p, seconds):
        try:
            out, err = p.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            raise Failed("load: does not end") from None
        if not out.strip():
            raise Failed("load: " + err.strip())
        result = json.loads(out)
        self.tsc_hz = result["tsc_hz"]
        return result

    def measure_speed(self, system, case, *argv):
        seconds = min(self.seconds, CONNECT_SECONDS) if case.connect else self.seconds
        warmup = WARMUP_SECONDS + (case.flows / OPENED_A_SECOND if case.stateful else 0)
        load = self.load_start(system, case, "--mode", "connect" if case.connect else "speed",
                               "--warmup", str(warmup), "--seconds", str(seconds + 0.2), *argv)
        try:
            pids = [p.pid for p in system.processes]
            before = seconds_waited([load.pid]), seconds_waited(pids)
            system.mark()
            time.sleep(seconds)
            figures = system.read()
            after = seconds_waited([load.pid]), seconds_waited(pids)
        finally:
            result = self.load_finish(load, 20)
        if figures["packets"] == 0 or result["received"] == 0:
            raise Failed("nothing was forwarded")
        return {"cycles_per_packet": figures["cycles"] / figures["packets"],
                "busy": figures["busy"], "burst": figures["burst"], "mpps": result["mpps"],
                "loss": result["lost"], "reordered": result["reordered"],
                "corrupt": result["corrupt"],
                "waited": max(b - a for a, b in zip(before, after)) / seconds,
                "load_cycles_per_packet": result["cycles_per_frame"]}

    def measure_idle(self, system, case):
        settle = 2 if self.quick else 6
        load = self.load_start(system, case, "--mode", "ping", "--settle", str(settle), "--frames",
                               "32" if self.quick else "128", "--interval", "20")
        try:
            time.sleep(0.5)  # what attaching has started is over
            cpu, t = system.cpu_seconds(), time.monotonic()
            time.sleep(settle - 1)
            percent = (system.cpu_seconds() - cpu) / (time.monotonic() - t) * 100
        finally:
            result = self.load_finish(load, 60)
        return {"cpu_percent": percent, "first_packet_us": result["ping_us"],
                "loss": result["lost"], "reordered": result["reordered"],
                "corrupt": result["corrupt"]}

    def measure_flood(self, system, case):
        """Throughput of the victims under the flood as a share of what it is in peace: the median of many short turns."""
        seconds = 2 * self.seconds
        load = self.load_start(system, case, "--mode", "flood", "--seconds", str(seconds), *(["--rate", str(case.rate)] * bool(case.rate)))
        pids = [p.pid for p in system.processes]
        before = seconds_waited(pids)
        result = self.load_finish(load, seconds + 60)
        waited = (seconds_waited(pids) - before) / seconds
        rounds = result["rounds"]
        return {"share": statistics.median(r["flood"] / r["peace"] for r in rounds),
                "peace_gbps": statistics.median(r["peace"] for r in rounds) * 8e-9,
                "syns_per_s": statistics.median(r["syns"] for r in rounds), "turns": len(rounds),
                "opened": result["opened"], "not_opened": result["not_opened"], "open_worst_ms": result["open_worst_ms"],
                "resent": result["resent"], "loss": 0, "reordered": 0, "corrupt": result["corrupt"],
                "waited": waited}

    def measure_churn(self, system, case):
        """Saturation first; then the load takes CHURN_LOAD of that, with flows coming and going."""
        rate = CHURN_LOAD * self.measure_speed(system, case)["mpps"] * 1e6
        quiet = self.measure_speed(system, case, "--rate", str(rate / case.ports))
        system.churn_start()
        churned = self.measure_speed(system, case, "--rate", str(rate / case.ports))
        return dict(churned, loss=quiet["loss"] + churned["loss"], offered_mpps=rate / 1e6,
                    quiet_cycles=quiet["cycles_per_packet"], churn=system.churn_rate())

    def machine(self, *what):
        """What the machine takes for itself, now: see machine.c."""
        out = subprocess.check_output([f"{self.build}/bench/bench-machine", *what], text=True)
        return [float(word) for word in out.split()]

    def undisturbed(self, name, case):
        for _ in range(RETRIES):
            s = self.once(name, case)
            s["cpu_distance"], = self.machine("distance")
            if case.name == "idle":
                s["machine_wake_us"] = self.machine("wake")
            elif case.name.startswith("density"):
                s["machine_lines"], = self.machine("lines", str(case.ports), str(case.ring_size))
            # the control plane of `churn` disturbs on purpose
            if s.get("waited", 0) <= WAITED_MOST or case.churn:
                break
            print(f"  {case.name} {name}: {s['waited'] * 100:.0f} % of the time something else had "
                  "the CPU; again", flush=True)
        return s

    def once(self, name, case):
        """One system, one case, one round; a fresh process each time."""
        directory = tempfile.mkdtemp(prefix="xvio-bench.")
        system = SYSTEMS[name](self.build, directory, self.hugepages)
        try:
            system.start(case)
            if case.name == "idle":
                return self.measure_idle(system, case)
            if case.flood:
                return self.measure_flood(system, case)
            if case.churn:
                return self.measure_churn(system, case)
            return self.measure_speed(system, case)
        except Failed as e:
            raise Failed(f"{e}\n{system.log_tail()}") from e
        finally:
            system.stop()
            shutil.rmtree(directory)

    def run(self, cases, names):
        samples, rows = {}, []  # samples[name, case][round]
        why = {(n, c): installed(n) or SYSTEMS[n](self.build, None, False).unsupported(c)
               for n in names for c in cases}
        for i in range(self.rounds):
            for case in cases if i == 0 else [c for c in cases if c.name != "idle"]:
                for name in names:
                    if why[name, case]:
                        continue
                    try:
                        s = self.undisturbed(name, case)
                    except Failed as e:
                        print(f"{case.name} {name}: {e}", file=sys.stderr)
                        why[name, case] = ("error", str(e).splitlines()[0])
                        continue
                    samples.setdefault((name, case), []).append(s)
                    print(f"  round {i + 1} {case.name}{f' {case.ports} ports' if case.ports > 2 else ''} {name}: " +
                          (f"share {s['share']:.2f} of {s['peace_gbps']:.1f} Gbit/s" if case.flood else
                           f"{s['cycles_per_packet']:.1f} cycles/packet, {s['mpps']:.2f} Mpps, "
                           f"busy {s['busy']:.2f}, CPUs {s['cpu_distance']:.0f} cycles apart"
                           if case.name != "idle" else f"{s['cpu_percent']:.2f} % CPU"), flush=True)
        wire = next((samples.get(("xvio", c)) for c in cases if c.name == "wire-split"), None)
        for case in cases:
            base = samples.get(("xvio", case))
            for name in names:
                rows.append(self.row(case, name, samples.get((name, case)), base, wire, why[name, case]))
        return rows

    def row(self, case, name, samples, base, wire, why):
        row = {"case": case.name, "system": name, "ring": case.ring, "ports": case.ports,
               "ring_size": case.ring_size, "frame_bytes": case.frame_bytes,
               "flows": max(case.flows, case.ports), "rules": case.rules, "hugepages": self.hugepages, "rounds": len(samples or [])}
        if isinstance(why, tuple):
            return dict(row, error=why[1])
        if why:
            return dict(row, unsupported=why)
        for key in ("loss", "reordered", "corrupt"):
            row[key] = sum(s[key] for s in samples)
        if case.name == "idle":
            return dict(row, cpu_percent=samples[0]["cpu_percent"],
                        first_packet_us=samples[0]["first_packet_us"],
                        machine_wake_us=dict(zip(("p50", "p99"), samples[0]["machine_wake_us"])))

        def median(ss, key):
            return statistics.median(s[key] for s in ss)

        if case.flood:
            return dict(row, **{key: median(samples, key) for key in ("share", "peace_gbps", "syns_per_s", "turns")},
                        **{key: sum(s[key] for s in samples) for key in ("opened", "not_opened", "resent")},
                        open_worst_ms=max(s["open_worst_ms"] for s in samples))

        cycles = [s["cycles_per_packet"] for s in samples]
        row["cycles_per_packet"] = {"min": min(cycles), "median": statistics.median(cycles),
                                    "max": max(cycles)}
        mpps = [s["mpps"] for s in samples]
        row["mpps"] = statistics.median(mpps)
        row["mpps_min"], row["mpps_max"] = min(mpps), max(mpps)
        row["gbps"] = row["mpps"] * case.frame_bytes * 8 / 1e3
        row["busy"] = median(samples, "busy")
        row["waited"] = max(s["waited"] for s in samples)
        bursts = [s["burst"] for s in samples if s["burst"] is not None]
        row["burst"] = statistics.median(bursts) if bursts else None
        row["load_cycles_per_packet"] = median(samples, "load_cycles_per_packet")
        # TSC cycles per packet of the whole core, worked or not: at saturation this is the cost
        row["wall_cycles_per_packet"] = self.tsc_hz / (row["mpps"] * 1e6)
        for key in ("offered_mpps", "quiet_cycles", "churn"):
            if key in samples[0]:
                row[key] = median(samples, key)
        if case.connect:
            row["cycles_per_connection"] = {k: 2 * v for k, v in row["cycles_per_packet"].items()}
            row["connections_per_s"] = row["mpps"] * 1e6
        row["cpu_distance_cycles"] = median(samples, "cpu_distance")
        if "machine_lines" in samples[0]:
            row["machine_lines_cycles"] = median(samples, "machine_lines")

        def of_rounds(compare, others):
            return statistics.median(compare(s["cycles_per_packet"], o["cycles_per_packet"])
                                     for s, o in zip(samples, others)) if others else None

        row["ratio_to_xvio"] = of_rounds(lambda own, xvio: own / xvio, base)
        if name == "xvio" and case.topology != "wire":
            row["over_wire"] = of_rounds(lambda own, wire: own - wire, wire)
        return row


def machine_describe(hz, hugepages):
    with open("/proc/cpuinfo") as f:
        model = next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    return {"tsc_hz": hz,
            "description": f"{model}, {os.cpu_count()} CPUs, TSC {hz / 1e9:.2f} GHz, "
                           f"{'2 MB pages' if hugepages else 'no hugepages'}, "
                           f"Linux {os.uname().release}, {time.strftime('%Y-%m-%d %H:%M')}"}


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("XVIO_BUILD", f"{here}/../build"))
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    quick = os.environ.get("QUICK", "") not in ("", "0")
    cases = all_cases(quick)
    wanted = os.environ.get("CASES", "").split() or [c.name for c in cases]
    names = os.environ.get("SYSTEMS", "").split() or list(SYSTEMS)
    for what, given, known in (("case", wanted, {c.name for c in cases}),
                               ("system", names, SYSTEMS)):
        for name in given:
            if name not in known:
                sys.exit(f"bench: no {what} {name}; there are: {' '.join(sorted(known))}")
    if os.cpu_count() < 2:
        sys.exit("bench: needs two CPUs, one for the worker and one for the load")
    signal.signal(signal.SIGTERM, interrupted)  # so that everything is put back

    with Hugepages() as hugepages:
        bench = Bench(build, quick, hugepages)
        rows = bench.run([c for c in cases if c.name in wanted], names)
        if bench.tsc_hz is None:
            sys.exit("bench: nothing could be measured")
        machine = machine_describe(bench.tsc_hz, hugepages)
    os.makedirs(f"{build}/bench", exist_ok=True)
    with open(f"{build}/bench/results.json", "w") as f:
        json.dump(rows, f, indent=1)
        f.write("\n")
    with open(f"{build}/bench/report.svg", "w") as f:
        f.write(report.svg(rows, machine))
    print(report.table(rows, machine))
    print(f"written: {build}/bench/results.json, {build}/bench/report.svg")
    bad = [r for r in rows if "error" in r or r.get("reordered") or r.get("corrupt")]
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
