"""Which run has been open longest: the timer of used descriptors against a list."""

import random

import pytest
from amaranth.sim import Simulator

from hdl.virtqueue.used_timer import RunTimer

TIMEOUT = 12


@pytest.mark.parametrize("seed, queues, clears", [(1, 1, False), (2, 2, False), (3, 3, True), (4, 8, True)])
def test_runs_open_and_close_in_any_order(seed, queues, clears):
    """A run opens or closes in most cycles, also the only one and several in a row."""
    dut = RunTimer(3, TIMEOUT)
    rng = random.Random(seed)
    runs = []       # (queue, cycle of opening), the oldest first
    seen = set()

    async def drive(ctx):
        closed_before = False
        for cycle in range(3000):
            opened = [queue for queue, _ in runs]
            assert ctx.get(dut.empty) == (not runs)
            if runs:
                assert ctx.get(dut.oldest) == opened[0]
            expired = runs and not closed_before and cycle - runs[0][1] >= TIMEOUT
            assert ctx.get(dut.expired) == bool(expired)
            seen.add((len(runs), bool(expired)))
            # For a while there are many runs, for a while hardly any.
            opens, closes = (0.5, 0.2) if cycle % 100 < 50 else (0.1, 0.6)
            queue, clear = rng.randrange(queues), clears and rng.random() < 0.01
            opened, closed = rng.random() < opens and queue not in opened, rng.random() < closes and queue in opened
            ctx.set(dut.opened, opened)
            ctx.set(dut.closed, closed)
            ctx.set(dut.queue, queue)
            ctx.set(dut.clear, clear)
            if opened:
                runs.append((queue, cycle))
            if closed:
                runs[:] = [run for run in runs if run[0] != queue]
            if clear:
                runs.clear()
            closed_before = closed or clear
            await ctx.tick()
    sim = Simulator(dut)
    sim.add_clock(4e-9)
    sim.add_testbench(drive)
    sim.run()
    assert {(0, False), (1, False), (1, True), (min(queues, 4), True)} <= seen
