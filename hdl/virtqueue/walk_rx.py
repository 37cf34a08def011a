"""Finding a buffer for each received frame."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import WriteCommand
from hdl.stream import RegisterSlice

from .measure import Measure
from .receipts import Receipts
from .spec import FRAME_BITS, BufferElement, Completion, DropCause, Frame, Position, Pulse, QueueConfig, Verdict
from .stages import Progress, Rewind, WalkState, slot_bits

__all__ = ["WalkReceive"]


class WalkReceive(wiring.Component):
    """Gives each frame the next chain of its queue: a verdict, then writes for exactly the frame's bytes.

    Frames are served in order. Into a chain of one descriptor: a frame every 2 cycles, and 3 cycles from `frames` to
    `verdicts` and `writes`. A chain of several is measured first: 2 cycles an element, twice. Elements that are not
    device-writable count nothing. The used descriptor has the id of the last element and the frame's length, and comes
    out when the packet was `packet_sent`.

    A frame is dropped, and nothing consumed, if its queue is not enabled, the device not `live` or in `quiesce`; if it
    is `unwanted`; if the next chain is too small; or if there is none. While `looking` says that one may be about to
    come, a frame waits for it, up to `PATIENCE` cycles.

    Parameters
    ----------
    queues, queue_bits : int
    cache, batch : int
        elements cached per queue; how many are kept free, at most half of it
    depth : int
        packets that may be under way between `writes` and `packet_sent`

    Attributes
    ----------
    init : In(Pulse)
    live, quiesce : In(1)
    frames : stream of Frame in
    verdicts : stream of Verdict out
        one for each frame, before its writes
    writes : stream of WriteCommand out
    packet_sent, frames_behind : In(1)
        see `Receipts`
    completions : stream of Completion out
    config_queue : Out, config : In(QueueConfig); progress_queue : Out, progress : In(Progress)
    looking_queue : Out, looking : In(1)
        see `Supply`
    cache_queue, cache_slot, cache_enable : Out; cache : In(BufferElement)
        read port of the cache
    emptied_queue : In, emptied : Out; space : Out(Pulse)
        see `Reader`
    rewinds : stream of Rewind out; rewound : In(1)
    idle : Out(1)
    """

    PATIENCE = 4096

    def __init__(self, queues, queue_bits, *, cache, batch, depth=64):
        self.queues = queues
        self.queue_bits = queue_bits
        self.slots = cache
        self.batch = batch
        self.depth = depth
        self.slot_bits = slot_bits(cache)
        self.state = WalkState(self.slot_bits)
        super().__init__({
            "init": In(Pulse(queue_bits)), "live": In(1), "quiesce": In(1),
            "frames": In(stream.Signature(Frame(queue_bits))),
            "verdicts": Out(stream.Signature(Verdict(queue_bits))),
            "writes": Out(stream.Signature(WriteCommand(queue_bits))),
            "packet_sent": In(1), "frames_behind": In(1),
            "completions": Out(stream.Signature(Completion(queue_bits))),
            "config_queue": Out(queue_bits), "config": In(QueueConfig),
            "progress_queue": Out(queue_bits), "progress": In(Progress(self.slot_bits)),
            "looking_queue": Out(queue_bits), "looking": In(1),
            "cache_queue": Out(queue_bits), "cache_slot": Out(self.slot_bits - 1), "cache_enable": Out(1),
            "cache": In(BufferElement()),
            "emptied_queue": In(queue_bits),
            "emptied": Out(self.slot_bits),
            "space": Out(Pulse(queue_bits)),
            "rewinds": Out(stream.Signature(Rewind(queue_bits, self.slot_bits))),
            "rewound": In(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        self._outputs(m)
        memory = Memory(shape=self.state, depth=1 << self.queue_bits, init=[])
        m.submodules.states = memory
        self._write = write = memory.write_port()
        read, query = memory.read_port(domain="comb"), memory.read_port(domain="comb")
        self._frame = frame = Signal(Frame(self.queue_bits))
        self._at = at = Signal(self.state)
        self._remaining, self._slots = Signal(FRAME_BITS), Signal(16)   # bytes to come, slots of the chain so far
        # An element before the one at hand has got less than it holds; the cache holds only a part of the chain.
        self._spare, self._partial = Signal(), Signal()
        partial = self._partial
        whole = Signal()
        self._end, self._last = Signal(Position), Signal(15)   # place of the element at hand; of the ring's last slot
        enabled, usable, dry = Signal(), Signal(), Signal()
        waited = Signal(range(self.PATIENCE + 1))
        queue, base = Signal(self.queue_bits), Signal(self.state)
        available = self._available(m, base)
        measure = self._measure(m)
        m.d.comb += [
            query.addr.eq(self.emptied_queue), self.emptied.eq(query.data.slot),
            read.addr.eq(self.frames.payload.queue),
            queue.eq(frame.queue), base.eq(at),
            write.addr.eq(frame.queue), write.data.eq(at),
            self.config_queue.eq(queue), self.progress_queue.eq(queue), self.looking_queue.eq(frame.queue),
            self.cache_queue.eq(queue), self.cache_slot.eq(base.slot),
            usable.eq(enabled & self.live & ~self.quiesce),
            self._verdicts.payload.queue.eq(frame.queue), self._verdicts.payload.length.eq(frame.length),
        ]
        m.d.sync += [self.space.valid.eq(0), enabled.eq(self.config.enabled), self._last.eq(self.config.size - 1)]

        with m.FSM() as fsm:
            with m.State("FRAME"):
                m.d.comb += [
                    self.frames.ready.eq(1),
                    queue.eq(self.frames.payload.queue), base.eq(read.data), self.cache_enable.eq(1),
                ]
                m.d.sync += [
                    frame.eq(self.frames.payload), self._remaining.eq(self.frames.payload.length),
                    at.eq(read.data), self._end.eq(read.data.position), self._slots.eq(0), self._spare.eq(0),
                    waited.eq(0), dry.eq(0),
                ]
                available(whole, partial)
                with m.If(self.frames.valid):
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):
                with m.If(~usable):
                    self._drop(m, DropCause.DISABLED)
                with m.Elif(frame.unwanted):
                    self._drop(m, DropCause.FILTERED)
                with m.Elif(whole & self.cache.last):
                    self._single(m)
                with m.Elif(whole | partial):
                    m.next = "MEASURE"
                with m.Else():
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.cache_enable.eq(1)
                m.d.sync += [waited.eq(waited + 1), dry.eq(~self.looking)]
                available(whole, partial)
                with m.If(whole | partial | ~usable):
                    m.next = "CHOOSE"
                # Both of the cycle before: what arrives is visible before its queue is dry.
                with m.Elif(dry | (waited == self.PATIENCE)):
                    self._drop(m, DropCause.NO_BUFFER)
            with m.State("MEASURE"):
                m.d.comb += [
                    measure.requests.valid.eq(1),
                    self.cache_slot.eq(measure.slot), self.cache_enable.eq(measure.enable),
                ]
                with m.If(measure.taking):
                    self._advance(m, measure.slot)
                with m.If(measure.done):
                    m.next = "VERDICT"
            with m.State("VERDICT"):
                with m.If(~measure.fits):
                    self._drop(m, DropCause.TOO_LONG)
                with m.Else():
                    m.d.comb += [self._verdicts.payload.accept.eq(1), self._verdicts.valid.eq(self._receipts.ready)]
                    with m.If(self._verdicts.ready & self._receipts.ready):
                        m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += self.cache_enable.eq(1)
                with m.If(self.progress.slot != at.slot):
                    m.next = "TAKE"
                with m.Elif(self.quiesce):
                    self._abandon(m)
            with m.State("TAKE"):
                self._take(m)
        with m.If(self.init.valid):
            m.d.comb += [write.addr.eq(self.init.queue), write.data.eq(self.state.initial()), write.en.eq(1)]
        m.d.comb += self.idle.eq(fsm.ongoing("FRAME") & ~self.verdicts.valid & ~self.writes.valid & self._receipts_idle)
        return m

    def _outputs(self, m):
        """Registers at the outputs; behind them nothing depends on who is ready."""
        m.submodules.verdicts = verdicts = RegisterSlice(Verdict(self.queue_bits))
        m.submodules.writes = writes = RegisterSlice(WriteCommand(self.queue_bits))
        m.submodules.receipts = receipts = Receipts(self.queue_bits, self.depth)
        wiring.connect(m, verdicts.o, wiring.flipped(self.verdicts))
        wiring.connect(m, writes.o, wiring.flipped(self.writes))
        wiring.connect(m, receipts.completions, wiring.flipped(self.completions))
        m.d.comb += [
            receipts.sent.eq(self.packet_sent), receipts.behind.eq(self.frames_behind),
            receipts.clear.eq(self.init.valid),
        ]
        self._verdicts, self._writes, self._receipts = verdicts.i, writes.i, receipts.i
        self._receipts_idle = receipts.idle

    def _available(self, m, base):
        """Whether the cache has the next chain, or as much of it as it can hold; a function that registers this."""
        filled, full, complete = Signal(self.slot_bits), Signal(), Signal()
        m.d.comb += [
            filled.eq(self.progress.slot - base.slot),
            complete.eq(self.progress.chain != base.chain),
            full.eq(filled > self.slots - self.batch),
        ]

        def register(whole, partial):
            m.d.sync += [whole.eq(complete), partial.eq(~complete & full)]
        return register

    def _drop(self, m, cause):
        m.d.comb += [self._verdicts.payload.cause.eq(cause), self._verdicts.valid.eq(1)]
        with m.If(self._verdicts.ready):
            m.next = "FRAME"

    def _single(self, m):
        """A chain of one descriptor: everything in one cycle."""
        fits = self.cache.write & (self.cache.length >= self._frame.length)
        ready = self._verdicts.ready & self._writes.ready & self._receipts.ready
        with m.If(~fits):
            self._drop(m, DropCause.TOO_LONG)
        with m.Elif(ready):
            m.d.comb += [self._verdicts.payload.accept.eq(1), self._verdicts.valid.eq(1)]
            self._put(m, self._frame.length, last=1)
            self._finish(m, spare=self.cache.length != self._frame.length)

    def _measure(self, m):
        m.submodules.measure = measure = Measure(self.queue_bits, cache=self.slots)
        request, at = measure.requests.payload, self._at
        wiring.connect(m, measure.rewinds, wiring.flipped(self.rewinds))
        m.d.comb += [
            request.queue.eq(self._frame.queue), request.length.eq(self._frame.length),
            request.slot.eq(at.slot), request.chain.eq(at.chain), request.position.eq(at.position),
            request.partial.eq(self._partial), measure.rewound.eq(self.rewound),
            measure.quiesce.eq(self.quiesce), measure.cache.eq(self.cache), measure.progress.eq(self.progress),
        ]
        return measure

    def _advance(self, m, slot):
        """`slot` is taken out of the cache."""
        after = Signal(self.slot_bits)
        m.d.comb += [after.eq(slot + 1), self._write.data.slot.eq(after), self._write.en.eq(1)]
        m.d.sync += [
            self._at.slot.eq(after),
            self.space.valid.eq((after & (self.batch // 2 - 1)) == 0), self.space.queue.eq(self._frame.queue),
        ]

    def _put(self, m, length, last):
        write = self._writes.payload
        m.d.comb += [
            write.queue.eq(self._frame.queue), write.address.eq(self.cache.address), write.length.eq(length),
            write.last.eq(last), self._writes.valid.eq(1),
        ]

    def _take(self, m):
        """One element of a chain that fits: a write while bytes remain, then only to the chain's end."""
        piece, cut, spare = Signal(FRAME_BITS), Signal(), Signal()
        m.d.comb += [
            cut.eq(self.cache.length >= self._remaining),
            spare.eq(self._spare | (self.cache.write & cut & (self.cache.length != self._remaining))),
        ]
        with m.If(self.cache.write):
            m.d.comb += piece.eq(Mux(cut, self._remaining, self.cache.length))
        with m.If(piece != 0):
            self._put(m, piece, last=cut)
        with m.If((piece == 0) | self._writes.ready):
            m.d.sync += [self._remaining.eq(self._remaining - piece), self._slots.eq(self._slots + self.cache.ring),
                         self._spare.eq(spare)]
            with m.If(self.cache.last):
                self._finish(m, spare)
            with m.Else():
                self._advance(m, self._at.slot)
                m.d.sync += self._end.eq(self._behind())
                m.next = "NEXT"

    def _behind(self):
        """Position behind the element at hand."""
        ends = self.cache.ring & (self._end.index == self._last)
        return Cat(Mux(ends, 0, self._end.index + self.cache.ring)[:15], self._end.wrap ^ ends)

    def _finish(self, m, spare):
        """The element at hand is the last of its chain: on to the next chain, and a receipt for this one."""
        at, receipt = self._at, self._receipts.payload
        after = self._write.data
        self._advance(m, at.slot)
        m.d.comb += [
            after.chain.eq(at.chain + 1), after.position.eq(self._behind()),
            receipt.queue.eq(self._frame.queue), receipt.id.eq(self.cache.id),
            receipt.length.eq(self._frame.length), receipt.slots.eq(self._slots + self.cache.ring),
            receipt.filled.eq(~spare),
            self._receipts.valid.eq(1),
        ]
        m.next = "FRAME"

    def _abandon(self, m):
        """The engine is being reset and the rest of the chain does not come: end the packet, which is discarded."""
        with m.If(self._remaining != 0):
            self._put(m, self._remaining, last=1)
        with m.If((self._remaining == 0) | self._writes.ready):
            m.next = "FRAME"
