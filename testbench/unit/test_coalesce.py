"""Interrupt coalescing: what is due, when, and that nothing waits for longer than it may."""

import random

import pytest
from amaranth.hdl import Cat

from hdl.virtqueue.coalesce import Coalesce
from testbench.unit.bench import StreamBench

US = 5      # cycles per µs


class Rig:
    """`Coalesce` of `pairs` queues at 5 MHz. `out`: (cycle, queue, slots, due); `taken`: (cycle, queue, buffers)."""

    def __init__(self, pairs=4, *, stall=0.0, seed=1):
        self.pairs = pairs
        self.dut = dut = Coalesce(pairs, max(1, (pairs - 1).bit_length()), clock_hz=US * 1_000_000)
        self.bench = StreamBench(dut, seed=seed)
        self.notifications = self.bench.get(dut.notifications, stall=stall)
        self.out, self.taken, self.now = [], [], 0
        self.bench.process(self.watch, wait=False)

    async def watch(self, ctx):
        out, i = self.dut.notifications, self.dut.published
        while True:
            _, _, taken, queue, buffers, *sample = await ctx.tick().sample(
                i.valid & i.ready, i.payload.queue, i.payload.buffers, Cat(out.valid & out.ready, out.payload.due),
                out.payload.queue, out.payload.slots)
            if taken:
                self.taken.append((self.now, queue, buffers))
            if sample[0] & 1:
                self.out.append((self.now, sample[1], sample[2], sample[0] >> 1))
            self.now += 1

    async def start(self, ctx):
        for queue in range(self.pairs):
            ctx.set(self.dut.init, {"valid": 1, "queue": queue})
            await ctx.tick()
        ctx.set(self.dut.init.valid, 0)

    async def set(self, ctx, queue, max_packets, max_usecs):
        ctx.set(self.dut.coalescing, {"valid": 1, "queue": queue, "max_packets": max_packets, "max_usecs": max_usecs})
        await ctx.tick()
        ctx.set(self.dut.coalescing.valid, 0)
        await ctx.tick().repeat(2)

    async def tell(self, ctx, queue, buffers=1, slots=None):
        ctx.set(self.dut.published.payload, {"queue": queue, "next": {"index": self.now % 1000, "wrap": 1},
                                             "slots": slots or buffers, "buffers": buffers})
        ctx.set(self.dut.published.valid, 1)
        await ctx.tick().until(self.dut.published.ready)
        ctx.set(self.dut.published.valid, 0)

    def run(self, scenario, **options):
        async def body(ctx):
            await self.start(ctx)
            await scenario(ctx)
        self.bench.process(body)
        self.bench.run(**options)

    def due(self, queue=None):
        return [cycle for cycle, number, _, due in self.out if due and queue in (None, number)]


@pytest.mark.parametrize("packets, usecs", [(0, 0), (0, 100), (8, 0), (1, 100), (1, 1)])
@pytest.mark.requirements("NET-186")
def test_every_buffer(packets, usecs):
    """Either parameter 0, or one packet: everything is due at once, and out in the same cycle, unchanged."""
    rig = Rig()

    async def scenario(ctx):
        await rig.set(ctx, 2, packets, usecs)
        for buffers in (1, 5, 64, 1):
            await rig.tell(ctx, 2, buffers, slots=3 * buffers)
    rig.run(scenario)
    assert [entry[1:] for entry in rig.out] == [(2, 3, 1), (2, 15, 1), (2, 192, 1), (2, 3, 1)]
    assert [out[0] - taken[0] for out, taken in zip(rig.out, rig.taken)] == [0] * 4
    assert [note.next.index for note in rig.notifications] != [0] * 4


