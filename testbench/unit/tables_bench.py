"""`Tables` alone, between a ring that a bench fills and a walker that it plays."""

import random
import struct

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
    that the walker took, `expected` what it should take, per queue: (address, length, id, write, ring, last); `told` is
    what `stored` tells, (length, write, last), in the order of storing.
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
        self.taken, self.told = [[] for _ in range(QUEUES)], [[] for _ in range(QUEUES)]
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
        stored = ctx.get(self.dut.stored)
        if stored.valid and not stored.rewind:
            self.told[stored.queue].append((stored.length, stored.write, stored.last))
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
