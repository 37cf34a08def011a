"""Common configuration: every field at its offset, in every width; what becomes of a queue."""

import pytest

from hdl.virtio.spec import Feature
from testbench.unit.common_config import (
    ADDRESSES,
    ADMIN_QUEUE_INDEX,
    ADMIN_QUEUE_NUM,
    CONFIG_GENERATION,
    CONFIG_MSIX_VECTOR,
    DEVICE_FEATURE,
    DEVICE_FEATURE_SELECT,
    DEVICE_STATUS,
    DRIVER_FEATURE,
    DRIVER_FEATURE_SELECT,
    NO_VECTOR,
    NUM_QUEUES,
    OFFERED,
    QUEUE_DESC,
    QUEUE_DEVICE,
    QUEUE_DRIVER,
    QUEUE_ENABLE,
    QUEUE_MSIX_VECTOR,
    QUEUE_NOTIF_CONFIG_DATA,
    QUEUE_NOTIFY_OFF,
    QUEUE_RESET,
    QUEUE_SELECT,
    QUEUE_SIZE,
    QUEUES,
    SIZE_MAX,
    setup_of,
    simulate,
)


@pytest.mark.requirements("BAS-008", "PCI-030", "PCI-043", "PCI-096", "PCI-040")
def test_values_after_reset():
    async def body(ctx, dut, driver):
        ctx.set(dut.generation, 0x5a)
        for field, value in [
            (DEVICE_FEATURE_SELECT, 0), (DEVICE_FEATURE, 1 << 5), (DRIVER_FEATURE_SELECT, 0), (DRIVER_FEATURE, 0),
            (CONFIG_MSIX_VECTOR, NO_VECTOR), (NUM_QUEUES, QUEUES), (DEVICE_STATUS, 0), (CONFIG_GENERATION, 0x5a),
            (QUEUE_SELECT, 0),
        ]:
            assert await driver.read(field) == value, field
        for queue in range(QUEUES):
            await driver.write(QUEUE_SELECT, queue)
            for field, value in [
                (QUEUE_SIZE, SIZE_MAX), (QUEUE_MSIX_VECTOR, NO_VECTOR), (QUEUE_ENABLE, 0), (QUEUE_NOTIFY_OFF, queue),
                (QUEUE_DESC, 0), (QUEUE_DRIVER, 0), (QUEUE_DEVICE, 0),
            ]:
                assert await driver.read(field) == value, (queue, field)
    simulate(body)


@pytest.mark.requirements("PCI-040", "PCI-044", "PCI-095", "PCI-011", "PCI-012", "PCI-013")
def test_queues_are_apart():
    async def body(ctx, dut, driver):
        await driver.negotiate()
        for queue in range(QUEUES):
            await driver.set_up(queue, size=16 + queue, vector=queue)
        for queue in reversed(range(QUEUES)):
            await driver.write(QUEUE_SELECT, queue)
            assert await driver.read(QUEUE_SELECT) == queue
            assert await driver.read(QUEUE_SIZE) == 16 + queue
            assert await driver.read(QUEUE_MSIX_VECTOR) == queue
            assert await driver.read(QUEUE_NOTIFY_OFF) == queue
            for field, address in ADDRESSES.items():
                assert await driver.read(field) == address + (queue << 16)
    assert simulate(body) == []


@pytest.mark.requirements("PCI-011", "PCI-012")
@pytest.mark.parametrize("field", ADDRESSES)
@pytest.mark.parametrize("size, order", [
    (4, [0, 4]), (4, [4, 0]), (2, [6, 0, 4, 2]), (1, [3, 5, 0, 7, 1, 2, 6, 4]), (8, [0]),
])
def test_address_widths(field, size, order):
    value = ADDRESSES[field]

    async def body(ctx, dut, driver):
        for part in order:
            await driver.write((field[0] + part, size), value >> 8 * part)
        assert await driver.read(field) == value
        for part in order:
            assert await driver.read((field[0] + part, size)) == value >> 8 * part & (1 << 8 * size) - 1
        for other in ADDRESSES:
            if other != field:
                assert await driver.read(other) == 0
    simulate(body)


