"""Collecting completions into runs of neighbouring ring slots."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .spec import Completion, Position, QueueConfig
from .stages import BUFFER_COUNT
from .used_timer import RunTimer

__all__ = ["Entry", "Run", "RunShape", "RunCollector"]


class Entry(data.Struct):
    """What a used descriptor says; the rest follows from its place."""
    length: 32
    id: 16
    written: 1


class RunShape:
    """Sizes of the entry memory: per queue a ring of rows, each as wide as a beat.

    A descriptor takes 16 bytes of a beat, so a row holds `lanes` entries. Runs start on a row of their own; a queue
    has rows for two of the longest runs, so that one fills while another is built.
    """

    def __init__(self, width, batch):
        self.batch = batch
        self.lanes = width // 128
        self.run_rows = max(1, batch // self.lanes)
        self.rows = max(4, 2 * self.run_rows)
        self.row_bits = (self.rows - 1).bit_length()
        self.lane_bits = (self.lanes - 1).bit_length()
        self.count = range(batch + 1)


class Run(data.StructLayout):
    """A closed run.

    Fields: `queue`; `count` used descriptors, 1 to used_batch; `address` of byte 8 of its first slot; `wrap` for their
    flags; `row` first row of its entries, with one bit more than rows need; `next` the used position after it;
    `slots` from its first slot to there; `buffers` that it returns.
    """

    def __init__(self, queue_bits, shape):
        super().__init__({"queue": queue_bits, "count": shape.count, "address": 64, "wrap": 1,
                          "row": shape.row_bits + 1, "next": Position, "slots": 16, "buffers": BUFFER_COUNT})


class RunCollector(wiring.Component):
    """Appends each completion to its queue's run and closes runs.

    A run is closed when it is full (`used_batch` or Max_Payload_Size), at the ring's end, where the next slot would
    begin a 4 KiB page, after a buffer of several slots, when nothing of the queue follows at once, and when its time
    is up. The used position advances by the buffer's slots; slots skipped that way are in no run, so they are never
    written: the driver may own them again as soon as the used descriptor is visible.

    One completion every 2 cycles: in the first, the queue's state and configuration are read, in the second the next
    state is computed and written. A closed run is offered in that second cycle. Waits while the queue's rows are full
    or `runs` is not taken.

    With VIRTIO_F_IN_ORDER a run that begins with a `filled` buffer is *merged*: a single used descriptor at its first
    slot, of the buffer that ended the run, stands for all. So every buffer before that one counts as completely used;
    one that isn't `filled` ends the run. A merged run may be of any chains and pass the ring's end and pages; it is
    closed at `MERGED` buffers or once it holds a quarter of the ring, so that the driver of a small ring has something
    to do meanwhile. A run that begins with another buffer is as without the feature.

    Parameters
    ----------
    queue_bits : int
    shape : RunShape
    timeout : int
        cycles a run stays open

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

    def __init__(self, queue_bits, shape, timeout):
        self.queue_bits = queue_bits
        self.shape = shape
        self.timeout = timeout
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
        # Of a queue's open run: where it begins; descriptors, buffers and slots in it. `position` is behind it.
        self._state_shape = data.StructLayout({
            "position": Position, "first": Position, "count": self.shape.count, "row": self.shape.row_bits + 1,
            "merged": 1, "buffers": BUFFER_COUNT, "slots": 16})

        # First cycle: an expired run goes before a completion, so that traffic of other queues can't keep it open.
        self._busy = busy = Signal()
        self._by_timer = by_timer = Signal()
        self._item = item = Signal(Completion(self.queue_bits))
        self._state = state = Signal(self._state_shape)
        self._opens = opens = Signal()      # the run begins with this completion
        self._enough = enough = Signal()    # a merged run may not grow further
        self._config = config = Signal(QueueConfig)
        idle = ~busy & ~self.initialise.valid
        m.d.comb += [
            self.forgotten.eq(idle & self.forget.valid),
            self.completions.ready.eq(idle & ~timer.expired & ~self.forget.valid),
            self.config_queue.eq(Mux(self.forget.valid, self.forget.queue, Mux(
                timer.expired, timer.oldest, self.completions.payload.queue))),
            self.idle.eq(~busy & timer.empty),
        ]
        stored = self._memories(m)
        with m.If(idle):
            m.d.sync += [
                busy.eq((timer.expired | self.completions.valid) & ~self.forget.valid),
                by_timer.eq(timer.expired),
                item.eq(self.completions.payload),
                item.queue.eq(self.config_queue),
                state.eq(stored),
                opens.eq(stored.count == 0),
                enough.eq((stored.buffers >= self.MERGED - 1) | (stored.slots >= self.config.size[2:])),
                config.eq(self.config),
            ]
        self._second_cycle(m)
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
        item, state, timer = self._item, self._state, self._timer
        shape = self.shape
        count, place = Signal(shape.count), Signal(shape.count)
        after = Signal(self._state_shape)
        close = Signal()
        self._advance(m, count, place, after, close)

        row = Signal(shape.row_bits + 1)
        full = Signal()
        wait = Signal()
        step = Signal()
        rows_used = (count + (shape.lanes - 1)) >> shape.lane_bits
        begins_row = place[:shape.lane_bits] == 0 if shape.lane_bits else C(1)
        run = self.runs.payload
        m.d.comb += [
            row.eq(state.row + (place >> shape.lane_bits)),
            full.eq(((row - self._freed)[:shape.row_bits + 1] == shape.rows) & begins_row & ~self._by_timer),
            wait.eq(full | (close & ~self.runs.ready)),
            step.eq(self._busy & ~wait),
            self.runs.valid.eq(self._busy & close & ~self.discard & ~full),
            run.queue.eq(item.queue),
            run.count.eq(count),
            run.address.eq(self._config.descriptors + Cat(C(8, 4), after.first.index)),
            run.wrap.eq(after.first.wrap),
            run.row.eq(state.row),
            run.next.eq(after.position),
            run.slots.eq(after.slots),
            run.buffers.eq(after.buffers),
            self.entry.valid.eq(step & ~self._by_timer),
            self.entry.address.eq(Cat(row[:shape.row_bits], item.queue)),
            self.entry.lane.eq(1 << place[:shape.lane_bits] if shape.lane_bits else 1),
            self.entry.entry.length.eq(item.length),
            self.entry.entry.id.eq(item.id),
            self.entry.entry.written.eq(item.written),
            timer.queue.eq(item.queue),
            timer.opened.eq(step & self._opens & ~close),
            timer.closed.eq(step & ~self._opens & close),
            timer.hurry.eq(self.hurry),
            timer.clear.eq(self.discard | self.initialise.valid),
        ]
        m.d.comb += [
            self._write.addr.eq(Mux(self.initialise.valid, self.initialise.queue, item.queue)),
            self._write.data.eq(after),
            self._write.data.row.eq(Mux(close, state.row + rows_used, state.row)),
            self._write.en.eq(step | self.initialise.valid),
        ]
        with m.If(close):
            m.d.comb += [self._write.data.count.eq(0), self._write.data.buffers.eq(0), self._write.data.slots.eq(0)]
        with m.If(self.initialise.valid):
            m.d.comb += self._write.data.eq(self._initial())
        with m.If(self._busy & (step | self.discard | self.initialise.valid)):
            m.d.sync += self._busy.eq(0)

    def _advance(self, m, count, place, after, close):
        """The queue's state after this completion, whose entry is number `place` of `count` in its run, and whether
        that run ends with it."""
        item, state, size = self._item, self._state, self._config.size
        old, merged = state.position, Signal()
        forward = Signal(17)
        beyond = Signal(18)
        wraps = Signal()
        # A run of U used descriptors is 16 * U - 8 bytes: Max_Payload_Size // 16 of them fit.
        limit = Signal(self.shape.count)
        fits = (1 << 3) << self.max_payload
        m.d.sync += limit.eq(Mux(fits > self.shape.batch, self.shape.batch, fits))
        at_page_end = (self._config.descriptors[4:12] + old.index[:8] + 1)[:8] == 0
        m.d.comb += [
            forward.eq(old.index + item.slots),
            beyond.eq(forward - size),
            wraps.eq(~beyond[17]),
            merged.eq(Mux(self._opens, self.in_order & item.filled, state.merged)),
            place.eq(Mux(merged, 0, state.count)),
            after.eq(state),
        ]
        with m.If(self._by_timer):
            m.d.comb += [count.eq(state.count), close.eq(1)]
        with m.Else():
            m.d.comb += [
                count.eq(place + 1),
                after.position.index.eq(Mux(wraps, beyond, forward)),
                after.position.wrap.eq(old.wrap ^ wraps),
                after.count.eq(count),
                after.merged.eq(merged),
                after.buffers.eq(state.buffers + 1),
                after.slots.eq(state.slots + item.slots),
            ]
            with m.If(self._opens):
                m.d.comb += after.first.eq(old)
            with m.If(merged):
                m.d.comb += close.eq(self._enough | ~item.filled | ~item.behind)
            with m.Else():
                m.d.comb += close.eq((count >= limit) | (item.slots != 1) | wraps | at_page_end | ~item.behind)
