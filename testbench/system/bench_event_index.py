"""VIRTIO_F_EVENT_IDX on the whole card: each side names the descriptor that it wants to hear of, and sleeps."""

from model import formats
from model.formats import Feature
from testbench.driver.net import WANTED
from testbench.system.bench_interrupts import RECEIVE
from testbench.system.bench_suppress import until
from testbench.system.case import system_test

EVENT_INDEX = WANTED | formats.feature_set(Feature.EVENT_IDX)
LOOKS_NS = 3_000        # in which a buffer that was given back is known to the card


class Watch:
    """What the card writes to Device Event Suppression of a ring of `size`: flags and positions, one by one."""

    def __init__(self, bench, ring):
        self.flags, self.positions = [], []
        self._size = ring.size
        bench.memory.watch(ring.device, formats.EVENT.size, self._written)

    def _written(self, address, data):
        position, flags = formats.EVENT.unpack(bytes(data))
        assert flags in (formats.EVENT_DISABLE, formats.EVENT_DESC)
        if flags == formats.EVENT_DESC:
            assert position & 0x7fff < self._size
            self.positions.append(position)
        else:
            assert position == 0
        self.flags.append(flags)


async def converse(bench, nic, count):
    """`count` frames out and as many in, in bursts of at most a ring, with pauses; nobody waits with a clock."""
    sent, received, size = [], [], nic.receivers[0].ring.size

    async def writer():
        while len(sent) < count:
            burst = [bench.frame(longest=120) for _ in range(bench.random.randint(1, size + 2))]
            sent.extend(burst)
            await nic.send_many(burst, batch=bench.random.choice((1, 2, size)))
            await bench.platform.sleep(bench.random.choice((0, 100, 700, 2500)))
        await nic.flush()

    async def reader():
        while len(received) < count:
            burst, got = [bench.frame(longest=120) for _ in range(bench.random.randint(1, size))], []
            for frame in burst:
                bench.mac.send(frame)
            while len(got) < len(burst):
                got += await nic.receive_many()
            assert got == burst
            received.extend(got)
            await bench.platform.sleep(LOOKS_NS)
    tasks = [bench.platform.spawn(writer()), bench.platform.spawn(reader())]
    await until(bench, lambda: all(task.done() for task in tasks),
                lambda: (len(sent), len(received), nic.statistics["used"]))
    assert [await bench.wire() for _ in sent] == sent


def _sleeping(size, count=40):
    @system_test("PKD-037", "PKD-038", "PKD-040", "FEA-018", timeout_us=20_000, name=f"nobody_oversleeps_at_{size}")
    async def test(bench):
        """A driver that naps at every occasion, with rings of odd sizes: no wake-up is lost, either way."""
        nic = await bench.nic(queue_size=size, wanted=EVENT_INDEX, sleep_seed=bench.seed, sleep_ns=1000)
        assert formats.has_feature(nic.virtio.features, Feature.EVENT_IDX)
        watches = [Watch(bench, queue.ring) for queue in nic.receivers + nic.transmitters]
        await converse(bench, nic, count)
        assert any(formats.EVENT_DESC in watch.flags for watch in watches)
    return test


nobody_oversleeps_at_1 = _sleeping(1, 25)
nobody_oversleeps_at_2 = _sleeping(2)
nobody_oversleeps_at_3 = _sleeping(3)
nobody_oversleeps_at_5 = _sleeping(5)
nobody_oversleeps_at_7 = _sleeping(7)


async def frames_in(bench, nic, count):
    """`count` frames from the wire, one right behind the other; messages of the receive queue that they bring."""
    before = nic.messages.counts.get(RECEIVE, 0)
    for _ in range(count):
        bench.mac.send(bench.frame(60))
    await bench.settle()
    return nic.messages.counts.get(RECEIVE, 0) - before


@system_test("PKD-038", "FEA-018", presets=("tiny", "default"), timeout_us=8000)
async def an_interrupt_for_the_descriptor_named(bench):
    """One message when the descriptor named is used, alone or amid others; none for those before it or behind it."""
    nic = await bench.nic(queue_size=7, wanted=EVENT_INDEX)
    queue = nic.receivers[0]
    for after, bursts, messages in [(1, (1, 1), [1, 0]), (3, (1, 1, 1, 1), [0, 0, 1, 0]), (2, (5, 1), [1, 0]),
                                    (5, (2, 2, 2), [0, 0, 1]), (4, (3,), [0]), (6, (5, 1, 1), [0, 1, 0]),
                                    (7, (7,), [1])]:
        queue.ring.enable_interrupts(after)
        assert [await frames_in(bench, nic, burst) for burst in bursts] == messages, (after, bursts)
        assert len(queue.collect()) == sum(bursts)
        queue.refill()
        await queue.kick()
        await bench.platform.sleep(LOOKS_NS)
