"""Used descriptors: what is written where, in which TLPs, when, and what is told of it."""

import random
from dataclasses import dataclass

import pytest
from amaranth.hdl import Cat

from hdl.config import NicConfig
from hdl.virtqueue.used import Used
from testbench.unit.bench import StreamBench
from testbench.unit.queue_table import WithQueueTable

WRITE, AVAIL, USED = 1 << 1, 1 << 7, 1 << 15


def make_config(width=512, pairs=4, batch=8, timeout=40):
    return NicConfig(width=width, pairs=pairs, used_batch=batch, used_timeout=timeout)


def completion(queue, id, length=0, written=None, slots=1, behind=0):
    return {"queue": queue, "id": id, "length": length, "written": length > 0 if written is None else written,
            "slots": slots, "behind": behind}


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
        self.positions = []

    def use(self, item):
        slot = Slot(self.base + 16 * self.index, item["length"], item["id"],
                    (WRITE if item["written"] else 0) | (AVAIL | USED if self.wrap else 0))
        for _ in range(item["slots"]):
            self.index += 1
            if self.index == self.size:
                self.index, self.wrap = 0, 1 - self.wrap
        self.positions.append((self.index, self.wrap))
        return slot


class Rig:
    """A bench around `Used`: accepts TLPs, and collects what is told of them."""

    def __init__(self, config, rings, *, seed=1, stall=0.0, accept_delay=lambda: 0, max_payload=1, limit=20_000):
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
        self.accept_delay = accept_delay
        self.hold = False       # accept nothing while set
        self.bench.process(self.accept, wait=False)
        self.bench.process(self.watch, wait=False)

    async def accept(self, ctx):
        ctx.set(self.dut.max_payload, self.max_payload)
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
        """Everything was published: the right descriptors, in order of completion, each once, and it was told."""
        expected = [[] for _ in self.rings]
        for item in items:
            expected[item["queue"]].append(self.rings[item["queue"]].use(item))
        got = [[] for _ in self.rings]
        ends = [[] for _ in self.rings]
        for tlp in self.tlps:
            assert len(tlp.slots) <= self.config.used_batch
            assert tlp.bytes <= 128 << self.max_payload
            queue = self.queue_of(tlp.address)
            got[queue] += tlp.slots
            ends[queue].append(len(got[queue]))
        assert got == expected
        for n, ring in enumerate(self.rings):
            positions = [position for _, queue, position in self.published if queue == n]
            assert positions == [ring.positions[end - 1] for end in ends[n]]
        assert [note.queue for note in self.notified] == [self.queue_of(tlp.address) for tlp in self.tlps]


def sizes(tlps):
    return [len(tlp.slots) for tlp in tlps]


def burst(count, *, queue=0, **changes):
    """Completions of one queue that follow one another at once."""
    return [completion(queue, 100 + n, length=1000 + n, behind=n != count - 1, **changes) for n in range(count)]


@pytest.mark.requirements("PKD-007", "PKD-011", "PKD-013", "PKD-015", "PKD-018", "PKD-019", "PKD-022", "PKD-026",
                          "PKD-027", "PKD-042", "PKD-043", "BAS-021")
@pytest.mark.parametrize("width, batch", [(128, 4), (256, 8), (512, 16), (512, 2)])
@pytest.mark.parametrize("seed", range(2))
def test_random(width, batch, seed):
    rng = random.Random(f"{width} {batch} {seed}")
    config = make_config(width, pairs=5, batch=batch, timeout=20)
    ring_sizes = rng.sample([1, 2, 3, 5, 8, 13, 64, 300], 4) + [32768]
    bases = [0x1000 * (2 * n + 1) + rng.choice([0, 0xf80, 0x10]) + rng.choice([0, 1 << 36]) for n in range(4)]
    rig = Rig(config, [*zip(bases, ring_sizes), (1 << 40, 32768)], seed=seed, stall=rng.choice([0, 0.3, 0.7]),
              accept_delay=lambda: rng.choice([0, 0, 1, 20]), max_payload=rng.choice([0, 1, 2]))
    items = []
    for id in range(250):
        queue = rng.randrange(5)
        size = rig.rings[queue].size
        slots = rng.choice([1, 1, 1, 1, 1, 1, 2, 3, size, rng.randint(1, size)])
        items.append(completion(queue, id, length=rng.choice([0, rng.getrandbits(32)]), slots=min(slots, size),
                                behind=rng.random() < 0.9))
    rig.put(items, stall=rng.choice([0, 0.5, 0.9]))
    rig.run()
    rig.check(items)


