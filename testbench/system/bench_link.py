"""The wire's side: link state, speed and mtu as the driver sees them; frames that are dropped, whole and counted."""

from itertools import count

from model.formats import NET_S_LINK_UP
from testbench.driver.area import Area
from testbench.system.case import system_test

VLAN_TYPES = (0x8100, 0x88a8)
HEADER = 12         # bytes of struct virtio_net_hdr


async def counted(bench, name, before=0):
    """How much an event counter has grown since it was `before`."""
    return await bench.counter(name) - before


def tagged(bench, length, tags):
    """A frame of `length` bytes with `tags` VLAN tags."""
    frame = bytearray(bench.frame(length))
    frame[12:14] = b"\x08\x00"
    for tag in range(tags):
        frame[12 + 4 * tag:14 + 4 * tag] = bench.random.choice(VLAN_TYPES).to_bytes(2, "big")
        frame[16 + 4 * tag:18 + 4 * tag] = b"\x08\x00"
    return bytes(frame)


@system_test("BAS-015", "BAS-032", "PCI-027", "NET-022", presets=("tiny", "default"))
async def link_state(bench):
    """Every change shows in `status` and in the generation, and interrupts once."""
    nic = await bench.nic(queue_size=4)
    interrupts = 0
    for up in (False, True, False, True):
        generation = await nic.virtio.read("config_generation")
        await bench.set_link(up)
        await bench.settle()
        interrupts += 1
        assert nic.messages.counts == {0: interrupts}
        assert await nic.virtio.read_config("status") == (NET_S_LINK_UP if up else 0)
        assert await nic.link_up() == up
        assert await nic.virtio.read("config_generation") != generation
    generation = await nic.virtio.read("config_generation")
    assert await nic.link_up() and await nic.virtio.read("config_generation") == generation
    assert nic.messages.counts == {0: interrupts}


@system_test("PCI-027", "BAS-015")
async def generations_of_many_changes(bench):
    """However often the configuration changes between two looks, the generation does not come back to what it was."""
    nic = await bench.nic(queue_size=4)
    generation = await nic.virtio.read("config_generation")
    assert await nic.link_up()
    for up in [False, True] * 128 + [False]:
        await bench.set_link(up)
    await bench.settle()
    assert not await nic.link_up()
    assert await nic.virtio.read("config_generation") != generation


@system_test("NET-007", "NET-016", "NET-014", "BAS-032")
async def speed_and_mtu(bench):
    """The speed stays while the link is up, the mtu for ever."""
    nic = await bench.nic(queue_size=4)
    await bench.clocks(1)
    bench.dut.cfg_speed.value = 25_000
    bench.dut.cfg_mtu.value = 1400
    await bench.settle()
    assert await nic.virtio.read_config("speed", "mtu") == (100_000, 1500)
    assert not nic.messages.counts
    await bench.set_link(False)
    await bench.settle()
    assert await nic.virtio.read_config("speed", "mtu") == (25_000, 1500)
    interrupts = nic.messages.counts[0]
    await bench.clocks(1)
    bench.dut.cfg_speed.value = 0x8000_0000     # no speed that the field can show
    await bench.settle()
    assert await nic.virtio.read_config("speed", "mtu") == (0xffff_ffff, 1500)
    assert nic.messages.counts[0] == interrupts + 1


def _mtu(mtu, presets=("tiny",)):
    @system_test("NET-005", "NET-008", "NET-145", "NET-057", "NET-058", "NET-059", "NET-060", "NET-061", "NET-062",
                 "NET-063", "PKD-002", mtu=mtu, name=f"receives_up_to_mtu_{mtu}", presets=presets)
    async def receives(bench):
        """Frames of mtu + 14 bytes come through, and 4 more with each of up to two tags; longer ones are dropped."""
        nic = await bench.nic(queue_size=16)
        assert nic.mtu == mtu
        expected, dropped = [], 0
        for tags in (0, 1, 2, 3):
            longest = mtu + 14 + 4 * min(tags, 2)
            for length in (longest - 1, longest + 1, longest, longest + 300, longest):
                frame = tagged(bench, length, tags)
                bench.mac.send(frame)
                if length <= longest:
                    expected.append(frame)
                else:
                    dropped += 1
            await bench.settle()
        assert [await nic.receive(timeout_ns=50_000) for _ in range(len(expected))] == expected
        assert await counted(bench, "receive.drop.oversize") == dropped
        assert await counted(bench, "receive.frames") == len(expected)
    return receives


receives_up_to_mtu_68 = _mtu(68)
receives_up_to_mtu_1500 = _mtu(1500, presets=("tiny", "default"))
receives_up_to_mtu_2000 = _mtu(2000)


