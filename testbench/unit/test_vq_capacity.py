"""Capacities of buffers: added up while elements of direct chains and of tables come in turn, and kept until read."""

import random

import pytest

from hdl.virtqueue.capacity import MOST, Capacities
from testbench.unit.bench import StreamBench

BITS, QUEUES, ELEMENTS = 2, 3, 8
LENGTHS = [0, 1, 12, 60, 1500, 0xfff0, 0x10000, MOST - 1, MOST, MOST + 1, 1 << 18, 1 << 31, 2**32 - 1]


class Bench:
    """Stores elements of random buffers, and reads what was completed a cycle before, or later."""

    def __init__(self, seed):
        self.dut = Capacities(QUEUES, BITS, ELEMENTS)
        self.seed, self.rng = seed, random.Random(seed)
        self.chains = [0] * QUEUES          # number of each queue's next buffer
        self.begun = {}                     # (queue, table): bytes and elements so far
        self.known = [{} for _ in range(QUEUES)]
        self.read = 0

    def run(self, cycles):
        bench = StreamBench(self.dut, seed=self.seed, limit=cycles + 100)

        async def body(ctx):
            for queue in range(1 << BITS):
                ctx.set(self.dut.init, {"valid": 1, "queue": queue})
                await ctx.tick()
            ctx.set(self.dut.init.valid, 0)
            for _ in range(cycles):
                await self.cycle(ctx)
        bench.process(body)
        bench.run(settle=1)

    async def cycle(self, ctx):
        rng, queue = self.rng, self.rng.randrange(QUEUES)
        stored, done = {"queue": queue}, None
        if rng.random() < 0.05:
            stored["rewind"] = 1
            stored |= {"last": rng.getrandbits(1), "write": rng.getrandbits(1), "length": rng.choice(LENGTHS)}
            self.begun = {key: value for key, value in self.begun.items() if key[0] != queue}
        elif rng.random() < 0.8:
            done = self.element(stored, (queue, rng.getrandbits(1)))
        ctx.set(self.dut.stored, stored)
        queue = rng.randrange(QUEUES)
        looked = rng.choice(list(self.known[queue].items())) if self.known[queue] else None
        if looked:
            ctx.set(self.dut.read_queue, queue)
            ctx.set(self.dut.read_chain, looked[0])
        ctx.set(self.dut.read_enable, looked is not None)
        await ctx.tick()
        if done:
            self.known[done[0]][done[1]] = done[2]
        if looked:
            ctx.set(self.dut.read_enable, 0)
            assert ctx.get(self.dut.read) == looked[1], f"seed {self.seed}"
            self.read += 1

    def element(self, stored, key):
        """One more element of a buffer; returns (queue, number, capacity) if it is the last."""
        rng, (queue, table) = self.rng, key
        length, write, last = rng.choice(LENGTHS), rng.random() < 0.8, rng.random() < 0.4
        size, elements = self.begun.get(key, (0, 0))
        self.begun[key] = size, elements = min(MOST, size + length * write), elements + 1
        stored |= {"valid": 1, "table": table, "length": length, "write": write, "last": last}
        if not last:
            stored["chain"] = rng.randrange(2 * ELEMENTS)
            return None
        stored["chain"], self.chains[queue] = self.chains[queue], (self.chains[queue] + 1) % (2 * ELEMENTS)
        del self.begun[key]
        return queue, stored["chain"] % ELEMENTS, {"bytes": size, "single": int(table or elements == 1)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.requirements("PKD-022", "PKD-026")
def test_random_buffers(seed):
    bench = Bench(seed)
    bench.run(3000)
    assert bench.read > 1000
