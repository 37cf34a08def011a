"""The front half of the engine: descriptors from host memory into the caches."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import ReadBeat, ReadCommand
from hdl.stream import connect_stream

from .cache import Cache
from .fetch import Fetch
from .receive import Receive
from .reset import StageReset
from .spec import BufferElement, Doorbell, Position, Pulse, QueueConfig
from .stages import Progress, Rewind, Stored, Suppression, slot_bits
from .tables import Tables
from .under_way import UnderWay

__all__ = ["Supply"]


class Supply(wiring.Component):
    """`Fetch`, `Receive` and `Cache` in a circle, and `Tables` behind them; all ports are described there.

    Parameters
    ----------
    config : NicConfig
        takes width, pairs, pair_bits, cache_descriptors, cache_elements, fetch_batch, read_bytes
    client, table_client : Client
    suppress : bool

    Attributes
    ----------
    idle : Out(1)
        no read is under way, and nothing that came is being looked at
    fetch_reset, receive_reset, table_reset : In(StageReset)
    looking : Out(1)
        elements of `looking_queue` may arrive without another doorbell; low only when all that did arrive are visible
    fetched : Out(6)
        descriptors asked for in this cycle
    """

    def __init__(self, config, client, table_client, suppress):
        self.config = config
        bits, slots = config.pair_bits, slot_bits(config.cache_elements)
        self.fetch = Fetch(config.pairs, bits, client=client, cache=config.cache_descriptors,
                           batch=config.fetch_batch, suppress=suppress)
        self.receive = Receive(config.width, bits, cache=config.cache_descriptors, batch=config.fetch_batch)
        self.cache = Cache(config.pairs, bits, config.cache_descriptors)
        self.tables = Tables(config.width, config.pairs, bits, client=table_client,
                             descriptors=config.cache_descriptors, elements=config.cache_elements,
                             batch=config.fetch_batch, read_bytes=config.read_bytes)
        super().__init__({
            "init": In(Pulse(bits)), "live": In(1), "quiesce": In(1), "notification_data": In(1), "event_index": In(1),
            "indirect": In(1),
            **{f"{stage}_reset": In(StageReset(bits)) for stage in ("fetch", "receive", "table")},
            "doorbells": In(stream.Signature(Doorbell(bits))),
            "reads": Out(stream.Signature(ReadCommand(bits))),
            "beats": In(stream.Signature(ReadBeat(config.width, bits))), "room": Out(1),
            "table_reads": Out(stream.Signature(ReadCommand(bits))),
            "table_beats": In(stream.Signature(ReadBeat(config.width, bits))), "table_room": Out(1),
            "switch": Out(stream.Signature(Suppression(bits))),
            "switched": In(stream.Signature(Suppression(bits))),
            "fetch_queue": Out(bits), "fetch_config": In(QueueConfig),
            "receive_queue": Out(bits), "receive_config": In(QueueConfig),
            "table_queue": Out(bits), "table_config": In(QueueConfig),
            "used_queue": Out(bits), "used": In(Position), "published": In(Pulse(bits)),
            "emptied_queue": Out(bits), "emptied": In(slots), "space": In(Pulse(bits)),
            "looking_queue": In(bits), "looking": Out(1),
            "progress_queue": In(bits), "progress": Out(Progress(slots)), "arrived": Out(Pulse(bits)),
            "rewinds": In(stream.Signature(Rewind(bits, slots))), "rewound": Out(1),
            "cache_queue": In(bits), "cache_slot": In(slots - 1), "cache_enable": In(1), "chain": Out(BufferElement()),
            "stored": Out(Stored(bits, slots)),
            "idle": Out(1), "error": Out(1), "fetched": Out(6), "good": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch, m.submodules.receive, m.submodules.cache = fetch, receive, cache = \
            self.fetch, self.receive, self.cache
        m.submodules.tables = tables = self.tables
        connect_stream(m, receive.reports, fetch.reports)
        connect_stream(m, tables.ring_rewinds, receive.rewinds)
        for inner, outer in [(fetch.doorbells, self.doorbells), (fetch.reads, self.reads), (fetch.switch, self.switch),
                             (fetch.switched, self.switched), (receive.beats, self.beats),
                             (tables.reads, self.table_reads), (tables.beats, self.table_beats),
                             (tables.rewinds, self.rewinds)]:
            wiring.connect(m, inner, wiring.flipped(outer))
        m.d.comb += [
            *[stage.init.eq(self.init) for stage in (fetch, receive, tables)],
            *[stage.quiesce.eq(self.quiesce) for stage in (fetch, receive, tables)],
            fetch.live.eq(self.live), fetch.notification_data.eq(self.notification_data),
            fetch.event_index.eq(self.event_index),
            self.fetch_queue.eq(fetch.config_queue), fetch.config.eq(self.fetch_config),
            self.receive_queue.eq(receive.config_queue), receive.config.eq(self.receive_config),
            self.used_queue.eq(fetch.used_queue), fetch.used.eq(self.used), fetch.published.eq(self.published),
            fetch.looking_queue.eq(self.looking_queue), tables.looking_queue.eq(self.looking_queue),
            self.looking.eq(fetch.looking | tables.looking), self.room.eq(receive.room),
            self.error.eq(receive.error | tables.error), self.good.eq(receive.good),
        ]
        self._connect_tables(m, fetch, receive, cache, tables)
        self._reset(m, fetch, receive, tables)
        under_way = Signal(16)
        issued = fetch.reads.valid & fetch.reads.ready
        m.d.sync += under_way.eq(under_way + issued - receive.retired)
        m.d.comb += [
            self.idle.eq(fetch.idle & receive.idle & tables.idle & (under_way == 0)),
            self.fetched.eq(Mux(issued, fetch.reads.payload.length >> 4, 0)),
        ]
        return m

    def _reset(self, m, fetch, receive, tables):
        """A fetch is over when what came with it was judged."""
        wiring.connect(m, wiring.flipped(self.receive_reset), receive.reset)
        wiring.connect(m, wiring.flipped(self.table_reset), tables.reset)
        # At most 16 of an epoch, and of four epochs.
        m.submodules.under_way = under_way = UnderWay(self.config.pair_bits, 7)
        reset = self.fetch_reset
        m.d.comb += [
            under_way.init.eq(self.init), under_way.queue.eq(reset.queue),
            under_way.begun.valid.eq(fetch.reads.valid & fetch.reads.ready),
            under_way.begun.queue.eq(fetch.reads.payload.queue),
            under_way.ended.valid.eq(receive.retired), under_way.ended.queue.eq(receive.config_queue),
            fetch.reset.queue.eq(reset.queue), fetch.reset.forget.eq(reset.forget),
            reset.quiet.eq(fetch.reset.quiet & under_way.none), reset.forgotten.eq(fetch.reset.forgotten),
        ]

    def _connect_tables(self, m, fetch, receive, cache, tables):
        """Ring descriptors on one side, elements for the walker on the other."""
        m.d.comb += [
            cache.write.eq(receive.cache), cache.read_queue.eq(tables.ring_cache_queue),
            cache.read_slot.eq(tables.ring_cache_slot), cache.read_enable.eq(tables.ring_cache_enable),
            tables.ring_cache.eq(cache.read), tables.ring_arrived.eq(receive.arrived),
            receive.progress_queue.eq(tables.ring_progress_queue), tables.ring_progress.eq(receive.progress),
            receive.looking_queue.eq(tables.ring_looking_queue), tables.ring_looking.eq(receive.looking),
            tables.ring_emptied_queue.eq(fetch.emptied_queue), fetch.emptied.eq(tables.ring_emptied),
            fetch.space.eq(tables.ring_space), tables.ring_rewound.eq(receive.rewound),
            tables.indirect.eq(self.indirect), self.table_room.eq(tables.room),
            self.table_queue.eq(tables.config_queue), tables.config.eq(self.table_config),
            tables.progress_queue.eq(self.progress_queue), self.progress.eq(tables.progress),
            tables.cache_queue.eq(self.cache_queue), tables.cache_slot.eq(self.cache_slot),
            tables.cache_enable.eq(self.cache_enable), self.chain.eq(tables.cache),
            self.emptied_queue.eq(tables.emptied_queue), tables.emptied.eq(self.emptied), tables.space.eq(self.space),
            self.stored.eq(tables.stored), self.arrived.eq(tables.arrived), self.rewound.eq(tables.rewound),
        ]
