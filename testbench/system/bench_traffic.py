"""Frames through the whole card."""

from testbench.driver.framing import HEADER_APART, Framing
from testbench.driver.ring import RingStyle
from testbench.system.case import system_test
from testbench.system.echo import echo_counted, may_lose


async def echo(bench, nic, frames, *, framing=None, batch=None):
    """Send `frames` on the wire and loop them back; returns what the driver received, and in its place what a card
    counted that had no buffer for longer than it keeps a frame waiting: there are hosts as slow as that."""
    bench.mac.loopback = True
    received = []

    async def dropped():
        return await bench.counter("receive.drop.no_buffer") + await bench.counter("receive.drop.overflow")
    before = await dropped()

    async def collect():
        while len(received) < len(frames):
            try:
                received.extend(await nic.receive_many(timeout_ns=500_000))
            except TimeoutError:
                if not may_lose(bench) or len(received) + await dropped() - before != len(frames):
                    raise
                return
    task = bench.platform.spawn(collect())
    await nic.send_many(frames, framing=framing, batch=batch)
    await task
    rest = iter(frames)
    return list(frames) if len(received) < len(frames) and all(frame in rest for frame in received) else received


@system_test("NET-026", "NET-049", icarus=("tiny", "default"), presets=("tiny", "default"))
async def transmit(bench):
    """Frames of every kind of length reach the wire unchanged and in order, and their buffers come back."""
    nic = await bench.nic(queue_size=64)
    frames = [bench.frame(length) for length in (60, 61, 62, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1513, 1514)]
    await nic.send_many(frames, batch=4)
    for frame in frames:
        assert await bench.wire() == frame
    await nic.flush(timeout_ns=100_000)


@system_test("NET-026", "NET-027", "NET-050", "NET-051", "NET-052", "NET-056", "NET-077", "NET-097",
             presets=("tiny", "default"), icarus=("tiny", "default"))
async def receive(bench):
    """Frames from the wire reach the driver unchanged and in order."""
    nic = await bench.nic(queue_size=64)
    frames = [bench.frame(length) for length in (60, 61, 62, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1513, 1514)]
    for frame in frames:
        bench.mac.send(frame)
    for frame in frames:
        assert await nic.receive(timeout_ns=100_000) == frame


@system_test("PKD-001", "PKD-008", presets=("tiny", "default"), timeout_us=4000)
async def both_at_once(bench):
    """Random frames out and in at the same time."""
    nic = await bench.nic(queue_size=64)
    frames = [bench.frame() for _ in range(200)]
    assert await echo(bench, nic, frames, batch=8) == frames


def _wrap(size, simulators=("verilator", "icarus"), count=None):
    @system_test("PKD-010", "PKD-011", "PKD-012", "PKD-013", "PKD-014", "PKD-015", "PKD-042", simulators=simulators,
                 timeout_us=20_000, name=f"wrap_at_{size}")
    async def wrap(bench):
        # The largest ring would take all memory with a page for each buffer.
        nic = await bench.nic(queue_size=size, buffer_slack=0, buffer_align=4 if size > 1024 else 4096,
                              receive_buffers=min(size, 4096))
        frames = [bench.frame(longest=200) for _ in range(count or min(3 * size + 7, 600))]
        if size >= 64:      # else there might be more frames under way than the receive FIFO holds
            await echo_counted(bench, nic, frames, batch=16)
        else:
            assert await echo(bench, nic, frames, batch=max(1, min(16, size // 2))) == frames
    return wrap


wrap_at_1 = _wrap(1)
wrap_at_2 = _wrap(2)
wrap_at_3 = _wrap(3)
wrap_at_5 = _wrap(5)
wrap_at_7 = _wrap(7)
wrap_at_64 = _wrap(64)
wrap_at_255 = _wrap(255)
wrap_at_256 = _wrap(256)
wrap_at_32768 = _wrap(32768, simulators=("verilator",), count=33_000)


@system_test("BAS-030", "PKD-022", "PKD-024", "PKD-025", "PKD-026", "NET-049", timeout_us=8000)
async def framings(bench):
    """Chains cut anywhere: header apart, header split, single bytes, odd addresses."""
    nic = await bench.nic(queue_size=32, buffer_slack=4096)
    shapes = [HEADER_APART, Framing(cuts=(1,)), Framing(cuts=(11,)), Framing(cuts=(13,)),
              Framing(cuts=(5, 12, 60), gap=3),
              Framing(cuts=tuple(range(1, 20)), gap=1), Framing(offset=1), Framing(offset=3)]
    shapes += [Framing.random(bench.random, 72) for _ in range(60)]
    for shape in shapes:
        frame = bench.frame(longest=400)
        await nic.send(frame, framing=shape)
        assert await bench.wire() == frame
    await nic.flush(timeout_ns=100_000)


def _receive_framing(name, framing):
    @system_test("BAS-030", "PKD-022", "PKD-024", "PKD-026", "NET-050", timeout_us=4000, name=name)
    async def run(bench):
        nic = await bench.nic(queue_size=24, receive_framing=framing)
        for _ in range(20):
            frame = bench.frame()
            bench.mac.send(frame)
            assert await nic.receive(timeout_ns=100_000) == frame
    return run


receive_header_apart = _receive_framing("receive_header_apart", HEADER_APART)
receive_header_split = _receive_framing("receive_header_split", Framing(cuts=(5, 12, 60), gap=3))
receive_small_pieces = _receive_framing("receive_small_pieces", Framing(cuts=(1, 3, 7, 300, 301, 302, 1000), gap=1,
                                                                        offset=1))


@system_test("PKD-023", timeout_us=8000)
async def chain_as_long_as_the_ring(bench):
    """A chain of as many elements as the ring, in rings larger than the descriptor cache too."""
    for size in (5, 16, 40):
        nic = await bench.nic(queue_size=size, buffer_slack=8192)
        for _ in range(4):
            frame = bench.frame(200)
            await nic.send(frame, framing=Framing(cuts=tuple(range(2, 2 + 2 * (size - 1), 2)), gap=1))
            assert await bench.wire() == frame
        await nic.stop()


@system_test("PKD-016", timeout_us=8000)
async def bits_on_the_head_only(bench):
    """A driver that marks only the first element of a chain as available."""
    nic = await bench.nic(queue_size=16, style=RingStyle(set_bits_on_all=False, set_id_on_all=False),
                          receive_framing=Framing(cuts=(12, 100)))
    frames = [bench.frame(longest=300) for _ in range(60)]
    assert await echo(bench, nic, frames, framing=Framing(cuts=(12, 40)), batch=1) == frames
