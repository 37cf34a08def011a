"""A bench for the used descriptors: completions in, TLPs taken apart and compared with what the ring must hold."""

from dataclasses import dataclass

from amaranth.hdl import Cat

from hdl.config import NicConfig
from hdl.virtqueue.used import Used
from testbench.unit.bench import StreamBench
from testbench.unit.queue_table import WithQueueTable

__all__ = ["AVAIL", "USED", "WRITE", "Rig", "burst", "completion", "make_config", "parse", "sizes"]

WRITE, AVAIL, USED = 1 << 1, 1 << 7, 1 << 15


def make_config(width=512, pairs=4, batch=8, timeout=40, most_bytes=1 << 20):
    return NicConfig(width=width, pairs=pairs, used_batch=batch, used_timeout=timeout, used_bytes=most_bytes)


def completion(queue, id, length=0, written=None, slots=1, behind=0, filled=0):
    return {"queue": queue, "id": id, "length": length, "written": length > 0 if written is None else written,
            "slots": slots, "behind": behind, "filled": filled}


@dataclass(frozen=True)
class Slot:
    """A used descriptor found in a TLP."""
    address: int
    length: int
    id: int
    flags: int


@dataclass(frozen=True)
class Tlp:
    address: int
    slots: tuple
    header: int

    @property
    def bytes(self):
        return 16 * len(self.slots) - 8


