"""make calibrate: measure on the RTL what the performance model takes as given, and print what is left over.

Cycles of single stages come from lone packets; what only the steady state needs besides, from the calibration half of
the settings that `make validate` draws, as far as they have been run.
"""

import argparse
import json
import statistics
import sys

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model.perf import CONSTANTS, Constants, steady_state
from model.perf.cycle.driver import PARSED

from .perf_cases import BUILDS, Setting, calibration_half, draw_settings
from .perf_model import scenario_of
from .perf_rtl import RunFailed, Runner, rate_of, rtl_digest
from .perf_stages import stages_of
from .simulators import SimulatorError

__all__ = ["fit_stages", "main", "tune"]

CARDS = tuple(BUILDS)[::2]              # the others show what the constants are worth elsewhere
PROFILE = "1us"                         # always the same, so that cycles are the card's alone
PACKETS = ((64, "plain"), (1518, "plain"), (64, "indirect"))
TRIP = 250                              # its cycles
LOOK_BYTES = 64                         # of the first fetch of a queue that was dry
BY_ROWS = ("data_wire", "data_used", "wire_write")
# Cycles that the steady state takes for a loaded card's stages, and what they may be.
TUNED = {"walk_tx": (1.0, 1.2), "walk_rx": (2.0, 2.2), "walk_rx_chain": (3.0, 3.5, 4.0), "decide": (4.0, 6.0, 8.0),
         "space": (5.0, 20.0, 30.0, 40.0, 50.0)}
SMOOTH = (8.0, 12.0, 20.0, 40.0, 80.0)


def stage_settings(names=CARDS):
    return [Setting(build=name, direction="both", frame=frame, policy=policy, profile=PROFILE)
            for name in names for frame, policy in PACKETS]


def rows_of(setting, stage):
    """Rows, or beats on `rq`, of the data that a stage passes."""
    return -(-(setting.length + 12) // setting.card.bytes_per_beat)


def fit_stages(measured):
    """({name: [fixed, each]}, [(setting, stage, cycles, residual)]) from [(setting, {stage: [cycles]})]."""
    cycles, residuals = {}, []
    names = {name for _, stages in measured for name in stages if name != "trip" and not name.startswith("idle")}
    for name in sorted(names):
        points = [(setting, rows_of(setting, name), statistics.median(stages[name]))
                  for setting, stages in measured if name in stages]
        short = 0.0
        if name in BY_ROWS:
            cycles[name], short = _line(points, name)
        else:
            cycles[name] = [statistics.median(y for *_, y in points), 0]
        if name == "wire_write":
            cycles["parse"] = [short, 0]
        residuals += [(setting, name, y, y - cycles[name][0] - cycles[name][1] * x - short * (setting.length <= PARSED))
                      for setting, x, y in points]
    trips = [statistics.median(stages["trip"]) - TRIP - LOOK_BYTES // setting.card.bytes_per_beat + 1
             for setting, stages in measured if "trip" in stages]
    if trips:
        cycles["answer"] = [statistics.median(trips), 0]
    return cycles, residuals


def _line(points, name):
    """([fixed, each row], what short frames take longer), least squares. A write leaves at a beat a cycle; only what
    comes before depends on the frame."""
    y = np.array([cycles for *_, cycles in points])
    if name == "wire_write":
        short = np.array([setting.length <= PARSED for setting, _, _ in points])
        before = y - np.array([beats for _, beats, _ in points])
        fixed = float(np.median(before[~short] if (~short).any() else before))
        return [fixed, 1], float(np.median(before[short] - fixed)) if short.any() else 0.0
    x = np.array([[1.0, each] for _, each, _ in points])
    fixed, each = np.linalg.lstsq(x, y, rcond=None)[0]
    return [round(float(fixed), 2), round(float(each), 3)], 0.0


def _steady_error(constants, settings, results):
    rates = steady_state([scenario_of(setting) for setting in settings], constants).mpps
    return float(np.mean([abs(np.log(rate / rate_of(result))) for rate, result in zip(rates, results)]))


def tune(constants, settings, results, console):
    """The constants with those of `TUNED` chosen that fit the loaded runs best, one after the other."""
    best = _steady_error(constants, settings, results)
    console.print(f"mean error of the steady state before tuning: {best:.2%}")
    for name, choices in TUNED.items():
        for value in choices:
            tried = Constants(constants.rtl, constants.cycles | {name: [value, 0]}, constants.smooth)
            error = _steady_error(tried, settings, results)
            if error < best - 1e-5:
                best, constants = error, tried
        console.print(f"{name}: {constants[name]} cycles, mean error of the steady state {best:.2%}")
    tried = [Constants(constants.rtl, constants.cycles, smooth) for smooth in SMOOTH]
    errors = [_steady_error(each, settings, results) for each in tried]
    console.print(f"smooth: {SMOOTH[int(np.argmin(errors))]}, mean error of the steady state {min(errors):.2%}")
    return tried[int(np.argmin(errors))]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="calibrate", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="settings of make validate to look at")
    parser.add_argument("--known", action="store_true", help="only runs that are there already")
    options = parser.parse_args(arguments)
    console, runner = Console(width=120), Runner()
    measured = []
    try:
        for setting in track(stage_settings(), "calibrate", console=console):
            result = runner.known(setting, "job_stages") if options.known else runner.stages(setting)
            if result:
                measured.append((setting, stages_of(result)))
    except (RunFailed, SimulatorError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 1
    if not measured:
        print("calibrate: no run of a lone packet is known", file=sys.stderr)
        return 1
    cycles, residuals = fit_stages(measured)
    before = Constants.load()
    kept = {name: before.cycles[name] for name in TUNED}
    constants = Constants(rtl_digest(), kept | cycles, before.smooth)
    _print(console, constants, residuals)
    known = [(setting, runner.known(setting)) for setting in calibration_half(draw_settings(options.count))]
    known = [(setting, result) for setting, result in known if result and not setting.load]
    if known:
        constants = tune(constants, *zip(*known), console)
    CONSTANTS.write_text(_as_text(constants))
    console.print(f"{len(measured)} runs of lone packets, {len(known)} loaded ones; written to {CONSTANTS.name} for "
                  f"RTL {constants.rtl}", highlight=False)
    return 0


def _as_text(constants):
    """A line for each constant, so that what a calibration changes can be read."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in constants.cycles.items())
    return (f'{{\n "rtl": {json.dumps(constants.rtl)},\n "cycles": {{\n{lines}\n }},\n'
            f' "smooth": {constants.smooth:g}\n}}\n')


def _print(console, constants, residuals):
    table = Table(title="cycles of lone packets: fixed + each row of data, and what is left over")
    for name in ("stage", "fixed", "each row", "measured, least / most", "residual, least / most"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for name in dict.fromkeys(stage for _, stage, _, _ in residuals):
        values = [cycles for _, stage, cycles, _ in residuals if stage == name]
        left = [residual for _, stage, _, residual in residuals if stage == name]
        fixed, each = constants.cycles[name]
        table.add_row(name, f"{fixed:.1f}", f"{each:.2f}", f"{min(values):.0f} / {max(values):.0f}",
                      f"{min(left):+.1f} / {max(left):+.1f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
