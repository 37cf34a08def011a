"""Counter bank: sums, order of halves, starting values."""

import random

import pytest

from hdl.regs import Counter, CounterBank
from testbench.unit.bench import StreamBench
from testbench.unit.register_bus import RegisterBusAgent

COUNTERS = [
    Counter(name="rx.frames", description="frames received"),
    Counter(name="rx.bytes", description="bytes received", width=14),
    Counter(name="tx.dropped.malformed", description="frames not sent"),
]


def simulate(body, counters=COUNTERS):
    dut = CounterBank(counters)
    bench = StreamBench(dut)
    bus = RegisterBusAgent(dut.bus)

    async def run(ctx):
        await body(ctx, dut, bus)
    bench.process(run)
    bench.run()


@pytest.mark.parametrize("counters", [COUNTERS, COUNTERS[:1]], ids=["three", "one"])
def test_sums(counters):
    rng = random.Random(5)
    expected = dict.fromkeys((c.port for c in counters), 0)

    async def body(ctx, dut, bus):
        for _ in range(300):   # from the first cycle on
            for counter in counters:
                amount = rng.randrange(1 << counter.width)
                ctx.set(getattr(dut, counter.port), amount)
                expected[counter.port] += amount
            await ctx.tick()
        for counter in counters:
            ctx.set(getattr(dut, counter.port), 0)
        await ctx.tick().repeat(len(counters) + 4)
        for n, counter in enumerate(counters):
            assert await bus.read(ctx, 8 * n, size=8) == expected[counter.port]
    simulate(body, counters)


def test_wide_amounts_carry_into_the_high_half():
    counters = [Counter(name="x", description="x", width=32), Counter(name="y", description="y")]

    async def body(ctx, dut, bus):
        ctx.set(dut.x, 0xffff_ffff)
        await ctx.tick().repeat(10)
        ctx.set(dut.x, 0)
        await ctx.tick().repeat(6)
        assert await bus.read(ctx, 0, size=8) == 10 * 0xffff_ffff
        assert await bus.read(ctx, 4) == 9          # kept by the read of the low half
        assert await bus.read(ctx, 8, size=8) == 0
    simulate(body, counters)


def test_halves_agree():
    """The low half overflows between the two reads."""
    counters = [Counter(name="x", description="x", width=32)]

    async def body(ctx, dut, bus):
        ctx.set(dut.x, 0xffff_ffff)
        await ctx.tick()
        ctx.set(dut.x, 0)
        await ctx.tick().repeat(5)
        assert await bus.read(ctx, 0) == 0xffff_ffff
        ctx.set(dut.x, 1)
        await ctx.tick()
        ctx.set(dut.x, 0)
        await ctx.tick().repeat(5)
        assert await bus.read(ctx, 4) == 0
        assert await bus.read(ctx, 0) == 0
        assert await bus.read(ctx, 4) == 1
    simulate(body, counters)


def test_read_only_and_empty_behind():
    async def body(ctx, dut, bus):
        ctx.set(dut.rx_frames, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.rx_frames, 0)
        await ctx.tick().repeat(10)
        await bus.write(ctx, 0, 0xffff_ffff)
        assert await bus.read(ctx, 0) == 2
        for address in (24, 28, 32, 64, 0xffc):
            assert await bus.read(ctx, address) == 0
    simulate(body)


def test_description():
    bank = CounterBank(COUNTERS)
    assert bank.size == 24
    assert bank.describe()[1] == {"name": "rx.bytes", "offset": 8, "bytes": 8, "description": "bytes received"}


@pytest.mark.parametrize("make, message", [
    (lambda: Counter(name="Rx", description=""), "'Rx' is not a dotted name"),
    (lambda: Counter(name="rx..a", description=""), "not a dotted name"),
    (lambda: Counter(name="a", description="", width=33), "1 to 32 bits, not 33"),
    (lambda: CounterBank([]), "1 to 512 counters"),
    (lambda: CounterBank([Counter(name="a.b", description=""), Counter(name="a_b", description="")]), "more than one"),
])
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
