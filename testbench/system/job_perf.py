"""One configuration of `make validate` inside the simulator: see sim/perf_rtl.py."""

import json
import time
from pathlib import Path

import cocotb

from model.moments import BEGIN, TEACH
from testbench.system.bench import Bench
from testbench.system.case import settings
from testbench.system.job_bench import driver_options
from testbench.system.paced import PacedLoad


@cocotb.test()
async def measure(dut):
    """Load one direction or both, wait until it flows, and note for a while when packets are through.

    What the card does now and then, and what the host draws, is the same at the beginning of each load, however long
    the driver took before: `model.perf` begins like that, too.
    """
    options = settings()
    job = options["bench"]
    bench = Bench(dut, options, {"mtu": max(1500, job["frame"] - 14)})
    await bench.start()
    nic = await bench.nic(queue_size=job["ring"], polling=True, **driver_options(job))
    load = PacedLoad(bench, nic, job["frame"], paired=job["direction"] == "both", gap_ns=job["gap_ns"])
    work = {"tx": [load.transmit], "rx": [load.receive], "both": [load.transmit, load.receive]}[job["direction"]]
    if job["queues"] > 1:
        await at(bench, TEACH)
        await load.teach()
        await bench.settle()
    await at(bench, BEGIN)
    tasks = [bench.platform.spawn(begin(pair)) for begin in work for pair in range(job["queues"])]
    await bench.platform.sleep(job["warm_up_ns"])
    statistics = bench.host.statistics
    statistics.restart(bench.env.now)
    load.through["tx"].clear()
    load.through["rx"].clear()
    first, cpu = bench.env.now, time.process_time()
    await bench.platform.sleep(job["window_ns"])
    cpu = time.process_time() - cpu
    result = {"cpu_seconds": cpu, "cycles": bench.env.now - first, "burst": load.burst,
              "through": {name: list(events) for name, events in load.through.items()},
              "pcie": statistics.report(bench.env.now)}
    for task in tasks:
        task.cancel()
    result["cpu_whole"] = time.process_time()
    Path(job["result"]).write_text(json.dumps(result))


async def at(bench, cycle):
    """Wait for that cycle of the simulation. The host draws as from the beginning."""
    left = cycle - bench.env.now
    if left < 2:
        raise AssertionError(f"the driver is {2 - left} cycles late")
    await bench.platform.sleep((left - 2) * bench.env.period_ns)
    while bench.env.now < cycle:
        await bench.clocks(1)
    bench.env.seed(bench.seed)
