"""Segmentation of transmitted packets (TCP over IPv4 and IPv6, UDP)."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat
from .checksum import ChecksumJob
from .offload import CHECKSUM_BYTES, CHECKSUM_OF_TCP, CHECKSUM_OF_UDP, Offload
from .segment_plan import Arrived, SegmentPlan
from .segment_rows import SegmentRows
from .segment_scan import FIRST_WORD, TCP_SCANNED, UDP_SCANNED, HeaderScan
from .spec import LONGEST_PACKET

__all__ = ["LeavingRow", "PacketEnd", "PacketRow", "Segmenter"]


class PacketRow(data.StructLayout):
    """A row of a packet behind its header: `row`; or, with `marker`, the end of a packet that isn't to be sent. On each
    of a packet's rows `queue` it came from, local index, and `offload`."""

    def __init__(self, width, pair_bits):
        super().__init__({"row": PacketBeat(width), "marker": 1, "queue": pair_bits, "offload": Offload})


class LeavingRow(data.StructLayout):
    """A row of a frame that leaves, for the frame buffer.

    Fields: `write` it; `commit` the frame that ends with it, or `abort` it; `row`, `queue`; `job` its checksum;
    `needs_csum`, `segment`, `first`, `packet_bytes` as in `FrameSent`, `final` is its `last`.
    """

    def __init__(self, width, pair_bits, max_frame):
        super().__init__({
            "write": 1, "commit": 1, "abort": 1, "row": PacketBeat(width), "queue": pair_bits,
            "job": ChecksumJob(max_frame), "needs_csum": 1, "segment": 1, "first": 1, "final": 1,
            "packet_bytes": range(LONGEST_PACKET + 1),
        })


class PacketEnd(data.Struct):
    """The end of a packet to be segmented: whether it is `good`, then its `total` bytes."""
    good: 1
    total: range(LONGEST_PACKET + 1)


