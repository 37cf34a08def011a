"""What every handler of short commands needs: their data side by side, and an ack."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .control_spec import Ack, Reply

__all__ = ["Fields", "AckReply"]


class Fields(wiring.Component):
    """Collects the data of a command of at most `size` bytes.

    Parameters
    ----------
    size : int

    Attributes
    ----------
    begin : In(1), bytes : stream of 8 bits in, enough : Out(1)
        of `HandlerPort`
    data : Out(8 * size)
        the last `size` bytes, the last of them on top: fields of shorter commands stand at the upper end
    length : Out(range(size + 2))
        bytes that came, `size + 1` for all that are too many
    """

    def __init__(self, size):
        self.size = size
        super().__init__({
            "begin": In(1), "bytes": In(stream.Signature(8, always_ready=True)), "enough": Out(1),
            "data": Out(8 * size), "length": Out(range(size + 2)),
        })

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.enough.eq(self.length == self.size + 1)
        with m.If(self.begin):
            m.d.sync += self.length.eq(0)
        with m.Elif(self.bytes.valid & ~self.enough):
            m.d.sync += [self.length.eq(self.length + 1), self.data.eq(Cat(self.data[8:], self.bytes.payload))]
        return m


class AckReply(wiring.Component):
    """The reply of a command: up to `size` bytes of data, then the ack.

    Parameters
    ----------
    size : int

    Attributes
    ----------
    give : In(1)
        pulse: reply. Taken with it:
    ok : In(1); count : In(range(size + 1)); data : In(8 * size)
        the first `count` bytes of data go before the ack; `count` is 0 or `size`
    reply : stream of Reply out
    """

    def __init__(self, size=0):
        self.size = size
        super().__init__({
            "give": In(1), "ok": In(1), "count": In(range(size + 1)), "data": In(8 * size),
            "reply": Out(stream.Signature(Reply)),
        })

    def elaborate(self, platform):
        m = Module()
        left = Signal(range(self.size + 1))
        ok = Signal()
        rest = Signal(8 * self.size)
        byte = self.reply.payload
        m.d.comb += [
            byte.last.eq(left == 0), byte.ack.eq(byte.last),
            byte.data.eq(Mux(byte.last, Mux(ok, Ack.OK, Ack.ERR), rest[:8])),
        ]
        with m.If(self.give):
            m.d.sync += [self.reply.valid.eq(1), ok.eq(self.ok), left.eq(self.count), rest.eq(self.data)]
        with m.Elif(self.reply.ready):
            m.d.sync += [left.eq(left - 1), rest.eq(rest[8:]), self.reply.valid.eq(self.reply.valid & ~byte.last)]
        return m
