"""The whole device behind BAR 0: a driver's way through initialisation, work, changes and reset."""

import pytest

from hdl.config import PRESETS, NicConfig
from hdl.virtio.device import VirtioDevice
from testbench.unit.bench import StreamBench
from testbench.unit.register_bus import RegisterBusAgent

CONFIG = NicConfig(pairs=3)
# BAR 0
COMMON, ISR, DEVICE, COUNTERS, NOTIFY, MSIX = 0x0, 0x100, 0x200, 0x1000, 0x1_0000, 0x2_0000
STATUS, SELECT, ENABLE = COMMON + 20, COMMON + 22, COMMON + 28
FRESH_STRAPS = {"mac": 0x0605_0403_0201, "mtu": 1500, "speed": 100_000, "link_up": 1}


class Card:
    """The device with a driver's verbs."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut
        self.bus = RegisterBusAgent(dut.bus, limit=5000)
        self.doorbells, self.setups, self.changes = [], [], 0
        self.heard = []     # both in order, in a cycle set-ups first

    async def read(self, address, size):
        return await self.bus.read(self.ctx, address, size=size)

    async def write(self, address, value, size):
        await self.bus.write(self.ctx, address, value, size=size)

    async def reset(self):
        await self.write(STATUS, 0, 1)
        await self.until_reset()

    async def until_reset(self):
        for _ in range(1000):
            if await self.read(STATUS, 1) == 0:
                return
        raise AssertionError("the reset does not end")

    async def start(self, status=15):
        await self.reset()
        await self.write(STATUS, 1, 1)
        await self.write(STATUS, 3, 1)
        await self.write(COMMON + 8, 1, 4)
        await self.write(COMMON + 12, 0b101, 4)
        await self.write(STATUS, 11, 1)
        assert await self.read(STATUS, 1) == 11
        await self.write(STATUS, status, 1)

    async def pulse(self, name):
        self.ctx.set(getattr(self.dut, name), 1)
        await self.ctx.tick()
        self.ctx.set(getattr(self.dut, name), 0)


def simulate(body, *, config=CONFIG, idle=1):
    dut = VirtioDevice(config)
    bench = StreamBench(dut, limit=60_000)
    cards = []

    async def watch(ctx):
        ctx.set(dut.doorbells.ready, 1)
        while True:
            _, _, ring, bell, setup, changed = await ctx.tick().sample(
                dut.doorbells.valid, dut.doorbells.payload, dut.configure.valid, dut.config_changed)
            for card in cards:
                card.doorbells += [bell.queue] if ring else []
                card.setups += [ctx.get(dut.configure.payload.queue)] if setup else []
                card.heard += [("setup", card.setups[-1])] if setup else []
                card.heard += [("doorbell", bell.queue)] if ring else []
                card.changes += changed
    bench.process(watch, wait=False)

    async def run(ctx):
        for name, value in FRESH_STRAPS.items():
            ctx.set(getattr(dut, name), value)
        ctx.set(dut.all_idle, idle)
        card = Card(ctx, dut)
        cards.append(card)
        await body(ctx, dut, card)
        await ctx.tick().repeat(10)
    bench.process(run)
    bench.run()
    return cards[0]


@pytest.mark.requirements("BAS-012", "BAS-013", "BAS-034", "PCI-060", "PCI-100")
def test_initialisation_and_work():
    async def body(ctx, dut, card):
        await card.start(status=11)
        assert await card.read(DEVICE, 6) == FRESH_STRAPS["mac"]
        assert not ctx.get(dut.live)
        for queue in (0, 1):
            await card.write(SELECT, queue, 2)
            await card.write(ENABLE, 1, 2)
            notify_off = await card.read(COMMON + 30, 2)
            await card.write(NOTIFY + notify_off * CONFIG.page, queue, 2)
        await card.write(STATUS, 15, 1)
        await ctx.tick()
        assert ctx.get(dut.live)
    card = simulate(body)
    assert card.setups == [0, 1]
    assert card.doorbells == [0, 1]


@pytest.mark.requirements("BAS-008", "BAS-009", "PCI-029")
@pytest.mark.parametrize("status", [0, 1, 15])
def test_status_is_0_only_when_all_is_idle(status):
    async def body(ctx, dut, card):
        await card.until_reset()
        if status:
            await card.start(status)
        ctx.set(dut.all_idle, 0)
        await card.write(STATUS, 0, 1)
        for _ in range(50):
            assert await card.read(STATUS, 1) != 0
            assert not ctx.get(dut.live) and ctx.get(dut.quiesce)
        ctx.set(dut.all_idle, 1)
        await card.until_reset()
        assert not ctx.get(dut.quiesce)
        await card.start()
        assert await card.read(STATUS, 1) == 15
    simulate(body)


def test_first_write_after_power_on_may_be_a_reset():
    async def body(ctx, dut, card):
        await card.start()
        assert await card.read(STATUS, 1) == 15
    simulate(body)


@pytest.mark.requirements("BAS-008", "BAS-011", "PCI-030")
@pytest.mark.parametrize("cause", ["write", "flr"])
def test_reset_and_flr_clear(cause):
    async def body(ctx, dut, card):
        await card.start()
        await card.write(SELECT, 5, 2)
        await card.write(ENABLE, 1, 2)
        await card.pulse("queue_interrupt")
        assert ctx.get(dut.isr_pending)
        if cause == "flr":
            await card.pulse("flr")
            assert not ctx.get(dut.live) and ctx.get(dut.quiesce)
            await card.until_reset()
        else:
            await card.reset()
        assert not ctx.get(dut.isr_pending)
        assert await card.read(SELECT, 2) == 0
        await card.write(SELECT, 5, 2)
        assert await card.read(ENABLE, 2) == 0
        assert ctx.get(dut.features) == 0
    simulate(body)


@pytest.mark.requirements("BAS-032", "PCI-063", "BAS-010")
def test_link_change():
    async def body(ctx, dut, card):
        async def toggle(level):
            ctx.set(dut.link_up, level)
            await ctx.tick().repeat(5)
        await card.start(status=11)
        await toggle(0)
        assert card.changes == 0 and not ctx.get(dut.isr_pending)   # DRIVER_OK is not set
        await card.write(STATUS, 15, 1)
        await toggle(1)
        assert card.changes == 1
        assert ctx.get(dut.isr_pending)
        assert await card.read(ISR, 1) == 2
        assert await card.read(ISR, 1) == 0
        before = await card.read(COMMON + 21, 1)
        assert await card.read(DEVICE + 6, 2) == 1
        assert await card.read(COMMON + 21, 1) == (before + 1) % 256
        await card.reset()
        await toggle(0)
        assert card.changes == 1 and not ctx.get(dut.isr_pending)
    simulate(body)


@pytest.mark.requirements("PCI-063")
def test_isr_is_set_with_the_notification():
    async def body(ctx, dut, card):
        await card.start()
        ctx.set(dut.link_up, 0)
        for _ in range(5):
            await ctx.tick()
            assert ctx.get(dut.config_changed) <= ctx.get(dut.isr_pending)
        assert card.changes == 1
    simulate(body)


@pytest.mark.requirements("BAS-005", "BAS-006", "BAS-033")
@pytest.mark.parametrize("status, told", [(15, 1), (11, 0)])
def test_needs_reset(status, told):
    async def body(ctx, dut, card):
        await card.start(status)
        await card.pulse("error")
        await ctx.tick().repeat(5)
        assert await card.read(STATUS, 1) == status | 64
        assert not ctx.get(dut.live)
        assert card.changes == told
        assert await card.read(ISR, 1) == 2 * told
        await card.start()
        await ctx.tick().repeat(3)
        assert ctx.get(dut.live)
    simulate(body)


@pytest.mark.requirements("BAS-019")
def test_no_doorbell_overtakes_its_queue():
    """A driver may enable a queue and ring for it at once, and writes are not spaced by anything."""
    async def body(ctx, dut, card):
        await card.start()
        for queue in range(CONFIG.queues):
            await card.write(SELECT, queue, 2)
            await card.write(ENABLE, 1, 2)
            await card.write(NOTIFY + queue * CONFIG.page, queue, 2)
        await ctx.tick().repeat(10)
    heard = simulate(body).heard
    assert heard == [(what, queue) for queue in range(CONFIG.queues) for what in ("setup", "doorbell")]


@pytest.mark.parametrize("port, base, last", [("counters", COUNTERS, 0xffc), ("msix", MSIX, 0x1_0004)])
def test_passed_through(port, base, last):
    seen = []

    async def body(ctx, dut, card):
        target = getattr(dut, port)

        async def access(address, write):
            request = {"function": 0, "write": write, "address": base + address, "data": 0x55, "strobe": 0b1111}
            ctx.set(dut.bus.request.payload, request)
            ctx.set(dut.bus.request.valid, 1)
            await ctx.tick().until(dut.bus.request.ready)
            ctx.set(dut.bus.request.valid, 0)
            ctx.set(target.request.ready, 1)
            _, _, passed, payload = await ctx.tick().sample(target.request.valid, target.request.payload)
            assert passed
            seen.append((payload.write, payload.address, payload.data))
            ctx.set(target.request.ready, 0)
        for address in (0, last):
            await access(address, 1)
            await access(address, 0)
            ctx.set(target.response.valid, 1)
            ctx.set(target.response.payload, 0xabcd)
            await ctx.tick().until(target.response.ready)
            ctx.set(target.response.valid, 0)
            assert await card.bus.answer(ctx) == 0xabcd
    simulate(body)
    assert seen == [(1, 0, 0x55), (0, 0, 0x55), (1, last, 0x55), (0, last, 0x55)]


def test_every_dword_answers():
    """Reads all over the BAR, holes too, are answered; what follows is answered right."""
    async def body(ctx, dut, card):
        await card.until_reset()
        for address in [*range(0, 0x300, 4), 0x2000, NOTIFY, NOTIFY + CONFIG.page, NOTIFY + 6 * CONFIG.page, 0x4_0000]:
            await card.read(address, 4)
            assert await card.read(COMMON + 18, 2) == CONFIG.queues
    simulate(body)


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
@pytest.mark.requirements("PCI-042", "PCI-089")
def test_last_queue_of_a_preset(config):
    async def body(ctx, dut, card):
        await card.until_reset()
        queues = await card.read(COMMON + 18, 2)
        assert queues == config.queues
        await card.write(SELECT, queues - 1, 2)
        assert await card.read(COMMON + 24, 2) == config.queue_size_max
        await card.write(COMMON + 26, queues, 2)
        assert await card.read(COMMON + 26, 2) == queues     # a vector for each queue and one more
        await card.write(NOTIFY + await card.read(COMMON + 30, 2) * config.page, queues - 1, 2)
        await card.write(SELECT, queues, 2)
        assert await card.read(COMMON + 24, 2) == 0
    card = simulate(body, config=config)
    assert card.doorbells == [config.queues - 1]
