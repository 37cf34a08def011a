"""What becomes of a packet read from a transmit queue."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..dma.spec import DataContext, ReadBeat, ReadStatus
from ..virtqueue.spec import Completion
from .spec import ETHERNET_HEADER_BYTES, HEADER_BYTES, LONG_HEADER_BYTES, LONGEST_PACKET

__all__ = ["PacketJudge"]


class PacketJudge(wiring.Component):
    """Watches a packet's beats go by and judges the packet with the last one. Latency 1 cycle.

    A packet is good if every transaction of it was read without error, its chain is well formed, and the frame is
    neither shorter than an Ethernet header nor longer than `max_frame`, or `LONGEST_PACKET` if it is to be cut in
    segments. A discarded transaction ends its packet.

    Parameters
    ----------
    width, pair_bits : int
        of the beats
    max_frame : int
        bytes of the longest frame

    Attributes
    ----------
    long_header, long_packets : In(1)
        virtio_net_hdr has 20 bytes, not 12; segmentation is negotiated. Constant while anything comes
    shortest, longest : Out(17)
        bytes that a packet has at least and at most, virtio_net_hdr included
    beat : In(ReadBeat(width, pair_bits)); taken : In(1)
        a beat goes by
    packet_ends : Out(1)
        in the same cycle: `beat` ends the packet
    segmented : In(1)
        with what follows: the packet is to be cut in segments; matters if it is longer than `max_frame`
    clear : In(1)
        forget what has gone by of a packet

    The following are about the beat last taken, until another one is taken:

    ended, good, cut : Out(1)
        the packet ends; it may go out; it is longer than it may be, whether it ends or not
    part : Out(1)
        all of the packet so far was read without error, up to the end of a transaction; it goes on, and has a header
    hopeless : Out(1)
        a read of the packet failed, or it is too long: however it goes on, no more of it may go out
    discarded, error, malformed : Out(1)
        why an ended packet is not good: it was not read, a read failed, or length or chain are wrong
    bytes : Out(range(LONGEST_PACKET + 1))
        bytes of a good frame; with `part` bytes of it so far
    completion : Out(Completion(pair_bits))
        of an ended packet that is not discarded; a used transmit buffer's length is 0, and nothing of it is left over
    """

    def __init__(self, width, pair_bits, max_frame):
        self.max_frame = max_frame
        super().__init__({
            "long_header": In(1), "long_packets": In(1), "shortest": Out(17), "longest": Out(17),
            "beat": In(ReadBeat(width, pair_bits)), "taken": In(1), "packet_ends": Out(1),
            "segmented": In(1), "clear": In(1),
            "ended": Out(1), "good": Out(1), "cut": Out(1), "part": Out(1), "hopeless": Out(1),
            "discarded": Out(1), "error": Out(1), "malformed": Out(1),
            "bytes": Out(range(LONGEST_PACKET + 1)),
            "completion": Out(Completion(pair_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        beat = self.beat
        context = Signal(DataContext())
        m.d.comb += Value.cast(context).eq(beat.context)

        # Of the packet's beats before this one; `length` stands still once the packet is too long.
        limit = LONG_HEADER_BYTES + LONGEST_PACKET
        length = Signal(range(limit + 1))
        long, longer, failed, dropped = Signal(), Signal(), Signal(), Signal()
        # Constant while anything comes; registers keep them out of the path.
        header = Signal(5)
        most_whole = Signal(range(LONG_HEADER_BYTES + self.max_frame + 1))
        m.d.sync += [
            header.eq(Mux(self.long_header, LONG_HEADER_BYTES, HEADER_BYTES)),
            self.shortest.eq(header + ETHERNET_HEADER_BYTES),
            self.longest.eq(header + Mux(self.long_packets, LONGEST_PACKET, self.max_frame)),
            most_whole.eq(header + self.max_frame),
        ]

        total = Signal(range(limit + len(beat.data) // 8 + 1))
        too_long, too_long_whole, fails, drops, gone = (Signal(name=name) for name in (
            "too_long", "too_long_whole", "fails", "drops", "gone"))
        m.d.comb += [
            total.eq(length + beat.bytes),
            too_long.eq(long | (total > self.longest)), too_long_whole.eq(longer | (total > most_whole)),
            gone.eq(beat.last & (beat.status == ReadStatus.DISCARDED)),
            fails.eq(failed | (beat.last & (beat.status != ReadStatus.OK))),
            drops.eq(dropped | (beat.last & context.drop)),
            self.packet_ends.eq(beat.last & (context.packet_last | gone)),
        ]
        read, wrong, over, over_whole = Signal(), Signal(), Signal(), Signal()
        short = total < self.shortest
        with m.If(self.taken):
            m.d.sync += [
                self.part.eq(beat.last & ~self.packet_ends & ~fails & ~short & ~too_long),
                self.ended.eq(self.packet_ends), self.discarded.eq(gone),
                read.eq(~fails), self.error.eq(fails & ~gone),
                wrong.eq(drops | short),
                over.eq(too_long), over_whole.eq(too_long_whole),
                self.bytes.eq(total - header),
                self.completion.queue.eq(beat.queue), self.completion.behind.eq(beat.behind),
                self.completion.id.eq(context.id), self.completion.slots.eq(context.slots),
                # Of a malformed chain a part may be device-writable, and nothing is written there.
                self.completion.filled.eq(~drops),
                long.eq(too_long), longer.eq(too_long_whole), failed.eq(fails), dropped.eq(drops),
            ]
            with m.If(~too_long):
                m.d.sync += length.eq(total)
        m.d.comb += [
            self.cut.eq(over | (over_whole & ~self.segmented)), self.hopeless.eq(~read | self.cut),
            self.good.eq(read & ~wrong & ~self.cut), self.malformed.eq(read & (wrong | self.cut)),
        ]
        with m.If(self.clear | (self.taken & self.packet_ends)):
            m.d.sync += [length.eq(0), long.eq(0), longer.eq(0), failed.eq(0), dropped.eq(0)]
        return m
