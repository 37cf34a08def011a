"""Unit benches speak streams: put, get, assert, with random stalls on every side from a fixed seed.

    bench = StreamBench(dut, seed=1)
    bench.put(dut.i, [payload, ...], stall=0.3)      # drive these, leaving `valid` low 30 % of the time
    out = bench.get(dut.o, count=10, stall=0.5)      # collect; `out` fills while the simulation runs
    bench.run()                                      # until every put is taken and every get is full

Payloads are ints, enums or dicts of fields; what is collected comes back as `data.Const` views (or ints). A stream may
not drop `valid` or change its payload before a transfer: every collector checks that.
"""

import random

from amaranth.hdl import Const, ShapeCastable
from amaranth.sim import Simulator

__all__ = ["StreamBench"]


class StreamBench:
    """A simulation of one component with stream drivers and collectors.

    Parameters
    ----------
    dut : Elaboratable
    seed : int
        seed of every stall; printed when a run fails
    limit : int
        cycles after which a run that is not finished fails
    """

    def __init__(self, dut, *, seed=1, limit=20_000):
        self.dut = dut
        self.seed = seed
        self.limit = limit
        self.sim = Simulator(dut)
        self.sim.add_clock(4e-9)
        self._unfinished = []
        self._random = random.Random(seed)

    def _add(self, name, body, *, wait):
        if wait:
            self._unfinished.append(name)

        async def run(ctx):
            await body(ctx)
            if wait:
                self._unfinished.remove(name)
        self.sim.add_testbench(run, background=True)

    def process(self, body, *, name=None, wait=True):
        """Run `async def body(ctx)`; with `wait` the bench is not finished before it returns."""
        self._add(name or f"process {len(self._unfinished)}", body, wait=wait)

    def put(self, port, payloads, *, stall=0.0, name=None):
        """Drive `payloads` (any iterable) into stream `port`."""
        rng = random.Random(self._random.random())

        async def drive(ctx):
            for payload in payloads:
                while rng.random() < stall:
                    await ctx.tick()
                ctx.set(port.payload, payload)
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)
        self._add(name or f"put {len(self._unfinished)}", drive, wait=True)

    def get(self, port, *, count=None, stall=0.0, name=None):
        """Collect payloads of stream `port` in a list. With `count`, the bench waits for that many."""
        rng = random.Random(self._random.random())
        collected = []

        async def collect(ctx):
            offered = None
            while count is None or len(collected) < count:
                ready = rng.random() >= stall
                ctx.set(port.ready, ready)
                _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
                if offered is not None:
                    assert valid, f"valid dropped before a transfer (seed {self.seed})"
                    assert _bits(payload) == offered, f"payload changed before a transfer (seed {self.seed})"
                offered = None
                if valid and ready:
                    collected.append(payload)
                elif valid:
                    offered = _bits(payload)
            ctx.set(port.ready, 0)
        self._add(name or f"get {len(self._unfinished)}", collect, wait=count is not None)
        return collected

    def run(self, *, settle=50):
        """Run until everything waited for is done and `settle` more cycles have passed."""
        async def supervise(ctx):
            for _ in range(self.limit):
                if not self._unfinished:
                    break
                await ctx.tick()
            await ctx.tick().repeat(settle)
        self.sim.add_testbench(supervise)
        self.sim.run()
        assert not self._unfinished, f"after {self.limit} cycles, waiting for: {self._unfinished} (seed {self.seed})"


def _bits(payload):
    """Payload as an int, to compare by value."""
    if isinstance(payload, int):
        return payload
    return Const.cast(payload).value if not isinstance(payload, ShapeCastable) else payload
