"""Fetching what a doorbell tells (VIRTIO_F_NOTIFICATION_DATA): all of it at once, nothing beyond it."""

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from hdl.virtqueue.fetch_state import is_ahead
from hdl.virtqueue.spec import Position
from testbench.unit.fetch_bench import BATCH, CACHE, Bench


def bench_of(size=1024, **options):
    return Bench(size, **{"notification_data": 1} | options)


def places(bench):
    return [(index, wrap, count) for _, index, wrap, _, count, _ in bench.asked]


async def settle(ctx):
    await ctx.tick().repeat(40)


@pytest.mark.requirements("BAS-025", "BAS-026", "PKD-014")
def test_all_that_is_told_at_once():
    """As many fetches as it takes, without waiting for reports; the same doorbell again asks for nothing."""
    bench = bench_of()

    async def scenario(ctx):
        await bench.doorbell(ctx, told=(50, 1))
        await settle(ctx)
        assert places(bench) == [(0, 1, 16), (16, 1, 16), (32, 1, 16), (48, 1, 2)] and all(bench.told)
        assert bench.times[3] - bench.times[0] <= 15
        for count in (16, 16, 16):
            await bench.doorbell(ctx, told=(50, 1))
            await bench.full(ctx, count=count)
        assert ctx.get(bench.dut.looking)
        await bench.full(ctx, count=2)
        assert len(bench.asked) == 4 and not ctx.get(bench.dut.looking)
        await bench.doorbell(ctx, told=(50, 1))
        await settle(ctx)
        assert len(bench.asked) == 4 and not ctx.get(bench.dut.looking) and not bench.switches
        ctx.set(bench.dut.emptied, 50)
        await bench.doorbell(ctx, told=(51, 1))
        await settle(ctx)
        assert places(bench)[4:] == [(50, 1, 1)]
    bench.run(scenario)


def test_latency():
    bench = bench_of()

    async def scenario(ctx):
        await ctx.tick().repeat(5)
        rung = bench.now
        await bench.doorbell(ctx, told=(1, 1))
        await settle(ctx)
        # The sample with the doorbell in it is one after `rung`.
        assert bench.times[0] - (rung + 1) == 4
    bench.run(scenario)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 17])
