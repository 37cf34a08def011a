"""Fetching what was seen available in what was thrown away."""

import pytest

from testbench.unit.fetch_bench import BATCH, CACHE, Bench


def places(bench):
    """(index, wrap, count, told) of every fetch."""
    return [(index, wrap, count, told) for (_, index, wrap, _, count, _), told in zip(bench.asked, bench.told)]


async def settle(ctx):
    await ctx.tick().repeat(60)


async def look(bench, ctx):
    """A doorbell, and four good ones of a chain."""
    await bench.doorbell(ctx)
    await settle(ctx)
    assert places(bench) == [(0, 1, 4, 0)]
    await bench.full(ctx, count=4, chain=1)


@pytest.mark.parametrize("doorbell", [0, 1])
def test_up_to_there_and_on(doorbell):
    """In the largest batches and all at once; beyond it by guess, and without trust. A doorbell changes nothing."""
    bench = Bench()

    async def scenario(ctx):
        await look(bench, ctx)
        assert places(bench)[1:] == [(4, 1, 8, 0)]
        await bench.bad(ctx, 4, chain=1, seen=(40, 1, 0))
        if doorbell:
            await bench.doorbell(ctx)
        await settle(ctx)
        assert places(bench)[2:5] == [(4, 1, 12, 1), (16, 1, 16, 1), (32, 1, 8, 1)] and len(bench.asked) == 5
        assert ctx.get(bench.dut.looking)
        for count in (12, 16, 8):
            ctx.set(bench.dut.emptied, (ctx.get(bench.dut.emptied) + count) % 128)
            await bench.full(ctx, count=count)
        await settle(ctx)
        assert places(bench)[5][0] == 40 and not any(told for *_, told in places(bench)[5:])
        for _ in range(1 + doorbell):
            await bench.bad(ctx, 40)
            await settle(ctx)
        assert not ctx.get(bench.dut.looking)
    bench.run(scenario)


def test_all_that_came_was_available():
    """There is likely more: it is asked for at once."""
    bench = Bench()

    async def scenario(ctx):
        await look(bench, ctx)
        await bench.bad(ctx, 4, chain=1, seen=(12, 1, 1))
        await settle(ctx)
        assert places(bench)[2:] == [(4, 1, 8, 1), (12, 1, 4, 0)]
    bench.run(scenario)


def test_across_the_end():
    bench = Bench(24)

    async def scenario(ctx):
        await look(bench, ctx)
        ctx.set(bench.dut.used, {"index": 3, "wrap": 1})
        await bench.bad(ctx, 4, chain=1, seen=(3, 0, 0))
        await settle(ctx)
        assert places(bench)[2:5] == [(4, 1, 12, 1), (16, 1, 8, 1), (0, 0, 3, 1)]
    bench.run(scenario)


@pytest.mark.parametrize("until", [(0, 0), (4, 0)])
def test_up_to_the_end(until):
    """The whole ring, and up to its end."""
    bench = Bench(16)

    async def scenario(ctx):
        await look(bench, ctx)
        ctx.set(bench.dut.used, {"index": 4, "wrap": 1})
        await bench.bad(ctx, 4, chain=1, seen=(*until, 0))
        await settle(ctx)
        expected = [(4, 1, 12, 1), (0, 0, 4, 1)] if until[0] else [(4, 1, 12, 1)]
        assert places(bench)[2:2 + len(expected)] == expected
        assert not any(told for *_, told in places(bench)[2 + len(expected):])
    bench.run(scenario)


def test_bad_head_ends_it():
    """What was seen is not there any more: the queue is dry, and trusts nothing at its next doorbell."""
    bench = Bench()

    async def scenario(ctx):
        await look(bench, ctx)
        await bench.bad(ctx, 4, chain=1, seen=(400, 1, 0))
        await settle(ctx)
        asked = len(bench.asked)
        await bench.bad(ctx, 6)
        await settle(ctx)
        assert len(bench.asked) == asked and not ctx.get(bench.dut.looking)
        await bench.doorbell(ctx)
        await settle(ctx)
        assert places(bench)[asked][0] == 6 and not places(bench)[asked][3]
    bench.run(scenario)


def test_rewind_keeps_it():
    """A chain in front of it is fetched again from its head."""
    bench = Bench()

    async def scenario(ctx):
        await look(bench, ctx)
        await bench.bad(ctx, 4, chain=1, seen=(400, 1, 0))
        await bench.bad(ctx, 2, chain=1)
        await settle(ctx)
        again = [place for place, (*_, epoch) in zip(places(bench), bench.asked) if epoch == 2]
        assert again == [(2, 1, 14, 1), (16, 1, 16, 1), (32, 1, 16, 1), (48, 1, 16, 1)]
    bench.run(scenario)


@pytest.mark.parametrize("told", [None, (40, 1)])
def test_doorbell_before_all_is_fetched(told):
    """One without data changes nothing; one with data may go further, and nothing is guessed beyond it."""
    bench = Bench(notification_data=1)

    async def scenario(ctx):
        await look(bench, ctx)
        ctx.set(bench.dut.emptied, 4 - CACHE + BATCH)
        await bench.bad(ctx, 4, chain=1, seen=(30, 1, 0))
        assert places(bench)[2:] == [(4, 1, 12, 1)]
        await bench.doorbell(ctx, told=told)
        ctx.set(bench.dut.emptied, 4)
        ctx.set(bench.dut.space, {"valid": 1, "queue": 0})
        await ctx.tick()
        ctx.set(bench.dut.space.valid, 0)
        await settle(ctx)
        assert places(bench)[2:5] == [(4, 1, 12, 1), (16, 1, 16, 1), (32, 1, 8, 1)] if told else \
            places(bench)[2:4] == [(4, 1, 12, 1), (16, 1, 14, 1)]
        if told:
            for count in (12, 16, 8):
                await bench.full(ctx, count=count)
            assert len(bench.asked) == 5 and not ctx.get(bench.dut.looking)
    bench.run(scenario)
