"""Coalescing of used buffer notifications: commands of class NOTF_COAL.

Source: VIRTIO 1.4, section "Control Virtqueue / Notifications Coalescing".
"""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from ..virtqueue.initialise import InitialiseWalk
from .control_fields import AckReply, Fields
from .control_spec import CoalescingCommand, CoalescingSettings, ControlFeatures, HandlerPort, QueueEnable

__all__ = ["Coalescing", "QueueLookup"]


# VQ_GET: max_packets and max_usecs, ahead of the ack.
_RESULT_BYTES = 8


class _Parameters(data.Struct):
    max_packets: 32
    max_usecs: 32


class QueueLookup(data.StructLayout):
    """What a virtqueue index names. Fields: `exists` it is a receive or transmit queue; `transmit`; `queue` local
    index; `control` it is the control queue."""

    def __init__(self, pair_bits):
        super().__init__({"exists": 1, "transmit": 1, "queue": pair_bits, "control": 1})


class Coalescing(wiring.Component):
    """Keeps max_packets and max_usecs of every queue, and tells whoever applies them of each change.

    | command | data | effect |
    | --- | --- | --- |
    | TX_SET, RX_SET | parameters | all queues of the direction, one a cycle; default of those enabled later |
    | VQ_SET | vq_index, reserved, parameters | one enabled queue |
    | VQ_GET | vq_index, reserved | parameters of an enabled queue, then the ack, if there is room for 9 bytes |

    The last two are refused for a virtqueue that is not an enabled receive or transmit queue; all commands of a wrong
    length, or without their feature (NOTF_COAL, VQ_NOTF_COAL). A VQ_GET refused with room for 9 bytes returns zeros
    before its ack, since that is where the driver looks for it. A queue that becomes enabled gets the values of the
    last TX_SET or RX_SET. After reset and `clear` everything is 0, which is not told; a walk of a cycle per queue.

    Parameters
    ----------
    pairs, pair_bits : int

    Attributes
    ----------
    i : In(HandlerPort)
    features : In(ControlFeatures)
    virtqueue : Out(16); place : In(QueueLookup)
        translated in the same cycle
    enable : In(QueueEnable)
    clear : In(1)
        pulse
    settings : Out(CoalescingSettings)
    idle : Out(1)
        no walk after a reset
    """

    def __init__(self, pairs, pair_bits):
        self.pairs = pairs
        self.pair_bits = pair_bits
        super().__init__({
            "i": In(HandlerPort()), "features": In(ControlFeatures),
            "virtqueue": Out(16), "place": In(QueueLookup(pair_bits)), "enable": In(QueueEnable(pair_bits)),
            "clear": In(1), "settings": Out(CoalescingSettings(pair_bits)), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fields = self._fields = fields = Fields(12)
        m.submodules.ack = ack = AckReply(_RESULT_BYTES)
        m.submodules.walk = walk = InitialiseWalk(2 << self.pair_bits, 1 + self.pair_bits)
        connect(m, flipped(self.i.bytes), fields.bytes)
        connect(m, ack.reply, flipped(self.i.reply))
        m.d.comb += [
            fields.begin.eq(self.i.begin), self.i.enough.eq(fields.enough),
            # vq_index is the first field: of 12 bytes, or of the 4 of VQ_GET.
            self.virtqueue.eq(Mux(self.i.command == CoalescingCommand.VQ_GET, fields.data[64:80], fields.data[:16])),
            walk.clear.eq(self.clear), self.idle.eq(~walk.walking & ~self.clear),
        ]
        place = Signal(QueueLookup(self.pair_bits))
        is_enabled = self._follow(m, walk, place)
        stored = self._store(m, walk, ack, place)
        self._judge(m, place, is_enabled, ack, stored)
        return m

    def _follow(self, m, walk, place):
        """Notes which queues are enabled; returns whether that at `place` is. `self._fresh`: one becomes enabled."""
        enable = self.enable
        m.submodules.enabled = enabled = Memory(shape=1, depth=2 << self.pair_bits, init=[])
        write, before, asked = enabled.write_port(), enabled.read_port(domain="comb"), enabled.read_port(domain="comb")
        address = Cat(enable.queue, enable.transmit)
        self._fresh = Signal()
        m.d.comb += [
            write.addr.eq(Mux(walk.walking, walk.queue, address)), write.en.eq(walk.walking | enable.valid),
            write.data.eq(enable.enabled & ~walk.walking),
            before.addr.eq(address), asked.addr.eq(Cat(place.queue, place.transmit)),
            self._fresh.eq(enable.valid & enable.enabled & ~before.data),
        ]
        return asked.data

    def _store(self, m, walk, ack, place):
        """The memory of what is set, and the two ways to write it: returns (one, all, written, read data).

        `one`, `all` : ask for the queue at `place`, or a queue of its direction, to be set to the parameters that the
        command brings. `written`: it is being done in this cycle.
        """
        m.submodules.store = store = Memory(shape=_Parameters, depth=2 << self.pair_bits, init=[])
        write, read = store.write_port(), store.read_port()
        brought, setting, wanted = Signal(_Parameters), self.settings, Signal()
        defaults = [Signal(_Parameters, name=f"default_{direction}") for direction in ("rx", "tx")]
        enable = self.enable
        set_default = Signal()
        m.d.comb += [
            brought.eq(self._fields.data[32:]),
            read.addr.eq(Cat(place.queue, place.transmit)),
            write.addr.eq(Cat(place.queue, place.transmit)), write.data.eq(brought), write.en.eq(wanted),
        ]
        with m.If(self._fresh):
            m.d.comb += [
                write.addr.eq(Cat(enable.queue, enable.transmit)), write.en.eq(1),
                write.data.eq(Mux(enable.transmit, defaults[1].as_value(), defaults[0].as_value())),
            ]
        m.d.sync += [
            setting.valid.eq(write.en & ~walk.walking), setting.queue.eq(write.addr[:-1]),
            setting.transmit.eq(write.addr[-1]),
            setting.max_packets.eq(write.data.max_packets), setting.max_usecs.eq(write.data.max_usecs),
        ]
        with m.If(walk.walking):
            m.d.comb += [write.addr.eq(walk.queue), write.data.eq(0), write.en.eq(1)]
            m.d.sync += [default.eq(0) for default in defaults]
        for transmit, default in enumerate(defaults):
            with m.If(set_default & (place.transmit == transmit)):
                m.d.sync += default.eq(brought)
        m.d.comb += ack.data.eq(Mux(ack.ok, read.data.as_value(), 0))
        return wanted, set_default, ~self._fresh

    def _judge(self, m, place, is_enabled, ack, stored):
        """One command: is it right, then its effect, then its reply."""
        wanted, set_default, free = stored
        command, length, room = self.i.command, self._fields.length, self.i.room
        gets, sets_one, sets_all = (Signal(name=name) for name in ("gets", "sets_one", "sets_all"))
        has_result, ok = Signal(), Signal()
        whole, each = self.features.coalescing, self.features.queue_coalescing
        m.d.comb += [
            sets_all.eq((command == CoalescingCommand.TX_SET) | (command == CoalescingCommand.RX_SET)),
            sets_one.eq(command == CoalescingCommand.VQ_SET), gets.eq(command == CoalescingCommand.VQ_GET),
            ack.ok.eq(ok), ack.count.eq(Mux(has_result, _RESULT_BYTES, 0)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += place.eq(self.place)
                with m.If(self.i.execute):
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                named = place.exists & is_enabled & each
                m.d.sync += [
                    has_result.eq(gets & (room > _RESULT_BYTES)),
                    ok.eq((sets_all & whole & (length == 8)) | (sets_one & named & (length == 12))
                          | (gets & named & (length == 4) & (room > _RESULT_BYTES))),
                ]
                with m.If(sets_all):
                    m.d.sync += [place.queue.eq(0), place.transmit.eq(command == CoalescingCommand.TX_SET)]
                m.next = "EFFECT"
            with m.State("EFFECT"):
                m.d.comb += [set_default.eq(ok & sets_all), wanted.eq(ok & ~gets)]
                with m.If(~wanted | (free & (sets_one | (place.queue == self.pairs - 1)))):
                    m.next = "REPLY"
                with m.Elif(free):
                    m.d.sync += place.queue.eq(place.queue + 1)
            with m.State("REPLY"):
                # A cycle after EFFECT the memory shows what VQ_GET asks for.
                m.d.comb += ack.give.eq(1)
                m.next = "IDLE"
