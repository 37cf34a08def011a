"""Common configuration: every field at its offset, in every width, and what becomes of the values."""

import pytest

from hdl.virtio.common import CommonConfig
from hdl.virtio.spec import Feature as F
from testbench.unit.bench import StreamBench
from testbench.unit.register_bus import RegisterBusAgent

OFFERED = [F.VERSION_1, F.RING_PACKED, F.MAC]
QUEUES, SIZE_MAX, VECTORS = 6, 1024, 7

# Offset, bytes; as the specification's table has them
DEVICE_FEATURE_SELECT, DEVICE_FEATURE = (0, 4), (4, 4)
DRIVER_FEATURE_SELECT, DRIVER_FEATURE = (8, 4), (12, 4)
CONFIG_MSIX_VECTOR, NUM_QUEUES = (16, 2), (18, 2)
DEVICE_STATUS, CONFIG_GENERATION, QUEUE_SELECT = (20, 1), (21, 1), (22, 2)
QUEUE_SIZE, QUEUE_MSIX_VECTOR, QUEUE_ENABLE, QUEUE_NOTIFY_OFF = (24, 2), (26, 2), (28, 2), (30, 2)
QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE = (32, 8), (40, 8), (48, 8)
QUEUE_NOTIF_CONFIG_DATA, QUEUE_RESET, ADMIN_QUEUE_INDEX, ADMIN_QUEUE_NUM = (56, 2), (58, 2), (60, 2), (62, 2)
ADDRESSES = {QUEUE_DESC: 0x1122_3344_5566_7780, QUEUE_DRIVER: 0x8877_6655_4433_2214,
             QUEUE_DEVICE: 0xcafe_0000_dead_beec}
NO_VECTOR = 0xffff


class Driver:
    """Fields by (offset, bytes), over the bus."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut
        self.bus = RegisterBusAgent(dut.bus)
        self.setups = []

    async def read(self, field):
        return await self.bus.read(self.ctx, field[0], size=field[1])

    async def write(self, field, value):
        await self.bus.write(self.ctx, field[0], value, size=field[1])

    async def clear(self):
        """What `LifeCycle` does."""
        self.ctx.set(self.dut.quiesce, 1)
        self.ctx.set(self.dut.clear, 1)
        await self.ctx.tick()
        self.ctx.set(self.dut.clear, 0)
        assert not self.ctx.get(self.dut.idle)
        await self.ctx.tick().until(self.dut.idle)
        self.ctx.set(self.dut.quiesce, 0)

    async def negotiate(self, low=0, high=0b101):
        for window, value in [(0, low), (1, high)]:
            await self.write(DRIVER_FEATURE_SELECT, window)
            await self.write(DRIVER_FEATURE, value)
        await self.write(DEVICE_STATUS, 1 | 2 | 8)

    async def set_up(self, queue, size=256, vector=3):
        await self.write(QUEUE_SELECT, queue)
        await self.write(QUEUE_SIZE, size)
        await self.write(QUEUE_MSIX_VECTOR, vector)
        for field, address in ADDRESSES.items():
            await self.write(field, address + (queue << 16))


def simulate(body, **parameters):
    dut = CommonConfig(**{"offered": OFFERED, "queues": QUEUES, "queue_size_max": SIZE_MAX, "vectors": VECTORS,
                          **parameters})
    bench = StreamBench(dut, limit=60_000)
    setups = []

    async def watch(ctx):
        while True:
            _, _, valid, setup = await ctx.tick().sample(dut.configure.valid, dut.configure.payload)
            if valid:
                config = setup.config
                setups.append((setup.queue, config.size, config.vector, config.descriptors, config.driver,
                               config.device, config.enabled))
    bench.process(watch, wait=False)

    async def run(ctx):
        driver = Driver(ctx, dut)
        driver.setups = setups
        await driver.clear()
        await body(ctx, dut, driver)
        await ctx.tick().repeat(10)
    bench.process(run)
    bench.run()
    return setups


def setup_of(queue, size=256, vector=3):
    offset = queue << 16
    return (queue, size, vector, *(address + offset for address in ADDRESSES.values()), 1)


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
    from hdl.virtio.queue_table import QueueTable
    with pytest.raises(ValueError, match=f"1 to 65536 virtqueues, not {queues}"):
        QueueTable(queues, 16)
