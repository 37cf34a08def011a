"""Reset of single queues in the common configuration: what is written, what is read, and who is told."""

import random

import pytest

from hdl.virtio.spec import Feature as F
from testbench.unit.common_config import (
    ADDRESSES,
    DEVICE_STATUS,
    NO_VECTOR,
    OFFERED,
    QUEUE_DESC,
    QUEUE_ENABLE,
    QUEUE_MSIX_VECTOR,
    QUEUE_RESET,
    QUEUE_SELECT,
    QUEUE_SIZE,
    QUEUES,
    SIZE_MAX,
    setup_of,
    simulate,
)

WITH_RESET = 0b101 | 1 << F.RING_RESET - 32


def run(body, *, high=WITH_RESET, offered=(*OFFERED, F.RING_RESET)):
    """`body` with a queue 2 that is enabled; returns the setups."""
    async def scenario(ctx, dut, driver):
        await driver.negotiate(high=high)
        await driver.set_up(2)
        await driver.write(QUEUE_ENABLE, 1)
        await body(ctx, dut, driver)
    return simulate(scenario, offered=list(offered))


async def ask(ctx, dut, driver, value=1, field=QUEUE_RESET):
    """Write queue_reset; returns the virtqueue that is to be reset, or None."""
    await driver.write(field, value)
    pulse = ctx.get(dut.reset_queue)
    return pulse.queue if pulse.valid else None


async def finish(ctx, dut, queue):
    ctx.set(dut.finished, {"valid": 1, "queue": queue})
    await ctx.tick()
    ctx.set(dut.finished.valid, 0)


@pytest.mark.requirements("PCI-031", "PCI-032", "PCI-033", "PCI-034", "PCI-035", "BAS-018", "BAS-019")
def test_from_request_to_restart():
    async def body(ctx, dut, driver):
        assert await driver.read(QUEUE_RESET) == 0 and await driver.read(QUEUE_ENABLE) == 1
        assert await ask(ctx, dut, driver) == 2
        for _ in range(30):
            assert await driver.read(QUEUE_RESET) == 1
        # Until it is done nothing changes, and nobody is told of anything.
        assert await ask(ctx, dut, driver) is None
        await driver.write(QUEUE_ENABLE, 1)
        await driver.write(QUEUE_MSIX_VECTOR, 5)
        await driver.write(QUEUE_SIZE, 16)
        await driver.write(QUEUE_SELECT, 3)
        assert await driver.read(QUEUE_RESET) == 0
        await finish(ctx, dut, 2)
        await driver.write(QUEUE_SELECT, 2)
        assert await driver.read(QUEUE_RESET) == 0 and await driver.read(QUEUE_ENABLE) == 0
        assert await driver.read(QUEUE_SIZE) == SIZE_MAX and await driver.read(QUEUE_MSIX_VECTOR) == NO_VECTOR
        assert [await driver.read(field) for field in ADDRESSES] == [0, 0, 0]
        await driver.set_up(2, size=32, vector=6)
        await driver.write(QUEUE_ENABLE, 1)
        assert await driver.read(QUEUE_RESET) == 0 and await driver.read(QUEUE_ENABLE) == 1
    setups = run(body)
    assert [setup[0] for setup in setups] == [2, 2, 2]
    assert setups[0] == setup_of(2) and setups[1][-1] == 0 and setups[2] == setup_of(2, size=32, vector=6)


@pytest.mark.requirements("PCI-033")
@pytest.mark.parametrize("case", ["2", "0", "0x101", "disabled", "beyond", "not negotiated", "high byte"])
def test_what_is_no_request(case):
    async def body(ctx, dut, driver):
        value, field = {"2": 2, "0": 0, "0x101": 0x101}.get(case, 1), QUEUE_RESET
        if case == "high byte":
            field = (59, 1)
        if case in ("disabled", "beyond"):
            await driver.write(QUEUE_SELECT, 3 if case == "disabled" else QUEUES + 2)
        assert await ask(ctx, dut, driver, value, field) is None
        assert await driver.read(QUEUE_RESET) == 0
        await driver.write(QUEUE_SELECT, 2)
        assert await driver.read(QUEUE_RESET) == 0 and await driver.read(QUEUE_ENABLE) == 1
    setups = run(body, high=0b101 if case == "not negotiated" else WITH_RESET)
    assert setups == [setup_of(2)]


@pytest.mark.requirements("PCI-033")
def test_the_low_byte_will_do():
    async def body(ctx, dut, driver):
        assert await ask(ctx, dut, driver, 1, (58, 1)) == 2
        assert await driver.read(QUEUE_RESET) == 1
    run(body)


@pytest.mark.requirements("PCI-031", "PCI-035")
def test_a_device_reset_ends_it():
    """Also one that comes with the end of the queue's reset."""
    async def body(ctx, dut, driver):
        for late in (False, True):
            assert await ask(ctx, dut, driver) == 2
            await driver.write(DEVICE_STATUS, 0)
            if late:
                ctx.set(dut.quiesce, 1)
                await finish(ctx, dut, 2)
            await driver.clear()
            await driver.negotiate(high=WITH_RESET)
            await driver.set_up(2)
            await driver.write(QUEUE_ENABLE, 1)
            assert await driver.read(QUEUE_RESET) == 0 and await driver.read(QUEUE_ENABLE) == 1
    assert run(body) == [setup_of(2)] * 3


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.requirements("PCI-035", "BAS-018")
def test_the_end_comes_among_other_writes(seed):
    """In any cycle: neither is lost."""
    rng = random.Random(seed)

    async def body(ctx, dut, driver):
        for turn in range(12):
            await driver.write(QUEUE_SELECT, 2)
            assert await ask(ctx, dut, driver) == 2
            await driver.write(QUEUE_SELECT, 4)
            pause = rng.randrange(8)
            ctx.set(dut.finished.queue, 2)
            for _ in range(pause):
                await ctx.tick()
            ctx.set(dut.finished.valid, 1)
            await ctx.tick()
            ctx.set(dut.finished.valid, 0)
            await driver.write(QUEUE_DESC, 0x1000 * turn)
            await driver.write(QUEUE_SIZE, turn + 1)
            await driver.write(QUEUE_ENABLE, turn == 11)
            assert await driver.read(QUEUE_DESC) == 0x1000 * turn and await driver.read(QUEUE_SIZE) == turn + 1
            await driver.write(QUEUE_SELECT, 2)
            assert await driver.read(QUEUE_RESET) == 0 and await driver.read(QUEUE_ENABLE) == 0
            await driver.set_up(2)
            await driver.write(QUEUE_ENABLE, 1)
    setups = run(body)
    assert [(setup[0], setup[-1]) for setup in setups if setup[0] == 2] == [(2, 1)] + [(2, 0), (2, 1)] * 12
    assert [setup[0] for setup in setups].count(4) == 1
