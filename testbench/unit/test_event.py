"""Driver Event Suppression: read once per batch, never too early, and what is decided. See test_event_index.py for
VIRTIO_F_EVENT_IDX."""

import random

import pytest

from hdl.dma.spec import Client, ReadStatus
from testbench.unit.event_bench import DESC, DISABLE, ENABLE, RESERVED, Rig, driver_area

NO_VECTOR = 0x800


@pytest.mark.requirements("PKD-036", "PKD-037", "PKD-044")
@pytest.mark.parametrize("flags, interrupts", [(ENABLE, 1), (DISABLE, 0), (DESC, 1), (RESERVED, 1)])
def test_decisions(flags, interrupts):
    rig = Rig(flags=[flags] * 4)
    rig.put([2])
    rig.run()
    assert rig.count("read") == 1
    read = rig.reads[0]
    assert (read.client, read.queue, read.address, read.length, read.last, read.more, read.function) == \
        (Client.EVENT_TX, 2, driver_area(2), 4, 1, 0, 0)
    assert [(i.queue, i.vector) for i in rig.interrupts] == [(2, 3)] * interrupts


@pytest.mark.requirements("PCI-102", "PCI-103")
@pytest.mark.parametrize("msix, vector, asked", [(1, 5, 1), (1, NO_VECTOR, 0), (1, 0xfff, 0), (0, 5, 1),
                                                 (0, NO_VECTOR, 1)])
def test_vector(msix, vector, asked):
    """With MSI-X enabled, a queue without vector is not even asked about; without MSI-X the vector means nothing."""
    rig = Rig(vectors=[vector] * 4, msix=msix)
    rig.put([1])
    rig.run()
    assert rig.count("read") == rig.count("interrupt") == asked
    assert [i.vector for i in rig.interrupts] == [vector] * asked


@pytest.mark.requirements("PKD-039")
def test_batch_published_during_a_read_is_asked_about_again():
    """The flags change to ENABLE with the second batch: a single, early read would lose that interrupt."""
    rig = Rig(flags=[DISABLE] * 4, delay=lambda: 30)
    rig.put([1])

    async def second(ctx):
        await ctx.tick().until(rig.dut.beats.valid)     # sampled as DISABLE, the answer is on its way
        rig.flags[1] = ENABLE
        for _ in range(3):
            ctx.set(rig.dut.notify.payload, rig.notification(1))
            ctx.set(rig.dut.notify.valid, 1)
            await ctx.tick().until(rig.dut.notify.ready)
        ctx.set(rig.dut.notify.valid, 0)
    rig.bench.process(second)
    rig.run()
    assert rig.count("read", 1) in (2, 3) and rig.count("interrupt", 1) == rig.count("read", 1) - 1


def test_many_batches_during_a_read_make_one_more():
    rig = Rig(delay=lambda: 60)
    rig.put([3] * 10 + [0] + [3] * 10)
    rig.run()
    assert (rig.count("read", 3), rig.count("read", 0)) == (2, 1)
    assert (rig.count("interrupt", 3), rig.count("interrupt", 0)) == (2, 1)


@pytest.mark.requirements("PKD-037", "PKD-039")
@pytest.mark.parametrize("pairs, seed", [(1, 0), (3, 1), (8, 2), (8, 3)])
def test_random(pairs, seed):
    rng = random.Random(seed)
    rig = Rig(pairs=pairs, seed=seed, stall=rng.choice([0, 0.3, 0.8]), width=rng.choice([128, 512]),
              flags=[rng.randrange(4) for _ in range(pairs)], delay=lambda: rng.choice([0, 1, 2, 5, 40]))
    rig.put([rng.randrange(pairs) for _ in range(300)], stall=rng.choice([0, 0.7]))

    async def driver(ctx):
        for _ in range(100):
            await ctx.tick().repeat(rng.randint(1, 12))
            rig.flags[rng.randrange(pairs)] = rng.randrange(4)
    rig.bench.process(driver)
    events = rig.run()
    for queue in range(pairs):
        mine = [name for name, number in events if number == queue]
        under_way = 0
        asked = False       # every batch so far has been followed by a read
        for name in mine:
            if name == "notify":
                asked = False
            elif name == "read":
                assert under_way == 0, "one read per queue at a time"
                asked, under_way = True, 1
            elif name == "answer":
                under_way = 0
        assert asked or "notify" not in mine
        wanted = sum(number == queue and flags != DISABLE for number, flags, _ in rig.answers)
        assert mine.count("interrupt") == wanted
        assert mine.count("read") <= mine.count("notify")
        assert mine.count("read") == mine.count("answer")


