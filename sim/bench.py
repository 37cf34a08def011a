"""make bench: what the RTL reaches of what link and bus allow, row by row.

Buffers stand on 4 KiB boundaries and the driver costs nothing: it polls, and keeps its rings as full as whole batches
let it. Means over a window after the warm-up; the bound is that of the row's policy, whatever was measured. With both
ways at once a packet is one out and one in. The latency rows send frames one by one through an idle card.

What a run counted is kept under the digest of everything it depends on, so a bench that was interrupted goes on where
it was. The exit status is 1 if a row failed or stays below its target.
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
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hdl.config import ConfigError
from hdl.generate import configuration
from model.link import Link

from .bench_plot import plot_sizes
from .bench_report import print_latencies, print_rows
from .bench_rows import FCS, POLICIES, WINDOW_PACKETS, Row, rows, targets
from .bench_speed import SATURATED, measure_speed, print_speed
from .compiled import environment_library
from .rtl import TOP, verilog_of
from .simulators import BUILD, ROOT, SimulatorError, build, check_simulator, digest_of, run

__all__ = ["Bench", "main"]

RESULTS = BUILD
WARM_UP_NS = 20_000
WINDOW_NS, QUICK_NS = 40_000, 20_000
LATENCY_FRAMES, QUICK_FRAMES = 100, 20
NS_PER_SECOND = 70_000              # of simulated time in one of real time, for the estimate alone
LATENCY_NS = 14_000                 # of a frame


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
    again : bool
        measure also what was measured before
    """

    def __init__(self, *, window_ns, frames, seed=1, settings=(), again=False):
        self.window_ns, self.frames, self.seed, self.settings = window_ns, frames, seed, list(settings)
        self.again = again
        self._built = {}

    def prepare(self, names):
        """Build the configurations of these names. Raises `ConfigError` and `SimulatorError`."""
        check_simulator("verilator")
        self._library = environment_library("verilator")
        self._testbench = digest_of(*[path.read_bytes() for folder in ("model", "testbench")
                                      for path in sorted((ROOT / folder).rglob("*.py"))])
        for name in dict.fromkeys(names):
            self._built[name] = _simulation(configuration(name, self.settings))

    def _settings(self, row, module, job):
        """What a run is told, but for paths."""
        policy = POLICIES[row.policy]
        job = {"frame": row.frame - FCS, "ring": row.ring, "queues": row.queues, "features": policy.features,
               "layout": policy.cost.layout, "coalesce": policy.coalesce, "load": policy.load, **job}
        if row.has_ideal:
            job["trips"] = True
        if policy.segment:
            job["segment"] = policy.segment
        settings = {"link": row.link, "profile": row.profile, "seed": self.seed, "bench": job}
        return settings | ({"compiled": str(self._library)} if module == "job_bench" else {})

    def _path(self, row, module, job):
        """Where the result of a run is kept."""
        digest = digest_of(self._testbench, self._built[row.config][2].directory.name,
                           self._settings(row, module, job))
        return RESULTS / "bench" / str(row) / f"{module}-{digest}.json"

    def _has(self, path):
        return path.exists() and not self.again

    def _run(self, row, module, job, *, keep=True, simulation=None, extra=None):
        """(result, seconds that it took), measured now or, with `keep`, some time before. What isn't kept may run on
        another `simulation`, with `extra` settings of its bench."""
        _, manifest, built = simulation or self._built[row.config]
        path = self._path(row, module, job)
        if keep and self._has(path):
            kept = json.loads(path.read_text())
            return kept["result"], kept["seconds"]
        directory, fresh = path.parent, path.parent / f"{module}.json"
        settings = self._settings(row, module, job) | {"manifest": str(manifest)} | (extra or {})
        settings["bench"]["result"] = str(fresh)
        directory.mkdir(parents=True, exist_ok=True)
        fresh = directory / f"{module}.json"
        fresh.unlink(missing_ok=True)
        started = time.perf_counter()
        outcome = run(built, f"testbench.system.{module}", environment={"NIC_RUN": json.dumps(settings)},
                      directory=directory, seed=self.seed)
        if not outcome.ok or not fresh.exists():
            raise AssertionError(f"{row}: {outcome.summary()} (log: {outcome.log})")
        result, seconds = json.loads(fresh.read_text()), time.perf_counter() - started
        if keep:
            fresh.write_text(json.dumps({"result": result, "seconds": seconds}))
            fresh.replace(path)
        return result, seconds

    def _job(self, row):
        """(module, job) of a row."""
        if row.group == "latency":
            return "job_latency", {"frames": self.frames}
        config = self._built[row.config][0]
        window = row.window(config, self.window_ns)
        return "job_bench", {"direction": row.direction, "window_ns": window,
                             "warm_up_ns": row.warm_up(config, WARM_UP_NS * window / self.window_ns)}

    def effort(self, row):
        """How long the row is simulated, in ns; 0 if it was measured before."""
        module, job = self._job(row)
        if self._has(self._path(row, module, job)):
            return 0
        return job["frames"] * LATENCY_NS if row.group == "latency" else job["window_ns"] + job["warm_up_ns"]

    def measure(self, row):
        """Figures of a row, as a dict. Raises `AssertionError` for what the run found wrong."""
        module, job = self._job(row)
        result, seconds = self._run(row, module, job)
        if row.group != "latency":
            result = _figures(result, row, self._built[row.config][0]) | {"seconds": seconds}
        return asdict(row) | result

    def speed(self, row, *, taps):
        """How fast the testbench runs this row, the RTL alone and, with `taps`, the card with event taps; see
        `measure_speed`. Raises `SimulatorError` if that can't be built."""
        folder = RESULTS / "bench" / str(row)
        config, _, built = self._built[row.config]
        tapped = _simulation(config, taps=True) if taps else None

        def run_once(job, **more):
            return self._run(row, "job_bench", {"direction": row.direction, "warm_up_ns": WARM_UP_NS,
                                                "window_ns": 2 * self.window_ns, **job}, keep=False, **more)[0]

        def run_tapped():
            return run_once({}, simulation=tapped, extra={"taps": str(folder / "events.npz")})
        return measure_speed(run_once, built, folder / "record.bin", run_tapped=run_tapped if taps else None)


