"""Counting what is under way of each queue."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .spec import Pulse

__all__ = ["UnderWay"]


class UnderWay(wiring.Component):
    """Two counts of each queue, of what has begun and of what has ended, each with one writer. Counts follow their
    pulses after 2 cycles.

    Parameters
    ----------
    queue_bits : int
    count_bits : int
        less than 2**count_bits are under way of a queue

    Attributes
    ----------
    init, begun, ended : In(Pulse)
    amount : In(count_bits)
        how many have ended
    queue : In(queue_bits) → none : Out(1)
        nothing is under way of this queue, a cycle later
    """

    def __init__(self, queue_bits, count_bits):
        self.queue_bits = queue_bits
        self.count_bits = count_bits
        super().__init__({
            "init": In(Pulse(queue_bits)), "begun": In(Pulse(queue_bits)), "ended": In(Pulse(queue_bits)),
            "amount": In(count_bits, init=1),
            "queue": In(queue_bits), "none": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        begun = self._count(m, "begun", self.begun, C(1))
        ended = self._count(m, "ended", self.ended, self.amount)
        m.d.sync += self.none.eq(begun == ended)
        return m

    def _count(self, m, name, pulse, amount):
        """A memory of counts; returns that of `self.queue`."""
        m.submodules[name] = counts = Memory(shape=self.count_bits, depth=1 << self.queue_bits, init=[])
        write, own, asked = counts.write_port(), counts.read_port(domain="comb"), counts.read_port(domain="comb")
        step, size = Signal(Pulse(self.queue_bits)), Signal(self.count_bits)
        m.d.sync += [step.eq(pulse), size.eq(amount)]
        m.d.comb += [
            own.addr.eq(step.queue), asked.addr.eq(self.queue),
            write.addr.eq(Mux(self.init.valid, self.init.queue, step.queue)),
            write.data.eq(Mux(self.init.valid, 0, own.data + size)),
            write.en.eq(self.init.valid | step.valid),
        ]
        return asked.data
