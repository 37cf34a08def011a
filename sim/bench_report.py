"""Tables of `make bench`, and the plot of the ratio over the frame's size."""

from rich.table import Table

from .bench_rows import USUAL, Row

__all__ = ["print_latencies", "print_rows"]

COLUMNS = (
    ("Mpps", lambda r: f"{r['mpps']:.2f}"),
    ("Gb/s", lambda r: f"{r['gbps']:.1f}"),
    ("bound", lambda r: f"{r['bound_mpps']:.2f} {r['bound_by']}"),
    ("ratio", lambda r: f"{r['ratio']:.3f}"),
    ("bytes per packet\nup / down", lambda r: f"{r['up_bytes']:.1f} / {r['down_bytes']:.1f}"),
    ("of the formula\nup / down", lambda r: f"{r['up_to_formula']:.3f} / {r['down_to_formula']:.3f}"),
    ("link busy\nup / down", lambda r: f"{r['up_busy']:.2f} / {r['down_busy']:.2f}"),
    ("descr.\n/ fetch", lambda r: f"{r['descriptors_per_fetch']:.1f}"),
    ("used\n/ write", lambda r: f"{r['used_per_write']:.1f}"),
    ("reads in flight\nmean / max", lambda r: f"{r['reads_in_flight_mean']:.0f} / {r['reads_in_flight_max']}"),
    ("per packet\ndoorbells / MSI-X", lambda r: f"{r['doorbells_per_packet']:.3f} / {r['messages_per_packet']:.3f}"),
)


def _share(name, digits=3):
    return lambda r: "" if r.get(name) is None else f"{r[name]:.{digits}f}"


def _lost(name):
    return lambda r: "" if r.get(name) is None else f"{100 * (1 - r[name]):.1f} %"


# What only some groups have.
EXTRA = {
    "queues": (("of one\nqueue", _share("of_base")), ("Jain", lambda r: f"{r['fairness']:.4f}")),
    "profiles": ((f"of\n{USUAL}", _share("of_base")), ("of an ideal\nin-order device", _share("of_ideal"))),
    "tolerance": ((f"of\n{USUAL}", _share("of_base")),),
    "interrupts": (("packets\n/ MSI-X", _share("packets_per_message", 1)),),
    "offloads": (("Mpps\nwithout", _share("base_mpps", 2)), ("rate\nlost", _lost("of_base")),
                 ("ratio\nlost", _lost("ratio_of_base")),
                 ("limit", lambda r: "2 % of the ratio" if r["policy"] == "hashes" else "2 % of the rate")),
    "scaling": (("of automatic\nsteering", _share("of_base")), ("Jain", lambda r: f"{r['fairness']:.4f}"),
                ("frames of each queue", lambda r: " ".join(map(str, r["shares"][0])))),
}

# What tells the rows of a group apart, beside the direction.
KEYS = {
    "sizes": ("link", "policy", "frame"), "queues": ("queues",), "profiles": ("profile", "queues"),
    "tolerance": ("policy", "profile"), "interrupts": ("policy",), "latency": ("policy",),
    "offloads": ("link", "policy", "frame"), "segments": ("link", "policy"), "scaling": ("queues",),
}


def _name(row):
    keys = KEYS[row["group"]]
    return " ".join(f"{row[key]} queues" if key == "queues" else f"{row[key]} B" if key == "frame" else str(row[key])
                    for key in keys)


def print_rows(console, rows):
    for group in dict.fromkeys(row["group"] for row in rows):
        table = Table(title=f"{group}: {_common([row for row in rows if row['group'] == group])}")
        table.add_column("")
        table.add_column("")
        for name, _ in COLUMNS:
            table.add_column(name, justify="right")
        extra = EXTRA.get(group, ())
        for name, _ in extra:
            table.add_column(name, justify="right")
        table.add_column("target")
        for row in rows:
            if row["group"] == group:
                shown = [show(row) for _, show in (*COLUMNS, *extra)]
                table.add_row(_name(row), row["direction"], *shown, "below" if row["below"] else "",
                              style="red" if row["below"] else None)
        console.print(table)


def _common(rows):
    """What all rows of a group have alike."""
    fields = [field for field in Row.__dataclass_fields__ if field not in ("group", "direction")]
    alike = [field for field in fields if len({row[field] for row in rows}) == 1]
    return ", ".join(f"{field} {rows[0][field]}" for field in alike)


def print_latencies(console, rows):
    """Cycles of the card itself: the times drawn for host reads are taken off."""
    if not rows:
        return
    table = Table(title="idle card, cycles beyond the host's round trips: min / median / max")
    for name in ("", "host reads", "doorbell → first wire beat", "last wire beat → used, without the frame's beats",
                 "used → MSI-X"):
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        shown = [" / ".join(f"{row[name][key]:.0f}" for key in ("min", "median", "max"))
                 for name in ("transmit", "used", "message")]
        table.add_row(_name(row), ", ".join(map(str, row["reads"])), *shown)
    console.print(table)
