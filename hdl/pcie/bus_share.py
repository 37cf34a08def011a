"""Two users of one register bus."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterBus, RegisterRequest
from hdl.stream import Skid, connect_stream

__all__ = ["BusShare"]


class BusShare(wiring.Component):
    """Gives the register bus to posted writes first, one DW at a time; latency 0, one request a cycle.

    So that an endless run of writes does not hold up reads for ever, a waiting access of the other user goes after
    `PATIENCE` writes in a row. The answers are all for the other user, who must always take them: then writes depend on
    nothing but the bus.

    Attributes
    ----------
    posted : In(stream of RegisterRequest)
        writes
    nonposted : In(RegisterBus())
    bus : Out(RegisterBus())
    """

    PATIENCE = 15

    posted: In(stream.Signature(RegisterRequest))
    nonposted: In(RegisterBus())
    bus: Out(RegisterBus())

    def elaborate(self, platform):
        m = Module()
        m.submodules.skid = out = Skid(RegisterRequest)
        connect_stream(m, out.o, wiring.flipped(self.bus.request))
        connect_stream(m, wiring.flipped(self.bus.response), wiring.flipped(self.nonposted.response))
        writes = Signal(range(self.PATIENCE + 1))   # in a row, while the other waits
        turn = Signal()
        m.d.comb += turn.eq(self.nonposted.request.valid & (~self.posted.valid | (writes == self.PATIENCE)))
        with m.If(turn):
            connect = self.nonposted.request
            m.d.comb += [out.i.payload.eq(connect.payload), out.i.valid.eq(1), connect.ready.eq(out.i.ready)]
        with m.Else():
            connect = self.posted
            m.d.comb += [out.i.payload.eq(connect.payload), out.i.valid.eq(connect.valid),
                         connect.ready.eq(out.i.ready)]
        with m.If(~self.nonposted.request.valid | turn):
            with m.If(out.i.ready):
                m.d.sync += writes.eq(0)
        with m.Elif(out.i.ready):
            m.d.sync += writes.eq(writes + 1)
        return m
