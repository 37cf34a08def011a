"""Going through the queues to give each its initial state."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["InitialiseWalk"]


class InitialiseWalk(wiring.Component):
    """Names every queue once, one a cycle, after reset and after each `clear`.

    Memories have no reset, so their owner writes the initial state of `queue` in every cycle in which `walking` is
    high, which it is from the cycle after `clear` on.

    Parameters
    ----------
    queues : int
    queue_bits : int

    Attributes
    ----------
    clear : In(1)
        pulse; ignored during a walk
    walking : Out(1)
    queue : Out(queue_bits)
    """

    def __init__(self, queues, queue_bits):
        self.queues = queues
        super().__init__({"clear": In(1), "walking": Out(1, init=1), "queue": Out(queue_bits)})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.walking):
            m.d.sync += self.queue.eq(self.queue + 1)
            with m.If(self.queue == self.queues - 1):
                m.d.sync += [self.walking.eq(0), self.queue.eq(0)]
        with m.Elif(self.clear):
            m.d.sync += self.walking.eq(1)
        return m
