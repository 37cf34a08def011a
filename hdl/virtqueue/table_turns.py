"""Whose turn it is to have ring descriptors taken."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .run_queue import RunQueue
from .spec import Pulse

__all__ = ["TableTurns"]


class TableTurns(wiring.Component):
    """Names the queues to be looked at: something arrived, there is space again, or a turn ended early.

    Parameters
    ----------
    queues, queue_bits : int

    Attributes
    ----------
    init, arrived, space : In(Pulse)
    again : In(1), queue : In(queue_bits), again_ready : Out(1)
        this queue's turn ended early
    due : Out(1), next : Out(queue_bits)
        registers; `next` stays up to the cycle of `begun`
    begun : In(1)
        the turn of `next` is taken
    """

    def __init__(self, queues, queue_bits):
        self.queues, self.queue_bits = queues, queue_bits
        super().__init__({
            "init": In(Pulse(queue_bits)), "arrived": In(Pulse(queue_bits)), "space": In(Pulse(queue_bits)),
            "again": In(1), "queue": In(queue_bits), "again_ready": Out(1),
            "due": Out(1), "next": Out(queue_bits), "begun": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.space_run = space = RunQueue(self.queues, self.queue_bits)
        m.submodules.run = run = RunQueue(self.queues, self.queue_bits, through=True)
        # Registers on the second way in and on the way out keep paths short. No turn is over before the next is here.
        waits, waiting, free = Signal(), Signal(self.queue_bits), Signal()
        m.d.comb += run.o.ready.eq(~self.due)
        with m.If(self.init.valid | self.due & self.begun):
            m.d.sync += self.due.eq(0)
        with m.Elif(~self.due):
            m.d.sync += [self.due.eq(run.o.valid), self.next.eq(run.o.payload)]
        m.d.comb += [
            space.init.eq(self.init), space.push.eq(self.space),
            run.init.eq(self.init), run.push.eq(self.arrived),
            run.again.valid.eq(waits), run.again.payload.eq(waiting),
            free.eq(~waits | run.again.ready),
            self.again_ready.eq(free), space.o.ready.eq(free & ~self.again),
        ]
        with m.If(self.init.valid):
            m.d.sync += waits.eq(0)
        with m.Elif(free):
            m.d.sync += [
                waits.eq(self.again | space.o.valid), waiting.eq(Mux(self.again, self.queue, space.o.payload)),
            ]
        return m