class Segmenter(wiring.Component):
    """Cuts packets whose header asks for it in segments, and lets others pass.

    Headers are taken from the packet: Ethernet with up to two VLAN tags, IPv4 with options or IPv6 with extension
    headers, and TCP with options or UDP at csum_start; 256 bytes at most. Each segment has a copy with its own lengths,
    IPv4 identification (counted up) and checksum, TCP sequence number; FIN and PSH only in the last one, CWR only in
    the first. Its TCP or UDP checksum is left as a `job`, of the pseudo-header as it is in the segment. (VIRTIO 1.4,
    "Packet Transmission"; RFC 9293, RFC 3168, RFC 768.)

    A segment leaves when all its bytes are there and were read without error, so of a packet that ends in an error the
    first segments may have left. Nothing leaves of a packet that is *malformed*: not `legal`, with headers that
    contradict its `offload` or are too long, without payload, or with segments longer than `max_frame`; a packet no
    longer than gso_size is one segment. A row a cycle, without a gap between segments of at least 10 rows; between two
    packets 24 to 32 cycles, and one more for every 4 bytes of options.

    Parameters
    ----------
    width, pair_bits : int
    max_frame : int
        bytes of the longest frame

    Attributes
    ----------
    i : In(stream(PacketRow(width, pair_bits)))
    ends : In(stream(PacketEnd))
        of packets to be segmented, in order; not before their last row or marker has been stored
    open, hopeless : In(1); stored, verified : In(18)
        none has ended of those to be segmented that have not been taken from `ends`; see `Arrived`
    enable : In(1)
        rows may leave; 3 more may come after it falls
    o : Out(LeavingRow(width, pair_bits, max_frame))
    malformed : Out(1); malformed_queue : Out(pair_bits); hold : In(1)
        pulse, never with `hold`: a packet that was read without error was found malformed here; queue it came from
    idle : Out(1)
        nothing is under way, but what `i` offers
    """

    def __init__(self, width, pair_bits, max_frame):
        self.width = width
        self.pair_bits = pair_bits
        self.max_frame = max_frame
        super().__init__({
            "i": In(stream.Signature(PacketRow(width, pair_bits))), "ends": In(stream.Signature(PacketEnd)),
            "open": In(1), "hopeless": In(1), "stored": In(18), "verified": In(18), "enable": In(1),
            "o": Out(LeavingRow(width, pair_bits, max_frame)),
            "malformed": Out(1), "malformed_queue": Out(pair_bits), "hold": In(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = SegmentRows(self.width, self.max_frame)
        m.submodules.scan = scan = HeaderScan()
        m.submodules.plan = plan = SegmentPlan(self.max_frame)
        offload, queue = Signal(Offload), Signal(self.pair_bits)
        wiring.connect(m, plan.segments, rows.segments)
        arrived = Signal(Arrived)
        m.d.comb += [
            scan.offload.eq(offload), plan.offload.eq(offload), plan.facts.eq(scan.facts), plan.arrived.eq(arrived),
            arrived.ended.eq(self.ends.valid), arrived.good.eq(self.ends.payload.good),
            arrived.total.eq(self.ends.payload.total), arrived.open.eq(self.open), arrived.hopeless.eq(self.hopeless),
            arrived.stored.eq(self.stored), arrived.verified.eq(self.verified),
            plan.free.eq(rows.free), rows.write.eq(plan.write), rows.size.eq(scan.facts.size),
            rows.gso_size.eq(offload.gso_size), rows.enable.eq(self.enable),
            rows.rows.payload.row.eq(self.i.payload.row), rows.rows.payload.marker.eq(self.i.payload.marker),
        ]
        plain, begins = Signal(), Signal()
        self._control(m, offload, rows, scan, plan, plain, begins)
        with m.If(begins):
            m.d.sync += [offload.eq(self.i.payload.offload), queue.eq(self.i.payload.queue)]
        m.d.comb += [
            self.malformed_queue.eq(queue),
            # Without a packet to be segmented these are not ready for any row.
            rows.rows.valid.eq(self.i.valid), self.i.ready.eq(Mux(plain, self.enable, rows.rows.ready)),
        ]
        self._leave(m, offload, queue, rows, scan, plain)
        return m

    def _control(self, m, offload, rows, scan, plan, plain, begins):
        count = self.width // 32
        word = Signal(range(count))                # of `here`, next to be scanned
        fresh, through = Signal(), Signal()        # no word has been scanned; all words of `here` have
        bad = Signal()                             # the packet is malformed
        # The word that ends a scan lies in no row so far; a cycle late, but rows come further apart.
        more = Signal()
        m.d.sync += more.eq(rows.loaded <= offload.start + Mux(offload.tcp, TCP_SCANNED, UDP_SCANNED))
        words = Array(rows.here.data.word_select(n, 32) for n in range(count))
        m.d.sync += [scan.valid.eq(0), scan.word.eq(words[word])]
        with m.If(plan.malformed):
            m.d.sync += bad.eq(1)
        with m.FSM():
            with m.State("idle"):
                m.d.comb += [
                    self.idle.eq(rows.idle), plain.eq(rows.idle & self.i.valid & ~self.i.payload.offload.segment),
                    # Rows that are still inside have left when `offload` changes.
                    begins.eq(self.i.valid & self.i.payload.offload.segment),
                ]
                m.d.sync += [word.eq(FIRST_WORD), fresh.eq(1), through.eq(0), bad.eq(0)]
                with m.If(begins):
                    m.d.comb += [rows.load.eq(1), rows.begin.eq(1)]
                    m.next = "scan"
                    with m.If(~self.i.payload.offload.legal):
                        m.d.sync += bad.eq(1)
                        m.next = "drop"
            with m.State("scan"):
                # `begin` comes with the first word, which is seen a cycle later.
                m.d.comb += scan.begin.eq(fresh)
                with m.If(~scan.begin & scan.done & (~scan.good | (rows.loaded >= scan.facts.size))):
                    m.d.comb += plan.begin.eq(scan.good)
                    m.d.sync += bad.eq(~scan.good)
                    m.next = "give"
                    with m.If(~scan.good):
                        m.next = "drop"
                with m.Elif((~scan.begin & scan.done) | through):
                    # What was scanned last may have been enough.
                    m.d.comb += rows.load.eq((~scan.valid | more) & ~rows.ended)
                    with m.If(rows.load & self.i.valid):
                        m.d.sync += through.eq(0)
                    with m.If(~scan.valid & rows.ended):
                        m.d.sync += bad.eq(1)
                        m.next = "drop"
                with m.Else():
                    m.d.sync += [scan.valid.eq(1), word.eq(word + 1), fresh.eq(0), through.eq(word == count - 1)]
            with m.State("give"):
                with m.If(plan.idle & rows.segments.ready):
                    m.next = "drop"
            with m.State("drop"):
                # What is left of the packet; nothing if it was given out.
                m.d.comb += rows.load.eq(~rows.ended)
                with m.If(rows.ended & self.ends.valid & ~self.hold):
                    m.d.comb += [self.ends.ready.eq(1), self.malformed.eq(bad & self.ends.payload.good)]
                    m.next = "idle"

    def _leave(self, m, offload, queue, rows, scan, plain):
        o, passing = self.o, self.i.payload
        total = Signal(range(LONGEST_PACKET + 1))
        with m.If(self.ends.valid & ~self.idle):
            m.d.sync += total.eq(self.ends.payload.total)
        with m.If(rows.valid):
            m.d.comb += [
                o.write.eq(1), o.commit.eq(rows.o.last), o.row.eq(rows.o), o.queue.eq(queue),
                o.job.wanted.eq(1), o.job.start.eq(scan.facts.transport), o.job.initial.eq(rows.segment.pseudo),
                o.job.at.eq(scan.facts.transport + Mux(offload.tcp, CHECKSUM_OF_TCP, CHECKSUM_OF_UDP)),
                o.job.never_zero.eq(~offload.tcp),
                o.needs_csum.eq(1), o.segment.eq(1), o.first.eq(rows.segment.first), o.final.eq(rows.segment.last),
                o.packet_bytes.eq(total),
            ]
        with m.Else():
            passes = plain & self.enable
            m.d.comb += [
                o.write.eq(passes & ~passing.marker), o.abort.eq(passes & passing.marker),
                o.commit.eq(o.write & passing.row.last),
                o.row.eq(passing.row), o.queue.eq(passing.queue), plain_job(o.job, passing.offload),
                o.needs_csum.eq(passing.offload.needs_csum),
            ]


def plain_job(job, offload):
    """Checksum that the header of a packet that isn't segmented asks for."""
    return job.eq(Cat(offload.checksum, offload.start[:len(job.start)], C(0, 16),
                      (offload.end - CHECKSUM_BYTES)[:len(job.at)], offload.never_zero))
