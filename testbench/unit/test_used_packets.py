"""Packets of several buffers: the driver sees all of their used descriptors or none, after every single write."""

import random

import pytest

from testbench.unit.few import few
from testbench.unit.used_bench import AVAIL, USED, WRITE, Rig, burst, completion, make_config, sizes


def packet(queue, id, lengths, slots=None, *, behind=1, filled=0):
    """Completions of one packet; only the last buffer of it is not `filled`, unless told otherwise."""
    slots, count = slots or [1] * len(lengths), len(lengths)
    together = count if count < 63 and set(slots) == {1} else 63
    return [completion(queue, id + n, length, slots=taken, behind=behind, filled=filled or n < count - 1)
            | {"more": n < count - 1, "together": together if n == 0 else 0}
            for n, (length, taken) in enumerate(zip(lengths, slots))]


class Driver:
    """Reads a ring after each write, in order, as far as descriptors are used."""

    def __init__(self, rig, items):
        self.rig = rig
        self.memory = {}
        self.places = [[ring.index, ring.wrap] for ring in rig.rings]
        self.waiting = [[item for item in items if item["queue"] == queue] for queue in range(len(rig.rings))]
        self.told = []

    def see(self, tlp):
        for slot in tlp.slots:
            self.memory[slot.address] = slot
        queue = self.rig.queue_of(tlp.address)
        ring, waiting, (index, wrap) = self.rig.rings[queue], self.waiting[queue], self.places[queue]
        passed, packets = 0, 0
        while slot := self.memory.get(ring.base + 16 * index):
            if slot.flags & ~WRITE != (AVAIL | USED if wrap else 0) or not waiting:
                break
            # With IN_ORDER a used descriptor stands for all up to the one that has its id.
            count = 1 + next(n for n, item in enumerate(waiting) if item["id"] == slot.id)
            group, waiting[:] = waiting[:count], waiting[count:]
            assert (count == 1 or self.rig.in_order) and all(item["filled"] for item in group[:-1])
            assert (slot.length, bool(slot.flags & WRITE)) == (group[-1]["length"], group[-1]["written"])
            skipped = sum(item["slots"] for item in group)
            for place in range(index, index + skipped):     # the driver's again
                self.memory.pop(ring.base + 16 * (place % ring.size), None)
            turns, index = divmod(index + skipped, ring.size)
            wrap ^= turns & 1
            passed, packets, more = passed + skipped, packets + sum(not item["more"] for item in group), \
                group[-1]["more"]
        if passed:
            assert not more, "a part of a packet is visible"
            self.told.append((queue, (index, wrap), passed, packets))
        self.places[queue] = index, wrap


def check(rig, items):
    """Everything became visible, packet by packet; what was told is just that. Returns the sizes of the writes."""
    driver = Driver(rig, items)
    for tlp in rig.tlps:
        assert len(tlp.slots) <= rig.config.used_batch and tlp.bytes <= 128 << rig.max_payload
        driver.see(tlp)
    assert not any(driver.waiting)
    assert [(note.queue, (note.next.index, note.next.wrap), note.slots, note.buffers)
            for note in rig.notified] == driver.told
    assert [(queue, position) for _, queue, position in rig.published] == [entry[:2] for entry in driver.told]
    return sizes(rig.tlps)


@pytest.mark.parametrize("width, batch, seed, in_order", few(4, [
    (128, 4, 0, 0), (512, 16, 2, 1), (256, 8, 1, 1), (512, 2, 3, 0), (512, 8, 4, 1),
    (128, 4, 0, 1), (512, 16, 2, 0), (256, 8, 1, 0), (512, 2, 3, 1), (512, 8, 4, 0)]))
@pytest.mark.requirements("PKD-035", "NET-055", "PKD-011", "PKD-042")
def test_random(width, batch, seed, in_order):
    rng = random.Random(f"{width} {batch} {seed} {in_order}")
    config = make_config(width, pairs=5, batch=batch, timeout=20)
    ring_sizes = [*rng.sample([1, 2, 3, 5, 8, 13, 64, 300], 4), 32768]
    bases = [0x4000 * (n + 1) + rng.choice([0, 0xf80, 0x10]) + rng.choice([0, 1 << 36]) for n in range(4)]
    rig = Rig(config, [*zip(bases, ring_sizes), (1 << 40, 32768)], seed=seed, stall=rng.choice([0, 0.3, 0.7]),
              accept_delay=lambda: rng.choice([0, 0, 1, 20]), max_payload=rng.choice([0, 1, 2]), in_order=in_order)
    items = []
    while len(items) < 300:
        queue = rng.randrange(5)
        size = ring_sizes[queue]
        count = min(size, rng.choice([1, 1, 1, 2, 3, 6, batch, batch + 1, rng.randint(1, 90)]))
        slots = [1] * count
        if rng.random() < 0.3:
            for _ in range(size - count):
                slots[rng.randrange(count)] += rng.random() < 0.1
        items += packet(queue, len(items), [rng.choice([0, rng.getrandbits(17)]) for _ in slots], slots,
                        behind=rng.random() < 0.9, filled=rng.random() < 0.3)
    rig.put(items, stall=rng.choice([0, 0.5, 0.9]))
    rig.run()
    check(rig, items)


