"""Which run has been open longest, and whether its time is up."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["RunTimer"]


class RunTimer(wiring.Component):
    """The open runs of all queues in order of opening, as a doubly linked list of queue numbers.

    All runs have the same time to live, so only the head of the list has to be looked at: the cost does not grow with
    the number of queues, and any run may be closed before its time.

    `expired` rises `timeout` cycles after the cycle of `opened` of the oldest run, and is low in the cycle after any
    `closed`. While `hurry` is 1, no run has time left. Times are compared modulo at least 256 times the timeout, so a
    run held up for longer than that may have to wait once more.

    Parameters
    ----------
    queue_bits : int
    timeout : int
        cycles, at least 1

    Attributes
    ----------
    opened, closed : In(1)
        the run of `queue` opens, or closes; at most one of them in a cycle; a queue has at most one run
    queue : In(queue_bits)
    hurry : In(1)
    clear : In(1)
        forget all
    expired : Out(1)
    oldest : Out(queue_bits)
        head of the list, valid unless `empty`
    empty : Out(1)
        no run is open
    """

    def __init__(self, queue_bits, timeout):
        self.queue_bits = queue_bits
        self.timeout = timeout
        super().__init__({
            "opened": In(1), "closed": In(1), "queue": In(queue_bits), "hurry": In(1), "clear": In(1),
            "expired": Out(1), "oldest": Out(queue_bits), "empty": Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        head = Signal(self.queue_bits)
        tail = Signal(self.queue_bits)
        after, after_write = self._memory(m, "after", self.queue_bits)
        before, before_write = self._memory(m, "before", self.queue_bits)

        is_head, is_tail = self.queue == head, self.queue == tail
        m.d.comb += self.oldest.eq(head)
        with m.If(self.opened):
            m.d.comb += [
                after_write.addr.eq(tail), after_write.data.eq(self.queue), after_write.en.eq(~self.empty),
                before_write.addr.eq(self.queue), before_write.data.eq(tail), before_write.en.eq(1),
            ]
            m.d.sync += [tail.eq(self.queue), self.empty.eq(0)]
            with m.If(self.empty):
                m.d.sync += head.eq(self.queue)
        with m.Elif(self.closed):
            m.d.comb += [
                after_write.addr.eq(before), after_write.data.eq(after), after_write.en.eq(~is_head & ~is_tail),
                before_write.addr.eq(after), before_write.data.eq(before), before_write.en.eq(~is_head & ~is_tail),
            ]
            with m.If(is_head):
                m.d.sync += head.eq(after)
            with m.If(is_tail):
                m.d.sync += tail.eq(before)
            with m.If(is_head & is_tail):
                m.d.sync += self.empty.eq(1)
        with m.If(self.clear):
            m.d.sync += self.empty.eq(1)
        self._watch(m, head)
        return m

    def _memory(self, m, name, shape):
        """A memory read at `self.queue`; returns (what it reads, its write port)."""
        memory = Memory(shape=shape, depth=1 << self.queue_bits, init=[])
        m.submodules[name] = memory
        read = memory.read_port(domain="comb")
        m.d.comb += read.addr.eq(self.queue)
        return read.data, memory.write_port()

    def _watch(self, m, head):
        now = Signal(range(256 * (self.timeout + 1)))
        m.submodules.since = since = Memory(shape=now.shape(), depth=1 << self.queue_bits, init=[])
        opening = since.write_port()
        oldest = since.read_port(domain="comb")
        age = Signal(now.shape())
        m.d.comb += [
            opening.addr.eq(self.queue), opening.data.eq(now), opening.en.eq(self.opened),
            oldest.addr.eq(head), age.eq(now - oldest.data),
        ]
        # `expired` is a register: one cycle of the timeout passes in it.
        m.d.sync += [
            now.eq(now + 1),
            self.expired.eq(~self.empty & (self.hurry | (age >= self.timeout - 1)) & ~self.closed & ~self.clear),
        ]
