"""State of a queue in `Fetch`, and how events change it. Combinational."""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from .spec import Position
from .stages import Report

__all__ = ["LEAST_LEVEL", "FetchState", "FetchEvent", "React", "is_ahead"]


# log2 of the descriptors in a 64-byte line of host memory
LEAST_LEVEL = 2


def is_ahead(position, of):
    """Whether a `Position` lies 1 to `size` descriptors ahead of another, rather than behind it or upon it. Nothing of
    a ring lies further apart, so its size doesn't matter."""
    return (position.index > of.index) ^ (position.wrap != of.wrap)


class FetchState(data.StructLayout):
    """State of one queue.

    Fields
    ------
    index, wrap, slot : where the next fetch begins, in the ring and in the cache
    epoch : counts how often what was fetched ahead was thrown away
    kick : a doorbell came after the oldest fetch under way was issued, or while there was none
    active : there is reason to go on without a doorbell: the last batch was full, a chain is not complete, or more was
        told than is fetched
    chain : what has been judged ends inside a chain
    blocked : waits for space in the cache or in the ring
    under_way : fetches of this epoch
    level : log2 of the descriptors to have under way
    streak : full batches in a row, up to 3
    suppressed : doorbells are, or are going to be, switched off, but for one at a place given (EVENT_IDX)
    placed : the last change asked for gives such a place: where the queue was dry
    resumed : good ones have been found since
    asked : changes of the suppression under way, 0 to 2
    telling : fetches end at `told`, and all that is there is known to be written, as the last doorbell came with data
    told : where the driver will put its next descriptor
    seen : it is not the doorbell that tells, but what was read before: beyond `told` fetches go on by guess
    """

    def __init__(self, slot_bits):
        super().__init__({
            "index": 15, "wrap": 1, "slot": slot_bits, "epoch": 2, "kick": 1, "active": 1, "chain": 1,
            "blocked": 1, "under_way": 5, "level": 4, "streak": 2, "suppressed": 1, "asked": 2,
            "telling": 1, "told": Position, "seen": 1, "placed": 1, "resumed": 1,
        })

    def initial(self):
        """After reset: position (0, 1), one line of descriptors at a time."""
        return self.const({"wrap": 1, "level": LEAST_LEVEL})


class FetchEvent(data.StructLayout):
    """Something that happened to a queue. `enable` belongs to SWITCHED; `telling` and `told` to DOORBELL; `report` to
    REPORT; its queue to all."""

    class Kind(enum.Enum, shape=2):
        REPORT = 0     # a batch was judged
        DOORBELL = 1
        SWITCHED = 2   # a change of the event suppression is visible to the driver
        ROOM = 3       # the cache or the ring has got room

    def __init__(self, queue_bits, slot_bits):
        super().__init__({"kind": self.Kind, "enable": 1, "telling": 1, "told": Position,
                          "report": Report(queue_bits, slot_bits)})


