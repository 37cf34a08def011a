"""Judging descriptors: what counts, what is read again, and with how much trust."""

import random
import struct

import pytest

from hdl.dma.spec import FetchContext, ReadStatus
from hdl.virtqueue.receive import Receive
from testbench.unit.bench import StreamBench

NEXT, WRITE = 1, 2
CACHE = 16


def bits(wrap):
    """AVAIL and USED of a descriptor made available in a pass with this wrap counter."""
    return 0x80 if wrap else 0x8000


def descriptor(n, flags):
    return struct.pack("<QIHH", 0x1000 * n, 10 * n, n, flags)


class Judge:
    """A `Receive` of one ring at `base`; `batch` feeds it, `run` returns reports, and fills `committed`, `errors` and
    `seen`, what reports tell about what was thrown away."""

    def __init__(self, width=256, size=64, stall=0.0, seed=1, base=0):
        self.dut = Receive(width, 1, cache=CACHE, batch=8)
        self.base = base
        self.width, self.size, self.stall, self.seed = width, size, stall, seed
        self.beats, self.batches = [], 0

    def batch(self, flags, *, index=0, wrap=1, epoch=0, slot=0, told=0, first=1, status=ReadStatus.OK,
              behind=0):
        content = b"".join(descriptor(first + n, f) for n, f in enumerate(flags))
        context = FetchContext().const({"index": index, "wrap": wrap, "epoch": epoch, "slot": slot,
                                        "told": told, "count": len(flags)}).as_value().value
        step = self.width // 8
        for at in range(0, len(content), step):
            part = content[at:at + step]
            # Beyond the end stands what looks available.
            beyond = descriptor(0, bits(wrap)) * ((step - len(part)) // 16)
            self.beats.append({"data": int.from_bytes(part + beyond, "little"), "bytes": len(part), "first": at == 0,
                               "last": at + step >= len(content), "queue": 0, "status": status, "behind": behind,
                               "context": context})
        self.batches += 1

    def run(self):
        dut, self.committed, self.errors, retired = self.dut, [], 0, []
        bench = StreamBench(dut, seed=self.seed)

        async def initialise(ctx):
            ctx.set(dut.init.valid, 1)
            ctx.set(dut.config, {"size": self.size, "descriptors": self.base})
            await ctx.tick()
            ctx.set(dut.init.valid, 0)

        async def watch(ctx):
            while len(retired) < self.batches:
                await ctx.tick()
                write = ctx.get(dut.cache)
                self.errors += ctx.get(dut.error)
                if write.valid:
                    self.committed.append((write.slot, write.chain.id, write.chain.last))
                if ctx.get(dut.retired):
                    retired.append(1)
        bench.process(initialise)
        bench.process(watch)
        bench.put(dut.beats, self.beats, stall=self.stall)
        reports = bench.get(dut.reports, stall=self.stall)
        bench.run(settle=10)
        self.seen = [(r.until.index, r.until.wrap, r.on) if r.seen else None for r in reports if not r.full]
        return [(r.full, r.chain, r.position.index, r.slot, r.count) if not r.full else ("full", r.chain, r.count)
                for r in reports]


@pytest.mark.parametrize("width", [128, 256, 512])
@pytest.mark.parametrize("wrap", [0, 1])
@pytest.mark.requirements("PKD-006", "PKD-012", "PKD-016", "PKD-043")
def test_available_in_this_pass_only(width, wrap):
    """Every value of both bits, against the wrap counter of the pass; nothing after the first bad one is used."""
    for wrong in (0, 0x8080, bits(1 - wrap)):
        judge = Judge(width)
        judge.batch([bits(wrap), bits(wrap) | WRITE, bits(wrap), wrong, bits(wrap)], index=7, wrap=wrap, slot=4)
        assert judge.run() == [(0, 0, 10, 7, 3)]
        assert judge.committed == [(4, 1, 1), (5, 2, 1), (6, 3, 1)]


@pytest.mark.parametrize("width", [128, 256, 512])
def test_full_batches(width):
    judge = Judge(width, stall=0.4)
    for n in range(4):
        judge.batch([bits(1)] * 3 + [bits(1) | NEXT], slot=6 * n, first=6 * n)
        judge.batch([bits(1)] * 2, index=4, slot=6 * n + 4, first=6 * n + 4)
    assert judge.run() == [("full", 1, 4), ("full", 0, 2)] * 4


@pytest.mark.requirements("PKD-006", "PKD-046")
def test_stale_elements_are_not_taken():
    """The head's line was sampled after the driver wrote it, the next one before: what is there is of an older pass."""
    for stale in (0, 0x8080 | WRITE, bits(0) | NEXT):
        judge = Judge()
        judge.batch([bits(1) | NEXT, stale, bits(1)], index=3)
        assert judge.run() == [(0, 1, 4, 1, 1)]
        assert judge.committed == [(0, 1, 0)]


@pytest.mark.requirements("PKD-012", "PKD-046")
def test_elements_without_bits_are_trusted_when_read_again():
    """Drivers may maintain AVAIL and USED of heads only. Trust ends with the chain."""
    judge = Judge()
    judge.batch([bits(1) | NEXT, NEXT, NEXT, 0, bits(1)], index=3)
    judge.batch([bits(1), bits(1)], index=8, slot=5)                          # fetched ahead, thrown away
    judge.batch([NEXT, NEXT, 0, bits(1) | NEXT, 0], index=4, slot=1, first=2, epoch=1)
    assert judge.run() == [(0, 1, 4, 1, 1), (0, 1, 8, 5, 4)] and judge.seen == [None, None]
    assert judge.committed == [(0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 4, 1), (4, 5, 0)]


def test_no_trust_for_the_next_head():
    judge = Judge()
    judge.batch([bits(1) | NEXT, 0], index=3)
    judge.batch([0, 0], index=4, slot=1, first=2, epoch=1)
    assert judge.run() == [(0, 1, 4, 1, 1), (0, 0, 5, 2, 1)]
    assert judge.committed == [(0, 1, 0), (1, 2, 1)]


def test_no_trust_before_the_head_was_seen():
    """A batch fetched ahead, in the same epoch as the head, is not newer than the head."""
    judge = Judge()
    judge.batch([bits(1) | NEXT])
    judge.batch([0], index=1, slot=1)
    assert judge.run() == [("full", 1, 1), (0, 1, 1, 1, 0)]


@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("base", range(0, 64, 16))
@pytest.mark.requirements("PKD-006", "PKD-012")
def test_the_line_that_shows_the_head(width, base):
    """What stands in it counts whatever its bits; what stands in the next one does not, though its bits be right."""
    for index in range(4):
        for element in (0, bits(1)):
            judge = Judge(width, base=base)
            judge.batch([bits(1), bits(1) | NEXT] + [element | NEXT] * 4, index=index)
            left = 3 - (base // 16 + index + 1) % 4
            assert judge.run() == [(0, 1, index + 2 + left, 2 + left, 2 + left)]


HEAD, ELEMENT, LAST, STALE = bits(1), bits(1) | NEXT, bits(1), 0x8080


@pytest.mark.parametrize("line, good", [
    ([LAST, HEAD], 2), ([LAST, STALE], 0), ([LAST], 0), ([ELEMENT, LAST, HEAD], 3), ([ELEMENT, LAST, STALE, HEAD], 0),
    ([ELEMENT, ELEMENT, LAST, HEAD], 4), ([STALE | NEXT, LAST, HEAD], 0), ([ELEMENT, STALE, HEAD], 0),
    ([ELEMENT, STALE | NEXT, LAST, HEAD], 0), ([STALE, HEAD], 0), ([ELEMENT, ELEMENT, ELEMENT, LAST, HEAD], 0)])
@pytest.mark.requirements("PKD-006", "PKD-046")
def test_the_line_that_shows_the_next_head(line, good):
    """With right bits up to the chain's end, which else is not known, and no further than the line or the read goes."""
    for index, lanes in ((4, 4), (5, 3), (6, 2), (7, 1)):
        judge = Judge(512)
        judge.batch([HEAD] * 2 + [HEAD | NEXT], index=1)
        judge.batch(line, index=index, slot=3)
        [_, second] = judge.run()
        assert (second[-1] if second[0] == "full" or second[1] else None) == (good if good <= lanes else 0)


@pytest.mark.requirements("PKD-006", "PKD-046")
def test_what_is_seen_while_it_is_thrown_away():
    """Up to the first one that is not available, or up to the last one under way; never beyond a read that failed."""
    full = [HEAD | NEXT] * 8
    for behind, status, last, expected in [
            (0, ReadStatus.OK, full, (9, 1, 1)), (1, ReadStatus.OK, full, (15, 1, 1)),
            (1, ReadStatus.OK, full[:5] + [STALE], (14, 1, 0)), (1, ReadStatus.TIMEOUT, full, (9, 1, 0))]:
        judge = Judge(512)
        judge.batch([HEAD | NEXT], index=0)
        judge.batch(full, index=1, slot=1, behind=behind)
        judge.batch(last[:6], index=9, slot=9, status=status)
        assert judge.run() == [("full", 1, 1), (0, 1, 1, 1, 0)]
        assert judge.seen == [expected] and judge.errors == 0


@pytest.mark.requirements("PKD-006", "PKD-012")
def test_elements_that_were_told_are_taken_at_once():
    """Whatever their bits, also in the batches behind that of their head; the next head is judged."""
    judge = Judge()
    judge.batch([bits(1) | NEXT, NEXT, 0, bits(1) | NEXT], told=1)
    judge.batch([bits(0) | NEXT, 0x8080], index=4, slot=4, first=5, told=1)
    judge.batch([0x8080], index=6, slot=6, first=7, told=1)
    assert judge.run() == [("full", 1, 4), ("full", 0, 2), (0, 0, 6, 6, 0)]
    assert [last for _, _, last in judge.committed] == [0, 0, 1, 0, 0, 1]


@pytest.mark.requirements("PKD-025")
def test_chain_across_the_end():
    judge = Judge(size=4)
    judge.batch([bits(1) | NEXT], index=3, wrap=1)
    judge.batch([bits(0) | NEXT, bits(0), bits(0)], index=0, wrap=0, slot=1, first=2)
    assert judge.run() == [("full", 1, 1), ("full", 0, 3)]


@pytest.mark.parametrize("size, until", [(16, (0, 0, 1)), (17, (16, 1, 1))])
def test_what_is_seen_at_the_end(size, until):
    judge = Judge(512, size=size)
    judge.batch([HEAD | NEXT], index=7)
    judge.batch([HEAD | NEXT] * 8, index=8, slot=1)
    assert judge.run() == [("full", 1, 1), (0, 1, 8, 1, 0)] and judge.seen == [until]


def test_broken_rules():
    """The queue stops; other batches of it are not used."""
    judge = Judge(size=3)
    judge.batch([bits(1) | NEXT] * 3 + [bits(1)])
    judge.batch([bits(1)], slot=4)
    assert judge.run() == [] and judge.errors == 1
    assert len(judge.committed) == 2


@pytest.mark.requirements("PKD-023")
def test_chain_as_long_as_the_ring():
    judge = Judge(size=3)
    judge.batch([bits(1) | NEXT, bits(1) | NEXT, bits(1)])
    assert judge.run() == [("full", 0, 3)] and judge.errors == 0


@pytest.mark.parametrize("status", [status for status in ReadStatus if status is not ReadStatus.OK])
def test_failed_reads(status):
    judge = Judge()
    judge.batch([bits(1)] * 4, status=status)
    judge.batch([bits(1)], slot=4)
    reports = judge.run()
    assert judge.errors == (status is not ReadStatus.DISCARDED)
    assert len(reports) == len(judge.committed) == (status is ReadStatus.DISCARDED)


@pytest.mark.parametrize("seed", range(3))
def test_rewind_waits_for_its_own_epoch(seed):
    """A rewind right after a bad descriptor: batches of both older epochs are still to come, and none counts."""
    judge = Judge(seed=seed)
    dut, rng = judge.dut, random.Random(seed)
    judge.batch([bits(1) | NEXT, bits(1) | NEXT, 0], index=2)
    judge.batch([bits(1)] * 2, index=5, slot=3, first=50)                     # epoch 0: fetched ahead
    judge.batch([bits(1)] * 2, index=4, slot=2, first=60, epoch=1)            # asked for because of the bad one
    judge.batch([NEXT, NEXT, 0], index=2, slot=2, first=1, epoch=2)
    bench = StreamBench(dut, seed=seed)
    committed, rewound = [], []

    async def drive(ctx):
        ctx.set(dut.init.valid, 1)
        ctx.set(dut.config.size, 64)
        await ctx.tick()
        ctx.set(dut.init.valid, 0)

    async def rewind(ctx):
        await ctx.tick().until(dut.reports.valid)
        ctx.set(dut.rewinds.payload, {"queue": 0, "position": {"index": 2, "wrap": 1}, "slot": 2, "chain": 0})
        ctx.set(dut.rewinds.valid, 1)
        await ctx.tick().until(dut.rewinds.ready)
        ctx.set(dut.rewinds.valid, 0)
        await ctx.tick().until(dut.rewound)
        rewound.append(ctx.get(dut.progress.slot))

    async def feed(ctx):
        for number, beat in enumerate(judge.beats):
            if number == 2:
                while not rewound:
                    await ctx.tick()
            ctx.set(dut.beats.payload, beat)
            ctx.set(dut.beats.valid, 1)
            await ctx.tick().until(dut.beats.ready)
            ctx.set(dut.beats.valid, 0)
            while rng.random() < 0.3:
                await ctx.tick()

    async def watch(ctx):
        while len(committed) < 5:
            await ctx.tick()
            write = ctx.get(dut.cache)
            if write.valid:
                committed.append((write.slot, write.chain.id))
    for process in (drive, rewind, feed, watch):
        bench.process(process)
    bench.get(dut.reports)
    bench.run(settle=20)
    assert committed == [(0, 1), (1, 2), (2, 1), (3, 2), (4, 3)] and rewound == [2]