def _simulation(config, *, taps=False):
    """(configuration, path of its manifest, `Build`). Raises `SimulatorError`."""
    verilog, label = verilog_of(config, taps=taps), config.name + taps * "-taps"
    print(f"bench: simulation of {label!r} (minutes the first time, then cached)", flush=True)
    return config, verilog.with_suffix(".json"), build("verilator", TOP, [verilog], label=label)


def _figures(result, row, config):
    sent, received = sum(result["sent"]), sum(result["received"])
    packets = max(1, {"tx": sent, "rx": received, "both": min(sent, received)}[row.direction])
    pcie, window = result["pcie"], result["window_ns"]
    sizes = {"mps": result["max_payload"], "mrrs": result["max_read_request"]}
    limit = row.bound(config, **sizes)
    up, down = row.formula(**sizes)
    up_seen, down_seen = row.formula_seen(sent, received, pcie, **sizes)
    budget = Link(row.link, mps=result["max_payload"]).spec_bytes(window)
    mpps = packets * 1e3 / window
    ideal = None
    if row.has_ideal:
        before = {"tx": result["before"][0], "rx": result["before"][1], "both": min(result["before"])}[row.direction]
        ideal = row.ideal(config, result["trips"], before, packets)
    shares = [counts for counts in (result["sent"], result["received"]) if sum(counts)]
    return {
        "packets": packets, "warm_up_us": result["warm_up_ns"] / 1e3, "window_us": window / 1e3,
        "mpps": mpps, "gbps": mpps * (row.frame - FCS) * 8 / 1e3,
        "tx_mpps": sent * 1e3 / window, "rx_mpps": received * 1e3 / window,
        "bound_mpps": limit.mpps, "bound_by": limit.name, "bounds": limit.parts, "ratio": mpps / limit.mpps,
        "ideal_mpps": ideal, "of_ideal": mpps / ideal if ideal else None,
        "fairness": min((_jain(counts) for counts in shares), default=0.0), "shares": shares,
        "reads_in_flight_mean": pcie["in_flight"]["mean"], "reads_in_flight_max": pcie["in_flight"]["max"],
        "descriptors_per_fetch": pcie["descriptors_per_fetch"], "used_per_write": pcie["used_per_write"],
        "up_to_formula": pcie["up_bytes"] / max(1, up_seen), "down_to_formula": pcie["down_bytes"] / max(1, down_seen),
        "up_bytes": pcie["up_bytes"] / packets, "up_formula": up, "up_busy": pcie["up_bytes"] / budget,
        "down_bytes": pcie["down_bytes"] / packets, "down_formula": down, "down_busy": pcie["down_bytes"] / budget,
        "doorbells_per_packet": pcie["doorbells"] / packets, "messages_per_packet": pcie["messages"] / packets,
        "packets_per_message": (sent + received) / pcie["messages"] if pcie["messages"] else None, "pcie": pcie,
    }


