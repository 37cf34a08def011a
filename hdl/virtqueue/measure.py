"""Finding out whether a frame fits into buffers of more elements than the cache holds."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .spec import FRAME_BITS, BufferElement, Position
from .stages import Progress, Rewind, slot_bits

__all__ = ["Measure", "MeasureRequest"]


class MeasureRequest(data.StructLayout):
    """Fields: `queue`; `length` bytes wanted; `slot`, `chain`, `position` of the first chain's head in the cache, in
    chain numbers, and in the ring."""

    def __init__(self, queue_bits, slot_bits):
        super().__init__({"queue": queue_bits, "length": FRAME_BITS, "slot": slot_bits, "chain": slot_bits,
                          "position": Position})


class Measure(wiring.Component):
    """Adds up the device-writable elements of a chain, or with `merge` of as many as are needed. 2 cycles an element.

    They are taken out while they arrive, to make room for the rest; then all is fetched again from the first head,
    whether the frame fits or not. It does not fit if the chain ends too early; with `merge`, if the first one does not
    hold the frame's header, or if behind a chain nothing more comes; or if an element does not arrive for `PATIENCE`
    cycles, or at once in `quiesce`.

    Parameters
    ----------
    queue_bits : int
    cache : int
        elements cached per queue

    Attributes
    ----------
    requests : stream in
        taken when the measuring begins, and constant until `done`
    quiesce : In(1)
    merge : In(1); header_bytes : In(6)
        see `WalkReceive`
    dry : In(1)
        nothing of the queue was about to come a cycle ago
    slot : Out
        address the cache here, with `enable`; when done: where the chain's head is, or will be
    enable : Out(1); cache : In(BufferElement)
    progress : In(Progress)
        of the queue
    taking : Out(1)
        `slot` is taken out of the cache in this cycle
    rewinds : stream of Rewind out; rewound : In(1)
    done : Out(1)
        pulse; with it `fits` and `buffers`
    fits : Out(1); buffers : Out(16)
        whether and into how many
    """

    PATIENCE = 4096

    def __init__(self, queue_bits, *, cache):
        self.slot_bits = slot_bits(cache)
        super().__init__({
            "requests": In(stream.Signature(MeasureRequest(queue_bits, self.slot_bits))),
            "quiesce": In(1), "merge": In(1), "header_bytes": In(6), "dry": In(1),
            "slot": Out(self.slot_bits),
            "enable": Out(1),
            "cache": In(BufferElement()),
            "progress": In(Progress(self.slot_bits)),
            "taking": Out(1),
            "rewinds": Out(stream.Signature(Rewind(queue_bits, self.slot_bits))),
            "rewound": In(1),
            "done": Out(1),
            "fits": Out(1), "buffers": Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        request, rewind = self.requests.payload, self.rewinds.payload
        sum = Signal(FRAME_BITS + 2)
        capacity = Signal(FRAME_BITS + 1)
        ended = Signal()        # the element before was a chain's last
        enough, arrived, hopeless = Signal(), Signal(), Signal()
        waited = Signal(range(self.PATIENCE + 1))
        m.d.comb += [
            capacity.eq(Mux(self.cache.length[FRAME_BITS:].any(), 1 << FRAME_BITS, self.cache.length)),
            rewind.queue.eq(request.queue), rewind.position.eq(request.position),
            rewind.slot.eq(self.slot), rewind.chain.eq(request.chain),
            enough.eq(sum >= request.length), arrived.eq(self.progress.slot != self.slot),
            hopeless.eq(ended & (~self.merge | ((self.buffers == 1) & (sum < self.header_bytes))
                                 | (self.dry & ~arrived))),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.requests.ready.eq(1)
                with m.If(self.requests.valid):
                    m.d.sync += [
                        self.slot.eq(request.slot), self.buffers.eq(0), sum.eq(0), ended.eq(0), waited.eq(0),
                    ]
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += self.enable.eq(1)
                m.d.sync += [self.fits.eq(enough), waited.eq(waited + 1)]
                with m.If(enough | hopeless):
                    m.d.sync += self.buffers.eq(self.buffers + ~ended)
                    m.next = "FINISH"
                with m.Elif(arrived):
                    m.next = "TAKE"
                with m.Elif(self.quiesce | (waited == self.PATIENCE)):
                    m.next = "FINISH"
            with m.State("TAKE"):
                with m.If(self.cache.write):
                    m.d.sync += sum.eq(sum + capacity)
                m.d.comb += self.taking.eq(1)
                m.d.sync += [
                    self.slot.eq(self.slot + 1), self.buffers.eq(self.buffers + self.cache.last),
                    ended.eq(self.cache.last), waited.eq(0),
                ]
                m.next = "NEXT"
            with m.State("FINISH"):
                m.d.comb += self.rewinds.valid.eq(1)
                with m.If(self.rewinds.ready):
                    m.next = "REWIND"
            with m.State("REWIND"):
                with m.If(self.rewound):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
        return m
