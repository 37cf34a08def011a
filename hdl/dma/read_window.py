"""How much of packets may be asked for before it has come."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReadWindow"]


class ReadWindow(wiring.Component):
    """Keeps data reads from piling up before the link, where every other answer would have to wait behind them.

    More reads under way than the link needs to be busy bring nothing: their completions stand in line at the host, and
    so do descriptors and the answers that decide on interrupts. What is needed is what the link brings while a read
    takes its way. Neither is known, so both are measured. Time is cut into *epochs*, each twice as long as the fastest
    read, and `SLACK` cycles for the way up. The window is as much as came in the best epoch of late: while the link is
    not full that is more than was under way, so the window grows, about twofold in an epoch; once it is full the window
    stays at twice what is needed. It shrinks slowly, by a sixteenth of the difference in an epoch, and not below
    `LEAST`. Now and then, for one epoch in `PROBE`, it is `LEAST`, so that nothing stands in line: then the fastest
    read is found anew, however the host has changed.

    The first `FREE` bytes of a read don't count: how many small ones are under way is a matter of tags.

    Parameters
    ----------
    tag_bits : int
    read_bytes, most_bytes : int
        most bytes of a read, of all that may be under way

    Attributes
    ----------
    taken : In({valid, tag, length, bulk})
        a read is given its tag; only those of a bulk client count
    retired : In({valid, tag, sent})
        a tag's read has ended; one that was not `sent` tells nothing of the host
    open : Out(1)
        another bulk read may be begun; it takes account of what happened up to 3 cycles ago
    """

    FREE, LEAST, SLACK, PROBE = 64, 8192, 128, 256
    TIME_BITS = 16

    def __init__(self, tag_bits, read_bytes, most_bytes):
        self.tag_bits, self.read_bytes = tag_bits, read_bytes
        self.most_bytes = max(most_bytes, 2 * self.LEAST)
        super().__init__({
            "taken": In(data.StructLayout({"valid": 1, "tag": tag_bits, "length": range(read_bytes + 1), "bulk": 1})),
            "retired": In(data.StructLayout({"valid": 1, "tag": tag_bits, "sent": 1})),
            "open": Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        under_way = Signal(range(self.most_bytes + 1))
        probe, limit = Signal(init=1), Signal(range(2 * self.most_bytes), init=self.LEAST)
        came, trip, told = self._follow(m, under_way)
        m.d.sync += self.open.eq(under_way <= Mux(probe, self.LEAST, limit))

        # Of the epoch at hand: cycles left, bytes that came, and its fastest read. The wide comparisons have a cycle of
        # their own: what comes in an epoch's last one doesn't count.
        left, got = Signal(self.TIME_BITS + 2, init=9 * self.SLACK), Signal.like(limit, init=0)
        least, fastest = Signal(self.TIME_BITS, init=-1), Signal(self.TIME_BITS, init=4 * self.SLACK)
        ends, number = Signal(), Signal(range(self.PROBE))
        shrunk, following = Signal.like(limit), Signal.like(limit)
        m.d.comb += shrunk.eq(limit - ((limit - got) >> 4))
        m.d.sync += [
            left.eq(left - 1), ends.eq(left == 1), probe.eq(number == 0),
            following.eq(Mux(got >= limit, got, Mux(shrunk < self.LEAST, self.LEAST, shrunk))),
        ]
        with m.If(~got[-1]):
            m.d.sync += got.eq(got + came)
        with m.If(told & (trip < least)):
            m.d.sync += least.eq(trip)
        with m.If(ends):
            m.d.sync += [left.eq((fastest << 1) + self.SLACK), got.eq(0), least.eq(-1), number.eq(number + 1)]
            with m.If(~probe):
                m.d.sync += limit.eq(following)
            with m.If((least < fastest) | (probe & ~least.all())):
                m.d.sync += [fastest.eq(least), left.eq((least << 1) + self.SLACK)]
        return m

    def _follow(self, m, under_way):
        """Counts what is `under_way`; returns what came in this cycle, how long it took, and whether that counts."""
        entry = data.StructLayout({"time": self.TIME_BITS, "bytes": range(self.read_bytes + 1), "bulk": 1})
        m.submodules.reads = reads = memory.Memory(shape=entry, depth=1 << self.tag_bits, init=[])
        write, read = reads.write_port(), reads.read_port(domain="comb")
        now, asked, counted = Signal(self.TIME_BITS), Signal(range(self.read_bytes + 1)), Signal.like(self.taken.length)
        came, trip, told = Signal.like(asked), Signal(self.TIME_BITS), Signal()
        m.d.comb += [
            counted.eq(Mux(self.taken.bulk & (self.taken.length >= self.FREE), self.taken.length - self.FREE, 0)),
            write.en.eq(self.taken.valid), write.addr.eq(self.taken.tag),
            write.data.time.eq(now), write.data.bytes.eq(counted), write.data.bulk.eq(self.taken.bulk),
            read.addr.eq(self.retired.tag),
        ]
        m.d.sync += [
            now.eq(now + 1),
            asked.eq(Mux(self.taken.valid, counted, 0)), came.eq(Mux(self.retired.valid, read.data.bytes, 0)),
            trip.eq(now - read.data.time), told.eq(self.retired.valid & self.retired.sent & read.data.bulk),
            under_way.eq(under_way + asked - came),
        ]
        return came, trip, told
