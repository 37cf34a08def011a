"""Judging descriptors against a host that samples each 64-byte line at a moment of its own, and a driver that writes
the flags of a chain's elements before the rest of them, in any order, and its head last."""

import random
import struct

import pytest
from amaranth.sim import Simulator

from hdl.config import NicConfig
from hdl.dma.spec import FetchContext, ReadStatus
from hdl.virtqueue.engine import Direction
from hdl.virtqueue.receive import Receive
from testbench.unit.packed_ring import AVAIL, USED, PackedRing
from testbench.unit.vq_host import BUFFERS, Host
from testbench.unit.vq_read import Read

CACHE, BATCH = 16, 8


class Command:
    """What `Read` takes of a read command."""

    def __init__(self, address, length, context):
        self.queue, self.address, self.length, self.context = 0, address, length, context


class Lines:
    """A `Receive` of one ring between a driver, a host, and what stands for `Fetch`: it reads ahead without being
    told, goes back where a report says, and up to what was seen says so in the context.

    Slots are counted without end. `elements` are those written, `judged` how many of them came out; each one that does
    is compared.
    """

    def __init__(self, width, size, base, seed, *, head_only=False, told=0.1, rewinds=0.01):
        self.dut = Receive(width, 1, cache=CACHE, batch=BATCH)
        self.width, self.size, self.base, self.head_only = width, size, base, head_only
        self.told, self.rewinds = told, rewinds
        self.seed, self.rng = seed, random.Random(seed)
        self.memory = bytearray(0x4000)
        self.seen = self.trusted = self.resets = 0
        self.begin()

    def begin(self):
        self.ring = PackedRing(self.memory, self.base, 0, self.size, head_only=self.head_only, flags_first=True)
        self.elements, self.published, self.writing = [], 0, None
        self.held = 0
        self.fetched = self.judged = self.used = self.until = self.epoch = 0
        self.reads, self.beats, self.chains, self.pending = [], [], [], None
        self.paused = False

    def place(self, slot):
        return {"index": slot % self.size, "wrap": (slot // self.size + 1) % 2}

    def slot(self, position):
        found = [slot for slot in range(self.used, self.used + self.size + 1)
                 if self.place(slot) == {"index": position.index, "wrap": position.wrap}]
        assert found, "no place between the oldest chain in use and the end of the ring window"
        return found[0]

    # The driver
    def drive(self):
        """A step; now and then the driver is held up, and in the middle of a chain that is when it hurts."""
        rng, ring = self.rng, self.ring
        if self.held or rng.random() < 0.1:
            self.held = self.held - 1 if self.held else rng.randint(5, 60)
        elif self.writing is None:
            count = min(self.size, rng.choice([1, 2, 3, 4, 5, 8, 12]))
            if count <= ring.free and not self.paused:
                segments = [(rng.getrandbits(40), rng.getrandbits(20), rng.getrandbits(1)) for _ in range(count)]
                self.elements += [(*segment, n == count - 1) for n, segment in enumerate(segments)]
                self.writing = ring.publish(segments, rng), count
        elif next(self.writing[0], self) is self:
            self.published += self.writing[1]
            self.chains.append((self.published - self.writing[1], self.writing[1]))
            self.writing = None

    def use(self):
        """The oldest chain comes back, if it has come out as a whole."""
        first, count = self.chains[0] if self.chains else (0, 0)
        if count and first + count <= self.judged and self.pending is None:
            self.chains.pop(0)
            self.used = first + count
            buffer = self.ring.order.pop(0)
            at = self.base + 16 * (first % self.size)
            self.memory[at:at + 16] = struct.pack("<QIHH", 0, 0, buffer.id, (AVAIL | USED) * buffer.wrap)
            del self.ring.outstanding[buffer.id]
            self.ring._ids.append(buffer.id)
            self.ring.free += count

    # In place of Fetch
    def fetch(self, now):
        rng, sure = self.rng, self.fetched < self.until
        count = min(rng.randint(1, BATCH), self.size - self.fetched % self.size, self.used + self.size - self.fetched)
        if sure:
            count = min(count, self.until - self.fetched)
        if count <= 0 or self.paused:
            return
        sure |= self.fetched + count <= self.published and rng.random() < self.told
        self.trusted += sure
        index, wrap = self.place(self.fetched).values()
        context = FetchContext().const({"index": index, "wrap": wrap, "epoch": self.epoch % 4, "count": count,
                                        "slot": self.fetched % (2 * CACHE), "told": sure}).as_value().value
        self.reads.append(Read(Command(self.base + 16 * index, 16 * count, context), now, rng, (2, 60), 0))
        self.fetched += count

    def deliver(self, now):
        if self.reads and self.reads[0].ready < now:
            read, step = self.reads.pop(0), self.width // 8
            for at in range(0, read.length, step):
                part = read.data[at:at + step]
                # What is beyond the last descriptor is left over from something else.
                noise = self.rng.getrandbits(8 * step) << 8 * len(part)
                self.beats.append({"data": (int.from_bytes(part, "little") | noise) % (1 << self.width),
                                   "bytes": len(part), "first": at == 0, "last": at + step >= read.length, "queue": 0,
                                   "status": ReadStatus.OK, "context": read.context, "behind": bool(self.reads)})

    def report(self, report):
        if report.full:
            return
        self.epoch += 1
        slot = self.slot(report.position)
        if self.pending is not None and slot == self.pending:
            self.pending, self.judged = None, slot
        assert slot == self.judged and report.slot == slot % (2 * CACHE)
        self.fetched = slot
        if report.seen:
            self.seen += 1
            self.until = self.slot(report.until)
            assert slot < self.until
        # What is said to have been seen is there: no head in front of it is still to come.
        assert self.until <= max(self.published, slot + 1) or self.writing or self.head_only

    def commit(self, write):
        assert write.slot == self.judged % CACHE
        chain = write.chain
        assert self.judged < self.published, "taken before its chain was complete"
        assert (chain.address, chain.length, chain.write, chain.last) == self.elements[self.judged], \
            f"slot {self.judged} is stale (seed {self.seed})"
        self.judged += 1

    def offer_rewind(self, ctx):
        """Back to the head of a chain that has come out, or is coming."""
        heads = [(n, first) for n, (first, _) in enumerate(self.chains) if first < self.judged]
        if heads and self.pending is None and self.rng.random() < self.rewinds:
            _, first = self.rng.choice(heads)
            self.pending = first
            ctx.set(self.dut.rewinds.payload, {"queue": 0, "position": self.place(first),
                                               "slot": first % (2 * CACHE), "chain": 0})
            ctx.set(self.dut.rewinds.valid, 1)

    async def reset(self, ctx):
        """What is under way has come back; the state of the queue is forgotten, and the ring begins anew."""
        ctx.set(self.dut.reset.forget, 1)
        ctx.set(self.dut.reports.ready, 1)
        while not ctx.get(self.dut.reset.forgotten):
            await ctx.tick()
        await ctx.tick()
        ctx.set(self.dut.reset.forget, 0)
        await ctx.tick().repeat(5)
        self.begin()
        self.resets += 1

    def run(self, slots, *, resets=0, limit=60_000):
        async def body(ctx):
            dut, rng, retired, issued = self.dut, self.rng, 0, 0
            ctx.set(dut.init.valid, 1)
            ctx.set(dut.config, {"size": self.size, "descriptors": self.base})
            await ctx.tick()
            ctx.set(dut.init.valid, 0)
            for now in range(limit):
                for read in self.reads:
                    read.sample(self.memory, now)
                if rng.random() < 0.6:
                    self.drive()
                if rng.random() < 0.2:
                    self.use()
                if len(self.reads) + len(self.beats) // 2 < 5 and rng.random() < 0.3:
                    before = len(self.reads)
                    self.fetch(now)
                    issued += len(self.reads) - before
                self.deliver(now)
                if not ctx.get(dut.beats.valid) and self.beats and rng.random() < 0.7:
                    ctx.set(dut.beats.payload, self.beats[0])
                    ctx.set(dut.beats.valid, 1)
                if not ctx.get(dut.rewinds.valid):
                    self.offer_rewind(ctx)
                ctx.set(dut.reports.ready, rng.random() < 0.7)
                if ctx.get(dut.cache.valid):
                    self.commit(ctx.get(dut.cache))
                if ctx.get(dut.reports.valid) and ctx.get(dut.reports.ready):
                    self.report(ctx.get(dut.reports.payload))
                beat, rewind = (ctx.get(port.valid & port.ready) for port in (dut.beats, dut.rewinds))
                retired += ctx.get(dut.retired)
                assert not ctx.get(dut.error)
                await ctx.tick()
                if beat:
                    self.beats.pop(0)
                    ctx.set(dut.beats.valid, 0)
                if rewind:
                    ctx.set(dut.rewinds.valid, 0)
                self.paused |= self.judged >= slots // (resets + 1)
                if self.paused and self.resets < resets:
                    if issued == retired and self.pending is None and not ctx.get(dut.reports.valid) \
                            and ctx.get(dut.idle) and not ctx.get(dut.cache.valid):
                        await self.reset(ctx)
                elif self.paused:
                    return
            raise AssertionError(f"stuck at {self.judged} of {self.published} (seed {self.seed})")
        simulator = Simulator(self.dut)
        simulator.add_clock(4e-9)
        simulator.add_testbench(body)
        simulator.run()


@pytest.mark.parametrize("width, size, base, seed", [
    (256, 7, 0x1020, 2), (512, 33, 0x1030, 3), (512, 64, 0x1000, 4),
    *[pytest.param(*case, marks=pytest.mark.campaign)
      for case in [(128, 16, 0x1000, 0), (512, 16, 0x1010, 1), (128, 13, 0x1030, 5), (256, 64, 0x1010, 6)]]])
@pytest.mark.requirements("PKD-006", "PKD-012", "PKD-046")
def test_nothing_stale_is_taken(width, size, base, seed):
    """Chains of all lengths, rings that begin anywhere in a line and end anywhere, told of now and then."""
    lines = Lines(width, size, base, seed)
    lines.run(600)
    assert lines.trusted and (lines.seen or size < 8)


@pytest.mark.parametrize("size, seed", [(16, 0), pytest.param(33, 1, marks=pytest.mark.campaign)])
@pytest.mark.requirements("PKD-006", "PKD-012", "PKD-046")
def test_heads_only(size, seed):
    Lines(512, size, 0x1010, seed, head_only=True).run(400)


@pytest.mark.parametrize("seed", [0, *[pytest.param(seed, marks=pytest.mark.campaign) for seed in (1, 2)]])
@pytest.mark.requirements("PKD-006", "PKD-046")
def test_reset_of_a_queue(seed):
    """Nothing of what was known is left for the next ring."""
    lines = Lines(512, 24, 0x1020, seed, told=0)
    lines.run(300, resets=4)
    assert lines.resets == 4


@pytest.mark.parametrize("direction, seed", [
    (Direction.TX, 0), (Direction.RX, 2), pytest.param(Direction.TX, 1, marks=pytest.mark.campaign)])
@pytest.mark.requirements("PKD-006", "PKD-046")
def test_engine(direction, seed):
    """A driver that is slow between an element's flags and its address, while lines are read ahead of it."""
    config = NicConfig(width=128, pairs=4, queue_size_max=64, cache_descriptors=64, cache_elements=64, fetch_batch=16)
    host = Host(config, direction, (64, 31, 48), seed=seed, latency=(10, 80), stall=0.1, flags_first=True)
    rng, count = random.Random(seed), 30
    write = direction is Direction.RX
    backs = [host.driver(queue, [[(BUFFERS + 64 * rng.randrange(0x1000), 200, write)
                                  for _ in range(rng.choice([1, 2, 3, 4, 5, 6, 8]))] for _ in range(count)],
                         pace=pace, most=8)
             for queue, pace in enumerate((0.1, 0.2, 0.4))]
    if write:
        def frames():
            while True:
                if len(host.frames) < 2:
                    host.frames.append({"queue": rng.randrange(3), "length": 190})
                yield
        host.drivers.append(frames())
    host.run(lambda: all(len(back) == count for back in backs))
    assert host.errors == 0
