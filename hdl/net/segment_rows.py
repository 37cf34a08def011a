"""Rows of segments: headers from a memory, and the packet's bytes behind them."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat
from .segment_plan import HeaderWrite, Segment
from .segment_scan import HEADER_LIMIT

__all__ = ["SegmentRow", "SegmentRows"]


class SegmentRow(data.StructLayout):
    """A row of a packet: `row`; or, with `marker`, its end without a row: it isn't to be sent. Either ends the packet
    with `row.last` or `marker`."""

    def __init__(self, width):
        super().__init__({"row": PacketBeat(width), "marker": 1})


class SegmentRows(wiring.Component):
    """Gives out a packet's segments, a row a cycle, one behind the other.

    A segment is seen as the packet from some byte on, `origin`, with its first bytes hidden by the headers: the first
    segment is the packet's begin as it stands, and each begins `gso_size` bytes behind the one before. So a row is cut
    from two neighbouring rows of the packet, `here` and `beyond` (first cycle: the byte lanes of either; second cycle:
    rotated; third cycle: the headers over it). A row is fetched when it is needed as `beyond`, so that where a segment
    ends within a row, that row is still there for the next segment: it is then cut from `here` alone, and what would
    lie before it is hidden.

    Headers stand in a memory of their own, where fields are changed from one segment to the next.

    Parameters
    ----------
    width : int
        bits per row
    max_frame : int
        bytes of the longest frame

    Attributes
    ----------
    rows : In(stream(SegmentRow(width)))
        of the packet
    load : In(1)
        take the next row as `here`, and into the memory of headers: until all of them are in, from the first row on
    begin : In(1)
        with `load`: this is a packet's first row
    here : Out(PacketBeat(width)); loaded : Out(range(HEADER_LIMIT + 1))
        the row taken last, and bytes of the packet up to its end
    ended : Out(1)
        the packet's last row or marker has been taken
    write : In(HeaderWrite)
        into the memory of headers
    size : In(range(HEADER_LIMIT + 1)); gso_size : In(16)
        bytes of headers; of payload in each segment but the last. Constant from before the first to after the last
    segments : In(stream(Segment(max_frame)))
        taken when the segment before has been given out
    free : Out(1)
        no header is needed any more of segments taken
    enable : In(1)
        rows may begin; 3 more may come after it falls
    o : Out(PacketBeat(width)), valid : Out(1); segment : Out(Segment(max_frame))
        a row goes out; the segment that it belongs to
    idle : Out(1)
        no row inside that is to go out
    """

    def __init__(self, width, max_frame):
        self.width = width
        self.max_frame = max_frame
        shape = Segment(max_frame)
        super().__init__({
            "rows": In(stream.Signature(SegmentRow(width))),
            "load": In(1), "begin": In(1), "here": Out(PacketBeat(width)), "loaded": Out(range(2 * HEADER_LIMIT)),
            "ended": Out(1), "write": In(HeaderWrite),
            "size": In(range(HEADER_LIMIT + 1)), "gso_size": In(16),
            "segments": In(stream.Signature(shape)), "free": Out(1), "enable": In(1),
            "o": Out(PacketBeat(width)), "valid": Out(1), "segment": Out(shape),
            "idle": Out(1),
        })
        self._lanes = width // 8
        self._bits = self._lanes.bit_length() - 1

    def elaborate(self, platform):
        m = Module()
        lanes, bits = self._lanes, self._bits
        segment = Signal(self.segment.shape())
        giving, gives = Signal(), Signal()            # a segment is under way; a row of it begins
        number, last = Signal(range(self.max_frame // lanes + 1)), Signal(range(self.max_frame // lanes + 1))
        coming_last = (self.segments.payload.bytes - 1) >> bits
        origin = Signal(bits + 2)                     # modulo 4 rows
        ends, hidden = Signal(), Signal(lanes)        # `number` is `last`
        header_rows = self.size[bits:]                # full of headers
        m.d.comb += [
            self.segments.ready.eq(~giving | (gives & ends)),
            self.free.eq(~giving | (number > header_rows)),
            hidden.eq(Mux(number < header_rows, ~C(0, lanes),
                          Mux(number == header_rows, Cat(self.size[:bits] > lane for lane in range(lanes - 1)), 0))),
        ]
        with m.If(gives):
            m.d.sync += [number.eq(number + 1), ends.eq(number + 1 == last)]
        with m.If(self.segments.ready):
            m.d.sync += [
                giving.eq(self.segments.valid), number.eq(0), segment.eq(self.segments.payload),
                last.eq(coming_last), ends.eq(coming_last == 0),
            ]
        with m.If(self.load & self.begin):
            m.d.sync += origin.eq(0)
        with m.Elif(gives & ends):
            m.d.sync += origin.eq(origin + self.gso_size)
        picked = self._pick(m, origin, number, number < header_rows, giving, gives)
        self._build(m, segment, gives, ends, number, picked, hidden, self._headers(m, number), origin[:bits])
        return m

    def _pick(self, m, origin, number, header_only, giving, gives):
        """First cycle: of each byte lane, the row that it comes from."""
        bits, coming = self._bits, self.rows
        place = Signal(2)                # of `here` in the packet, modulo 4
        beyond, has_beyond = Signal(PacketBeat(self.width)), Signal()
        turn, ahead = Signal(bits), Signal(2)
        back, onward, fetch, there, no_more = (Signal(name=name) for name in (
            "back", "onward", "fetch", "there", "no_more"))
        m.d.comb += [
            turn.eq(origin[:bits]),
            # The row's begin lies in `here`, in `beyond`, or in the row before `here`, which is hidden.
            ahead.eq(origin[bits:] + number - place), onward.eq((ahead == 1) & ~header_only), back.eq(ahead == 3),
            there.eq(coming.valid & ~coming.payload.marker),
            no_more.eq(self.ended | (coming.valid & coming.payload.marker)),
            gives.eq(giving & self.enable & (header_only | back
                     | Mux(onward, has_beyond & (beyond.last | there | no_more),
                           has_beyond | self.here.last | no_more))),
            fetch.eq(there & ~self.ended & Mux(has_beyond, gives & onward & ~beyond.last, giving)),
            coming.ready.eq(self.load | fetch),
        ]
        with m.If(coming.valid & coming.ready):
            m.d.sync += self.ended.eq(coming.payload.row.last | coming.payload.marker)
        with m.If(self.load):
            with m.If(coming.valid):
                m.d.sync += [
                    self.here.eq(coming.payload.row), place.eq(Mux(self.begin, 0, place + 1)), has_beyond.eq(0),
                    self.loaded.eq(Mux(self.begin, 0, self.loaded) + self._lanes),
                ]
        with m.Else():
            with m.If(gives & onward):
                m.d.sync += [self.here.eq(beyond), place.eq(place + 1), has_beyond.eq(0)]
            with m.If(fetch):
                m.d.sync += [beyond.eq(coming.payload.row), has_beyond.eq(1)]
        picked = Signal(self.width)
        first, second = Mux(onward, beyond.data, self.here.data), Mux(onward, coming.payload.row.data, beyond.data)
        for lane in range(self._lanes - 1):
            m.d.sync += picked.word_select(lane, 8).eq(
                Mux(back | (turn <= lane), first.word_select(lane, 8), second.word_select(lane, 8)))
        m.d.sync += picked[-8:].eq(first[-8:])
        return picked

    def _headers(self, m, number):
        """The memory of headers: 2-byte lanes, each with its writer. Returns a row, in the same cycle."""
        bits, coming = self._bits, self.rows
        depth = HEADER_LIMIT // self._lanes
        loading, row_number = Signal(), self.loaded[bits:]
        place = Signal(range(depth))
        m.d.comb += [
            loading.eq(self.load & coming.valid),
            place.eq(Mux(loading, Mux(self.begin, 0, row_number), self.write.at[bits:])),
        ]
        value = Cat(self.write.value[8:], self.write.value[:8])
        row = []
        for lane in range(self._lanes // 2):
            m.submodules[f"headers{lane}"] = store = memory.Memory(shape=16, depth=depth, init=[])
            writer, reader = store.write_port(), store.read_port(domain="comb")
            m.d.comb += [
                writer.addr.eq(place), reader.addr.eq(number),
                writer.en.eq(loading | (self.write.enable & (self.write.at[1:bits] == lane))),
                writer.data.eq(Mux(loading, coming.payload.row.data.word_select(lane, 16), value)),
            ]
            row.append(reader.data)
        return Cat(row)

    def _build(self, m, segment, gives, ends, number, picked, hidden, headers, turn):
        """Second cycle: rotated; third cycle: the headers over it."""
        about = data.StructLayout({"valid": 1, "first": 1, "last": 1, "segment": segment.shape(),
                                   "turn": self._bits, "hidden": self._lanes, "headers": self.width})
        one, two = Signal(about), Signal(about)
        rotated, turned = picked, Signal(self.width)
        for bit in range(self._bits):
            rotated = Mux(one.turn[bit], rotated.rotate_right(8 << bit), rotated)
        m.d.sync += [
            one.valid.eq(gives), one.first.eq(number == 0), one.last.eq(ends), one.segment.eq(segment),
            one.turn.eq(turn), one.hidden.eq(hidden), one.headers.eq(headers),
            two.eq(one), turned.eq(rotated),
        ]
        in_last = (two.segment.bytes - 1)[:self._bits]
        m.d.comb += [
            self.valid.eq(two.valid), self.segment.eq(two.segment),
            self.o.first.eq(two.first), self.o.last.eq(two.last),
            self.o.bytes.eq(Mux(two.last, in_last + 1, self._lanes)),
            self.idle.eq(~one.valid & ~two.valid),
        ]
        m.d.comb += [self.o.data.word_select(lane, 8).eq(
            Mux(two.hidden[lane], two.headers.word_select(lane, 8), turned.word_select(lane, 8)))
            for lane in range(self._lanes)]
