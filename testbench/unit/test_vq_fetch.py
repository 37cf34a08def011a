"""When and how much is fetched: cuts, growth, and every order of a doorbell and the end of a look."""

import pytest

from testbench.unit.fetch_bench import BATCH, Bench


def test_growth_and_epochs():
    bench = Bench(suppress=False)

    async def scenario(ctx):
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        assert bench.asked == [(0, 0, 1, 0, 4, 0)]
        await bench.full(ctx)
        assert bench.asked[1:] == [(0, 4, 1, 4, 8, 0)]
        await bench.full(ctx)
        # From here on whole batches, on their boundaries.
        assert bench.asked[2:] == [(0, 12, 1, 12, 4, 0)]
        await bench.full(ctx)
        # Two under way, then four, as far as the cache has room for whole batches.
        assert bench.asked[3:] == [(0, 16, 1, 16, 16, 0), (0, 32, 1, 32, 16, 0)]
        await bench.full(ctx)
        assert bench.asked[5:] == [(0, 48, 1, 48, 16, 0)]
        await bench.full(ctx)
        assert len(bench.asked) == 6
        ctx.set(bench.dut.emptied, 16)
        ctx.set(bench.dut.space, {"valid": 1, "queue": 0})
        await ctx.tick()
        ctx.set(bench.dut.space.valid, 0)
        await ctx.tick().repeat(12)
        assert bench.asked[6:] == [(0, 64, 1, 64, 16, 0)]
        # The end of the backlog: back to the first bad one, and nothing without a doorbell.
        await bench.bad(ctx, 54, count=6)
        assert len(bench.asked) == 7 and not ctx.get(bench.dut.looking)
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        assert bench.asked[7:] == [(0, 54, 1, 54, 10, 1)]
        await bench.bad(ctx, 57, count=3)
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        assert bench.asked[8:] == [(0, 57, 1, 57, 4, 2)]
    bench.run(scenario)


@pytest.mark.parametrize("at, counts", [(12, [4, 8]), (13, [3, 8]), (14, [2, 8]), (16, [4, 8]), (29, [3, 8])])
def test_small_fetches_are_one_request_each(at, counts):
    """A look that grows from one line on is cut where the batches' boundaries are, and so are those after it."""
    bench = Bench(suppress=False)

    async def scenario(ctx):
        await bench.doorbell(ctx)
        await bench.bad(ctx, at, count=at % 4)
        bench.asked.clear()
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        await bench.full(ctx)
        assert [asked[4] for asked in bench.asked] == counts
    bench.run(scenario)


def test_a_single_packet_before_a_boundary():
    """The look that it fills finds nothing more, and the next one is no longer than usual: an idle card is as fast."""
    bench = Bench(suppress=False)

    async def scenario(ctx):
        await bench.doorbell(ctx)
        await bench.bad(ctx, 15, count=3)
        await bench.doorbell(ctx)
        await bench.full(ctx)
        await bench.bad(ctx, 16)
        bench.asked.clear()
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        assert [asked[1:5] for asked in bench.asked] == [(16, 1, 16, 4)]
    bench.run(scenario)


@pytest.mark.parametrize("size", [1024, 1000])
def test_fetches_under_way_double_with_each_round_trip(size):
    """Not with each report: a queue that runs dry would have as many more on their way in vain."""
    bench = Bench(size, suppress=False, cache=256)
    rounds = []

    async def scenario(ctx):
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        came = 0
        for _ in range(9):
            under_way = len(bench.asked) - came
            rounds.append(under_way)
            for _ in range(under_way):
                position = bench.asked[came]
                came += 1
                last = (position[3] + position[4]) % 512
                ctx.set(bench.dut.emptied, last)
                ctx.set(bench.dut.used, {"index": position[1], "wrap": position[2]})
                await bench.full(ctx, count=position[4])
    bench.run(scenario)
    assert rounds == [1, 1, 1, 2, 4, 8, 16, 16, 16]


def test_latency():
    """From the doorbell to the command, and from there to that of another queue."""
    bench = Bench(suppress=False)

    async def scenario(ctx):
        for queue in range(2):
            await bench.doorbell(ctx, queue)
        await ctx.tick().repeat(12)
    bench.run(scenario)
    # The first doorbell is taken in the third cycle, behind the initialisation of two queues.
    assert [bench.times[0] - 3, bench.times[1] - bench.times[0]] == [4, 5]


