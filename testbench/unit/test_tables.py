"""Ring descriptors in, elements out: `Tables` alone, between a ring that a bench fills and a walker that it plays."""

import random
import struct

import pytest
from amaranth import Elaboratable, Module, Signal
from amaranth.lib.memory import Memory

from hdl.dma.spec import Client, ReadStatus, TableContext
from hdl.virtqueue.cache import Cache, CacheWrite
from hdl.virtqueue.stages import Progress
from hdl.virtqueue.tables import Tables
from testbench.unit.bench import StreamBench

BITS, QUEUES, SIZE = 2, 3, 40
WRITE = 2


class Surroundings(Elaboratable):
    """The dut, the ring's cache and how far it is filled, and how far the walker is: memories that answer at once."""

    def __init__(self, *, width, descriptors, elements, batch, read_bytes):
        self.dut = Tables(width, QUEUES, BITS, client=Client.TABLE_RX, descriptors=descriptors, elements=elements,
                          batch=batch, read_bytes=read_bytes)
        self.descriptors = descriptors
        self.fill = Signal(CacheWrite(BITS, descriptors.bit_length() - 1))
        self.filled = Signal(Progress(descriptors.bit_length()))
        self.fill_progress = Signal()
        self.walked_queue, self.walked, self.walks = Signal(BITS), Signal(elements.bit_length()), Signal()

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = dut
        m.submodules.cache = cache = Cache(QUEUES, BITS, self.descriptors)
        m.submodules.progress = progress = Memory(shape=self.filled.shape(), depth=1 << BITS, init=[])
        m.submodules.walker = walker = Memory(shape=self.walked.shape(), depth=1 << BITS, init=[])
        write, own, looking = progress.write_port(), *(progress.read_port(domain="comb") for _ in range(2))
        emptied_write, emptied = walker.write_port(), walker.read_port(domain="comb")
        m.d.comb += [
            cache.write.eq(self.fill), cache.read_queue.eq(dut.ring_cache_queue),
            cache.read_slot.eq(dut.ring_cache_slot), cache.read_enable.eq(dut.ring_cache_enable),
            dut.ring_cache.eq(cache.read),
            write.addr.eq(self.fill.queue), write.data.eq(self.filled), write.en.eq(self.fill_progress),
            own.addr.eq(dut.ring_progress_queue), dut.ring_progress.eq(own.data),
            looking.addr.eq(dut.ring_looking_queue), dut.ring_looking.eq(looking.data),
            dut.ring_arrived.valid.eq(self.fill.valid), dut.ring_arrived.queue.eq(self.fill.queue),
            emptied_write.addr.eq(self.walked_queue), emptied_write.data.eq(self.walked),
            emptied_write.en.eq(self.walks), emptied.addr.eq(dut.emptied_queue), dut.emptied.eq(emptied.data),
            dut.config.size.eq(SIZE), dut.config.enabled.eq(1),
        ]
        return m


