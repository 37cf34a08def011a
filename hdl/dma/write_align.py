"""Bringing packet bytes into the lanes of memory write requests."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..pcie.spec import MemoryRequest, TlpType
from ..stream import PacketBeat, RegisterSlice, TlpBeat
from .write_plan import BeatPlan
from .write_split import WriteRequest

__all__ = ["WriteAlign"]


class WriteAlign(wiring.Component):
    """Builds memory write TLPs beat by beat as planned, from the packet's bytes.

    Bytes not yet sent of a beat are kept in `held`; an output beat takes its bytes from there and from the beat at the
    input, so the bytes lie in one beat's width, rotated. First cycle: merge; second cycle: rotate to the lane that the
    address asks for. One output beat a cycle as long as the bytes are there; latency 2 cycles. Bytes that are not
    enabled, before the first and after the last one of a request, have no defined value.

    While `discard` is 1, requests are finished with without a TLP, and bytes are thrown away, each on their own; a TLP
    that has begun is built to its end, so its bytes must still come.

    Parameters
    ----------
    width : int
        bits per beat

    Attributes
    ----------
    plans : In(stream(BeatPlan(width)))
    data : In(stream(PacketBeat(width)))
    o : Out(stream(TlpBeat(width)))
        requester id and tag are 0
    taken : Out(1)
        pulse when a request is finished with: its TLP is built, or it is discarded
    taken_void, taken_last : Out(1)
        with `taken`: no TLP comes of it; it ends a packet
    hold : In(1)
        1: nothing goes on (`taken` stays 0)
    relaxed_ordering : In(1)
        value of the Relaxed Ordering attribute
    discard : In(1)
    idle : Out(1)
        nothing inside, apart from bytes in `held`
    """

    def __init__(self, width):
        self.width = width
        super().__init__({
            "plans": In(stream.Signature(BeatPlan(width))),
            "data": In(stream.Signature(PacketBeat(width))),
            "o": Out(stream.Signature(TlpBeat(width))),
            "taken": Out(1), "taken_void": Out(1), "taken_last": Out(1),
            "hold": In(1), "relaxed_ordering": In(1), "discard": In(1),
            "idle": Out(1),
        })
        self._merged = data.StructLayout({
            "data": width, "rotate": range(width // 8), "dwords": range(width // 32 + 1), "first": 1, "last": 1,
            "request": WriteRequest(),
        })

    def elaborate(self, platform):
        m = Module()
        # The slice cuts the way of `o.ready` into this block and to whoever gives the bytes.
        m.submodules.slice = slice_ = RegisterSlice(TlpBeat(self.width))
        wiring.connect(m, slice_.o, wiring.flipped(self.o))
        merged = Signal(self._merged)
        merged_valid = Signal()
        free = ~merged_valid | slice_.i.ready
        inside = self._merge(m, merged, merged_valid, free)
        m.d.comb += slice_.i.valid.eq(merged_valid)
        self._rotate(m, merged, slice_.i.payload)
        m.d.comb += self.idle.eq(~inside & ~merged_valid & ~self.o.valid)
        return m

    def _merge(self, m, merged, merged_valid, free):
        """First stage: the bytes of the next output beat. Returns whether a request is under way."""
        plan = self.plans.payload
        held = Signal(self.width)
        inside = Signal()     # a TLP is begun and not ended
        voiding = Signal()    # a request is being discarded and not ended
        void = voiding | (plan.first & self.discard)
        go = Signal()
        m.d.comb += [
            go.eq(self.plans.valid & free & ~self.hold & (void | self.data.valid | ~plan.needs_input)),
            self.plans.ready.eq(go),
            self.data.ready.eq((self.discard & ~inside) | (go & ~void & plan.needs_input)),
            self.taken.eq(go & plan.last),
            self.taken_void.eq(void),
            self.taken_last.eq(plan.request.last),
        ]
        with m.If(go):
            m.d.sync += [inside.eq(~plan.last & ~void), voiding.eq(~plan.last & void)]
            with m.If(plan.needs_input):
                m.d.sync += held.eq(self.data.payload.data)
        with m.If(free):
            m.d.sync += merged_valid.eq(go & ~void)
            for lane in range(self.width // 8):
                from_held = plan.position != 0
                if lane < self.width // 8 - 1:
                    from_held &= plan.position <= lane
                m.d.sync += merged.data.word_select(lane, 8).eq(
                    Mux(from_held, held.word_select(lane, 8), self.data.payload.data.word_select(lane, 8)))
            m.d.sync += [getattr(merged, name).eq(getattr(plan, name))
                         for name in ("rotate", "dwords", "first", "last", "request")]
        return inside | voiding

    def _rotate(self, m, merged, beat):
        """Second stage: the bytes into their lanes, and the header."""
        rotated = merged.data
        for bit in range(len(merged.rotate)):
            rotated = Mux(merged.rotate[bit], rotated.rotate_left(8 << bit), rotated)
        m.d.comb += [
            beat.data.eq(rotated),
            beat.first.eq(merged.first),
            beat.last.eq(merged.last),
            beat.keep.eq(Cat(merged.dwords > n for n in range(self.width // 32))),
            beat.header.eq(self._header(m, merged.request)),
        ]

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
