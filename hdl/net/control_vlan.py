"""Which VLANs are received: commands of class VLAN.

Source: VIRTIO 1.4, section "Control Virtqueue / VLAN Filtering".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .control_fields import AckReply, Fields
from .control_spec import ControlFeatures, HandlerPort, VlanCommand
from .filter_vlans import VlanChange

__all__ = ["Vlans"]


class Vlans(wiring.Component):
    """VLAN_ADD, VLAN_DEL: le16 identifier, 0 to 4095. With any other number, length or command, or without
    VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_ERR and no change. One that is added twice, or taken away without having been
    added, makes no difference and is no error.

    Attributes
    ----------
    i : In(HandlerPort)
    features : In(ControlFeatures)
    clear : In(1)
        nothing is kept here
    change : Out(VlanChange)
        in the cycle of `execute`
    """

    i: In(HandlerPort())
    features: In(ControlFeatures)
    clear: In(1)
    change: Out(VlanChange)

    def elaborate(self, platform):
        m = Module()
        m.submodules.fields = fields = Fields(2)
        m.submodules.ack = ack = AckReply()
        connect(m, flipped(self.i.bytes), fields.bytes)
        connect(m, ack.reply, flipped(self.i.reply))
        adds, removes = (self.i.command == command for command in (VlanCommand.ADD, VlanCommand.DEL))
        m.d.comb += [
            fields.begin.eq(self.i.begin), self.i.enough.eq(fields.enough),
            ack.give.eq(self.i.execute),
            ack.ok.eq(self.features.vlan & (adds | removes) & (fields.length == 2) & (fields.data[12:] == 0)),
            self.change.valid.eq(self.i.execute & ack.ok), self.change.add.eq(adds),
            self.change.vlan.eq(fields.data[:12]),
        ]
        return m
