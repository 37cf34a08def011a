"""Blocks of the read engine by themselves: split, tag pool, slots, order lists."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from hdl.config import NicConfig
from hdl.dma.order import OrderLists
from hdl.dma.slots import SlotMemory
from hdl.dma.split import Splitter, request_shift, requests_of
from hdl.pcie.tags import TagPool
from testbench.unit.bench import StreamBench


def simulate(dut, *bodies):
    sim = Simulator(dut)
    sim.add_clock(4e-9)
    for body in bodies:
        sim.add_testbench(body)
    sim.run()


# Split

@pytest.mark.parametrize("address, length, mrrs, expected", [
    (0x1000, 64, 2, [(0x1000, 64)]),
    (0x1000, 0, 2, [(0x1000, 0)]),
    (0x1fff, 1, 2, [(0x1fff, 1)]),
    (0x1fff, 2, 2, [(0x1fff, 1), (0x2000, 1)]),
    (0x1001, 512, 2, [(0x1001, 511), (0x1200, 1)]),
    (0xffff_ff80, 256, 0, [(0xffff_ff80, 128), (0x1_0000_0000, 128)]),
    (0x1040, 300, 1, [(0x1040, 192), (0x1100, 108)]),
    (0x1000, 1536, 5, [(0x1000, 512), (0x1200, 512), (0x1400, 512)]),
])
def test_split(address, length, mrrs, expected):
    dut = Splitter(2, 512)
    bench = StreamBench(dut)

    async def configure(ctx):
        ctx.set(dut.max_read_request, mrrs)
        await ctx.tick()
    bench.process(configure)
    command = {"client": 4, "function": 0, "queue": 1, "address": address, "length": length, "last": 1, "more": 1,
               "context": 77}

    def commands():
        yield {**command, "length": 0, "last": 0, "more": 0}     # while the setting arrives
        yield command
    bench.put(dut.i, commands(), stall=0.5)
    got = bench.get(dut.o, count=1 + len(expected), stall=0.5)
    bench.run()
    assert [(request.address, request.length) for request in got[1:]] == expected
    assert [request.last for request in got[1:]] == [0] * (len(expected) - 1) + [1]
    assert [request.more for request in got[1:]] == [0] * (len(expected) - 1) + [1]
    assert requests_of(address, length, request_shift(512, mrrs)) == len(expected)


def test_requests_of_values_agree_with_ints():
    m = Module()
    address, length, shift, count = Signal(64), Signal(17), Signal(4), Signal(12)
    m.d.comb += count.eq(requests_of(address, length, shift))
    code = Signal(3)
    m.d.comb += shift.eq(request_shift(512, code))
    rng = random.Random(3)

    async def check(ctx):
        for _ in range(200):
            a, c = rng.getrandbits(64), rng.randrange(8)
            n = rng.choice([0, 1, rng.getrandbits(17), rng.getrandbits(10)])
            ctx.set(address, a)
            ctx.set(length, n)
            ctx.set(code, c)
            assert ctx.get(count) == requests_of(a, n, request_shift(512, c))
    sim = Simulator(m)
    sim.add_testbench(check)
    sim.run()


def test_splitter_refuses_other_sizes():
    with pytest.raises(ValueError, match="not 1024"):
        Splitter(2, 1024)


# Tags

async def fill(ctx, pool):
    ctx.set(pool.initialise, 1)
    for index in range(pool.tags):
        ctx.set(pool.index, index)
        await ctx.tick()
    ctx.set(pool.initialise, 0)


@pytest.mark.parametrize("tags, extended, usable", [(16, 0, 16), (32, 1, 32), (64, 0, 32), (64, 1, 64), (256, 1, 256)])
def test_every_tag_can_be_taken_once(tags, extended, usable):
    pool = TagPool(tags)

    async def check(ctx):
        ctx.set(pool.extended, extended)
        await fill(ctx, pool)
        seen = set()
        ctx.set(pool.take, 1)
        while ctx.get(pool.usable):
            seen.add(ctx.get(pool.tag))
            await ctx.tick()
        assert seen == set(range(usable))
    simulate(pool, check)


def test_released_tags_come_back_oldest_first():
    pool = TagPool(16)

    async def check(ctx):
        await fill(ctx, pool)
        ctx.set(pool.take, 1)
        await ctx.tick().repeat(16)
        ctx.set(pool.take, 0)
        assert ctx.get(pool.usable) == 0
        ctx.set(pool.release.valid, 1)
        for tag in (5, 3, 9):
            ctx.set(pool.release.payload, {"tag": tag, "quarantined": 0})
            await ctx.tick()
        ctx.set(pool.release.valid, 0)
        ctx.set(pool.take, 1)
        for tag in (5, 3, 9):
            assert ctx.get(pool.tag) == tag
            await ctx.tick()
        assert ctx.get(pool.usable) == 0
    simulate(pool, check)


@pytest.mark.parametrize("late_first", [False, True])
def test_a_quarantined_tag_comes_back_when_read_and_late_completion_seen(late_first):
    pool = TagPool(16)

    async def give(ctx, late):
        if late:
            ctx.set(pool.late.payload, 7)
            ctx.set(pool.late.valid, 1)
            ctx.set(pool.release.valid, 1)      # of another tag: it has to wait
            ctx.set(pool.release.payload, {"tag": 2, "quarantined": 0})
            assert not ctx.get(pool.release.ready)
        else:
            ctx.set(pool.release.payload, {"tag": 7, "quarantined": 1})
            ctx.set(pool.release.valid, 1)
            assert ctx.get(pool.release.ready)
        await ctx.tick()
        ctx.set(pool.late.valid, 0)
        ctx.set(pool.release.valid, 0)

    async def check(ctx):
        await fill(ctx, pool)
        ctx.set(pool.take, 1)
        await ctx.tick().repeat(16)
        ctx.set(pool.take, 0)
        for _ in range(2):              # the second time like the first
            await give(ctx, late_first)
            assert ctx.get(pool.usable) == 0
            await give(ctx, not late_first)
            assert ctx.get(pool.usable) == 1
            assert ctx.get(pool.tag) == 7
            ctx.set(pool.take, 1)
            await ctx.tick()
            ctx.set(pool.take, 0)
    simulate(pool, check)


def test_tag_pool_refuses_other_counts():
    with pytest.raises(ValueError, match="not 48"):
        TagPool(48)


# Slots

@pytest.mark.parametrize("width", [128, 256, 512])
def test_slots_take_beats_at_any_dword(width):
    dut = SlotMemory(width, 16, 256)
    rng = random.Random(width)
    lanes = width // 32
    model = {}

    async def check(ctx):
        ctx.set(dut.enable, 1)
        ctx.set(dut.write.valid, 1)
        for _ in range(200):
            tag, position, count = rng.randrange(16), rng.randrange(64), rng.randrange(1, lanes + 1)
            value = rng.getrandbits(width)
            for n in range(count):
                # Beyond the end of the slot it goes on at its beginning.
                model[tag, (position + n) % 64] = value >> 32 * n & 0xffff_ffff
            ctx.set(dut.write.payload, {"tag": tag, "position": position, "data": value, "keep": (1 << count) - 1})
            await ctx.tick()
        ctx.set(dut.write.valid, 0)
        for tag in range(16):
            for row in range(64 // lanes):
                ctx.set(dut.tag, tag)
                ctx.set(dut.row, row)
                await ctx.tick()
                data = ctx.get(dut.data)
                for lane in range(lanes):
                    dword = model.get((tag, row * lanes + lane))
                    assert dword in (None, data >> 32 * lane & 0xffff_ffff)
    simulate(dut, check)


# Order

@pytest.mark.parametrize("seed, domains", [(1, 1), (2, 2), (3, 4)])
def test_order_lists_in_every_coincidence(seed, domains):
    """Tags open and retire in most cycles; a transaction is ready once, when all retired, and after all older ones."""
    config = NicConfig.preset("tiny").with_(pairs=4, tags=16, reserved_tags=4)
    dut = OrderLists(config)
    rng = random.Random(seed)
    free, generation = list(range(16)), [0] * 16
    lists = {d: [] for d in range(domains)}       # transactions: {tags, closed}
    pending, done, ready_count = [], set(), 0

    def judge(ready):
        domain = int(ready.domain.queue)
        transaction = lists[domain].pop(0)
        assert transaction["closed"] and transaction["tags"][0] == ready.first and transaction["tags"][-1] == ready.last
        assert ready.beats == len(transaction["tags"])
        assert all(tag in done for tag in transaction["tags"]), "not retired yet"
        for tag in transaction["tags"]:
            done.remove(tag)
            free.append(tag)

    async def check(ctx):
        nonlocal ready_count
        ctx.set(dut.initialise, 1)
        for index in range(1 << len(dut.index)):
            ctx.set(dut.index, index)
            await ctx.tick()
        ctx.set(dut.initialise, 0)
        for cycle in range(1500):
            opens = cycle < 1400 and len(free) > 2 and rng.random() < 0.8
            ctx.set(dut.opened.valid, opens)
            if opens:
                domain, tag = rng.randrange(domains), free.pop(0)
                generation[tag] ^= 1
                if not lists[domain] or lists[domain][-1]["closed"]:
                    lists[domain].append({"tags": [], "closed": False})
                transaction = lists[domain][-1]
                transaction["tags"].append(tag)
                transaction["closed"] = rng.random() < 0.6 or len(transaction["tags"]) == 3 or len(free) < 6
                ctx.set(dut.opened.payload, {
                    "tag": tag, "generation": generation[tag], "domain": {"queue": domain, "client": 4},
                    "first": transaction["tags"][0], "last": transaction["closed"], "beats": len(transaction["tags"])})
                pending.append((cycle, tag))
            old = [entry for entry in pending if entry[0] <= cycle - 2]
            retires = bool(old) and rng.random() < 0.8
            ctx.set(dut.retired.valid, retires)
            if retires:
                entry = old[0] if rng.random() < 0.6 else rng.choice(old)
                pending.remove(entry)
                ctx.set(dut.retired.payload, {"tag": entry[1], "generation": generation[entry[1]]})
                done.add(entry[1])
            if ctx.get(dut.ready.valid):
                judge(ctx.get(dut.ready.payload))
                ready_count += 1
            await ctx.tick()
        assert not pending
        assert not any(transaction["closed"] for transactions in lists.values() for transaction in transactions)
    simulate(dut, check)
    assert ready_count > 200
