"""Whole frames in block memory."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat

__all__ = ["FrameBuffer"]


class FrameBuffer(wiring.Component):
    """Store and forward: rows of a frame are written one by one and can be read only once the frame is committed.

    So a frame comes out in consecutive cycles if the reader takes it so. One row written and one read a cycle; a row
    committed in one cycle is offered 2 cycles later, by the memory's output register. A row's place is free again then.

    Parameters
    ----------
    width : int
        bits per row
    size : int
        bytes, a power of 2
    sideband : dict
        further fields of a row

    Attributes
    ----------
    row : In(PacketBeat(width, sideband)); write : In(1)
        put `row` behind the rows written; only while `used` is below `rows`
    commit : In(1)
        all rows written, that of this cycle included, become readable
    abort : In(1)
        rows written since the last commit are forgotten, that of this cycle included; not together with `commit`
    used : Out(range(rows + 1))
        rows occupied, committed or not
    empty : Out(1)
        no committed row inside
    o : Out(stream(PacketBeat(width, sideband)))
    """

    def __init__(self, width, size, sideband=None):
        self.shape = PacketBeat(width, sideband)
        self.rows = size * 8 // width
        if self.rows < 4 or self.rows & (self.rows - 1):
            raise ValueError(f"a frame buffer of {width} bits a row takes a power of 2 of rows, at least 4; "
                             f"{size!r} bytes are {self.rows}")
        super().__init__({
            "row": In(self.shape), "write": In(1), "commit": In(1), "abort": In(1),
            "used": Out(range(self.rows + 1)), "empty": Out(1),
            "o": Out(stream.Signature(self.shape)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.storage = storage = memory.Memory(shape=self.shape, depth=self.rows, init=[])
        writer, reader = storage.write_port(), storage.read_port()

        # Positions count twice around, so that full and empty differ.
        written, committed, read = Signal(range(2 * self.rows)), Signal(range(2 * self.rows)), \
            Signal(range(2 * self.rows))
        after = Mux(self.write, written + 1, written)[:len(written)]      # `write` comes late
        m.d.comb += [
            writer.addr.eq(written), writer.data.eq(self.row), writer.en.eq(self.write),
            self.used.eq((written - read)[:len(written)]),
        ]
        m.d.sync += written.eq(Mux(self.abort, committed, after))
        with m.If(self.commit):
            m.d.sync += committed.eq(after)

        to_fetch = ~self.o.valid | self.o.ready
        available = read != committed
        m.d.comb += [
            reader.addr.eq(read), reader.en.eq(to_fetch),
            self.o.payload.eq(reader.data),
            self.empty.eq(~available & ~self.o.valid),
        ]
        with m.If(to_fetch):
            m.d.sync += self.o.valid.eq(available)
            with m.If(available):
                m.d.sync += read.eq(read + 1)
        return m
