"""make bench: what the RTL reaches of what link and bus allow, row by row.

Buffers stand on 4 KiB boundaries and the driver costs nothing: it polls, and keeps its rings as full as whole batches
let it. Means over a window after the warm-up; the bound is that of the row's policy, whatever was measured. With both
ways at once a packet is one out and one in. The latency rows send frames one by one through an idle card.
"""

import argparse
import fnmatch
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hdl.config import ConfigError
from hdl.generate import configuration
from model.link import Link

from .bench_plot import plot_sizes
from .bench_report import print_latencies, print_rows
from .bench_rows import FCS, POLICIES, Row, rows
from .bench_speed import SATURATED, measure_speed, print_speed
from .compiled import environment_library
from .rtl import TOP, verilog_of
from .simulators import BUILD, SimulatorError, build, check_simulator, run

__all__ = ["Bench", "main"]

RESULTS = BUILD
WARM_UP_NS = 20_000
WINDOW_NS, QUICK_NS = 40_000, 20_000
WINDOW_PACKETS = 200                # where they are so long that the window has fewer, it is longer
LATENCY_FRAMES, QUICK_FRAMES = 100, 20


class Bench:
    """Builds what the rows need, and measures them.

    Parameters
    ----------
    window_ns : int
    frames : int
        of each latency row
    seed : int
    settings : list of "KEY=VALUE"
        changes of every configuration
    """

    def __init__(self, *, window_ns, frames, seed=1, settings=()):
        self.window_ns, self.frames, self.seed, self.settings = window_ns, frames, seed, list(settings)
        self._built = {}

    def prepare(self, names):
        """Build the configurations of these names. Raises `ConfigError` and `SimulatorError`."""
        check_simulator("verilator")
        self._library = environment_library("verilator")
        for name in dict.fromkeys(names):
            config = configuration(name, self.settings)
            verilog = verilog_of(config)
            print(f"bench: simulation of {config.name!r} (minutes the first time, then cached)", flush=True)
            self._built[name] = config, verilog.with_suffix(".json"), build(
                "verilator", TOP, [verilog], label=config.name)

    def _run(self, row, module, job):
        config, manifest, built = self._built[row.config]
        directory = RESULTS / "bench" / str(row)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{module}.json"
        path.unlink(missing_ok=True)
        policy = POLICIES[row.policy]
        job |= {"frame": row.frame - FCS, "ring": row.ring, "queues": row.queues, "features": policy.features,
                "layout": policy.cost.layout, "result": str(path)}
        settings = {"manifest": str(manifest), "link": row.link, "profile": row.profile, "seed": self.seed,
                    "bench": job}
        if module == "job_bench":
            settings["compiled"] = str(self._library)
        started = time.perf_counter()
        outcome = run(built, f"testbench.system.{module}", environment={"NIC_RUN": json.dumps(settings)},
                      directory=directory, seed=self.seed)
        if not outcome.ok or not path.exists():
            raise AssertionError(f"{row}: {outcome.summary()} (log: {outcome.log})")
        return config, json.loads(path.read_text()), time.perf_counter() - started

    def measure(self, row):
        """Figures of a row, as a dict. Raises `AssertionError` for what the run found wrong."""
        bound = row.bound(self._built[row.config][0], mps=256, mrrs=512)
        longer = max(row.patience, WINDOW_PACKETS * 1e3 / bound.mpps / self.window_ns)
        config, result, seconds = self._run(row, "job_bench", {
            "direction": row.direction, "warm_up_ns": round(WARM_UP_NS * longer),
            "window_ns": round(self.window_ns * longer)})
        return asdict(row) | _figures(result, row, config, self.seed) | {"seconds": seconds}

    def speed(self, row):
        """How fast the testbench runs this row, and the RTL alone; see `measure_speed`."""
        def run_once(job):
            return self._run(row, "job_bench", {"direction": row.direction, "warm_up_ns": WARM_UP_NS,
                                                "window_ns": 2 * self.window_ns, **job})[1]
        return measure_speed(run_once, self._built[row.config][2], RESULTS / "bench" / str(row) / "record.bin")

    def latency(self, row):
        """Cycles of an idle card, as a dict."""
        _, result, _ = self._run(row, "job_latency", {"frames": self.frames})
        return asdict(row) | result