@system_test("NET-009", "NET-010", "NET-041", "PKD-004", mtu=1501)
async def transmits_up_to_mtu(bench):
    """As long as the mtu allows, in one piece each; no byte of the frame is judged or changed."""
    nic = await bench.nic(queue_size=16)
    frames = [tagged(bench, 1501 + 14 + 4 * tags - less, tags) for tags in (0, 1, 2) for less in (0, 1, 2, 3)]
    await nic.send_many(frames)
    assert [await bench.wire() for _ in frames] == frames
    assert await counted(bench, "transmit.frames") == len(frames)
    assert await counted(bench, "transmit.bytes") == sum(map(len, frames))


@system_test("NET-056", "NET-077")
async def bad_frames(bench):
    """What the MAC marks bad, and what is too short to be a frame, is dropped between good ones."""
    nic = await bench.nic(queue_size=16)
    expected, dropped = [], 0
    for length in (60, 5, 16, 1514, 13, 14, 200, 1, 33, 17):
        for bad in (True, False):
            frame = bench.frame(length)
            bench.mac.send(frame, bad=bad)
            if bad or length < 14:
                dropped += 1
            else:
                expected.append(frame)
    assert [await nic.receive(timeout_ns=50_000) for _ in expected] == expected
    await bench.settle()
    assert await counted(bench, "receive.drop.bad") == dropped
    assert not nic.receivers[0].ring.has_used()


@system_test("NET-051", "PKD-005", "PKD-006")
async def no_receive_buffers(bench):
    """Frames without a buffer are dropped and counted; with new buffers it goes on."""
    nic = await bench.nic(queue_size=16, receive_buffers=4)
    for _ in range(3):
        before = await bench.counter("receive.drop.no_buffer")
        frames = [bench.frame() for _ in range(10)]
        for frame in frames:
            bench.mac.send(frame)
            await bench.settle()
        assert await counted(bench, "receive.drop.no_buffer", before) == 6
        assert [await nic.receive(timeout_ns=50_000) for _ in range(4)] == frames[:4]
        await bench.settle()
        assert not nic.receivers[0].ring.has_used()


@system_test("NET-051", "NET-097", "BAS-021", "PKD-019")
async def small_receive_buffers(bench):
    """A frame that its buffer can't hold is dropped, and the buffer waits for the next one."""
    nic = await bench.nic(queue_size=8, receive_buffers=1)
    ring = nic.receivers[0].ring
    bench.mac.send(bench.frame(100))
    await bench.settle()
    assert ring.collect() == [(0, HEADER + 100)]
    area = Area(bench.host, 8192, "rx", align=4096)
    rooms = count()
    for elements in ((112,), (12, 50, 50), (1, 11, 99, 1), (112,)):
        buffer = area.address + 1024 * next(rooms)
        ring.add([(buffer + 128 * n, length, True) for n, length in enumerate(elements)], buffer)
        await nic.receivers[0].kick()
        await bench.settle()
        for length in (101, 1514, 113):
            bench.mac.send(bench.frame(length))
        await bench.settle()
        assert not ring.has_used()
        frame = bench.frame(100)
        bench.mac.send(frame)
        await bench.settle()
        assert ring.collect() == [(buffer, HEADER + 100)]
        pieces = [bytes(bench.memory.read(buffer + 128 * n, length)) for n, length in enumerate(elements)]
        assert b"".join(pieces)[HEADER:] == frame
    assert await counted(bench, "receive.drop.too_long_for_buffer") == 12
    area.close()


@system_test("NET-051", timeout_us=4000)
async def overflow(bench):
    """While the host takes nothing, frames beyond the receive buffer are dropped; none is cut or out of order."""
    nic = await bench.nic(queue_size=64)
    for _ in range(2):
        before = await bench.counter("receive.drop.overflow")
        bench.host.rq.paused = True
        frames = [bench.frame() for _ in range(40)]
        for frame in frames:
            bench.mac.send(frame)
        while not bench.mac.idle:
            await bench.clocks(16)
        bench.host.rq.paused = False
        await bench.settle()
        dropped = await counted(bench, "receive.drop.overflow", before)
        received = [await nic.receive(timeout_ns=50_000) for _ in range(len(frames) - dropped)]
        assert 0 < dropped < len(frames)
        assert not nic.receivers[0].ring.has_used()
        left = iter(frames)
        assert all(frame in left for frame in received)     # in order: what is looked for uses up what stands before


@system_test("BAS-034")
async def frames_for_a_card_that_is_not_live(bench):
    nic = await bench.nic(queue_size=8)
    await nic.stop()
    before = await bench.counter("receive.drop.disabled")
    for _ in range(3):
        bench.mac.send(bench.frame())
    await bench.settle()
    assert await counted(bench, "receive.drop.disabled", before) == 3
