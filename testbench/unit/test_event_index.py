"""VIRTIO_F_EVENT_IDX for interrupts: which positions count as used since the last decision, and no lost wake-up."""

import random

import pytest

from testbench.unit.event_bench import DESC, DISABLE, Rig
from testbench.unit.few import few


async def tell(ctx, rig, notification):
    ctx.set(rig.dut.notify.payload, notification)
    ctx.set(rig.dut.notify.valid, 1)
    await ctx.tick().until(rig.dut.notify.ready)
    ctx.set(rig.dut.notify.valid, 0)


def passed(rig, old, new):
    """Positions, as the structure holds them, of the slots from `old` to before `new`."""
    places = [rig.position(slots) for slots in range(old, new)]
    return {wrap << 15 | index for index, wrap in places}


@pytest.mark.requirements("PKD-037", "PKD-038")
@pytest.mark.parametrize("size, cases", [(1, 30), (2, 50), (3, 80), (5, 100), (7, 120), (32768, 60), (32767, 60)])
def test_positions(size, cases):
    """Every decision is about exactly the slots since the one before: also those of batches that were not due, those
    published during the read before, and more than two passes of a small ring."""
    rng = random.Random(size)
    rig = Rig(size=size, event_index=1, flags=[DESC] * 4, delay=lambda: rng.randrange(3))
    limit = min(size, 9) if size < 100 else size

    def some(due):
        """Steps of one decision; only the last is due."""
        count = rng.choice([1, 1, 1, 2, 3, 6])
        return [(rng.choice([1, rng.randint(1, limit)]), due and n == count - 1) for n in range(count)]

    async def driver(ctx):
        decided = 0
        for _ in range(cases):
            begin, interrupts, answers = decided, len(rig.interrupts), len(rig.answers)
            rig.hold = True
            for slots, due in some(True):
                await tell(ctx, rig, rig.notification(2, slots, due))
            first = rig.used[2]
            rounds = [(begin, first)]
            if rng.random() < 0.4:
                await ctx.tick().repeat(6)      # the read is under way
                due = rng.random() < 0.7
                for slots, is_due in [*some(due), (1, False)]:
                    await tell(ctx, rig, rig.notification(2, slots, is_due))
                if due:
                    rounds = [(begin, first), (first, rig.used[2])]
            await ctx.tick().repeat(6)
            wanted = 0
            for old, new in rounds:
                event = rng.choice([old, new, new - 1, rng.randint(old, new), rng.randint(0, 2 * size)])
                index, wrap = rig.position(event)
                rig.positions[2] = wrap << 15 | index
                wanted += rig.positions[2] in passed(rig, old, new)
                answers += 1
                rig.hold = False
                while len(rig.answers) < answers:
                    await ctx.tick()
                rig.hold = True
            await ctx.tick().repeat(10)
            assert len(rig.answers) == answers, "one read for each decision"
            assert len(rig.interrupts) - interrupts == wanted, (rounds, rig.positions[2])
            decided = rounds[-1][1]
    rig.bench.process(driver)
    rig.bench.limit = 60 * cases
    rig.run()
    assert len(rig.interrupts) > cases // 10 and (size == 1 or len(rig.interrupts) < len(rig.answers))


@pytest.mark.requirements("PKD-038")
def test_very_many_slots_before_a_decision():
    """Beyond two passes every position was passed, however many more it are."""
    rig = Rig(size=32768, event_index=1, flags=[DESC] * 4)
    rig.positions[0] = 1 << 15 | 32767
    rig.bench.put(rig.dut.notify, [rig.notification(0, 32768, due=n == 3) for n in range(4)])
    rig.run()
    assert rig.count("interrupt") == 1


