"""One configuration of `make validate` inside the simulator: see sim/perf_rtl.py."""

import json
import time
from pathlib import Path

import cocotb

from testbench.system.bench import Bench
from testbench.system.case import settings
from testbench.system.job_bench import driver_options
from testbench.system.paced import PacedLoad


@cocotb.test()
async def measure(dut):
    """Load one direction or both, wait until it flows, and note for a while when packets are through."""
    options = settings()
    job = options["bench"]
    bench = Bench(dut, options, {"mtu": max(1500, job["frame"] - 14)})
    await bench.start()
    nic = await bench.nic(queue_size=job["ring"], polling=True, **driver_options(job))
    load = PacedLoad(bench, nic, job["frame"], paired=job["direction"] == "both", gap_ns=job["gap_ns"])
    work = {"tx": [load.transmit], "rx": [load.receive], "both": [load.transmit, load.receive]}[job["direction"]]
    if job["queues"] > 1:
        await load.teach()
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
