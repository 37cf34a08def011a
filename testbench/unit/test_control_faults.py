"""The control virtqueue: bad chains, reads that fail, resets at any moment."""

import random

import pytest

from hdl.dma.spec import ReadStatus
from testbench.unit.control_bench import DRIVER_AREA, HEAP, RING, Buffer, ControlBench
from testbench.unit.control_oracle import OK, ask_queue, coalesce_all, pairs_set
from testbench.unit.few import few
from testbench.unit.packed_ring import INDIRECT, NEXT

GOOD = pairs_set(3)


def malformed(bench, segments, flags=0, count=1):
    """A body that publishes `segments` as they are and expects the buffer back, untouched."""
    async def body(ctx):
        elements = [segment for segment in segments if segment[2]]
        for _ in range(count):
            bench.publishing = bench.publish_raw(segments, flags, Buffer(GOOD, elements, False, "malformed"))
            while bench.publishing or bench.outstanding:
                await bench.cycle(ctx)
    return body


@pytest.mark.requirements("PKD-004", "PKD-021", "NET-119")
@pytest.mark.parametrize("what", ["readable behind writable", "nothing writable", "indirect in a chain", "empty table",
                                  "broken table", "long table", "indirect not negotiated"])
def test_malformed(what):
    """The buffer comes back with length 0, nothing has changed, and the next command works."""
    bench = ControlBench(ring=() if what == "indirect not negotiated" else ("indirect",))
    address = bench.allocate(4, GOOD)
    back = bench.allocate(8)
    flags, segments = INDIRECT, [(address, 4, False), (back, 1, True)]
    match what:
        case "readable behind writable":
            flags, segments = 0, [(address, 2, False), (back, 1, True), (address + 2, 2, False)]
        case "nothing writable":
            flags, segments = 0, [(address, 4, False), (back, 0, True)]
        case "empty table":
            segments = [(address, 0, False)]
        case "broken table":
            segments = [(address, 24, False)]
        case "long table":
            segments = [(address, (16 << 16) + 16, False)]
        case "indirect not negotiated":
            segments = [(address, 16, False)]
    bench.run(malformed(bench, segments, flags, count=2))
    assert [content for _, content in bench.replies] == [b"", b""]
    assert bench.errors == 0 and bench.oracle.active == 1
    assert all(not HEAP <= address or what != "indirect not negotiated" for address, _ in bench.reads)


async def restart(bench, ctx):
    """Device reset, and a new life."""
    dut = bench.dut
    ctx.set(dut.quiesce, 1)
    bench.waiting, bench.publishing, bench.doorbells, bench.checks = [], None, [], False
    deadline = bench.now + 1000
    while not ctx.get(dut.idle) or bench.posted:
        assert bench.now < deadline, f"not quiet (seed {bench.seed})"
        await bench.cycle(ctx)
    assert bench.read is None
    before = len(bench.reads), bench.interrupts
    for _ in range(20):
        await bench.cycle(ctx)
    assert (len(bench.reads), bench.interrupts) == before and not bench.posted, "nothing after it was quiet"
    ctx.set(dut.live, 0)
    ctx.set(dut.clear, 1)
    await ctx.tick()
    ctx.set(dut.clear, 0)
    assert not ctx.get(dut.idle)
    ctx.set(dut.quiesce, 0)
    assert ctx.get(dut.active_pairs) == 1
    bench.begin()
    await bench.start(ctx)


def broken(bench, *, at=lambda ctx: None, active=1):
    """A body: the command that was sent ends in an error, and nothing more happens before a reset."""
    async def body(ctx):
        for _ in range(800):
            at(ctx)
            await bench.cycle(ctx)
        assert bench.errors == 1 and ctx.get(bench.dut.idle) and not bench.replies and not bench.interrupts
        assert ctx.get(bench.dut.active_pairs) == active
        bench.doorbells.append(bench.now)
        reads = len(bench.reads)
        for _ in range(100):
            await bench.cycle(ctx)
        assert len(bench.reads) == reads and bench.errors == 1
        bench.status = lambda address: ReadStatus.OK
        await restart(bench, ctx)
        bench.waiting.append(bench.prepare(GOOD))
    return body


def test_chain_without_end():
    bench = ControlBench(size=4)
    bench.waiting = []
    address = bench.allocate(8, GOOD)
    bench.publishing = bench.publish_raw([(address, 1, False)] * 4, NEXT, Buffer(GOOD, [], False, "malformed"))
    bench.run(broken(bench))
    assert [content for _, content in bench.replies] == [OK]


