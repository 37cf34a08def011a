"""BAR 0: from an offset to the block that answers."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterBus

__all__ = ["Region", "BarMap"]


@dataclass(frozen=True)
class Region:
    """A range of the BAR: `name` of its target, `offset` and `length` in bytes."""
    name: str
    offset: int
    length: int

    @property
    def end(self):
        return self.offset + self.length


class BarMap(wiring.Component):
    """Routes register accesses by offset; a target sees addresses that count from its region's start.

    Offsets outside every region read 0 and ignore writes. Order is strict over all targets: after a read, the next
    request is passed on only when the answer has been taken. Writes pass at one a cycle; latency 1 cycle to the target,
    1 cycle back.

    Parameters
    ----------
    regions : iterable of Region
        Raises `ValueError` when two overlap or one is not made of whole DWs.

    Attributes
    ----------
    bus : In(RegisterBus())
        addresses count from the start of the BAR
    per region `name`: Out(RegisterBus())
    """

    def __init__(self, regions):
        self.regions = sorted(regions, key=lambda region: region.offset)
        for region in self.regions:
            if region.offset % 4 or region.length % 4 or region.length < 4:
                raise ValueError(f"{region} is not made of whole DWs")
        for below, above in zip(self.regions, self.regions[1:]):
            if below.end > above.offset:
                raise ValueError(f"{below} and {above} overlap")
        super().__init__({
            "bus": In(RegisterBus()),
            **{region.name: Out(RegisterBus()) for region in self.regions},
        })

    def elaborate(self, platform):
        m = Module()
        request, response = self.bus.request, self.bus.response
        targets = [getattr(self, region.name) for region in self.regions]
        # The request that is offered to a target: one bit of `offered` per region, none while nothing is.
        held = Signal.like(request.p)
        offered = Signal(len(targets))
        # A read is under way: who answers
        asked = Signal(len(targets))
        hole = Signal()
        accepted = Signal()
        passed = Cat(target.request.ready for target in targets) & offered
        # An offered read bars the way like one under way.
        reading = (asked.any() | hole | response.valid) | (offered.any() & ~held.write)
        m.d.comb += [
            request.ready.eq(~reading & (~offered.any() | passed.any())),
            accepted.eq(request.valid & request.ready),
        ]
        with m.If(passed.any()):
            m.d.sync += offered.eq(0)
            with m.If(~held.write):
                m.d.sync += asked.eq(offered)
        with m.If(accepted):
            m.d.sync += held.eq(request.p)
            for n, region in enumerate(self.regions):
                with m.If(self._inside(request.p.address, region)):
                    m.d.sync += [offered[n].eq(1), held.address.eq(request.p.address - region.offset)]
            m.d.sync += hole.eq(~request.p.write & ~Cat(self._inside(request.p.address, r) for r in self.regions).any())
        for n, target in enumerate(targets):
            m.d.comb += [
                target.request.p.eq(held),
                target.request.valid.eq(offered[n]),
                target.response.ready.eq(asked[n]),
            ]
        self._answer(m, targets, asked, hole)
        return m

    @staticmethod
    def _inside(address, region):
        below_end = address < region.end
        return (address >= region.offset) & below_end if region.offset else below_end

    def _answer(self, m, targets, asked, hole):
        response = self.bus.response
        with m.If(response.ready):
            m.d.sync += response.valid.eq(0)
        with m.If(hole):
            m.d.sync += [hole.eq(0), response.valid.eq(1), response.p.eq(0)]
        for n, target in enumerate(targets):
            with m.If(asked[n] & target.response.valid):
                m.d.sync += [asked.eq(0), response.valid.eq(1), response.p.eq(target.response.p)]
