"""The common configuration in unit tests: its fields by offset, as the specification has them, and a driver of them."""

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
        await driver.clear()
        await body(ctx, dut, driver)
        await ctx.tick().repeat(10)
    bench.process(run)
    bench.run()
    return setups


def setup_of(queue, size=256, vector=3):
    offset = queue << 16
    return (queue, size, vector, *(address + offset for address in ADDRESSES.values()), 1)
