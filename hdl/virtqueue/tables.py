"""From ring descriptors to elements: the stage that follows indirect tables."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import ReadBeat, ReadCommand

from .cache import Cache
from .reset import StageReset
from .spec import BufferElement, Chain, Pulse, QueueConfig
from .stages import Progress, Rewind, Stored, slot_bits
from .table_store import TableStore
from .table_take import TableTake
from .under_way import UnderWay

__all__ = ["Tables"]


class Tables(wiring.Component):
    """Takes the ring descriptors of each queue in their order and makes elements of them, which the walker takes out
    of a cache here: a direct descriptor is one, a table as many as it has entries.

    Tables are read, many at once; what comes behind a table in the ring waits for it. Latency 3 cycles for a direct
    descriptor, a cycle each; for more see `TableTake` and `TableStore`.

    Parameters
    ----------
    width, queues, queue_bits, read_bytes : int
    client : Client
    descriptors, elements : int
        ring descriptors and elements cached per queue
    batch : int
        by which ring descriptors are fetched, and which the walkers keep free

    Attributes
    ----------
    init : In(Pulse); quiesce : In(1); reset : In(StageReset)
    indirect : In(1)
        VIRTIO_F_INDIRECT_DESC is negotiated
    reads : stream of ReadCommand out; beats : stream of ReadBeat in; room : Out(1)
    config_queue : Out, config : In(QueueConfig)
    ring_arrived, ring_progress_queue, ring_progress, ring_cache_queue, ring_cache_slot, ring_cache_enable, ring_cache,
    ring_emptied_queue, ring_emptied, ring_space, ring_rewinds, ring_rewound
        ring descriptors, as a walker would take them
    ring_looking_queue : Out, ring_looking : In(Progress)
        as `ring_progress`, of another queue
    arrived, progress_queue, progress, cache_queue, cache_slot, cache_enable, cache, emptied_queue, emptied, space,
    rewinds, rewound
        elements, for the walker
    stored : Out(Stored)
    looking_queue : In, looking : Out(1)
        elements of this queue may arrive without another ring descriptor. Answered in the same cycle
    error, idle : Out(1)
    """

    def __init__(self, width, queues, queue_bits, *, client, descriptors, elements, batch, read_bytes):
        ring, slots = slot_bits(descriptors), slot_bits(elements)
        self.elements, self.queue_bits = elements, queue_bits
        self.slot_bits = slots
        self.take = TableTake(queues, queue_bits, client=client, descriptors=descriptors, elements=elements,
                              batch=batch, read_bytes=read_bytes)
        self.store = TableStore(width, queue_bits, slot_bits=slots, state=self.take.state, read_bytes=read_bytes)
        self.cache_memory = Cache(queues, queue_bits, elements, BufferElement())
        super().__init__({
            "init": In(Pulse(queue_bits)), "quiesce": In(1), "indirect": In(1), "reset": In(StageReset(queue_bits)),
            "reads": Out(stream.Signature(ReadCommand(queue_bits))),
            "beats": In(stream.Signature(ReadBeat(width, queue_bits))), "room": Out(1),
            "config_queue": Out(queue_bits), "config": In(QueueConfig),
            "ring_arrived": In(Pulse(queue_bits)),
            "ring_progress_queue": Out(queue_bits), "ring_progress": In(Progress(ring)),
            "ring_looking_queue": Out(queue_bits), "ring_looking": In(Progress(ring)),
            "ring_cache_queue": Out(queue_bits), "ring_cache_slot": Out(ring - 1), "ring_cache_enable": Out(1),
            "ring_cache": In(Chain()),
            "ring_emptied_queue": In(queue_bits), "ring_emptied": Out(ring), "ring_space": Out(Pulse(queue_bits)),
            "ring_rewinds": Out(stream.Signature(Rewind(queue_bits, ring))), "ring_rewound": In(1),
            "arrived": Out(Pulse(queue_bits)),
            "progress_queue": In(queue_bits), "progress": Out(Progress(slots)),
            "cache_queue": In(queue_bits), "cache_slot": In(slots - 1), "cache_enable": In(1),
            "cache": Out(BufferElement()),
            "emptied_queue": Out(queue_bits), "emptied": In(slots), "space": In(Pulse(queue_bits)),
            "rewinds": In(stream.Signature(Rewind(queue_bits, slots))), "rewound": Out(1),
            "stored": Out(Stored(queue_bits, slots)),
            "looking_queue": In(queue_bits), "looking": Out(1),
            "error": Out(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.take, m.submodules.store, m.submodules.cache = take, store, cache = \
            self.take, self.store, self.cache_memory
        for inner, outer in [(take.reads, self.reads), (take.rewinds, self.rewinds),
                             (take.ring_rewinds, self.ring_rewinds), (store.beats, self.beats)]:
            wiring.connect(m, inner, wiring.flipped(outer))
        m.d.comb += [
            *[part.init.eq(self.init) for part in (take, store)],
            *[part.quiesce.eq(self.quiesce) for part in (take, store)],
            store.copy.eq(take.copy), take.copy_ready.eq(store.copy_ready),
            take.reserved_queue.eq(store.reserved_queue), store.reserved.eq(take.reserved),
            store.returned_queue.eq(take.returned_queue), take.returned.eq(store.returned),
            take.failed.eq(store.failed), take.indirect.eq(self.indirect),
            self.config_queue.eq(take.config_queue), take.config.eq(self.config),
            self.room.eq(store.room), self.error.eq(take.error | store.error),
        ]
        self._connect_ring(m, take)
        self._connect_walker(m, take, store, cache)
        self._look(m, take, store)
        under_way = Signal(16)
        m.d.sync += under_way.eq(under_way + (self.reads.valid & self.reads.ready) - store.retired)
        m.d.comb += self.idle.eq(take.idle & store.idle & (under_way == 0))
        self._reset(m, take, store)
        return m

    def _reset(self, m, take, store):
        # A queue has no more reads under way than places in the cache.
        m.submodules.under_way = under_way = UnderWay(self.queue_bits, self.slot_bits)
        m.d.comb += [
            under_way.init.eq(self.init), under_way.queue.eq(self.reset.queue),
            under_way.begun.valid.eq(self.reads.valid & self.reads.ready),
            under_way.begun.queue.eq(self.reads.payload.queue),
            under_way.ended.valid.eq(store.retired), under_way.ended.queue.eq(store.arrived.queue),
            take.reset.queue.eq(self.reset.queue), take.reset.forget.eq(self.reset.forget),
            self.reset.quiet.eq(take.reset.quiet & under_way.none), self.reset.forgotten.eq(take.reset.forgotten),
        ]

    def _connect_ring(self, m, take):
        m.d.comb += [
            take.arrived.eq(self.ring_arrived),
            self.ring_progress_queue.eq(take.progress_queue), take.progress.eq(self.ring_progress),
            self.ring_cache_queue.eq(take.cache_queue), self.ring_cache_slot.eq(take.cache_slot),
            self.ring_cache_enable.eq(take.cache_enable), take.cache.eq(self.ring_cache),
            take.taken_queue.eq(self.ring_emptied_queue), self.ring_emptied.eq(take.taken),
            self.ring_space.eq(take.freed), take.rewound.eq(self.ring_rewound),
        ]

    def _connect_walker(self, m, take, store, cache):
        m.d.comb += [
            cache.write.eq(store.cache), self.stored.eq(store.stored), cache.read_queue.eq(self.cache_queue),
            cache.read_slot.eq(self.cache_slot), cache.read_enable.eq(self.cache_enable), self.cache.eq(cache.read),
            store.progress_queue.eq(self.progress_queue), self.progress.eq(store.progress),
            self.arrived.eq(store.arrived), self.rewound.eq(self.ring_rewound),
            self.emptied_queue.eq(take.emptied_queue), take.emptied.eq(self.emptied), take.space.eq(self.space),
        ]

    def _look(self, m, take, store):
        """Ring descriptors that are not taken, or elements that are not visible."""
        queue, state = self.looking_queue, take.looking
        m.d.comb += [
            self.ring_looking_queue.eq(queue), take.looking_queue.eq(queue), store.looking_queue.eq(queue),
            self.looking.eq(((self.ring_looking.slot != state.read) | (store.looking.slot != state.slot))
                            & ~state.broken & ~store.looking_failed),
        ]
