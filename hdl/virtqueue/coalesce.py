"""Interrupt coalescing: which published buffers are reason enough to tell the driver."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.stream import Skid

from .reset import StageReset
from .spec import Coalescing, Pulse
from .stages import Notification, Published
from .under_way import UnderWay

__all__ = ["Coalesce"]


class _Limits(data.Struct):
    """Of a queue; 0 makes every buffer due. `timed`: `usecs` is not 0."""
    buffers: 16
    usecs: 20
    timed: 1


class _Count(data.Struct):
    """Buffers of a queue that the driver was not told of, and the time in µs at which the first of them came."""
    buffers: 16
    since: 21


class Coalesce(wiring.Component):
    """Marks notifications as `due` (VIRTIO 1.4, Network Device, Notifications Coalescing).

    A notification is due if its queue's max_packets or max_usecs is 0, or when it brings the count of buffers since the
    last one that was due to max_packets. A queue whose first such buffer is max_usecs old gets a notification of its
    own, without slots. New parameters count at once for what waits.

    The queues are looked at one a cycle, each every `queues` cycles and as many more as there are notifications of it.
    So a time is up to 1 µs short, as the first buffer comes within one, and up to that round long. max_packets counts
    as at most 65535, and max_usecs as at most 1.05 s: beyond, the driver is told sooner than it asked for.

    A notification a cycle; latency 0. Nothing is dropped.

    Parameters
    ----------
    queues, queue_bits : int
    clock_hz : int

    Attributes
    ----------
    init : In(Pulse)
        both parameters and the count of this queue are 0
    reset : In(StageReset)
        `quiet`: no notification of the queue is between `published` and `decided`. The count is forgotten, the
        parameters stay until they are set anew
    decided : In(Pulse)
        what follows is done with a notification
    coalescing : In(Coalescing)
    published : stream of Published in
    notifications : stream of Notification out
    quiesce : In(1)
        make no notifications for the time's sake
    idle : Out(1)
        no notification is inside; buffers that wait for others don't count
    """

    def __init__(self, queues, queue_bits, *, clock_hz):
        self.queues = queues
        self.queue_bits = queue_bits
        self.cycles_per_us = max(1, round(clock_hz / 1_000_000))
        super().__init__({
            "init": In(Pulse(queue_bits)),
            "reset": In(StageReset(queue_bits)),
            "decided": In(Pulse(queue_bits)),
            "coalescing": In(Coalescing(queue_bits)),
            "published": In(stream.Signature(Published(queue_bits))),
            "notifications": Out(stream.Signature(Notification(queue_bits))),
            "quiesce": In(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.out_skid = out = Skid(Notification(self.queue_bits))
        wiring.connect(m, out.o, wiring.flipped(self.notifications))
        m.submodules.counts = counts = Memory(shape=_Count, depth=1 << self.queue_bits, init=[])
        now = self._clock(m)
        limits, watched_limits = self._limits(m)
        port, watched, write = counts.read_port(domain="comb"), counts.read_port(domain="comb"), counts.write_port()
        queue, ripe = Signal(self.queue_bits), Signal()     # the queue looked at; its time is up
        published, notification = self.published.payload, out.i.payload
        taken, due, total = Signal(), Signal(), Signal(17)
        initial, keep = Signal(Pulse(self.queue_bits)), Signal()
        m.d.comb += [
            port.addr.eq(published.queue), limits.addr.eq(published.queue),
            total.eq(port.data.buffers + published.buffers),
            due.eq(~limits.data.timed | (total >= limits.data.buffers)),
            # A queue whose time is up goes first: that happens once for any number of its notifications.
            self.published.ready.eq(out.i.ready & ~ripe & keep), keep.eq(~self.init.valid & ~self.reset.forget),
            taken.eq(self.published.valid & self.published.ready),
            out.i.valid.eq(ripe | (self.published.valid & keep)),
            initial.valid.eq(self.init.valid | self.reset.forgotten),
            initial.queue.eq(Mux(self.init.valid, self.init.queue, self.reset.queue)),
            notification.queue.eq(Mux(ripe, queue, published.queue)),
            notification.next.eq(published.next),
            notification.slots.eq(Mux(ripe, 0, published.slots)),
            notification.due.eq(ripe | due),
            self.idle.eq(~ripe & ~out.o.valid),
        ]
        m.d.comb += [
            write.addr.eq(Mux(initial.valid, initial.queue, notification.queue)),
            write.en.eq(initial.valid | taken | (ripe & out.i.ready)),
            write.data.since.eq(Mux(port.data.buffers == 0, now, port.data.since)),
        ]
        with m.If(keep & ~ripe & ~due):
            m.d.comb += write.data.buffers.eq(total)
        m.d.comb += [watched.addr.eq(queue), watched_limits.addr.eq(queue)]
        self._watch(m, queue, ripe, watched.data, watched_limits.data, now,
                    disturbed=write.en & (write.addr == queue), leave=out.i.ready)
        self._reset(m, queue, ripe, out.i)
        return m

    def _reset(self, m, queue, ripe, notifications):
        # What fits between here and the decision.
        m.submodules.under_way = under_way = UnderWay(self.queue_bits, 4)
        reset = self.reset
        m.d.comb += [
            under_way.init.eq(self.init), under_way.queue.eq(reset.queue),
            under_way.begun.valid.eq(notifications.valid & notifications.ready),
            under_way.begun.queue.eq(notifications.payload.queue), under_way.ended.eq(self.decided),
            reset.quiet.eq(under_way.none & ~(ripe & (queue == reset.queue))), reset.forgotten.eq(reset.forget & ~ripe),
        ]

    def _clock(self, m):
        now, cycle = Signal(21), Signal(range(self.cycles_per_us))
        m.d.sync += cycle.eq(cycle + 1)
        with m.If(cycle == self.cycles_per_us - 1):
            m.d.sync += [cycle.eq(0), now.eq(now + 1)]
        return now

    def _limits(self, m):
        """What was configured; returns two read ports."""
        m.submodules.limits = limits = Memory(shape=_Limits, depth=1 << self.queue_bits, init=[])
        write, change = limits.write_port(), Signal(Coalescing(self.queue_bits))
        packets, usecs = change.max_packets, change.max_usecs
        m.d.sync += change.eq(self.coalescing)
        m.d.comb += [
            write.addr.eq(Mux(self.init.valid, self.init.queue, change.queue)),
            write.en.eq(self.init.valid | change.valid),
        ]
        with m.If(~self.init.valid):
            m.d.comb += [
                write.data.buffers.eq(packets[:16] | packets[16:].any().replicate(16)),
                write.data.usecs.eq(usecs[:20] | usecs[20:].any().replicate(20)),
                write.data.timed.eq(usecs.any()),
            ]
        return limits.read_port(domain="comb"), limits.read_port(domain="comb")

    def _watch(self, m, queue, ripe, count, limits, now, *, disturbed, leave):
        """Goes round the queues. A look at a count that is just being changed is repeated."""
        age = Signal(21)
        m.d.comb += age.eq(now - count.since)
        met = (age >= limits.usecs) | (count.buffers >= limits.buffers)
        with m.If(ripe):
            m.d.sync += ripe.eq(~leave)
        with m.Elif(~disturbed & ~self.quiesce):
            with m.If((count.buffers != 0) & met):
                m.d.sync += ripe.eq(1)
            with m.Else():
                m.d.sync += queue.eq(Mux(queue == self.queues - 1, 0, queue + 1))