@pytest.mark.parametrize("status, errors", [
    (ReadStatus.UNSUPPORTED, 1), (ReadStatus.ABORTED, 1), (ReadStatus.POISONED, 1), (ReadStatus.TIMEOUT, 1),
    (ReadStatus.RETRY, 1), (ReadStatus.DISCARDED, 0)])
def test_failed_read(status, errors):
    rig = Rig(status=lambda: status)
    rig.put([2])
    rig.run()
    assert (rig.count("error"), rig.count("interrupt"), rig.count("read")) == (errors, 0, 1)


@pytest.mark.requirements("BAS-004")
def test_nothing_while_not_live():
    rig = Rig(live=0)
    rig.put([0, 1, 2, 3] * 3)
    rig.run()
    assert rig.count("notify") == 12 and rig.count("read") == rig.count("interrupt") == 0


def test_nothing_for_a_queue_that_is_not_enabled():
    rig = Rig(enabled=[1, 0, 1, 1])
    rig.put([1, 1, 2])
    rig.run()
    assert rig.count("read", 1) == 0 and rig.count("read", 2) == 1


@pytest.mark.requirements("BAS-010", "BAS-011")
@pytest.mark.parametrize("reason", ["quiesce", "live"])
def test_stops_asking(reason):
    """Answers that come after the reset began make no interrupt and no further read."""
    rig = Rig(delay=lambda: 40)
    rig.put([0, 1, 1, 2, 2])

    async def stop(ctx):
        await ctx.tick().repeat(30)
        assert rig.count("read") == 3 and rig.count("notify") == 5
        ctx.set(getattr(rig.dut, reason), reason == "quiesce")
        await ctx.tick()
        assert not ctx.get(rig.dut.idle)
        await ctx.tick().until(rig.dut.idle)
    rig.bench.process(stop)
    rig.run()
    assert rig.count("answer") == rig.count("read") == 3 and rig.count("interrupt") == 0


def test_clear_forgets_what_was_under_way():
    """A state left over, here of a read that nobody answers, is gone after `clear`."""
    rig = Rig()
    rig.hold = True
    rig.put([1, 1])

    async def restart(ctx):
        await ctx.tick().repeat(30)
        assert rig.count("read") == 1
        ctx.set(rig.dut.clear, 1)
        await ctx.tick()
        ctx.set(rig.dut.clear, 0)
        assert not ctx.get(rig.dut.idle)
        ctx.set(rig.dut.notify.payload, rig.notification(1))
        ctx.set(rig.dut.notify.valid, 1)
        await ctx.tick().until(rig.dut.notify.ready)
        ctx.set(rig.dut.notify.valid, 0)
        await ctx.tick().repeat(10)
        assert rig.count("read") == 2
    rig.bench.process(restart)
    rig.run()


def test_answers_are_never_refused():
    """Interrupts stand still while the answers to all that was asked arrive: each has a place."""
    rig = Rig(pairs=8, stall=1.0, read_stall=0.0, delay=lambda: 0)
    rig.hold = True
    rig.put(range(8))

    async def release(ctx):
        await ctx.tick().repeat(40)
        assert rig.count("read") == 8
        rig.hold = False
        await ctx.tick().repeat(40)
        assert rig.count("answer") == 8 and rig.count("interrupt") == 0
        assert not ctx.get(rig.dut.idle)
    rig.bench.process(release)
    rig.run()


def test_slow_interrupts_lose_nothing():
    rig = Rig(pairs=8, stall=0.97, delay=lambda: 0)
    rig.put(list(range(8)) * 6)
    rig.run(settle=1500)
    assert rig.count("interrupt") == rig.count("answer") >= 8


def test_not_idle_during_initialisation():
    rig = Rig(pairs=8)

    async def look(ctx):
        for _ in range(2):
            for _ in range(8):
                assert not ctx.get(rig.dut.idle)
                await ctx.tick()
            assert ctx.get(rig.dut.idle)
            ctx.set(rig.dut.clear, 1)
            assert not ctx.get(rig.dut.idle)
            await ctx.tick()
            ctx.set(rig.dut.clear, 0)
    rig.bench.process(look)
    rig.run()


def test_latency():
    rig = Rig()
    rig.put([1])
    rig.run()
    when = dict(zip((name for name, _ in rig.events), rig.cycles))
    assert when["read"] - when["notify"] == 2
    assert when["interrupt"] - when["answer"] == 2


def test_takes_a_notification_a_cycle():
    rig = Rig(pairs=8)
    rig.put(list(range(8)) * 4)
    rig.run()
    cycles = [cycle for (name, _), cycle in zip(rig.events, rig.cycles) if name == "notify"]
    assert cycles[-1] - cycles[0] <= 31 + rig.count("answer")
