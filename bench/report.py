# SPDX-License-Identifier: Apache-2.0
"""The table that a bench run prints, and its picture."""

from xml.sax.saxutils import escape

COLORS = {"xvio": "#1b7f5c", "testpmd": "#8a8f98", "ovs-dpdk": "#c2702e"}
BOUNDS_MPPS = (24, 20)  # of the technical brief, on two cores


def bound_cycles(mpps, tsc_hz):
    return 2 * tsc_hz / (mpps * 1e6)


def label(row):
    return f"{row['case']}-{row['ports']}" if row["case"].startswith("density") else row["case"]


def table(rows, machine):
    """Text for the terminal."""
    def number(v, fmt):
        return format("-", ">" + fmt.lstrip("+").split(".")[0]) if v is None else format(v, fmt)

    out = [machine["description"],
           f"{'case':12} {'system':9} {'cycles/packet':>20} {'Mpps':>7} {'busy':>5} {'burst':>6} "
           f"{'loss':>6} {'x xvio':>7} {'- wire':>7} {'flows':>8} {'rules':>5}  load, CPUs apart"]
    for r in rows:
        head = f"{label(r):12} {r['system']:9} "
        if "unsupported" in r or "error" in r:
            out.append(head + ("unsupported: " + r["unsupported"] if "unsupported" in r
                               else "error: " + r["error"]))
        elif r["case"] == "idle":
            us = r["first_packet_us"]
            out.append(head + f"CPU {r['cpu_percent']:.2f} % with {r['ports']} idle guests; first "
                       f"packet {us['p50']:.1f} us (p99 {us['p99']:.1f}, max {us['max']:.1f}), loss "
                       f"{r['loss']}; a sleeping thread of this machine wakes after "
                       f"{r['machine_wake_us']['p50']:.1f} us (p99 {r['machine_wake_us']['p99']:.1f})")
        elif "share" in r:
            out.append(head + f"under a flood of {r['syns_per_s'] / 1e3:.0f} thousand SYN/s TCP keeps {r['share'] * 100:.0f} % of "
                       f"{r['peace_gbps']:.2f} Gbit/s, median of {r['turns']:.0f} turns; {r['opened']} of "
                       f"{r['opened'] + r['not_opened']} connections opened, within {r['open_worst_ms']:.1f} ms; {r['resent']} segments resent")
        else:
            c = r["cycles_per_packet"]
            cycles = f"{c['median']:.1f} [{c['min']:.0f}-{c['max']:.0f}]"
            out.append(head + f"{cycles:>20} {r['mpps']:7.2f} {r['busy']:5.2f} "
                       f"{number(r['burst'], '6.1f')} {r['loss']:6d} "
                       f"{number(r['ratio_to_xvio'], '7.2f')} {number(r.get('over_wire'), '+7.1f')} "
                       f"{r['flows']:8d} {r['rules']:5d}  {r['load_cycles_per_packet']:.0f} cycles/frame, "
                       f"{r['cpu_distance_cycles']:.0f}" +
                       (f", {r['gbps']:.1f} Gbit/s" if r["frame_bytes"] >= 1500 else ""))
            if "machine_lines_cycles" in r:
                out.append(f"{'':12} touching the memory of so many rings, and nothing else: "
                           f"{r['machine_lines_cycles']:.1f} cycles")
            if "cycles_per_connection" in r:
                out.append(f"{'':12} {r['connections_per_s'] / 1e6:.3f} million connections a second, of a "
                           f"question and an answer: {r['cycles_per_connection']['median']:.0f} "
                           "cycles each")
            if "churn" in r:
                out.append(f"{'':12} of {r['offered_mpps']:.2f} Mpps offered, while {r['churn']:.0f} "
                           "flows a second were added and as many deleted; without that "
                           f"{r['quiet_cycles']:.1f} cycles/packet")
    for mpps in BOUNDS_MPPS:
        out.append(f"{mpps} Mpps on two cores: {bound_cycles(mpps, machine['tsc_hz']):.0f} cycles "
                   "a packet at most")
    return "\n".join(out)


def svg(rows, machine):
    """Bars of cycles per packet by case and system, with the bounds as lines."""
    bars = [r for r in rows if r.get("cycles_per_packet") and r["frame_bytes"] < 1500]
    cases = list(dict.fromkeys(label(r) for r in bars))
    systems = list(dict.fromkeys(r["system"] for r in bars))
    bounds = {m: bound_cycles(m, machine["tsc_hz"]) for m in BOUNDS_MPPS}
    top = max([r["cycles_per_packet"]["max"] for r in bars] + list(bounds.values())) * 1.08
    bar, gap, left, head, height = 30, 26, 56, 64, 300
    group = bar * len(systems) + gap
    width = max(left + group * len(cases) + 130, 620)

    def y(value):
        return head + height - value / top * height

    def text(x, yy, s, size=11, anchor="middle", fill="#222"):
        return (f'<text x="{x:.1f}" y="{yy:.1f}" font-size="{size}" text-anchor="{anchor}" '
                f'fill="{fill}">{escape(s)}</text>')

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{head + height + 60}" '
           f'font-family="sans-serif">', f'<rect width="100%" height="100%" fill="#fff"/>',
           text(left, 20, "Cycles per packet of one worker, 64-byte frames (median, min to max)",
                14, "start"), text(left, 38, machine["description"], 11, "start", "#666")]
    step = next(s for s in (20, 50, 100, 200, 500, 1000, 5000) if top / s <= 9)
    for v in range(0, int(top), step):
        out.append(f'<line x1="{left}" x2="{width - 120}" y1="{y(v):.1f}" y2="{y(v):.1f}" '
                   'stroke="#e6e6e6"/>' + text(left - 6, y(v) + 4, str(v), 10, "end", "#666"))
    for ci, case in enumerate(cases):
        x0 = left + gap / 2 + ci * group
        for si, system in enumerate(systems):
            r = next((r for r in bars if label(r) == case and r["system"] == system), None)
            if r is None:
                continue
            c, x = r["cycles_per_packet"], x0 + si * bar
            out.append(f'<rect x="{x + 2:.1f}" y="{y(c["median"]):.1f}" width="{bar - 4}" '
                       f'height="{c["median"] / top * height:.1f}" fill="{COLORS[system]}">'
                       f'<title>{escape(case)} {system}: {c["median"]:.1f}, {r["mpps"]:.2f} Mpps, '
                       f'{r["flows"]} flows, {r["rules"]} rules</title></rect>')
            mid = x + bar / 2
            out.append(f'<line x1="{mid}" x2="{mid}" y1="{y(c["min"]):.1f}" y2="{y(c["max"]):.1f}" '
                       'stroke="#222"/>' + text(mid, y(c["max"]) - 4, f'{c["median"]:.0f}', 10))
        out.append(text(x0 + bar * len(systems) / 2, head + height + 16, case))
    for mpps, cycles in bounds.items():
        out.append(f'<line x1="{left}" x2="{width - 120}" y1="{y(cycles):.1f}" '
                   f'y2="{y(cycles):.1f}" stroke="#b00020" stroke-dasharray="5 4"/>' +
                   text(width - 116, y(cycles) + 4, f"{mpps} Mpps: {cycles:.0f}", 11, "start",
                        "#b00020"))
    for si, system in enumerate(systems):
        x = left + si * 110
        out.append(f'<rect x="{x}" y="{head + height + 32}" width="12" height="12" '
                   f'fill="{COLORS[system]}"/>' +
                   text(x + 18, head + height + 42, system, 12, "start"))
    out.append("</svg>")
    return "\n".join(out) + "\n"
