"""Device configuration: layout, straps, and the generation count."""

import pytest

from hdl.virtio.device_config import DeviceConfig
from testbench.unit.bench import StreamBench
from testbench.unit.register_bus import RegisterBusAgent

STRAPS = {"mac": 0x6655_4433_2211, "mtu": 1500, "speed": 100_000, "link_up": 1}


def simulate(body, *, max_pairs=0, hashes=None, **straps):
    dut = DeviceConfig(max_mtu=9000, max_pairs=max_pairs, **(hashes or {}))
    bench = StreamBench(dut)
    bus = RegisterBusAgent(dut.bus)

    async def run(ctx):
        for name, value in {**STRAPS, **straps}.items():
            ctx.set(getattr(dut, name), value)
        await ctx.tick().repeat(2)
        await body(ctx, dut, bus)
    bench.process(run)
    bench.run()


@pytest.mark.requirements("BAS-012", "BAS-013", "BAS-014", "NET-019", "NET-021", "NET-022", "PCI-012", "PCI-013")
@pytest.mark.parametrize("offset, size, value", [
    *((n, 1, 0x11 * (n + 1)) for n in range(6)),
    (0, 4, 0x4433_2211), (4, 2, 0x6655), (0, 8, 0x0001_6655_4433_2211),
    (6, 2, 1), (6, 1, 1), (7, 1, 0),
    (8, 2, 4), (10, 2, 1500), (10, 1, 0xdc), (11, 1, 0x05), (8, 4, 1500 << 16 | 4),
    (12, 4, 100_000), (12, 2, 100_000 & 0xffff), (14, 2, 100_000 >> 16),
    (16, 1, 1), (17, 1, 0), (18, 2, 0), (20, 4, 0), (24, 4, 0), (0x1c, 4, 0),
])
def test_layout(offset, size, value):
    async def body(ctx, dut, bus):
        assert await bus.read(ctx, offset, size=size) == value
    simulate(body, max_pairs=4)


@pytest.mark.requirements("NET-019")
def test_layout_with_hashes():
    async def body(ctx, dut, bus):
        assert [await bus.read(ctx, offset, size=size) for offset, size in ((16, 1), (17, 1), (18, 2), (20, 4))] == \
            [1, 40, 128, 0x1ff]
    simulate(body, hashes={"key_bytes": 40, "hash_types": 0x1ff, "table_entries": 128})


@pytest.mark.requirements("NET-020")
def test_writes_are_ignored():
    async def body(ctx, dut, bus):
        before = await bus.read(ctx, 0, size=28)
        for offset in range(0, 28, 4):
            await bus.write(ctx, offset, 0xffff_ffff)
        assert await bus.read(ctx, 0, size=28) == before
    simulate(body)


@pytest.mark.requirements("NET-021")
def test_pairs_without_multiqueue():
    async def body(ctx, dut, bus):
        assert await bus.read(ctx, 8, size=2) == 0
    simulate(body)


@pytest.mark.requirements("NET-005", "NET-007")
@pytest.mark.parametrize("strap, shown", [(0, 68), (67, 68), (68, 68), (9000, 9000), (9001, 9000), (65535, 9000)])
def test_mtu(strap, shown):
    async def body(ctx, dut, bus):
        assert await bus.read(ctx, 10, size=2) == shown
        assert ctx.get(dut.mtu_shown) == shown
        ctx.set(dut.mtu, 1400)
        await ctx.tick().repeat(3)
        assert await bus.read(ctx, 10, size=2) == shown
    simulate(body, mtu=strap)


@pytest.mark.requirements("NET-014", "NET-015")
@pytest.mark.parametrize("strap, shown", [(0, 0), (0x7fff_ffff, 0x7fff_ffff), (0x8000_0000, 0xffff_ffff),
                                          (0xffff_ffff, 0xffff_ffff)])
def test_speed(strap, shown):
    async def body(ctx, dut, bus):
        assert await bus.read(ctx, 12) == shown
        assert await bus.read(ctx, 16, size=1) == 1
    simulate(body, speed=strap)


@pytest.mark.requirements("BAS-032", "NET-016")
def test_link_and_speed_changes():
    async def body(ctx, dut, bus):
        async def changes(cycles=4):
            seen = 0
            for _ in range(cycles):
                await ctx.tick()
                seen += ctx.get(dut.changed)
            return seen
        assert await changes() == 0
        ctx.set(dut.speed, 40_000)      # not while the link is up
        assert await changes() == 0
        assert await bus.read(ctx, 12) == 100_000
        ctx.set(dut.link_up, 0)
        assert await changes() == 2     # the link, then the speed
        assert await bus.read(ctx, 6, size=2) == 0
        assert await bus.read(ctx, 12) == 40_000
        ctx.set(dut.link_up, 1)
        assert await changes() == 1
        assert await bus.read(ctx, 6, size=2) == 1
    simulate(body)


