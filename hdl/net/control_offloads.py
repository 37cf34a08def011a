"""Which guest offloads are on: commands of class GUEST_OFFLOADS.

Source: VIRTIO 1.4, section "Control Virtqueue / Offloads State Configuration".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .control_fields import AckReply, Fields
from .control_spec import ControlFeatures, HandlerPort, OffloadsCommand

__all__ = ["GuestOffloads"]


class GuestOffloads(wiring.Component):
    """SET: le64, a bit for each guest offload that is to be on, the others go off. With a bit that is not among the
    negotiated offloads, data of another length, any other command, or without VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
    VIRTIO_NET_ERR and no change.

    Until the first command, and again after `clear`, all that were negotiated are on. `offloads` follows `execute`
    after 1 cycle.

    Attributes
    ----------
    i : In(HandlerPort)
    features : In(ControlFeatures)
    clear : In(1)
        pulse
    negotiated : In(64)
        the guest offloads among the negotiated features, as the command numbers them
    offloads : Out(64)
    """

    i: In(HandlerPort())
    features: In(ControlFeatures)
    clear: In(1)
    negotiated: In(64)
    offloads: Out(64)

    def elaborate(self, platform):
        m = Module()
        m.submodules.fields = fields = Fields(8)
        m.submodules.ack = ack = AckReply()
        connect(m, flipped(self.i.bytes), fields.bytes)
        connect(m, ack.reply, flipped(self.i.reply))
        off = Signal(64)
        m.d.comb += [
            fields.begin.eq(self.i.begin), self.i.enough.eq(fields.enough),
            ack.give.eq(self.i.execute),
            ack.ok.eq(self.features.guest_offloads & (self.i.command == OffloadsCommand.SET) & (fields.length == 8)
                      & ~(fields.data & ~self.negotiated).any()),
            self.offloads.eq(self.negotiated & ~off),
        ]
        with m.If(self.clear):
            m.d.sync += off.eq(0)
        with m.Elif(self.i.execute & ack.ok):
            m.d.sync += off.eq(~fields.data)
        return m