@pytest.mark.requirements("BAS-019")
@pytest.mark.parametrize("after", range(1, 8))
def test_a_queue_that_is_enabled_during_a_decision(after):
    """It is looked at as it was at the beginning, not partly as it is then."""
    bench = Bench(suppress=False)

    async def scenario(ctx):
        ctx.set(bench.dut.config, {"descriptors": 0x10000, "size": 1024, "enabled": 0})
        await bench.doorbell(ctx)
        await ctx.tick().repeat(after)
        ctx.set(bench.dut.config, {"descriptors": 0x10000, "size": 3, "enabled": 1})
        await ctx.tick().repeat(12)
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
    bench.run(scenario)
    assert bench.asked == [(0, 0, 1, 0, 3, 0)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 12, 64])
@pytest.mark.requirements("PKD-014", "PKD-042")
def test_ring_end_and_window(size):
    """No fetch passes the ring's end or slots that are not yet used, whatever the size."""
    bench = Bench(size=size, suppress=False)
    place, used, total = [0, 1], [0, 1], 0

    async def scenario(ctx):
        nonlocal total
        await bench.doorbell(ctx)
        for _ in range(20):
            await ctx.tick().repeat(12)
            while bench.asked:
                _, index, wrap, slot, count, _ = bench.asked.pop(0)
                assert [index, wrap] == place and 1 <= count <= size - index
                place[0] += count
                total += count
                if place[0] == size:
                    place[:] = [0, 1 - wrap]
                outstanding = place[0] - used[0] + (0 if place[1] == used[1] else size)
                assert 0 < outstanding <= size
                ctx.set(bench.dut.emptied, (slot + count) % 128)
                await bench.full(ctx, count=count)
            # All of the ring is here: only a doorbell asks for more, once there is space.
            assert not ctx.get(bench.dut.looking)
            await bench.doorbell(ctx)
            await ctx.tick().repeat(12)
            assert not bench.asked or size > BATCH
            used[:] = place
            ctx.set(bench.dut.used, {"index": used[0], "wrap": used[1]})
            ctx.set(bench.dut.published, {"valid": 1, "queue": 0})
            await ctx.tick()
            ctx.set(bench.dut.published.valid, 0)
    bench.run(scenario)
    assert total >= 15 * size


@pytest.mark.parametrize("offset", range(-8, 9))
def test_doorbell_at_any_moment_of_a_look(offset):
    """A doorbell after a look was issued makes another look, whenever it comes; one before it does not."""
    bench = Bench(suppress=False)

    async def scenario(ctx):
        await bench.doorbell(ctx)
        await ctx.tick().repeat(20)
        assert len(bench.asked) == 1
        dut = bench.dut
        for cycle in range(-10, 30):
            if cycle == offset:
                ctx.set(dut.doorbells.payload, {"queue": 0})
                ctx.set(dut.doorbells.valid, 1)
            if cycle == 0:
                ctx.set(dut.reports.payload, {"queue": 0, "position": {"index": 0, "wrap": 1}})
                ctx.set(dut.reports.valid, 1)
            _, _, doorbell, report = await ctx.tick().sample(dut.doorbells.ready, dut.reports.ready)
            if doorbell:
                ctx.set(dut.doorbells.valid, 0)
            if report:
                ctx.set(dut.reports.valid, 0)
        assert len(bench.asked) == 2
        await bench.bad(ctx, 0)
        assert len(bench.asked) == 2 and not ctx.get(dut.looking)
    bench.run(scenario)


@pytest.mark.parametrize("gap", range(1, 14))
def test_doorbell_at_any_moment_of_a_decision(gap):
    """Two doorbells: the second is covered by the first's look only if that was not yet issued when it came."""
    bench = Bench(suppress=False)

    async def scenario(ctx):
        await bench.doorbell(ctx)
        await ctx.tick().repeat(gap)
        second = bench.now
        await bench.doorbell(ctx)
        await ctx.tick().repeat(20)
        issued = bench.times[0]
        await bench.bad(ctx, 0)
        if second >= issued:
            assert len(bench.asked) == 2
        assert len(bench.asked) <= 2
    bench.run(scenario)


