"""Device Event Suppression: what is written, and when it may be relied upon."""

import pytest
from amaranth.sim import Simulator

from hdl.virtqueue.suppress import Suppress


def bench(scenario, width=128, event_index=0):
    dut = Suppress(width, 4, 2)

    async def body(ctx):
        ctx.set(dut.event_index, event_index)
        ctx.set(dut.init, {"valid": 1, "queue": 0})
        await ctx.tick()
        ctx.set(dut.init.valid, 0)
        await scenario(ctx, dut)
    simulator = Simulator(dut)
    simulator.add_clock(4e-9)
    simulator.add_testbench(body)
    simulator.run()


async def ask(ctx, dut, queue, enable):
    ctx.set(dut.requests.payload, {"queue": queue, "enable": enable, "position": {"index": 0x5a03, "wrap": 1}})
    ctx.set(dut.requests.valid, 1)
    await ctx.tick().until(dut.requests.ready)
    ctx.set(dut.requests.valid, 0)


@pytest.mark.parametrize("address, words", [(0x1234_5678, [0x1234_5678, 0]),
                                            (0x7_8765_4320, [0x7, 0x8765_4320])])
@pytest.mark.parametrize("event_index, enable, data", [(0, 0, 1 << 16), (0, 1, 0), (1, 0, 1 << 16),
                                                       (1, 1, 2 << 16 | 0xda03)])
@pytest.mark.requirements("PKD-036", "PKD-037", "PKD-044", "PKD-045")
def test_write(address, words, event_index, enable, data):
    async def scenario(ctx, dut):
        ctx.set(dut.config.device, address)
        await ask(ctx, dut, 2, enable)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.config_queue) == 2 and ctx.get(dut.o.valid)
        beat = ctx.get(dut.o.payload)
        header = [beat.header >> 32 * n & 0xffff_ffff for n in range(4)]
        # Memory write of 1 DW, all bytes; 3 DWs of header below 4 GiB.
        assert header == [(0x6000_0001 if words[1] else 0x4000_0001), 0x0000_000f, *words]
        assert (beat.first, beat.last, beat.keep, beat.data) == (1, 1, 1, data)
    bench(scenario, event_index=event_index)


@pytest.mark.requirements("PKD-040")
def test_counts_only_when_accepted():
    async def scenario(ctx, dut):
        await ask(ctx, dut, 1, 0)
        await ask(ctx, dut, 1, 1)
        ctx.set(dut.o.ready, 1)
        for enable in (0, 1):
            await ctx.tick().repeat(20)
            assert not ctx.get(dut.switched.valid) and not ctx.get(dut.idle)
            ctx.set(dut.accepted, 1)
            await ctx.tick()
            ctx.set(dut.accepted, 0)
            assert ctx.get(dut.switched.valid)
            switched = ctx.get(dut.switched.payload)
            assert (switched.queue, switched.enable) == (1, enable)
            ctx.set(dut.switched.ready, 1)
            await ctx.tick()
            ctx.set(dut.switched.ready, 0)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.idle)
    bench(scenario)


def test_quiesce_drops_what_waits():
    async def scenario(ctx, dut):
        for queue in range(4):
            for enable in (0, 1):
                await ask(ctx, dut, queue, enable)
        await ctx.tick().repeat(5)
        ctx.set(dut.quiesce, 1)
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.switched.ready, 1)
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.idle)
        ctx.set(dut.accepted, 1)
        await ctx.tick()
        ctx.set(dut.accepted, 0)
        for _ in range(15):
            assert not ctx.get(dut.o.valid)
            await ctx.tick()
        assert ctx.get(dut.idle)
    bench(scenario)