@pytest.mark.requirements("BAS-015", "PCI-027")
@pytest.mark.parametrize("toggles", [2, 256, 512])
def test_generation_differs_after_any_number_of_changes(toggles):
    async def body(ctx, dut, bus):
        await bus.read(ctx, 6, size=1)
        first = ctx.get(dut.generation)
        await bus.read(ctx, 6, size=2)
        assert ctx.get(dut.generation) == first   # constant while nothing changes
        for n in range(toggles):
            ctx.set(dut.link_up, n % 2)
            await ctx.tick()
        assert ctx.get(dut.generation) == first   # not before the driver looks
        await bus.read(ctx, 0, size=1)            # any part of the structure
        assert ctx.get(dut.generation) == (first + 1) % 256
        await bus.read(ctx, 6, size=2)
        assert ctx.get(dut.generation) == (first + 1) % 256
    simulate(body)


@pytest.mark.requirements("PCI-027")
@pytest.mark.parametrize("delay", range(6))
def test_generation_and_value_change_together(delay):
    """Whenever the link changes around a read: the new value comes with a new generation."""
    async def body(ctx, dut, bus):
        await bus.read(ctx, 6, size=2)
        generation = ctx.get(dut.generation)

        request = dut.bus.request
        ctx.set(request.payload, {"function": 0, "write": 0, "address": 4, "data": 0, "strobe": 0b1100})
        ctx.set(dut.bus.response.ready, 1)
        value = None
        for cycle in range(8):
            ctx.set(request.valid, cycle == 3)
            if cycle == delay:
                ctx.set(dut.link_up, 0)
            _, _, valid, data = await ctx.tick().sample(dut.bus.response.valid, dut.bus.response.payload)
            if valid:
                value = data >> 16
        assert (value == 1) == (ctx.get(dut.generation) == generation)
        assert await bus.read(ctx, 6, size=2) == 0
        assert ctx.get(dut.generation) == (generation + 1) % 256
    simulate(body)


@pytest.mark.requirements("NET-139", "BAS-015", "PCI-027")
def test_address_set_by_the_driver():
    """It shows at once, with a new generation and without a notification; reset brings the strap's back."""
    async def body(ctx, dut, bus):
        async def shown():
            return await bus.read(ctx, 0) | await bus.read(ctx, 4, size=2) << 32

        async def pulse(name):
            ctx.set(getattr(dut, name), 1)
            await ctx.tick()
            ctx.set(getattr(dut, name), 0)
            assert not ctx.get(dut.changed)
        assert await shown() == STRAPS["mac"]
        generation = ctx.get(dut.generation)
        ctx.set(dut.new_mac, 0x0102_0304_0506)
        ctx.set(dut.mac, 0)
        await pulse("set_mac")
        assert await shown() == 0x0102_0304_0506 == ctx.get(dut.mac_shown)
        assert ctx.get(dut.generation) == (generation + 1) % 256
        ctx.set(dut.new_mac, 0)
        await ctx.tick().repeat(3)
        assert await shown() == 0x0102_0304_0506
        assert ctx.get(dut.generation) == (generation + 1) % 256
        await pulse("clear")
        assert await shown() == STRAPS["mac"] == ctx.get(dut.mac_shown)
        assert ctx.get(dut.generation) == (generation + 2) % 256
    simulate(body)


@pytest.mark.requirements("NET-149", "NET-022")
@pytest.mark.parametrize("announces", [0, 1])
def test_announcement(announces):
    """Asked for with the link's coming up, once, until acknowledged or reset; only of a driver that knows it."""
    async def body(ctx, dut, bus):
        async def link(up):
            ctx.set(dut.link_up, up)
            changes = 0
            for _ in range(3):
                await ctx.tick()
                changes += ctx.get(dut.changed)
            assert changes == 1

        async def pulse(name):
            ctx.set(getattr(dut, name), 1)
            await ctx.tick()
            ctx.set(getattr(dut, name), 0)
            assert not ctx.get(dut.changed)

        async def status():
            return await bus.read(ctx, 6, size=2)
        asked = 1 | 2 * announces
        assert await status() == 1
        ctx.set(dut.announces, announces)
        await ctx.tick().repeat(3)
        assert await status() == 1, "the link was up before"
        for end in ("acknowledge", "clear"):
            await link(0)
            assert await status() == 0
            await link(1)
            assert await status() == asked
            await link(0)
            assert await status() == asked - 1, "not forgotten"
            await link(1)
            generation = ctx.get(dut.generation)
            assert await status() == asked and ctx.get(dut.generation) == (generation + 1) % 256
            await pulse(end)
            assert await status() == 1 and ctx.get(dut.generation) == (generation + 2) % 256
    simulate(body)
