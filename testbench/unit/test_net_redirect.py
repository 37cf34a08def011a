"""Where frames go whose receive queue is being reset."""

import random

import pytest

from hdl.net.redirect import Redirect
from testbench.unit.bench import StreamBench
from testbench.unit.test_net_steer import ENTRIES, ReceiveBench, random_flow

PAIRS = 5


class Bench:
    """A `Redirect`, and the queues that rest."""

    def __init__(self, body):
        self.dut = Redirect(PAIRS, 3)
        self.rests, self.active = set(), PAIRS
        bench = StreamBench(self.dut, limit=20_000)

        async def run(ctx):
            self.ctx = ctx
            ctx.set(self.dut.active_pairs, PAIRS)
            await ctx.tick().repeat(PAIRS + 2)
            await body(self)
        bench.process(run)
        bench.run()

    async def change(self, name, queue):
        self.ctx.set(getattr(self.dut, name), {"valid": 1, "queue": queue})
        await self.ctx.tick()
        self.ctx.set(getattr(self.dut, name).valid, 0)
        (self.rests.add if name == "reset" else self.rests.discard)(queue)

    def instead(self, queue):
        self.ctx.set(self.dut.queue, queue)
        return self.ctx.get(self.dut.instead)

    async def found(self):
        for cycle in range(PAIRS + 3):
            if not self.ctx.get(self.dut.searching):
                return cycle
            await self.ctx.tick()
        raise AssertionError("it searches for ever")

    async def check(self):
        await self.found()
        usable = set(range(self.active)) - self.rests
        assert self.ctx.get(self.dut.resting) == bool(self.rests)
        others = set()
        for queue in range(self.active):
            instead = self.instead(queue)
            if queue not in self.rests or not usable:
                assert instead == queue
            else:
                others.add(instead)
        assert others <= usable and len(others) <= 1, "one queue serves for all, so that flows keep their order"


@pytest.mark.requirements("NET-154", "NET-155")
def test_any_history():
    rng = random.Random(3)

    async def body(bench):
        for _ in range(300):
            queue = rng.randrange(PAIRS)
            match rng.randrange(5):
                case 0 | 1:
                    await bench.change("reset", queue)
                case 2 | 3:
                    await bench.change("enabled", queue)
                case 4:
                    bench.active = rng.randint(1, PAIRS)
                    bench.ctx.set(bench.dut.active_pairs, bench.active)
                    await bench.ctx.tick()
            await bench.check()
        bench.ctx.set(bench.dut.clear, 1)
        await bench.ctx.tick()
        bench.ctx.set(bench.dut.clear, 0)
        await bench.ctx.tick().repeat(PAIRS + 2)
        bench.rests.clear()
        await bench.check()
    Bench(body)


@pytest.mark.requirements("NET-154", "NET-155")
def test_frames_wait_for_the_other_queue():
    """Frames that wait are offered for another queue from the beginning of the reset to its end; then for theirs."""
    frames = [random_flow(random.Random(n)) for n in range(12)]
    bench = ReceiveBench(frames, learnt=[(frame, 4) for frame in frames])
    dut = bench.dut

    async def take(ctx):
        ctx.set(dut.frames.ready, 1)
        queue, = await ctx.tick().sample(dut.frames.payload.queue).until(dut.frames.valid)
        ctx.set(dut.frames.ready, 0)
        return queue

    async def pulse(ctx, name, queue):
        ctx.set(getattr(dut, name), {"valid": 1, "queue": queue})
        await ctx.tick()
        ctx.set(getattr(dut, name).valid, 0)
        await ctx.tick().repeat(12)

    async def reset(ctx):
        await ctx.tick().repeat(ENTRIES + 150)
        assert await take(ctx) == 4
        await pulse(ctx, "reset", 4)
        assert await take(ctx) == 4, "one that was offered already stays as it is"
        assert [await take(ctx) for _ in range(3)] == [0] * 3
        await pulse(ctx, "reset", 0)
        assert await take(ctx) == 0
        assert await take(ctx) == 1
        for queue in range(1, 4):
            await pulse(ctx, "reset", queue)
        await take(ctx)
        assert await take(ctx) == 4, "there is no other"
        await pulse(ctx, "enabled", 4)
        assert [await take(ctx) for _ in range(3)] == [4] * 3
    bench.process(reset)
    bench.run()


@pytest.mark.requirements("NET-165")
def test_what_receive_side_scaling_has_chosen_stays():
    """No other queue is looked for: whoever serves the queue that is being reset drops its frames."""
    frames = [random_flow(random.Random(n)) for n in range(6)]
    bench = ReceiveBench(frames)
    dut = bench.dut

    async def reset(ctx):
        ctx.set(dut.hashes, 1)
        ctx.set(dut.scaling, {"scaling": 1, "unclassified": 4})
        await ctx.tick().repeat(ENTRIES + 150)
        ctx.set(dut.reset, {"valid": 1, "queue": 4})
        await ctx.tick()
        ctx.set(dut.reset.valid, 0)
        await ctx.tick().repeat(12)
        ctx.set(dut.frames.ready, 1)
        for _ in frames:
            queue, = await ctx.tick().sample(dut.frames.payload.queue).until(dut.frames.valid)
            assert queue == 4
    bench.process(reset)
    bench.run()
