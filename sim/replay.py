"""make run: send every frame of a capture through the card and back, and print what it cost.

The reference driver sends each frame; the MAC loops it back; the driver receives it; what came out is compared byte for
byte with what went in and written as a capture.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hdl.config import ConfigError
from hdl.generate import configuration
from model.latency import PROFILES
from model.link import LINKS

from .capture import CaptureError, read_capture, write_capture
from .rtl import TOP, verilog_of
from .simulators import BUILD, SimulatorError, build, run

__all__ = ["main", "replay"]


def replay(frames, config, *, link, profile, pace=False, simulator="verilator", seed=1, times=None):
    """Run the job; returns its result, a dict (see testbench/system/job_replay.py).

    Raises `SimulatorError` for what keeps it from running and `AssertionError` for what the job found wrong.
    """
    directory = BUILD / "run"
    directory.mkdir(parents=True, exist_ok=True)
    job, result, received = (directory / name for name in ("job.json", "result.json", "received.bin"))
    for path in (result, received):
        path.unlink(missing_ok=True)
    blob = directory / "frames.bin"
    blob.write_bytes(b"".join(len(frame).to_bytes(4, "little") + frame for frame in frames))
    job.write_text(json.dumps({"frames": str(blob), "received": str(received), "result": str(result),
                               "times": times if pace else None}))
    verilog = verilog_of(config)
    built = build(simulator, TOP, [verilog], optimise=True, label=config.name)
    settings = {"manifest": str(verilog.with_suffix(".json")), "link": link, "profile": profile, "seed": seed,
                "job": str(job), "simulator": simulator}
    started = time.process_time(), time.perf_counter()
    outcome = run(built, "testbench.system.job_replay", environment={"NIC_RUN": json.dumps(settings)},
                  directory=directory / "sim", seed=seed)
    if not outcome.ok or not result.exists():
        raise AssertionError(outcome.summary())
    answer = json.loads(result.read_text())
    answer["wall_seconds"] = time.perf_counter() - started[1]
    data, got = received.read_bytes(), []
    while data:
        length = int.from_bytes(data[:4], "little")
        got.append(data[4:4 + length])
        data = data[4 + length:]
    if got != list(frames):
        wrong = next((n for n, pair in enumerate(zip(got, frames)) if pair[0] != pair[1]), min(len(got), len(frames)))
        raise AssertionError(f"frame {wrong + 1} of {len(frames)} came back different or not at all")
    return answer, got


def _table(console, capture, config, link, profile, a):
    table = Table(title=f"{capture}: {config.name}, {config.width} bit, {link}, {profile}", show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    rows = [
        ("frames, each both ways", f"{a['frames']}"),
        ("bytes", f"{a['bytes']}"),
        ("simulated time", f"{a['simulated_us']:.1f} µs"),
        ("transmit", f"{a['tx_mpps']:.2f} Mpps  {a['tx_gbps']:.2f} Gb/s"),
        ("receive", f"{a['rx_mpps']:.2f} Mpps  {a['rx_gbps']:.2f} Gb/s"),
        (f"bound for this traffic ({a['bound_by']})", f"{a['bound_mpps']:.2f} Mpps"),
        ("ratio to the bound", f"{a['ratio']:.3f}"),
        ("PCIe bytes per packet, upstream / downstream", f"{a['upstream']:.1f} / {a['downstream']:.1f}"),
        ("descriptors per fetch", f"{a['descriptors_per_fetch']:.1f}"),
        ("used descriptors per write", f"{a['used_per_write']:.1f}"),
        ("doorbells", f"{a['doorbells']}"),
        ("interrupts", f"{a['interrupts']}"),
        ("doorbell to wire, min / median / p99",
         " / ".join(f"{a[f'latency_{name}_ns']:.0f}" for name in ("min", "median", "p99")) + " ns"),
        ("simulator", f"{a['cycles_per_second'] / 1e3:.1f} thousand cycles a second"),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="run", description=__doc__.splitlines()[0])
    parser.add_argument("pcap")
    parser.add_argument("--config", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--link", default="gen3x8", help=f"one of {', '.join(LINKS)}")
    parser.add_argument("--profile", default="e5-warm", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--simulator", default="verilator")
    parser.add_argument("--pace", action="store_true", help="keep the capture's gaps between frames")
    options = parser.parse_args(arguments)
    console = Console(width=100)
    try:
        config = configuration(options.config, options.set)
        for name, known in ((options.link, LINKS), (options.profile, PROFILES)):
            if name not in known:
                raise ConfigError(f"unknown {name!r}; there are: {', '.join(known)}")
        capture = read_capture(options.pcap, max_mtu=config.max_mtu)
        answer, got = replay(capture.frames, config, link=options.link, profile=options.profile, pace=options.pace,
                             simulator=options.simulator, times=capture.times)
    except (ConfigError, CaptureError, SimulatorError) as error:
        print(f"run: {error}", file=sys.stderr)
        return 2
    except AssertionError as error:
        print(f"run: FAILED: {error}", file=sys.stderr)
        return 1
    out = BUILD / "run" / f"{Path(options.pcap).name.split('.')[0]}-received.pcap"
    write_capture(out, got, times=answer.get("times_ns"))
    _table(console, Path(options.pcap).name, config, options.link, options.profile, answer)
    print(f"what came back: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
