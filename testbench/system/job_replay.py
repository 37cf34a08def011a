"""The main job inside the simulator: see sim/replay.py, which starts it and prints what it leaves behind."""

import json
import time
from pathlib import Path

import cocotb

from testbench.system.bench import Bench
from testbench.system.case import settings
from testbench.system.echo import Echo

RING = 1024


@cocotb.test()
async def replay(dut):
    """Echo the frames of the job file; leave a result."""
    options = settings()
    job = json.loads(Path(options["job"]).read_text())
    frames = _frames(Path(job["frames"]).read_bytes(), job["lengths"])
    bench = Bench(dut, options, {"mtu": job["mtu"]})
    await bench.start()
    nic = await bench.nic(queue_size=min(RING, bench.parameter("queue_size_max")))
    echo = Echo(bench, nic, batch=nic.options.doorbell_batch)
    statistics = bench.host.statistics
    statistics.restart(bench.env.now)
    wall, cycle = time.perf_counter(), bench.env.now
    await echo.run(frames, job["times"])
    result = {**_figures(bench, echo), "pcie": statistics.report(bench.env.now),
              "cycles_per_second": (bench.env.now - cycle) / (time.perf_counter() - wall)}
    await bench.finish()
    bench.save_events()
    Path(job["result"]).write_text(json.dumps(result))


def _frames(content, lengths):
    frames, at = [], 0
    for length in lengths:
        frames.append(content[at:at + length])
        at += length
    return frames


def _figures(bench, echo):
    """Transmit counts from the first doorbell to the last beat on the wire, receive from the driver's start to the last
    frame in its hands; so the way through the card is in both."""
    period, probe = bench.env.period_ns, echo.probe
    return {
        "transmit_ns": (probe.last_wire - probe.first_doorbell) * period,
        "receive_ns": echo.received_at[-1],
        "received_at_ns": echo.received_at,
        "latencies_ns": sorted(cycles * period for cycles in probe.cycles),
        "max_payload": bench.host.rules.mps, "max_read_request": bench.host.rules.mrrs,
    }
