"""Device event suppression: doorbells that the card can do without, and none that it would have needed."""

from model import formats
from testbench.system.case import system_test

ENABLE, DISABLE = formats.EVENT_ENABLE, formats.EVENT_DISABLE
STANDS_NS = 150_000     # in which something happens on a card with work to do


class Watch:
    """What stands in Device Event Suppression of a ring. `flags`: its value now, and each that the card writes."""

    def __init__(self, bench, ring):
        self.flags = [formats.EVENT.unpack(bench.memory.read(ring.device, formats.EVENT.size))[1]]
        self._address = ring.device
        bench.memory.watch(ring.device, formats.EVENT.size, self._written)

    def _written(self, address, data):
        assert (address, len(data)) == (self._address, formats.EVENT.size), "not the structure, and nothing but it"
        off_wrap, flags = formats.EVENT.unpack(bytes(data))
        assert off_wrap == 0 and flags in (ENABLE, DISABLE), f"{off_wrap:#x}, {flags:#x}"
        self.flags.append(flags)


async def until(bench, done, progress):
    """Until `done()`, as long as `progress()` goes on changing."""
    before = None
    while not done():
        assert progress() != before, f"a buffer is stuck: {before}"
        before = progress()
        await bench.platform.sleep(STANDS_NS)


@system_test("PKD-047", "FEA-018", "PKD-036", "PKD-040", "PKD-044", "PKD-045", gbps=10, timeout_us=10_000,
             presets=("tiny", "default"))
async def transmit_doorbells(bench):
    """Bursts and pauses at random. The card may switch doorbells off only while it looks by itself."""
    nic = await bench.nic(queue_size=64)
    watch = Watch(bench, nic.transmitters[0].ring)
    frames = []

    async def writer():
        while len(frames) < 300:
            burst = [bench.frame(longest=200) for _ in range(bench.random.choice((1, 2, 40, 64)))]
            frames.extend(burst)
            await nic.send_many(burst, batch=bench.random.choice((1, 4, 32)))
            await bench.platform.sleep(bench.random.choice((0, 100, 500, 2000, 15_000)))
        await nic.flush()
    task = bench.platform.spawn(writer())
    await until(bench, task.done, lambda: (len(frames), nic.statistics["used"]))
    assert [await bench.wire() for _ in frames] == frames
    await bench.settle()
    assert DISABLE in watch.flags and watch.flags[-1] == ENABLE
    assert nic.statistics["doorbells_saved"] > 0


@system_test("PKD-036", "PKD-040", "PKD-044", "PKD-045", timeout_us=10_000)
async def receive_doorbells(bench):
    """Buffers that come back in large and small numbers, with and without doorbell."""
    nic = await bench.nic(queue_size=64, refill_batch=16)
    watch = Watch(bench, nic.receivers[0].ring)
    frames, received = [], []

    async def wire():
        while len(frames) < 300:
            for _ in range(bench.random.choice((1, 5, 30))):
                while len(frames) - len(received) > 30:
                    await bench.platform.sleep(200)
                frames.append(bench.frame(longest=150))
                bench.mac.send(frames[-1])
            await bench.platform.sleep(bench.random.choice((0, 1000, 5000)))

    async def reader():
        while True:
            received.extend(await nic.receive_many())
            await bench.platform.sleep(bench.random.choice((0, 100, 1000, 3000)))
    sending, reading = bench.platform.spawn(wire()), bench.platform.spawn(reader())
    await until(bench, lambda: sending.done() and len(received) == len(frames), lambda: (len(frames), len(received)))
    reading.cancel()
    assert received == frames
    assert DISABLE in watch.flags


@system_test("PKD-040", gbps=1, timeout_us=10_000)
async def a_buffer_without_doorbell(bench):
    """Added at every possible moment around the switch back to ENABLE, and rung for only if the card asks for it."""
    nic = await bench.nic(queue_size=64)
    watch = Watch(bench, nic.transmitters[0].ring)
    for late in range(0, 3000, 300):
        frames = [bench.frame(60) for _ in range(33)]
        await nic.send_many(frames[:-1], batch=4)
        # The last buffer of the burst is fetched long before the wire has taken the frame before it.
        while not nic.transmitters[0].ring.doorbell_wanted():
            await bench.clocks(4)
        await bench.platform.sleep(late / 4)
        await nic.send(frames[-1])
        assert [await bench.wire() for _ in frames] == frames
        await nic.flush(timeout_ns=STANDS_NS)
    assert DISABLE in watch.flags