def test_doorbell_between_two_fetches_under_way():
    """A fetch issued after the doorbell brings nothing if an older one ends the epoch: look again."""
    bench = Bench(suppress=False)

    async def scenario(ctx):
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        for _ in range(3):
            await bench.full(ctx)
        assert bench.asked[-1] == (0, 32, 1, 32, 16, 0)      # two are under way
        await bench.doorbell(ctx)
        ctx.set(bench.dut.emptied, 28)
        await bench.full(ctx)
        assert bench.asked[-1] == (0, 48, 1, 48, 16, 0)      # one more, issued after the doorbell
        issued = len(bench.asked)
        await bench.bad(ctx, 32)
        assert bench.asked[issued:] == [(0, 32, 1, 32, 16, 1)]
        await bench.bad(ctx, 32)
        assert len(bench.asked) == issued + 1
    bench.run(scenario)


@pytest.mark.parametrize("source, size, fetches", [("space", 1024, 5), ("published", 16, 3)])
def test_room_is_seen_in_a_flood_of_doorbells(source, size, fetches):
    """A queue that waits for room goes on, though doorbells of another come in every cycle."""
    bench = Bench(size, suppress=False)

    async def scenario(ctx):
        dut = bench.dut
        await bench.doorbell(ctx)
        for _ in range(fetches):
            await bench.full(ctx)
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        issued = len(bench.asked)
        ctx.set(dut.doorbells.payload, {"queue": 1})
        ctx.set(dut.doorbells.valid, 1)
        await ctx.tick().repeat(40)
        assert not [asked for asked in bench.asked[issued:] if asked[0] == 0]
        ctx.set(dut.emptied, 16)
        ctx.set(dut.used, {"index": 0, "wrap": 0} if source == "published" else {"index": 0, "wrap": 1})
        ctx.set(getattr(dut, source), {"valid": 1, "queue": 0})
        await ctx.tick()
        ctx.set(getattr(dut, source).valid, 0)
        await ctx.tick().repeat(40)
        assert [asked for asked in bench.asked[issued:] if asked[0] == 0]
    bench.run(scenario)


@pytest.mark.requirements("PKD-040", "PKD-047")
def test_suppression():
    bench = Bench()

    async def scenario(ctx):
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        for _ in range(4):
            assert not bench.switches
            await bench.full(ctx)
        assert bench.switches == [(0, 0)]
        await bench.send(ctx, bench.dut.switched, queue=0, enable=0)
        await bench.bad(ctx, 30)
        # Dry: doorbells are asked for, and there is another look when that is visible, not before.
        assert bench.switches == [(0, 0), (0, 1)]
        issued = len(bench.asked)
        await ctx.tick().repeat(30)
        assert len(bench.asked) == issued and ctx.get(bench.dut.looking)
        await bench.send(ctx, bench.dut.switched, queue=0, enable=1)
        await ctx.tick().repeat(12)
        assert len(bench.asked) == issued + 1
        await bench.bad(ctx, 30)
        assert len(bench.switches) == 2 and not ctx.get(bench.dut.looking)
    bench.run(scenario)


def test_inside_a_chain_goes_on_without_doorbell():
    bench = Bench(suppress=False)

    async def scenario(ctx):
        await bench.doorbell(ctx)
        await ctx.tick().repeat(12)
        await bench.bad(ctx, 2, chain=1, count=2)
        assert bench.asked[1:] == [(0, 2, 1, 2, 4, 1)]
    bench.run(scenario)


@pytest.mark.requirements("BAS-003")
def test_gates():
    """Disabled queues are not looked at; before `live` and during `quiesce` nothing is, but doorbells are kept."""
    bench = Bench(suppress=False)

    async def scenario(ctx):
        dut = bench.dut
        for gate, on in ((dut.live, 0), (dut.quiesce, 1)):
            ctx.set(gate, on)
            await bench.doorbell(ctx, 0)
            await ctx.tick().repeat(20)
            assert not bench.asked
            ctx.set(gate, 1 - on)
            await ctx.tick().repeat(12)
            assert len(bench.asked) == 1
            await bench.bad(ctx, 0)
            bench.asked.clear()
        ctx.set(dut.config.enabled, 0)
        await bench.doorbell(ctx, 1)
        await ctx.tick().repeat(20)
        assert not bench.asked
        ctx.set(dut.config.enabled, 1)
        await ctx.tick().repeat(20)
        assert not bench.asked
    bench.run(scenario)
