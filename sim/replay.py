"""make run: send every frame of a capture through the card and back, and print what it cost.

The reference driver sends each frame; the MAC loops it back; the driver receives it; what came out is compared byte for
byte with what went in and written as a capture.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hdl.config import ConfigError
from hdl.generate import configuration
from model.latency import PROFILES
from model.link import LINKS, Link, Mix, bus_bound, link_bound

from .capture import CapturedFrame, CaptureError, read_capture, write_capture
from .rtl import TOP, verilog_of
from .simulators import BUILD, SimulatorError, build, check_simulator, run

__all__ = ["main", "replay"]

RUNS = BUILD / "run"


def replay(frames, config, *, link="gen3x8", profile="e5-warm", pace=False, simulator="verilator", seed=1, extra=None,
           say=print):
    """Run the job on `CapturedFrame`s; returns its result, a dict: see `_summary` and testbench/system/job_replay.py.
    `extra` settings of the `Bench` may ask for more, as for what event taps tell.

    Raises `SimulatorError` for what keeps it from running and `AssertionError` for what it found wrong.
    """
    check_simulator(simulator)
    directory = RUNS
    directory.mkdir(parents=True, exist_ok=True)
    result, blob, job = (directory / name for name in ("result.json", "frames.bin", "job.json"))
    result.unlink(missing_ok=True)
    blob.write_bytes(b"".join(frame.data for frame in frames))
    first = frames[0].time_ns
    job.write_text(json.dumps({
        "frames": str(blob), "lengths": [len(frame.data) for frame in frames], "result": str(result),
        "times": [frame.time_ns - first for frame in frames] if pace else None, "mtu": _mtu(config)}))
    say(f"run: Verilog of {config.name!r}")
    verilog = verilog_of(config, taps="taps" in (extra or {}))
    say(f"run: simulation of it under {simulator} (minutes the first time, then cached)")
    built = build(simulator, TOP, [verilog], label=config.name)     # a run is too short for optimisation to pay
    say(f"run: {len(frames)} frames")
    settings = {"manifest": str(verilog.with_suffix(".json")), "link": link, "profile": profile, "seed": seed,
                "job": str(job), "simulator": simulator, **(extra or {})}
    started = time.perf_counter()
    outcome = run(built, "testbench.system.job_replay", environment={"NIC_RUN": json.dumps(settings)},
                  directory=directory / "sim", seed=seed)
    if not outcome.ok or not result.exists():
        raise AssertionError(f"{outcome.summary()} (log: {outcome.log})")
    return _summary(json.loads(result.read_text()), frames, config, link) | {
        "wall_seconds": time.perf_counter() - started}


def _mtu(config):
    """What the card is strapped to."""
    return config.max_mtu


def _summary(result, frames, config, link):
    """The job's result with the figures that follow from it."""
    lengths = Counter(len(frame.data) for frame in frames)
    count, size = lengths.total(), sum(length * n for length, n in lengths.items())
    traffic = Mix("both", lengths, mps=result["max_payload"], mrrs=result["max_read_request"])
    parts = {"PCIe link": link_bound(Link(link, mps=result["max_payload"]), traffic),
             "bus": bus_bound(traffic, width=config.width)}
    bound_by = min(parts, key=parts.get)
    latencies = result.pop("latencies_ns")
    figures = {"frames": count, "bytes": size, "bound_mpps": parts[bound_by], "bound_by": bound_by}
    for name in ("transmit", "receive"):
        figures[f"{name}_mpps"] = count * 1e3 / result[f"{name}_ns"]
        figures[f"{name}_gbps"] = 8 * size / result[f"{name}_ns"]
    figures["ratio"] = min(figures["transmit_mpps"], figures["receive_mpps"]) / parts[bound_by]
    for name, share in (("min", 0), ("median", 0.5), ("p99", 0.99)):
        figures[f"latency_{name}_ns"] = latencies[int(share * (len(latencies) - 1))] if latencies else None
    return result | figures | {"latency_samples": len(latencies), "upstream": result["pcie"]["up_bytes"] / count,
                               "downstream": result["pcie"]["down_bytes"] / count}


def _table(console, title, a):
    table = Table(title=title, show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    pcie = a["pcie"]
    latency = " / ".join(f"{a[f'latency_{name}_ns']:.0f}" for name in ("min", "median", "p99")) + " ns" \
        if a["latency_samples"] else "no doorbell was needed"
    rows = [
        ("frames, each out and back in", f"{a['frames']}"),
        ("bytes", f"{a['bytes']}"),
        ("simulated time", f"{a['receive_ns'] / 1e3:.1f} µs"),
        ("transmit", f"{a['transmit_mpps']:.2f} Mpps  {a['transmit_gbps']:.2f} Gb/s"),
        ("receive", f"{a['receive_mpps']:.2f} Mpps  {a['receive_gbps']:.2f} Gb/s"),
        (f"bound for this traffic, each way ({a['bound_by']})", f"{a['bound_mpps']:.2f} Mpps"),
        ("ratio to the bound", f"{a['ratio']:.3f}"),
        ("PCIe bytes per packet, upstream / downstream", f"{a['upstream']:.1f} / {a['downstream']:.1f}"),
        ("descriptors per fetch", f"{pcie['descriptors_per_fetch']:.1f}"),
        ("used descriptors per write", f"{pcie['used_per_write']:.1f}"),
        ("doorbells", f"{pcie['doorbells']}"),
        ("interrupts", f"{pcie['messages']}"),
        ("doorbell to wire, min / median / p99", latency),
        ("simulator", f"{a['cycles_per_second'] / 1e3:.1f} thousand cycles a second"),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _options(arguments):
    parser = argparse.ArgumentParser(prog="run", description=__doc__.splitlines()[0])
    parser.add_argument("pcap")
    parser.add_argument("--config", default="default", help="preset")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a parameter of it")
    parser.add_argument("--link", default="gen3x8", help=f"one of {', '.join(LINKS)}")
    parser.add_argument("--profile", default="e5-warm", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--simulator", default="verilator")
    parser.add_argument("--pace", action="store_true", help="keep the capture's gaps between frames")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = _options(arguments)
    try:
        config = configuration(options.config, options.set)
        for what, name, known in (("link", options.link, LINKS), ("latency profile", options.profile, PROFILES)):
            if name not in known:
                raise ConfigError(f"unknown {what} {name!r}; there are: {', '.join(known)}")
        frames = read_capture(options.pcap, mtu=config.max_mtu)
        if not frames:
            raise CaptureError(f"{options.pcap}: no frame in it")
        answer = replay(frames, config, link=options.link, profile=options.profile, pace=options.pace,
                        simulator=options.simulator, say=lambda line: print(line, flush=True))
    except (ConfigError, CaptureError, SimulatorError) as error:
        print(f"run: {error}", file=sys.stderr)
        return 2
    except AssertionError as error:
        print(f"run: FAILED: {error}", file=sys.stderr)
        return 1
    out = RUNS / f"{Path(options.pcap).name.split('.')[0]}-received.pcap"
    # What came back is what was sent, as the job has checked; the time is when the driver had it.
    write_capture(out, [CapturedFrame(frame.data, frames[0].time_ns + round(at))
                        for frame, at in zip(frames, answer["received_at_ns"])])
    _table(Console(width=100), f"{Path(options.pcap).name}: {config.name}, {config.width} bit, {options.link}, "
                               f"{options.profile}", answer)
    print(f"what came back: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
