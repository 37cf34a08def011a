"""What `make validate` prints, and the tables and the scatter plot that it leaves in docs/performance."""

import csv
from dataclasses import asdict, dataclass

from matplotlib.figure import Figure

__all__ = ["Compared", "Idle", "Speed", "limits", "print_report", "write_report"]

RATE_MOST, RATE_ALL = 0.03, 0.06        # of 95 % of the configurations, and of all
LATENCY = 0.06
IDLE_CYCLES = 4
SIMULATE, SOLVE = 200, 10_000           # how many times faster than the RTL
WORST = 10


@dataclass(frozen=True)
class Compared:
    """A setting on the RTL and in the model: packets per µs, of both ways at once in each; median latencies in cycles
    by direction."""
    setting: object
    held_out: bool
    rtl_mpps: float
    model_mpps: float
    steady_mpps: float
    bottleneck: str
    rtl_latency: dict
    model_latency: dict

    @property
    def rate_error(self):
        return self.model_mpps / self.rtl_mpps - 1

    @property
    def steady_error(self):
        return self.steady_mpps / self.rtl_mpps - 1

    @property
    def latency_errors(self):
        return [self.model_latency[name] / self.rtl_latency[name] - 1 for name in self.rtl_latency]


@dataclass(frozen=True)
class Idle:
    """Cycles through an idle card: doorbell to first wire beat, or last wire beat to used descriptor."""
    setting: object
    direction: str
    rtl: float
    model: float

    @property
    def error(self):
        return self.model - self.rtl


@dataclass(frozen=True)
class Speed:
    """Packets per CPU second of the RTL simulation and of the model; CPU seconds per configuration of the RTL and of
    the steady-state answer."""
    rtl_packets: float
    model_packets: float
    rtl_seconds: float
    steady_seconds: float

    @property
    def simulate_ratio(self):
        return self.model_packets / self.rtl_packets

    @property
    def solve_ratio(self):
        return self.rtl_seconds / self.steady_seconds


def within(errors, limit):
    """Part of the errors that are within the limit; 1 of none."""
    errors = list(errors)
    return sum(abs(error) <= limit for error in errors) / len(errors) if errors else 1.0


def limits(compared, idle, speed):
    """[(what, reached, wanted, whether it is)]."""
    rates = [each.rate_error for each in compared]
    latencies = [error for each in compared for error in each.latency_errors]
    idles = [each.error for each in idle]
    found = [
        (f"rate within {RATE_MOST:.0%}", within(rates, RATE_MOST), 0.95),
        (f"rate within {RATE_ALL:.0%}", within(rates, RATE_ALL), 1.0),
        (f"loaded median latency within {LATENCY:.0%}", within(latencies, LATENCY), 1.0),
        (f"idle latency within {IDLE_CYCLES} cycles", within(idles, IDLE_CYCLES), 1.0)]
    rows = [(what, f"{reached:.1%}", f"{wanted:.0%}", reached >= wanted) for what, reached, wanted in found]
    if speed:
        rows += [(what, f"{ratio:,.0f}", f"{wanted:,}", ratio >= wanted) for what, ratio, wanted in (
            ("stage times, times as fast as the RTL", speed.simulate_ratio, SIMULATE),
            ("steady state, times as fast as the RTL", speed.solve_ratio, SOLVE))]
    return rows


def _lines(compared, idle, speed, *, drawn, calibrated):
    """The report as lines of text."""
    held_out = [each for each in compared if each.held_out]
    saturated = [each for each in compared if not each.setting.load]
    fresh = [each for each in idle if each.setting.build not in calibrated]
    yield (f"{len(compared)} of {drawn} configurations run, {len(held_out)} of them never used to calibrate, "
           f"{len(saturated)} saturated and the others at a pace; {len(idle)} latencies of an idle card")
    for name, part, lone, fast in (("all", compared, idle, speed), ("held out", held_out, fresh, None),
                                   ("saturated", saturated, [], None)):
        for what, reached, wanted, good in limits(part, lone, fast):
            if name != "saturated" or not what.startswith("idle"):
                yield f"{name}: {what}: {reached} (wanted {wanted}): {'reached' if good else 'MISSED'}"
    yield (f"the steady state alone: {within([each.steady_error for each in saturated], RATE_MOST):.1%} of the "
           f"saturated ones within {RATE_MOST:.0%}, {within([e.steady_error for e in saturated], 0.1):.1%} within 10 %")
    yield (f"packets per CPU second: RTL {speed.rtl_packets:,.0f}, model {speed.model_packets:,.0f}; CPU per "
           f"configuration: RTL {speed.rtl_seconds * 1e3:,.0f} ms, steady state {speed.steady_seconds * 1e6:,.0f} µs")


