"""Whether another frame of a frame's queue follows: what is offered says so, and so does what was received."""

import random

import pytest
from amaranth.sim import Simulator

from hdl.net.offer import FrameOffer
from hdl.virtqueue.receipts import Receipts

PAIRS, DEPTH = 5, 24


def simulate(dut, body):
    simulator = Simulator(dut)
    simulator.add_clock(4e-9)
    simulator.add_testbench(body)
    simulator.run()


@pytest.mark.parametrize("seed", range(4))
def test_offered(seed):
    """Exactly the frames of the same queue count that were kept and not taken, as their queues were chosen: also after
    queues became inactive, and after a flush."""
    dut, rng = FrameOffer(PAIRS, 3, DEPTH), random.Random(seed)
    said = []

    async def body(ctx):
        inside, chosen, fresh = [], None, []     # queues of frames inside; of one that ended; of one that just came
        ctx.set(dut.active_pairs, PAIRS)
        ctx.set(dut.engine_idle, 1)
        await ctx.tick().until(dut.idle)
        for cycle in range(3000):
            flush = cycle % 1000 >= 980
            crowded, offering = cycle // 150 % 2, len(inside) + len(fresh) < DEPTH - 2 and not flush
            if cycle % 700 == 699:
                ctx.set(dut.active_pairs, rng.randint(1, PAIRS))
            ending = offering and rng.random() < (0.2, 0.5)[crowded]
            ready = rng.random() < (0.6, 0.2)[crowded]
            kept = rng.random() < 0.8
            ctx.set(dut.flush, flush)
            ctx.set(dut.ended, ending)
            ctx.set(dut.kept, kept)
            ctx.set(dut.chosen, chosen is not None)
            if chosen is not None:
                ctx.set(dut.queue, chosen[0])
            ctx.set(dut.frames.ready, ready)
            valid, behind = ctx.get(dut.frames.valid), ctx.get(dut.behind)
            await ctx.tick()
            if valid and ready:
                said.append(behind)
                assert behind == (inside.count(inside[0]) > 1), f"cycle {cycle}: {inside}"
                inside.pop(0)
            if chosen is not None and chosen[1]:
                inside.append(chosen[0])
            chosen = (rng.randrange(ctx.get(dut.active_pairs)), kept) if ending else None
            if flush and chosen is None:
                inside = []
    simulate(dut, body)
    assert 50 < sum(said) < len(said) - 50


@pytest.mark.parametrize("seed", range(3))
def test_received(seed):
    """A receipt of the same queue inside counts, or what the receipt itself says; one of another queue does not."""
    dut, rng = Receipts(3, 8), random.Random(seed)
    said = []

    async def initialise(ctx):
        for queue in range(8):
            ctx.set(dut.init, {"valid": 1, "queue": queue})
            await ctx.tick()
        ctx.set(dut.init.valid, 0)

    async def body(ctx):
        inside = []
        ctx.set(dut.completions.ready, 1)
        await initialise(ctx)
        for number in range(400):
            if number % 100 == 99:      # as a reset does, with receipts inside
                await initialise(ctx)
                inside = []
            for _ in range(rng.randint(0, 8 - len(inside))):
                inside.append({"queue": rng.randrange(3), "id": rng.getrandbits(16), "behind": rng.random() < 0.1})
                ctx.set(dut.i.payload, inside[-1])
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            await ctx.tick()
            for _ in range(rng.randint(0, len(inside))):
                ctx.set(dut.sent, 1)
                await ctx.tick()
                ctx.set(dut.sent, 0)
                *_, done = await ctx.tick().sample(dut.completions.payload).until(dut.completions.valid)
                first = inside.pop(0)
                follows = first["behind"] or any(other["queue"] == first["queue"] for other in inside)
                assert (done.queue, done.id, done.behind) == (first["queue"], first["id"], follows), inside
                said.append(follows)
    simulate(dut, body)
    assert 50 < sum(said) < len(said) - 50
