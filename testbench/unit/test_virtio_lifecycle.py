"""Life cycle: quiesce, clear, release; and device_status, which shows it."""

import pytest

from hdl.virtio.lifecycle import LifeCycle
from hdl.virtio.status import DeviceStatus
from testbench.unit.bench import StreamBench

SETTLE = 4


def simulate(dut, body):
    bench = StreamBench(dut)
    bench.process(body)
    bench.run()


async def pulse(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


async def cycles_until(ctx, signal, value, limit=100):
    for cycle in range(limit):
        if ctx.get(signal) == value:
            return cycle
        await ctx.tick()
    raise AssertionError(f"{signal!r} is not {value} within {limit} cycles")


def test_settle_is_checked():
    with pytest.raises(ValueError, match="settle is at least 1 cycle, not 0"):
        LifeCycle(settle=0)


def test_power_on_clears_first():
    dut = LifeCycle(SETTLE)

    async def body(ctx):
        assert ctx.get(dut.quiesce) and ctx.get(dut.clear)
        await ctx.tick()
        assert not ctx.get(dut.clear)
        await ctx.tick().repeat(20)
        assert ctx.get(dut.quiesce)
        ctx.set(dut.all_idle, 1)
        assert await cycles_until(ctx, dut.quiesce, 0) == SETTLE + 1
    simulate(dut, body)


@pytest.mark.requirements("BAS-011", "PCI-029")
@pytest.mark.parametrize("cause", ["request", "flr"])
def test_reset(cause):
    dut = LifeCycle(SETTLE)

    async def body(ctx):
        ctx.set(dut.all_idle, 1)
        await cycles_until(ctx, dut.quiesce, 0)
        ctx.set(dut.all_idle, 0)
        await pulse(ctx, getattr(dut, cause))
        assert ctx.get(dut.quiesce)
        # Nothing is cleared while something is under way, nor on a gap shorter than `settle`.
        for _ in range(10):
            ctx.set(dut.all_idle, 1)
            for _ in range(SETTLE - 1):
                assert not ctx.get(dut.clear)
                await ctx.tick()
            ctx.set(dut.all_idle, 0)
            assert not ctx.get(dut.clear)
            await ctx.tick()
        ctx.set(dut.all_idle, 1)
        assert await cycles_until(ctx, dut.clear, 1) == SETTLE + 1
        await ctx.tick()
        assert not ctx.get(dut.clear)
        # The initialisation has its time.
        ctx.set(dut.all_idle, 0)
        for _ in range(20):
            assert ctx.get(dut.quiesce) and not ctx.get(dut.clear)
            await ctx.tick()
        ctx.set(dut.all_idle, 1)
        assert await cycles_until(ctx, dut.quiesce, 0) == SETTLE + 1
    simulate(dut, body)


def test_requests_during_a_reset_join_it():
    dut = LifeCycle(SETTLE)
    clears = 0

    async def body(ctx):
        nonlocal clears
        ctx.set(dut.all_idle, 1)
        await cycles_until(ctx, dut.quiesce, 0)
        await pulse(ctx, dut.request)
        for cycle in range(40):
            if ctx.get(dut.quiesce):
                ctx.set(dut.request, cycle % 3 == 0)
                ctx.set(dut.flr, cycle % 4 == 0)
            else:
                ctx.set(dut.request, 0)
                ctx.set(dut.flr, 0)
            clears += ctx.get(dut.clear)
            await ctx.tick()
        assert not ctx.get(dut.quiesce)
    simulate(dut, body)
    assert clears == 1


async def write(ctx, dut, value):
    ctx.set(dut.data, value)
    await pulse(ctx, dut.write)


@pytest.mark.requirements("BAS-007", "BAS-008")
def test_status_bits_accumulate():
    dut = DeviceStatus()

    async def body(ctx):
        ctx.set(dut.acceptable, 1)
        assert ctx.get(dut.value) == 0
        for written, shown in [(1, 1), (2, 3), (8, 11), (4, 15), (1, 15), (128, 143)]:
            await write(ctx, dut, written)
            assert ctx.get(dut.value) == shown
    simulate(dut, body)


@pytest.mark.requirements("BAS-007", "BAS-035")
@pytest.mark.parametrize("value", [16, 32, 64])
def test_bits_that_the_driver_cannot_set(value):
    dut = DeviceStatus()

    async def body(ctx):
        await write(ctx, dut, value | 1)
        assert ctx.get(dut.value) == 1
        assert not ctx.get(dut.failed)
    simulate(dut, body)


@pytest.mark.requirements("FEA-003")
def test_features_ok_is_judged_once():
    dut = DeviceStatus()

    async def body(ctx):
        await write(ctx, dut, 11)
        assert ctx.get(dut.value) == 3 and not ctx.get(dut.features_ok)
        ctx.set(dut.acceptable, 1)
        await ctx.tick()
        assert ctx.get(dut.value) == 3
        await write(ctx, dut, 11)
        assert ctx.get(dut.value) == 11 and ctx.get(dut.features_ok)
        ctx.set(dut.acceptable, 0)
        await write(ctx, dut, 15)
        assert ctx.get(dut.value) == 15 and ctx.get(dut.features_ok)
    simulate(dut, body)


@pytest.mark.requirements("BAS-003", "BAS-034")
@pytest.mark.parametrize("acceptable, value, live", [(1, 11, 0), (1, 15, 1), (0, 15, 0), (1, 7, 0), (1, 143, 1)])
def test_live_needs_driver_ok_and_features(acceptable, value, live):
    dut = DeviceStatus()

    async def body(ctx):
        ctx.set(dut.acceptable, acceptable)
        await write(ctx, dut, value)
        assert ctx.get(dut.live) == live and ctx.get(dut.driver_ok) == live
    simulate(dut, body)


@pytest.mark.requirements("BAS-005")
def test_error_sets_needs_reset():
    dut = DeviceStatus()

    async def body(ctx):
        ctx.set(dut.acceptable, 1)
        await write(ctx, dut, 15)
        await pulse(ctx, dut.error)
        assert ctx.get(dut.value) == 79 and ctx.get(dut.failed)
        assert ctx.get(dut.driver_ok) and not ctx.get(dut.live)
        await pulse(ctx, dut.error)
        assert not ctx.get(dut.failed)   # told once
        await write(ctx, dut, 15)
        assert ctx.get(dut.value) == 79
        ctx.set(dut.quiesce, 1)
        await pulse(ctx, dut.clear)
        await pulse(ctx, dut.error)      # of the old life
        ctx.set(dut.quiesce, 0)
        assert ctx.get(dut.value) == 0 and not ctx.get(dut.failed)
    simulate(dut, body)


@pytest.mark.requirements("BAS-009", "PCI-028", "PCI-029")
@pytest.mark.parametrize("before, during", [(15, 15), (0, 1)])
def test_status_reads_0_only_after_the_reset(before, during):
    dut = DeviceStatus()

    async def body(ctx):
        ctx.set(dut.acceptable, 1)
        if before:
            await write(ctx, dut, before)
        assert not ctx.get(dut.reset)
        await write(ctx, dut, 0)
        assert ctx.get(dut.reset)
        ctx.set(dut.quiesce, 1)
        await ctx.tick()
        assert not ctx.get(dut.reset) and not ctx.get(dut.live) and not ctx.get(dut.driver_ok)
        for value in (0, 1, 15):
            await write(ctx, dut, value)
            assert ctx.get(dut.value) == during and not ctx.get(dut.reset)
        await pulse(ctx, dut.clear)
        assert ctx.get(dut.value) != 0
        ctx.set(dut.quiesce, 0)
        assert ctx.get(dut.value) == 0
    simulate(dut, body)