def _figures(result, row, config, seed=1):
    sent, received = sum(result["sent"]), sum(result["received"])
    packets = max(1, {"tx": sent, "rx": received, "both": min(sent, received)}[row.direction])
    pcie, window = result["pcie"], result["window_ns"]
    sizes = {"mps": result["max_payload"], "mrrs": result["max_read_request"]}
    limit = row.bound(config, **sizes)
    up, down = row.formula(**sizes)
    up_seen, down_seen = row.formula_seen(sent, received, pcie, **sizes)
    budget = Link(row.link, mps=result["max_payload"]).spec_bytes(window)
    mpps = packets * 1e3 / window
    ideal = row.ideal(config, packets, seed) if row.has_ideal else None
    shares = [counts for counts in (result["sent"], result["received"]) if sum(counts)]
    return {
        "packets": packets, "warm_up_us": result["warm_up_ns"] / 1e3, "window_us": window / 1e3,
        "mpps": mpps, "gbps": mpps * (row.frame - FCS) * 8 / 1e3,
        "tx_mpps": sent * 1e3 / window, "rx_mpps": received * 1e3 / window,
        "bound_mpps": limit.mpps, "bound_by": limit.name, "bounds": limit.parts, "ratio": mpps / limit.mpps,
        "ideal_mpps": ideal,
        "fairness": min((_jain(counts) for counts in shares), default=0.0),
        "reads_in_flight_mean": pcie["in_flight"]["mean"], "reads_in_flight_max": pcie["in_flight"]["max"],
        "descriptors_per_fetch": pcie["descriptors_per_fetch"], "used_per_write": pcie["used_per_write"],
        "up_to_formula": pcie["up_bytes"] / max(1, up_seen), "down_to_formula": pcie["down_bytes"] / max(1, down_seen),
        "up_bytes": pcie["up_bytes"] / packets, "up_formula": up, "up_busy": pcie["up_bytes"] / budget,
        "down_bytes": pcie["down_bytes"] / packets, "down_formula": down, "down_busy": pcie["down_bytes"] / budget,
        "doorbells_per_packet": pcie["doorbells"] / packets, "messages_per_packet": pcie["messages"] / packets,
        "pcie": pcie,
    }


def _jain(counts):
    """Jain's fairness index: 1 if all are equal."""
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


def _options(arguments):
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"few rows, a window of {QUICK_NS // 1000} µs")
    parser.add_argument("--match", default="*", metavar="PATTERN",
                        help="only rows whose name fits: group-direction-frame-link-policy-profile-queues-ring-config")
    parser.add_argument("--config", help="this preset in place of the default one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--window", type=int, metavar="µs", help="length of the window")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def _measure_all(bench, console, wanted, jobs):
    """([row], [problem]): figures in the order of `wanted`, and what went wrong."""
    results, problems = {}, []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(max(1, jobs)) as pool:
        task = progress.add_task("bench", total=len(wanted))        # each row is a process of its own
        futures = {pool.submit(bench.latency if row.group == "latency" else bench.measure, row): row for row in wanted}
        for future in as_completed(futures):
            try:
                results[futures[future]] = future.result()
            except AssertionError as error:
                problems.append(str(error))
                progress.console.print(f"[red]FAILED[/] {error}", highlight=False)
            progress.advance(task)
    return [results[row] for row in wanted if row in results], problems


def _speeds(bench, wanted, problems):
    """The saturated row, when nothing else of ours runs any more."""
    found = []
    for row in wanted:
        if row == replace(Row(**SATURATED), config=row.config):
            try:
                found.append(asdict(row) | bench.speed(row))
            except (AssertionError, SimulatorError) as error:
                problems.append(str(error))
    return found


def main(arguments=None):
    options = _options(arguments)
    window = options.window * 1000 if options.window else QUICK_NS if options.quick else WINDOW_NS
    bench = Bench(window_ns=window, frames=QUICK_FRAMES if options.quick else LATENCY_FRAMES, seed=options.seed,
                  settings=options.set)
    wanted = [row for row in rows(quick=options.quick, config=options.config or "default")
              if fnmatch.fnmatch(str(row), options.match)]
    try:
        if not wanted:
            raise ConfigError(f"no row fits {options.match!r}")
        bench.prepare(row.config for row in wanted)
    except (ConfigError, SimulatorError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    console = Console(width=170)
    measured, problems = _measure_all(bench, console, wanted, options.jobs)
    speeds = _speeds(bench, wanted, problems)
    throughput = [row for row in measured if row["group"] != "latency"]
    latencies = [row for row in measured if row["group"] == "latency"]
    print_rows(console, throughput)
    print_latencies(console, latencies)
    for speed in speeds:
        print_speed(console, speed)
    out = RESULTS / "bench.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"seed": options.seed,
                               "rows": throughput, "latency": latencies, "speed": speeds}, indent=1) + "\n")
    print(f"means over {window / 1e3:.0f} µs after {WARM_UP_NS / 1e3:.0f} µs of warm-up, both longer where "
          f"{WINDOW_PACKETS} packets take longer at the bound; written to {out}")
    sizes = [row for row in throughput if row["group"] == "sizes"]
    if len({row["frame"] for row in sizes}) > 1:
        picture = RESULTS / "bench.png"
        plot_sizes(sizes, picture)
        print(f"the ratio over the frame's size: {picture}")
    for problem in problems:
        print(f"bench: FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
