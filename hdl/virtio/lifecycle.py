"""Life of the device between resets.

Source: VIRTIO 1.4, sections "Device Reset", "Common configuration structure layout" (device_status); PCI Express Base
Specification, "Function Level Reset".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LifeCycle"]


class LifeCycle(wiring.Component):
    """Quiesces, clears and releases the device.

    - *Run*: nothing to do.
    - *Quiesce*, on `request` or `flr`: `quiesce` tells every client of the host's memory to ask for nothing more. Once
      `all_idle` has been high for `settle` cycles in a row, nothing of the old life is under way any more.
    - *Clear*: `clear` is high for one cycle, on which every block initialises its state and lowers its idle. Once
      `all_idle` has been high for `settle` cycles in a row again, the device runs anew.

    A power-on reset begins with *clear*. A `request` or `flr` during a reset joins the reset that is under way. Outputs
    are registers.

    Parameters
    ----------
    settle : int
        cycles for which `all_idle` must stay high; covers the registers between a block and this input, and the cycles
        in which a command is between two blocks

    Attributes
    ----------
    request : In(1)
        the driver wrote 0 to device_status
    flr : In(1)
        function level reset
    all_idle : In(1)
        no block has anything under way, be it transfers or initialisation
    quiesce : Out(1)
        a reset is under way; high from the cycle after the request to the end
    clear : Out(1)
        one cycle per reset
    flr_busy : Out(1)
        the reset under way is, or was joined by, a function level reset
    """

    request: In(1)
    flr: In(1)
    all_idle: In(1)
    quiesce: Out(1, init=1)
    clear: Out(1, init=1)
    flr_busy: Out(1)

    def __init__(self, settle=16):
        if settle < 1:
            raise ValueError(f"settle is at least 1 cycle, not {settle!r}")
        self.settle = settle
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        cleared = Signal(init=1)
        quiet = Signal(range(self.settle + 1))
        settled = Signal()
        m.d.comb += settled.eq(quiet == self.settle)
        m.d.sync += self.clear.eq(0)
        with m.If(~self.all_idle | ~self.quiesce | self.clear | settled):
            m.d.sync += quiet.eq(0)
        with m.Else():
            m.d.sync += quiet.eq(quiet + 1)
        with m.If(~self.quiesce):
            with m.If(self.request | self.flr):
                m.d.sync += [self.quiesce.eq(1), cleared.eq(0)]
        with m.Elif(settled & ~cleared):
            m.d.sync += [self.clear.eq(1), cleared.eq(1)]
        with m.Elif(settled):
            m.d.sync += [self.quiesce.eq(0), self.flr_busy.eq(0)]
        with m.If(self.flr):
            m.d.sync += self.flr_busy.eq(1)
        return m
