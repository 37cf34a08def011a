"""Common configuration: vectors, features, status and reset through its registers."""

import pytest

from hdl.virtio.common import CommonConfig
from hdl.virtio.queue_table import QueueTable
from testbench.unit.bench import StreamBench
from testbench.unit.common_config import (
    CONFIG_MSIX_VECTOR,
    DEVICE_FEATURE,
    DEVICE_FEATURE_SELECT,
    DEVICE_STATUS,
    DRIVER_FEATURE,
    DRIVER_FEATURE_SELECT,
    NO_VECTOR,
    OFFERED,
    QUEUE_ENABLE,
    QUEUE_MSIX_VECTOR,
    QUEUE_SELECT,
    QUEUES,
    SIZE_MAX,
    VECTORS,
    Driver,
    simulate,
)


@pytest.mark.requirements("PCI-093", "PCI-094", "PCI-095", "PCI-097", "PCI-098")
@pytest.mark.parametrize("field", [CONFIG_MSIX_VECTOR, QUEUE_MSIX_VECTOR])
@pytest.mark.parametrize("vector, shown", [
    (0, 0), (1, 1), (VECTORS - 1, VECTORS - 1), (VECTORS, NO_VECTOR), (0x7ff, NO_VECTOR), (0x800, NO_VECTOR),
    (0x8000, NO_VECTOR), (0x1000, NO_VECTOR), (NO_VECTOR, NO_VECTOR),
])
def test_vectors(field, vector, shown):
    async def body(ctx, dut, driver):
        await driver.write(field, 4)
        await driver.write(field, vector)
        assert await driver.read(field) == shown
        output = ctx.get(dut.config_vector)
        if field == CONFIG_MSIX_VECTOR and shown != NO_VECTOR:
            assert output == shown
        else:
            assert output & 0x800
    simulate(body)


@pytest.mark.requirements("PCI-099")
def test_2048_vectors():
    async def body(ctx, dut, driver):
        await driver.write(CONFIG_MSIX_VECTOR, 0x7ff)
        assert await driver.read(CONFIG_MSIX_VECTOR) == 0x7ff
        assert ctx.get(dut.config_vector) == 0x7ff
        await driver.write(CONFIG_MSIX_VECTOR, 0x800)
        assert await driver.read(CONFIG_MSIX_VECTOR) == NO_VECTOR
    simulate(body, vectors=2048)


@pytest.mark.requirements("PCI-024", "PCI-025", "PCI-041", "FEA-006")
@pytest.mark.parametrize("window, offered", [(0, 1 << 5), (1, 0b101), (2, 0), (3, 0), (4, 0), (0x8000_0001, 0)])
def test_feature_windows(window, offered):
    async def body(ctx, dut, driver):
        await driver.write(DEVICE_FEATURE_SELECT, window)
        await driver.write(DRIVER_FEATURE_SELECT, window ^ 1)
        assert await driver.read(DEVICE_FEATURE) == offered
        await driver.write(DRIVER_FEATURE_SELECT, window)
        await driver.write(DEVICE_FEATURE_SELECT, window ^ 1)
        assert await driver.read(DRIVER_FEATURE) == 0
        await driver.write(DRIVER_FEATURE, 0xffff_ffff)
        assert await driver.read(DRIVER_FEATURE) == offered
        assert await driver.read(DEVICE_FEATURE_SELECT) == window ^ 1
        assert await driver.read(DRIVER_FEATURE_SELECT) == window
    simulate(body)


@pytest.mark.requirements("FEA-002", "FEA-003", "BAS-007")
@pytest.mark.parametrize("low, high, accepted", [
    (0, 0b101, True), (1 << 5, 0b101, True), (0, 0b001, False), (0, 0b100, False), (1, 0b101, False),
    (0, 0b111, False), (0, 0, False),
])
def test_negotiation(low, high, accepted):
    async def body(ctx, dut, driver):
        await driver.negotiate(low, high)
        assert await driver.read(DEVICE_STATUS) == 3 | 8 * accepted
        assert ctx.get(dut.features) == (high << 32 | low) * accepted
        await driver.write(DEVICE_STATUS, 15)
        assert await driver.read(DEVICE_STATUS) == 7 | 8 * accepted
        assert ctx.get(dut.live) == accepted
    simulate(body)


def test_features_stay_after_features_ok():
    async def body(ctx, dut, driver):
        await driver.negotiate(1 << 5)
        await driver.write(DRIVER_FEATURE_SELECT, 0)
        await driver.write(DRIVER_FEATURE, 0)
        assert await driver.read(DRIVER_FEATURE) == 1 << 5
        await driver.write(DRIVER_FEATURE, 0xffff_ffff)
        await driver.write(DEVICE_STATUS, 15)
        assert await driver.read(DEVICE_STATUS) == 15
        assert ctx.get(dut.features) == 0b101 << 32 | 1 << 5
    simulate(body)


