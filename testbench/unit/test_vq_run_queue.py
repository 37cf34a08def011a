"""The run queue: a queue stands in it once, and no push is lost, also in the cycle in which it is taken."""

import random

import pytest
from amaranth.sim import Simulator

from hdl.virtqueue.run_queue import RunQueue


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("queues", [1, 3, 8])
@pytest.mark.parametrize("through", [False, True])
def test_against_a_set(queues, seed, through):
    dut, rng = RunQueue(queues, 3, through=through), random.Random(seed)
    waiting, same_cycle, taken = [], 0, 0

    async def body(ctx):
        nonlocal same_cycle, taken
        for queue in range(8):
            ctx.set(dut.init, {"valid": 1, "queue": queue})
            await ctx.tick()
        ctx.set(dut.init.valid, 0)
        for cycle in range(1500):
            push = rng.randrange(queues) if rng.random() < 0.4 else None
            again = rng.randrange(queues) if rng.random() < 0.4 else None
            ready = rng.random() < (0.2, 0.9)[cycle // 200 % 2]
            ctx.set(dut.push, {"valid": push is not None, "queue": push or 0})
            ctx.set(dut.again.valid, again is not None)
            ctx.set(dut.again.payload, again or 0)
            ctx.set(dut.o.ready, ready)
            assert ctx.get(dut.again.ready) == (push is None)
            entering = push if push is not None else again
            if through and not waiting and entering is not None:
                waiting.append(entering)
                entering = None
            assert ctx.get(dut.o.valid) == bool(waiting)
            if waiting and ready:
                taken += 1
                assert ctx.get(dut.o.payload) == waiting[0]
                same_cycle += waiting.pop(0) == entering
            if entering is not None and entering not in waiting:
                waiting.append(entering)
            await ctx.tick()
    simulator = Simulator(dut)
    simulator.add_clock(4e-9)
    simulator.add_testbench(body)
    simulator.run()
    assert same_cycle > 10 and taken > 100
