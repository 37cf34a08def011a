"""A transaction's slots, row by row."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .read_records import DomainLayout, ReadOpened, ReadReady, ReadRetired, ReadRow
from .spec import CONTEXT_BITS, ReadStatus

__all__ = ["RowReader"]


class RowReader(wiring.Component):
    """Reads the slots of one transaction after the other, one row a cycle without a gap, and gives their tags back.

    From `transactions` to the first of `rows`: 2 cycles.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    opened, retired : streams of `ReadOpened`, `ReadRetired`, in, always ready
    transactions : stream of `ReadReady`, in
    advance : In(1)
        the packer moves; otherwise everything here stands
    slot, row, enable : Out
        the row to be read from the slot memory; its data and `rows` are valid together
    valid : Out(1), rows : Out(ReadRow)
    release : stream of {tag, quarantined}, out
        a slot has been read
    following, behind : In; domain, last_tag : Out
        look-ups in `OrderLists`, by `slot` and by (`domain`, `last_tag`), in the same cycle
    """

    def __init__(self, config):
        self.config = config
        tag = config.tag_bits
        super().__init__({
            "opened": In(stream.Signature(ReadOpened(config), always_ready=True)),
            "retired": In(stream.Signature(ReadRetired(tag), always_ready=True)),
            "transactions": In(stream.Signature(ReadReady(config))),
            "advance": In(1),
            "slot": Out(tag), "row": Out(range(max(2, config.read_bytes // config.bytes_per_beat))), "enable": Out(1),
            "valid": Out(1), "rows": Out(ReadRow(config.width, config.pair_bits)),
            "release": Out(stream.Signature(data.StructLayout({"tag": tag, "quarantined": 1}))),
            "following": In(tag), "behind": In(1),
            "domain": Out(DomainLayout(config.pair_bits)), "last_tag": Out(tag),
        })

    def elaborate(self, platform):
        m = Module()
        beat = self.config.bytes_per_beat
        bits = beat.bit_length() - 1
        geometry, status, context = self._look_up(m)
        active, first = Signal(), Signal()
        worst = Signal(ReadStatus)        # of the slots read before this one
        held = Signal(range(beat + 1))    # bytes that the packer holds of this transaction
        whole = Signal()
        late = Signal()                   # beside this row the packer gives what is left of the transaction before

        row_last, ends, reads = Signal(), Signal(), Signal()
        start, total = Signal(2), Signal(range(2 * beat + 1))
        base = Signal(signed(bits + 2))   # place in the packer's beat of the row's lane 0, which may hold no byte of it
        status_now = Signal(ReadStatus)
        m.d.comb += [
            row_last.eq(self.row == geometry.last_row),
            ends.eq(row_last & (self.slot == self.last_tag)),
            start.eq(Mux(self.row == 0, geometry.offset, 0)),
            base.eq(held - start),
            total.eq(base + Mux(row_last, geometry.top, beat)),
            whole.eq((total == beat) & ~row_last & ~late),
            status_now.eq(Mux(status.as_value() > worst.as_value(), status, worst)),
            self.enable.eq(self.advance),
            self.release.valid.eq(active & self.advance & row_last),
            self.release.payload.tag.eq(self.slot),
            self.release.payload.quarantined.eq(status == ReadStatus.TIMEOUT),
            reads.eq(active & self.advance & ~(row_last & ~self.release.ready)),
            self.transactions.ready.eq(~active | (reads & ends)),
        ]
        with m.If(self.advance):
            m.d.sync += [
                self.valid.eq(reads),
                self.rows.rotate.eq(base), self.rows.held.eq(held), self.rows.total.eq(total),
                self.rows.whole.eq(whole), late.eq(reads & ends & (late | (total > beat))),
                self.rows.first.eq(first), self.rows.last.eq(ends), self.rows.domain.eq(self.domain),
                self.rows.status.eq(status_now), self.rows.behind.eq(self.behind),
                self.rows.context.eq(context),
            ]
        with m.If(reads):
            m.d.sync += [
                self.row.eq(self.row + 1),
                # What is left after a full beat, or a full beat if nothing is left but something was there.
                held.eq(Cat(total[:bits], ~total[:bits].any() & total.any() & ~whole)), first.eq(0),
            ]
            with m.If(row_last):
                m.d.sync += [self.row.eq(0), self.slot.eq(self.following), worst.eq(status_now)]
        with m.If(self.transactions.ready):
            chosen = self.transactions.payload
            m.d.sync += [
                active.eq(self.transactions.valid),
                self.slot.eq(chosen.first), self.row.eq(0), self.last_tag.eq(chosen.last),
                self.domain.eq(chosen.domain),
                first.eq(1), held.eq(0), worst.eq(ReadStatus.OK),
            ]
        return m

    def _look_up(self, m):
        """Geometry and status of the slot, and what the last tag of the transaction says of it."""
        config = self.config
        opened, retired = self.opened.payload, self.retired.payload
        views = []
        for name, shape, port, fields, address in (
                ("geometries", opened.geometry.shape(), self.opened, opened.geometry, self.slot),
                ("statuses", ReadStatus, self.retired, retired.status, self.slot),
                ("contexts", CONTEXT_BITS, self.opened, opened.context, self.last_tag)):
            m.submodules[name] = store = memory.Memory(shape=shape, depth=config.tags, init=[])
            write, read = store.write_port(), store.read_port(domain="comb")
            m.d.comb += [
                write.addr.eq(port.payload.tag), write.en.eq(port.valid), Value.cast(write.data).eq(fields),
                read.addr.eq(address),
            ]
            views.append(read.data)
        return views
