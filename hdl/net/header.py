"""The virtio_net_hdr of received packets."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat
from .spec import GsoType, VirtioNetHeader

__all__ = ["HeaderInsert", "ReceiveHeader"]


class ReceiveHeader(wiring.Component):
    """Header of a received packet: no offload has been done.

    (VIRTIO 1.4, "Processing of Incoming Packets", without GUEST_CSUM and GUEST_TSO*.) Here is where checksum status and
    hash will be filled in.

    Parameters
    ----------
    header_bytes : int
        bytes of virtio_net_hdr; those beyond the first 12 are 0

    Attributes
    ----------
    buffers : In(16)
        that hold the packet
    header : Out(8 * header_bytes)
    """

    def __init__(self, header_bytes):
        super().__init__({"buffers": In(16), "header": Out(8 * header_bytes)})

    def elaborate(self, platform):
        m = Module()
        header = VirtioNetHeader(self.header[:Shape.cast(VirtioNetHeader).width])
        m.d.comb += [
            header.flags.eq(0),
            header.gso_type.eq(GsoType.NONE),
            header.num_buffers.eq(self.buffers),
        ]
        return m


class HeaderInsert(wiring.Component):
    """Puts a header before each packet, packed. One beat a cycle; latency 1 cycle.

    A packet takes as many cycles as it has beats afterwards: 60 bytes and a header of 12 take two at 512 bits.

    Parameters
    ----------
    width : int
        bits per beat
    header_bytes : int
        bytes of the header

    Attributes
    ----------
    header : In(8 * header_bytes)
        valid with a packet's first beat at `i`
    i, o : streams of PacketBeat(width)
    begun : Out(1)
        a packet has begun and its last beat at `i` is still to come
    idle : Out(1)
        no packet under way
    """

    def __init__(self, width, header_bytes):
        self.width = width
        self.header_bytes = header_bytes
        super().__init__({
            "header": In(8 * header_bytes),
            "i": In(stream.Signature(PacketBeat(width))),
            "o": Out(stream.Signature(PacketBeat(width))),
            "begun": Out(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self.width // 8
        beat, out = self.i.payload, self.o.payload
        # Whole beats of header come first; what remains shifts the packet.
        whole, shift = divmod(self.header_bytes, lanes)
        shift_bits = 8 * shift
        carry = Signal(shift_bits)      # the bytes that the beat before had no room for
        tail = Signal()                 # they are the packet's last
        tail_bytes = Signal(range(lanes + 1))
        lead = Signal(range(whole + 1))
        total = Signal(range(2 * lanes + 1))
        passes = Signal()
        free = ~self.o.valid | self.o.ready
        leading = beat.first & (lead != whole)
        rows = Cat(self.header, C(0, self.width - shift_bits))
        m.d.comb += [
            total.eq(beat.bytes + shift),
            passes.eq(total > lanes),
            self.i.ready.eq(free & ~tail & ~leading),
            self.idle.eq(~tail & ~self.o.valid & ~self.begun),
        ]
        with m.If(self.i.valid & free & ~tail):
            m.d.sync += self.begun.eq(leading | ~beat.last)
        with m.If(free):
            m.d.sync += [self.o.valid.eq(tail | self.i.valid), tail.eq(0)]
            with m.If(tail):
                m.d.sync += [out.data.eq(carry), out.bytes.eq(tail_bytes), out.first.eq(0), out.last.eq(1)]
            with m.Elif(leading):
                m.d.sync += [out.data.eq(rows.word_select(lead, self.width)), out.bytes.eq(lanes),
                             out.first.eq(lead == 0), out.last.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += lead.eq(lead + 1)
            with m.Else():
                rest_of_header = self.header[8 * self.header_bytes - shift_bits:]
                m.d.sync += [
                    out.data.eq(Cat(Mux(beat.first, rest_of_header, carry), beat.data[:self.width - shift_bits])),
                    out.bytes.eq(Mux(passes, lanes, total)),
                    out.first.eq(beat.first & (whole == 0)),
                    out.last.eq(beat.last & ~passes),
                ]
                with m.If(self.i.valid):
                    m.d.sync += [
                        lead.eq(0), tail.eq(beat.last & passes), tail_bytes.eq(total - lanes),
                        carry.eq(beat.data[self.width - shift_bits:]),
                    ]
        return m
