"""make timeline: where each cycle of a run went, packet by packet.

Runs one system test, or a capture, on a card with event taps, and writes a trace for Perfetto, a picture of a window of
the run, and histograms of the stages.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hdl.config import ConfigError
from hdl.generate import configuration
from testbench.system.catalogue import find_case, run_case

from .capture import CaptureError, read_capture
from .replay import replay
from .simulators import BUILD, SimulatorError, check_simulator
from .timeline_packets import runs_of
from .timeline_plot import plot_stages, plot_window
from .timeline_trace import durations, phases, write_trace

__all__ = ["main"]

TIMELINES = BUILD / "timeline"
PERIOD_NS = 4.0
WINDOW_CYCLES = 1500


def _options(arguments):
    parser = argparse.ArgumentParser(prog="timeline", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--test", help="a system test")
    what.add_argument("--pcap", help="a capture, replayed as make run does")
    parser.add_argument("--simulator", default="verilator")
    parser.add_argument("--config", help="preset; the test's first one unless told, default for a capture")
    parser.add_argument("--link", default="gen3x8")
    parser.add_argument("--profile", default="e5-warm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--window", metavar="BEGIN:END", help="cycles in the picture; unless told, around the middle")
    return parser.parse_args(arguments)


def _window(text):
    """(begin, end) or None. Raises `ConfigError`."""
    if text is None:
        return None
    try:
        begin, end = (int(part) for part in text.split(":"))
    except ValueError:
        raise ConfigError(f"a window is BEGIN:END in cycles, not {text!r}") from None
    if not 0 <= begin < end:
        raise ConfigError(f"a window begins before it ends, unlike {text!r}")
    return begin, end


def _record(options, path):
    """Run what was asked for, with the events going to `path`; returns what went wrong, or None."""
    path.unlink(missing_ok=True)
    extra = {"taps": str(path)}
    if options.test is not None:
        module, case = find_case(options.test)
        preset = options.config or case.presets[0]
        outcome = run_case(module, options.test, preset=preset, simulator=options.simulator, link=options.link,
                           profile=options.profile, seed=options.seed, directory=path.parent, extra=extra)
        return None if outcome.ok else f"{outcome.summary()} (log: {outcome.log})"
    config = configuration(options.config or "default")
    frames = read_capture(options.pcap, mtu=config.max_mtu)
    if not frames:
        raise CaptureError(f"{options.pcap}: no frame in it")
    replay(frames, config, link=options.link, profile=options.profile, seed=options.seed,
           simulator=options.simulator, extra=extra, say=lambda line: None)
    return None


def _middle(run):
    """Cycles around the packet in the middle of the run."""
    alive = [parts for parts in map(phases, run.packets) if parts]
    if not alive:
        return 0, WINDOW_CYCLES
    begin = sorted(parts[0][1] for parts in alive)[len(alive) // 2]
    return begin, begin + WINDOW_CYCLES


def _print_stages(run):
    table = Table(title="cycles of each stage")
    for name in ("direction", "stage", "packets", "min", "median", "p99", "max"):
        table.add_column(name, justify="left" if name in ("direction", "stage") else "right")
    for (direction, name), cycles in durations(run).items():
        cycles = sorted(cycles)
        table.add_row(direction, name, str(len(cycles)), str(cycles[0]), str(cycles[len(cycles) // 2]),
                      str(cycles[int(0.99 * (len(cycles) - 1))]), str(cycles[-1]))
    Console(width=100).print(table)


def main(arguments=None):
    options = _options(arguments)
    name = options.test if options.test is not None else Path(options.pcap).name.split(".")[0]
    folder = TIMELINES / name
    events = folder / "events.npz"
    try:
        window = _window(options.window)
        check_simulator(options.simulator)
        if options.test is not None:
            find_case(options.test)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"timeline: {name} on a card with event taps (minutes the first time)", flush=True)
        problem = _record(options, events)
    except (ConfigError, CaptureError, SimulatorError) as error:
        print(f"timeline: {error}", file=sys.stderr)
        return 2
    except AssertionError as error:
        print(f"timeline: FAILED: {error}", file=sys.stderr)
        return 1
    if not events.exists():
        print(f"timeline: FAILED: no events were recorded: {problem}", file=sys.stderr)
        return 1
    with np.load(events) as content:
        run = runs_of(content["events"], json.loads(str(content["taps"])))
    title = f"{name}: {options.link}, {options.profile}, seed {options.seed}"
    trace, picture, stages = folder / f"{name}.json", folder / f"{name}.png", folder / f"{name}-stages.png"
    write_trace(trace, run, PERIOD_NS, {"run": title})
    begin, end = window or _middle(run)
    left_out = plot_window(run, begin, end, picture, PERIOD_NS, title)
    plot_stages(run, stages, PERIOD_NS, title)
    _print_stages(run)
    print(f"trace:   {trace}  (open it in ui.perfetto.dev)\n"
          f"picture: {picture}  (cycles {begin} to {end}{f', {left_out} packets left out' if left_out else ''})\n"
          f"stages:  {stages}")
    if problem:
        print(f"timeline: the test FAILED: {problem}", file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
