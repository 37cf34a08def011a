"""Queue of queue numbers in which each stands at most once."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.stream import Queue

from .spec import Pulse

__all__ = ["RunQueue"]


class RunQueue(wiring.Component):
    """Remembers which queues have something to be done, first come first served. Nothing is ever refused or lost.

    A pulse for a queue that stands in it already changes nothing; a pulse in the cycle in which that queue is taken
    enters it again. From pulse to `o`: 1 cycle, or none if nothing stands in it and it is `through`.

    Whether a queue stands in it is the difference of two bits, one toggled on entry and one on leaving, so that each
    memory has one writer.

    Parameters
    ----------
    queues : int
    queue_bits : int
    through : bool

    Attributes
    ----------
    init : In(Pulse)
        forget this queue; all queues are initialised together. Nothing is offered meanwhile, nor may be pushed
    push : In(Pulse)
    again : stream in
        second way in, served when there is no `push`
    o : stream out
    """

    def __init__(self, queues, queue_bits, *, through=False):
        self.queues = queues
        self.queue_bits = queue_bits
        self.through = through
        super().__init__({
            "init": In(Pulse(queue_bits)),
            "push": In(Pulse(queue_bits)),
            "again": In(stream.Signature(unsigned(queue_bits))),
            "o": Out(stream.Signature(unsigned(queue_bits))),
        })

    def elaborate(self, platform):
        m = Module()
        # One place more than queues: the queue just taken may come back in the same cycle.
        fifo = Queue(unsigned(self.queue_bits), self.queues + 1, block=False)
        m.submodules.fifo = ResetInserter(self.init.valid)(fifo)
        m.submodules.entered = entered = Memory(shape=1, depth=self.queues, init=[])
        m.submodules.left = left = Memory(shape=1, depth=self.queues, init=[])
        enter, leave = entered.write_port(), left.write_port()
        entered_in = entered.read_port(domain="comb")
        left_in, left_out = left.read_port(domain="comb"), left.read_port(domain="comb")

        queue = Signal(self.queue_bits)
        wanted, waiting, taken = Signal(), Signal(), Signal()
        m.d.comb += [
            self.again.ready.eq(~self.push.valid),
            queue.eq(Mux(self.push.valid, self.push.queue, self.again.payload)),
            wanted.eq(self.push.valid | self.again.valid),
            entered_in.addr.eq(queue),
            left_in.addr.eq(queue),
            left_out.addr.eq(fifo.o.payload),
            self.o.payload.eq(fifo.o.payload),
            self.o.valid.eq(fifo.o.valid & ~self.init.valid),
            fifo.o.ready.eq(self.o.ready),
            taken.eq(fifo.o.valid & ~self.init.valid & self.o.ready),
            waiting.eq(entered_in.data ^ left_in.data ^ (taken & (fifo.o.payload == queue))),
            fifo.i.payload.eq(queue),
            fifo.i.valid.eq(wanted & ~waiting),
        ]
        m.d.comb += [
            enter.addr.eq(Mux(self.init.valid, self.init.queue, queue)),
            enter.data.eq(~self.init.valid & ~entered_in.data),
            enter.en.eq(self.init.valid | fifo.i.valid),
            leave.addr.eq(Mux(self.init.valid, self.init.queue, fifo.o.payload)),
            leave.data.eq(~self.init.valid & ~left_out.data),
            leave.en.eq(self.init.valid | taken),
        ]
        if self.through:
            # What passes has neither entered nor left.
            m.d.comb += fifo.i.valid.eq(wanted & ~waiting & ~(self.o.ready & ~fifo.o.valid))
            with m.If(~fifo.o.valid & ~self.init.valid):
                m.d.comb += [self.o.payload.eq(queue), self.o.valid.eq(wanted)]
        return m
