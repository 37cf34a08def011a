"""VIRTIO_F_IN_ORDER on the whole card: used descriptors that stand for many buffers."""

from model import formats
from model.formats import Feature
from testbench.driver.framing import Framing
from testbench.driver.net import WANTED
from testbench.system.bench_suppress import until
from testbench.system.case import system_test

IN_ORDER = WANTED | formats.feature_set(Feature.IN_ORDER)


class UsedWrites:
    """Used descriptors that the card writes into a ring: `count`."""

    def __init__(self, bench, ring):
        self.count = 0
        bench.memory.watch(ring.descriptors, 16 * ring.size, self._written)

    def _written(self, address, data):
        assert len(data) % 16 == 8 and address % 16 == 8
        self.count += (len(data) + 8) // 16


def _transmit(size, features, name):
    @system_test("FEA-011", "PKD-017", "PKD-032", "PKD-033", "PKD-034", presets=("tiny", "default"), timeout_us=10_000,
                 name=name)
    async def test(bench):
        """Chains of every length in any mixture, a backlog of them: they come back in order, by fewer descriptors."""
        nic = await bench.nic(queue_size=size, wanted=features, sleep_seed=bench.seed, sleep_ns=3000)
        assert formats.has_feature(nic.virtio.features, Feature.IN_ORDER)
        used = UsedWrites(bench, nic.transmitters[0].ring)
        frames = []

        async def writer():
            while len(frames) < 100:
                framing = Framing.random(bench.random, 40, most=bench.random.choice((1, 1, min(size, 5))))
                burst = [bench.frame(longest=200) for _ in range(bench.random.randint(1, 30))]
                frames.extend(burst)
                await nic.send_many(burst, framing=framing, batch=30)
            await nic.flush()
        task = bench.platform.spawn(writer())
        await until(bench, task.done, lambda: (len(frames), nic.statistics["used"]))
        assert [await bench.wire() for _ in frames] == frames
        assert used.count <= len(frames) and (size < 8 or used.count < 0.8 * len(frames))
    return test


BOTH = IN_ORDER | formats.feature_set(Feature.EVENT_IDX)
in_order_transmit_at_5 = _transmit(5, IN_ORDER, "in_order_transmit_at_5")
in_order_transmit_at_61 = _transmit(61, IN_ORDER, "in_order_transmit_at_61")
in_order_and_event_index_at_23 = _transmit(23, BOTH, "in_order_and_event_index_at_23")


@system_test("FEA-011", "PKD-017", "PKD-033", "PKD-034", presets=("tiny", "default"), timeout_us=10_000)
async def in_order_receive(bench):
    """Frames that fill their buffers to the last byte, and others: each has its length and its bytes."""
    nic = await bench.nic(queue_size=31, wanted=IN_ORDER, refill_batch=4, receive_framing=Framing(cuts=(12, 700)))
    queue = nic.receivers[0]
    used, received = UsedWrites(bench, queue.ring), []
    payload = queue._length - queue._header.bytes - 20
    for _ in range(12):
        # The longest frame has two VLAN tags.
        frames = [bench.frame(12) + b"\x81\0\0\1" * 2 + bench.frame(payload) if bench.random.random() < 0.6
                  else bench.frame() for _ in range(bench.random.randint(1, 4))]
        for frame in frames:
            bench.mac.send(frame)
        got = []
        while len(got) < len(frames):
            got += await nic.receive_many(timeout_ns=100_000)
        assert got == frames
        received += got
        await bench.settle()
    assert used.count < len(received)
