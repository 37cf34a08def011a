"""What becomes of a packet read from a transmit queue."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..dma.spec import DataContext, ReadBeat, ReadStatus
from ..virtqueue.spec import Completion
from .spec import ETHERNET_HEADER_BYTES

__all__ = ["PacketJudge"]


class PacketJudge(wiring.Component):
    """Watches a packet's beats go by and judges the packet with the last one. Latency 1 cycle.

    A packet is good if every transaction of it was read without error, its chain is well formed, and the frame is
    neither shorter than an Ethernet header nor longer than `max_frame`. A discarded transaction ends its packet.

    Parameters
    ----------
    width, pair_bits : int
        of the beats
    header_bytes : int
        bytes of virtio_net_hdr
    max_frame : int
        bytes of the longest frame

    Attributes
    ----------
    beat : In(ReadBeat(width, pair_bits)); taken : In(1)
        a beat goes by
    packet_ends : Out(1)
        in the same cycle: `beat` ends the packet
    clear : In(1)
        forget what has gone by of a packet

    The following are about the beat last taken, until another one is taken:

    ended, good, cut : Out(1)
        the packet ends; it may go out; it is longer than it may be, whether it ends or not
    discarded, error, malformed : Out(1)
        why an ended packet is not good: it was not read, a read failed, or length or chain are wrong
    bytes : Out(range(max_frame + 1))
        bytes of a good frame
    completion : Out(Completion(pair_bits))
        of an ended packet that is not discarded; a used transmit buffer's length is 0, and nothing of it is left over
    """

    def __init__(self, width, pair_bits, header_bytes, max_frame):
        self.header_bytes = header_bytes
        self.longest = header_bytes + max_frame
        super().__init__({
            "beat": In(ReadBeat(width, pair_bits)), "taken": In(1), "packet_ends": Out(1), "clear": In(1),
            "ended": Out(1), "good": Out(1), "cut": Out(1),
            "discarded": Out(1), "error": Out(1), "malformed": Out(1),
            "bytes": Out(range(max_frame + 1)),
            "completion": Out(Completion(pair_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        beat = self.beat
        context = Signal(DataContext())
        m.d.comb += Value.cast(context).eq(beat.context)

        # Of the packet's beats before this one; `length` stands still once the packet is too long.
        length = Signal(range(self.longest + 1))
        long, failed, dropped = Signal(), Signal(), Signal()

        total = Signal(range(self.longest + len(beat.data) // 8 + 1))
        too_long, fails, drops, gone = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            total.eq(length + beat.bytes),
            too_long.eq(long | (total > self.longest)),
            gone.eq(beat.last & (beat.status == ReadStatus.DISCARDED)),
            fails.eq(failed | (beat.last & (beat.status != ReadStatus.OK))),
            drops.eq(dropped | (beat.last & context.drop)),
            self.packet_ends.eq(beat.last & (context.packet_last | gone)),
        ]
        wrong = drops | too_long | (total < self.header_bytes + ETHERNET_HEADER_BYTES)
        with m.If(self.taken):
            m.d.sync += [
                self.ended.eq(self.packet_ends), self.cut.eq(too_long), self.discarded.eq(gone),
                self.good.eq(~fails & ~wrong), self.error.eq(fails & ~gone), self.malformed.eq(wrong & ~fails),
                self.bytes.eq(total - self.header_bytes),
                self.completion.queue.eq(beat.queue), self.completion.behind.eq(beat.behind),
                self.completion.id.eq(context.id), self.completion.slots.eq(context.slots),
                self.completion.filled.eq(1),
                long.eq(too_long), failed.eq(fails), dropped.eq(drops),
            ]
            with m.If(~too_long):
                m.d.sync += length.eq(total)
        with m.If(self.clear | (self.taken & self.packet_ends)):
            m.d.sync += [length.eq(0), long.eq(0), failed.eq(0), dropped.eq(0)]
        return m
