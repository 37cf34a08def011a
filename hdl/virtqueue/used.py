"""Publishing used buffers: completions in, used descriptors out, and word of what the host has been given."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.stream import Queue, TlpBeat

from .initialise import InitialiseWalk
from .reset import StageReset
from .spec import Completion, Position, QueueConfig
from .stages import Published
from .used_build import RunBuilder
from .used_collect import RunCollector
from .used_run import Entry, RunShape

__all__ = ["Used"]


class Used(wiring.Component):
    """Collects completions and writes used descriptors (VIRTIO 1.4, Packed Virtqueues).

    Used descriptors of one-slot buffers at consecutive ring positions, a *run*, go in one posted write; with
    VIRTIO_F_IN_ORDER one used descriptor may stand for many buffers. See `RunCollector` for where a run ends. Order of
    completions is kept per queue; runs go out in order of closing.

    Takes a completion every 2 cycles, for one queue or any mix. From a completion that ends its run (`behind` = 0) to
    the TLP's first beat: 4 cycles. TLPs are built at a beat a cycle. Nothing is dropped except by `discard`.

    A TLP counts as published when the posted path reports it `accepted`: `notify` tells of it at once, `published` and
    the position query one cycle later, and of a packet of several buffers only when all of them are. Up to `FLIGHTS`
    TLPs may be begun and not yet taken from `notify`.

    After reset and after `clear` the state of every queue is written, one queue a cycle: nothing is taken meanwhile.

    Parameters
    ----------
    config : NicConfig
        takes width, pairs, pair_bits, used_batch, used_timeout, used_bytes

    Attributes
    ----------
    in_order : In(1)
        VIRTIO_F_IN_ORDER was negotiated; constant while anything is pending
    completions : stream in
    o : TLP stream out
        posted memory writes with requester and tag 0
    accepted : In(1)
        a TLP of ours got its place in the final order; also one that is dropped there because of a reset
    published : Out({valid, queue})
        the queue's accepted used position has moved on
    notify : stream of Published out
        a TLP was accepted
    query_queue : In; query_position : Out
        used position of the queue as far as accepted, in the same cycle
    config_queue : Out; config : In
        configuration of the queue asked for, in the same cycle
    max_payload : In(3)
        code of PCI Express Device Control; constant while anything is pending
    hurry : In(1)
        publish what is collected without waiting for more
    discard : In(1)
        drop what is pending and what comes; TLPs begun are finished, but nothing is told of them any more. `clear` must
        follow before completions count again.
    clear : In(1)
        pulse while idle: all queues back to position (0, 1)
    reset : In(StageReset)
        always `quiet`: `notify` tells of every completion
    idle : Out(1)
        nothing collected, no TLP waiting, under way or not accepted, and no walk
    """

    FLIGHTS = 16

    def __init__(self, config):
        self.width = config.width
        self.queue_bits = config.pair_bits
        self.queues = config.pairs
        self.timeout, self.most_bytes = config.used_timeout, config.used_bytes
        self.shape = RunShape(config.width, config.used_batch)
        super().__init__({
            "in_order": In(1),
            "completions": In(stream.Signature(Completion(self.queue_bits))),
            "o": Out(stream.Signature(TlpBeat(self.width))),
            "accepted": In(1),
            "published": Out(data.StructLayout({"valid": 1, "queue": self.queue_bits})),
            "notify": Out(stream.Signature(Published(self.queue_bits))),
            "query_queue": In(self.queue_bits),
            "query_position": Out(Position),
            "config_queue": Out(self.queue_bits),
            "config": In(QueueConfig),
            "max_payload": In(3),
            "hurry": In(1),
            "discard": In(1),
            "clear": In(1),
            "reset": In(StageReset(self.queue_bits)),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        shape = self.shape
        m.submodules.collector = collector = RunCollector(self.queue_bits, shape, self.timeout, self.most_bytes)
        m.submodules.runs = runs = Queue(collector.runs.signature.members["payload"].shape, 8)
        m.submodules.builder = builder = RunBuilder(self.width, self.queue_bits, shape)
        m.submodules.entries = entries = Memory(
            shape=data.ArrayLayout(Entry, shape.lanes), depth=(1 << self.queue_bits) * shape.rows, init=[])
        write, read = entries.write_port(granularity=1), entries.read_port()

        wiring.connect(m, collector.runs, runs.i)
        wiring.connect(m, runs.o, builder.runs)
        wiring.connect(m, wiring.flipped(self.completions), collector.completions)
        wiring.connect(m, builder.o, wiring.flipped(self.o))
        m.d.comb += [
            self.config_queue.eq(collector.config_queue),
            collector.config.eq(self.config), collector.in_order.eq(self.in_order),
            collector.max_payload.eq(self.max_payload),
            collector.hurry.eq(self.hurry), collector.discard.eq(self.discard),
            collector.freed.eq(builder.freed),
            builder.discard.eq(self.discard),
            write.addr.eq(collector.entry.address),
            write.en.eq(Mux(collector.entry.valid, collector.entry.lane, 0)),
            read.addr.eq(builder.row_address),
            read.en.eq(builder.row_enable),
            builder.row.eq(read.data),
        ]
        m.d.comb += [write.data[lane].eq(collector.entry.entry) for lane in range(shape.lanes)]
        m.submodules.walk = walk = InitialiseWalk(self.queues, self.queue_bits)
        m.d.comb += [
            walk.clear.eq(self.clear),
            collector.initialise.valid.eq(walk.walking),
            collector.initialise.queue.eq(walk.queue),
            # Both positions in one cycle, in which nothing is published.
            collector.forget.valid.eq(self.reset.forget & ~self.accepted), collector.forget.queue.eq(self.reset.queue),
            self.reset.forgotten.eq(collector.forgotten), self.reset.quiet.eq(1),
        ]
        told = self._publish(m, builder, walk)
        m.d.comb += self.idle.eq(~walk.walking & ~self.clear & collector.idle & (runs.level == 0) & told)
        return m

    def _publish(self, m, builder, walk):
        """Follows TLPs from their beginning to the notification; returns whether there are none."""
        m.submodules.flights = flights = Queue(Published(self.queue_bits), self.FLIGHTS)
        m.submodules.notifications = notifications = Queue(Published(self.queue_bits), self.FLIGHTS,
                                                           through=True)
        m.submodules.positions = positions = Memory(shape=Position, depth=1 << self.queue_bits, init=[])
        write, query = positions.write_port(), positions.read_port(domain="comb")
        flight = flights.o.payload
        publish = Signal()
        untold = Signal(range(self.FLIGHTS + 1))
        silent = self.discard | (flight.slots == 0)
        wiring.connect(m, notifications.o, wiring.flipped(self.notify))
        m.d.comb += [
            builder.start.eq(untold != self.FLIGHTS),
            # Both queues have room for all that `untold` counts.
            flights.i.valid.eq(builder.started.valid),
            flights.i.payload.eq(builder.started.run),
            flights.o.ready.eq(self.accepted),
            publish.eq(self.accepted & ~silent),
            notifications.i.valid.eq(publish),
            notifications.i.payload.eq(flight),
            write.addr.eq(Mux(walk.walking, walk.queue, Mux(self.reset.forgotten, self.reset.queue, flight.queue))),
            write.data.eq(Mux(walk.walking | self.reset.forgotten, Position.const({"index": 0, "wrap": 1}),
                              flight.next)),
            write.en.eq(walk.walking | publish | self.reset.forgotten),
            query.addr.eq(self.query_queue),
            self.query_position.eq(query.data),
        ]
        m.d.sync += [
            untold.eq(untold + builder.started.valid - (self.notify.valid & self.notify.ready)
                      - (self.accepted & silent)),
            self.published.valid.eq(publish),
            self.published.queue.eq(flight.queue),
        ]
        return untold == 0
