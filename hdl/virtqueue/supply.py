"""The front half of the engine: descriptors from host memory into the cache."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import ReadBeat, ReadCommand
from hdl.stream import connect_stream

from .cache import Cache
from .fetch import Fetch
from .receive import Receive
from .spec import Chain, Doorbell, Position, Pulse, QueueConfig
from .stages import Progress, Rewind, Suppression, slot_bits

__all__ = ["Supply"]


class Supply(wiring.Component):
    """`Fetch`, `Receive` and `Cache` in a circle; all ports are described there.

    Parameters
    ----------
    config : NicConfig
        takes width, pairs, pair_bits, cache_descriptors, fetch_batch
    client : Client
    suppress : bool

    Attributes
    ----------
    idle : Out(1)
        no fetch is under way, and nothing that came is being looked at
    fetched : Out(6)
        descriptors asked for in this cycle
    """

    def __init__(self, config, client, suppress):
        self.config = config
        bits, slots = config.pair_bits, slot_bits(config.cache_descriptors)
        self.slot_bits = slots
        self.fetch = Fetch(config.pairs, bits, client=client, cache=config.cache_descriptors,
                           batch=config.fetch_batch, suppress=suppress)
        self.receive = Receive(config.width, bits, cache=config.cache_descriptors, batch=config.fetch_batch)
        self.cache = Cache(config.pairs, bits, config.cache_descriptors)
        super().__init__({
            "init": In(Pulse(bits)), "live": In(1), "quiesce": In(1), "notification_data": In(1), "event_index": In(1),
            "doorbells": In(stream.Signature(Doorbell(bits))),
            "reads": Out(stream.Signature(ReadCommand(bits))),
            "beats": In(stream.Signature(ReadBeat(config.width, bits))), "room": Out(1),
            "switch": Out(stream.Signature(Suppression(bits))),
            "switched": In(stream.Signature(Suppression(bits))),
            "fetch_queue": Out(bits), "fetch_config": In(QueueConfig),
            "receive_queue": Out(bits), "receive_config": In(QueueConfig),
            "used_queue": Out(bits), "used": In(Position), "published": In(Pulse(bits)),
            "emptied_queue": Out(bits), "emptied": In(slots), "space": In(Pulse(bits)),
            "looking_queue": In(bits), "looking": Out(1),
            "progress_queue": In(bits), "progress": Out(Progress(slots)), "arrived": Out(Pulse(bits)),
            "rewinds": In(stream.Signature(Rewind(bits, slots))), "rewound": Out(1),
            "cache_queue": In(bits), "cache_slot": In(slots - 1), "cache_enable": In(1), "chain": Out(Chain()),
            "idle": Out(1), "error": Out(1), "fetched": Out(6), "good": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch, m.submodules.receive, m.submodules.cache = fetch, receive, cache = \
            self.fetch, self.receive, self.cache
        connect_stream(m, receive.reports, fetch.reports)
        for inner, outer in [(fetch.doorbells, self.doorbells), (fetch.reads, self.reads), (fetch.switch, self.switch),
                             (fetch.switched, self.switched), (receive.beats, self.beats),
                             (receive.rewinds, self.rewinds)]:
            wiring.connect(m, inner, wiring.flipped(outer))
        m.d.comb += [
            *[stage.init.eq(self.init) for stage in (fetch, receive)],
            *[stage.quiesce.eq(self.quiesce) for stage in (fetch, receive)],
            fetch.live.eq(self.live), fetch.notification_data.eq(self.notification_data),
            fetch.event_index.eq(self.event_index),
            self.fetch_queue.eq(fetch.config_queue), fetch.config.eq(self.fetch_config),
            self.receive_queue.eq(receive.config_queue), receive.config.eq(self.receive_config),
            self.used_queue.eq(fetch.used_queue), fetch.used.eq(self.used), fetch.published.eq(self.published),
            self.emptied_queue.eq(fetch.emptied_queue), fetch.emptied.eq(self.emptied), fetch.space.eq(self.space),
            fetch.looking_queue.eq(self.looking_queue), self.looking.eq(fetch.looking),
            receive.progress_queue.eq(self.progress_queue), self.progress.eq(receive.progress),
            self.arrived.eq(receive.arrived), self.rewound.eq(receive.rewound), self.room.eq(receive.room),
            cache.write.eq(receive.cache), cache.read_queue.eq(self.cache_queue),
            cache.read_slot.eq(self.cache_slot), cache.read_enable.eq(self.cache_enable), self.chain.eq(cache.read),
            self.error.eq(receive.error), self.good.eq(receive.good),
        ]
        under_way = Signal(16)
        issued = fetch.reads.valid & fetch.reads.ready
        m.d.sync += under_way.eq(under_way + issued - receive.retired)
        m.d.comb += [
            self.idle.eq(fetch.idle & receive.idle & (under_way == 0)),
            self.fetched.eq(Mux(issued, fetch.reads.payload.length >> 4, 0)),
        ]
        return m