def _jain(counts):
    """Jain's fairness index: 1 if all are equal."""
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


def _compare(measured):
    """Adds to the figures of rows that have a `base` their rate relative to that, and to all which targets they miss;
    `measured`: Row → figures."""
    bases = {row.place: figures for row, figures in measured.items() if row.group != "latency"}
    for row, figures in measured.items():
        if row.base in bases:
            base = bases[row.base]
            figures["base_mpps"] = base["mpps"]
            figures["of_base"] = figures["mpps"] / base["mpps"]
            if "ratio" in figures and "ratio" in base:
                figures["ratio_of_base"] = figures["ratio"] / base["ratio"]
        figures["below"] = [str(target) for target in targets(row) if target.is_missed(figures)]


def _options(arguments):
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"few rows, a window of {QUICK_NS // 1000} µs")
    parser.add_argument("--match", default="*", metavar="PATTERN",
                        help="only rows whose name fits: group-direction-frame-link-policy-profile-queues-ring-config")
    parser.add_argument("--config", help="this preset in place of the default one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--window", type=int, metavar="µs", help="length of the window")
    parser.add_argument("--again", action="store_true", help="measure also what was measured before")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def _measure_all(bench, console, wanted, jobs):
    """(Row → figures in the order of `wanted`, [problem])"""
    results, problems = {}, []
    efforts = {row: bench.effort(row) for row in wanted}
    fresh, total = sum(map(bool, efforts.values())), sum(efforts.values())
    console.print(f"bench: {len(wanted)} rows, {len(wanted) - fresh} of them measured before; the others take about "
                  f"{total / NS_PER_SECOND / jobs / 60:.0f} minutes", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"),
               TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("", total=total)
        futures = {pool.submit(bench.measure, row): row for row in wanted}      # each row is a process of its own
        for future in as_completed(futures):
            row = futures[future]
            try:
                results[row] = future.result()
            except AssertionError as error:
                problems.append(str(error))
                progress.console.print(f"[red]FAILED[/] {error}", highlight=False)
            done = f"{len(results) + len(problems)}/{len(wanted)}"
            progress.update(task, advance=efforts[row], description=f"{done} {row}")
    return {row: results[row] for row in wanted if row in results}, problems


def _speeds(bench, wanted, problems, *, taps):
    """The saturated row, when nothing else of ours runs any more."""
    found = []
    for row in wanted:
        if row == replace(Row(**SATURATED), config=row.config):
            try:
                found.append(asdict(row) | bench.speed(row, taps=taps))
            except (AssertionError, SimulatorError) as error:
                problems.append(str(error))
    return found


def main(arguments=None):
    options = _options(arguments)
    window = options.window * 1000 if options.window else QUICK_NS if options.quick else WINDOW_NS
    bench = Bench(window_ns=window, frames=QUICK_FRAMES if options.quick else LATENCY_FRAMES, seed=options.seed,
                  settings=options.set, again=options.again)
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
    measured, problems = _measure_all(bench, console, wanted, max(1, options.jobs))
    _compare(measured)
    speeds = _speeds(bench, wanted, problems, taps=not options.quick)
    throughput = [figures for row, figures in measured.items() if row.group != "latency"]
    latencies = [figures for row, figures in measured.items() if row.group == "latency"]
    print_rows(console, throughput)
    print_latencies(console, latencies)
    for speed in speeds:
        print_speed(console, speed)
    out = RESULTS / "bench.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"seed": options.seed,
                               "rows": throughput, "latency": latencies, "speed": speeds}, indent=1) + "\n")
    print(f"means over {window / 1e3:.0f} µs after {WARM_UP_NS / 1e3:.0f} µs of warm-up, both longer where "
          f"{WINDOW_PACKETS} packets take longer at the bound, both ways at once, and with many queues; "
          f"written to {out}")
    sizes = [row for row in throughput if row["group"] == "sizes"]
    if len({row["frame"] for row in sizes}) > 1:
        picture = RESULTS / "bench.png"
        plot_sizes(sizes, picture)
        print(f"the ratio over the frame's size: {picture}")
    problems += [f"{row} is below its target: {', '.join(figures['below'])}"
                 for row, figures in measured.items() if figures["below"]]
    for problem in problems:
        print(f"bench: FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
