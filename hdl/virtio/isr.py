"""ISR status.

Source: VIRTIO 1.4, section "ISR status capability".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterBus, RegisterFile

from .maps import ISR_STATUS
from .spec import IsrStatus

__all__ = ["Isr"]


class Isr(wiring.Component):
    """The byte that tells a driver without MSI-X why it was interrupted.

    A read that has the byte's lane enabled clears it. What is set in the cycle of the read is not lost: it shows in the
    next one. Set bits show after 1 cycle.

    Attributes
    ----------
    bus : In(RegisterBus())
    set_queue, set_config : In(1)
        pulses
    clear : In(1)
        from `LifeCycle`
    pending : Out(1)
        a bit is set: Interrupt Status, and the level of INTx
    """

    bus: In(RegisterBus())
    set_queue: In(1)
    set_config: In(1)
    clear: In(1)
    pending: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = RegisterFile(ISR_STATUS)
        wiring.connect(m, wiring.flipped(self.bus), registers.bus)
        value = Signal(IsrStatus)
        kept = Mux(registers.isr_status_read, 0, value.as_value())
        m.d.sync += value.eq(kept | Cat(self.set_queue, self.set_config))
        with m.If(self.clear):
            m.d.sync += value.eq(0)
        m.d.comb += [
            registers.isr_status.eq(value),
            self.pending.eq(value.as_value().any()),
        ]
        return m
