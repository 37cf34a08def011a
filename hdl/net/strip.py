"""Taking the virtio_net_hdr off a packet, and its parts together."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..dma.spec import ReadBeat
from ..stream import PacketBeat
from .spec import HEADER_BYTES, LONG_HEADER_BYTES, LONGEST_PACKET, VirtioNetHeader

__all__ = ["HeaderStrip"]


class HeaderStrip(wiring.Component):
    """Turns the transactions of a packet, each packed from bit 0, into rows of one frame without its header.

    Bytes are rotated to their place behind the bytes before them (first cycle), then completed to a row (second cycle).
    A packet begins at such a place that its header ends with a row: these rows are not written. A row is written when
    a byte follows it, or with the packet's end. One beat a cycle, without exception: what a packet's last beat leaves
    over is written a cycle later, when the next packet's first beat, in which its header lies, has no row to write.

    Parameters
    ----------
    width : int
        bits per beat
    pair_bits : int
        bits of a queue's local index

    Attributes
    ----------
    long_header : In(1)
        virtio_net_hdr has 20 bytes, not 12; constant while anything comes
    i : In(stream(ReadBeat(width, pair_bits)))
        `i.ready` is `enable`
    enable : In(1)
    packet_ends : In(1)
        with the beat at `i`: it ends the packet
    good, cut : In(1); bytes : In(range(LONGEST_PACKET + 1))
        a cycle after the beat was taken: the packet that ends with it is to be kept; it is too long, write no more;
        bytes of a packet that is to be kept, without header
    clear : In(1)
        forget what has come of a packet; only while no beat comes
    write, commit, abort : Out(1); row : Out(PacketBeat(width))
        to the `FrameBuffer`; `abort` comes without a row, and only if the packet has written any
    queue : Out(pair_bits)
        with `write`: local index of the queue that the packet was read from
    header : Out(VirtioNetHeader); header_complete : Out(1)
        pulse: this is the header of the packet that comes, whose first `write` is still ahead; that of the packet
        before may come in this very cycle
    total : Out(range(LONGEST_PACKET + 1))
        with `commit`: bytes of the packet without header
    idle : Out(1)
        no beat inside; part of a packet may be
    """

    def __init__(self, width, pair_bits):
        self.width = width
        self.pair_bits = pair_bits
        super().__init__({
            "i": In(stream.Signature(ReadBeat(width, pair_bits))),
            "long_header": In(1), "enable": In(1), "packet_ends": In(1), "clear": In(1),
            "good": In(1), "cut": In(1), "bytes": In(range(LONGEST_PACKET + 1)),
            "write": Out(1), "commit": Out(1), "abort": Out(1), "row": Out(PacketBeat(width)),
            "queue": Out(pair_bits),
            "header": Out(VirtioNetHeader), "header_complete": Out(1), "total": Out(range(LONGEST_PACKET + 1)),
            "idle": Out(1),
        })
        self._lanes = width // 8
        self._header_rows = -(-LONG_HEADER_BYTES // self._lanes)

    def elaborate(self, platform):
        m = Module()
        # Where a packet's first byte goes, and in how many rows its header lies then.
        begins = [-size % self._lanes for size in (HEADER_BYTES, LONG_HEADER_BYTES)]
        self._begin = Signal(range(self._lanes), init=begins[0])
        self._rows = Signal(range(self._header_rows + 1), init=-(-HEADER_BYTES // self._lanes))
        m.d.sync += [
            self._begin.eq(Mux(self.long_header, *reversed(begins))),
            self._rows.eq(Mux(self.long_header, self._header_rows, -(-HEADER_BYTES // self._lanes))),
        ]
        rotated = Signal(self.width)
        before = Signal(self._lanes)          # lanes of the beats before
        fill = Signal(range(2 * self._lanes + 1))
        valid, ends, over = Signal(), Signal(), Signal()
        self._rotate(m, rotated, before, fill, valid, ends, over)

        carry = Signal(self.width)     # bytes not yet written
        flush = Signal()               # `carry` is the rest of a good packet
        flush_bytes = Signal(range(self._lanes + 1))
        merged = Signal(self.width)
        lanes = range(self._lanes)
        m.d.comb += [merged.word_select(n, 8).eq(Mux(before[n], carry.word_select(n, 8), rotated.word_select(n, 8)))
                     for n in lanes]
        passed = Signal(range(self._header_rows + 1))      # rows of the header
        in_header = passed != self._rows
        fresh = Signal(init=1)         # the next row is a frame's first
        with m.If(valid):
            m.d.sync += carry.eq(Mux(over, rotated, merged))
            with m.If(ends):
                m.d.sync += passed.eq(0)
            with m.Elif(over & in_header):
                m.d.sync += passed.eq(passed + 1)
        m.d.sync += [flush.eq(valid & over & ends & self.good), flush_bytes.eq(fill - self._lanes)]
        queue, flush_queue = Signal(self.pair_bits), Signal(self.pair_bits)
        m.d.sync += flush_queue.eq(queue)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += queue.eq(self.i.payload.queue)
        m.d.comb += self.queue.eq(Mux(flush, flush_queue, queue))
        flush_total = Signal.like(self.bytes)
        m.d.sync += flush_total.eq(self.bytes)
        m.d.comb += self.total.eq(Mux(flush, flush_total, self.bytes))
        with m.If(self.clear):
            m.d.sync += passed.eq(0)

        full_row = over & ~in_header & ~self.cut & (self.good | ~ends)
        last_row = ends & self.good & ~over
        m.d.comb += [
            self.write.eq(flush | (valid & (full_row | last_row))),
            self.commit.eq(flush | (valid & last_row)),
            # With `flush` the packet in the pipeline is at its first beat and has written nothing.
            self.abort.eq(((valid & ends & ~self.good & ~flush) | self.clear) & ~fresh),
            self.row.data.eq(Mux(flush, carry, merged)),
            self.row.bytes.eq(Mux(flush, flush_bytes, Mux(over, self._lanes, fill))),
            self.row.first.eq(fresh),
            self.row.last.eq(self.commit),
            self.idle.eq(~valid & ~flush),
        ]
        with m.If(self.abort | self.commit):
            m.d.sync += fresh.eq(1)
        with m.Elif(self.write):
            m.d.sync += fresh.eq(0)
        self._read_header(m, valid & over, passed, merged)
        return m

    def _rotate(self, m, rotated, before, fill, valid, ends, over):
        """First cycle: the beat's bytes to the lanes behind those of the beats before, round and round."""
        beat = self.i.payload
        place = Signal(range(self._lanes + 1))
        between = Signal(init=1)     # no packet has begun
        reach = Signal(range(2 * self._lanes + 1))
        passes = Signal()
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(self.enable),
            reach.eq(place + beat.bytes),
            passes.eq(reach > self._lanes),
        ]
        data = beat.data
        for bit in range((self._lanes - 1).bit_length()):
            data = Mux(place[bit], data.rotate_left(8 << bit), data)
        m.d.sync += valid.eq(taken)
        with m.If(taken):
            m.d.sync += [
                rotated.eq(data), before.eq(Cat(place > n for n in range(self._lanes))), fill.eq(reach),
                ends.eq(self.packet_ends), over.eq(passes),
                place.eq(Mux(self.packet_ends, self._begin, Mux(passes, reach - self._lanes, reach))),
                between.eq(self.packet_ends),
            ]
        with m.Elif(self.clear | between):
            m.d.sync += [place.eq(self._begin), between.eq(1)]

    def _read_header(self, m, row_complete, passed, row):
        """The header ends with its last row, and is given out with it."""
        before = [Signal(self.width, name=f"header_row{n}") for n in range(self._header_rows - 1)]
        for n, kept in enumerate(before):
            with m.If(row_complete & (passed == n)):
                m.d.sync += kept.eq(row)
        rows, size = Cat(*before, row), Shape.cast(VirtioNetHeader).width
        short, long = (rows[-8 * total:][:size] for total in (HEADER_BYTES, LONG_HEADER_BYTES))
        m.d.comb += [
            Value.cast(self.header).eq(Mux(self.long_header, long, short)),
            self.header_complete.eq(row_complete & (passed + 1 == self._rows)),
        ]
