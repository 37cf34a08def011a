"""The control virtqueue: ring, commands and their handlers in one block."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from ..dma.spec import ReadBeat, ReadCommand
from ..stream import TlpBeat
from ..virtqueue.spec import EngineFeatures, QueueConfig
from .control_coalescing import Coalescing, QueueLookup
from .control_commands import Commands
from .control_memory import ControlMemory
from .control_multiqueue import Multiqueue
from .control_ring import ControlRing
from .control_spec import CoalescingSettings, ControlClass, ControlFeatures, ControlInterrupt, QueueEnable
from .hash_spec import ScalingSettings, TableWrite

__all__ = ["Control", "HANDLERS"]


# Class of commands → (name, component from the configuration). A component has ports `i`, `features` and `clear`.
HANDLERS = {
    ControlClass.MQ: ("multiqueue", lambda config: Multiqueue(config.pairs, config.pair_bits)),
    ControlClass.NOTF_COAL: ("coalescing", lambda config: Coalescing(config.pairs, config.pair_bits)),
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
    doorbell : In(1)
        pulse
    configured : In(1), setup : In(QueueConfig)
        pulse: the control queue has been enabled, or its vector has changed
    reads : stream of ReadCommand out; beats : stream of ReadBeat in; room : Out(1)
    o : stream of TlpBeat out; accepted : In(1)
    interrupts : stream of {vector} out
    active_pairs, pairs_settled, scaling, table_write
        as in `Multiqueue`
    queue_enable, settings, virtqueue, place
        as in `Coalescing`
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "ring_features": In(EngineFeatures), "features": In(ControlFeatures),
            "live": In(1), "quiesce": In(1), "clear": In(1), "idle": Out(1), "error": Out(1), "msix_enable": In(1),
            "doorbell": In(1), "configured": In(1), "setup": In(QueueConfig),
            "reads": Out(stream.Signature(ReadCommand(config.pair_bits))),
            "beats": In(stream.Signature(ReadBeat(config.width, config.pair_bits))), "room": Out(1),
            "o": Out(stream.Signature(TlpBeat(config.width))), "accepted": In(1),
            "interrupts": Out(stream.Signature(ControlInterrupt)),
            "active_pairs": Out(range(config.pairs + 1), init=1), "pairs_settled": In(1),
            "scaling": Out(ScalingSettings(config.pair_bits)), "table_write": Out(TableWrite(config.pair_bits)),
            "queue_enable": In(QueueEnable(config.pair_bits)), "settings": Out(CoalescingSettings(config.pair_bits)),
            "virtqueue": Out(16), "place": In(QueueLookup(config.pair_bits)),
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
        self._connect_memory(m, memory, ring)
        self._connect_handlers(m, **handlers)
        connect(m, ring.interrupts, wiring.flipped(self.interrupts))
        for name in ("live", "quiesce", "clear", "msix_enable", "doorbell", "configured", "setup"):
            m.d.comb += getattr(ring, name).eq(getattr(self, name))
        m.d.comb += [
            ring.features.eq(self.ring_features), self.error.eq(ring.error),
            self.idle.eq(ring.idle & ~memory.reading & ~memory.writing
                         & handlers["coalescing"].idle & handlers["multiqueue"].idle),
        ]
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

    def _connect_handlers(self, m, multiqueue, coalescing):
        m.d.comb += [
            self.active_pairs.eq(multiqueue.active_pairs),
            multiqueue.settled.eq(self.pairs_settled | self.quiesce), multiqueue.enable.eq(self.queue_enable),
            self.scaling.eq(multiqueue.scaling), self.table_write.eq(multiqueue.table_write),
            coalescing.enable.eq(self.queue_enable), self.settings.eq(coalescing.settings),
            self.virtqueue.eq(coalescing.virtqueue), coalescing.place.eq(self.place),
        ]