def print_report(console, compared, idle, speed, *, drawn, calibrated):
    """Print it; returns whether every limit is kept."""
    for line in _lines(compared, idle, speed, drawn=drawn, calibrated=calibrated):
        console.print(line, highlight=False)
    for each in worst(compared):
        console.print(f"  {each.rate_error:+.1%} {each.setting}: RTL {each.rtl_mpps:.2f}, model {each.model_mpps:.2f} "
                      f"Mpps, {each.bottleneck}", highlight=False)
    return all(good for *_, good in limits(compared, idle, speed))


def worst(compared):
    return sorted(compared, key=lambda each: -abs(each.rate_error))[:WORST]


def write_report(directory, compared, idle, speed, *, digest, drawn, calibrated):
    """validation.md, .csv and .png in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = ["# The performance model against the RTL", "",
             f"Written by `make validate` for RTL {digest}. Errors are those of the model.", ""]
    lines += [f"- {line}" for line in _lines(compared, idle, speed, drawn=drawn, calibrated=calibrated)]
    lines += ["", "![rates and latencies of RTL and model](validation.png)", "", "## The worst ten", "",
              "| build | direction | frame | link | profile | policy | queues | ring | load | RTL Mpps | model Mpps | "
              "error | bottleneck |", "| " + " | ".join(["---"] * 13) + " |"]
    for each in worst(compared):
        values = [value for name, value in asdict(each.setting).items() if name != "seed"]
        lines.append("| " + " | ".join(map(str, [*values, f"{each.rtl_mpps:.2f}", f"{each.model_mpps:.2f}",
                                                 f"{each.rate_error:+.1%}", each.bottleneck])) + " |")
    (directory / "validation.md").write_text("\n".join(lines) + "\n")
    _write_csv(directory / "validation.csv", compared)
    _plot(directory / "validation.png", compared)


def _write_csv(path, compared):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        names = list(asdict(compared[0].setting))
        writer.writerow([*names, "held_out", "rtl_mpps", "model_mpps", "steady_mpps", "bottleneck", "rtl_tx_cycles",
                         "model_tx_cycles", "rtl_rx_cycles", "model_rx_cycles"])
        for each in compared:
            latencies = [f"{values[name]:.0f}" if name in values else "" for name in ("tx", "rx")
                         for values in (each.rtl_latency, each.model_latency)]
            writer.writerow([*asdict(each.setting).values(), int(each.held_out), f"{each.rtl_mpps:.3f}",
                             f"{each.model_mpps:.3f}", f"{each.steady_mpps:.3f}", each.bottleneck, *latencies])


def _plot(path, compared):
    figure = Figure(figsize=(11, 5), layout="constrained")
    rates, latencies = figure.subplots(1, 2)
    for held_out, mark, label in ((False, "o", "calibration half"), (True, "x", "held out")):
        part = [each for each in compared if each.held_out is held_out]
        found = [(each.rtl_mpps, each.model_mpps) for each in part]
        rates.plot(*zip(*found) if found else ([], []), mark, markersize=4, label=label)
        pairs = [(each.rtl_latency[name], each.model_latency[name]) for each in part for name in each.rtl_latency]
        latencies.plot(*zip(*pairs) if pairs else ([], []), mark, markersize=4, label=label)
    for panel, title, limit in ((rates, "packets per µs", RATE_ALL), (latencies, "median latency, cycles", LATENCY)):
        panel.set_xscale("log")
        panel.set_yscale("log")
        ends = panel.get_xlim()
        panel.plot(ends, ends, color="black", linewidth=0.7)
        panel.fill_between(ends, [end * (1 - limit) for end in ends], [end * (1 + limit) for end in ends], alpha=0.15,
                           color="grey", label=f"±{limit:.0%}")
        panel.set_title(title)
        panel.set_xlabel("RTL")
        panel.set_ylabel("model")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=100)
