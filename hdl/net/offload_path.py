"""Between the packets that are read and the frames that leave."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat, Queue
from .frame_buffer import FrameBuffer
from .offload import Offload, OffloadDecode, TransmitFeatures
from .segment import LeavingRow, PacketEnd, Segmenter, plain_job
from .spec import LONGEST_PACKET, VirtioNetHeader

__all__ = ["OffloadPath"]


class OffloadPath(wiring.Component):
    """Does what packets' headers ask for: most packets go straight through, in the same cycle; those to be segmented,
    and all that come behind one or while frames may not leave, wait in block memory. Order is kept.

    A packet whose checksum would lie outside of it is malformed and doesn't leave.

    Parameters
    ----------
    width, pair_bits : int
    max_frame : int
        bytes of the longest frame
    size : int
        bytes of packets that may wait, a power of 2

    Attributes
    ----------
    features : In(TransmitFeatures)
        constant while anything is inside
    write, commit, abort, row, queue, header, header_complete, total : In
        from `HeaderStrip`; only while `used` is below the rows that `size` makes
    verified : In(18), hopeless : In(1)
        of the packet that comes: bytes that have been read without error; no more of it may leave. 0 between packets
    segmented : Out(1)
        from the cycle after `header_complete`: the packet is to be segmented
    enable : In(1)
        rows may leave; 3 more may come after it falls
    o : Out(LeavingRow(width, pair_bits, max_frame))
    malformed : Out(1); malformed_queue : Out(pair_bits)
        pulse: a packet was found malformed here; queue that it came from
    used : Out
        rows that wait
    idle : Out(1)
        no row inside
    """

    def __init__(self, width, pair_bits, max_frame, size):
        self.width = width
        self.pair_bits = pair_bits
        self.max_frame = max_frame
        self.size = size
        self.rows = size * 8 // width
        super().__init__({
            "features": In(TransmitFeatures),
            "write": In(1), "commit": In(1), "abort": In(1), "row": In(PacketBeat(width)), "queue": In(pair_bits),
            "header": In(VirtioNetHeader), "header_complete": In(1), "total": In(range(LONGEST_PACKET + 1)),
            "verified": In(18), "hopeless": In(1),
            "segmented": Out(1), "enable": In(1),
            "o": Out(LeavingRow(width, pair_bits, max_frame)), "malformed": Out(1), "malformed_queue": Out(pair_bits),
            "used": Out(range(self.rows + 1)), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.decode = decode = OffloadDecode()
        m.submodules.waiting = waiting = FrameBuffer(
            self.width, self.size, {"marker": 1, "queue": self.pair_bits, "offload": Offload})
        m.submodules.segmenter = segmenter = Segmenter(self.width, self.pair_bits, self.max_frame)
        offload = decode.offload
        keep, marker, misfit, misfits = (Signal(name=name) for name in ("keep", "marker", "misfit", "misfits"))
        misfit_queue = Signal(self.pair_bits)
        # Nothing was inside a cycle ago, and nothing has come since but what went straight through.
        free, straight, waits = Signal(), Signal(), Signal()
        m.d.comb += [
            decode.features.eq(self.features), decode.header.eq(self.header), decode.complete.eq(self.header_complete),
            self.segmented.eq(offload.segment),
            misfit.eq(self.commit & offload.checksum & (offload.end > self.total)),
            keep.eq(self.write & ~misfit), marker.eq(self.abort | (misfit & ~self.row.first)),
            straight.eq(free & ~offload.segment), waits.eq((keep | marker) & ~straight),
            self.used.eq(waiting.used), self.idle.eq(waiting.empty & segmenter.idle),
            segmenter.hold.eq(misfits), self.malformed.eq(misfits | segmenter.malformed),
            self.malformed_queue.eq(Mux(misfits, misfit_queue, segmenter.malformed_queue)),
            segmenter.enable.eq(self.enable),
        ]
        m.d.sync += [
            free.eq(waiting.empty & segmenter.idle & self.enable & ~waits),
            misfits.eq(misfit), misfit_queue.eq(self.queue),
        ]
        self._wait(m, waiting, segmenter, offload, waits, marker)
        self._end(m, segmenter)

        o = self.o
        m.d.comb += o.eq(segmenter.o)
        with m.If(straight):
            m.d.comb += [
                o.write.eq(keep), o.commit.eq(keep & self.commit), o.abort.eq(marker), o.row.eq(self.row),
                o.queue.eq(self.queue), plain_job(o.job, offload), o.needs_csum.eq(offload.needs_csum), o.segment.eq(0),
            ]
        return m

    def _wait(self, m, waiting, segmenter, offload, waits, marker):
        into, out = waiting.row, segmenter.i.payload
        m.d.comb += [
            waiting.write.eq(waits), waiting.commit.eq(waits),
            into.marker.eq(marker), into.queue.eq(self.queue), into.offload.eq(offload),
            out.marker.eq(waiting.o.payload.marker), out.queue.eq(waiting.o.payload.queue),
            out.offload.eq(waiting.o.payload.offload),
            segmenter.i.valid.eq(waiting.o.valid), waiting.o.ready.eq(segmenter.i.ready),
        ]
        for name in ("data", "bytes", "first", "last"):
            m.d.comb += [into[name].eq(self.row[name]), out.row[name].eq(waiting.o.payload[name])]

    def _end(self, m, segmenter):
        """How packets to be segmented end, and how far the one has come that hasn't ended: all of it a cycle late."""
        m.submodules.ends = ends = Queue(PacketEnd, self.rows)
        wiring.connect(m, ends.o, segmenter.ends)
        ended, stores = Signal(), Signal()
        stored, count = Signal(18), Signal(range(self.rows + 1))     # packets that have ended
        m.d.sync += [
            ended.eq(self.segmented & (self.commit | self.abort)), stores.eq(self.segmented & self.write),
            ends.i.payload.good.eq(~self.abort), ends.i.payload.total.eq(self.total),
            segmenter.verified.eq(self.verified), segmenter.hopeless.eq(self.hopeless),
            count.eq(count + ended - (ends.o.valid & ends.o.ready)),
        ]
        m.d.comb += [
            ends.i.valid.eq(ended), segmenter.open.eq(count == 0), segmenter.stored.eq(stored),
        ]
        with m.If(ended):
            m.d.sync += stored.eq(0)
        with m.Elif(stores):
            m.d.sync += stored.eq(stored + self.width // 8)
