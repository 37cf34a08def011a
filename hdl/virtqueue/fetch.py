"""Deciding when descriptors of a queue are read."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import FetchContext, ReadCommand

from .fetch_size import FetchSize
from .fetch_state import LEAST_LEVEL, FetchEvent, FetchState, React
from .reset import StageReset
from .run_queue import RunQueue
from .spec import Doorbell, Position, Pulse, QueueConfig
from .stages import Report, Suppression, slot_bits

__all__ = ["Fetch"]


class Fetch(wiring.Component):
    """Issues descriptor fetches, several of a queue one behind the other.

    Everything that happens to a queue is an event that reads, changes and writes its state in one cycle, and so does
    the end of a decision; no event is applied during a decision. So there are never two views of a queue, and no
    wake-up falls between: what comes during a decision is looked at after it. A decision takes 3 cycles, and two more
    after another fetch; doorbell to `reads`: 4 cycles. Doorbells of disabled queues are forgotten when their turn
    comes; before `live` they are kept.

    A doorbell sets `kick`, and only a fetch that has no other before it under way clears it: this one and all that
    follow see whatever was published before that doorbell. A doorbell after that fetch makes us look again at the
    position where they end. When a queue is dry while doorbells are suppressed, they are asked for again, and once that
    is visible to the driver it counts as a doorbell.

    A doorbell that tells where the driver will go on (VIRTIO_F_NOTIFICATION_DATA) replaces all guessing: what lies
    before that position is fetched in the largest batches, and nothing beyond it. It counts as one without data if what
    it tells is no place in the ring or, which is found out later, lies inside a chain. Told of more than the ring
    window holds, we fetch up to the window. What a report says was seen available tells in the same way; from there on
    the queue goes on by guess.

    Parameters
    ----------
    queues, queue_bits : int
    client : Client
    cache : int
        descriptors cached per queue
    batch : int
        most descriptors in one fetch, a power of 2 and at most half of `cache`
    suppress : bool
        switch doorbells off while there is a backlog

    Attributes
    ----------
    init : In(Pulse)
    reset : In(StageReset)
        `quiet` but for reads that are under way
    event_index : In(1)
        VIRTIO_F_EVENT_IDX was negotiated
    live, quiesce : In(1)
        fetches are issued while `live` and not `quiesce`
    doorbells, reports : streams in
    notification_data : In(1)
        VIRTIO_F_NOTIFICATION_DATA is negotiated: doorbells may tell a position, and are never switched off
    switched : stream of Suppression in
        this change is visible to the driver before any read issued from now on
    space : In(Pulse)
        the walker has emptied a part of the cache
    published : In(Pulse)
        the used position has advanced
    config_queue : Out, config : In(QueueConfig); used_queue : Out, used : In(Position);
    emptied_queue : Out, emptied : In
        configuration, used position and walker's cache slot of a queue, answered in the same cycle
    looking_queue : In, looking : Out(1)
        descriptors may arrive without another doorbell; low only when all that did arrive are visible to the walker
    reads : stream of ReadCommand out
    switch : stream of Suppression out
        must take two for each queue without waiting for `switched`
    idle : Out(1)
        no command waits to be taken and no decision is being made
    """

    def __init__(self, queues, queue_bits, *, client, cache, batch, suppress=True):
        self.queues = queues
        self.queue_bits = queue_bits
        self.client = client
        self.cache = cache
        self.batch_level = batch.bit_length() - 1
        # Up to 16 fetches of a queue under way, or what the cache holds.
        self.most_level = min(self.batch_level + 4, cache.bit_length() - 1)
        self.suppress = suppress
        self.slot_bits = slot_bits(cache)
        self.state = FetchState(self.slot_bits)
        super().__init__({
            "init": In(Pulse(queue_bits)),
            "reset": In(StageReset(queue_bits)),
            "event_index": In(1),
            "live": In(1),
            "quiesce": In(1),
            "doorbells": In(stream.Signature(Doorbell(queue_bits))),
            "notification_data": In(1),
            "reports": In(stream.Signature(Report(queue_bits, self.slot_bits))),
            "switched": In(stream.Signature(Suppression(queue_bits))),
            "space": In(Pulse(queue_bits)),
            "published": In(Pulse(queue_bits)),
            "config_queue": Out(queue_bits),
            "config": In(QueueConfig),
            "used_queue": Out(queue_bits),
            "used": In(Position),
            "emptied_queue": Out(queue_bits),
            "emptied": In(self.slot_bits),
            "looking_queue": In(queue_bits),
            "looking": Out(1),
            "reads": Out(stream.Signature(ReadCommand(queue_bits))),
            "switch": Out(stream.Signature(Suppression(queue_bits))),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.states = states = Memory(shape=self.state, depth=1 << self.queue_bits, init=[])
        write, read = states.write_port(), states.read_port(domain="comb")
        waiting = states.read_port(domain="comb")       # of the queue whose turn it is
        m.submodules.run = run = RunQueue(self.queues, self.queue_bits)
        m.submodules.react = react = React(self.queue_bits, self.slot_bits, batch_level=self.batch_level,
                                           most_level=self.most_level, suppress=self.suppress)
        queue, state = Signal(self.queue_bits), Signal(self.state)
        self._descriptors, self._enabled = Signal(64), Signal()
        chosen, chosen_state = Signal.like(queue), Signal.like(state)
        size = self._size(m, chosen, chosen_state, state)
        pending, apply = Signal(), Signal()
        self._events(m, react.event, pending, apply)
        # Events and waiting queues take turns, so that neither starves the other. Whose turn it is was found out in the
        # cycle before: everything else depends on it.
        may_start, event_last, yields = Signal(), Signal(), Signal()
        wanted = Signal()       # found out while the size is: from the same state
        event_queue = react.event.report.queue
        m.d.comb += [
            run.init.eq(self.init),
            react.state.eq(read.data), react.suppressible.eq(~self.notification_data),
            # Whoever takes `reads` tells so late in the cycle: too late to choose by it.
            may_start.eq(self.live & ~self.quiesce & ~self.reads.valid),
            read.addr.eq(event_queue), waiting.addr.eq(run.o.payload),
            chosen.eq(queue), chosen_state.eq(state), write.addr.eq(queue),
            self.switch.payload.queue.eq(event_queue),
            self.switch.payload.enable.eq(react.enable),
            self.switch.payload.position.index.eq(react.after.index),
            self.switch.payload.position.wrap.eq(react.after.wrap),
            react.event_index.eq(self.event_index),
            self.switch.valid.eq(apply & react.switch),
        ]
        # A queue that has to wait is pushed a cycle later, when no decision ends.
        woken = Signal(Pulse(self.queue_bits))
        m.d.comb += run.push.eq(woken)
        m.d.sync += [woken.valid.eq(0), woken.queue.eq(event_queue)]
        m.d.sync += yields.eq((event_last | apply) & ~run.o.ready & run.o.valid & may_start)
        with m.If(self.reads.ready):
            m.d.sync += self.reads.valid.eq(0)
        with m.FSM() as fsm:
            with m.State("EVENT"):
                m.d.sync += [queue.eq(chosen), state.eq(chosen_state)]
                with m.If(self.reset.forget):
                    m.d.comb += self.reset.forgotten.eq(1)
                with m.Elif(pending & ~yields):
                    m.d.comb += [
                        apply.eq(1), chosen.eq(event_queue), chosen_state.eq(react.after),
                        write.addr.eq(event_queue), write.data.eq(react.after), write.en.eq(1),
                    ]
                    m.d.sync += event_last.eq(1)
                    with m.If(react.wake):
                        with m.If(may_start & ~run.o.valid):
                            m.next = "CUT"
                        with m.Else():
                            m.d.sync += woken.valid.eq(1)
                with m.Else():
                    m.d.comb += [chosen.eq(run.o.payload), chosen_state.eq(waiting.data)]
                    with m.If(run.o.valid & may_start):
                        m.d.comb += run.o.ready.eq(1)
                        m.d.sync += event_last.eq(0)
                        m.next = "CUT"
            with m.State("CUT"):
                m.d.sync += wanted.eq(self._wanted(m, state))
                m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += write.en.eq(1)
                self._decide(m, queue, state, size, wanted, write.data, run)
                m.next = "EVENT"
        with m.If(self.init.valid | self.reset.forgotten):
            m.d.comb += [
                write.addr.eq(Mux(self.init.valid, self.init.queue, self.reset.queue)),
                write.data.eq(self.state.initial()), write.en.eq(1),
            ]
        m.d.comb += self.idle.eq(fsm.ongoing("EVENT") & ~self.reads.valid)
        self._rest(m, states, [
            (pending, react.event.report.queue), (~fsm.ongoing("EVENT"), queue),
            (self.reads.valid, self.reads.payload.queue), (self.doorbells.valid, self.doorbells.payload.queue)])
        self._look(m, states, react.event, pending)
        return m

    def _events(self, m, event, pending, apply):
        """One event waits in a register. Wake-ups that are mere pulses are remembered in run queues."""
        kind, doorbell = FetchEvent.Kind, self.doorbells.payload
        m.submodules.space_run = space = RunQueue(self.queues, self.queue_bits)
        m.submodules.published_run = published = RunQueue(self.queues, self.queue_bits)
        held = Signal(FetchEvent(self.queue_bits, self.slot_bits))
        m.d.comb += [
            space.init.eq(self.init), space.push.eq(self.space),
            published.init.eq(self.init), published.push.eq(self.published),
            event.eq(held),
        ]
        with m.If(apply):
            m.d.sync += pending.eq(0)
        # What stands in a run queue waits for an empty register: taking it goes deep enough into that. So that nothing
        # starves, it has every second turn; whose turn it is was found out in the cycle before.
        room_first, room_last = Signal(), Signal()
        others = self.reports.valid | self.switched.valid | self.doorbells.valid
        m.d.sync += room_first.eq(~others | ~room_last)
        with m.If(room_first & (published.o.valid | space.o.valid)):
            with m.If(~pending & ~self.init.valid):
                m.d.comb += [published.o.ready.eq(1), space.o.ready.eq(~published.o.valid)]
                m.d.sync += [
                    pending.eq(1), held.kind.eq(kind.ROOM), room_last.eq(1),
                    held.report.queue.eq(Mux(published.o.valid, published.o.payload, space.o.payload)),
                ]
        with m.Elif((apply | ~pending) & ~self.init.valid):
            m.d.sync += [
                room_last.eq(0), held.enable.eq(self.switched.payload.enable),
                held.telling.eq(doorbell.has_data & self.notification_data),
                held.told.index.eq(doorbell.next_off), held.told.wrap.eq(doorbell.next_wrap),
            ]
            with m.If(self.reports.valid):
                m.d.comb += self.reports.ready.eq(1)
                m.d.sync += [pending.eq(1), held.kind.eq(kind.REPORT), held.report.eq(self.reports.payload)]
            for source, name in ((self.switched, kind.SWITCHED), (self.doorbells, kind.DOORBELL)):
                with m.Elif(source.valid):
                    m.d.comb += source.ready.eq(1)
                    m.d.sync += [pending.eq(1), held.kind.eq(name), held.report.queue.eq(source.payload.queue)]

    def _size(self, m, queue, state, held):
        m.submodules.size = size = FetchSize(cache=self.cache, batch_level=self.batch_level)
        m.d.comb += [
            self.config_queue.eq(queue), self.used_queue.eq(queue), self.emptied_queue.eq(queue),
            size.state.eq(state), size.held.eq(held), size.config.eq(self.config), size.used.eq(self.used),
            size.emptied.eq(self.emptied),
        ]
        # Enabled as of the cycle in which the size is looked at: a configuration that comes during a decision is none.
        enabled = Signal()
        m.d.sync += [self._descriptors.eq(self.config.descriptors), enabled.eq(self.config.enabled),
                     self._enabled.eq(enabled)]
        return size

    def _wanted(self, m, state):
        """Whether there is reason for another fetch of a queue that has `state.under_way` of them."""
        most = Signal(range(17))
        m.d.comb += most.eq(1)
        for level in range(self.batch_level + 1, self.most_level + 1):
            with m.If((state.level == level) | state.telling):
                m.d.comb += most.eq(1 << (level - self.batch_level))
        return Mux(state.under_way == 0, state.kick | state.active, state.active & (state.under_way < most))

    def _decide(self, m, queue, state, size, wanted, after, run):
        """Issue a fetch, or find out why not; then what to do next."""
        m.d.comb += [after.eq(state), run.push.queue.eq(queue)]
        with m.If(~self._enabled):
            m.d.comb += [after.kick.eq(0), after.active.eq(0), after.telling.eq(0), after.seen.eq(0)]
        with m.Elif(state.telling & (size.beyond | ~size.ahead)):
            self._nothing_told(m, state, size, after, run)
        with m.Elif(~wanted):
            pass
        with m.Elif(size.count != 0):
            self._issue(m, queue, state, size, after, run)
        with m.Elif(size.ring_full & ~state.telling & ~state.kick & ~state.suppressed & ~state.chain):
            # The whole ring is with us: there is nothing more before a doorbell. (`active` stands for full batches;
            # what is under way may still turn out to be empty, and its report wakes us.)
            m.d.comb += after.active.eq(0)
        with m.Else():
            m.d.comb += after.blocked.eq(1)

    def _nothing_told(self, m, state, size, after, run):
        """All that was told is fetched; or it was nonsense, and the queue goes on as if the doorbell had no data."""
        dry = state.under_way == 0
        with m.If(state.seen):
            m.d.comb += [after.telling.eq(0), after.seen.eq(0), run.push.valid.eq(1)]
        with m.Elif(size.beyond | (dry & state.chain)):
            m.d.comb += [
                after.telling.eq(0), after.level.eq(LEAST_LEVEL), after.active.eq(state.chain), run.push.valid.eq(1),
            ]
        with m.Else():
            # While fetches are under way, `kick` remembers that a bad descriptor of theirs has to be read again.
            m.d.comb += [after.active.eq(0), after.kick.eq(state.kick & ~dry)]

    def _issue(self, m, queue, state, size, after, run):
        context = Signal(FetchContext())
        command = self.reads.payload
        # Unless this is all that was told, the next decision finds out whether there is reason for another.
        more = state.active & (~(state.telling & size.reaches) | state.seen)
        m.d.comb += [
            run.push.valid.eq(more), after.active.eq(more),
            context.index.eq(state.index), context.wrap.eq(state.wrap), context.epoch.eq(state.epoch),
            context.slot.eq(state.slot), context.count.eq(size.count), context.told.eq(state.telling),
            after.index.eq(Mux(size.ends, 0, state.index + size.count)),
            after.wrap.eq(state.wrap ^ size.ends),
            after.slot.eq(state.slot + size.count),
            after.under_way.eq(state.under_way + 1),
            after.kick.eq(state.kick & (state.under_way != 0)),
            after.blocked.eq(0),
        ]
        m.d.sync += [
            self.reads.valid.eq(1),
            command.client.eq(self.client), command.function.eq(0), command.queue.eq(queue),
            command.address.eq(self._descriptors + (state.index << 4)),
            command.length.eq(size.count << 4),
            command.last.eq(1), command.more.eq(0),
            command.context.eq(context.as_value()),
        ]

    def _rest(self, m, states, places):
        """Quiet is a queue that stands in none of `places` (occupied, by which queue) and waits for no `switched`."""
        port, queue = states.read_port(domain="comb"), self.reset.queue
        m.d.comb += port.addr.eq(queue)
        here = Cat(occupied & (by == queue) for occupied, by in places)
        m.d.sync += self.reset.quiet.eq(~here.any() & (port.data.asked == 0))

    def _look(self, m, states, event, pending):
        """What still waits at an input counts as a reason to look; a queue that waits for room does not look."""
        port = states.read_port(domain="comb")
        queue, state = self.looking_queue, port.data
        m.d.comb += [
            port.addr.eq(queue),
            self.looking.eq(
                ((state.kick | state.active) & ~state.blocked) | (state.under_way != 0) | (state.asked != 0)
                | (pending & (event.report.queue == queue))
                | (self.doorbells.valid & (self.doorbells.payload.queue == queue))),
        ]
