"""Pictures of a sweep: the rate and the bottleneck as maps, latencies as lines, and area against rate."""

import json

import numpy as np
from matplotlib.figure import Figure

from model.perf import RESOURCES

from .simulators import BUILD
from .sweep_spec import CARD

__all__ = ["area_of", "pareto", "plot_sweep"]


def plot_sweep(sweep, rows, directory):
    """Write the PNGs that make sense for this sweep; returns their paths. Points that differ only in parameters that
    are not along the axes are averaged."""
    points = [point | rows[number] for number, point in enumerate(sweep.points)]
    x = sweep.plot[0]
    y = sweep.plot[1] if len(sweep.plot) > 1 else None
    found = []

    def save(figure, kind):
        path = directory / f"{sweep.name}-{kind}.png"
        figure.savefig(path, dpi=100)
        found.append(path)
    if y:
        save(_rate_map(points, x, y), "rate")
    save(_bottleneck_map(points, x, y), "bottleneck")
    save(_latencies(points, x), "latency")
    areas = [(area, point["mpps"], point) for point in points if (area := area_of(point)) is not None]
    if areas:
        save(_area(areas, sweep.varied), "area")
    return found


def _values(points, name):
    """Values of a parameter in the order in which they stand in the specification."""
    return list(dict.fromkeys(point[name] for point in points))


def _panel(points, x, y, title):
    figure = Figure(figsize=(8, 5), layout="constrained")
    panel = figure.subplots()
    columns, lines = _values(points, x), _values(points, y) if y else [None]
    panel.set_xticks(range(len(columns)), [str(value) for value in columns], rotation=45)
    panel.set_yticks(range(len(lines)), [str(value) for value in lines] if y else [""])
    panel.set_xlabel(x)
    panel.set_ylabel(y or "")
    panel.set_title(title)
    cells = [[[point for point in points if point[x] == column and (y is None or point[y] == line)]
              for column in columns] for line in lines]
    return figure, panel, cells


def _rate_map(points, x, y):
    figure, panel, cells = _panel(points, x, y, "packets per µs")
    rates = np.array([[np.mean([point["mpps"] for point in cell]) if cell else np.nan for cell in line]
                      for line in cells])
    image = panel.imshow(rates, aspect="auto", origin="lower", cmap="viridis")
    figure.colorbar(image, ax=panel, label="Mpps")
    _write(panel, rates, lambda rate: f"{rate:.1f}" if rate == rate else "")
    return figure


def _bottleneck_map(points, x, y):
    figure, panel, cells = _panel(points, x, y, "what is used most")
    names = [[_commonest(point["bottleneck"] for point in cell) for cell in line] for line in cells]
    numbers = np.array([[RESOURCES.index(name) if name else np.nan for name in line] for line in names])
    panel.imshow(numbers, aspect="auto", origin="lower", cmap="tab20", vmin=0, vmax=19)
    _write(panel, names, lambda name: name or "")
    return figure


def _commonest(names):
    names = list(names)
    return max(names, key=names.count) if names else None


def _write(panel, cells, show):
    for row, line in enumerate(cells):
        for column, value in enumerate(line):
            panel.text(column, row, show(value), ha="center", va="center", fontsize=7, color="white",
                       bbox={"facecolor": "black", "alpha": 0.35, "linewidth": 0, "pad": 1})


def _latencies(points, x):
    figure = Figure(figsize=(8, 5), layout="constrained")
    panel = figure.subplots()
    values = _values(points, x)
    for color, direction in enumerate(("tx", "rx")):
        for style, quantile in (("-", "p50"), ("--", "p99")):
            key = f"latency_{direction}_{quantile}"
            line = [[point[key] for point in points if point[x] == value and key in point] for value in values]
            if any(line):
                panel.plot(range(len(values)), [np.mean(each) if each else np.nan for each in line], style,
                           color=f"C{color}", marker=".", label=f"{direction} {quantile}")
    panel.set_xticks(range(len(values)), [str(value) for value in values], rotation=45)
    panel.set_xlabel(x)
    panel.set_ylabel("ns")
    panel.set_yscale("log")
    panel.set_title("latency")
    panel.grid(alpha=0.3)
    panel.legend()
    return figure


def area_of(point):
    """LUTs of the card of a point, if `make synth` has reported them; else None."""
    name = "default" + "".join(f"-{key}{point[key]}" for key in sorted(CARD) if key in point)
    path = BUILD / f"synth-{name}.json"
    if not path.exists():
        return None
    return sum(block["luts"] for block in json.loads(path.read_text()).values())


def pareto(pairs):
    """Of (area, rate) those that no other beats in both, by ascending area."""
    best, found = -np.inf, []
    for area, rate in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
        if rate > best:
            best = rate
            found.append((area, rate))
    return found


def _area(areas, varied):
    figure = Figure(figsize=(8, 5), layout="constrained")
    panel = figure.subplots()
    panel.plot([area for area, _, _ in areas], [rate for _, rate, _ in areas], ".", color="C0")
    panel.plot(*zip(*pareto([(area, rate) for area, rate, _ in areas])), "o-", color="C3", fillstyle="none")
    for area, rate, point in areas:
        panel.annotate(", ".join(f"{name} {point[name]}" for name in varied if name in CARD), (area, rate), fontsize=6)
    panel.set_xlabel("LUTs")
    panel.set_ylabel("packets per µs")
    panel.set_title("area against rate")
    panel.grid(alpha=0.3)
    return figure
