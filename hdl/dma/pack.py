"""Rows of slots into a packed byte stream per client."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .read_records import READ_CLIENTS, ReadRow
from .slots import rotate_lanes
from .spec import ReadBeat

__all__ = ["Packer"]


class Packer(wiring.Component):
    """Joins the bytes of a transaction's rows without gaps.

    The bytes that do not fill a beat wait in the *residue*. It is given out when the next row brings more than fits,
    when a row makes it `whole`, or when the transaction ends; so no row ever causes more than one beat, and a row a
    cycle is taken. What is left at a transaction's end goes out in the next cycle, beside the first row of the next
    transaction, which never needs to.

    From `row` to `o_<client>`: 2 cycles, or 3 for what is left at the end. `advance` is 0, and everything stands, while
    a beat is refused.

    Parameters
    ----------
    width, pair_bits : int

    Attributes
    ----------
    valid : In(1), row : In(ReadRow), data : In(width)
        a row; DW lanes as in the slot
    advance : Out(1)
    o_<client> : streams of `ReadBeat`, out
    taken_<client> : Out(1)
        a beat of the client is transferred
    """

    def __init__(self, width, pair_bits):
        self.width = width
        self.pair_bits = pair_bits
        beat = ReadBeat(width, pair_bits)
        super().__init__({
            "valid": In(1), "row": In(ReadRow(width, pair_bits)), "data": In(width),
            "advance": Out(1),
            **{f"o_{client.name}": Out(stream.Signature(beat)) for client in READ_CLIENTS},
            **{f"taken_{client.name}": Out(1) for client in READ_CLIENTS},
        })

    def elaborate(self, platform):
        m = Module()
        turned_data = rotate_lanes(m, self.data, 8, self.row.rotate, "turned")
        turned = Signal(self.width)
        old = Signal(self.width // 8)     # lanes that the residue fills
        row = Signal.like(self.row)
        valid = Signal()
        with m.If(self.advance):
            m.d.sync += [turned.eq(turned_data), row.eq(self.row), valid.eq(self.valid)]
            m.d.sync += [old[lane].eq(lane < self.row.held) for lane in range(self.width // 8)]

        beat = Signal(ReadBeat(self.width, self.pair_bits))
        gives = Signal()
        self._merge(m, valid, row, turned, old, beat, gives)
        self._send(m, beat, gives)
        return m

    def _merge(self, m, valid, row, turned, old, beat, gives):
        full = self.width // 8
        residue = Signal(self.width)
        count = Signal(range(full + 1))
        ended = Signal()               # the residue is the end of a transaction
        begun = Signal()               # a beat of the residue's transaction has been given
        of_residue = Signal.like(row)
        merged = Signal(self.width)
        for lane in range(full):
            byte = slice(8 * lane, 8 * lane + 8)
            m.d.comb += merged[byte].eq(Mux(old[lane], residue[byte], turned[byte]))
        overflows = row.total > full
        source = Signal.like(row)
        m.d.comb += [
            source.eq(Mux(ended, of_residue.as_value(), row.as_value())),
            beat.client.eq(source.domain.client), beat.queue.eq(source.domain.queue), beat.status.eq(source.status),
            beat.behind.eq(source.behind), beat.context.eq(source.context),
            beat.data.eq(Mux(ended, residue, merged)),
            beat.bytes.eq(Mux(ended, count, Mux(overflows, full, row.total))),
            beat.first.eq(~begun | (row.first & ~ended)),
            beat.last.eq(ended | (row.last & ~overflows)),
            gives.eq(ended | (valid & (overflows | row.whole | row.last))),
        ]
        with m.If(self.advance):
            with m.If(valid):
                m.d.sync += [
                    of_residue.eq(row),
                    residue.eq(Mux(overflows, turned, merged)),
                    count.eq(Mux(overflows, row.total - full, row.total)),
                    ended.eq(row.last & (ended | overflows)),
                    begun.eq((begun & ~row.first) | (gives & ~ended)),
                ]
            with m.Else():
                m.d.sync += ended.eq(0)

    def _send(self, m, beat, gives):
        """Output register, one valid bit per client."""
        out = Signal.like(beat)
        valids, transfers = [], []
        for client in READ_CLIENTS:
            port = getattr(self, f"o_{client.name}")
            taken = getattr(self, f"taken_{client.name}")
            valid = Signal(name=f"{client.name}_valid")
            m.d.comb += [port.payload.eq(out), port.valid.eq(valid), taken.eq(valid & port.ready)]
            with m.If(self.advance):
                m.d.sync += valid.eq(gives & (beat.client == client.client))
            valids.append(valid)
            transfers.append(taken)
        m.d.comb += self.advance.eq(~Cat(valids).any() | Cat(transfers).any())
        with m.If(self.advance):
            m.d.sync += out.eq(beat)
