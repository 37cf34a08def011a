"""The packed virtqueue engine of one direction: doorbells in, buffers read or filled, used descriptors and interrupts
out."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import Client, DataContext, FetchContext, ReadBeat, ReadCommand, TableContext, WriteCommand
from hdl.stream import TlpBeat, connect_stream
from hdl.taps import tap

from .capacity import Capacities
from .coalesce import Coalesce
from .event import Event
from .posted import PostedMerge
from .queue_table import QueueTable
from .reader import Reader
from .reset import QueueReset
from .spec import Coalescing, Completion, Configure, Doorbell, EngineFeatures, Frame, Verdict
from .supply import Supply
from .suppress import Suppress
from .under_way import UnderWay
from .used import Used
from .walk_rx import WalkReceive
from .walk_tx import WalkTransmit

__all__ = ["Direction", "Engine", "EngineEvents"]


class Direction(enum.Enum):
    RX = 0
    TX = 1


class EngineEvents(data.Struct):
    """What happened in this cycle, for counters: `fetches`; `fetched` descriptors asked for; `descriptors` found good;
    `chains` begun being read (TX) or filled (RX); `dropped` malformed chains (TX)."""
    fetches: 1
    fetched: 6
    descriptors: 1
    chains: 1
    dropped: 1


class Engine(wiring.Component):
    """All queues of one direction. What each stage does is told in its file; this only connects them.

    Parameters
    ----------
    config : NicConfig
    direction : Direction
    suppress : bool
        switch doorbells off while there is a backlog

    Attributes
    ----------
    features : In(EngineFeatures)
    live : In(1)
        DRIVER_OK: queues are served
    quiesce : In(1)
        ask for nothing more, drop what comes back, reject frames
    clear : In(1)
        pulse while `idle` and `quiesce`: initialise all queues, in `pairs` cycles, during which `idle` is low
    idle : Out(1)
        nothing of the queues is under way. Also low while the walk after reset lasts
    reset : stream of local indices in
        queues to be reset, one by one: taken when nothing of the queue is under way, and its state is as at first. The
        queues are taken out of use, see `QueueReset`, until they are configured again
    silent : In(1)
        no interrupt is between `interrupts` and the host
    doorbells : stream of Doorbell in
        taken in bounded time, whatever the host does
    configure : In(Configure)
    coalescing : In(Coalescing)
    fetch_reads, table_reads, event_reads : streams of ReadCommand out;
    fetch_beats, table_beats, event_beats : streams of ReadBeat in; fetch_room, table_room, event_room : Out(1)
    used : stream of TlpBeat out; used_accepted : In(1)
        posted writes: used descriptors and event suppression. The pulse tells that the next TLP has its place
    interrupts : stream of {queue, vector} out
    msix_enable : In(1)
    max_payload : In(3)
        code in Device Control
    error : Out(1)
        pulse: the device needs a reset
    events : Out(EngineEvents)

    Transmit: data_reads : stream of ReadCommand out; completions : stream of Completion in;
    request_shift, part_requests, shortest, longest : In, see `WalkTransmit`

    Receive: frames : stream of Frame in; verdicts : stream of Verdict out; writes : stream of WriteCommand out;
    packet_sent, frames_behind : In(1), header_bytes : In(6), see `WalkReceive`; hurry : In(1), see `Used`
    """

    def __init__(self, config, direction, *, suppress=True):
        self.config = config
        self.direction = Direction(direction)
        self.suppress = suppress
        bits, width = config.pair_bits, config.width
        reads, beats = stream.Signature(ReadCommand(bits)), stream.Signature(ReadBeat(width, bits))
        ports = {
            "features": In(EngineFeatures),
            "live": In(1), "quiesce": In(1), "clear": In(1), "idle": Out(1),
            "reset": In(stream.Signature(bits)), "silent": In(1),
            "doorbells": In(stream.Signature(Doorbell(bits))),
            "configure": In(Configure(bits)), "coalescing": In(Coalescing(bits)),
            "fetch_reads": Out(reads), "fetch_beats": In(beats), "fetch_room": Out(1),
            "table_reads": Out(reads), "table_beats": In(beats), "table_room": Out(1),
            "event_reads": Out(reads), "event_beats": In(beats), "event_room": Out(1),
            "used": Out(stream.Signature(TlpBeat(width))), "used_accepted": In(1),
            "interrupts": Out(stream.Signature(data.StructLayout({"queue": bits, "vector": 12}))),
            "msix_enable": In(1), "max_payload": In(3), "error": Out(1), "events": Out(EngineEvents),
        }
        if self.direction is Direction.TX:
            ports |= {
                "data_reads": Out(reads),
                "completions": In(stream.Signature(Completion(bits))),
                "request_shift": In(4), "part_requests": In(9), "shortest": In(17), "longest": In(17),
            }
        else:
            ports |= {
                "frames": In(stream.Signature(Frame(bits))),
                "verdicts": Out(stream.Signature(Verdict(bits))),
                "writes": Out(stream.Signature(WriteCommand(bits))),
                "packet_sent": In(1), "frames_behind": In(1), "hurry": In(1), "header_bytes": In(6),
            }
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        config, transmit = self.config, self.direction is Direction.TX
        m.submodules.queue_table = table = QueueTable(
            config.pairs, config.pair_bits, ["fetch", "receive", "table", "walk", "used", "event", "suppress"],
            beginners=["walk", "event"])
        clients = (Client.FETCH_TX, Client.TABLE_TX) if transmit else (Client.FETCH_RX, Client.TABLE_RX)
        m.submodules.supply = supply = Supply(config, *clients, self.suppress)
        m.submodules.used = used = Used(config)
        m.submodules.event = event = Event(config, Client.EVENT_TX if transmit else Client.EVENT_RX)
        idle = [table.idle, supply.idle, used.idle, event.idle]
        self._connect_supply(m, table, supply)
        idle.append(self._connect_used(m, table, supply, used, event))
        idle.append(self._connect_posted(m, table, supply, used))
        if transmit:
            walker, *walk_idle = self._transmit(m, table, supply, used)
        else:
            walker, *walk_idle = self._receive(m, table, supply, used)
        idle.extend(walk_idle)
        self._reset(m, table, supply, walker, used, event)
        m.d.comb += [
            table.configure.eq(self.configure), table.clear.eq(self.clear),
            self.error.eq(supply.error | event.error),
            self.events.fetches.eq(supply.fetched != 0), self.events.fetched.eq(supply.fetched),
            self.events.descriptors.eq(supply.good),
        ]
        # Registered: it is gathered from far apart, and quiet does not end by itself.
        quiet = Signal()
        m.d.sync += quiet.eq(Cat(idle).all() & ~self.clear)
        m.d.comb += self.idle.eq(quiet & ~self.clear)
        self._tap(m, used)
        return m

    def _reset(self, m, table, supply, walker, used, event):
        """Every stage has a part in the reset of a queue."""
        bits, coalesce = self.config.pair_bits, self._coalesce
        stages = {"fetch": supply.fetch_reset, "receive": supply.receive_reset, "table": supply.table_reset,
                  "used": used.reset, "event": event.reset}
        queue_reset = QueueReset(bits, walkers=["walk", "chains", "coalesce"], stages=stages)
        m.submodules.queue_reset = ResetInserter(self.quiesce)(queue_reset)
        for name, port in {"walk": walker.reset, "coalesce": coalesce.reset, **stages}.items():
            wiring.connect(m, getattr(queue_reset, name), port)
        # No queue has more buffers than its ring has slots: 32768.
        m.submodules.chains = chains = UnderWay(bits, 16)
        chain = queue_reset.chains
        wiring.connect(m, wiring.flipped(self.reset), queue_reset.request)
        m.d.comb += [
            chains.init.eq(table.init), chains.queue.eq(chain.queue), chains.begun.eq(walker.begun),
            chains.ended.valid.eq(used.notify.valid & used.notify.ready),
            chains.ended.queue.eq(used.notify.payload.queue), chains.amount.eq(used.notify.payload.buffers),
            chain.quiet.eq(chains.none), chain.forgotten.eq(1),
            table.close.eq(queue_reset.closed), table.disable.eq(queue_reset.disabled),
            queue_reset.silent.eq(self.silent & event.silent), coalesce.decided.eq(event.decided),
            # What may have waited for another buffer of that queue would wait for its time to be up.
            used.hurry.eq(self.reset.valid | (0 if self.direction is Direction.TX else self.hurry)),
        ]

    def _connect_supply(self, m, table, supply):
        for inner, outer in [(supply.doorbells, self.doorbells), (supply.reads, self.fetch_reads),
                             (supply.beats, self.fetch_beats), (supply.table_reads, self.table_reads),
                             (supply.table_beats, self.table_beats)]:
            wiring.connect(m, inner, wiring.flipped(outer))
        m.d.comb += [
            supply.event_index.eq(self.features.event_index),
            supply.init.eq(table.init), supply.live.eq(self.live), supply.quiesce.eq(self.quiesce),
            supply.notification_data.eq(self.features.notification_data), supply.indirect.eq(self.features.indirect),
            self.fetch_room.eq(supply.room), self.table_room.eq(supply.table_room),
            table.table_queue.eq(supply.table_queue), supply.table_config.eq(table.table),
            table.fetch_queue.eq(supply.fetch_queue), supply.fetch_config.eq(table.fetch),
            table.receive_queue.eq(supply.receive_queue), supply.receive_config.eq(table.receive),
        ]

    def _connect_used(self, m, table, supply, used, event):
        """Used descriptors, and between them and the decision on an interrupt, coalescing; returns whether that is
        idle."""
        m.submodules.coalesce = self._coalesce = coalesce = Coalesce(self.config.pairs, self.config.pair_bits,
                                                                     clock_hz=self.config.clock_hz)
        connect_stream(m, used.notify, coalesce.published)
        connect_stream(m, coalesce.notifications, event.notify)
        for inner, outer in [(event.reads, self.event_reads), (event.beats, self.event_beats),
                             (event.interrupts, self.interrupts)]:
            wiring.connect(m, inner, wiring.flipped(outer))
        m.d.comb += [
            coalesce.init.eq(table.init), coalesce.quiesce.eq(self.quiesce), coalesce.coalescing.eq(self.coalescing),
            event.event_index.eq(self.features.event_index), used.in_order.eq(self.features.in_order),
            used.query_queue.eq(supply.used_queue), supply.used.eq(used.query_position),
            supply.published.eq(used.published),
            table.used_queue.eq(used.config_queue), used.config.eq(table.used),
            used.max_payload.eq(self.max_payload), used.discard.eq(self.quiesce), used.clear.eq(self.clear),
            table.event_queue.eq(event.config_queue), event.config.eq(table.event),
            event.msix_enable.eq(self.msix_enable), event.live.eq(self.live),
            event.quiesce.eq(self.quiesce), event.clear.eq(self.clear),
            self.event_room.eq(event.room),
        ]
        return coalesce.idle

    def _connect_posted(self, m, table, supply, used):
        """Used descriptors and, if it is built, event suppression on one port; returns whether that is idle."""
        if not self.suppress:
            wiring.connect(m, used.o, wiring.flipped(self.used))
            m.d.comb += [used.accepted.eq(self.used_accepted), supply.switch.ready.eq(1)]
            return C(1)
        m.submodules.suppress = suppress = Suppress(self.config.width, self.config.pairs, self.config.pair_bits)
        m.submodules.posted = posted = PostedMerge(self.config.width)
        connect_stream(m, supply.switch, suppress.requests)
        connect_stream(m, suppress.switched, supply.switched)
        connect_stream(m, used.o, posted.i0)
        connect_stream(m, suppress.o, posted.i1)
        wiring.connect(m, posted.o, wiring.flipped(self.used))
        m.d.comb += [
            posted.accepted.eq(self.used_accepted),
            used.accepted.eq(posted.accepted0), suppress.accepted.eq(posted.accepted1),
            suppress.init.eq(table.init), suppress.quiesce.eq(self.quiesce),
            suppress.event_index.eq(self.features.event_index),
            table.suppress_queue.eq(suppress.config_queue), suppress.config.eq(table.suppress),
        ]
        return suppress.idle

    def _walker(self, m, table, supply, walker):
        """What both walkers need of the front half."""
        m.d.comb += [
            walker.init.eq(table.init), walker.quiesce.eq(self.quiesce),
            supply.progress_queue.eq(walker.progress_queue), walker.progress.eq(supply.progress),
            supply.cache_queue.eq(walker.cache_queue), supply.cache_slot.eq(walker.cache_slot),
            supply.cache_enable.eq(walker.cache_enable), walker.cache.eq(supply.chain),
            walker.emptied_queue.eq(supply.emptied_queue), supply.emptied.eq(walker.emptied),
            supply.space.eq(walker.space),
            table.walk_queue.eq(walker.config_queue), walker.config.eq(table.walk),
        ]

    def _transmit(self, m, table, supply, used):
        config = self.config
        m.submodules.reader = reader = Reader(config.pairs, config.pair_bits, cache=config.cache_elements,
                                              batch=config.fetch_batch)
        m.submodules.walk = walk = WalkTransmit(config.pair_bits)
        self._walker(m, table, supply, reader)
        connect_stream(m, reader.elements, walk.elements)
        wiring.connect(m, walk.reads, wiring.flipped(self.data_reads))
        wiring.connect(m, wiring.flipped(self.completions), used.completions)
        m.d.comb += [
            reader.arrived.eq(supply.arrived),
            walk.request_shift.eq(self.request_shift), walk.part_requests.eq(self.part_requests),
            walk.shortest.eq(self.shortest), walk.longest.eq(self.longest),
            self.events.dropped.eq(walk.dropped),
            self.events.chains.eq(self.data_reads.valid & self.data_reads.ready & self.data_reads.payload.last
                                  & ~self.data_reads.payload.more),
        ]
        return reader, reader.idle, walk.idle

    def _receive(self, m, table, supply, used):
        config = self.config
        m.submodules.walk = walk = WalkReceive(config.pairs, config.pair_bits, cache=config.cache_elements,
                                               batch=config.fetch_batch)
        m.submodules.capacities = capacities = Capacities(config.pairs, config.pair_bits, config.cache_elements)
        self._walker(m, table, supply, walk)
        connect_stream(m, walk.completions, used.completions)
        connect_stream(m, walk.rewinds, supply.rewinds)
        for inner, outer in [(walk.frames, self.frames), (walk.verdicts, self.verdicts), (walk.writes, self.writes)]:
            wiring.connect(m, inner, wiring.flipped(outer))
        m.d.comb += [
            capacities.init.eq(table.init), capacities.stored.eq(supply.stored),
            capacities.read_queue.eq(walk.capacity_queue), capacities.read_chain.eq(walk.capacity_chain),
            capacities.read_enable.eq(walk.capacity_enable), walk.capacity.eq(capacities.read),
            walk.merge.eq(self.features.mergeable), walk.header_bytes.eq(self.header_bytes),
            walk.live.eq(self.live), walk.rewound.eq(supply.rewound),
            walk.packet_sent.eq(self.packet_sent), walk.frames_behind.eq(self.frames_behind),
            supply.looking_queue.eq(walk.looking_queue), walk.looking.eq(supply.looking),
            self.events.chains.eq(self.verdicts.valid & self.verdicts.ready & self.verdicts.payload.accept),
        ]
        return walk, walk.idle

    def _tap(self, m, used):
        """What happens to buffers on their way, for timing views; `tx.` or `rx.` first."""
        direction = self.direction.name.lower()

        def passes(name, port, valid=1, **fields):
            tap(m, f"{direction}.{name}", port.valid & port.ready & valid, **fields)

        tap(m, f"{direction}.configure", self.configure.valid, queue=self.configure.queue,
            size=self.configure.config.size)
        doorbell = self.doorbells.p
        passes("doorbell", self.doorbells, queue=doorbell.queue, index=doorbell.next_off, wrap=doorbell.next_wrap,
               told=doorbell.has_data)
        for name, context, reads, beats in [("fetch", FetchContext(), self.fetch_reads, self.fetch_beats),
                                            ("table", TableContext(), self.table_reads, self.table_beats)]:
            place = ("index", "wrap", "count") if name == "fetch" else ("id", "count")
            asked, there = context(reads.p.context), context(beats.p.context)
            passes(name, reads, queue=reads.p.queue, **{field: asked[field] for field in place})
            passes(f"{name}.there", beats, beats.p.last, queue=beats.p.queue, status=beats.p.status,
                   **{field: there[field] for field in place})
        done, run = used.completions.p, used.notify.p
        passes("completed", used.completions, queue=done.queue, id=done.id, slots=done.slots)
        passes("published", used.notify, queue=run.queue, index=run.next.index, wrap=run.next.wrap, slots=run.slots,
               buffers=run.buffers)
        passes("event", self.event_reads, queue=self.event_reads.p.queue)
        passes("event.there", self.event_beats, queue=self.event_beats.p.queue)
        passes("interrupt", self.interrupts, queue=self.interrupts.p.queue, vector=self.interrupts.p.vector)
        if self.direction is Direction.TX:
            read = self.data_reads.p
            context = DataContext()(read.context)
            passes("read", self.data_reads, read.last, queue=read.queue, id=context.id, slots=context.slots,
                   last=context.packet_last, drop=context.drop)
        else:
            passes("frame", self.frames, queue=self.frames.p.queue, length=self.frames.p.length)
            passes("verdict", self.verdicts, accept=self.verdicts.p.accept, cause=self.verdicts.p.cause)
            passes("write", self.writes, self.writes.p.last, queue=self.writes.p.queue)
            tap(m, "rx.sent", self.packet_sent)
