"""Many streams into one, and one into many."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Arbiter", "rotate_priority"]


def rotate_priority(m, requests, last):
    """Index of the first set bit of `requests` after position `last`, in turn; `last` itself when none is set.

    A helper for round robin: purely combinational, a few levels for up to 16 requests.
    """
    count = len(requests)
    chosen = Signal(range(count), name="chosen")
    m.d.comb += chosen.eq(last)
    with m.Switch(last):
        for previous in range(count):
            with m.Case(previous):
                # Later assignments win, so walk from the least preferred to the most preferred.
                for distance in reversed(range(1, count + 1)):
                    candidate = (previous + distance) % count
                    with m.If(requests[candidate]):
                        m.d.comb += chosen.eq(candidate)
    return chosen


class Arbiter(wiring.Component):
    """Round-robin arbiter, packet-atomic where the payload has `first` and `last`: it changes over between packets.

    Latency 0 while the choice stands, 1 cycle to change over is hidden: the next choice is made with the last beat.
    `o.payload` depends combinationally on the inputs: put a `RegisterSlice` behind.

    Parameters
    ----------
    shape : shape-like
        payload; with a `last` field the arbiter holds its choice until a beat with `last`
    count : int
        inputs `i0` .. `i{count-1}`

    Attributes
    ----------
    i0, i1, .. : streams in
    o : stream out
    grant : Out(range(count))
        input that `o` comes from, valid with `o.valid`
    """

    def __init__(self, shape, count):
        if count < 2:
            raise ValueError(f"an arbiter needs at least 2 inputs, not {count!r}")
        self.shape = shape
        self.count = count
        try:
            self._packets = "last" in shape.members
        except AttributeError:
            self._packets = False
        super().__init__({
            **{f"i{n}": In(stream.Signature(shape)) for n in range(count)},
            "o": Out(stream.Signature(shape)),
            "grant": Out(range(count)),
        })

    def elaborate(self, platform):
        m = Module()
        inputs = [getattr(self, f"i{n}") for n in range(self.count)]
        requests = Cat(port.valid for port in inputs)
        last = Signal(range(self.count))
        # A choice once offered must stand: `o.valid` may not change its payload before a transfer.
        held = Signal()
        choice = rotate_priority(m, requests, last)
        m.d.comb += self.grant.eq(Mux(held, last, choice))
        with m.Switch(self.grant):
            for n, port in enumerate(inputs):
                with m.Case(n):
                    m.d.comb += [
                        self.o.payload.eq(port.payload),
                        self.o.valid.eq(port.valid),
                        port.ready.eq(self.o.ready),
                    ]
        with m.If(self.o.valid):
            ends = self.o.payload.last.any() if self._packets else C(1)
            m.d.sync += [last.eq(self.grant), held.eq(~(self.o.ready & ends))]
        return m