@pytest.mark.requirements("PCI-013")
@pytest.mark.parametrize("field, value", [
    (DEVICE_FEATURE_SELECT, 0x8765_4321), (DRIVER_FEATURE_SELECT, 0x8765_4321), (CONFIG_MSIX_VECTOR, 5),
    (QUEUE_SELECT, 0xa55a), (QUEUE_SIZE, 0x0180), (QUEUE_SIZE, 0x0080), (QUEUE_SIZE, 0x0100), (QUEUE_MSIX_VECTOR, 2),
])
@pytest.mark.parametrize("high_first", [False, True])
def test_byte_writes(field, value, high_first):
    async def body(ctx, dut, driver):
        await driver.negotiate()
        for lane in sorted(range(field[1]), reverse=high_first):
            await driver.write((field[0] + lane, 1), value >> 8 * lane)
        assert await driver.read(field) == value
    simulate(body)


@pytest.mark.requirements("PCI-040", "PCI-042", "PCI-046", "PCI-047", "PCI-048")
@pytest.mark.parametrize("field", [DEVICE_FEATURE, NUM_QUEUES, CONFIG_GENERATION, QUEUE_NOTIFY_OFF,
                                   QUEUE_NOTIF_CONFIG_DATA, ADMIN_QUEUE_INDEX, ADMIN_QUEUE_NUM, QUEUE_RESET])
def test_read_only(field):
    async def body(ctx, dut, driver):
        await driver.write(QUEUE_SELECT, 4)
        ctx.set(dut.generation, 7)
        before = await driver.bus.read(ctx, 0, size=64)
        await driver.write(field, 0xffff_ffff)
        assert await driver.bus.read(ctx, 0, size=64) == before
        assert await driver.read(field) == {DEVICE_FEATURE: 1 << 5, NUM_QUEUES: QUEUES, CONFIG_GENERATION: 7,
                                            QUEUE_NOTIFY_OFF: 4}.get(field, 0)
    simulate(body)


@pytest.mark.parametrize("negotiated", [0, 1])
@pytest.mark.requirements("PCI-044", "PCI-046", "PCI-048", "FEA-019")
def test_notif_config_data(negotiated):
    """It tells the queue only where it is negotiated."""
    async def body(ctx, dut, driver):
        await driver.negotiate(high=0b101 | negotiated << 7)
        for queue in [*range(QUEUES), QUEUES, 0x103]:
            await driver.write(QUEUE_SELECT, queue)
            await driver.write(QUEUE_NOTIF_CONFIG_DATA, 0x1234)
            assert await driver.read(QUEUE_NOTIF_CONFIG_DATA) == (queue if negotiated and queue < QUEUES else 0)
    simulate(body, offered=[*OFFERED, Feature.NOTIF_CONFIG_DATA])


@pytest.mark.requirements("PCI-036")
@pytest.mark.parametrize("select", [QUEUES, 7, 255, 256, 0xffff])
def test_no_such_queue(select):
    async def body(ctx, dut, driver):
        await driver.set_up(select)
        await driver.write(QUEUE_ENABLE, 1)
        assert await driver.read(QUEUE_SELECT) == select
        for field in (QUEUE_SIZE, QUEUE_ENABLE, QUEUE_NOTIFY_OFF, *ADDRESSES):
            assert await driver.read(field) == 0
        assert await driver.read(QUEUE_MSIX_VECTOR) == NO_VECTOR
        for queue in range(QUEUES):
            await driver.write(QUEUE_SELECT, queue)
            assert await driver.read(QUEUE_SIZE) == SIZE_MAX
            assert await driver.read(QUEUE_DESC) == 0
            assert await driver.read(QUEUE_ENABLE) == 0
    assert simulate(body) == []


