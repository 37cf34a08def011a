"""Ring descriptors in, elements out: `Tables` alone."""


import pytest

from hdl.dma.spec import ReadStatus
from testbench.unit.tables_bench import QUEUES, SIZE, Ring

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
    for told, expected in zip(ring.told, ring.expected, strict=True):
        assert sorted(told) == sorted((length, write, last) for _, length, _, write, _, last in expected)
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
