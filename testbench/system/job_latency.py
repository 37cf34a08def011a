"""How many cycles the card itself takes for one frame when it has nothing else to do: see sim/bench.py."""

import json
from pathlib import Path

import cocotb

from model.formats import DESC_BYTES
from testbench.system.bench import Bench
from testbench.system.case import settings
from testbench.system.job_bench import driver_options
from testbench.system.probe import Passed, Probe

REST_NS = (6_000, 7_000)    # long enough for everything that a frame causes


async def _rest(bench):
    await bench.platform.sleep(bench.random.uniform(*REST_NS))
    await bench.settle()


async def _transmit(bench, nic, probe, frame):
    """Cycles from doorbell to the first wire beat, without the times drawn for the reads in between."""
    probe.clear()
    sent = len(bench.mac.captured)
    await nic.send(frame)
    await _rest(bench)
    wire = bench.mac.captured[sent].first
    queue = nic.transmitters[0]
    rang = next(cycle for cycle, address in probe.doorbells if address == queue.doorbell_at)
    # A fetch that is cut at a boundary, a table or a packet of several buffers is there when its last answer is.
    reads = [probe.last("read", "tx", before=wire)]
    ring = range(queue.ring.descriptors, queue.ring.descriptors + queue.ring.size * DESC_BYTES)
    for label in ("table", "ring"):     # each waits for the one before
        found = [r for r in probe.requests if (r.what, r.label) == ("read", label) and rang <= r.cycle < reads[-1].cycle
                 and r.cycle + r.drawn < reads[-1].cycle and (label != "ring" or r.address in ring)]
        reads += [max(found, key=Passed.due)] if found else []
    return {"cycles": wire - rang - sum(read.drawn for read in reads), "reads": len(reads)}


async def _receive(bench, nic, probe, frame):
    """Cycles from the last wire beat to the used TLP, less the beats of the frame's write; from there to the MSI-X
    message, less the time drawn for the read of the event suppression structure."""
    probe.clear()
    last = []
    on_sent = bench.mac.source.on_sent

    def note(cycle, sent):
        last.append(cycle)
        on_sent(cycle, sent)
    bench.mac.source.on_sent = note
    bench.mac.send(frame)
    assert await nic.receive() == frame
    await _rest(bench)
    bench.mac.source.on_sent = on_sent
    used = probe.first("write", "ring", after=last[0])
    event = probe.first("read", "event", after=used.cycle)
    message = probe.first("write", "msix", after=event.cycle)
    beats = -(-(12 + len(frame)) * 8 // bench.parameter("width"))
    return {"used": used.cycle - last[0] - beats, "message": message.cycle - used.cycle - event.drawn}


@cocotb.test()
async def measure(dut):
    """Frames one by one through an idle card; each figure's smallest, median and largest value."""
    options = settings()
    job = options["bench"]
    bench = Bench(dut, options, {})
    await bench.start()
    nic = await bench.nic(queue_size=job["ring"], **driver_options(job))
    probe = Probe(bench)
    transmitted, received = [], []
    for _ in range(job["frames"]):
        await _rest(bench)
        transmitted.append(await _transmit(bench, nic, probe, bench.frame(job["frame"])))
        received.append(await _receive(bench, nic, probe, bench.frame(job["frame"])))
    result = {"reads": sorted({sample["reads"] for sample in transmitted})}
    for name, samples in (("transmit", [s["cycles"] for s in transmitted]), ("used", [s["used"] for s in received]),
                          ("message", [s["message"] for s in received])):
        samples.sort()
        result[name] = {"min": samples[0], "median": samples[len(samples) // 2], "max": samples[-1]}
    await bench.finish()
    Path(job["result"]).write_text(json.dumps(result))