def test_refused_driver_may_try_again():
    async def body(ctx, dut, driver):
        await driver.negotiate(1)
        assert await driver.read(DEVICE_STATUS) == 3
        await driver.negotiate(0)
        assert await driver.read(DEVICE_STATUS) == 11
    simulate(body)


@pytest.mark.requirements("BAS-008", "FEA-005", "PCI-028", "PCI-029", "PCI-030", "PCI-043", "PCI-096", "BAS-034")
def test_reset_restores_everything():
    async def body(ctx, dut, driver):
        fresh = await driver.bus.read(ctx, 0, size=64)
        for _ in range(2):
            await driver.negotiate(1 << 5)
            await driver.write(CONFIG_MSIX_VECTOR, 0)
            for queue in range(QUEUES):
                await driver.set_up(queue)
                await driver.write(QUEUE_ENABLE, 1)
            await driver.write(DEVICE_FEATURE_SELECT, 1)
            await driver.write(DEVICE_STATUS, 15)
            assert ctx.get(dut.live)
            await driver.write(DEVICE_STATUS, 0)
            assert ctx.get(dut.reset)
            await ctx.tick()
            ctx.set(dut.quiesce, 1)
            # Writes of an impatient driver are ignored, and the status is not 0 yet.
            assert await driver.read(DEVICE_STATUS) == 15
            assert not ctx.get(dut.live)
            await driver.write(DEVICE_STATUS, 1)
            await driver.write(QUEUE_SELECT, 1)
            await driver.write(DEVICE_STATUS, 0)
            assert not ctx.get(dut.reset)
            assert await driver.read(QUEUE_SELECT) == QUEUES - 1
            await driver.clear()
            for queue in reversed(range(QUEUES)):
                await driver.write(QUEUE_SELECT, queue)
                assert await driver.bus.read(ctx, 24, size=40) == fresh >> 8 * 24 | queue << 8 * 6
            assert await driver.bus.read(ctx, 0, size=64) == fresh
            assert ctx.get(dut.features) == 0
            assert ctx.get(dut.config_vector) & 0x800
    assert len(simulate(body)) == 2 * QUEUES


@pytest.mark.requirements("BAS-005")
def test_needs_reset():
    async def body(ctx, dut, driver):
        await driver.negotiate()
        await driver.write(DEVICE_STATUS, 15)
        ctx.set(dut.error, 1)
        await ctx.tick()
        ctx.set(dut.error, 0)
        assert ctx.get(dut.failed)
        assert await driver.read(DEVICE_STATUS) == 79
        assert not ctx.get(dut.live) and ctx.get(dut.driver_ok)
    simulate(body)


def test_back_to_back_requests_see_each_other():
    """A write followed at once by reads: each sees it."""
    dut = CommonConfig(OFFERED, QUEUES, SIZE_MAX, VECTORS)
    bench = StreamBench(dut)
    bench.process(lambda ctx: Driver(ctx, dut).clear())
    requests = [{"write": 1, "address": 20, "data": queue << 16, "strobe": 0b1100} | extra
                for queue in (5, 2, 4) for extra in (
                    {}, {"write": 0, "address": 28}, {"address": 24, "data": 1 << queue, "strobe": 3},
                    {"write": 0, "address": 24}, {"write": 0, "address": 20},
                    {"address": 24, "data": 3, "strobe": 3}, {"write": 0, "address": 24})]

    async def put(ctx):
        await ctx.tick().repeat(20)
        for request in requests:
            ctx.set(dut.bus.request.payload, {"function": 0, **request})
            ctx.set(dut.bus.request.valid, 1)
            await ctx.tick().until(dut.bus.request.ready)
        ctx.set(dut.bus.request.valid, 0)
    bench.process(put)
    answers = bench.get(dut.bus.response, count=12)
    bench.run()
    assert answers == [value for queue in (5, 2, 4)
                       for value in (queue << 16, 0xffff_0000 | 1 << queue, queue << 16, 0xffff_0000)]


@pytest.mark.parametrize("vectors", [0, 2049])
def test_vectors_are_checked(vectors):
    with pytest.raises(ValueError, match=f"1 to 2048 vectors, not {vectors}"):
        CommonConfig(OFFERED, QUEUES, SIZE_MAX, vectors)


@pytest.mark.requirements("BAS-020")
@pytest.mark.parametrize("queues", [0, 65537])
def test_queues_are_checked(queues):
    with pytest.raises(ValueError, match=f"1 to 65536 virtqueues, not {queues}"):
        QueueTable(queues, 16)
