"""The control virtqueue: ring, commands and their handlers in one block."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..dma.spec import ReadBeat, ReadCommand
from ..stream import TlpBeat
from ..virtqueue.spec import EngineFeatures, QueueConfig
from .control_announce import Announcement
from .control_coalescing import Coalescing, QueueLookup
from .control_commands import Commands
from .control_mac import Addresses, MacChange
from .control_memory import ControlMemory
from .control_multiqueue import Multiqueue
from .control_offloads import GuestOffloads
from .control_receive import ReceiveModes
from .control_ring import ControlRing
from .control_spec import Ack, CoalescingSettings, ControlClass, ControlFeatures, ControlInterrupt, QueueEnable
from .control_statistics import DeviceStatistics
from .control_vlan import Vlans
from .filter import FilterPort
from .hash_spec import ScalingSettings, TableWrite
from .statistics import StatisticQuery

__all__ = ["Control", "HANDLERS"]


# Cycles for which all must be quiet before a reset of the queue is done: more than what is between two stages takes.
RESET_SETTLE = 8

# Class of commands → (name, component from the configuration). A component has ports `i`, `features` and `clear`.
HANDLERS = {
    ControlClass.RX: ("receive_modes", lambda config: ReceiveModes()),
    ControlClass.MAC: ("addresses", lambda config: Addresses()),
    ControlClass.VLAN: ("vlans", lambda config: Vlans()),
    ControlClass.ANNOUNCE: ("announcement", lambda config: Announcement()),
    ControlClass.MQ: ("multiqueue", lambda config: Multiqueue(config.pairs, config.pair_bits)),
    ControlClass.GUEST_OFFLOADS: ("offloads", lambda config: GuestOffloads()),
    ControlClass.NOTF_COAL: ("coalescing", lambda config: Coalescing(config.pairs, config.pair_bits)),
    ControlClass.STATS: ("statistics",
                         lambda config: DeviceStatistics(config.pair_bits, 1 << (config.queues - 1).bit_length())),
}


class Control(wiring.Component):
    """See `ControlRing` for how the ring is served, `Commands` for what is refused, and each handler for its class.

    Asks for one read of at most 16 bytes at a time and always takes the answer; writes one TLP of at most 8 bytes at a
    time. So it holds up no other client.

    Parameters
    ----------
    config : NicConfig
        takes width, pairs, pair_bits

    Attributes
    ----------
    ring_features : In(EngineFeatures); features : In(ControlFeatures)
    live, quiesce, clear : In(1); idle : Out(1); error : Out(1); msix_enable : In(1)
        as in `virtqueue.Engine`
    reset : In(1), silent : In(1); reset_done : Out(1)
        `reset` is held until `reset_done`: nothing is under way, and no interrupt is between `interrupts` and the host
    doorbell : In(1)
        pulse
    configured : In(1), setup : In(QueueConfig)
        pulse: the control queue has been enabled or reset, or its vector has changed
    reads : stream of ReadCommand out; beats : stream of ReadBeat in; room : Out(1)
    o : stream of TlpBeat out; accepted : In(1)
    interrupts : stream of {vector} out
    active_pairs, pairs_settled, scaling, table_write
        as in `Multiqueue`
    queue_enable, settings
        as in `Coalescing`
    virtqueue : Out(16); place : In(QueueLookup)
        translated in the same cycle, for `Coalescing` and `DeviceStatistics`
    negotiated_offloads : In(64); guest_offloads : Out(64)
        see `GuestOffloads`; whoever gives a verdict or merges packets for the driver obeys the bits of the latter
    query, value
        as in `DeviceStatistics`
    filter : Out(FilterPort)
    mac_change : Out(MacChange)
        see `Addresses`
    acknowledge : Out(1)
        see `Announcement`
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "ring_features": In(EngineFeatures), "features": In(ControlFeatures),
            "live": In(1), "quiesce": In(1), "clear": In(1), "idle": Out(1), "error": Out(1), "msix_enable": In(1),
            "reset": In(1), "silent": In(1), "reset_done": Out(1),
            "doorbell": In(1), "configured": In(1), "setup": In(QueueConfig),
            "reads": Out(stream.Signature(ReadCommand(config.pair_bits))),
            "beats": In(stream.Signature(ReadBeat(config.width, config.pair_bits))), "room": Out(1),
            "o": Out(stream.Signature(TlpBeat(config.width))), "accepted": In(1),
            "interrupts": Out(stream.Signature(ControlInterrupt)),
            "active_pairs": Out(range(config.pairs + 1), init=1), "pairs_settled": In(1),
            "scaling": Out(ScalingSettings(config.pair_bits)), "table_write": Out(TableWrite(config.pair_bits)),
            "queue_enable": In(QueueEnable(config.pair_bits)), "settings": Out(CoalescingSettings(config.pair_bits)),
            "virtqueue": Out(16), "place": In(QueueLookup(config.pair_bits)),
            "filter": Out(FilterPort()), "mac_change": Out(MacChange), "acknowledge": Out(1),
            "negotiated_offloads": In(64), "guest_offloads": Out(64),
            "query": Out(StatisticQuery(config.pair_bits)), "value": In(64),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = ControlMemory(self.config.width, self.config.pair_bits)
        m.submodules.ring = ring = ControlRing()
        m.submodules.commands = commands = Commands({name: kind for kind, (name, _) in HANDLERS.items()})
        handlers = {name: make(self.config) for name, make in HANDLERS.values()}
        for name, handler in handlers.items():
            m.submodules[name] = handler
            connect(m, getattr(commands, name), handler.i)
            m.d.comb += [handler.features.eq(self.features), handler.clear.eq(self.clear)]
        connect(m, ring.command, commands.i)
        reply = ring.command.reply
        m.d.comb += [
            handlers["statistics"].executed.eq(ring.command.execute),
            handlers["statistics"].acknowledged.eq(reply.valid & reply.ready & reply.payload.ack
                                                   & (reply.payload.data == Ack.OK)),
        ]
        self._connect_memory(m, memory, ring)
        self._connect_handlers(m, **handlers)
        connect(m, ring.interrupts, wiring.flipped(self.interrupts))
        for name in ("live", "quiesce", "clear", "msix_enable", "doorbell", "configured", "setup"):
            m.d.comb += getattr(ring, name).eq(getattr(self, name))
        at_rest, calm = Signal(), Signal(range(RESET_SETTLE + 1))
        m.d.comb += [
            ring.features.eq(self.ring_features), self.error.eq(ring.error),
            at_rest.eq(ring.idle & ~memory.reading & ~memory.writing),
            self.idle.eq(at_rest & handlers["coalescing"].idle & handlers["multiqueue"].idle),
            ring.leave.eq(self.reset), self.reset_done.eq(calm == RESET_SETTLE),
        ]
        m.d.sync += calm.eq(Mux(self.reset & at_rest & self.silent & ~self.reset_done, calm + 1, 0))
        return m

    def _connect_memory(self, m, memory, ring):
        connect(m, memory.reads, wiring.flipped(self.reads))
        connect(m, wiring.flipped(self.beats), memory.beats)
        connect(m, memory.o, wiring.flipped(self.o))
        m.d.comb += [
            memory.read.eq(ring.read), memory.write.eq(ring.write), memory.shift.eq(ring.shift),
            ring.answered.eq(memory.answered), ring.failed.eq(memory.failed), ring.data.eq(memory.data),
            ring.writing.eq(memory.writing), self.room.eq(memory.room), memory.accepted.eq(self.accepted),
        ]

    def _connect_handlers(self, m, multiqueue, coalescing, receive_modes, addresses, vlans, announcement,
                          statistics, offloads):
        connect(m, addresses.addresses, flipped(self.filter.addresses))
        m.d.comb += [
            self.active_pairs.eq(multiqueue.active_pairs),
            multiqueue.settled.eq(self.pairs_settled | self.quiesce), multiqueue.enable.eq(self.queue_enable),
            self.scaling.eq(multiqueue.scaling), self.table_write.eq(multiqueue.table_write),
            coalescing.enable.eq(self.queue_enable), self.settings.eq(coalescing.settings),
            coalescing.place.eq(self.place), statistics.place.eq(self.place),
            self.query.eq(statistics.query), statistics.value.eq(self.value),
            self.filter.modes.eq(receive_modes.modes), self.filter.vlan.eq(vlans.change),
            self.filter.begin.eq(addresses.begin), self.filter.commit.eq(addresses.commit),
            self.filter.too_many.eq(addresses.too_many), self.mac_change.eq(addresses.change),
            self.acknowledge.eq(announcement.acknowledge),
            offloads.negotiated.eq(self.negotiated_offloads), self.guest_offloads.eq(offloads.offloads),
        ]
        counts = Signal()     # statistics have asked last for a virtqueue
        with m.If(statistics.i.begin):
            m.d.sync += counts.eq(1)
        with m.Elif(coalescing.i.begin):
            m.d.sync += counts.eq(0)
        m.d.comb += self.virtqueue.eq(Mux(counts, statistics.virtqueue, coalescing.virtqueue))