CUTS = [("fits", 0x10000, 64, 2, 3, 4, [7]), ("batch", 0x10000, 64, 2, 5, 4, [5, 4]),
        ("longer than the batch", 0x10000, 64, 2, 3, 12, [3, 8, 3, 1]), ("ring end", 0x10000, 6, 2, 3, 4, [3, 2, 1, 1]),
        ("up to the ring's end", 0x10000, 7, 2, 3, 4, [7]), ("page", 0x10fb0, 64, 2, 3, 4, [3, 1, 2, 1]),
        ("up to the page's end", 0x10f90, 64, 2, 3, 4, [7]), ("alone to the page's end", 0x10fb0, 64, 2, 1, 4, [5])]


@pytest.mark.parametrize("base, size, max_payload, before, count, expected", [cut[1:] for cut in CUTS],
                         ids=[cut[0] for cut in CUTS])
@pytest.mark.requirements("PKD-035")
def test_cuts(base, size, max_payload, before, count, expected):
    """A packet behind others of one buffer: in their write, in one of its own, or with its first descriptor last."""
    rig = Rig(make_config(), [(base, size)], max_payload=max_payload)
    items = burst(before + 1)[:before] + packet(0, 500, [64] * count, behind=0)
    items = [{"more": 0} | item for item in items]
    rig.put(items)
    rig.run()
    assert check(rig, items) == expected
    if expected[-1] == 1:
        assert rig.tlps[-1].slots[0].id == 500


def test_chains_of_several_slots():
    """Only neighbouring slots go in one write; the first buffer's is at its place, and the position behind all."""
    rig = Rig(make_config(), [(0x10000, 64)])
    items = packet(0, 1, [10] * 4, [3, 1, 2, 1], behind=0)
    rig.put(items)
    rig.run()
    assert check(rig, items) == [2, 1, 1]
    assert [(tlp.address - 0x10008) // 16 for tlp in rig.tlps] == [3, 6, 0]


@pytest.mark.requirements("PKD-034")
def test_in_order():
    """A packet goes into a run of filled buffers, or begins one: a single used descriptor."""
    rig = Rig(make_config(), [(0x10000, 64)], in_order=1)
    single = [{"more": 0} | item for item in burst(3)[:2]]
    items = single + packet(0, 1, [10] * 20) + packet(0, 30, [10] * 3, filled=1) + packet(0, 40, [10] * 4, [3, 1, 1, 2])
    rig.put(items)
    rig.run()
    assert check(rig, items) == [2, 1, 1]


@pytest.mark.requirements("PKD-035", "NET-055")
def test_the_timer_does_not_tear():
    """The last buffer of a packet comes long after the others: neither it nor what stands before it is shown alone."""
    rig = Rig(make_config(timeout=10), [(0x10000, 64), (0x20000, 64)])
    first, second = packet(0, 1, [10] * 3), packet(1, 10, [10] * 9)

    async def late(ctx):
        completions = rig.dut.completions
        for item in [*packet(0, 20, [5]), *packet(1, 30, [5]), *first, *second]:
            if not item["more"]:
                await ctx.tick().repeat(60)
            ctx.set(completions.payload, item)
            ctx.set(completions.valid, 1)
            await ctx.tick().until(completions.ready)
            ctx.set(completions.valid, 0)
    rig.bench.process(late)
    rig.run()
    check(rig, [*packet(0, 20, [5]), *packet(1, 30, [5]), *first, *second])


def test_discard_forgets_a_packet_that_has_begun():
    rig = Rig(make_config(), [(0x10000, 64)])
    lost = packet(0, 1, [10] * 12, behind=0)[:7]

    async def drive(ctx):
        dut = rig.dut
        for item in lost:
            ctx.set(dut.completions.payload, item)
            ctx.set(dut.completions.valid, 1)
            await ctx.tick().until(dut.completions.ready)
        ctx.set(dut.completions.valid, 0)
        assert not ctx.get(dut.idle)
        ctx.set(dut.discard, 1)
        await ctx.tick().repeat(20)
        assert ctx.get(dut.idle)
        ctx.set(dut.discard, 0)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        await ctx.tick().until(dut.idle)
        for item in packet(0, 50, [10] * 3, behind=0):
            ctx.set(dut.completions.payload, item)
            ctx.set(dut.completions.valid, 1)
            await ctx.tick().until(dut.completions.ready)
        ctx.set(dut.completions.valid, 0)
    rig.bench.process(drive)
    rig.run()
    assert check(rig, packet(0, 50, [10] * 3, behind=0)) == [3]


def test_throughput():
    """A completion every 2 cycles, and one more a packet."""
    rig = Rig(make_config(pairs=1, batch=16), [(0x10000, 256)])
    items = [item for n in range(40) for item in packet(0, 10 * n, [10] * 4)]
    rig.put(items)
    rig.run()
    check(rig, items)
    assert rig.taken[-1] - rig.taken[0] <= 40 * 9 + 30
