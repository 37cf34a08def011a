"""make validate: random configurations on the RTL and in the performance model, and how far apart they are.

Runs are kept by the RTL's digest, so that it goes on where it was left: after Ctrl-C, or in several sittings with
--minutes. Half of the settings are never used by `make calibrate`; the verdict is about all, and about that half.
"""

import argparse
import math
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from model.perf import simulate, steady_state

from .calibrate import CARDS, stage_settings
from .perf_cases import BUILDS, draw_settings, held_out_half
from .perf_model import idle_scenario, scenario_of
from .perf_rtl import RunFailed, Runner, rate_of, window_of
from .perf_stages import stages_of
from .simulators import ROOT, SimulatorError
from .validate_report import Compared, Idle, Speed, print_report, write_report

__all__ = ["compare", "compare_idle", "main"]

COUNT = 200
DOCS = ROOT / "docs" / "performance"


def compare(settings, results, *, held_out=()):
    """[Compared] and `Speed` of runs of the RTL against the model, all at once."""
    scenarios = [scenario_of(setting) for setting in settings]
    # What is compiled when it is first used, and what profiles come to, is there by now, as it is in a sweep.
    simulate(scenarios[:1], packets=1)
    steady_state(scenarios)
    began = time.process_time()
    answers = simulate(scenarios, cycles=[window_of(setting)[1] for setting in settings])
    simulated = time.process_time() - began
    began = time.process_time()
    steady = steady_state(scenarios)
    solved = time.process_time() - began
    held_out = {setting.key for setting in held_out}
    found = []
    for setting, result, answer, mpps, resource in zip(settings, results, answers, steady.mpps, steady.bottleneck):
        rates, latencies = answer.within(*window_of(setting))
        found.append(Compared(
            setting, setting.key in held_out, rate_of(result), statistics.fmean(rates.values()) if rates else 0.0,
            float(mpps), resource, {name: values["median"] for name, values in result["latency"].items()},
            {name: statistics.median(latencies[name]) if name in latencies else math.inf for name in answer.times}))
    packets = sum(int(np.isfinite(array).sum()) for answer in answers for array in answer.offered.values())
    of_rtl = sum(each["packets"] for result in results for each in result["latency"].values())
    cpu = sum(result["cpu_seconds"] for result in results)
    whole = sum(result.get("cpu_whole", result["cpu_seconds"]) for result in results)
    return found, Speed(of_rtl / max(cpu, 1e-9), packets / max(simulated, 1e-9), whole / len(results),
                        solved / len(results))


def compare_idle(measured):
    """[Idle] of [(setting, result of its lone packets)]."""
    found = []
    for setting, result in measured:
        stages = stages_of(result)
        for direction in ("tx", "rx"):
            cycles = stages.get(f"idle {direction}")
            if cycles:
                answer, = simulate([idle_scenario(setting, direction)], packets=64)
                times = answer.times[direction]
                begin, end = ("doorbell", "first_beat") if direction == "tx" else ("last_beat", "used_written")
                found.append(Idle(setting, direction, statistics.median_high(cycles),
                                  float(statistics.median_high((times[end] - times[begin]).ravel()))))
    return found


def run_all(runner, items, jobs, deadline, console):
    """Run what isn't known yet, by build, until `deadline`; returns what went wrong. Ctrl-C ends it early."""
    problems = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(max(1, jobs)) as pool:
        task = progress.add_task("validate", total=len(items))
        known = [item for item in items if runner.known(*item) is not None]
        progress.advance(task, len(known))
        for build in BUILDS:
            mine = [item for item in items if item[0].build == build and runner.known(*item) is None]
            if not mine or time.monotonic() > deadline:
                continue
            runner.build(BUILDS[build])
            futures = {pool.submit(_run, runner, item, deadline): item for item in mine}
            for future in as_completed(futures):
                try:
                    progress.advance(task, future.result())
                except RunFailed as error:
                    problems.append(str(error))
    return problems


def _run(runner, item, deadline):
    setting, job = item
    if time.monotonic() > deadline:
        return 0
    (runner.measure if job == "job_perf" else runner.stages)(setting)
    return 1


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="validate", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=COUNT, help="configurations")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run later than that")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--known", action="store_true", help="run nothing, compare what has been run")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of the report")
    options = parser.parse_args(arguments)
    if options.count < 1:
        print(f"validate: --count must be at least 1, not {options.count}", file=sys.stderr)
        return 2
    console, runner = Console(width=150), Runner()
    drawn = draw_settings(options.count)
    lone = stage_settings(BUILDS)
    problems = []
    if not options.known:
        items = [(setting, "job_stages") for setting in lone] + [(setting, "job_perf") for setting in drawn]
        try:
            problems = run_all(runner, items, options.jobs, time.monotonic() + 60 * options.minutes, console)
        except SimulatorError as error:
            print(f"validate: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            console.print("stopped; what has been run is kept")
    known = [(setting, runner.known(setting)) for setting in drawn]
    known = [(setting, result) for setting, result in known if result]
    if not known:
        print("validate: nothing has been run yet for this RTL", file=sys.stderr)
        return 1
    compared, speed = compare(*zip(*known), held_out=held_out_half(drawn))
    stages = [(setting, runner.known(setting, "job_stages")) for setting in lone]
    idle = compare_idle([(setting, result) for setting, result in stages if result])
    good = print_report(console, compared, idle, speed, drawn=len(drawn), calibrated=CARDS)
    write_report(options.out, compared, idle, speed, digest=runner.digest, drawn=len(drawn), calibrated=CARDS)
    for problem in problems:
        print(f"validate: FAILED: {problem}", file=sys.stderr)
    return 0 if good and not problems and len(known) == len(drawn) else 1


if __name__ == "__main__":
    sys.exit(main())
