"""make bench: what the RTL reaches of what the link allows, for 64-byte frames out, in, and both ways at once.

One queue pair with rings of 1024, buffers aligned to 4 KiB, a driver that polls and costs nothing, Gen3 x8 and the host
latencies of profile e5-warm. Means over a window after the warm-up; the bound is that of the batch policy. With both
ways at once, a packet is one out and one in: frames come in as fast as others go out.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from hdl.config import ConfigError
from hdl.generate import configuration
from model.latency import PROFILES
from model.link import LINKS, Link, Traffic, bound

from .rtl import TOP, verilog_of
from .simulators import BUILD, SimulatorError, build, check_simulator, run

__all__ = ["DIRECTIONS", "main", "measure"]

RESULTS = BUILD
DIRECTIONS = ("tx", "rx", "both")
FRAME = 60              # bytes without FCS: 64 on the wire
WARM_UP_NS = 20_000
WINDOW_NS, QUICK_NS = 100_000, 20_000


def measure(built, manifest, config, direction, *, link, profile, frame, window_ns, seed=1):
    """One row: a dict of figures. Raises `AssertionError` for what the run found wrong."""
    directory = RESULTS / "bench" / direction
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "result.json"
    path.unlink(missing_ok=True)
    settings = {"manifest": str(manifest), "link": link, "profile": profile, "seed": seed, "bench": {
        "direction": direction, "frame": frame, "warm_up_ns": WARM_UP_NS, "window_ns": window_ns,
        "result": str(path)}}
    outcome = run(built, "testbench.system.job_bench", environment={"NIC_RUN": json.dumps(settings)},
                  directory=directory, seed=seed)
    if not outcome.ok or not path.exists():
        raise AssertionError(f"{direction}: {outcome.summary()} (log: {outcome.log})")
    return _figures(json.loads(path.read_text()), config, direction, link, frame)


def _figures(result, config, direction, link, frame):
    sent, received = result["sent"], result["received"]
    packets = max(1, {"tx": sent, "rx": received, "both": min(sent, received)}[direction])
    pcie, window = result["pcie"], result["window_ns"]
    wire = Link(link, mps=result["max_payload"])
    limit = bound(wire, direction, frame, mrrs=result["max_read_request"], width=config.width)
    up, down = Traffic(direction, frame, mps=result["max_payload"], mrrs=result["max_read_request"]).bytes()
    budget = wire.spec_bytes(window)
    mpps = packets * 1e3 / window
    return {
        "direction": direction, "frame": frame, "packets": packets, "window_us": window / 1e3, "mpps": mpps,
        "tx_mpps": sent * 1e3 / window, "rx_mpps": received * 1e3 / window,
        "bound_mpps": limit.mpps, "bound_by": limit.name, "ratio": mpps / limit.mpps,
        "reads_in_flight_mean": pcie["in_flight"]["mean"], "reads_in_flight_max": pcie["in_flight"]["max"],
        "descriptors_per_fetch": pcie["descriptors_per_fetch"], "used_per_write": pcie["used_per_write"],
        "up_bytes": pcie["up_bytes"] / packets, "up_formula": up, "up_busy": pcie["up_bytes"] / budget,
        "down_bytes": pcie["down_bytes"] / packets, "down_formula": down, "down_busy": pcie["down_bytes"] / budget,
        "doorbells_per_packet": pcie["doorbells"] / packets, "messages_per_packet": pcie["messages"] / packets,
        "pcie": pcie,
    }


COLUMNS = (
    ("Mpps", lambda r: f"{r['mpps']:.1f}"),
    ("bound", lambda r: f"{r['bound_mpps']:.1f} ({r['bound_by']})"),
    ("ratio", lambda r: f"{r['ratio']:.3f}"),
    ("reads in flight\nmean / max", lambda r: f"{r['reads_in_flight_mean']:.0f} / {r['reads_in_flight_max']}"),
    ("descriptors\nper fetch", lambda r: f"{r['descriptors_per_fetch']:.1f}"),
    ("used\nper write", lambda r: f"{r['used_per_write']:.1f}"),
    ("bytes up\nmeasured / formula", lambda r: f"{r['up_bytes']:.1f} / {r['up_formula']:.1f}"),
    ("bytes down\nmeasured / formula", lambda r: f"{r['down_bytes']:.1f} / {r['down_formula']:.1f}"),
    ("link busy\nup / down", lambda r: f"{r['up_busy']:.2f} / {r['down_busy']:.2f}"),
    ("per packet\ndoorbells / MSI-X", lambda r: f"{r['doorbells_per_packet']:.3f} / {r['messages_per_packet']:.3f}"),
)


def _table(console, title, rows):
    table = Table(title=title)
    table.add_column("64-byte frames" if rows[0]["frame"] == FRAME else f"{rows[0]['frame'] + 4}-byte frames")
    for name, _ in COLUMNS:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(row["direction"], *[show(row) for _, show in COLUMNS])
    console.print(table)


def _options(arguments):
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"a window of {QUICK_NS // 1000} µs")
    parser.add_argument("--config", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--link", default="gen3x8")
    parser.add_argument("--profile", default="e5-warm")
    parser.add_argument("--frame", type=int, default=FRAME, help="bytes of a frame without FCS, 14 to 1514")
    parser.add_argument("--only", choices=DIRECTIONS, action="append", help="this row alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def _measure_all(options, config):
    check_simulator("verilator")
    verilog = verilog_of(config)
    print(f"bench: simulation of {config.name!r} (minutes the first time, then cached)", flush=True)
    built = build("verilator", TOP, [verilog], label=config.name)
    window = QUICK_NS if options.quick else WINDOW_NS
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:      # each row is a process of its own
        return list(pool.map(lambda direction: measure(
            built, verilog.with_suffix(".json"), config, direction, link=options.link, profile=options.profile,
            frame=options.frame, window_ns=window, seed=options.seed), options.only or DIRECTIONS))


def main(arguments=None):
    options = _options(arguments)
    try:
        config = configuration(options.config, options.set)
        for what, name, known in (("link", options.link, LINKS), ("latency profile", options.profile, PROFILES)):
            if name not in known:
                raise ConfigError(f"unknown {what} {name!r}; there are: {', '.join(known)}")
        if not 14 <= options.frame <= 1514:
            raise ConfigError(f"a frame has 14 to 1514 bytes, not {options.frame}")
        rows = _measure_all(options, config)
    except (ConfigError, SimulatorError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except AssertionError as error:
        print(f"bench: FAILED: {error}", file=sys.stderr)
        return 1
    title = f"{config.name}, {config.width} bit, {options.link}, {options.profile}"
    _table(Console(width=150), title, rows)
    out = RESULTS / "bench.json"
    out.write_text(json.dumps({"config": config.name, "link": options.link, "profile": options.profile,
                               "seed": options.seed, "warm_up_us": WARM_UP_NS / 1e3, "rows": rows}, indent=1) + "\n")
    print(f"means over {rows[0]['window_us']:.0f} µs after {WARM_UP_NS / 1e3:.0f} µs of warm-up; written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
