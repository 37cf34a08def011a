"""Which bytes go into which beat of a write, decided ahead of the bytes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .write_split import WriteRequest

__all__ = ["BeatPlan", "WritePlan"]


class BeatPlan(data.StructLayout):
    """One output beat of a write request.

    Fields
    ------
    request : `WriteRequest` that it belongs to
    first, last : ends of the request
    dwords : DWs of the beat
    position : byte of the packet's beat under way at which this one starts; the bytes before it have been sent
    needs_input : it also takes bytes of the packet's next beat; if `position` is 0, of that one alone
    rotate : bytes by which to rotate to the left
    """

    def __init__(self, width):
        lanes = width // 8
        super().__init__({
            "request": WriteRequest(), "first": 1, "last": 1, "dwords": range(width // 32 + 1),
            "position": range(lanes), "needs_input": 1, "rotate": range(lanes),
        })


class WritePlan(wiring.Component):
    """Plans the output beats of each request. One a cycle; latency 1 cycle.

    Parameters
    ----------
    width : int
        bits per beat

    Attributes
    ----------
    requests : In(stream(WriteRequest()))
    plans : Out(stream(BeatPlan(width)))
    restart : In(1)
        while nothing is inside: the next request begins a packet
    idle : Out(1)
        nothing inside, and no packet under way
    """

    def __init__(self, width):
        self.width = width
        super().__init__({
            "requests": In(stream.Signature(WriteRequest())),
            "plans": Out(stream.Signature(BeatPlan(width))),
            "restart": In(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self.width // 8
        request, plan = self.requests.payload, self.plans.payload
        inside = Signal()              # part of the request is planned
        later_lanes = Signal(13)       # of the request, behind what is planned
        position = Signal(range(lanes))

        lanes_left = Signal(13)
        # Byte, counted from the packet's beat under way, that comes to the output beat's lane 0: from -3 on.
        base = Signal(signed(len(position) + 2))
        m.d.comb += [
            lanes_left.eq(Mux(inside, later_lanes, request.lanes)),
            base.eq(position - Mux(inside, 0, request.address[:2])),
        ]
        ends = lanes_left <= lanes
        in_last = lanes_left[:len(position) + 1]
        reach = Signal(signed(len(position) + 3))    # where the bytes of a request's last beat end
        m.d.comb += reach.eq(base + in_last)
        free = ~self.plans.valid | self.plans.ready
        m.d.comb += [
            self.requests.ready.eq(free & ends),
            self.idle.eq(~inside & ~self.plans.valid & (position == 0)),
        ]
        with m.If(free):
            m.d.sync += [
                self.plans.valid.eq(self.requests.valid),
                plan.request.eq(request),
                plan.first.eq(~inside),
                plan.last.eq(ends),
                plan.dwords.eq(Mux(ends, (in_last + 3) >> 2, lanes // 4)),
                plan.position.eq(position),
                plan.needs_input.eq((position == 0) | Mux(ends, reach > lanes, base > 0)),
                plan.rotate.eq(-base),
            ]
            with m.If(self.requests.valid):
                m.d.sync += [
                    inside.eq(~ends),
                    later_lanes.eq(lanes_left - lanes),
                    position.eq(Mux(ends, Mux(request.last, 0, reach), base)),
                ]
            with m.Elif(self.restart):
                m.d.sync += position.eq(0)
        return m
