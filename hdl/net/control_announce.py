"""The driver's answer to a request for announcements: commands of class ANNOUNCE.

Source: VIRTIO 1.4, section "Control Virtqueue / Gratuitous Packet Sending".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .control_fields import AckReply, Fields
from .control_spec import AnnounceCommand, ControlFeatures, HandlerPort

__all__ = ["Announcement"]


class Announcement(wiring.Component):
    """ACK: no data. With data, with any other command, or without VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_ERR and no
    change. It is right also if nothing was to be announced.

    Attributes
    ----------
    i : In(HandlerPort)
    features : In(ControlFeatures)
    clear : In(1)
        nothing is kept here
    acknowledge : Out(1)
        pulse, in the cycle of `execute`
    """

    i: In(HandlerPort())
    features: In(ControlFeatures)
    clear: In(1)
    acknowledge: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.fields = fields = Fields(1)
        m.submodules.ack = ack = AckReply()
        connect(m, flipped(self.i.bytes), fields.bytes)
        connect(m, ack.reply, flipped(self.i.reply))
        m.d.comb += [
            fields.begin.eq(self.i.begin), self.i.enough.eq(fields.length != 0),
            ack.give.eq(self.i.execute),
            ack.ok.eq(self.features.announce & (self.i.command == AnnounceCommand.ACK) & (fields.length == 0)),
            self.acknowledge.eq(self.i.execute & ack.ok),
        ]
        return m