class React(wiring.Component):
    """`after` is `state` changed by `event`; `wake`: decide about another fetch; `switch`, `enable`: ask for a change
    of the event suppression. With `event_index` an `enable` asks for one doorbell, at the place where `after` stands.

    Parameters
    ----------
    queue_bits, slot_bits : int
    batch_level, most_level : int
        log2 of the largest batch, and of the most descriptors under way
    suppress : bool

    Attributes
    ----------
    suppressible : In(1)
        doorbells may be switched off, if that is built
    """

    def __init__(self, queue_bits, slot_bits, *, batch_level, most_level, suppress):
        self.batch_level = batch_level
        self.most_level = most_level
        self.suppress = suppress
        state = FetchState(slot_bits)
        super().__init__({
            "state": In(state), "event": In(FetchEvent(queue_bits, slot_bits)),
            "suppressible": In(1), "event_index": In(1), "after": Out(state), "wake": Out(1), "switch": Out(1),
            "enable": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        kind = FetchEvent.Kind
        m.d.comb += self.after.eq(self.state)
        with m.Switch(self.event.kind):
            with m.Case(kind.REPORT):
                with m.If(self.event.report.full):
                    self._full(m)
                with m.Else():
                    self._bad(m)
            with m.Case(kind.DOORBELL):
                self._doorbell(m)
            with m.Case(kind.SWITCHED):
                m.d.comb += self.after.asked.eq(self.state.asked - 1)
                with m.If(self.event.enable):
                    m.d.comb += [self.after.kick.eq(1), self.wake.eq(1)]
            with m.Case(kind.ROOM):
                m.d.comb += [self.after.blocked.eq(0), self.wake.eq(self.state.blocked)]
        return m

    def _doorbell(self, m):
        """What is told goes forward only, as long as it is ahead of the fetches: doorbells of several processors may
        overtake each other. Nothing has to be guessed then, so the largest batches are right."""
        state, after, told = self.state, self.after, self.event.told
        m.d.comb += [after.kick.eq(1), self.wake.eq(1), after.telling.eq(self.event.telling | state.seen)]
        with m.If(self.event.telling):
            m.d.comb += [after.active.eq(1), after.level.eq(self.most_level), after.seen.eq(0)]
            with m.If(~state.telling | ~state.active | is_ahead(told, state.told)):
                m.d.comb += after.told.eq(told)
        with m.Elif(state.telling & ~state.seen):
            m.d.comb += after.level.eq(LEAST_LEVEL)

    def _full(self, m):
        """All descriptors of a batch were good: go on, without being told with twice as many a round trip later. Of the
        reports of one round trip one raises the level, whichever comes while the fetches stand at such a place."""
        state, after, chain = self.state, self.after, self.event.report.chain
        m.d.comb += [
            after.under_way.eq(state.under_way - 1),
            after.active.eq(~state.telling | state.active),
            after.chain.eq(chain),
            after.resumed.eq(1),
            self.wake.eq(~state.telling | state.active | state.kick | chain),
        ]
        for level in range(LEAST_LEVEL, self.most_level):
            # At a boundary of what one round trip brings: of its reports about one finds the fetches there.
            place = state.index[self.batch_level:max(level, self.batch_level)]
            with m.If((state.level == level) & ~place.any()):
                m.d.comb += after.level.eq(level + 1)
        with m.If(state.streak != 3):
            m.d.comb += after.streak.eq(state.streak + 1)
        if self.suppress:
            with m.Elif(self.suppressible & ~state.suppressed & (state.asked == 0)):
                m.d.comb += [after.suppressed.eq(1), after.asked.eq(1), self.switch.eq(1)]

    def _bad(self, m):
        """Back to the first bad descriptor. Everything under way belongs to the old epoch and will be dropped. Without
        `active`, what was told is given up, too: the driver said so too early, and has to ring again. What was seen in
        the old epoch tells from here on, unless a doorbell does."""
        state, after, report = self.state, self.after, self.event.report
        resumed, doorbell = Signal(), state.telling & ~state.seen
        m.d.comb += [
            after.index.eq(report.position.index),
            after.wrap.eq(report.position.wrap),
            after.slot.eq(report.slot),
            after.epoch.eq(state.epoch + 1),
            after.under_way.eq(0),
            after.active.eq(report.chain | (doorbell & state.kick)),
            after.chain.eq(report.chain),
            after.blocked.eq(0),
            after.streak.eq(0),
            resumed.eq(state.resumed | (report.count != 0)), after.resumed.eq(resumed),
            self.wake.eq(state.kick | report.chain),
        ]
        # The next epoch begins with as many as this one found, rounded up.
        found = Signal(range(self.batch_level + 1))
        m.d.comb += found.eq(LEAST_LEVEL)
        for level in range(2, self.batch_level):
            with m.If(report.count > (1 << level)):
                m.d.comb += found.eq(level + 1)
        with m.If(~doorbell):
            m.d.comb += [after.telling.eq(report.chain & (report.seen | state.seen)),
                         after.seen.eq(report.chain & (report.seen | state.seen))]
            with m.If(report.seen):
                m.d.comb += after.told.eq(report.until)
            with m.If(report.seen & report.on):
                for level in range(LEAST_LEVEL, self.most_level + 1):
                    with m.If(state.level == level):
                        m.d.comb += after.level.eq(min(max(level, self.batch_level) + 1, self.most_level))
            with m.Elif(~state.active):
                m.d.comb += after.level.eq(found)
            with m.Elif(state.level > self.batch_level):
                m.d.comb += after.level.eq(self.batch_level)
            with m.Elif((state.level == LEAST_LEVEL + 1) & (report.count == 0)):
                # All that was found came with the first look, which a boundary cut.
                m.d.comb += after.level.eq(LEAST_LEVEL)
        # A place once given serves for one doorbell: dry again elsewhere, the queue gives another. But not while one is
        # still on its way: that makes us look again, and find out then.
        with m.If(~self.wake & state.suppressed & (~state.placed | (resumed & (state.asked == 0)))):
            m.d.comb += [
                after.suppressed.eq(self.event_index), after.placed.eq(self.event_index), after.resumed.eq(0),
                after.asked.eq(state.asked + 1), self.switch.eq(1), self.enable.eq(1),
            ]
