"""ISR status: set by events, cleared by reads of its byte."""

import pytest

from hdl.virtio.isr import Isr
from testbench.unit.bench import StreamBench
from testbench.unit.register_bus import RegisterBusAgent


def simulate(body):
    dut = Isr()
    bench = StreamBench(dut)
    bus = RegisterBusAgent(dut.bus)

    async def run(ctx):
        await body(ctx, dut, bus)
    bench.process(run)
    bench.run()


async def raise_event(ctx, *signals):
    for signal in signals:
        ctx.set(signal, 1)
    await ctx.tick()
    for signal in signals:
        ctx.set(signal, 0)


@pytest.mark.requirements("PCI-066", "PCI-067", "PCI-068")
@pytest.mark.parametrize("events, value", [(["set_queue"], 1), (["set_config"], 2), (["set_queue", "set_config"], 3)])
def test_read_clears(events, value):
    async def body(ctx, dut, bus):
        assert not ctx.get(dut.pending)
        assert await bus.read(ctx, 0, size=1) == 0
        await raise_event(ctx, *(getattr(dut, event) for event in events))
        assert ctx.get(dut.pending)
        assert await bus.read(ctx, 0, size=1) == value
        assert not ctx.get(dut.pending)
        assert await bus.read(ctx, 0, size=1) == 0
    simulate(body)


def test_wide_read_clears_and_reserved_bits_are_0():
    async def body(ctx, dut, bus):
        await raise_event(ctx, dut.set_queue, dut.set_config)
        assert await bus.read(ctx, 0, size=4) == 3
        assert not ctx.get(dut.pending)
    simulate(body)


def test_other_bytes_and_writes_do_not_clear():
    async def body(ctx, dut, bus):
        await raise_event(ctx, dut.set_queue)
        assert await bus.read(ctx, 1, size=3) == 0
        await bus.request(ctx, 0, write=0, data=0, strobe=0)   # a read of no byte
        await bus.answer(ctx)
        await bus.write(ctx, 0, 0xff, size=1)
        assert ctx.get(dut.pending)
        assert await bus.read(ctx, 0, size=1) == 1
    simulate(body)


def test_event_in_the_cycle_of_the_read_is_kept():
    async def body(ctx, dut, bus):
        await raise_event(ctx, dut.set_queue)
        ctx.set(dut.set_config, 1)   # goes away with the cycle in which the read is taken
        await bus.request(ctx, 0, write=0, data=0, strobe=1)
        ctx.set(dut.set_config, 0)
        assert await bus.answer(ctx) == 1
        assert ctx.get(dut.pending)
        assert await bus.read(ctx, 0, size=1) == 2
    simulate(body)


@pytest.mark.requirements("BAS-010")
def test_clear():
    async def body(ctx, dut, bus):
        await raise_event(ctx, dut.set_queue, dut.set_config)
        await raise_event(ctx, dut.clear)
        assert not ctx.get(dut.pending)
        assert await bus.read(ctx, 0, size=1) == 0
    simulate(body)
