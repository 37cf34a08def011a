"""Which kinds of frames are received: commands of class RX.

Source: VIRTIO 1.4, section "Control Virtqueue / Packet Receive Filtering".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .control_fields import AckReply, Fields
from .control_spec import ControlFeatures, HandlerPort, ReceiveCommand
from .filter import FilterModes

__all__ = ["ReceiveModes"]


class ReceiveModes(wiring.Component):
    """PROMISC, ALLMULTI, ALLUNI, NOMULTI, NOUNI, NOBCAST: a byte, 0 off or 1 on. The first two need
    VIRTIO_NET_F_CTRL_RX, the others VIRTIO_NET_F_CTRL_RX_EXTRA. All else is VIRTIO_NET_ERR and no change.

    `modes` follows `execute` after 1 cycle.

    Attributes
    ----------
    i : In(HandlerPort)
    features : In(ControlFeatures)
    clear : In(1)
        pulse: all off
    modes : Out(FilterModes)
    """

    i: In(HandlerPort())
    features: In(ControlFeatures)
    clear: In(1)
    modes: Out(FilterModes)

    def elaborate(self, platform):
        m = Module()
        m.submodules.fields = fields = Fields(1)
        m.submodules.ack = ack = AckReply()
        connect(m, flipped(self.i.bytes), fields.bytes)
        connect(m, ack.reply, flipped(self.i.reply))
        modes = self.modes.as_value()
        plain = self.i.command <= ReceiveCommand.ALLMULTI.value
        m.d.comb += [
            fields.begin.eq(self.i.begin), self.i.enough.eq(fields.enough),
            ack.give.eq(self.i.execute),
            ack.ok.eq((self.i.command < len(modes)) & (fields.length == 1) & (fields.data <= 1)
                      & Mux(plain, self.features.receive_modes, self.features.receive_extra)),
        ]
        with m.If(self.i.execute & ack.ok):
            m.d.sync += modes.bit_select(self.i.command[:3], 1).eq(fields.data[0])
        with m.If(self.clear):
            m.d.sync += modes.eq(0)
        return m
