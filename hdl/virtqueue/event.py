"""Asking the driver whether it wants to be interrupted for what was published."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import ReadBeat, ReadCommand, ReadStatus
from hdl.stream import Queue

from .initialise import InitialiseWalk
from .spec import EventFlags, EventSuppression, QueueConfig

__all__ = ["Event"]


class _Answer(data.StructLayout):
    """What a read brought. `wanted` the driver wants the interrupt; `failed` the read did."""

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "wanted": 1, "failed": 1})


class Event(wiring.Component):
    """Reads Driver Event Suppression once per published batch and decides on the interrupt (VIRTIO 1.4, Driver and
    Device Event Suppression).

    One read per queue is under way. A batch published meanwhile may have been missed by it, so the structure is read
    again afterwards: any number of such batches makes one more read. Since `notify` tells of batches that the posted
    path has accepted, no read can be ahead of the used descriptors in question.

    DISABLE suppresses. ENABLE interrupts; so does DESC, whose position is valid only with VIRTIO_F_EVENT_IDX, which is
    not offered, and so does the reserved value: an interrupt too many costs a little, one too few stops the queue.

    No read is begun, and no interrupt asked for, for a queue that is not enabled or, with MSI-X enabled, has no vector;
    nor while not `live` or while `quiesce`. Batches told of in such a time are forgotten.

    Takes one notification or answer a cycle. `notify` to `reads`: 2 cycles; `beats` to `interrupts`: 3 cycles. There is
    a place for the answer to every read that can be under way: `beats` never waits.

    After reset and after `clear` the state of every queue is written, one queue a cycle.

    Parameters
    ----------
    config : NicConfig
        takes width, pairs, pair_bits
    client : dma.spec.Client
        EVENT_RX or EVENT_TX

    Attributes
    ----------
    notify : stream of {queue} in
    reads : stream of ReadCommand out
    beats : stream of ReadBeat in
    room : Out(1)
        always 1
    interrupts : stream of {queue, vector} out
        vector as in `QueueConfig`
    config_queue : Out; config : In
        configuration of the queue asked for, in the same cycle
    msix_enable, live, quiesce : In(1)
    clear : In(1)
        pulse while idle
    error : Out(1)
        pulse: a read failed, other than by being discarded in a reset: the device needs a reset
    idle : Out(1)
        nothing under way or waiting, and no walk
    """

    def __init__(self, config, client):
        self.width = config.width
        self.queues = config.pairs
        self.queue_bits = config.pair_bits
        self.client = client
        super().__init__({
            "notify": In(stream.Signature(data.StructLayout({"queue": self.queue_bits}))),
            "reads": Out(stream.Signature(ReadCommand(self.queue_bits))),
            "beats": In(stream.Signature(ReadBeat(self.width, self.queue_bits))),
            "room": Out(1),
            "interrupts": Out(stream.Signature(data.StructLayout({"queue": self.queue_bits, "vector": 12}))),
            "config_queue": Out(self.queue_bits),
            "config": In(QueueConfig),
            "msix_enable": In(1),
            "live": In(1),
            "quiesce": In(1),
            "clear": In(1),
            "error": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        answers = self._answers(m)
        m.submodules.walk = walk = InitialiseWalk(self.queues, self.queue_bits)
        m.d.comb += walk.clear.eq(self.clear)
        walking = walk.walking

        # First cycle: choose. Answers go first; there are never more of them than reads.
        turn = Signal(data.StructLayout({"valid": 1, "is_answer": 1, **_Answer(self.queue_bits).members}))
        take = Signal()
        load = Signal()
        m.d.comb += [
            load.eq((~turn.valid | take) & ~walking),
            answers.ready.eq(load),
            self.notify.ready.eq(load & ~answers.valid),
        ]
        with m.If(load):
            m.d.sync += [
                turn.valid.eq(answers.valid | self.notify.valid),
                turn.is_answer.eq(answers.valid),
                turn.queue.eq(Mux(answers.valid, answers.payload.queue, self.notify.payload.queue)),
                turn.wanted.eq(answers.payload.wanted),
                turn.failed.eq(answers.payload.failed),
            ]

        # Second cycle: the queue's state and configuration are read, judged, and the state is written.
        m.submodules.states = states = Memory(
            shape=data.StructLayout({"reading": 1, "again": 1}), depth=1 << self.queue_bits, init=[])
        state, write = states.read_port(domain="comb"), states.write_port()
        allowed, read = Signal(), Signal()
        no_vector = self.msix_enable & self.config.vector[11]
        m.d.comb += [
            self.config_queue.eq(turn.queue),
            state.addr.eq(turn.queue),
            allowed.eq(self.live & ~self.quiesce & self.config.enabled & ~no_vector),
            read.eq(allowed & (Mux(turn.is_answer, state.data.again, ~state.data.reading))),
            write.addr.eq(Mux(walking, walk.queue, turn.queue)),
            write.en.eq(walking | take),
        ]
        with m.If(~walking):
            m.d.comb += [
                write.data.reading.eq(read | (state.data.reading & ~turn.is_answer)),
                write.data.again.eq(state.data.reading & ~turn.is_answer),
            ]
        self._outputs(m, turn, take, read, allowed)
        m.d.sync += self.error.eq(take & turn.is_answer & turn.failed)

        under_way = Signal(range(self.queues + 1))
        m.d.sync += under_way.eq(under_way + (take & read) - (take & turn.is_answer))
        m.d.comb += self.idle.eq(~walking & ~self.clear & ~turn.valid & (under_way == 0)
                                 & ~self.reads.valid & ~self.interrupts.valid)
        return m

    def _answers(self, m):
        """Judges what is read, and stores the verdict; returns the stream of verdicts."""
        m.submodules.answers = answers = Queue(_Answer(self.queue_bits), max(2, self.queues), block=False)
        beat = self.beats.payload
        structure = EventSuppression(beat.data[:EventSuppression.as_shape().size])
        m.d.comb += [
            self.room.eq(1),
            self.beats.ready.eq(answers.i.ready),
            answers.i.valid.eq(self.beats.valid & beat.last),
            answers.i.payload.queue.eq(beat.queue),
            answers.i.payload.wanted.eq((beat.status == ReadStatus.OK) & (structure.flags != EventFlags.DISABLE)),
            answers.i.payload.failed.eq((beat.status != ReadStatus.OK) & (beat.status != ReadStatus.DISCARDED)),
        ]
        return answers.o

    def _outputs(self, m, turn, take, read, allowed):
        m.submodules.read_queue = reads = Queue(ReadCommand(self.queue_bits), 2)
        m.submodules.interrupt_queue = interrupts = Queue(self.interrupts.signature.members["payload"].shape, 2)
        wiring.connect(m, reads.o, wiring.flipped(self.reads))
        wiring.connect(m, interrupts.o, wiring.flipped(self.interrupts))
        command = reads.i.payload
        m.d.comb += [
            take.eq(turn.valid & reads.i.ready & interrupts.i.ready),
            reads.i.valid.eq(take & read),
            command.client.eq(self.client),
            command.queue.eq(turn.queue),
            command.address.eq(self.config.driver),
            command.length.eq(4),
            command.last.eq(1),
            interrupts.i.valid.eq(take & turn.is_answer & turn.wanted & allowed),
            interrupts.i.payload.queue.eq(turn.queue),
            interrupts.i.payload.vector.eq(self.config.vector),
        ]