@pytest.mark.requirements("NET-185")
def test_max_packets():
    """Counted in buffers, from nothing after each time; of every queue for itself."""
    rig = Rig()

    async def scenario(ctx):
        await rig.set(ctx, 1, 10, 1_000_000)
        await rig.set(ctx, 2, 3, 1_000_000)
        for buffers in (4, 5, 1, 9, 64, 1, 8, 1):
            await rig.tell(ctx, 1, buffers)
            await rig.tell(ctx, 2)
            await rig.tell(ctx, 0)
    rig.run(scenario, settle=2000)
    assert [due for _, queue, _, due in rig.out if queue == 1] == [0, 0, 1, 0, 1, 0, 0, 1]
    assert [due for _, queue, _, due in rig.out if queue == 2] == [0, 0, 1, 0, 0, 1, 0, 0]
    assert [due for _, queue, _, due in rig.out if queue == 0] == [1] * 8


@pytest.mark.parametrize("usecs", [1, 2, 20])
@pytest.mark.requirements("NET-185")
def test_max_usecs(usecs):
    """From the first buffer on, once; the next buffer begins anew."""
    rig = Rig(pairs=6)

    async def scenario(ctx):
        await rig.set(ctx, 5, 100, usecs)
        for gap in (2, 1, usecs * US + 30, 3, 7, 400):
            await rig.tell(ctx, 5)
            await ctx.tick().repeat(gap)
    rig.run(scenario, settle=2000)
    begun, expected = None, []
    alone = [entry[0] for entry in rig.out if entry[2] == 0]
    for cycle, *_ in rig.taken:
        if begun is None or any(begun < end <= cycle for end in alone):
            begun = cycle
            expected.append(cycle)
    assert rig.due() == alone and len(alone) == len(expected) >= 2
    for begin, end in zip(expected, alone):
        assert (usecs - 1) * US <= end - begin <= usecs * US + 6 + 3


@pytest.mark.parametrize("pairs", [1, 3])
def test_count_and_time_at_once(pairs):
    """The buffer that reaches max_packets comes at any moment of the end of the time: the driver is told of both or
    of each, and never of nothing."""
    rig = Rig(pairs)

    async def scenario(ctx):
        await rig.set(ctx, 0, 2, 8)
        for gap in range(30, 50):
            before = len(rig.due())
            await rig.tell(ctx, 0)
            await ctx.tick().repeat(gap)
            await rig.tell(ctx, 0)
            await ctx.tick().repeat(80)
            assert len(rig.due()) - before in (1, 2)
            numbers.add(len(rig.due()) - before)
    numbers = set()
    rig.run(scenario)
    assert numbers == {1, 2}
    waiting = 0
    for _, _, slots, due in rig.out:
        waiting += slots
        assert waiting or not due, "told of nothing"
        waiting = 0 if due else waiting
    assert waiting == 0


@pytest.mark.requirements("NET-188")
@pytest.mark.parametrize("packets, usecs, due", [(0, 0, 1), (3, 5000, 1), (4, 5000, 0), (0, 5000, 1), (9, 1, 1)])
def test_new_parameters_count_at_once(packets, usecs, due):
    rig = Rig()

    async def scenario(ctx):
        await rig.set(ctx, 3, 9, 10_000)
        for _ in range(3):
            await rig.tell(ctx, 3)
        await ctx.tick().repeat(200)
        assert not rig.due()
        await rig.set(ctx, 3, packets, usecs)
        await ctx.tick().repeat(8)
        assert len(rig.due(3)) == due
    rig.run(scenario)


def test_large_parameters():
    """32 bits each; what does not fit counts as the largest that does."""
    rig = Rig(pairs=1)

    async def scenario(ctx):
        await rig.set(ctx, 0, 1 << 16, 1 << 20)
        for _ in range(1200):
            await rig.tell(ctx, 0, 64)
    rig.run(scenario)
    assert [n for n, entry in enumerate(rig.out) if entry[3]] == [1023]