@pytest.mark.requirements("PCI-045")
@pytest.mark.parametrize("queue", range(QUEUES))
def test_enable_sends_the_setup(queue):
    async def body(ctx, dut, driver):
        await driver.set_up(queue)
        await driver.write(QUEUE_ENABLE, 0)
        await driver.write(QUEUE_ENABLE, 2)
        await driver.write(QUEUE_ENABLE, 0x101)
        assert await driver.read(QUEUE_ENABLE) == 0
        await driver.write(QUEUE_ENABLE, 1)
        assert await driver.read(QUEUE_ENABLE) == 1
        await driver.write(QUEUE_ENABLE, 1)
        await driver.write(QUEUE_ENABLE, 0)
        assert await driver.read(QUEUE_ENABLE) == 1
        for other in set(range(QUEUES)) - {queue}:
            await driver.write(QUEUE_SELECT, other)
            assert await driver.read(QUEUE_ENABLE) == 0
    assert simulate(body) == [setup_of(queue)]


@pytest.mark.parametrize("latency", [3])
def test_setup_latency(latency):
    async def body(ctx, dut, driver):
        await driver.set_up(0)
        await driver.write(QUEUE_ENABLE, 1)   # returns in the cycle after the write
        for _ in range(latency - 1):
            assert not ctx.get(dut.configure.valid)
            await ctx.tick()
        assert ctx.get(dut.configure.valid)
    simulate(body)


@pytest.mark.parametrize("size, enabled", [(0, 0), (1, 1), (SIZE_MAX, 1), (SIZE_MAX + 1, 0), (0x8400, 0)])
def test_size_is_judged_at_enable(size, enabled):
    async def body(ctx, dut, driver):
        await driver.set_up(2, size=size)
        await driver.write(QUEUE_ENABLE, 1)
        assert await driver.read(QUEUE_ENABLE) == enabled
    assert simulate(body) == [setup_of(2, size=size)] * enabled


@pytest.mark.requirements("PCI-037", "PCI-043")
@pytest.mark.parametrize("size_max, before", [(1000, 0), (1024, 1024), (1, 1), (32768, 32768), (32767, 0)])
def test_size_without_packed_ring_is_a_power_of_2(size_max, before):
    async def body(ctx, dut, driver):
        assert await driver.read(QUEUE_SIZE) == before
        await driver.negotiate(high=0b001)      # refused: no packed ring
        assert await driver.read(QUEUE_SIZE) == before
        await driver.negotiate()
        assert await driver.read(QUEUE_SIZE) == size_max
        await driver.write(QUEUE_SIZE, 96)
        assert await driver.read(QUEUE_SIZE) == 96
    simulate(body, queue_size_max=size_max)


def test_low_address_bits_are_taken_as_0():
    async def body(ctx, dut, driver):
        for field in ADDRESSES:
            await driver.write(field, 0xffff_ffff_ffff_ffff)
        await driver.write(QUEUE_ENABLE, 1)
    (_, _, _, descriptors, driver_area, device_area, _), = simulate(body)
    assert descriptors == 0xffff_ffff_ffff_fff0
    assert driver_area == device_area == 0xffff_ffff_ffff_fffc


@pytest.mark.requirements("PCI-045", "PCI-093", "PCI-094", "PCI-095")
def test_enabled_queue_changes_its_vector_only():
    async def body(ctx, dut, driver):
        await driver.set_up(3)
        await driver.write(QUEUE_ENABLE, 1)
        await driver.write(QUEUE_SIZE, 128)
        for field in ADDRESSES:
            await driver.write(field, 0)
        assert await driver.read(QUEUE_SIZE) == 256
        for field, address in ADDRESSES.items():
            assert await driver.read(field) == address + (3 << 16)
        await driver.write(QUEUE_MSIX_VECTOR, 6)
        assert await driver.read(QUEUE_MSIX_VECTOR) == 6
        await driver.write(QUEUE_MSIX_VECTOR, NO_VECTOR)
        assert await driver.read(QUEUE_MSIX_VECTOR) == NO_VECTOR
        # Size and vector in one access: the vector changes
        await driver.write((24, 4), 5 << 16 | 64)
        assert await driver.read((24, 4)) == 5 << 16 | 256
    setups = simulate(body)
    assert [setup[2] for setup in setups[:2]] == [3, 6]
    assert setups[2][2] & 0x800
    assert setups[3] == setup_of(3, vector=5)
    assert len(setups) == 4
