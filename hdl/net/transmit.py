"""From the read engine to the wire."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..dma.spec import ReadBeat
from ..stream import Queue
from ..stream.axis import PacketToAxis
from ..taps import tap
from ..virtqueue.spec import Completion
from .flow import FlowHash, SentFlow
from .frame_buffer import FrameBuffer
from .judge import PacketJudge
from .parse import HeaderParser
from .spec import HEADER_SIZES
from .strip import HeaderStrip

__all__ = ["Transmit"]


# Completions that may wait for the engine, and beats between the sampling of `room` and the frame buffer's count.
COMPLETIONS = 32
PIPELINE_BEATS = 4


class Transmit(wiring.Component):
    """Packets of the transmit queues: header off, into the frame buffer, out on the wire once complete.

    A frame starts on the wire only when it is inside entirely, so `eth_tx_tvalid` stays high to its last beat. A packet
    that the `PacketJudge` finds not good never starts; its buffer is given back all the same, since its bytes have been
    read. Of a packet whose read was discarded there is no completion. One beat a cycle; from the last beat in to the
    first beat on the wire 4 cycles, to the completion 2.

    Parameters
    ----------
    config : NicConfig
    header_bytes : int
        bytes of virtio_net_hdr: 12, 20, 24 or 32
    part_bytes : int
        bytes of one transaction that `room` reserves; by default a whole packet of the largest frame, which is enough
        for transactions of any length, since nothing is stored of what makes a packet too long
    flight_beats : int
        most beats that the read engine has on their way behind its look at `room`: the depth of its drain pipeline

    Attributes
    ----------
    i : In(stream(ReadBeat(width, pair_bits)))
        transactions of `Client.DATA_TX`; always ready as long as only those come that had `room`
    room : Out(1)
        a whole transaction can come besides those on their way
    completions : Out(stream(Completion(pair_bits)))
        one per packet, dropped ones included; while it stands still, `room` falls before one could be lost
    eth_tx_tdata, eth_tx_tkeep, eth_tx_tvalid, eth_tx_tlast : Out; eth_tx_tready : In(1)
        AXI4-Stream
    discard : In(1)
        a reset is under way: take whatever comes, room or not, and forget it; what is complete still leaves
    clear : In(1)
        forget what has come of a packet whose rest will not come; while `idle`
    idle : Out(1)
        no beat and no completion inside; complete frames may still wait for the wire
    flow : Out(SentFlow(pair_bits))
        pulse, 4 cycles after the last of a frame's headers has left
    sent, sent_bytes : Out
        pulse: a frame was handed to the wire side; its bytes
    counted_queue : Out(pair_bits)
        with `sent` and the pulses below: local index of the packet's queue
    dropped_malformed, dropped_error : Out(1)
        pulse: a packet was dropped because of its length or chain; because its read failed
    """

    def __init__(self, config, header_bytes=12, part_bytes=None, flight_beats=8):
        if header_bytes not in HEADER_SIZES:
            raise ValueError(f"virtio_net_hdr has one of {HEADER_SIZES} bytes, not {header_bytes!r}")
        self.config = config
        self.header_bytes = header_bytes
        self.flight_beats = flight_beats
        part_bytes = part_bytes or header_bytes + config.max_frame
        # A transaction may begin and end within a row.
        self._reserve = -(-part_bytes // config.bytes_per_beat) + 1 + flight_beats + PIPELINE_BEATS
        self._rows = config.tx_buffer // config.bytes_per_beat
        # Before its last part comes, a packet holds rows that nothing frees.
        longest = -(-config.max_frame // config.bytes_per_beat)
        if self._reserve + longest > self._rows:
            raise ValueError(f"tx_buffer of {config.tx_buffer!r} bytes does not hold the largest frame and a "
                             f"transaction of {part_bytes!r} bytes besides")
        if flight_beats + 2 * PIPELINE_BEATS > COMPLETIONS:
            raise ValueError(f"flight_beats must be at most {COMPLETIONS - 2 * PIPELINE_BEATS}, not {flight_beats!r}")
        super().__init__({
            "i": In(stream.Signature(ReadBeat(config.width, config.pair_bits))),
            "room": Out(1),
            "completions": Out(stream.Signature(Completion(config.pair_bits))),
            "eth_tx_tdata": Out(config.width), "eth_tx_tkeep": Out(config.bytes_per_beat),
            "eth_tx_tvalid": Out(1), "eth_tx_tready": In(1), "eth_tx_tlast": Out(1),
            "discard": In(1), "clear": In(1), "idle": Out(1),
            "flow": Out(SentFlow(config.pair_bits)),
            "sent": Out(1), "sent_bytes": Out(range(config.max_frame + 1)), "counted_queue": Out(config.pair_bits),
            "dropped_malformed": Out(1), "dropped_error": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.judge = judge = PacketJudge(config.width, config.pair_bits, self.header_bytes, config.max_frame)
        m.submodules.strip = strip = HeaderStrip(config.width, config.pair_bits, self.header_bytes)
        m.submodules.buffer = buffer = FrameBuffer(config.width, config.tx_buffer, {"queue": config.pair_bits})
        m.submodules.axis = axis = PacketToAxis(config.width)
        m.submodules.completions = completions = Queue(Completion(config.pair_bits), COMPLETIONS)

        wiring.connect(m, wiring.flipped(self.i), strip.i)
        wiring.connect(m, completions.o, wiring.flipped(self.completions))
        judged = Signal()   # the judge's word is about a beat taken a cycle ago
        m.d.sync += judged.eq(judge.taken)
        m.d.comb += [
            judge.beat.eq(self.i.payload), judge.taken.eq(self.i.valid & self.i.ready), judge.clear.eq(self.clear),
            strip.packet_ends.eq(judge.packet_ends), strip.good.eq(judge.good), strip.cut.eq(judge.cut),
            strip.clear.eq(self.clear),
            buffer.write.eq(strip.write & ~self.discard), buffer.row.queue.eq(strip.queue),
            buffer.commit.eq(strip.commit & ~self.discard),
            buffer.abort.eq(strip.abort | (strip.commit & self.discard)),
            completions.i.valid.eq(judged & judge.ended & ~judge.discarded & ~self.discard),
            completions.i.payload.eq(judge.completion),
            self.idle.eq(strip.idle & ~judged & ~completions.o.valid),
        ]
        self._send(m, strip, buffer, axis)
        self._watch_flows(m, buffer)
        self._watch_room(m, buffer, completions, strip)
        self._count(m, judged & judge.ended & ~self.discard, judge)
        tap(m, "tx.judged", judged & judge.ended, good=judge.good, bytes=judge.bytes)
        return m

    def _send(self, m, strip, buffer, axis):
        """Rows into the buffer and from there to the wire."""
        for name in ("data", "bytes", "first", "last"):
            m.d.comb += [buffer.row[name].eq(strip.row[name]), axis.i.payload[name].eq(buffer.o.payload[name])]
        m.d.comb += [axis.i.valid.eq(buffer.o.valid), buffer.o.ready.eq(axis.i.ready)]
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

    def _watch_room(self, m, buffer, completions, strip):
        """`room` reserves for what may be on its way; `enable` stops a read engine that sends without asking."""
        m.d.sync += [
            self.room.eq(self.discard | (buffer.used <= self._rows - self._reserve)
                         & (completions.level <= COMPLETIONS - self.flight_beats - PIPELINE_BEATS)),
            strip.enable.eq(self.discard | (buffer.used <= self._rows - PIPELINE_BEATS)
                            & (completions.level <= COMPLETIONS - PIPELINE_BEATS)),
        ]

    def _count(self, m, ended, judge):
        m.d.sync += [
            self.sent.eq(ended & judge.good), self.sent_bytes.eq(judge.bytes),
            self.counted_queue.eq(judge.completion.queue),
            self.dropped_malformed.eq(ended & judge.malformed), self.dropped_error.eq(ended & judge.error),
        ]