@pytest.mark.requirements("BAS-025", "PKD-014")
def test_full_ring_in_one_doorbell(size):
    """`next_off` is where we stand, with the other wrap counter; in every pass, beginning anywhere."""
    bench = bench_of(size)

    async def scenario(ctx):
        index, wrap, slot = 0, 1, 0
        for step in (size, 1, size, size, max(1, size // 2), size):
            bench.asked.clear()
            expected, left = [], step
            while left:
                count = min(left, size - index)
                count = count if count <= BATCH else BATCH - index % BATCH
                expected.append((index, wrap, count))
                index, left, slot = index + count, left - count, (slot + count) % (2 * CACHE)
                if index == size:
                    index, wrap = 0, 1 - wrap
            await bench.doorbell(ctx, told=(index, wrap))
            await settle(ctx)
            assert places(bench) == expected
            for _ in expected:
                await bench.full(ctx)
            assert places(bench) == expected and not ctx.get(bench.dut.looking)
            ctx.set(bench.dut.emptied, slot)
            ctx.set(bench.dut.used, {"index": index, "wrap": wrap})
    bench.run(scenario)


@pytest.mark.requirements("BAS-026")
def test_older_doorbells_take_nothing_back():
    bench = bench_of()

    async def scenario(ctx):
        # Overtaken on the way: taken before there is a decision, and after it.
        ctx.set(bench.dut.quiesce, 1)
        for told in [(4, 1), (5, 1), (3, 1), (4, 1)]:
            await bench.doorbell(ctx, told=told)
        await settle(ctx)
        ctx.set(bench.dut.quiesce, 0)
        await settle(ctx)
        assert places(bench) == [(0, 1, 5)]
        await bench.full(ctx, count=5)
        await bench.doorbell(ctx, told=(2, 1))
        await settle(ctx)
        assert len(bench.asked) == 1 and not ctx.get(bench.dut.looking)
        await bench.doorbell(ctx, told=(7, 1))
        await settle(ctx)
        assert places(bench)[1:] == [(5, 1, 2)]
    bench.run(scenario)


@pytest.mark.parametrize("negotiated, doorbells", [
    (1, [None]), (0, [(2, 1)]), (1, [(100, 1)]), (1, [(101, 1)]), (1, [(32767, 0)]), (1, [(0, 1), None]),
    (1, [(100, 0), (100, 1)])])
@pytest.mark.requirements("FEA-019")
def test_without_data(negotiated, doorbells):
    """Of 16 bits, or not negotiated, or no place in the ring: a look for one line of descriptors, and no trust."""
    bench = bench_of(100, notification_data=negotiated)

    async def scenario(ctx):
        for told in doorbells:
            await bench.doorbell(ctx, told=told)
        await settle(ctx)
        assert places(bench) == [(0, 1, 4)] and bench.told == [0]
        await bench.bad(ctx, 0)
        # A doorbell after the look was issued makes another.
        assert len(bench.asked) <= 2
    bench.run(scenario)


def test_back_to_guessing_and_forth():
    bench = bench_of()

    async def scenario(ctx):
        await bench.doorbell(ctx, told=(40, 1))
        await settle(ctx)
        for count in (16, 16, 8):
            await bench.full(ctx, count=count)
        ctx.set(bench.dut.emptied, 40)
        await bench.doorbell(ctx)
        await settle(ctx)
        assert places(bench)[3:] == [(40, 1, 4)]
        # Told of less than was asked for: nothing now, but what turns out bad is fetched again as told.
        await bench.doorbell(ctx, told=(42, 1))
        await settle(ctx)
        assert len(bench.asked) == 4
        await bench.bad(ctx, 41, count=1)
        assert places(bench)[4:] == [(41, 1, 1)] and bench.told[3:] == [0, 1]
        await bench.full(ctx)
        assert len(bench.asked) == 5 and not ctx.get(bench.dut.looking)
    bench.run(scenario)


def test_never_beyond_the_ring_window():
    """Told of slots that are not yet used: fetched as they are, with the doorbell remembered."""
    bench = bench_of(8)

    async def scenario(ctx):
        await bench.doorbell(ctx, told=(5, 1))
        await settle(ctx)
        await bench.full(ctx, count=5)
        await bench.doorbell(ctx, told=(5, 0))
        await settle(ctx)
        assert places(bench) == [(0, 1, 5), (5, 1, 3)]
        await bench.full(ctx, count=3)
        for used in range(1, 6):
            assert len(bench.asked) == used + 1 and not ctx.get(bench.dut.looking)
            ctx.set(bench.dut.used, {"index": used, "wrap": 1})
            ctx.set(bench.dut.published, {"valid": 1, "queue": 0})
            await ctx.tick()
            ctx.set(bench.dut.published.valid, 0)
            await settle(ctx)
            assert places(bench)[-1] == (used - 1, 0, 1)
            await bench.full(ctx)
        assert not ctx.get(bench.dut.looking)
    bench.run(scenario)


def test_bad_head():
    """It ends what was told: the queue waits for its next doorbell, unless that came during the fetch."""
    bench = bench_of()

    async def scenario(ctx):
        await bench.doorbell(ctx, told=(20, 1))
        await settle(ctx)
        await bench.bad(ctx, 3, count=3)
        await settle(ctx)
        assert places(bench) == [(0, 1, 16), (16, 1, 4)] and not ctx.get(bench.dut.looking)
        await bench.doorbell(ctx, told=(20, 1))
        await settle(ctx)
        assert places(bench)[2:] == [(3, 1, 13), (16, 1, 4)]
        await bench.doorbell(ctx, told=(20, 1))
        await bench.bad(ctx, 7, count=4)
        assert places(bench)[4:] == [(7, 1, 13)]
        await bench.bad(ctx, 7)
        assert len(bench.asked) == 5 and not ctx.get(bench.dut.looking)
    bench.run(scenario)


@pytest.mark.parametrize("gap", range(6))
def test_bad_head_while_more_is_asked_for(gap):
    """Of what was told nothing is fetched again, though the queue was about to go on."""
    bench = bench_of()

    async def scenario(ctx):
        await bench.doorbell(ctx, told=(60, 1))
        await ctx.tick().repeat(6 + gap)
        await bench.bad(ctx, 3, count=3)
        await settle(ctx)
        assert 1 <= len(bench.asked) < 4 and {entry[-1] for entry in bench.asked} == {0}
        assert not ctx.get(bench.dut.looking)
    bench.run(scenario)


def test_chain_that_goes_on_beyond_what_was_told():
    """The doorbell was wrong: the rest is fetched as if it had no data."""
    bench = bench_of()

    async def scenario(ctx):
        await bench.doorbell(ctx, told=(20, 1))
        await settle(ctx)
        await bench.full(ctx, count=16, chain=1)
        assert len(bench.asked) == 2
        await bench.full(ctx, count=4, chain=1)
        assert places(bench)[2:] == [(20, 1, 4)] and bench.told == [1, 1, 0]
        await bench.bad(ctx, 22, count=2)
        assert len(bench.asked) == 3 and not ctx.get(bench.dut.looking)
    bench.run(scenario)


def test_no_suppression_while_told():
    bench = bench_of()

    async def scenario(ctx):
        for n in range(8):
            await bench.doorbell(ctx, told=(16 * n + 16, 1))
            await bench.full(ctx, count=16)
            ctx.set(bench.dut.emptied, (16 * n + 16) % 128)
        # Nor by doorbells without data: the driver has agreed to ring always.
        await bench.doorbell(ctx)
        for _ in range(8):
            await bench.full(ctx, count=4)
        assert not bench.switches
    bench.run(scenario)


def test_forgotten_with_the_queue():
    bench = bench_of()

    async def scenario(ctx):
        ctx.set(bench.dut.config.enabled, 0)
        await bench.doorbell(ctx, told=(9, 1))
        await settle(ctx)
        ctx.set(bench.dut.config.enabled, 1)
        await bench.doorbell(ctx, told=(1, 1))
        await settle(ctx)
        assert places(bench) == [(0, 1, 1)]
    bench.run(scenario)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_ahead(size):
    """Against positions counted without end: all pairs up to a ring apart."""
    m = Module()
    one, other, out = Signal(Position), Signal(Position), Signal()
    m.d.comb += out.eq(is_ahead(one, other))

    async def compare(ctx):
        for n in range(2 * size):
            for distance in range(1 - size, size + 1):
                for signal, at in ((one, n + distance), (other, n)):
                    ctx.set(signal, {"index": at % size, "wrap": (at // size + 1) % 2})
                assert ctx.get(out) == (distance > 0)
    simulator = Simulator(m)
    simulator.add_testbench(compare)
    simulator.run()
