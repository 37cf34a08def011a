"""Pictures of a run: packets over time, stage by stage, and how long each stage took."""

import matplotlib

from .timeline_trace import durations, phases

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

__all__ = ["plot_stages", "plot_window"]

COLOURS = {
    "until fetch": "#e0e0e0", "descriptor fetch": "#4e79a7", "until table": "#e0e0e0", "table": "#9c755f",
    "in the cache": "#d4e3f1", "data read": "#f28e2b", "until wire": "#f7dcb9", "wire": "#59a14f",
    "until buffer": "#e0e0e0", "data write": "#f28e2b", "until used": "#fae3e1", "until event read": "#eeeeee",
    "event read": "#b07aa1", "until MSI-X": "#e15759",
}
WAITING = {name for name in COLOURS if name.startswith("until")} | {"in the cache"}
MOST_ROWS = 60


def plot_window(run, begin, end, path, period_ns, title):
    """One row for each packet with which something happens in the cycles [begin, end), each phase of it a bar. Returns
    how many packets were left out because there are too many."""
    rows = []
    for packet in run.packets:
        parts = [part for part in phases(packet) if part[1] < end and part[2] > begin]
        if not all(name in WAITING for name, _, _ in parts):
            rows.append((packet, parts))
    shown = [row for direction in ("tx", "rx")
             for row in [row for row in rows if row[0].direction == direction][:MOST_ROWS // 2]]
    figure, axes = plt.subplots(figsize=(12, 1.6 + 0.2 * max(4, len(shown))))
    names = {}
    for line, (_, parts) in enumerate(shown):
        for name, first, last in parts:
            first, last = max(first, begin), min(last, end)
            bar = axes.barh(line, (last - first) * period_ns, left=(first - begin) * period_ns, height=0.8,
                            color=COLOURS[name])
            names.setdefault(name, bar)
    axes.set_yticks(range(len(shown)), [f"{p.direction} {p.queue}: {p.number}" for p, _ in shown], fontsize=7)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlim(0, (end - begin) * period_ns)
    axes.set_xlabel(f"ns from cycle {begin}")
    axes.set_ylabel("direction queue: packet")
    axes.set_title(title)
    ordered = [name for name in COLOURS if name in names]
    axes.legend([names[name] for name in ordered], ordered, fontsize=7, ncols=2, loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return len(rows) - len(shown)


def plot_stages(run, path, period_ns, title):
    """A histogram for each stage of each direction."""
    found = durations(run)
    figure, grid = plt.subplots(len(found), 1, figsize=(9, 1.3 * max(2, len(found))), squeeze=False)
    for axes, ((direction, name), cycles) in zip(grid[:, 0], found.items()):
        values = [count * period_ns for count in cycles]
        axes.hist(values, bins=60, color="#4e79a7")
        middle = sorted(values)[len(values) // 2]
        axes.axvline(middle, color="#e15759", linewidth=1)
        axes.set_ylabel(f"{direction} {name}", rotation=0, ha="right", va="center", fontsize=8)
        axes.set_yticks([])
        axes.annotate(f"median {middle:.0f} ns", (0.99, 0.7), xycoords="axes fraction", ha="right", fontsize=7)
        axes.tick_params(labelsize=7)
    if found:
        grid[-1, 0].set_xlabel("ns")
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
