"""Tags of non-posted requests: which are free, and which of them may be used."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["TagPool", "TAGS_WITHOUT_EXTENDED"]


# PCIe Base 4.0, 2.2.6.2: without Extended Tag Field Enable only tags 0 to 31 are used.
TAGS_WITHOUT_EXTENDED = 32


class _FreeList(wiring.Component):
    """Ring of the free ones among tags `base` to `stop - 1`; each is in it at most once, so it never overflows.

    `stop` is a power of 2. While `fill`, tag `index` is put in its own place; `index` counts up from `base` to the end.
    """

    def __init__(self, base, stop):
        self.base = base
        self.stop = stop
        bits = ceil_log2(stop)
        super().__init__({
            "fill": In(1), "index": In(bits),
            "take": In(1), "tag": Out(bits),
            "give": In(1), "given": In(bits),
            "level": Out(range(stop - base + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = memory.Memory(shape=len(self.tag), depth=self.stop, init=[])
        write = ring.write_port()
        read = ring.read_port(domain="comb")
        head = Signal.like(self.index)
        tail = Signal.like(self.index)
        m.d.comb += [
            read.addr.eq(head),
            self.tag.eq(read.data),
            write.addr.eq(Mux(self.fill, self.index, tail)),
            write.data.eq(Mux(self.fill, self.index, self.given)),
            write.en.eq(self.fill | self.give),
        ]
        with m.If(self.fill):
            m.d.sync += [head.eq(self.base), tail.eq(self.stop), self.level.eq(self.stop - self.base)]
        with m.Else():
            m.d.sync += [
                head.eq(head + self.take),
                tail.eq(tail + self.give),
                self.level.eq(self.level + self.give - self.take),
            ]
        return m


class TagPool(wiring.Component):
    """Free tags, oldest first, so that a tag rests as long as possible before it is used again.

    A quarantined tag is free only when it has been given back twice: once by who used it (`release`) and once because
    its late completion has come (`late`), in either order. One of them is taken a cycle; `late` goes first.

    Parameters
    ----------
    tags : int
        power of 2, 16 to 256

    Attributes
    ----------
    extended : In(1)
        Extended Tag Field Enable: tags from 32 on may be taken
    initialise, index : In
        while `initialise`, `index` counts through all tags once: every tag is free afterwards
    usable : Out(range(tags + 1))
        tags that may be taken now; `tag` is valid when it is not 0
    tag : Out; take : In(1)
        `tag` is taken in this cycle
    release : stream of {tag, quarantined}, in
    late : stream of tags, in, always ready
    """

    def __init__(self, tags):
        if tags not in (16, 32, 64, 128, 256):
            raise ValueError(f"tags must be a power of 2 from 16 to 256, not {tags!r}")
        self.tags = tags
        bits = ceil_log2(tags)
        super().__init__({
            "extended": In(1),
            "initialise": In(1), "index": In(bits),
            "usable": Out(range(tags + 1)),
            "tag": Out(bits), "take": In(1),
            "release": In(stream.Signature(data.StructLayout({"tag": bits, "quarantined": 1}))),
            "late": In(stream.Signature(bits, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        given, free = self._judge(m)
        low_count = min(self.tags, TAGS_WITHOUT_EXTENDED)
        m.submodules.low = low = _FreeList(0, low_count)
        if self.tags == low_count:
            m.d.comb += [
                self.usable.eq(low.level), self.tag.eq(low.tag), low.take.eq(self.take),
                low.fill.eq(self.initialise), low.index.eq(self.index), low.give.eq(free), low.given.eq(given),
            ]
            return m
        m.submodules.high = high = _FreeList(low_count, self.tags)
        is_high = Signal()
        m.d.comb += [
            # High ones first: the low ones are then left if Extended Tag Field Enable is taken away.
            is_high.eq(self.extended & (high.level != 0)),
            self.usable.eq(low.level + Mux(self.extended, high.level, 0)),
            self.tag.eq(Mux(is_high, high.tag, low.tag)),
            high.take.eq(self.take & is_high), low.take.eq(self.take & ~is_high),
            low.fill.eq(self.initialise & (self.index < low_count)), low.index.eq(self.index),
            high.fill.eq(self.initialise & (self.index >= low_count)), high.index.eq(self.index),
            low.give.eq(free & (given < low_count)), low.given.eq(given),
            high.give.eq(free & (given >= low_count)), high.given.eq(given),
        ]
        return m

    def _judge(self, m):
        """(tag, is it free now) for the one that is given back in this cycle."""
        m.submodules.once = once = memory.Memory(shape=1, depth=self.tags, init=[])
        read = once.read_port(domain="comb")
        write = once.write_port()
        given = Signal.like(self.tag)
        gives = Signal()
        twice = Signal()
        m.d.comb += [
            given.eq(Mux(self.late.valid, self.late.payload, self.release.payload.tag)),
            gives.eq(self.late.valid | self.release.valid),
            twice.eq(self.late.valid | self.release.payload.quarantined),
            self.release.ready.eq(~self.late.valid),
            read.addr.eq(given),
            write.addr.eq(Mux(self.initialise, self.index, given)),
            write.data.eq(~self.initialise & ~read.data),
            write.en.eq(self.initialise | (gives & twice)),
        ]
        return given, gives & (~twice | read.data)
