"""What was found out of each frame, kept until the frame is given out."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import Queue, RegisterSlice

__all__ = ["ResultQueue"]


class ResultQueue(wiring.Component):
    """First-in first-out queue in block memory; what finds nothing before it is at `o` a cycle later.

    Parameters
    ----------
    shape : shape-like
    depth : int
        results inside at most; there is no back-pressure

    Attributes
    ----------
    valid : In(1); i : In(shape)
        a result to keep
    o : stream out
    """

    def __init__(self, shape, depth):
        self.shape = shape
        self.depth = depth
        super().__init__({"valid": In(1), "i": In(shape), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.waiting = waiting = Queue(self.shape, self.depth, block=True)
        m.submodules.next = after = RegisterSlice(self.shape)
        wiring.connect(m, after.o, wiring.flipped(self.o))
        straight = after.i.ready & (waiting.level == 0)
        m.d.comb += [
            waiting.i.valid.eq(self.valid & ~straight), waiting.i.payload.eq(self.i),
            waiting.o.ready.eq(after.i.ready), after.i.valid.eq(waiting.o.valid | (self.valid & straight)),
            Value.cast(after.i.payload).eq(Mux(waiting.o.valid, Value.cast(waiting.o.payload), Value.cast(self.i))),
        ]
        return m
