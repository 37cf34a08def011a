"""Used descriptors: what is written where, in which TLPs, when, and what is told of it."""

import random

import pytest

from hdl.virtqueue.used import Used
from testbench.unit.few import few
from testbench.unit.used_bench import AVAIL, USED, Rig, burst, completion, make_config, parse, sizes


@pytest.mark.requirements("PKD-007", "PKD-011", "PKD-013", "PKD-015", "PKD-018", "PKD-019", "PKD-022", "PKD-026",
                          "PKD-027", "PKD-042", "PKD-043", "BAS-021")
@pytest.mark.parametrize("seed", few(1, range(2)))
@pytest.mark.parametrize("width, batch", [(128, 4), (256, 8), (512, 16), (512, 2)])
def test_random(width, batch, seed):
    rng = random.Random(f"{width} {batch} {seed}")
    config = make_config(width, pairs=5, batch=batch, timeout=20, most_bytes=1024)
    ring_sizes = rng.sample([1, 2, 3, 5, 8, 13, 64, 300], 4) + [32768]
    bases = [0x1000 * (2 * n + 1) + rng.choice([0, 0xf80, 0x10]) + rng.choice([0, 1 << 36]) for n in range(4)]
    rig = Rig(config, [*zip(bases, ring_sizes), (1 << 40, 32768)], seed=seed, stall=rng.choice([0, 0.3, 0.7]),
              accept_delay=lambda: rng.choice([0, 0, 1, 20]), max_payload=rng.choice([0, 1, 2]))
    items = []
    for id in range(250):
        queue = rng.randrange(5)
        size = rig.rings[queue].size
        slots = rng.choice([1, 1, 1, 1, 1, 1, 2, 3, size, rng.randint(1, size)])
        items.append(completion(queue, id, length=rng.getrandbits(rng.choice([0, 9, 32])), slots=min(slots, size),
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


@pytest.mark.parametrize("lengths, expected", [
    ([100] * 20, [8, 8, 4]),
    ([1000] * 20, [5, 5, 5, 5]),
    ([1024, 1024, 1024, 1024, 4095, 1, 4095, 0, 4096, 10], [4, 2, 3, 1]),
    ([9026, 1 << 31, 4096, 8191, 1], [1, 1, 1, 1, 1]),
])
def test_bytes_end_a_run(lengths, expected):
    """The packet that brings a run to 4 KiB ends it: however much comes behind, the driver hears of long packets
    soon."""
    rig = Rig(make_config(most_bytes=4096), [(0x10000, 64)])
    items = [completion(0, n, length=length, behind=n != len(lengths) - 1) for n, length in enumerate(lengths)]
    rig.put(items)
    assert sizes(rig.run()) == expected
    rig.check(items)


def test_bytes_are_counted_by_queue():
    rig = Rig(make_config(most_bytes=4096, timeout=400), [(0x10000, 64), (0x20000, 64)])
    items = [completion(n % 2, n, length=(600, 2100)[n % 2], behind=1) for n in range(16)]
    rig.put(items)
    tlps = rig.run(settle=500)
    assert [(rig.queue_of(tlp.address), len(tlp.slots)) for tlp in tlps] == [
        (1, 2), (1, 2), (1, 2), (0, 7), (1, 2), (0, 1)]
    rig.check(items)


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


def test_hurry():
    """Open runs are published at once, one every few cycles, and none opens for longer, until it is over."""
    rig = Rig(make_config(timeout=400), [(0x10000 * (n + 1), 64) for n in range(4)])
    items = [completion(n % 4, n, behind=1) for n in range(12)]
    rig.put(items)

    async def hurry(ctx):
        await ctx.tick().repeat(100)
        assert len(rig.taken) == 12 and not rig.first_beat
        ctx.set(rig.dut.hurry, 1)
        await ctx.tick().repeat(30)
        assert len(rig.first_beat) == 4
        ctx.set(rig.dut.hurry, 0)
    rig.bench.process(hurry)
    assert sizes(rig.run()) == [3, 3, 3, 3]
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
