"""From the read engine to the wire."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..dma.spec import ReadBeat
from ..stream import Queue
from ..stream.axis import PacketToAxis
from ..taps import tap
from ..virtqueue.spec import Completion
from .checksum import ChecksumPatch, ChecksumSum, Patch
from .flow import FlowHash, SentFlow
from .frame_buffer import FrameBuffer
from .judge import PacketJudge
from .offload import FrameSent, TransmitFeatures
from .offload_path import OffloadPath
from .parse import HeaderParser
from .strip import HeaderStrip

__all__ = ["Transmit"]


# Completions that may wait for the engine, and beats between the sampling of `room` and the count of rows.
COMPLETIONS = 32
PIPELINE_BEATS = 4
# Rows that may come into the frame buffer after it was found full: the segmenter's, and one for the look.
PIPELINE_ROWS = 4


class Transmit(wiring.Component):
    """Packets of the transmit queues: header off, checksums and segmentation as it asks, into the frame buffer, out on
    the wire once complete.

    A frame starts on the wire only when it is inside entirely, so `eth_tx_tvalid` stays high to its last beat. A packet
    that the `PacketJudge`, the `OffloadPath` or the `Segmenter` finds not good never starts, but for segments that were
    complete before a read failed; its buffer is given back all the same, since its bytes have been read. Of a packet
    whose read was discarded there is no completion. One beat a cycle; from the last beat in to the first beat on the
    wire 4 cycles, or 9 with a checksum, to the completion 2.

    Parameters
    ----------
    config : NicConfig
    flight_beats : int
        most beats that the read engine has on their way behind its look at `room`: the depth of its drain pipeline

    Attributes
    ----------
    features : In(TransmitFeatures); long_header : In(1)
        negotiated; virtio_net_hdr has 20 bytes, not 12. Constant while anything comes
    shortest, longest : Out(17)
        bytes that a packet has at least and at most, virtio_net_hdr included
    i : In(stream(ReadBeat(width, pair_bits)))
        transactions of `Client.DATA_TX`; always ready as long as only those come that had `room`
    room : Out(1)
        a whole transaction of `config.part_bytes` can come besides those on their way
    completions : Out(stream(Completion(pair_bits)))
        one per packet, dropped ones included; while it stands still, `room` falls before one could be lost
    eth_tx_tdata, eth_tx_tkeep, eth_tx_tvalid, eth_tx_tlast : Out; eth_tx_tready : In(1)
        AXI4-Stream
    discard : In(1)
        a reset is under way: take whatever comes, room or not, and forget it; frames that are complete still leave
    clear : In(1)
        forget what has come of a packet whose rest will not come; while `idle`
    idle : Out(1)
        no beat, no packet to be segmented and no completion inside; complete frames may still wait for the wire
    flow : Out(SentFlow(pair_bits))
        pulse, 4 cycles after the last of a frame's headers has left
    sent : Out(FrameSent(pair_bits, max_frame))
        pulse: a frame was handed to the wire side
    dropped_malformed, dropped_error : Out(1); dropped_queue : Out(pair_bits)
        pulse: a packet was dropped because of its length or chain; because its read failed; queue that it came from
    refused : Out(1); refused_queue : Out(pair_bits)
        pulse: a packet was dropped because of its header; queue that it came from
    """

    def __init__(self, config, flight_beats=8):
        self.config = config
        self.flight_beats = flight_beats
        # A transaction may begin and end within a row.
        self._reserve = -(-config.part_bytes // config.bytes_per_beat) + 1 + flight_beats + PIPELINE_BEATS
        self._rows = config.tx_buffer // config.bytes_per_beat
        # What waits unless there is `room` is enough for the longest segment, and a byte to tell that more follows.
        if self._reserve + -(-config.max_frame // config.bytes_per_beat) + 2 > self._rows:
            raise ValueError(f"flight_beats of {flight_beats!r} leave no room for a frame in {self._rows} rows")
        if flight_beats + 2 * PIPELINE_BEATS > COMPLETIONS:
            raise ValueError(f"flight_beats must be at most {COMPLETIONS - 2 * PIPELINE_BEATS}, not {flight_beats!r}")
        super().__init__({
            "features": In(TransmitFeatures), "long_header": In(1), "shortest": Out(17), "longest": Out(17),
            "i": In(stream.Signature(ReadBeat(config.width, config.pair_bits))),
            "room": Out(1),
            "completions": Out(stream.Signature(Completion(config.pair_bits))),
            "eth_tx_tdata": Out(config.width), "eth_tx_tkeep": Out(config.bytes_per_beat),
            "eth_tx_tvalid": Out(1), "eth_tx_tready": In(1), "eth_tx_tlast": Out(1),
            "discard": In(1), "clear": In(1), "idle": Out(1),
            "flow": Out(SentFlow(config.pair_bits)), "sent": Out(FrameSent(config.pair_bits, config.max_frame)),
            "dropped_malformed": Out(1), "dropped_error": Out(1), "dropped_queue": Out(config.pair_bits),
            "refused": Out(1), "refused_queue": Out(config.pair_bits),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.judge = judge = PacketJudge(config.width, config.pair_bits, config.max_frame)
        m.submodules.strip = strip = HeaderStrip(config.width, config.pair_bits)
        path = OffloadPath(config.width, config.pair_bits, config.max_frame, config.tx_buffer)
        m.submodules.path = ResetInserter(self.discard)(path)
        m.submodules.buffer = buffer = FrameBuffer(config.width, config.tx_buffer,
                                                   {"queue": config.pair_bits, "patched": 1})
        m.submodules.completions = completions = Queue(Completion(config.pair_bits), COMPLETIONS)

        wiring.connect(m, wiring.flipped(self.i), strip.i)
        wiring.connect(m, completions.o, wiring.flipped(self.completions))
        judged = Signal()   # the judge's word is about a beat taken a cycle ago
        ended = judged & judge.ended & ~self.discard
        m.d.sync += judged.eq(judge.taken)
        m.d.comb += [
            judge.long_header.eq(self.long_header),
            judge.long_packets.eq(self.features.segments()),
            self.shortest.eq(judge.shortest), self.longest.eq(judge.longest),
            judge.beat.eq(self.i.payload), judge.taken.eq(self.i.valid & self.i.ready), judge.clear.eq(self.clear),
            judge.segmented.eq(path.segmented),
            strip.long_header.eq(self.long_header), strip.bytes.eq(judge.bytes),
            strip.packet_ends.eq(judge.packet_ends), strip.good.eq(judge.good), strip.cut.eq(judge.cut),
            strip.clear.eq(self.clear),
            completions.i.valid.eq(ended & ~judge.discarded), completions.i.payload.eq(judge.completion),
            self.idle.eq(strip.idle & path.idle & ~judged & ~completions.o.valid),
        ]
        self._offload(m, judge, judged, strip, path, buffer)
        self._send(m, path, buffer)
        self._watch_flows(m, buffer)
        self._watch_room(m, buffer, completions, path, strip)
        self._count(m, ended, judge, path)
        tap(m, "tx.judged", judged & judge.ended, good=judge.good, bytes=judge.bytes)
        tap(m, "tx.refused", self.refused, queue=self.refused_queue)
        tap(m, "tx.complete", self.sent.valid, queue=self.sent.queue, first=~self.sent.segment | self.sent.first,
            last=~self.sent.segment | self.sent.last)
        return m

    def _offload(self, m, judge, judged, strip, path, buffer):
        """From the strip through the path to the frame buffer."""
        o = path.o
        for name in ("write", "commit", "abort", "row", "queue", "header", "header_complete", "total"):
            m.d.comb += getattr(path, name).eq(getattr(strip, name))
        with m.If((judged & judge.ended) | self.clear):
            m.d.sync += [path.verified.eq(0), path.hopeless.eq(0)]
        with m.Elif(judged):
            m.d.sync += path.hopeless.eq(judge.hopeless)
            with m.If(judge.part):
                m.d.sync += path.verified.eq(judge.bytes)
        m.d.comb += [
            path.features.eq(self.features),
            buffer.write.eq(o.write & ~self.discard), buffer.commit.eq(o.commit & ~self.discard),
            buffer.abort.eq(o.abort | self.discard | self.clear),
            buffer.row.queue.eq(o.queue), buffer.row.patched.eq(o.job.wanted),
            *(buffer.row[name].eq(o.row[name]) for name in ("data", "bytes", "first", "last")),
        ]

    def _send(self, m, path, buffer):
        """Checksums into the frames that leave; every frame in the buffer may have one."""
        config = self.config
        m.submodules.sum = sum = ChecksumSum(config.width, config.max_frame)
        m.submodules.patches = patches = Queue(Patch(config.max_frame), self._rows)
        m.submodules.patch = patch = ChecksumPatch(config.width, config.max_frame)
        m.submodules.axis = axis = PacketToAxis(config.width)
        m.d.comb += [patches.i.valid.eq(sum.patches.valid), patches.i.payload.eq(sum.patches.payload)]
        wiring.connect(m, patches.o, patch.patches)
        wiring.connect(m, patch.o, axis.i)
        m.d.comb += [
            sum.row.eq(path.o.row), sum.write.eq(buffer.write), sum.ends.eq(buffer.commit), sum.job.eq(path.o.job),
            patch.i.valid.eq(buffer.o.valid), buffer.o.ready.eq(patch.i.ready),
            patch.patched.eq(buffer.o.payload.patched),
            *(patch.i.payload[name].eq(buffer.o.payload[name]) for name in ("data", "bytes", "first", "last")),
        ]
        for name in ("tdata", "tkeep", "tvalid", "tlast"):
            m.d.comb += getattr(self, f"eth_tx_{name}").eq(getattr(axis, name))
        m.d.comb += axis.tready.eq(self.eth_tx_tready)

    def _watch_flows(self, m, buffer):
        """Whose flow leaves: only frames that go out come to the buffer's end."""
        row = buffer.o.payload
        m.submodules.parser = parser = HeaderParser(self.config.width, self.config.pair_bits)
        m.submodules.flow_hash = flow_hash = FlowHash()
        m.d.comb += [
            parser.taken.eq(buffer.o.valid & buffer.o.ready), parser.context.eq(row.queue),
            flow_hash.headers.eq(parser.headers),
        ]
        m.d.comb += [parser.beat[name].eq(row[name]) for name in ("data", "bytes", "first", "last")]
        m.d.sync += [
            self.flow.valid.eq(parser.valid), self.flow.hash.eq(flow_hash.hash),
            self.flow.queue.eq(parser.headers_context),
        ]

    def _watch_room(self, m, buffer, completions, path, strip):
        """`room` reserves for what may be on its way; `enable` stops a read engine that sends without asking."""
        m.d.sync += [
            self.room.eq(self.discard | (path.used <= self._rows - self._reserve)
                         & (completions.level <= COMPLETIONS - self.flight_beats - PIPELINE_BEATS)),
            strip.enable.eq(self.discard | (path.used <= self._rows - PIPELINE_BEATS)
                            & (completions.level <= COMPLETIONS - PIPELINE_BEATS)),
            path.enable.eq(buffer.used <= self._rows - PIPELINE_ROWS),
        ]

    def _count(self, m, ended, judge, path):
        """Frames as they become complete; a frame's bytes are those of its rows."""
        o, sent, before = path.o, self.sent, Signal.like(self.sent.bytes)
        write, commit = o.write & ~self.discard, o.commit & ~self.discard
        with m.If(write):
            m.d.sync += before.eq(Mux(o.row.first, 0, before) + o.row.bytes)
        m.d.sync += [
            sent.valid.eq(commit), sent.queue.eq(o.queue), sent.bytes.eq(Mux(o.row.first, 0, before) + o.row.bytes),
            sent.needs_csum.eq(o.needs_csum), sent.segment.eq(o.segment), sent.first.eq(o.first),
            sent.last.eq(o.final), sent.packet_bytes.eq(o.packet_bytes),
            self.dropped_malformed.eq(ended & judge.malformed), self.dropped_error.eq(ended & judge.error),
            self.dropped_queue.eq(judge.completion.queue),
            self.refused.eq(path.malformed & ~self.discard), self.refused_queue.eq(path.malformed_queue),
        ]
