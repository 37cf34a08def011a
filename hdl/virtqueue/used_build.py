"""Turning runs of used descriptors into memory-write TLPs."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.pcie.spec import MemoryRequest, TlpType
from hdl.stream import TlpBeat

from .spec import Descriptor
from .stages import Published
from .used_run import Entry, Run

__all__ = ["RunBuilder"]


class RunBuilder(wiring.Component):
    """Writes each run with one TLP: from byte 8 of its first slot (length, id, flags) to the end of its last.

    So every used descriptor's length, id and flags stand at a multiple of 16 bytes of the payload, a row of entries is
    a beat, and the address fields between them are written as 0. A beat a cycle, also from one run to the next;
    2 cycles from `runs` to `o`. Requester and tag are left 0.

    Parameters
    ----------
    width : int
    queue_bits : int
    shape : RunShape

    Attributes
    ----------
    runs : stream in
    row_address, row_enable : Out
        read of the entry memory: queue and row
    row : In
        entries of that row, one cycle later, held while not `row_enable`
    start : In(1)
        a further TLP may be begun
    started : Out(valid and Published)
        a TLP is begun; what it publishes, before `o` shows it
    freed : Out({valid, queue, row})
        rows up to `row` are read
    discard : In(1)
        runs not begun are dropped
    o : TLP stream out
    """

    def __init__(self, width, queue_bits, shape):
        self.width = width
        self.queue_bits = queue_bits
        self.shape = shape
        super().__init__({
            "runs": In(stream.Signature(Run(queue_bits, shape))),
            "row_address": Out(queue_bits + shape.row_bits),
            "row_enable": Out(1),
            "row": In(data.ArrayLayout(Entry, shape.lanes)),
            "start": In(1),
            "started": Out(data.StructLayout({"valid": 1, "run": Published(queue_bits)})),
            "freed": Out(data.StructLayout({"valid": 1, "queue": queue_bits, "row": shape.row_bits + 1})),
            "discard": In(1),
            "o": Out(stream.Signature(TlpBeat(width))),
        })

    def elaborate(self, platform):
        m = Module()
        shape, run = self.shape, self.runs.payload
        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)

        # First cycle: address the next row.
        beat = Signal(range(shape.run_rows))
        remaining = Signal(shape.count)
        first, last, read = Signal(), Signal(), Signal()
        drop = self.discard & first
        row = run.row + beat
        m.d.comb += [
            remaining.eq(run.count - (beat << shape.lane_bits)),
            first.eq(beat == 0),
            last.eq(remaining <= shape.lanes),
            read.eq(self.runs.valid & advance & ~drop & (self.start | ~first)),
            self.row_address.eq(Cat(row[:shape.row_bits], run.queue)),
            self.row_enable.eq(advance),
            self.runs.ready.eq(drop | (read & last)),
            self.started.valid.eq(read & first),
            *[self.started.run[field].eq(run[field]) for field in ("queue", "next", "slots", "buffers")],
            self.freed.valid.eq(self.runs.valid & self.runs.ready),
            self.freed.queue.eq(run.queue),
            self.freed.row.eq(row + 1),
        ]
        with m.If(read):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))

        # Second cycle: the row is there.
        pending = Signal(data.StructLayout({
            "valid": 1, "first": 1, "last": 1, "wrap": 1, "address": 64, "count": shape.count,
            "lanes": range(shape.lanes + 1)}))
        with m.If(advance):
            m.d.sync += [
                pending.valid.eq(read),
                pending.first.eq(first),
                pending.last.eq(last),
                pending.wrap.eq(run.wrap),
                pending.address.eq(run.address),
                pending.count.eq(run.count),
                pending.lanes.eq(Mux(last, remaining, shape.lanes)),
                self.o.valid.eq(pending.valid),
                self.o.payload.eq(self._beat(m, pending)),
            ]
        return m

    def _beat(self, m, pending):
        beat = Signal(TlpBeat(self.width))
        header = Signal(MemoryRequest())
        four_dw, high, low = MemoryRequest.place_address(pending.address)
        m.d.comb += [
            header.type.eq(TlpType.MEMORY.value),
            header.with_data.eq(1),
            header.four_dw.eq(four_dw),
            header.length.eq((pending.count << 2) - 2),
            header.first_be.eq(0xf),
            header.last_be.eq(0xf),
            header.high.eq(high),
            header.low.eq(low),
            beat.first.eq(pending.first),
            beat.last.eq(pending.last),
            beat.header.eq(header),
        ]
        # The last used descriptor of a run is not followed by an address field.
        for lane in range(self.shape.lanes):
            followed = lane + 1 < pending.lanes if lane + 1 < self.shape.lanes else C(0)
            m.d.comb += [
                beat.keep[4 * lane:4 * lane + 2].eq(Mux(lane < pending.lanes, 3, 0)),
                beat.keep[4 * lane + 2:4 * lane + 4].eq(Mux(followed | ~pending.last, 3, 0)),
            ]
        for lane in range(self.shape.lanes):
            entry = self.row[lane]
            used = Signal(Descriptor, name=f"used{lane}")
            m.d.comb += [
                used.length.eq(entry.length),
                used.id.eq(entry.id),
                used.flags.write.eq(entry.written),
                used.flags.avail.eq(pending.wrap),
                used.flags.used.eq(pending.wrap),
                beat.data.word_select(lane, 128).eq(Value.cast(used)[64:]),
            ]
        return beat