# What is read for a command in two descriptors: head, command, second descriptor, that again for the reply, event.
@pytest.mark.requirements("PKD-006")
@pytest.mark.parametrize("number, status", few(5, [
    (number, [ReadStatus.UNSUPPORTED, ReadStatus.POISONED, ReadStatus.TIMEOUT][(number + turn) % 3])
    for turn in range(3) for number in range(5)]))
def test_read_that_fails(number, status):
    bench = ControlBench()
    bench.waiting.append(bench.prepare(GOOD, 1, readable=[4], writable=[1], indirect=False))
    count = []

    def answer(address):
        count.append(address)
        return status if len(count) == number + 1 else ReadStatus.OK
    bench.status = answer
    bench.checks = False
    bench.run(broken(bench, active=1 if number < 3 else 3))
    assert [content for _, content in bench.replies] == [OK]
    if number == 4:
        assert count[4] == DRIVER_AREA


@pytest.mark.requirements("PKD-004")
@pytest.mark.parametrize("change", ["flags", "length"])
def test_driver_takes_the_room_away(change):
    """Between the look at the chain and the reply: nothing is written, and the device needs a reset."""
    bench = ControlBench()
    bench.waiting.append(bench.prepare(GOOD, 1, readable=[4], writable=[1], indirect=False))
    bench.checks = False

    def take(ctx):
        if len(bench.reads) == 4:
            assert bench.reads[3] == (RING + 16, 16)
            bench.memory[RING + 16 + (14 if change == "flags" else 8)] = 0
    bench.run(broken(bench, at=take, active=3))
    assert [content for _, content in bench.replies] == [OK]


@pytest.mark.requirements("BAS-009", "BAS-010", "BAS-011", "NET-182")
@pytest.mark.parametrize("seed", few(1, range(2)))
def test_reset_at_any_moment(seed):
    rng = random.Random(seed)
    bench = ControlBench(seed=seed, stall=rng.choice([0, 0.3]))

    async def lives(ctx):
        for _ in range(7):
            for n in range(3):
                bench.waiting.append(bench.prepare(
                    *rng.choice([(GOOD, 1), (ask_queue(1), 9), (coalesce_all(n % 2, 5, 6), 1)])))
            for _ in range(rng.randrange(300)):
                await bench.cycle(ctx)
            await restart(bench, ctx)
            for queue in (0, 3):
                bench.waiting.append(bench.prepare(ask_queue(queue), 9))
            await bench.finish(ctx)
            assert [content for _, content in bench.replies] == [bytes(8) + OK] * 2, "all is 0 again"
            bench.waiting.append(bench.prepare(GOOD))
            await bench.finish(ctx)
    bench.run(lives)


def test_reset_waits_for_a_read():
    bench = ControlBench()
    bench.waiting.append(bench.prepare(GOOD))

    async def body(ctx):
        bench.hold = True
        for _ in range(200):
            await bench.cycle(ctx)
        ctx.set(bench.dut.quiesce, 1)
        for _ in range(50):
            await bench.cycle(ctx)
            assert not ctx.get(bench.dut.idle)
        bench.hold = False
        await restart(bench, ctx)
        bench.waiting.append(bench.prepare(GOOD))
    bench.run(body)
    assert [content for _, content in bench.replies] == [OK]


@pytest.mark.requirements("BAS-004")
def test_nothing_while_not_live():
    bench = ControlBench()
    bench.waiting.append(bench.prepare(GOOD))

    async def body(ctx):
        ctx.set(bench.dut.live, 0)
        for _ in range(200):
            await bench.cycle(ctx)
        assert not bench.reads
        ctx.set(bench.dut.live, 1)
    bench.run(body)
    assert [content for _, content in bench.replies] == [OK]


@pytest.mark.requirements("BAS-010", "BAS-011")
@pytest.mark.parametrize("fails", [0, 1])
def test_reset_while_pairs_do_not_settle(fails):
    """The reply that is still to come is taken, also after an error, before the queue is idle."""
    bench = ControlBench()
    bench.checks, bench.settled = False, 0
    bench.waiting.append(bench.prepare(GOOD, 1, readable=[4], writable=[1], indirect=False))
    bench.status = lambda address: ReadStatus.TIMEOUT if fails and len(bench.reads) == 4 else ReadStatus.OK

    async def body(ctx):
        for _ in range(400):
            await bench.cycle(ctx)
        assert bench.errors == fails and ctx.get(bench.dut.active_pairs) == 3 and not ctx.get(bench.dut.idle)
        bench.status = lambda address: ReadStatus.OK
        await restart(bench, ctx)
        bench.settled = 1
        bench.waiting.append(bench.prepare(ask_queue(0), 9))
    bench.run(body)
    assert [content for _, content in bench.replies] == [bytes(8) + OK]
