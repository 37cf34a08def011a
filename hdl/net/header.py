"""The virtio_net_hdr of received packets."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat
from .spec import HEADER_BYTES, LONG_HEADER_BYTES, ChecksumVerdict, FrameHash, GsoType, HeaderFlag, VirtioNetHeaderHash

__all__ = ["HeaderInsert", "ReceiveHeader"]


class ReceiveHeader(wiring.Component):
    """Header of a received packet: what is known of its checksums, its hash, and how many buffers hold it; it is not
    segmented.

    (VIRTIO 1.4, "Processing of Incoming Packets", without GUEST_TSO*.) DATA_VALID says that all checksums were right;
    NEEDS_CSUM is never set, since frames from a wire are complete.

    Attributes
    ----------
    checksum : In(1)
        VIRTIO_NET_F_GUEST_CSUM is negotiated; without it nothing is said of checksums
    verdict : In(ChecksumVerdict); hash : In(FrameHash)
        of the packet
    buffers : In(16)
        that hold the packet
    header : Out(8 * LONG_HEADER_BYTES)
    """

    checksum: In(1)
    verdict: In(ChecksumVerdict)
    hash: In(FrameHash)
    buffers: In(16)
    header: Out(8 * LONG_HEADER_BYTES)

    def elaborate(self, platform):
        m = Module()
        header = VirtioNetHeaderHash(self.header)
        valid = self.checksum & (self.verdict == ChecksumVerdict.VALID)
        m.d.comb += [
            header.plain.flags.eq(Mux(valid, HeaderFlag.DATA_VALID, 0)),
            header.plain.gso_type.eq(GsoType.NONE),
            header.plain.num_buffers.eq(self.buffers),
            header.hash_value.eq(self.hash.value), header.hash_report.eq(self.hash.report),
        ]
        return m


class HeaderInsert(wiring.Component):
    """Puts a header before each packet, packed. One beat a cycle; latency 1 cycle.

    A packet takes as many cycles as it has beats afterwards: 60 bytes and a header of 12 take two at 512 bits.

    Parameters
    ----------
    width : int
        bits per beat

    Attributes
    ----------
    header : In(8 * LONG_HEADER_BYTES)
        valid with a packet's first beat at `i`
    long_header : In(1)
        virtio_net_hdr has 20 bytes instead of 12; constant unless `idle`
    i, o : streams of PacketBeat(width)
    begun : Out(1)
        a packet has begun and its last beat at `i` is still to come
    idle : Out(1)
        no packet under way
    """

    def __init__(self, width):
        self.width = width
        super().__init__({
            "header": In(8 * LONG_HEADER_BYTES), "long_header": In(1),
            "i": In(stream.Signature(PacketBeat(width))),
            "o": Out(stream.Signature(PacketBeat(width))),
            "begun": Out(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self.width // 8
        beat, out = self.i.payload, self.o.payload
        # Whole beats of header come first, at most one; what remains shifts the packet.
        sizes = [divmod(size, lanes) for size in (HEADER_BYTES, LONG_HEADER_BYTES)]

        def by_size(values):
            return Mux(self.long_header, values[1], values[0])
        whole, shift = (by_size([size[n] for size in sizes]) for n in range(2))
        carry = Signal(8 * max(shift for _, shift in sizes))      # the bytes that the beat before had no room for
        tail = Signal()                                           # they are the packet's last
        tail_bytes = Signal(range(lanes + 1))
        lead = Signal()
        total = Signal(range(2 * lanes + 1))
        passes = Signal()
        free = ~self.o.valid | self.o.ready
        leading = beat.first & (lead != whole)
        shifted = by_size([
            Cat(Mux(beat.first, self.header[8 * lanes * beats:][:8 * rest], carry[:8 * rest]), beat.data)[:self.width]
            for beats, rest in sizes])
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
                m.d.sync += [out.data.eq(self.header[:self.width]), out.bytes.eq(lanes), out.first.eq(1),
                             out.last.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += lead.eq(1)
            with m.Else():
                m.d.sync += [
                    out.data.eq(shifted), out.bytes.eq(Mux(passes, lanes, total)),
                    out.first.eq(beat.first & (whole == 0)), out.last.eq(beat.last & ~passes),
                ]
                with m.If(self.i.valid):
                    m.d.sync += [
                        lead.eq(0), tail.eq(beat.last & passes), tail_bytes.eq(total - lanes),
                        carry.eq(by_size([beat.data[self.width - 8 * rest:] for _, rest in sizes])),
                    ]
        return m
