"""When each stage of a lone packet was reached, for `make calibrate`: see sim/perf_rtl.py."""

import json
from pathlib import Path

import cocotb

from testbench.bfm.tlp import Kind
from testbench.system.bench import Bench
from testbench.system.case import settings
from testbench.system.job_bench import driver_options

REST_NS = (6_000, 7_000)    # long enough for everything that a frame causes


class Watch:
    """Everything that passes the ports, with its cycle: (cycle, what, label, tag).

    `cycle` is that of the last beat; "answer" is a completion, with the label of its read.
    """

    def __init__(self, bench):
        self.events = []
        self._labels = {}
        core = bench.host.core
        for stream, note in ((bench.host.cq, self._on_cq), (bench.host.rc, self._on_rc)):
            stream.on_sent = self._behind(stream.on_sent, note)
        core.rq = self._behind(core.rq, self._on_rq)
        self._label_of = core.statistics.label_of

    @staticmethod
    def _behind(first, then):
        def both(cycle, tlp):
            first(cycle, tlp)
            then(cycle, tlp)
        return both

    def _on_cq(self, cycle, tlp):
        if tlp.kind is Kind.MEMORY_WRITE and self._label_of(tlp.address) == "doorbell":
            self.events.append((cycle, "doorbell", "", 0))

    def _on_rq(self, cycle, tlp):
        if tlp.kind in (Kind.MEMORY_READ, Kind.MEMORY_WRITE):
            what = "read" if tlp.kind is Kind.MEMORY_READ else "write"
            label = self._label_of(tlp.address)
            if what == "read":
                self._labels[tlp.tag] = label
            self.events.append((cycle, what, label, tlp.tag))

    def _on_rc(self, cycle, tlp):
        self.events.append((cycle, "answer", self._labels.get(tlp.tag, ""), tlp.tag))


@cocotb.test()
async def measure(dut):
    """Frames one by one through an idle card, each out and then in; the events of each."""
    options = settings()
    job = options["bench"]
    bench = Bench(dut, options, {"mtu": max(1500, job["frame"] - 14)})
    await bench.start()
    nic = await bench.nic(queue_size=job["ring"], **driver_options(job))
    watch = Watch(bench)
    result = {"transmitted": [], "received": []}
    for _ in range(job["frames"]):
        for name in result:
            frame = bench.frame(job["frame"])
            await bench.platform.sleep(bench.random.uniform(*REST_NS))
            await bench.settle()
            watch.events.clear()
            if name == "transmitted":
                sent = len(bench.mac.captured)
                await nic.send(frame)
                await bench.platform.sleep(bench.random.uniform(*REST_NS))
                await bench.settle()
                wire = bench.mac.captured[sent]
                ends = [wire.first, wire.last]
            else:
                ends = await _receive(bench, nic, frame)
            result[name].append({"wire": ends, "events": list(watch.events)})
    await bench.finish()
    Path(job["result"]).write_text(json.dumps(result))


async def _receive(bench, nic, frame):
    """(first, last) cycle of the frame on the wire."""
    last = []
    on_sent = bench.mac.source.on_sent

    def note(cycle, sent):
        last.extend((sent.first, cycle))
        on_sent(cycle, sent)
    bench.mac.source.on_sent = note
    bench.mac.send(frame)
    assert await nic.receive() == frame
    await bench.platform.sleep(bench.random.uniform(*REST_NS))
    await bench.settle()
    bench.mac.source.on_sent = on_sent
    return last
