"""Collecting completions into runs of neighbouring ring slots."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .spec import Completion, Position, QueueConfig
from .stages import BUFFER_COUNT
from .used_packet import PacketPlan
from .used_run import Entry, Run
from .used_timer import RunTimer

__all__ = ["RunCollector"]


class RunCollector(wiring.Component):
    """Appends each completion to its queue's run and closes runs.

    A run is closed when it is full (`used_batch` or Max_Payload_Size), at the ring's end, where the next slot would
    begin a 4 KiB page, after a buffer of several slots, when nothing of the queue follows at once, with the packet that
    brings its buffers to `most_bytes` written, and when its time is up. The used position advances by the buffer's
    slots; slots skipped that way are in no run, so they are never written: the driver may own them again as soon as the
    used descriptor is visible.

    One completion every 2 cycles: in the first, the queue's state and configuration are read, in the second the next
    state is computed and written. A closed run is offered in that second cycle. Waits while the queue's rows are full
    or `runs` is not taken.

    With VIRTIO_F_IN_ORDER a run that begins with a `filled` buffer is *merged*: a single used descriptor at its first
    slot, of the buffer that ended the run, stands for all. So every buffer before that one counts as completely used;
    one that isn't `filled` ends the run. A merged run may be of any chains and pass the ring's end and pages; it is
    closed at `MERGED` buffers, at `most_bytes`, or once it holds a quarter of the ring, so that the driver of a small
    ring has something to do meanwhile. A run that begins with another buffer is as without the feature.

    The buffers of a packet become visible together (VIRTIO 1.4, "Multi-buffer requests"): either its used descriptors
    are in one run, for which the run before is closed if need be, or that of its first buffer is held back and follows
    the others in a run of its own. Nothing is told of those others. Costs 1 to 5 cycles a packet.

    Parameters
    ----------
    queue_bits : int
    shape : RunShape
    timeout : int
        cycles a run stays open
    most_bytes : int
        a power of 2: with the packet that brings its buffers to so many bytes written, a run ends

    Attributes
    ----------
    in_order : In(1)
        VIRTIO_F_IN_ORDER was negotiated; constant while anything is pending
    completions : stream in
    config_queue, config : queue asked for, and the answer in the same cycle
    max_payload : In(3)
        code of PCI Express Device Control; constant while anything is pending
    entry : Out({valid, address, lane, entry})
        write to the entry memory: `address` is queue and row, `lane` one-hot
    runs : stream out
        payload and valid come from registers through a few gates: to be queued
    freed : In({valid, queue, row})
        rows up to `row` have been read
    initialise : In({valid, queue})
        give the queue its initial state; nothing is taken meanwhile
    hurry : In(1)
        close open runs as if their time were up
    forget : In({valid, queue}), forgotten : Out(1)
        give a queue without open run its first position, when that can be done
    discard : In(1)
        take completions and forget them and the open runs; the state is void until initialised
    idle : Out(1)
        no open run, no completion in work
    """

    MERGED = 64

    def __init__(self, queue_bits, shape, timeout, most_bytes):
        self.queue_bits = queue_bits
        self.shape = shape
        self.timeout = timeout
        self.most_bytes = most_bytes
        super().__init__({
            "in_order": In(1),
            "completions": In(stream.Signature(Completion(queue_bits))),
            "config_queue": Out(queue_bits),
            "config": In(QueueConfig),
            "max_payload": In(3),
            "entry": Out(data.StructLayout({
                "valid": 1, "address": queue_bits + shape.row_bits, "lane": shape.lanes, "entry": Entry})),
            "runs": Out(stream.Signature(Run(queue_bits, shape))),
            "freed": In(data.StructLayout({"valid": 1, "queue": queue_bits, "row": shape.row_bits + 1})),
            "initialise": In(data.StructLayout({"valid": 1, "queue": queue_bits})),
            "hurry": In(1),
            "forget": In(data.StructLayout({"valid": 1, "queue": queue_bits})), "forgotten": Out(1),
            "discard": In(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.timer = self._timer = timer = RunTimer(self.queue_bits, self.timeout)
        m.submodules.plan = self._plan = plan = PacketPlan(self.queue_bits, self.shape.count)
        # Of a queue's open run: where it begins; descriptors, buffers, slots, bytes in it. `position` is behind it.
        self._state_shape = data.StructLayout({
            "position": Position, "first": Position, "count": self.shape.count, "row": self.shape.row_bits + 1,
            "merged": 1, "buffers": BUFFER_COUNT, "slots": 16, "bytes": range(2 * self.most_bytes)})
        self._by_timer = by_timer = Signal()
        self._item = item = Signal(Completion(self.queue_bits))
        self._state = state = Signal(self._state_shape)
        self._opens = opens = Signal()      # the run begins with this completion
        self._enough = enough = Signal()    # a merged run may not grow further
        self._config = config = Signal(QueueConfig)
        self._busy, self._step = Signal(), Signal()
        # What is at hand goes through once more: after a run was closed for its sake, or to release a held head.
        self._again, self._release = again, release = Signal(), Signal()
        stored = self._memories(m)
        self._second_cycle(m)
        # An expired run goes before a completion, so that traffic of other queues can't keep it open.
        expired = timer.expired & ~plan.inside & ~again
        forget = self.forget.valid & ~again
        with m.FSM() as fsm:
            with m.State("FIRST"):
                m.d.comb += [
                    self.completions.ready.eq(~self.initialise.valid & ~expired & ~again & ~forget),
                    self.forgotten.eq(forget & ~self.initialise.valid),
                ]
                m.d.sync += [
                    by_timer.eq(expired), state.eq(stored), opens.eq(stored.count == 0), config.eq(self.config),
                    enough.eq((stored.buffers >= self.MERGED - 1) | (stored.slots >= self.config.size[2:])),
                ]
                with m.If(~again & ~forget):
                    m.d.sync += [item.eq(self.completions.payload), item.queue.eq(self.config_queue)]
                with m.If(~self.initialise.valid & ~forget & (again | expired | self.completions.valid)):
                    m.next = "SECOND"
                    with m.If(Mux(again, ~release, ~expired & self.completions.payload.more & ~plan.inside)):
                        m.next = "PLAN"
            with m.State("PLAN"):
                m.d.comb += plan.plan.eq(1)
                m.next = "SECOND"
            with m.State("SECOND"):
                m.d.comb += self._busy.eq(1)
                with m.If(self._step):
                    m.d.sync += [again.eq(plan.flush | self._last_of_held), release.eq(self._last_of_held)]
                with m.If(self._step | self.discard | self.initialise.valid):
                    m.next = "FIRST"
        with m.If(self.discard | self.initialise.valid):
            m.d.sync += [again.eq(0), release.eq(0)]
        m.d.comb += [
            self.config_queue.eq(Mux(again, item.queue, Mux(
                forget, self.forget.queue, Mux(expired, timer.oldest, self.completions.payload.queue)))),
            self.idle.eq(fsm.ongoing("FIRST") & ~again & ~plan.inside & timer.empty),
        ]
        with m.If(self.forgotten):
            # Which rows are free is no matter of the ring.
            m.d.comb += [
                self._write.addr.eq(self.forget.queue), self._write.en.eq(1),
                self._write.data.eq(self._initial()), self._write.data.row.eq(stored.row),
            ]
        return m

    def _initial(self):
        return self._state_shape.const({"position": {"index": 0, "wrap": 1}})

    def _memories(self, m):
        """State and freed rows of each queue; returns the state of the queue asked for in the first cycle."""
        depth = 1 << self.queue_bits
        m.submodules.states = states = Memory(shape=self._state_shape, depth=depth, init=[])
        m.submodules.freed_rows = freed = Memory(shape=self.shape.row_bits + 1, depth=depth, init=[])
        read, self._write = states.read_port(domain="comb"), states.write_port()
        freed_read, freed_write = freed.read_port(domain="comb"), freed.write_port()
        self._freed = freed_read.data
        m.d.comb += [
            read.addr.eq(self.config_queue),
            freed_read.addr.eq(self._item.queue),
            freed_write.addr.eq(Mux(self.initialise.valid, self.initialise.queue, self.freed.queue)),
            freed_write.data.eq(Mux(self.initialise.valid, 0, self.freed.row)),
            freed_write.en.eq(self.initialise.valid | self.freed.valid),
        ]
        return read.data

    def _second_cycle(self, m):
        item, state, timer, plan, shape = self._item, self._state, self._timer, self._plan, self.shape
        count, place = Signal(shape.count), Signal(shape.count)
        after = Signal(self._state_shape)
        close, writes, taken = Signal(), Signal(), Signal()     # writes: there is an entry
        self._connect_plan(m, taken)
        self._advance(m, count, place, after, close)

        row = Signal(shape.row_bits + 1)
        full = Signal()
        rows_used = (count + (shape.lanes - 1)) >> shape.lane_bits
        begins_row = place[:shape.lane_bits] == 0 if shape.lane_bits else C(1)
        run, entry = self.runs.payload, self.entry.entry
        m.d.comb += [
            writes.eq(~self._by_timer & ~plan.flush & ~plan.hold),
            taken.eq(~self._by_timer & ~plan.flush & ~self._release),
            row.eq(state.row + (place >> shape.lane_bits)),
            full.eq(((row - self._freed)[:shape.row_bits + 1] == shape.rows) & begins_row & writes),
            self._step.eq(self._busy & ~full & (~close | self.runs.ready)),
            self.runs.valid.eq(self._busy & close & ~self.discard & ~full),
            run.queue.eq(item.queue),
            run.count.eq(count),
            run.address.eq(self._config.descriptors + Cat(C(8, 4), after.first.index)),
            run.wrap.eq(after.first.wrap),
            run.row.eq(state.row),
            run.next.eq(after.position),
            run.slots.eq(Mux(plan.held & ~self._release, 0, after.slots)),
            run.buffers.eq(after.buffers),
            self.entry.valid.eq(self._step & writes),
            self.entry.address.eq(Cat(row[:shape.row_bits], item.queue)),
            self.entry.lane.eq(1 << place[:shape.lane_bits] if shape.lane_bits else 1),
            *[entry[field].eq(Mux(self._release, plan.head[field], item[field]))
              for field in ("length", "id", "written")],
            timer.queue.eq(item.queue),
            timer.opened.eq(self._step & self._opens & ~close & ~plan.hold),
            timer.closed.eq(self._step & ~self._opens & close),
            timer.hurry.eq(self.hurry),
            timer.clear.eq(self.discard | self.initialise.valid),
        ]
        m.d.comb += [
            self._write.addr.eq(Mux(self.initialise.valid, self.initialise.queue, item.queue)),
            self._write.data.eq(after),
            self._write.data.row.eq(Mux(close, state.row + rows_used, state.row)),
            self._write.en.eq(self._step | self.initialise.valid),
        ]
        with m.If(close):
            m.d.comb += [self._write.data[name].eq(0) for name in ("count", "buffers", "slots", "bytes")]
        with m.If(self.initialise.valid):
            m.d.comb += self._write.data.eq(self._initial())

    def _connect_plan(self, m, taken):
        """The packet at hand; `_last_of_held`: it ends with this item, and its head is still held back."""
        plan, state = self._plan, self._state
        self._last_of_held = Signal()
        # A run of U used descriptors is 16 * U - 8 bytes: Max_Payload_Size // 16 of them fit.
        self._limit = limit = Signal(self.shape.count)
        fits = (1 << 3) << self.max_payload
        m.d.sync += limit.eq(Mux(fits > self.shape.batch, self.shape.batch, fits))
        m.d.comb += [
            plan.item.eq(self._item), plan.in_order.eq(self.in_order), plan.config.eq(self._config),
            plan.opens.eq(self._opens), plan.merged.eq(state.merged), plan.used.eq(state.count), plan.limit.eq(limit),
            plan.position.eq(state.position), plan.stepped.eq(self._step), plan.taken.eq(taken),
            plan.released.eq(self._step & self._release), plan.clear.eq(self.discard | self.initialise.valid),
            self._last_of_held.eq(plan.held & taken & ~self._item.more),
        ]

    def _advance(self, m, count, place, after, close):
        """The queue's state after this item, whose entry is number `place` of `count` in its run, and whether that run
        ends with it."""
        item, state, size, plan = self._item, self._state, self._config.size, self._plan
        old, merged = state.position, Signal()
        forward, beyond, wraps = Signal(17), Signal(18), Signal()
        bytes_now, heavy = self._weigh(m)
        at_page_end = (self._config.descriptors[4:12] + old.index[:8] + 1)[:8] == 0
        m.d.comb += [
            forward.eq(old.index + item.slots),
            beyond.eq(forward - size),
            wraps.eq(~beyond[17]),
            merged.eq(Mux(self._opens, self.in_order & item.filled, state.merged)),
            place.eq(Mux(merged | self._release, 0, state.count)),
            after.eq(state),
        ]
        with m.If(self._by_timer | plan.flush):
            m.d.comb += [count.eq(state.count), close.eq(1)]
        with m.Elif(self._release):
            m.d.comb += [
                count.eq(1), close.eq(1), after.first.eq(plan.first), after.slots.eq(plan.slots), after.buffers.eq(1),
            ]
        with m.Else():
            m.d.comb += [
                count.eq(place + ~plan.hold),
                after.position.index.eq(Mux(wraps, beyond, forward)),
                after.position.wrap.eq(old.wrap ^ wraps),
                after.count.eq(count),
                after.merged.eq(merged),
                after.buffers.eq(state.buffers + ~item.more),
                after.slots.eq(Mux(plan.hold, 0, state.slots + item.slots)),
                after.bytes.eq(bytes_now),
            ]
            with m.If(self._opens):
                m.d.comb += after.first.eq(old)
            with m.If(plan.hold):
                m.d.comb += close.eq(0)
            with m.Elif(merged):
                m.d.comb += close.eq(~item.more & (self._enough | heavy | ~item.filled | ~item.behind))
            with m.Else():
                m.d.comb += close.eq((count >= self._limit) | (item.slots != 1) | wraps | at_page_end
                                     | (~item.more & (plan.held | heavy | ~item.behind)))

    def _weigh(self, m):
        """(bytes written into the run's buffers, this item's included, or at least `most_bytes`; whether it's those)"""
        few = len(self._state.bytes) - 1
        total, heavy = Signal(few + 1), Signal()
        m.d.comb += [
            total.eq(self._state.bytes[:few] + self._item.length[:few]),
            heavy.eq(self._state.bytes[few] | total[few] | self._item.length[few:].any()),
        ]
        return Cat(total[:few], heavy), heavy
