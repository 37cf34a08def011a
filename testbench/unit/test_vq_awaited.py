"""VIRTIO_F_EVENT_IDX for doorbells: when the device says which descriptor it waits for."""

import pytest

from testbench.unit.fetch_bench import Bench


@pytest.mark.requirements("PKD-040", "PKD-047")
def test_a_place_serves_for_one_doorbell():
    bench = Bench()

    async def scenario(ctx):
        ctx.set(bench.dut.event_index, 1)
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        for _ in range(4):
            await bench.full(ctx)
        await bench.send(ctx, bench.dut.switched, queue=0, enable=0)
        ctx.set(bench.dut.emptied, 30)
        await bench.bad(ctx, 30, wrap=0)
        assert bench.switches == [(0, 0), (0, 1)] and bench.places[1] == (30, 0)
        await bench.send(ctx, bench.dut.switched, queue=0, enable=1)
        await ctx.tick().repeat(12)
        # Nothing there: the place holds.
        await bench.bad(ctx, 30, wrap=0)
        assert len(bench.switches) == 2 and not ctx.get(bench.dut.looking)
        # Nothing new after a doorbell either.
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        await bench.bad(ctx, 30, wrap=0)
        assert len(bench.switches) == 2 and not ctx.get(bench.dut.looking)
        # Dry further on: the driver has to be told, and only then is the queue at rest.
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        await bench.bad(ctx, 31, wrap=0, count=1)
        assert bench.switches[2:] == [(0, 1)] and bench.places[2] == (31, 0)
        issued = len(bench.asked)
        # A doorbell finds more while that is on its way: the place is the next thing to be told.
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        await bench.bad(ctx, 33, wrap=0, count=2)
        assert len(bench.switches) == 3 and len(bench.asked) == issued + 1 and ctx.get(bench.dut.looking)
        await bench.send(ctx, bench.dut.switched, queue=0, enable=1)
        await ctx.tick().repeat(12)
        assert len(bench.asked) == issued + 2
        await bench.bad(ctx, 33, wrap=0)
        assert bench.switches[3:] == [(0, 1)] and bench.places[3] == (33, 0)
        await bench.send(ctx, bench.dut.switched, queue=0, enable=1)
        await ctx.tick().repeat(12)
        await bench.bad(ctx, 33, wrap=0)
        assert len(bench.switches) == 4 and not ctx.get(bench.dut.looking)
        # Full batches make no change: a driver that has rung for its place is quiet.
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        ctx.set(bench.dut.emptied, 33)
        for _ in range(5):
            await bench.full(ctx)
        assert len(bench.switches) == 4
        await bench.bad(ctx, 70, wrap=0)
        assert bench.switches[4:] == [(0, 1)] and bench.places[4] == (70, 0)
    bench.run(scenario)
