"""Bringing packet bytes into the lanes of memory write requests."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..pcie.spec import MemoryRequest, TlpType
from ..stream import PacketBeat, TlpBeat
from .write_split import WriteRequest

__all__ = ["WriteAlign"]


class WriteAlign(wiring.Component):
    """Builds memory write TLPs: the next bytes of the packet go to each request in turn.

    Bytes not yet sent of a beat are kept in `held`; an output beat takes its bytes from there and from the beat at the
    input, so the bytes lie in one beat's width, rotated. First cycle: merge; second cycle: rotate to the lane that the
    address asks for. One output beat a cycle as long as the bytes are there; latency 2 cycles. Bytes that are not
    enabled, before the first and after the last one of a request, have no defined value.

    While `discard` is 1, requests are taken without a TLP and bytes are thrown away, each on their own; a TLP that has
    begun is finished, so its bytes must still come. Hold `discard` until neither commands nor bytes are on their way.

    Parameters
    ----------
    width : int
        bits per beat

    Attributes
    ----------
    requests : In(stream(WriteRequest()))
    data : In(stream(PacketBeat(width)))
    o : Out(stream(TlpBeat(width)))
        requester id and tag are 0
    taken : Out(1)
        pulse when a request is finished with: its TLP is built, or it is discarded
    taken_void, taken_last : Out(1)
        with `taken`: no TLP comes of it; it ends a packet
    hold : In(1)
        1: nothing new is begun or finished (`taken` stays 0)
    relaxed_ordering : In(1)
        value of the Relaxed Ordering attribute
    discard : In(1)
    idle : Out(1)
        nothing inside
    """

    def __init__(self, width):
        self.width = width
        super().__init__({
            "requests": In(stream.Signature(WriteRequest())),
            "data": In(stream.Signature(PacketBeat(width))),
            "o": Out(stream.Signature(TlpBeat(width))),
            "taken": Out(1), "taken_void": Out(1), "taken_last": Out(1),
            "hold": In(1), "relaxed_ordering": In(1), "discard": In(1),
            "idle": Out(1),
        })
        self._lanes = width // 8
        self._merged = data.StructLayout({
            "data": width, "rotate": range(self._lanes), "dwords": range(width // 32 + 1), "first": 1, "last": 1,
            "request": WriteRequest(),
        })

    def elaborate(self, platform):
        m = Module()
        merged = Signal(self._merged)
        merged_valid = Signal()
        merged_ready = Signal()
        out_ready = Signal()
        m.d.comb += [
            out_ready.eq(~self.o.valid | self.o.ready),
            merged_ready.eq(~merged_valid | out_ready),
        ]
        inside = self._merge(m, merged, merged_valid, merged_ready)
        with m.If(out_ready):
            m.d.sync += self.o.valid.eq(merged_valid)
            self._rotate(m, merged)
        m.d.comb += self.idle.eq(~inside & ~merged_valid & ~self.o.valid)
        return m

    def _merge(self, m, merged, merged_valid, merged_ready):
        """First stage: which bytes the next output beat takes. Returns whether a TLP or a packet is under way."""
        lanes = self._lanes
        request = self.requests.payload
        inside = Signal()                # the request's first beat is built
        lanes_left = Signal(13)          # of the request, after its first beat
        held = Signal(self.width)
        position = Signal(range(lanes))  # first byte of `held` not yet sent; 0: `held` is empty

        lanes_now = Signal(13)
        offset = Signal(2)
        m.d.comb += [
            lanes_now.eq(Mux(inside, lanes_left, request.lanes)),
            offset.eq(Mux(inside, 0, request.address[:2])),
        ]
        ends = lanes_now <= lanes
        in_beat = Mux(ends, lanes_now[:len(position) + 1], lanes)
        reach = Signal(len(position) + 2)  # end of this beat's bytes, counted from byte 0 of `held`
        m.d.comb += reach.eq(position + in_beat - offset)
        needs_input = (position == 0) | (reach > lanes)
        ends_packet = ends & request.last

        swallow = self.discard & ~inside
        go = Signal()
        m.d.comb += [
            go.eq(self.requests.valid & merged_ready & ~self.hold & ~swallow & (self.data.valid | ~needs_input)),
            self.data.ready.eq(swallow | (go & needs_input)),
            self.requests.ready.eq(Mux(swallow, ~self.hold, go & ends)),
            self.taken.eq(self.requests.valid & self.requests.ready),
            self.taken_void.eq(swallow),
            self.taken_last.eq(request.last),
        ]
        with m.If(swallow):
            m.d.sync += position.eq(0)
        with m.Elif(go):
            m.d.sync += [
                inside.eq(~ends),
                lanes_left.eq(lanes_now - lanes),
                position.eq(Mux(ends_packet, 0, reach[:len(position)])),
            ]
            with m.If(needs_input):
                m.d.sync += held.eq(self.data.payload.data)
        with m.If(merged_ready):
            m.d.sync += merged_valid.eq(go)
            for lane in range(lanes):
                from_held = (position != 0) & (position <= lane)
                m.d.sync += merged.data.word_select(lane, 8).eq(
                    Mux(from_held, held.word_select(lane, 8), self.data.payload.data.word_select(lane, 8)))
            m.d.sync += [
                merged.rotate.eq(offset - position),
                merged.dwords.eq((in_beat + 3) >> 2),
                merged.first.eq(~inside),
                merged.last.eq(ends),
                merged.request.eq(request),
            ]
        return inside | (position != 0)

    def _rotate(self, m, merged):
        """Second stage: the bytes into their lanes, and the header."""
        beat = self.o.payload
        m.d.sync += [
            beat.first.eq(merged.first),
            beat.last.eq(merged.last),
            beat.keep.eq(Cat(merged.dwords > n for n in range(self.width // 32))),
            beat.header.eq(self._header(m, merged.request)),
        ]
        rotated = merged.data
        for bit in range(len(merged.rotate)):
            rotated = Mux(merged.rotate[bit], rotated.rotate_left(8 << bit), rotated)
        m.d.sync += beat.data.eq(rotated)

    def _header(self, m, request):
        header = Signal(MemoryRequest())
        offset = request.address[:2]
        dwords = (request.lanes + 3) >> 2
        to_first = Signal(4)   # from the first byte's lane up
        to_last = Signal(4)    # up to the last byte's lane
        m.d.comb += [
            to_first.eq(0b1111 << offset),
            to_last.eq(0b1111 >> (0 - request.lanes[:2])[:2]),
        ]
        one = dwords == 1
        four_dw, high, low = MemoryRequest.place_address(request.address & ~C(3, 64))
        m.d.comb += [
            header.length.eq(dwords[:10]),
            header.attr.eq(Cat(C(0, 1), self.relaxed_ordering)),
            header.type.eq(TlpType.MEMORY.value),
            header.four_dw.eq(four_dw),
            header.with_data.eq(1),
            header.first_be.eq(Mux(one, to_first & to_last, to_first)),
            header.last_be.eq(Mux(one, 0, to_last)),
            header.high.eq(high),
            header.low.eq(low),
        ]
        return header