@pytest.mark.requirements("PKD-038")
def test_a_decision_uses_up_what_it_was_about():
    """Positions used while interrupts were off, or while the queue had no vector, do not count later."""
    rig = Rig(size=8, event_index=1, flags=[DISABLE] * 4)

    async def driver(ctx):
        rig.positions[1] = 1 << 15 | 2
        await tell(ctx, rig, rig.notification(1, 4))
        await ctx.tick().repeat(60)
        rig.flags[1] = DESC
        ctx.set(rig.dut.live, 0)
        await tell(ctx, rig, rig.notification(1, 1))
        await ctx.tick().repeat(20)
        ctx.set(rig.dut.live, 1)
        rig.positions[1] = 1 << 15 | 4
        await tell(ctx, rig, rig.notification(1, 1))
        await ctx.tick().repeat(60)
        assert rig.count("interrupt") == 0 and rig.count("read") == 2
        rig.positions[1] = 1 << 15 | 6
        await tell(ctx, rig, rig.notification(1, 1))
        await ctx.tick().repeat(60)
        assert rig.count("interrupt") == 1
    rig.bench.process(driver)
    rig.run()


@pytest.mark.requirements("PKD-037", "FEA-018")
def test_without_the_feature_the_position_means_nothing():
    rig = Rig(size=8, event_index=0, flags=[DESC] * 4)
    rig.positions[1] = 1 << 15 | 7
    rig.put([1])
    rig.run()
    assert rig.count("interrupt") == 1


def test_due_alone_decides_about_what_came_before():
    """A notification without slots brings no position; the decision is about the batches that were not due."""
    rig = Rig(size=8, event_index=1, flags=[DESC] * 4)

    async def driver(ctx):
        rig.positions[3] = 1 << 15 | 1
        for _ in range(3):
            await tell(ctx, rig, rig.notification(3, 1, due=0))
        await ctx.tick().repeat(30)
        assert rig.count("read") == 0
        await tell(ctx, rig, {"queue": 3, "next": {"index": 5, "wrap": 0}, "slots": 0, "due": 1})
        await ctx.tick().repeat(60)
        assert (rig.count("read"), rig.count("interrupt")) == (1, 1)
    rig.bench.process(driver)
    rig.run()


@pytest.mark.requirements("PKD-038", "PKD-039")
@pytest.mark.parametrize("size, seed", few(3, [(1, 0), (3, 2), (7, 4), (2, 1), (5, 3)]))
def test_sleeping_drivers(size, seed):
    """Drivers that ask for a position and sleep unless it is used already, each at its own moment of everything else,
    are always woken."""
    rng = random.Random(seed)
    rig = Rig(pairs=4, size=size, event_index=1, flags=[DESC] * 4, stall=0.3, seed=seed,
              delay=lambda: rng.choice([0, 1, 2, 5, 30]))
    rig.bench.limit = 60_000
    goal = 60
    visible, seen, asleep, woken = [0] * 4, [0] * 4, [False] * 4, [0] * 4

    def place(slots):
        index, wrap = rig.position(slots)
        return wrap << 15 | index

    async def device(ctx):
        """Uses what the drivers have given back, at most a ring of it; notifies after the bytes are visible."""
        while min(visible) < goal:
            queue = rng.randrange(4)
            room = min(seen[queue] + size, goal) - visible[queue]
            if room and rng.random() < 0.5:
                slots = rng.randint(1, room)
                visible[queue] += slots
                await ctx.tick().repeat(rng.randint(1, 4))
                await tell(ctx, rig, rig.notification(queue, slots))
            else:
                await ctx.tick()

    async def drivers(ctx):
        while min(seen) < goal:
            await ctx.tick()
            for queue in rng.sample(range(4), 4):
                count = sum(interrupt.queue == queue for interrupt in rig.interrupts[woken[queue]:])
                if asleep[queue] and not count:
                    continue
                if asleep[queue]:
                    asleep[queue], woken[queue] = False, len(rig.interrupts)
                if rng.random() < 0.3:
                    continue
                if visible[queue] > seen[queue]:
                    seen[queue] += 1
                elif rig.positions[queue] != place(seen[queue]):
                    # And look once more, next time.
                    rig.positions[queue], woken[queue] = place(seen[queue]), len(rig.interrupts)
                else:
                    asleep[queue] = True
    rig.bench.process(device)
    rig.bench.process(drivers)
    rig.run()
    assert seen == [goal] * 4