def parse(beats, width):
    """TLPs of a list of beats, taken apart without the design's own layouts; asserts what any write must fulfil."""
    tlps, payload = [], None
    for beat in beats:
        assert beat.first == (payload is None)
        if beat.first:
            header, payload = beat.header, b""
        dwords = bin(beat.keep).count("1")
        assert beat.keep == (1 << dwords) - 1
        assert beat.last or dwords == width // 32
        payload += beat.data.to_bytes(width // 8, "little")[:4 * dwords]
        if beat.last:
            tlps.append(parse_tlp(header, payload))
            payload = None
    assert payload is None
    return tlps


def parse_tlp(header, payload):
    dw = [header >> 32 * n & 0xffff_ffff for n in range(4)]
    high = dw[2] if dw[0] >> 29 == 0b011 else 0
    assert dw[0] >> 29 == (0b011 if high else 0b010), "4-DW header above 4 GiB, 3-DW below"
    low = dw[3] if high else dw[2]
    assert high or dw[3] == 0
    assert dw[0] & 0x1fff_fc00 == 0, "a memory write with no attribute set"
    assert (dw[0] & 0x3ff) * 4 == len(payload) and len(payload) % 16 == 8
    assert dw[1] == 0xff, "all bytes enabled; requester and tag are not ours"
    address = high << 32 | low
    assert address % 16 == 8
    assert address >> 12 == (address + len(payload) - 1) >> 12, "no TLP crosses 4 KiB"
    slots = []
    for offset in range(0, len(payload), 16):
        length, id, flags = (int.from_bytes(payload[offset + a:offset + b], "little")
                             for a, b in ((0, 4), (4, 6), (6, 8)))
        assert payload[offset + 8:offset + 16].strip(b"\0") == b"", "address fields are 0"
        slots.append(Slot(address - 8 + offset, length, id, flags))
    return Tlp(address, tuple(slots), header)


class Ring:
    """What a queue's used descriptors must be, one after the other."""

    def __init__(self, base, size):
        self.base, self.size = base, size
        self.index, self.wrap = 0, 1

    def use(self, items):
        """The used descriptor that stands for `items`."""
        last = items[-1]
        slot = Slot(self.base + 16 * self.index, last["length"], last["id"],
                    (WRITE if last["written"] else 0) | (AVAIL | USED if self.wrap else 0))
        passes, self.index = divmod(self.index + sum(item["slots"] for item in items), self.size)
        self.wrap ^= passes & 1
        return slot


class Rig:
    """A bench around `Used`: accepts TLPs, and collects what is told of them."""

    def __init__(self, config, rings, *, seed=1, stall=0.0, accept_delay=lambda: 0, max_payload=1, limit=20_000,
                 in_order=0):
        """`rings`: (base, size) per queue."""
        self.config = config
        self.rings = [Ring(*ring) for ring in rings]
        self.dut = dut = Used(config)
        queues = [{"descriptors": base, "size": size, "enabled": 1} for base, size in rings]
        self.bench = StreamBench(WithQueueTable(dut, queues), seed=seed, limit=limit)
        self.beats = self.bench.get(dut.o, stall=stall)
        self.notified = self.bench.get(dut.notify, stall=stall)
        self.published = []     # (cycle, queue, position)
        self.first_beat = []    # cycles in which a TLP's first beat was offered
        self.taken = []         # cycles in which a completion was taken
        self.sent = 0           # TLPs
        self.idle = []          # in each cycle
        self.accepted = 0
        self.max_payload = max_payload
        self.in_order = in_order
        self.accept_delay = accept_delay
        self.hold = False       # accept nothing while set
        self.bench.process(self.accept, wait=False)
        self.bench.process(self.watch, wait=False)

    async def accept(self, ctx):
        ctx.set(self.dut.max_payload, self.max_payload)
        ctx.set(self.dut.in_order, self.in_order)
        while True:
            while self.hold or self.sent == self.accepted:
                await ctx.tick()
            for _ in range(self.accept_delay()):
                await ctx.tick()
            self.accepted += 1
            ctx.set(self.dut.accepted, 1)
            await ctx.tick()
            ctx.set(self.dut.accepted, 0)

    async def watch(self, ctx):
        dut, o, cycle, inside = self.dut, self.dut.o, 0, False
        while True:
            if ctx.get(dut.published.valid):
                queue = ctx.get(dut.published.queue)
                ctx.set(dut.query_queue, queue)
                position = ctx.get(dut.query_position)
                self.published.append((cycle, queue, (position.index, position.wrap)))
            _, _, offered, transfer, taken, idle = await ctx.tick().sample(
                o.valid & o.payload.first, Cat(o.valid & o.ready, o.payload.last),
                dut.completions.valid & dut.completions.ready, dut.idle)
            if offered and not inside:
                self.first_beat.append(cycle)
            inside = offered and transfer & 1 == 0
            self.sent += transfer == 3
            self.idle.append(idle)
            if taken:
                self.taken.append(cycle)
            cycle += 1

    def put(self, items, stall=0.0):
        self.bench.put(self.dut.completions, items, stall=stall)

    def run(self, settle=300):
        self.bench.run(settle=settle)
        self.tlps = parse(self.beats, self.config.width)
        return self.tlps

    def queue_of(self, address):
        queue, = (n for n, ring in enumerate(self.rings) if ring.base <= address < ring.base + 16 * ring.size)
        return queue

    def check(self, items):
        """Everything was published: the right descriptors, in order of completion, each once, and it was told. Returns
        how many buffers each used descriptor stands for: with `in_order`, for all up to the one that has its id."""
        pending = [[item for item in items if item["queue"] == n] for n in range(len(self.rings))]
        groups, told = [], []
        for tlp in self.tlps:
            assert len(tlp.slots) <= self.config.used_batch
            assert tlp.bytes <= 128 << self.max_payload
            queue = self.queue_of(tlp.address)
            ring, mine = self.rings[queue], pending[queue]
            before = len(mine)
            slots = 0
            for slot in tlp.slots:
                count = 1 + (next(n for n, item in enumerate(mine) if item["id"] == slot.id) if self.in_order else 0)
                group, mine[:] = mine[:count], mine[count:]
                assert all(item["filled"] for item in group[:-1]), "a skipped buffer counts as completely used"
                assert slot == ring.use(group)
                slots += sum(item["slots"] for item in group)
                groups.append(count)
            told.append((queue, (ring.index, ring.wrap), slots, before - len(mine)))
        assert not any(pending)
        assert [(note.queue, (note.next.index, note.next.wrap), note.slots, note.buffers)
                for note in self.notified] == told
        assert [(queue, position) for _, queue, position in self.published] == [entry[:2] for entry in told]
        return groups


def sizes(tlps):
    return [len(tlp.slots) for tlp in tlps]


def burst(count, *, queue=0, **changes):
    """Completions of one queue that follow one another at once."""
    return [completion(queue, 100 + n, length=1000 + n, behind=n != count - 1, **changes) for n in range(count)]
