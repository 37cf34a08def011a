"""Traffic that goes on while queues come and go: numbered frames of a flow for each pair, both ways."""

import struct

from testbench.driver.platform import DriverError
from testbench.system.load import datagram

__all__ = ["Numbered"]

WINDOW = 3              # frames of a flow on their way in
PATIENCE_NS = 60_000    # after which a frame of a queue that may be reset counts as lost


class Numbered:
    """Sends on every pair as fast as it goes, and lets frames of each pair's flow arrive. Pairs from `steady` on may be
    reset: their frames may get lost, but none is doubled, changed or, on the wire, out of order. Those before are
    in order, and complete but for `lost` received ones, which the card has to account for.

    Attributes
    ----------
    out, back : list of int
        frames of each flow on the wire, and in the driver's hands
    elsewhere : frames that came to another pair than that of their flow
    wire_gap_ns : longest time between two frames of pair 0 on the wire
    """

    def __init__(self, bench, nic, *, steady=1, length=200, batch=6):
        self.bench, self.nic, self.steady, self.batch = bench, nic, steady, batch
        pairs = len(nic.transmitters)
        self._frames = [datagram(bench, pair, length) for pair in range(pairs)]
        self._sent, self._last = [0] * pairs, [-1] * pairs
        self._seen = [set() for _ in range(pairs)]
        self.out, self.back = [0] * pairs, [0] * pairs
        self.elsewhere = self.lost = 0
        self.wire_gap_ns = self._wire_at = 0
        self._tasks = []

    def frame(self, pair, number):
        return self._frames[pair][:-4] + number.to_bytes(4, "big")

    def start(self):
        self.bench.mac.on_frame.append(self._on_wire)
        pairs, spawn = range(len(self._frames)), self.bench.platform.spawn
        self._tasks = [spawn(part) for pair in pairs for part in (self._send(pair), self._feed(pair))]
        self._tasks.append(spawn(self._receive()))

    async def stop(self):
        """No more from the driver; what is under way ends."""
        for task in self._tasks:
            task.cancel()
        await self.bench.settle()
        self.bench.mac.on_frame.remove(self._on_wire)
        self.bench.forget_wire()

    def check(self):
        """What must have come, has."""
        for pair in range(self.steady):
            assert self.out[pair] == self._last[pair] + 1 and self.out[pair] > 10, f"pair {pair}: {self.out}"
            assert self.back[pair] > 10, f"pair {pair}: {self.back}"

    async def _send(self, pair):
        while True:
            try:
                for _ in range(self.batch):
                    number, self._sent[pair] = self._sent[pair], self._sent[pair] + 1
                    queue, framing = self.nic.transmitters[pair], self.nic.options.framing
                    while not queue.post(self.frame(pair, number), framing):
                        await queue.kick()
                        await queue.wait_used()
                await queue.kick()
            except DriverError:
                assert pair >= self.steady
                await self.bench.platform.sleep(300)

    async def _feed(self, pair):
        number = 0
        while not self.out[pair]:       # the card doesn't know the flow before
            await self.bench.platform.sleep(200)
        while True:
            numbers = range(number, number + WINDOW)
            for number in numbers:
                self.bench.mac.send(self.frame(pair, number))
            number += 1
            deadline = self.bench.platform.now() + PATIENCE_NS
            while not self._seen[pair].issuperset(numbers):
                if self.bench.platform.now() > deadline:
                    break
                await self.bench.platform.sleep(200)

    async def _receive(self):
        while True:
            try:
                for pair, frame in await self.nic.receive_any():
                    flow, number = self._identify(frame)
                    assert number not in self._seen[flow], f"frame {number} of pair {flow} came twice"
                    if flow < self.steady:
                        missing = number - max(self._seen[flow], default=-1) - 1
                        assert missing >= 0 and pair == flow, f"frame {number} of pair {flow} came to {pair}, or late"
                        self.lost += missing
                    self._seen[flow].add(number)
                    self.back[flow] += 1
                    self.elsewhere += pair != flow
            except DriverError:
                await self.bench.platform.sleep(100)

    def _on_wire(self, frame):
        flow, number = self._identify(frame.data)
        assert number > self._last[flow], f"frame {number} of pair {flow} came behind {self._last[flow]}"
        assert flow >= self.steady or number == self._last[flow] + 1, f"frame {number} of pair {flow} is too many"
        self._last[flow] = number
        self.out[flow] += 1
        if flow == 0:
            now = self.bench.platform.now()
            self.wire_gap_ns = max(self.wire_gap_ns, now - (self._wire_at or now))
            self._wire_at = now

    def _identify(self, frame):
        flow, number = struct.unpack_from(">H", frame, 34)[0] - 1024, int.from_bytes(frame[-4:], "big")
        assert frame == self.frame(flow, number), f"frame {number} of pair {flow} is different"
        return flow, number