def test_skipped_slots_are_never_written():
    """The driver owns skipped slots again once the used descriptor is visible, so no TLP may cover them."""
    rig = Rig(make_config(), [(0x10000, 16)])
    items = [completion(0, 1, behind=1), completion(0, 2, slots=3, behind=1), completion(0, 3, behind=1),
             completion(0, 4, slots=2, behind=1), completion(0, 5, slots=2, behind=1), completion(0, 6)]
    rig.put(items)
    tlps = rig.run()
    written = {(tlp.address - 8 + offset) // 16 - 0x1000 for tlp in tlps for offset in range(8, tlp.bytes + 8, 16)}
    assert written == {0, 1, 4, 5, 7, 9}
    assert sizes(tlps) == [2, 2, 1, 1]
    rig.check(items)


@pytest.mark.parametrize("name, base, size, max_payload, before, expected", [
    ("batch", 0x10000, 64, 2, 0, [8, 8, 4]),
    ("ring end", 0x10000, 13, 2, 0, [8, 5, 7]),
    ("page", 0x10fa0, 64, 2, 0, [6, 8, 6]),
    ("page, later", 0x10f00, 64, 2, 10, [6, 8, 6]),
    ("max payload", 0x10000, 64, 0, 0, [8, 8, 4]),
])
def test_cuts(name, base, size, max_payload, before, expected):
    rig = Rig(make_config(), [(base, size)], max_payload=max_payload)
    items = [completion(0, 7, slots=before)] * bool(before) + burst(20)
    rig.put(items)
    tlps = rig.run()
    assert sizes(tlps)[bool(before):] == expected
    rig.check(items)


def test_max_payload_cuts_below_the_batch():
    """128 bytes hold 8 used descriptors: 16 * 8 - 8 = 120."""
    rig = Rig(make_config(batch=16), [(0x10000, 64)], max_payload=0)
    rig.put(burst(20))
    assert sizes(rig.run()) == [8, 8, 4]


@pytest.mark.requirements("PKD-011")
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_list_that_spans_the_ring(size):
    rig = Rig(make_config(), [(0x10000, size)])
    items = [completion(0, n, slots=size, behind=1) for n in range(3)]
    rig.put(items)
    tlps = rig.run()
    assert [tlp.slots[0].flags for tlp in tlps] == [AVAIL | USED, 0, AVAIL | USED]
    rig.check(items)


def test_timer_closes_the_oldest_run_first():
    """Runs wait `used_timeout` cycles from their first completion, whatever other queues do."""
    config = make_config(timeout=40)
    rig = Rig(config, [(0x10000 * (n + 1), 64) for n in range(4)])
    # Queue 1 opens and closes in between, queue 2 is opened, closed and opened again.
    items = [completion(0, 0, behind=1), completion(1, 1, behind=1), completion(2, 2, behind=1),
             completion(3, 3, behind=1), completion(1, 4), completion(2, 5), completion(2, 6, behind=1),
             completion(0, 7, behind=1)]
    rig.put(items)
    tlps = rig.run()
    assert [(rig.queue_of(tlp.address), len(tlp.slots)) for tlp in tlps] == [(1, 2), (2, 2), (0, 2), (3, 1), (2, 1)]
    opened = [rig.taken[0], rig.taken[3], rig.taken[6]]
    for begin, end in zip(opened, rig.first_beat[2:]):
        assert 40 <= end - begin <= 40 + 6
    rig.check(items)


def test_latency():
    """A completion with nothing behind it is on the way after 4 cycles."""
    rig = Rig(make_config(), [(0x10000, 64)])
    rig.put([completion(0, 1)])
    rig.run()
    assert rig.first_beat[0] - rig.taken[0] == 4


@pytest.mark.parametrize("behind", [0, 1])
def test_not_idle_from_the_completion_to_the_notification(behind):
    rig = Rig(make_config(), [(0x10000, 64)])
    rig.put([completion(0, 1, behind=behind)])
    rig.run()
    end = rig.published[0][0]
    assert not any(rig.idle[rig.taken[0] + 1:end]) and all(rig.idle[end + 2:])


@pytest.mark.parametrize("what", ["one queue", "mixed", "chains", "runs of 16"])
def test_throughput(what):
    """A completion every 2 cycles, also where each is a TLP of its own."""
    pairs = 1 if what != "mixed" else 4
    rig = Rig(make_config(pairs=pairs, batch=16), [(0x10000 * (n + 1), 256) for n in range(pairs)], max_payload=2)
    items = [completion(n % pairs, n, slots=2 if what == "chains" else 1, behind=what == "runs of 16" or n % 3 != 0)
             for n in range(200)]
    rig.put(items)
    rig.run()
    rig.check(items)
    assert rig.taken[-1] - rig.taken[0] == 2 * 199
    assert rig.first_beat[-1] - rig.taken[-1] < 50


def test_one_entry_runs_do_not_queue_up():
    """TLPs keep up with completions: nothing waits for longer at the end than at the beginning."""
    rig = Rig(make_config(pairs=1), [(0x10000, 256)])
    rig.put([completion(0, n) for n in range(100)])
    rig.run()
    assert [end - begin for begin, end in zip(rig.taken, rig.first_beat)] == [4] * 100


def test_told_only_when_accepted():
    """Neither position nor notification before the TLP has its place in the final order."""
    rig = Rig(make_config(), [(0x10000, 64)])
    rig.hold = True
    rig.put(burst(3))

    async def look(ctx):
        await ctx.tick().repeat(100)
        ctx.set(rig.dut.query_queue, 0)
        assert len(rig.beats) == 1
        assert ctx.get(rig.dut.query_position.index) == 0
        assert not rig.published and not rig.notified and not ctx.get(rig.dut.idle)
        rig.hold = False
        await ctx.tick().repeat(10)
        assert ctx.get(rig.dut.query_position.index) == 3
        assert len(rig.published) == len(rig.notified) == 1 and ctx.get(rig.dut.idle)
    rig.bench.process(look)
    rig.run()


def test_backlog_of_acceptances():
    """More TLPs than may be under way: the next ones wait, none is lost."""
    rig = Rig(make_config(), [(0x10000, 64)])
    rig.hold = True
    items = [completion(0, n) for n in range(60)]
    rig.put(items)

    async def release(ctx):
        await ctx.tick().repeat(300)
        assert len(rig.beats) == Used.FLIGHTS
        rig.hold = False
    rig.bench.process(release)
    rig.run()
    rig.check(items)


@pytest.mark.parametrize("seed", range(4))
def test_discard_and_clear(seed):
    """After `discard` nothing is begun or told; after `clear` all queues start at (0, 1) again."""
    rng = random.Random(seed)
    width = 128     # so that a TLP takes several beats
    rig = Rig(make_config(width, batch=4), [(0x10000 * (n + 1), 13) for n in range(4)], seed=seed, stall=0.3,
              accept_delay=lambda: rng.choice([0, 3, 15]))
    dut = rig.dut
    first = [completion(rng.randrange(4), n, behind=rng.random() < 0.8, slots=rng.choice([1, 1, 2]))
             for n in range(150)]
    second = [completion(queue, 1000 + n, length=n, behind=n < 2) for n in range(3) for queue in range(4)]
    state = {}

    async def stop(ctx):
        await ctx.tick().repeat(60 + 13 * seed)
        ctx.set(dut.discard, 1)
        await ctx.tick()
        told = len(rig.notified) + len(rig.published)
        begun = sum(beat.first for beat in rig.beats) + 2
        await ctx.tick().until(dut.idle & ~dut.completions.valid)
        assert len(rig.taken) == len(first)
        assert sum(beat.first for beat in rig.beats) <= begun and rig.beats[-1].last
        assert len(rig.notified) + len(rig.published) <= told + Used.FLIGHTS
        assert sum(beat.last for beat in rig.beats) == rig.accepted
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        ctx.set(dut.discard, 0)
        assert not ctx.get(dut.idle)
        await ctx.tick().until(dut.idle)
        for queue in range(4):
            ctx.set(dut.query_queue, queue)
            assert ctx.get(dut.query_position.index) == 0 and ctx.get(dut.query_position.wrap) == 1
        state.update(beats=len(rig.beats), published=len(rig.published), notified=len(rig.notified))
        for item in second:
            ctx.set(dut.completions.payload, item)
            ctx.set(dut.completions.valid, 1)
            await ctx.tick().until(dut.completions.ready)
            ctx.set(dut.completions.valid, 0)
    rig.put(first)
    rig.bench.process(stop)
    rig.run()
    for name, start in state.items():
        del getattr(rig, name)[:start]
    rig.tlps = parse(rig.beats, width)
    rig.check(second)


def test_published_stays_silent_while_discarding():
    rig = Rig(make_config(), [(0x10000, 64)])
    rig.hold = True
    rig.put(burst(3))

    async def stop(ctx):
        await ctx.tick().repeat(60)
        ctx.set(rig.dut.discard, 1)
        await ctx.tick()
        assert not ctx.get(rig.dut.idle)
        rig.hold = False
        await ctx.tick().until(rig.dut.idle)
        assert rig.accepted == 1
    rig.bench.process(stop)
    rig.run()
    assert rig.published == [] and rig.notified == []
