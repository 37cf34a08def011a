"""State of a queue in `Fetch`, and how events change it. Combinational."""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from .stages import Report

__all__ = ["FetchState", "FetchEvent", "React"]


class FetchState(data.StructLayout):
    """State of one queue.

    Fields
    ------
    index, wrap, slot : where the next fetch begins, in the ring and in the cache
    epoch : counts how often what was fetched ahead was thrown away
    kick : a doorbell came after the oldest fetch under way was issued, or while there was none
    active : there is reason to go on without a doorbell: the last batch was full, or a chain is not complete
    chain : what has been judged ends inside a chain
    blocked : waits for space in the cache or in the ring
    under_way : fetches of this epoch
    level : log2 of the descriptors to have under way
    streak : full batches in a row, up to 3
    suppressed : doorbells are, or are going to be, switched off
    asked : changes of the suppression under way, 0 to 2
    """

    def __init__(self, slot_bits):
        super().__init__({
            "index": 15, "wrap": 1, "slot": slot_bits, "epoch": 2, "kick": 1, "active": 1, "chain": 1,
            "blocked": 1, "under_way": 4, "level": 4, "streak": 2, "suppressed": 1, "asked": 2,
        })

    def initial(self):
        """After reset: position (0, 1), one line of descriptors at a time."""
        return self.const({"wrap": 1, "level": 2})


class FetchEvent(data.StructLayout):
    """Something that happened to a queue. `enable` belongs to SWITCHED; `report` to REPORT; its queue to all."""

    class Kind(enum.Enum, shape=2):
        REPORT = 0     # a batch was judged
        DOORBELL = 1
        SWITCHED = 2   # a change of the event suppression is visible to the driver
        ROOM = 3       # the cache or the ring has got room

    def __init__(self, queue_bits, slot_bits):
        super().__init__({"kind": self.Kind, "enable": 1, "report": Report(queue_bits, slot_bits)})


class React(wiring.Component):
    """`after` is `state` changed by `event`; `wake`: decide about another fetch; `switch`, `enable`: ask for a change
    of the event suppression.

    Parameters
    ----------
    queue_bits, slot_bits : int
    batch_level, most_level : int
        log2 of the largest batch, and of the most descriptors under way
    suppress : bool
    """

    def __init__(self, queue_bits, slot_bits, *, batch_level, most_level, suppress):
        self.batch_level = batch_level
        self.most_level = most_level
        self.suppress = suppress
        state = FetchState(slot_bits)
        super().__init__({
            "state": In(state), "event": In(FetchEvent(queue_bits, slot_bits)),
            "after": Out(state), "wake": Out(1), "switch": Out(1), "enable": Out(1),
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
                m.d.comb += [self.after.kick.eq(1), self.wake.eq(1)]
            with m.Case(kind.SWITCHED):
                m.d.comb += self.after.asked.eq(self.state.asked - 1)
                with m.If(self.event.enable):
                    m.d.comb += [self.after.kick.eq(1), self.wake.eq(1)]
            with m.Case(kind.ROOM):
                m.d.comb += [self.after.blocked.eq(0), self.wake.eq(self.state.blocked)]
        return m

    def _full(self, m):
        """All descriptors of a batch were good: go on, with twice as many under way."""
        state, after = self.state, self.after
        m.d.comb += [
            after.under_way.eq(state.under_way - 1),
            after.active.eq(1),
            after.chain.eq(self.event.report.chain),
            self.wake.eq(1),
        ]
        with m.If(state.level != self.most_level):
            m.d.comb += after.level.eq(state.level + 1)
        with m.If(state.streak != 3):
            m.d.comb += after.streak.eq(state.streak + 1)
        if self.suppress:
            with m.Elif(~state.suppressed & (state.asked == 0)):
                m.d.comb += [after.suppressed.eq(1), after.asked.eq(1), self.switch.eq(1)]

    def _bad(self, m):
        """Back to the first bad descriptor. Everything under way belongs to the old epoch and will be dropped."""
        state, after, report = self.state, self.after, self.event.report
        m.d.comb += [
            after.index.eq(report.position.index),
            after.wrap.eq(report.position.wrap),
            after.slot.eq(report.slot),
            after.epoch.eq(state.epoch + 1),
            after.under_way.eq(0),
            after.active.eq(report.chain),
            after.chain.eq(report.chain),
            after.blocked.eq(0),
            after.streak.eq(0),
            self.wake.eq(state.kick | report.chain),
        ]
        # The next epoch begins with as many as this one found, rounded up.
        found = Signal(range(self.batch_level + 1))
        m.d.comb += found.eq(2)
        for level in range(2, self.batch_level):
            with m.If(report.count > (1 << level)):
                m.d.comb += found.eq(level + 1)
        with m.If(~state.active):
            m.d.comb += after.level.eq(found)
        with m.Elif(state.level > self.batch_level):
            m.d.comb += after.level.eq(self.batch_level)
        with m.If(~self.wake & state.suppressed):
            m.d.comb += [
                after.suppressed.eq(0), after.asked.eq(state.asked + 1), self.switch.eq(1), self.enable.eq(1),
            ]
