"""VIRTIO_NET_F_MRG_RXBUF on the whole card: received packets that spread over several buffers."""

from model import formats
from model.formats import Feature
from testbench.driver.framing import Framing
from testbench.driver.options import WANTED
from testbench.system.bench_link import counted
from testbench.system.case import system_test

MERGE = WANTED | formats.feature_set(Feature.NET_MRG_RXBUF)
IN_ORDER = MERGE | formats.feature_set(Feature.IN_ORDER)
INDIRECT = MERGE | formats.feature_set(Feature.INDIRECT_DESC, Feature.EVENT_IDX)
HEADER = 12


class Whole:
    """Looks at a ring as a driver does, after every write into it: packets are used as a whole or not at all."""

    def __init__(self, bench, queue):
        self._memory, self._queue = bench.memory, queue
        self.writes = self.merged = 0
        bench.memory.watch(queue.ring.descriptors, 16 * queue.ring.size, self._written)

    def _written(self, address, data):
        queue, ring = self._queue, self._queue.ring
        index, wrap, missing, seen = ring.used_index, ring.used_wrap, 0, 0
        self.writes += 1
        while seen < ring.size - ring.free:
            _, written, buffer_id, flags = formats.DESC.unpack(self._memory.read(ring.descriptors + 16 * index, 16))
            if flags & formats.DESC_WRAP_BITS != formats.USED[wrap]:
                break
            if not missing:
                head = queue._bytes(ring._tokens[buffer_id], written)
                missing = int.from_bytes(head[10:12], "little")
                assert len(head) >= HEADER and missing, "a header in the first buffer"
                self.merged += missing > 1
            seen, missing = seen + ring._slots[buffer_id], missing - 1
            index += ring._slots[buffer_id]
            if index >= ring.size:
                index, wrap = index - ring.size, wrap ^ 1
        assert not missing, f"{missing} buffers of a packet are not used yet, but its first is"


async def receive(bench, nic, count, *, longest=1500, most=4):
    """`count` frames in bursts, as far as the ring has room for them."""
    got = 0
    while got < count:
        frames = [bench.frame(longest=longest) for _ in range(bench.random.randint(1, most))]
        for frame in frames:
            bench.mac.send(frame)
        back = []
        while len(back) < len(frames):
            back += await nic.receive_many(timeout_ns=300_000)
        assert back == frames
        got += len(back)
        if bench.random.random() < 0.3:
            await bench.settle()


def merged(name, size, buffer_bytes, features=MERGE, framing=Framing(), **circumstances):
    @system_test("NET-050", "NET-053", "NET-054", "NET-055", "NET-096", "PKD-035", timeout_us=12_000, name=name,
                 **circumstances)
    async def test(bench):
        nic = await bench.nic(queue_size=size, wanted=features, receive_buffer_bytes=buffer_bytes,
                              receive_framing=framing, refill_batch=4)
        assert formats.has_feature(nic.virtio.features, Feature.NET_MRG_RXBUF)
        whole = None if features == IN_ORDER else Whole(bench, nic.receivers[0])
        slots = nic.receivers[0].ring.slots(len(nic.receivers[0]._pieces))
        # As many as the ring holds even when some buffers wait to be given back.
        room = (size // slots - 4) * buffer_bytes
        longest = min(1514, room - HEADER)
        await receive(bench, nic, 60, longest=longest, most=max(1, room // (longest + HEADER + buffer_bytes)))
        assert nic.statistics["rx_merged"] > 5
        assert not whole or whole.merged
    return test


merged_into_256_bytes = merged("merged_into_256_bytes", 64, 256, presets=("tiny", "default"))
merged_at_13 = merged("merged_at_13", 13, 200)
merged_into_headers = merged("merged_into_headers", 300, HEADER)
merged_chains = merged("merged_chains", 61, 150, framing=Framing(cuts=(5, 12, 60), gap=3))
merged_tables = merged("merged_tables", 40, 150, INDIRECT, Framing(cuts=(12, 60), gap=1))
merged_in_order = merged("merged_in_order", 64, 256, IN_ORDER, presets=("tiny", "default"))
merged_in_order_at_23 = merged("merged_in_order_at_23", 23, 120, IN_ORDER, Framing(cuts=(12,)))


@system_test("NET-051", "NET-052", timeout_us=4000)
async def without_merging(bench):
    """Every packet in one buffer, also if a driver that could merge did not ask for it."""
    nic = await bench.nic(queue_size=16)
    await receive(bench, nic, 10, longest=1514, most=3)
    assert nic.statistics["rx_merged"] == 0 and nic.statistics["used"] == nic.statistics["rx_frames"]


@system_test("NET-053", timeout_us=6000)
async def more_than_the_ring_holds(bench):
    """Dropped and counted; the buffers serve the next frame, and together they hold the longest that fits."""
    nic = await bench.nic(queue_size=16, wanted=MERGE, receive_buffer_bytes=64)
    before = await bench.counter("receive.drop.no_buffer")
    for length in (16 * 64 - HEADER + 1, 1514):
        bench.mac.send(bench.frame(length))
        await bench.settle()
    assert await counted(bench, "receive.drop.no_buffer", before) == 2
    for length in (16 * 64 - HEADER, 60):
        frame = bench.frame(length)
        bench.mac.send(frame)
        assert await nic.receive(timeout_ns=200_000) == frame
