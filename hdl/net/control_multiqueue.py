"""How many queue pairs are in use: commands of class MQ.

Source: VIRTIO 1.4, section "Control Virtqueue / Automatic receive steering in multiqueue mode".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .control_fields import AckReply, Fields
from .control_spec import ControlFeatures, HandlerPort, MultiqueueCommand

__all__ = ["Multiqueue"]


class Multiqueue(wiring.Component):
    """VQ_PAIRS_SET: le16 virtqueue_pairs, 1 to `pairs`; with any other number, length or command, or without
    VIRTIO_NET_F_MQ, VIRTIO_NET_ERR and no change.

    `active_pairs` follows `execute` after 1 cycle. The command is acknowledged once `settled` has been high after that.

    Parameters
    ----------
    pairs : int
        max_virtqueue_pairs

    Attributes
    ----------
    i : In(HandlerPort)
    features : In(ControlFeatures)
    clear : In(1)
        pulse: back to one pair
    settled : In(1)
        nothing that was decided by an earlier `active_pairs` is still to be seen by the driver
    active_pairs : Out(range(pairs + 1))
    """

    def __init__(self, pairs):
        self.pairs = pairs
        super().__init__({
            "i": In(HandlerPort()), "features": In(ControlFeatures), "clear": In(1), "settled": In(1),
            "active_pairs": Out(range(pairs + 1), init=1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fields = fields = Fields(2)
        m.submodules.ack = ack = AckReply()
        connect(m, flipped(self.i.bytes), fields.bytes)
        connect(m, ack.reply, flipped(self.i.reply))
        m.d.comb += [fields.begin.eq(self.i.begin), self.i.enough.eq(fields.enough)]
        ok = Signal()
        m.d.comb += ok.eq(self.features.multiqueue & (self.i.command == MultiqueueCommand.VQ_PAIRS_SET)
                          & (fields.length == 2) & (fields.data != 0) & (fields.data <= self.pairs))
        settling = Signal(3)     # cycles until `settled` has heard of the change
        waits = Signal()
        with m.If(self.i.execute):
            m.d.sync += [ack.ok.eq(ok), waits.eq(1), settling.eq(~0)]
            with m.If(ok):
                m.d.sync += self.active_pairs.eq(fields.data)
        with m.Elif(settling != 0):
            m.d.sync += settling.eq(settling - 1)
        with m.Elif(waits & (self.settled | ~ack.ok)):
            m.d.comb += ack.give.eq(1)
            m.d.sync += waits.eq(0)
        with m.If(self.clear):
            m.d.sync += self.active_pairs.eq(1)
        return m
