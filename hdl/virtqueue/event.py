"""Asking the driver whether it wants to be interrupted for what was published."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import ReadBeat, ReadCommand, ReadStatus
from hdl.stream import Queue

from .initialise import InitialiseWalk
from .reset import StageReset
from .spec import EventFlags, EventSuppression, Position, Pulse, QueueConfig
from .stages import Notification

__all__ = ["Event"]


# Slots used since the last decision. All ones: that many or more; two passes, beyond which every position was passed,
# are at most 2**16.
SLOT_COUNT = 17


class _Answer(data.StructLayout):
    """What a read brought. `wanted` the driver wants the interrupt anyway; `depends` it does if `event` was passed;
    `failed` the read did."""

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "wanted": 1, "depends": 1, "failed": 1, "event": Position})


class _Turn(data.StructLayout):
    """A notification, or an answer with the range test half done: see `_measure`."""

    def __init__(self, queue_bits):
        super().__init__({
            "valid": 1, "is_answer": 1, "queue": queue_bits,
            "next": Position, "slots": 16, "moved": 1, "due": 1,
            "wanted": 1, "depends": 1, "failed": 1,
            "distance": signed(16), "same_pass": 1,
            "most": data.ArrayLayout(signed(SLOT_COUNT + 1), 3),
        })


class _State(data.Struct):
    """Of a queue. `reading` a read is under way; `again` make another one after it; `last` the used position as far as
    told; `later` slots up to there that no read so far was about."""
    reading: 1
    again: 1
    last: Position
    later: SLOT_COUNT


class _Asked(data.Struct):
    """What a read is about: `passed` slots up to the used position `at`, in a ring of `size`."""
    at: Position
    passed: SLOT_COUNT
    size: 16


class Event(wiring.Component):
    """Reads Driver Event Suppression once per published batch and decides on the interrupt (VIRTIO 1.4, Driver and
    Device Event Suppression).

    One read per queue is under way. A batch published meanwhile may have been missed by it, so the structure is read
    again afterwards: any number of such batches makes one more read. Since `notify` tells of batches that the posted
    path has accepted, no read can be ahead of the used descriptors in question. A batch that is not `due` makes no
    read; the next decision is about it, too.

    DISABLE suppresses, ENABLE interrupts. DESC with VIRTIO_F_EVENT_IDX interrupts if the position in the structure is
    one of those used since the decision before, modulo two passes of the ring; without the feature, and also for the
    reserved value, it counts as ENABLE: an interrupt too many costs a little, one too few stops the queue.

    No read is begun, and no interrupt asked for, for a queue that is not enabled or, with MSI-X enabled, has no vector;
    nor while not `live` or while `quiesce`. Batches told of in such a time count as decided upon.

    Takes one notification or answer a cycle. `notify` to `reads`: 2 cycles; `beats` to `interrupts`: 2 cycles. There is
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
    event_index : In(1)
        VIRTIO_F_EVENT_IDX was negotiated
    notify : stream of Notification in
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
    reset : In(StageReset)
        `quiet`: no read of the queue is under way; `decided` tells of notifications
    decided : Out(Pulse)
        the decision on a notification is made
    silent : Out(1)
        no interrupt waits to be taken
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
            "event_index": In(1),
            "notify": In(stream.Signature(Notification(self.queue_bits))),
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
            "reset": In(StageReset(self.queue_bits)), "decided": Out(Pulse(self.queue_bits)), "silent": Out(1),
            "error": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        answers = self._answers(m)
        m.submodules.walk = walk = InitialiseWalk(self.queues, self.queue_bits)
        m.submodules.asked = asked = Memory(shape=_Asked, depth=1 << self.queue_bits, init=[])
        about, ask = asked.read_port(domain="comb"), asked.write_port()
        m.d.comb += walk.clear.eq(self.clear)
        walking = walk.walking

        # First cycle: choose. Answers go first; there are never more of them than reads.
        turn = Signal(_Turn(self.queue_bits))
        take = Signal()
        load = Signal()
        notice = self.notify.payload
        m.d.comb += [
            load.eq((~turn.valid | take) & ~walking & ~self.reset.forget),
            answers.ready.eq(load),
            self.notify.ready.eq(load & ~answers.valid),
            about.addr.eq(answers.payload.queue),
        ]
        with m.If(load):
            m.d.sync += [
                turn.valid.eq(answers.valid | self.notify.valid),
                turn.is_answer.eq(answers.valid),
                turn.queue.eq(Mux(answers.valid, answers.payload.queue, notice.queue)),
                turn.next.eq(notice.next), turn.slots.eq(notice.slots), turn.moved.eq(notice.slots != 0),
                turn.due.eq(notice.due),
                turn.wanted.eq(answers.payload.wanted), turn.depends.eq(answers.payload.depends),
                turn.failed.eq(answers.payload.failed),
            ]
            self._measure(m, turn, about.data, answers.payload.event)
        with m.Elif(take):
            m.d.sync += turn.valid.eq(0)

        # Second cycle: the queue's state and configuration are read, judged, and the state is written.
        allowed, read = Signal(), Signal()
        no_vector = self.msix_enable & self.config.vector[11]
        m.d.comb += [
            self.config_queue.eq(turn.queue),
            allowed.eq(self.live & ~self.quiesce & self.config.enabled & ~no_vector),
            ask.addr.eq(turn.queue), ask.en.eq(take & read), ask.data.size.eq(self.config.size),
            self.decided.valid.eq(take & ~turn.is_answer), self.decided.queue.eq(turn.queue),
            self.reset.forgotten.eq(self.reset.forget & ~turn.valid),
        ]
        self._update(m, walk, turn, take, allowed, read, ask.data)
        self._outputs(m, turn, take, read, allowed)
        m.d.sync += self.error.eq(take & turn.is_answer & turn.failed)

        under_way = Signal(range(self.queues + 1))
        m.d.sync += under_way.eq(under_way + (take & read) - (take & turn.is_answer))
        m.d.comb += self.idle.eq(~walking & ~self.clear & ~turn.valid & (under_way == 0)
                                 & ~self.reads.valid & ~self.interrupts.valid)
        return m

    def _answers(self, m):
        """Judges what is read, and stores the verdict; returns the stream of verdicts."""
        m.submodules.answers = answers = Queue(_Answer(self.queue_bits), max(2, self.queues), block=False,
                                              through=True)
        beat, answer = self.beats.payload, answers.i.payload
        structure = EventSuppression(beat.data[:EventSuppression.as_shape().size])
        good, desc = beat.status == ReadStatus.OK, Signal()
        m.d.comb += [
            self.room.eq(1),
            self.beats.ready.eq(answers.i.ready),
            answers.i.valid.eq(self.beats.valid & beat.last),
            answer.queue.eq(beat.queue),
            desc.eq(self.event_index & (structure.flags == EventFlags.DESC)),
            answer.wanted.eq(good & (structure.flags != EventFlags.DISABLE) & ~desc),
            answer.depends.eq(good & desc),
            answer.event.index.eq(structure.offset), answer.event.wrap.eq(structure.wrap),
            answer.failed.eq(~good & (beat.status != ReadStatus.DISCARDED)),
        ]
        return answers.o

    def _measure(self, m, turn, asked, event):
        """First half of the range test. `event` was passed if it lies less than `passed` before the position before
        `at`; a difference of indices becomes a distance in ring order by adding nothing, one or two passes. That is
        known in the next cycle: here the passes are taken off the other side of the comparison, each way."""
        m.d.sync += [
            turn.distance.eq(asked.at.index - event.index - 1),
            turn.same_pass.eq(asked.at.wrap == event.wrap),
            turn.most[0].eq(asked.passed),
            turn.most[1].eq(asked.passed - asked.size),
            turn.most[2].eq(asked.passed - (asked.size << 1)),
        ]

    def _update(self, m, walk, turn, take, allowed, read, ask):
        """The queue's state before and after `turn`: whether it leads to a `read`, and what that is about."""
        m.submodules.states = states = Memory(shape=_State, depth=1 << self.queue_bits, init=[])
        port, write, asked = states.read_port(domain="comb"), states.write_port(), states.read_port(domain="comb")
        m.d.comb += asked.addr.eq(self.reset.queue)
        m.d.sync += self.reset.quiet.eq(~asked.data.reading & ~(turn.valid & (turn.queue == self.reset.queue)))
        state, decide = port.data, Signal()
        total, later, last = Signal(SLOT_COUNT + 1), Signal(SLOT_COUNT), Signal(Position)
        m.d.comb += [
            port.addr.eq(turn.queue),
            total.eq(state.later + Mux(turn.is_answer, 0, turn.slots)),
            later.eq(total[:SLOT_COUNT] | total[SLOT_COUNT].replicate(SLOT_COUNT)),
            last.eq(Mux(turn.moved & ~turn.is_answer, turn.next, state.last)),
            decide.eq(Mux(turn.is_answer, state.again, turn.due & ~state.reading)),
            read.eq(allowed & decide),
            ask.at.eq(last), ask.passed.eq(later),
            write.addr.eq(Mux(walk.walking, walk.queue, Mux(self.reset.forgotten, self.reset.queue, turn.queue))),
            write.en.eq(walk.walking | take | self.reset.forgotten),
        ]
        with m.If(~walk.walking & ~self.reset.forgotten):
            m.d.comb += [
                write.data.reading.eq(read | (state.reading & ~turn.is_answer)),
                write.data.again.eq(state.reading & (state.again | turn.due) & ~turn.is_answer),
                write.data.last.eq(last),
                write.data.later.eq(Mux(decide, 0, later)),
            ]

    def _outputs(self, m, turn, take, read, allowed):
        m.submodules.read_queue = reads = Queue(ReadCommand(self.queue_bits), 2)
        m.submodules.interrupt_queue = interrupts = Queue(self.interrupts.signature.members["payload"].shape, 2)
        wiring.connect(m, reads.o, wiring.flipped(self.reads))
        wiring.connect(m, interrupts.o, wiring.flipped(self.interrupts))
        m.d.comb += self.silent.eq(interrupts.level == 0)
        command = reads.i.payload
        most, passed = Signal(signed(SLOT_COUNT + 1)), Signal()
        with m.If(~turn.same_pass):
            m.d.comb += most.eq(turn.most[1])
        with m.Else():
            m.d.comb += most.eq(Mux(turn.distance < 0, turn.most[2], turn.most[0]))
        m.d.comb += [
            passed.eq(turn.distance < most),
            take.eq(turn.valid & reads.i.ready & interrupts.i.ready),
            reads.i.valid.eq(take & read),
            command.client.eq(self.client),
            command.queue.eq(turn.queue),
            command.address.eq(self.config.driver),
            command.length.eq(4),
            command.last.eq(1),
            interrupts.i.valid.eq(take & turn.is_answer & (turn.wanted | (turn.depends & passed)) & allowed),
            interrupts.i.payload.queue.eq(turn.queue),
            interrupts.i.payload.vector.eq(self.config.vector),
        ]
