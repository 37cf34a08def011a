"""Finding buffers for each received frame."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import WriteCommand
from hdl.stream import RegisterSlice

from .fill import Fill
from .measure import Measure
from .reset import StageReset
from .spec import FRAME_BITS, BufferElement, Completion, DropCause, Frame, Pulse, QueueConfig, Verdict
from .stages import Capacity, Progress, Rewind, WalkState, slot_bits

__all__ = ["WalkReceive"]


class WalkReceive(wiring.Component):
    """Gives each frame the next chain of its queue, or with `merge` as many as it needs: a verdict, then writes for
    exactly the frame's bytes.

    Frames are served in order: one takes a cycle, and one for each element of its chains. From `frames` to `verdicts`
    and the first of `writes`: 3 cycles. With several chains both take a cycle more for each of these, and one. Chains
    of more elements than the cache holds are measured first: 2 cycles an element, twice. Elements that are not
    device-writable count nothing. See `Fill` for used descriptors; they come when the packet was `packet_sent`.

    A frame is dropped, and nothing consumed, if its queue is not enabled, the device not `live` or in `quiesce`; if it
    is `unwanted`; if the next chain is too small, with `merge` for the header; or if there are too few. While `looking`
    says that one may be about to come, a frame waits for it, up to `PATIENCE` cycles.

    Parameters
    ----------
    queues, queue_bits : int
    cache, batch : int
        elements cached per queue; how many are kept free, at most half of it
    depth : int
        buffers that may be under way between `writes` and `packet_sent`

    Attributes
    ----------
    init : In(Pulse); live, quiesce : In(1)
    reset : In(StageReset); begun : Out(Pulse)
        `quiet` means that no frame of the queue is at hand; a packet has begun when its last buffer is filled
    merge : In(1); header_bytes : In(6)
        VIRTIO_NET_F_MRG_RXBUF is negotiated; bytes of virtio_net_hdr, which the first buffer must hold
    frames : stream of Frame in
    verdicts : stream of Verdict out
        one for each frame, before its writes
    writes : stream of WriteCommand out
    packet_sent, frames_behind : In(1)
        see `Receipts`; with `frames`, another frame of that queue waits behind this one
    completions : stream of Completion out
    config_queue : Out, config : In(QueueConfig); progress_queue : Out, progress : In(Progress)
    looking_queue : Out, looking : In(1)
        see `Supply`
    cache_queue, cache_slot, cache_enable : Out; cache : In(BufferElement)
        read port of the cache
    capacity_queue, capacity_chain, capacity_enable : Out; capacity : In(Capacity)
        read port of `Capacities`
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
            "init": In(Pulse(queue_bits)), "live": In(1), "quiesce": In(1), "merge": In(1), "header_bytes": In(6),
            "reset": In(StageReset(queue_bits)), "begun": Out(Pulse(queue_bits)),
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
            "capacity_queue": Out(queue_bits), "capacity_chain": Out(self.slot_bits - 1), "capacity_enable": Out(1),
            "capacity": In(Capacity),
            "emptied_queue": In(queue_bits), "emptied": Out(self.slot_bits), "space": Out(Pulse(queue_bits)),
            "rewinds": Out(stream.Signature(Rewind(queue_bits, self.slot_bits))), "rewound": In(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.verdicts = verdicts = RegisterSlice(Verdict(self.queue_bits))
        wiring.connect(m, verdicts.o, wiring.flipped(self.verdicts))
        self._verdicts = verdicts.i
        self._frame, self._at = frame, at = Signal(Frame(self.queue_bits)), Signal(self.state)
        queue, base = Signal(self.queue_bits), Signal(self.state)
        m.d.sync += self.space.valid.eq(0)
        read = self._states(m)
        self._fill = fill = self._connect_fill(m, read)
        self._measure = measure = self._connect_measure(m)
        self._measured = measured = Signal()
        self._spread(m, base)
        enabled, usable, dry = Signal(), Signal(), Signal()
        waited = Signal(range(self.PATIENCE + 1))
        m.d.comb += [
            queue.eq(frame.queue), base.eq(at),
            self.config_queue.eq(queue), self.progress_queue.eq(queue), self.looking_queue.eq(frame.queue),
            self.cache_queue.eq(queue), self.cache_slot.eq(base.slot),
            self.capacity_queue.eq(queue), self.capacity_chain.eq(at.chain), self.capacity_enable.eq(1),
            usable.eq(enabled & self.live & ~self.quiesce), measure.dry.eq(dry),
            self._verdicts.payload.queue.eq(frame.queue), self._verdicts.payload.length.eq(frame.length),
        ]
        # `dry` is of the same cycle as what is known to be there: what arrives is visible before its queue is dry.
        m.d.sync += [enabled.eq(self.config.enabled), dry.eq(~self.looking)]

        with m.FSM() as fsm:
            with m.State("FRAME"):
                m.d.comb += [
                    self.frames.ready.eq(~self.reset.forget), self.reset.forgotten.eq(self.reset.forget),
                    fill.begin.eq(1), queue.eq(self.frames.payload.queue), base.eq(read),
                    self.cache_enable.eq(1), self.capacity_chain.eq(read.chain), self._following.eq(read.chain),
                ]
                m.d.sync += [frame.eq(self.frames.payload), at.eq(read), measured.eq(0), waited.eq(0)]
                with m.If(self.frames.valid & self.frames.ready):
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.comb += self.capacity_chain.eq(self._following)
                with m.If(~usable):
                    self._drop(m, DropCause.DISABLED)
                with m.Elif(frame.unwanted):
                    self._drop(m, DropCause.FILTERED)
                with m.Else():
                    self._choose(m)
            with m.State("WAIT"):
                m.d.comb += [self.cache_enable.eq(1), self.capacity_chain.eq(self._following)]
                m.d.sync += waited.eq(waited + 1)
                with m.If(self._there | self._full | ~usable):
                    m.next = "CHOOSE"
                with m.Elif(dry | (waited == self.PATIENCE)):
                    self._drop(m, DropCause.NO_BUFFER)
            with m.State("MEASURE"):
                m.d.comb += [
                    measure.requests.valid.eq(1),
                    self.cache_slot.eq(measure.slot), self.cache_enable.eq(measure.enable),
                ]
                m.d.sync += [measured.eq(1), self._buffers.eq(measure.buffers)]
                with m.If(measure.taking):
                    self._advance(m, measure.slot)
                with m.If(measure.done):
                    m.next = "VERDICT"
            with m.State("VERDICT"):
                with m.If(measured & ~measure.fits):
                    self._drop(m, Mux(self.merge, DropCause.NO_BUFFER, DropCause.TOO_LONG))
                with m.Else():
                    m.d.comb += self._verdicts.valid.eq(1)
                    self._accept(m, self._buffers)
                    with m.If(self._verdicts.ready):
                        m.next = "TAKE"
                        with m.If(measured):
                            m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += self.cache_enable.eq(1)
                with m.If(self.progress.slot != at.slot):
                    m.next = "TAKE"
                with m.Elif(self.quiesce):
                    m.d.comb += fill.abandon.eq(1)
                    with m.If(fill.abandoned):
                        m.next = "FRAME"
            with m.State("TAKE"):
                m.d.comb += [
                    fill.wanted.eq(1), self.capacity_enable.eq(fill.taken),
                    self.capacity_chain.eq(Mux(self.cache.last, at.chain + 1, at.chain)),
                ]
                self._go_on(m)
        m.d.sync += self.reset.quiet.eq(fsm.ongoing("FRAME") | (frame.queue != self.reset.queue))
        m.d.comb += self.idle.eq(fsm.ongoing("FRAME") & ~self.verdicts.valid & fill.idle)
        return m

    def _states(self, m):
        """Where each queue's next chain is; returns what is read for the frame that comes."""
        m.submodules.states = states = Memory(shape=self.state, depth=1 << self.queue_bits, init=[])
        read, query = states.read_port(domain="comb"), states.read_port(domain="comb")
        self._write = write = states.write_port()
        m.d.comb += [
            query.addr.eq(self.emptied_queue), self.emptied.eq(query.data.slot),
            read.addr.eq(self.frames.payload.queue),
            write.addr.eq(self._frame.queue), write.data.eq(self._at),
        ]
        with m.If(self.init.valid | self.reset.forgotten):
            m.d.comb += [write.addr.eq(Mux(self.init.valid, self.init.queue, self.reset.queue)),
                         write.data.eq(self.state.initial()), write.en.eq(1)]
        return read.data

    def _connect_fill(self, m, state):
        m.submodules.fill = fill = Fill(self.queue_bits, self.depth)
        last_slot, at, after = Signal(15), self._at, self._write.data
        for inner, outer in [(fill.writes, self.writes), (fill.completions, self.completions)]:
            wiring.connect(m, inner, wiring.flipped(outer))
        m.d.sync += last_slot.eq(self.config.size - 1)
        m.d.comb += [
            fill.init.eq(self.init), fill.frame.eq(self.frames.payload), fill.position.eq(state.position),
            fill.last_slot.eq(last_slot), fill.element.eq(self.cache), fill.capacity.eq(self.capacity),
            fill.packet_sent.eq(self.packet_sent), fill.follows.eq(self.frames_behind),
            fill.another.eq(self.progress.chain != (at.chain + 1)[:self.slot_bits]), self.begun.eq(fill.begun),
        ]
        with m.If(fill.taken):
            self._advance(m, at.slot)
            with m.If(self.cache.last):
                m.d.comb += [after.chain.eq(at.chain + 1), after.position.eq(fill.behind)]
                m.d.sync += [at.chain.eq(after.chain), at.position.eq(fill.behind)]
        return fill

    def _connect_measure(self, m):
        m.submodules.measure = measure = Measure(self.queue_bits, cache=self.slots)
        request, at = measure.requests.payload, self._at
        wiring.connect(m, measure.rewinds, wiring.flipped(self.rewinds))
        m.d.comb += [
            request.queue.eq(self._frame.queue), request.length.eq(self._frame.length),
            request.slot.eq(at.slot), request.chain.eq(at.chain), request.position.eq(at.position),
            measure.rewound.eq(self.rewound), measure.quiesce.eq(self.quiesce),
            measure.merge.eq(self.merge), measure.header_bytes.eq(self.header_bytes),
            measure.cache.eq(self.cache), measure.progress.eq(self.progress),
        ]
        return measure

    def _spread(self, m, base):
        """Goes over the capacities of chains, from the next one on, with every `_step` one further."""
        chain, missing = Signal(self.slot_bits), Signal(FRAME_BITS)    # the chain at hand; bytes that it must hold
        self._there, self._full = Signal(), Signal()    # the chain is in the cache; nothing more fits into that
        self._buffers, alone = Signal(16), Signal()     # chains before; each took one slot
        self._following, self._step = Signal(self.slot_bits), Signal()
        self._fits, self._holds_header = Signal(), Signal()
        capacity, together = self.capacity, self._fill.together
        m.d.comb += [
            self._following.eq(Mux(self._step, chain + 1, chain)),
            self._fits.eq(capacity.bytes >= missing),
            self._holds_header.eq((self._buffers != 0) | (capacity.bytes >= self.header_bytes)),
            together.eq(Mux(alone & ~self._measured & (self._buffers < Completion.SCATTERED), self._buffers,
                            Completion.SCATTERED)),
        ]
        m.d.sync += [
            chain.eq(self._following), self._there.eq(self.progress.chain != self._following),
            self._full.eq((self.progress.slot - base.slot)[:self.slot_bits] > self.slots - self.batch),
        ]
        with m.If(self._step):
            m.d.sync += [
                missing.eq(missing - capacity.bytes), self._buffers.eq(self._buffers + 1),
                alone.eq(alone & capacity.single),
            ]
        with m.If(self._fill.begin):
            m.d.sync += [missing.eq(self.frames.payload.length), self._buffers.eq(0), alone.eq(1)]

    def _choose(self, m):
        """What becomes of the frame by the chain at hand. If one is enough, its first element is taken at once."""
        with m.If(self._there & self._fits & (self._buffers == 0)):
            self._accept(m, 1)
            m.d.comb += [self._fill.wanted.eq(self._verdicts.ready), self._verdicts.valid.eq(self._fill.taken)]
            self._go_on(m)
        with m.Elif(self._there & (self._fits | (self.merge & self._holds_header))):
            m.d.comb += self._step.eq(1)
            with m.If(self._fits):
                m.next = "VERDICT"
        with m.Elif(self._there):
            self._drop(m, DropCause.TOO_LONG)
        with m.Elif(self._full):
            m.next = "MEASURE"
        with m.Else():
            m.next = "WAIT"

    def _accept(self, m, buffers):
        m.d.comb += [self._verdicts.payload.accept.eq(1), self._verdicts.payload.buffers.eq(buffers)]

    def _drop(self, m, cause):
        m.d.comb += [self._verdicts.payload.cause.eq(cause), self._verdicts.valid.eq(1)]
        with m.If(self._verdicts.ready):
            m.next = "FRAME"

    def _advance(self, m, slot):
        """`slot` is taken out of the cache."""
        after = Signal(self.slot_bits)
        m.d.comb += [after.eq(slot + 1), self._write.data.slot.eq(after), self._write.en.eq(1)]
        m.d.sync += [
            self._at.slot.eq(after),
            self.space.valid.eq((after & (self.batch // 2 - 1)) == 0), self.space.queue.eq(self._frame.queue),
        ]

    def _go_on(self, m):
        """After the element at hand: the next one, which is being read meanwhile if it is there, or a frame."""
        fill = self._fill
        m.d.comb += [self.cache_slot.eq(self._at.slot + 1), self.cache_enable.eq(fill.taken)]
        with m.If(fill.taken):
            with m.If(fill.ends):
                m.next = "FRAME"
            with m.Elif(self._measured):
                m.next = "NEXT"
            with m.Else():
                m.next = "TAKE"
