"""Two sources of posted writes on one port."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.stream import Arbiter, Queue, RegisterSlice, TlpBeat

__all__ = ["PostedMerge"]


class PostedMerge(wiring.Component):
    """Merges the TLPs of two sources, and tells each which of the `accepted` TLPs were its own.

    Latency 1 cycle; full throughput. Up to `depth` TLPs may be taken and not yet accepted.

    Parameters
    ----------
    width : int
    depth : int

    Attributes
    ----------
    i0, i1 : streams of TlpBeat in
    accepted0, accepted1 : Out(1)
        pulses, in the cycle of `accepted`
    o : stream of TlpBeat out
    accepted : In(1)
        pulse: the next of the TLPs given out has its place in the posted order
    """

    def __init__(self, width, depth=32):
        self.width = width
        self.depth = depth
        port = stream.Signature(TlpBeat(width))
        super().__init__({
            "i0": In(port), "i1": In(port), "accepted0": Out(1), "accepted1": Out(1),
            "o": Out(port), "accepted": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = Arbiter(TlpBeat(self.width), 2)
        m.submodules.out_slice = out = RegisterSlice(TlpBeat(self.width))
        m.submodules.owners = owners = Queue(1, self.depth)
        wiring.connect(m, wiring.flipped(self.i0), arbiter.i0)
        wiring.connect(m, wiring.flipped(self.i1), arbiter.i1)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        # A TLP is begun only with room to note its owner.
        room = owners.i.ready | ~arbiter.o.payload.first
        m.d.comb += [
            out.i.payload.eq(arbiter.o.payload),
            out.i.valid.eq(arbiter.o.valid & room),
            arbiter.o.ready.eq(out.i.ready & room),
            owners.i.payload.eq(arbiter.grant),
            owners.i.valid.eq(arbiter.o.valid & out.i.ready & arbiter.o.payload.first),
            owners.o.ready.eq(self.accepted),
            self.accepted0.eq(self.accepted & (owners.o.payload == 0)),
            self.accepted1.eq(self.accepted & (owners.o.payload == 1)),
        ]
        return m
