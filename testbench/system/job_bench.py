"""One row of `make bench` inside the simulator: see sim/bench.py."""

import json
from pathlib import Path

import cocotb

from testbench.system.bench import Bench
from testbench.system.case import settings

RING = 1024
BATCH = 32              # frames per doorbell, and receive buffers
AHEAD = 256             # frames that may come in before as many have gone out, both ways at once
FRAMES = 251            # different ones, sent in turn; a prime, so that they meet every ring position


class Load:
    """A driver that costs nothing: its ring is always as full as it can be kept with whole batches.

    With `paired`, frames come in only as fast as others go out: what is sent as soon as the link has room for it would
    take more than half of the link.

    Attributes
    ----------
    sent, received : int
        frames on the wire, and in the driver's hands; each was compared with what it had to be
    """

    def __init__(self, bench, nic, length, *, paired):
        self.sent = self.received = 0
        self._bench, self._nic = bench, nic
        self._frames = [bench.frame(length) for _ in range(FRAMES)]
        self._fed = 0
        self._paired = paired
        # Buffers that wait to be given back are not there for frames, and a frame takes at least a row of the FIFO.
        rows = bench.manifest["receive_fifo_bytes"] * 8 // bench.parameter("width")
        beats = -(-length * 8 // bench.parameter("width"))
        self._most = min(RING - 2 * BATCH, rows // beats)
        bench.mac.on_frame.append(self._on_wire)

    async def transmit(self):
        """For ever: as soon as there is room for a batch, make one available and ring."""
        queue = self._nic.transmitters[0]
        posted = 0
        while True:
            while queue.room() < BATCH:
                await queue.wait_used()
            queue.post_many([self._frames[(posted + n) % FRAMES] for n in range(BATCH)])
            posted += BATCH
            await queue.kick()

    async def receive(self):
        """For ever: as many frames under way as there are buffers for, or as fit into the receive FIFO."""
        self._feed()
        while True:
            for frame in await self._nic.receive_many():
                assert frame == self._frames[self.received % FRAMES], f"frame {self.received} came in different"
                self.received += 1
            self._feed()

    def _feed(self):
        while self._fed - self.received < self._most and not (self._paired and self._fed >= self.sent + AHEAD):
            self._bench.mac.send(self._frames[self._fed % FRAMES])
            self._fed += 1

    def _on_wire(self, frame):
        assert frame.data == self._frames[self.sent % FRAMES], f"frame {self.sent} went out different"
        self.sent += 1
        self._bench.mac.captured.clear()
        if self._paired:
            self._feed()


@cocotb.test()
async def measure(dut):
    """Load one direction or both, wait until it flows, and count for a while."""
    options = settings()
    job = options["bench"]
    bench = Bench(dut, options, {"mtu": 1500})
    await bench.start()
    nic = await bench.nic(queue_size=RING, polling=True, refill_batch=BATCH, buffer_slack=0)
    load = Load(bench, nic, job["frame"], paired=job["direction"] == "both")
    tasks = [bench.platform.spawn(work()) for work in {
        "tx": [load.transmit], "rx": [load.receive], "both": [load.transmit, load.receive]}[job["direction"]]]
    await bench.platform.sleep(job["warm_up_ns"])
    statistics = bench.host.statistics
    statistics.restart(bench.env.now)
    before = load.sent, load.received
    await bench.platform.sleep(job["window_ns"])
    result = {"sent": load.sent - before[0], "received": load.received - before[1], "window_ns": job["window_ns"],
              "max_payload": bench.host.rules.mps, "max_read_request": bench.host.rules.mrrs,
              "pcie": statistics.report(bench.env.now)}
    for task in tasks:
        task.cancel()
    await bench.finish()
    Path(job["result"]).write_text(json.dumps(result))