@pytest.mark.requirements("NET-182")
def test_initialise():
    """Parameters and counts are gone; without parameters nothing waits."""
    rig = Rig()

    async def scenario(ctx):
        await rig.set(ctx, 1, 10, 1000)
        await rig.tell(ctx, 1, 5)
        await rig.start(ctx)
        await ctx.tick().repeat(50)
        assert not rig.due()
        await rig.tell(ctx, 1)
        await ctx.tick().repeat(3)
        assert len(rig.due()) == 1
        await rig.set(ctx, 1, 2, 1000)
        await rig.tell(ctx, 1)
        await ctx.tick().repeat(20)
        assert len(rig.due()) == 1
    rig.run(scenario)


def test_quiesce_and_idle():
    """Waiting buffers don't keep it from being idle, and nothing comes of them in a reset."""
    rig = Rig()

    async def scenario(ctx):
        await rig.set(ctx, 1, 10, 5)
        await rig.tell(ctx, 1)
        ctx.set(rig.dut.quiesce, 1)
        await ctx.tick().repeat(3)
        for _ in range(100):
            assert ctx.get(rig.dut.idle)
            await ctx.tick()
        assert not rig.due()
        ctx.set(rig.dut.quiesce, 0)
        await ctx.tick().repeat(20)
        assert len(rig.due()) == 1
    rig.run(scenario)


def test_throughput():
    rig = Rig(pairs=3)

    async def scenario(ctx):
        await rig.set(ctx, 1, 7, 1000)
        for n in range(60):
            await rig.tell(ctx, n % 3)
    rig.run(scenario)
    assert rig.taken[-1][0] - rig.taken[0][0] == 59


@pytest.mark.requirements("NET-185", "NET-186", "NET-188")
@pytest.mark.parametrize("pairs, seed", [(1, 0), (3, 1), (5, 2), (8, 3)])
def test_random(pairs, seed):
    """Against a count in Python: what is due by count, exactly; by time, in its time; and nothing is left."""
    rng = random.Random(seed)
    stall = rng.choice([0, 0.3])
    rig = Rig(pairs, stall=stall, seed=seed)
    limits = [(0, 0)] * pairs
    changes = []

    async def scenario(ctx):
        for _ in range(300):
            if rng.random() < 0.08:
                queue = rng.randrange(pairs)
                limits[queue] = rng.choice([(0, 0), (4, 3), (1, 9), (30, 2), (7, 50), (0, 5), (5, 0), (1000, 12)])
                changes.append((rig.now, queue, *limits[queue]))
                await rig.set(ctx, queue, *limits[queue])
            await rig.tell(ctx, rng.randrange(pairs), rng.choice([1, 1, 1, 3, 64]))
            if rng.random() < 0.4:
                await ctx.tick().repeat(rng.choice([1, 2, 5, 30]))
    rig.run(scenario, settle=1000)
    slack = 30 + 10 * pairs
    for queue in range(pairs):
        told = [buffers for _, number, buffers in rig.taken if number == queue]
        outs = [entry for entry in rig.out if entry[1] == queue]
        assert [slots for _, _, slots, _ in outs if slots] == told
        history = [(0, 0, 0)] + [(cycle, *rest) for cycle, number, *rest in changes if number == queue]
        waiting, begun = 0, None
        for cycle, _, slots, due in outs:
            near = [change for change in history if change[0] <= cycle]
            recent = near[-1:] + [change for change in near[:-1] if near[near.index(change) + 1][0] > cycle - slack]
            waiting += slots
            begun = cycle if begun is None else begun
            met = [packets == 0 or usecs == 0 or waiting >= packets for _, packets, usecs in recent]
            late = [cycle - begun >= (usecs - 1) * US - slack * (stall > 0) for _, _, usecs in recent]
            if slots:
                assert due in met
            else:
                assert due and (any(met) or any(late))
            assert begun >= cycle - max(usecs * US for _, _, usecs in recent) - slack or due
            if due:
                waiting, begun = 0, None
        assert waiting == 0