class Ring:
    """Bench of `Tables`.

    `direct` and `table` append to a queue what is put into the ring; `run` plays until `done`. `taken` are the elements
    that the walker took, `expected` what it should take, per queue: (address, length, id, write, ring, last).
    """

    def __init__(self, *, width=128, descriptors=8, elements=8, batch=4, read_bytes=128, stall=0.3, latency=40, seed=0,
                 indirect=1, walk=0.5):
        self.top = Surroundings(width=width, descriptors=descriptors, elements=elements, batch=batch,
                                read_bytes=read_bytes)
        self.dut = self.top.dut
        self.beat, self.descriptors, self.elements, self.batch = width // 8, descriptors, elements, batch
        self.stall, self.latency, self.indirect, self.walk, self.seed = stall, latency, indirect, walk, seed
        self.rng = random.Random(seed)
        self.memory = {}
        self.waiting = [[] for _ in range(QUEUES)]       # ring descriptors
        self.expected = [[] for _ in range(QUEUES)]
        self.begin()
        self.errors, self.now, self.reads, self.taken_at = 0, 0, [], []
        self.status = lambda queue: ReadStatus.OK
        self.script = None

    def begin(self):
        self.taken = [[] for _ in range(QUEUES)]
        self.filled, self.walked, self.chains = [0] * QUEUES, [0] * QUEUES, [0] * QUEUES
        self.inside = [False] * QUEUES
        self.under_way, self.beats, self.taking = [[] for _ in range(QUEUES)], [], None
        self.held = False        # nothing is filled in, and queue 0 is not walked over

    def direct(self, queue, count, id, *, write=0, **flags):
        for n in range(count):
            address, length = self.rng.getrandbits(64), self.rng.getrandbits(32)
            own, last = id if n == count - 1 else id ^ 1, n == count - 1
            self.waiting[queue].append({"address": address, "length": length, "id": own, "write": write, "last": last,
                                        **flags})
            self.expected[queue].append((address, length, own, write, 1, last))

    def table(self, queue, count, id, *, length=None, **flags):
        at = len(self.memory) << 20 | self.rng.choice([0, 16, 112, 8, 1])
        content = b""
        for n in range(count):
            entry = [self.rng.getrandbits(bits) for bits in (64, 32, 16, 16)]
            content += struct.pack("<QIHH", *entry)
            self.expected[queue].append((*entry[:2], id, bool(entry[3] & WRITE), n == 0, n == count - 1))
        self.memory[at >> 20] = (at, content)
        self.waiting[queue].append({"address": at, "length": 16 * count if length is None else length, "id": id,
                                    "write": self.rng.getrandbits(1), "indirect": 1, "last": 1, **flags})

    def mix(self, queues, count, most=SIZE):
        for n in range(count):
            queue = self.rng.randrange(queues)
            if self.rng.random() < 0.5:
                self.table(queue, self.rng.choice([1, 2, 3, self.rng.randint(1, most)]), n)
            else:
                self.direct(queue, self.rng.choice([1, 1, 2, self.rng.randint(1, 12)]), n)

    def all_taken(self):
        return self.taken == self.expected

    def run(self, done, *, limit=8000):
        bench = StreamBench(self.top, seed=self.seed, limit=limit + 100)

        async def body(ctx):
            await self.initialise(ctx)
            ctx.set(self.dut.indirect, self.indirect)
            while not done():
                assert self.now < limit, f"stuck (seed {self.seed}): {self.filled} {self.walked} {self.under_way}"
                await self.cycle(ctx)
                if self.script:
                    await self.script(ctx)
        bench.process(body)
        bench.run(settle=1)

    async def initialise(self, ctx):
        for queue in range(1 << BITS):
            ctx.set(self.dut.init, {"valid": 1, "queue": queue})
            ctx.set(self.top.fill.queue, queue)
            ctx.set(self.top.filled, {"slot": 0, "chain": 0})
            ctx.set(self.top.walked_queue, queue)
            ctx.set(self.top.walked, 0)
            ctx.set(self.top.fill_progress, 1)
            ctx.set(self.top.walks, 1)
            await ctx.tick()
        ctx.set(self.dut.init.valid, 0)
        ctx.set(self.top.fill_progress, 0)
        ctx.set(self.top.walks, 0)

    def chance(self):
        return self.rng.random() >= self.stall

    async def cycle(self, ctx):
        self.errors += ctx.get(self.dut.error)
        self._fill(ctx)
        gives = self._host(ctx)
        self._walk(ctx)
        await ctx.tick()
        if gives:
            ctx.set(self.dut.beats.valid, 0)
            self.beats.pop(0)
        ctx.set(self.top.fill.valid, 0)
        ctx.set(self.top.fill_progress, 0)
        self.now += 1

    def _fill(self, ctx):
        """A descriptor into the ring's cache of a queue with room."""
        queues = [queue for queue in range(QUEUES) if self.waiting[queue]]
        if self.held or not queues or not self.chance():
            return
        queue = self.rng.choice(queues)
        ctx.set(self.dut.ring_emptied_queue, queue)
        if (self.filled[queue] - ctx.get(self.dut.ring_emptied)) % (2 * self.descriptors) == self.descriptors:
            return
        ctx.set(self.top.fill, {"valid": 1, "queue": queue, "slot": self.filled[queue] % self.descriptors,
                                "chain": self.waiting[queue].pop(0)})
        self.filled[queue] = (self.filled[queue] + 1) % (2 * self.descriptors)
        ctx.set(self.top.filled, {"slot": self.filled[queue], "chain": 0})
        ctx.set(self.top.fill_progress, 1)

    def _host(self, ctx):
        """Takes reads, and answers the oldest of a queue some time later; returns whether a beat goes over."""
        dut = self.dut
        ready = self.chance()
        ctx.set(dut.reads.ready, ready)
        if ready and ctx.get(dut.reads.valid):
            read = ctx.get(dut.reads.payload)
            context = TableContext().from_bits(read.context)
            assert read.length == 16 * context.count and read.last and not read.more and read.client == Client.TABLE_RX
            self.reads.append((self.now, read.queue, context.count))
            self.under_way[read.queue].append((self.now + self.rng.randint(self.latency // 2, self.latency), read))
        due = [reads[0] for reads in self.under_way if reads and reads[0][0] <= self.now]
        if not self.beats and due and ctx.get(dut.room):
            _, read = self.rng.choice(due)
            self.under_way[read.queue].pop(0)
            base, content = self.memory[read.address >> 20]
            content = content[read.address - base:read.address - base + read.length]
            assert len(content) == read.length
            status = self.status(read.queue)
            self.beats = [{"data": int.from_bytes(content[at:at + self.beat], "little"), "first": at == 0,
                           "bytes": len(content[at:at + self.beat]), "last": at + self.beat >= len(content),
                           "queue": read.queue, "status": status, "context": read.context}
                          for at in range(0, len(content), self.beat)]
        if self.beats and not ctx.get(dut.beats.valid) and self.chance():
            ctx.set(dut.beats.payload, self.beats[0])
            ctx.set(dut.beats.valid, 1)
        return ctx.get(dut.beats.valid) and ctx.get(dut.beats.ready)

    def _walk(self, ctx):
        """Every second cycle an element of a queue that may be read, by the walkers' rule."""
        ctx.set(self.top.walks, 0)
        ctx.set(self.dut.space.valid, 0)
        modulus = 2 * self.elements
        if self.taking is not None:
            self._collect(ctx, self.taking)
            self.taking = None
        elif self.rng.random() < self.walk:
            for queue in self.rng.sample(range(QUEUES), QUEUES):
                ctx.set(self.dut.progress_queue, queue)
                progress, at = ctx.get(self.dut.progress), self.walked[queue]
                filled = (progress.slot - at) % modulus
                if filled and not (self.held and queue == 0) and (
                        self.inside[queue] or progress.chain != self.chains[queue]
                        or filled > self.elements - self.batch):
                    self.taking = queue
                    ctx.set(self.dut.cache_queue, queue)
                    ctx.set(self.dut.cache_slot, at % self.elements)
                    ctx.set(self.dut.cache_enable, 1)
                    break

    def _collect(self, ctx, queue):
        element, modulus = ctx.get(self.dut.cache), 2 * self.elements
        self.taken[queue].append((element.address, element.length, element.id,
                                  element.write, element.ring, element.last))
        self.taken_at.append(self.now)
        self.inside[queue] = not element.last
        self.chains[queue] = (self.chains[queue] + element.last) % modulus
        self.walked[queue] = (self.walked[queue] + 1) % modulus
        ctx.set(self.top.walked_queue, queue)
        ctx.set(self.top.walked, self.walked[queue])
        ctx.set(self.top.walks, 1)
        if self.walked[queue] % (self.batch // 2) == 0:
            ctx.set(self.dut.space, {"valid": 1, "queue": queue})


SHAPES = [{}, {"width": 256, "elements": 16, "descriptors": 16}, {"width": 512, "elements": 64, "read_bytes": 512},
          {"elements": 8, "read_bytes": 512, "width": 512}]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.requirements("PKD-021", "PKD-028", "PKD-029", "PKD-030", "PKD-031")
def test_random_mixes(seed):
    """Tables of 1 to 40 elements among direct chains: every element once and in order, whatever the caches hold."""
    ring = Ring(seed=seed, stall=(0.05, 0.4)[seed % 2], walk=(1, 0.3)[seed // 4], latency=(8, 120)[seed // 2 % 2],
                **SHAPES[seed % 4])
    ring.mix(QUEUES, 40)
    ring.run(ring.all_taken)
    assert ring.errors == 0
    # No read is smaller than needed while there is room for more.
    assert len(ring.reads) <= sum(len(elements) for elements in ring.expected) // 2


def test_latency_and_rate():
    """A direct descriptor is visible 3 cycles after it stood in the ring's cache; one a cycle, and a table every 2."""
    ring = Ring(width=512, descriptors=64, elements=64, batch=16, read_bytes=512, stall=0, walk=0)
    for n in range(32):
        ring.direct(0, 1, n)
    for n in range(16):
        ring.table(0, 1, n)
    filled, visible = [], []

    async def watch(ctx):
        ctx.set(ring.dut.progress_queue, 0)
        visible.append(ctx.get(ring.dut.progress).slot)
        filled.append(ring.filled[0])
    ring.script = watch
    ring.run(lambda: len(ring.reads) == 16)
    seen, done = filled.index(1), visible.index(32)
    assert next(n for n, slot in enumerate(visible) if slot) - seen == 3
    # In turns of 16.
    assert done - seen <= 3 + 32 + 4
    assert ring.reads[-1][0] - ring.reads[0][0] <= 31


BAD = [("without the feature", {}, 0), ("with NEXT", {"last": 0}, 1), ("no element", {"length": 0}, 1),
       ("a part of an element", {"length": 40}, 1), ("longer than the ring", {"length": 16 * (SIZE + 1)}, 1),
       ("far too long", {"length": 1 << 31}, 1)]


@pytest.mark.parametrize("flags, indirect", [case[1:] for case in BAD], ids=[case[0] for case in BAD])
@pytest.mark.requirements("FEA-019")
def test_bad_tables_break_the_queue_only(flags, indirect):
    """What stands before in the ring is still good; nothing behind is taken, and no such table is read."""
    ring = Ring(indirect=indirect, stall=0.1)
    ring.direct(0, 3, 1)
    good = list(ring.expected[0])
    ring.table(0, 2, 2, **flags)
    ring.direct(0, 2, 3)
    for n in range(20):
        ring.direct(1, 2, n)
    ring.run(lambda: ring.taken[1] == ring.expected[1] and ring.errors)
    assert ring.errors == 1 and ring.taken[0] == good and not ring.reads


def test_table_within_a_chain_breaks_the_queue():
    ring = Ring(stall=0.1)
    ring.direct(0, 3, 1)
    ring.waiting[0].pop()
    ring.table(0, 2, 2)
    ring.mix(3, 0)
    ring.table(1, 2, 2)
    ring.run(lambda: ring.taken[1] == ring.expected[1] and ring.errors)
    assert not ring.taken[0] and len(ring.reads) == 1


@pytest.mark.parametrize("status", [status for status in ReadStatus
                                    if status not in (ReadStatus.OK, ReadStatus.DISCARDED)])
def test_failed_reads(status):
    """The first bad one counts: what was asked for before is good, what comes later is not seen."""
    ring = Ring(stall=0.1, elements=64, width=512, read_bytes=512)
    for n in range(12):
        ring.table(0, 3, n)
        ring.table(1, 3, n)
    answered = []

    def fails(queue):
        answered.append(queue)
        return status if queue == 0 and answered.count(0) == 4 else ReadStatus.OK
    ring.status = fails
    ring.run(lambda: ring.taken[1] == ring.expected[1] and ring.errors and answered.count(0) >= 8)
    assert ring.errors == 1 and ring.taken[0] == ring.expected[0][:9]


@pytest.mark.parametrize("seed", range(4))
def test_rewind_while_reads_are_under_way(seed):
    """A part of a table longer than the cache was walked over; then the walker wants it again from its beginning."""
    ring = Ring(seed=seed, latency=100, stall=0.2, elements=(8, 16)[seed % 2], walk=0.5)
    for queue in (0, 1):
        ring.direct(queue, 2, 1)
        ring.table(queue, SIZE, 2)
        ring.direct(queue, 3, 3)
        ring.table(queue, 2, 4)
    again = ring.waiting[0][2:]
    taken = 2 + ring.rng.randint(1, SIZE - 10)
    rewound = []

    async def rewind(ctx):
        dut = ring.dut
        if rewound or len(ring.taken[0]) < taken or ring.taking is not None or not ring.under_way[0]:
            return
        ring.held = True
        ctx.set(dut.rewinds.payload, {"queue": 0, "position": {"index": 5, "wrap": 1}, "slot": ring.walked[0],
                                      "chain": ring.chains[0]})
        ctx.set(dut.rewinds.valid, 1)
        while not ctx.get(dut.ring_rewinds.valid):
            await ring.cycle(ctx)
        request = ctx.get(dut.ring_rewinds.payload)
        assert not ring.under_way[0] and (request.queue, request.position.index) == (0, 5)
        ring.waiting[0], ring.filled[0] = list(again), request.slot
        ctx.set(dut.ring_rewinds.ready, 1)
        ctx.set(ring.top.fill.queue, 0)
        ctx.set(ring.top.filled, {"slot": request.slot, "chain": 0})
        ctx.set(ring.top.fill_progress, 1)
        assert ctx.get(dut.rewinds.ready)
        await ring.cycle(ctx)
        ctx.set(dut.rewinds.valid, 0)
        ctx.set(dut.ring_rewinds.ready, 0)
        ctx.set(dut.ring_rewound, 1)
        await ring.cycle(ctx)
        ctx.set(dut.ring_rewound, 0)
        rewound.append(ring.taken[0][2:])
        ring.taken[0] = ring.taken[0][:2]
        ring.inside[0], ring.held = False, False
    ring.script = rewind
    ring.run(lambda: rewound and ring.all_taken())
    assert rewound[0] == ring.expected[0][2:2 + len(rewound[0])] and len(rewound[0]) >= taken - 2


@pytest.mark.parametrize("seed", range(4))
def test_a_new_life_after_quiesce(seed):
    """Quiesce at any moment: nothing more is asked for, what is under way comes back, and none of it lives on."""
    ring = Ring(seed=seed, latency=60, stall=0.2)
    ring.mix(QUEUES, 30)
    dut, lives = ring.dut, []

    async def seen(ctx):
        slots = []
        for queue in range(QUEUES):
            ctx.set(dut.progress_queue, queue)
            slots.append(ctx.get(dut.progress.slot))
        return slots

    async def reset(ctx):
        if len(lives) == 5 or ring.rng.random() < 0.98:
            return
        ctx.set(dut.quiesce, 1)
        ring.held = True
        await ring.cycle(ctx)
        lives.append(len(ring.reads))
        asked = len(ring.reads) + ctx.get(dut.reads.valid)
        ring.status = lambda queue: ring.rng.choice([ReadStatus.OK, ReadStatus.DISCARDED, ReadStatus.ABORTED])
        for _ in range(4):
            await ring.cycle(ctx)
        visible = await seen(ctx)
        while any(ring.under_way) or ring.beats or not ctx.get(dut.idle):
            await ring.cycle(ctx)
        assert await seen(ctx) == visible
        assert len(ring.reads) <= asked and ring.errors == 0
        ring.status = lambda queue: ReadStatus.OK
        ctx.set(dut.quiesce, 0)
        ring.memory, ring.expected = {}, [[] for _ in range(QUEUES)]
        ring.waiting = [[] for _ in range(QUEUES)]
        ring.begin()
        ring.mix(QUEUES, 30)
        await ring.initialise(ctx)
    ring.script = reset
    ring.run(lambda: len(lives) == 5 and ring.all_taken())
    assert ring.errors == 0
