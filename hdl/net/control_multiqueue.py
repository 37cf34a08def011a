"""How frames come to queue pairs: commands of class MQ.

Source: VIRTIO 1.4, sections "Control Virtqueue / Automatic receive steering in multiqueue mode" and "Receive-side
scaling (RSS)".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .control_fields import AckReply, Fields
from .control_scaling import ScalingCommands
from .control_spec import ControlFeatures, HandlerPort, MultiqueueCommand, QueueEnable
from .hash_spec import ScalingSettings, TableWrite

__all__ = ["Multiqueue"]


class Multiqueue(wiring.Component):
    """What is not as below, or without its feature, is answered VIRTIO_NET_ERR and changes nothing.

    | command | data | effect |
    | --- | --- | --- |
    | VQ_PAIRS_SET | le16 virtqueue_pairs, 1 to `pairs` | automatic steering over so many pairs |
    | RSS_CONFIG | see `ScalingCommands` | receive side scaling, whose table may name any pair; hash types and key |
    | HASH_CONFIG | see `ScalingCommands` | hash types and key |

    Of the first two the last one given is in force; both tell how many pairs the driver may send on, which is no matter
    here: every enabled queue is served. An effect follows `execute` after 1 cycle. The command is acknowledged once
    `settled` has been high after that.

    Parameters
    ----------
    pairs, pair_bits : int
        max_virtqueue_pairs

    Attributes
    ----------
    i : In(HandlerPort)
    features : In(ControlFeatures)
    enable : In(QueueEnable(pair_bits))
    clear : In(1)
        pulse: back to one pair, automatic steering and no hash
    settled : In(1)
        nothing that was decided by an earlier `active_pairs` is still to be seen by the driver
    active_pairs : Out(range(pairs + 1))
        pairs that frames may come to
    scaling : Out(ScalingSettings(pair_bits)); table_write : Out(TableWrite(pair_bits))
    idle : Out(1)
        no walk after a reset
    """

    def __init__(self, pairs, pair_bits):
        self.pairs = pairs
        self.pair_bits = pair_bits
        super().__init__({
            "i": In(HandlerPort()), "features": In(ControlFeatures), "enable": In(QueueEnable(pair_bits)),
            "clear": In(1), "settled": In(1), "active_pairs": Out(range(pairs + 1), init=1),
            "scaling": Out(ScalingSettings(pair_bits)), "table_write": Out(TableWrite(pair_bits)), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fields = fields = Fields(2)
        m.submodules.commands = commands = ScalingCommands(self.pairs, self.pair_bits)
        m.submodules.ack = ack = AckReply()
        bytes, command = self.i.bytes, self.i.command
        sets_pairs, scales, hashes = (command == name for name in MultiqueueCommand)
        connect(m, ack.reply, flipped(self.i.reply))
        for block in (fields, commands):
            m.d.comb += [block.begin.eq(self.i.begin), block.bytes.valid.eq(bytes.valid),
                         block.bytes.payload.eq(bytes.payload)]
        ok, apply = Signal(), Signal()
        m.d.comb += [
            ok.eq(self.features.multiqueue & sets_pairs
                  & (fields.length == 2) & (fields.data != 0) & (fields.data <= self.pairs)),
            apply.eq(commands.right & ((scales & self.features.scaling) | (hashes & self.features.hash_report))),
            self.i.enough.eq(Mux(scales | hashes, commands.enough, fields.enough)),
            commands.command.eq(command), commands.apply.eq(self.i.execute & apply), commands.scale.eq(scales),
            commands.steer.eq(self.i.execute & ok),
            commands.enable.eq(self.enable), commands.clear.eq(self.clear),
            self.scaling.eq(commands.settings), self.table_write.eq(commands.table_write),
            self.idle.eq(commands.idle),
        ]
        settling = Signal(3)     # cycles until `settled` has heard of the change
        waits = Signal()
        with m.If(self.i.execute):
            m.d.sync += [ack.ok.eq(ok | apply), waits.eq(1), settling.eq(~0)]
            with m.If(ok):
                m.d.sync += self.active_pairs.eq(fields.data)
            with m.Elif(apply & scales):
                m.d.sync += self.active_pairs.eq(self.pairs)
        with m.Elif(settling != 0):
            m.d.sync += settling.eq(settling - 1)
        with m.Elif(waits & (self.settled | ~ack.ok)):
            m.d.comb += ack.give.eq(1)
            m.d.sync += waits.eq(0)
        with m.If(self.clear):
            m.d.sync += self.active_pairs.eq(1)
        return m
