"""One row of `make bench` inside the simulator: see sim/bench.py."""

import json
import time
from pathlib import Path

import cocotb

from model import formats
from testbench.bfm.compiled.memory import WatchedMemory
from testbench.driver.framing import Framing
from testbench.driver.net import WANTED
from testbench.system.bench import Bench
from testbench.system.case import settings
from testbench.system.load import BATCH, Load
from testbench.system.load_offload import OffloadLoad
from testbench.system.load_scaling import ScatteredLoad
from testbench.system.load_segments import SegmentLoad
from testbench.system.record import Recorder

ARRIVAL_NS = 50_000         # longer than a loaded card leaves the driver without frames; a card that stands still ends
COALESCE_USECS = 100        # longer than so many packets take at any rate that is measured

MEMORY_BYTES = 512 << 20    # as much as the buffers of the most queues take
# Header and frame each begin where requests and completions are cut anyway: how a driver places them is not what is
# measured.
APART = Framing(cuts=(12,), gap=500)
LOADS = {"plain": Load, "offloads": OffloadLoad, "scattered": ScatteredLoad}
LONGEST_PACKET = 65_557     # to be cut in segments


def driver_options(job):
    """Options of the driver for a job: its features beyond the usual ones, and how its policy lays packets out."""
    names = [*job["features"], *(("NET_CTRL_VQ", "NET_MQ") if job["queues"] > 1 else ())]
    options = {"refill_batch": BATCH, "buffer_slack": 0, "pairs": job["queues"],
               "wanted": WANTED | formats.feature_set(*(formats.Feature[name] for name in names))}
    if job["layout"] != "one":
        options |= {"framing": APART, "receive_framing": APART, "buffer_slack": APART.gap}
    if "segment" in job:
        options["packet_bytes"] = LONGEST_PACKET
    return options


def load_of(bench, nic, job):
    """The load that a job names."""
    options = {"paired": job["direction"] == "both"}
    if "segment" in job:
        return SegmentLoad(bench, nic, job["frame"], kind=job["load"], segment=job["segment"], **options)
    return LOADS[job["load"]](bench, nic, job["frame"], **options)


@cocotb.test()
async def measure(dut):
    """Load one direction or both, wait until it flows, and count for a while; with `record`, the ports' traffic goes
    to that file, and with `trips` the result has what was drawn for each read of descriptors and of packets."""
    options = settings()
    job = options["bench"]
    mtu = 1500 if "segment" in job else max(1500, job["frame"] - 14)
    bench = Bench(dut, options, {"mtu": mtu, "memory": WatchedMemory(size=MEMORY_BYTES)})
    recorder = Recorder(dut) if "record" in job else None
    if recorder:
        recorder.start()
    await bench.start()
    nic = await bench.nic(queue_size=job["ring"], polling=not job["coalesce"], **driver_options(job))
    if job["coalesce"]:
        for direction in ("rx", "tx"):
            await nic.control.set_coalescing(direction, job["coalesce"], COALESCE_USECS)
    load = load_of(bench, nic, job)
    await load.set_up()
    names = {"tx": ["transmit"], "rx": ["receive"], "both": ["transmit", "receive"]}[job["direction"]]
    work = [getattr(load, name) for name in names]
    if job["queues"] > 1:
        await load.teach()
    tasks = [bench.platform.spawn(begin(pair)) for begin in work for pair in range(job["queues"])]
    receives = job["direction"] != "tx"
    await bench.platform.sleep(job["warm_up_ns"])
    if receives:
        await load.arrival(ARRIVAL_NS)
    statistics = bench.host.statistics
    statistics.restart(bench.env.now)
    before = list(load.sent), list(load.received)
    first = bench.env.now
    cpu = time.process_time()
    await bench.platform.sleep(job["window_ns"])
    if receives:
        await load.arrival(ARRIVAL_NS)
    cpu = time.process_time() - cpu
    if recorder:
        recorder.save(job["record"], first, bench.env.now)
    cycles = bench.env.now - first
    result = {"cpu_seconds": cpu, "cycles": cycles, "window_ns": cycles * bench.env.period_ns,
              "sent": [now - then for now, then in zip(load.sent, before[0])],
              "received": [now - then for now, then in zip(load.received, before[1])],
              "before": [sum(counts) for counts in before], "warm_up_ns": job["warm_up_ns"],
              "max_payload": bench.host.rules.mps, "max_read_request": bench.host.rules.mrrs,
              "pcie": statistics.report(bench.env.now)}
    if job.get("trips"):
        result["trips"] = {name: [ns for label, ns in statistics.trips if label == name] for name in ("ring", "tx")}
    for task in tasks:
        task.cancel()
    await bench.finish()
    bench.save_events()
    Path(job["result"]).write_text(json.dumps(result))
