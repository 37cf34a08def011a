"""Telling the driver whether doorbells are needed."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.pcie.spec import MemoryRequest, TlpType
from hdl.stream import Queue, TlpBeat

from .spec import EventFlags, EventSuppression, Pulse, QueueConfig
from .stages import Suppression

__all__ = ["Suppress"]


class Suppress(wiring.Component):
    """Writes Device Event Suppression (VIRTIO 1.4, Packed Virtqueues): 4 bytes, flags ENABLE or DISABLE, the rest 0.
    With VIRTIO_F_EVENT_IDX, DESC and the position awaited in place of ENABLE: one doorbell, for the descriptor there.

    One write at a time, in the order asked for. A write is reported as `switched` when it has its place in the posted
    order: a read issued from then on does not pass it, so a descriptor published before the driver saw the write,
    without a doorbell, is found by that read. During `quiesce` what was asked for is dropped, and nothing reported.

    Parameters
    ----------
    width, queues, queue_bits : int

    Attributes
    ----------
    event_index : In(1)
        VIRTIO_F_EVENT_IDX was negotiated
    init : In(Pulse)
    quiesce : In(1)
    requests : stream of Suppression in
        two of each queue are always taken
    switched : stream of Suppression out
    config_queue : Out, config : In(QueueConfig)
    o : stream of TlpBeat out
    accepted : In(1)
        pulse: the write has its place
    idle : Out(1)
    """

    def __init__(self, width, queues, queue_bits):
        self.width = width
        self.queues = queues
        self.queue_bits = queue_bits
        super().__init__({
            "event_index": In(1),
            "init": In(Pulse(queue_bits)),
            "quiesce": In(1),
            "requests": In(stream.Signature(Suppression(queue_bits))),
            "switched": Out(stream.Signature(Suppression(queue_bits))),
            "config_queue": Out(queue_bits),
            "config": In(QueueConfig),
            "o": Out(stream.Signature(TlpBeat(width))),
            "accepted": In(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        waiting = Queue(Suppression(self.queue_bits), 2 * self.queues + 2, block=False)
        m.submodules.waiting = ResetInserter(self.init.valid)(waiting)
        wiring.connect(m, wiring.flipped(self.requests), waiting.i)
        request = waiting.o.payload
        four_dw, high, low = MemoryRequest.place_address(Cat(C(0, 2), self.config.device[2:]))
        header, words = Signal(MemoryRequest()), Signal(EventSuppression)
        m.d.comb += [
            self.config_queue.eq(request.queue),
            header.length.eq(1), header.type.eq(TlpType.MEMORY.value), header.with_data.eq(1),
            header.four_dw.eq(four_dw), header.high.eq(high), header.low.eq(low), header.first_be.eq(0xf),
            words.flags.eq(Mux(request.enable, Mux(self.event_index, EventFlags.DESC, EventFlags.ENABLE),
                               EventFlags.DISABLE)),
            self.switched.payload.eq(request),
        ]
        with m.If(self.event_index & request.enable):
            m.d.comb += [words.offset.eq(request.position.index), words.wrap.eq(request.position.wrap)]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += [
                    self.o.payload.header.eq(header.as_value()), self.o.payload.data.eq(words.as_value()),
                    self.o.payload.keep.eq(1), self.o.payload.first.eq(1), self.o.payload.last.eq(1),
                ]
                with m.If(self.quiesce):
                    m.d.comb += waiting.o.ready.eq(1)
                with m.Elif(waiting.o.valid):
                    m.d.sync += self.o.valid.eq(1)
                    m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(self.o.ready):
                    m.d.sync += self.o.valid.eq(0)
                with m.If(self.accepted):
                    m.next = "REPORT"
            with m.State("REPORT"):
                m.d.comb += self.switched.valid.eq(1)
                with m.If(self.switched.ready):
                    m.d.comb += waiting.o.ready.eq(1)
                    m.next = "IDLE"
        m.d.comb += self.idle.eq(fsm.ongoing("IDLE") & ~waiting.o.valid)
        return m
