"""Finding out whether a frame fits into a chain of several descriptors, also one longer than the cache."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .spec import FRAME_BITS, BufferElement, Position
from .stages import Progress, Rewind, slot_bits

__all__ = ["Measure", "MeasureRequest"]


class MeasureRequest(data.StructLayout):
    """Fields: `queue`; `length` bytes wanted; `slot`, `chain`, `position` of the chain's head in the cache, in chain
    numbers, and in the ring; `partial` the chain is not wholly in the cache."""

    def __init__(self, queue_bits, slot_bits):
        super().__init__({"queue": queue_bits, "length": FRAME_BITS, "slot": slot_bits, "chain": slot_bits,
                          "position": Position, "partial": 1})


class Measure(wiring.Component):
    """Adds up the device-writable elements of a chain until they are enough or the chain ends. 2 cycles an element.

    A chain that is wholly in the cache stays as it is. Of a `partial` one the elements are taken out while they
    arrive, to make room for the rest; then the chain is fetched again from its head, whether the frame fits or not.
    When an element does not arrive for `PATIENCE` cycles, or at once in `quiesce`, the frame does not fit.

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
    slot : Out
        address the cache here, with `enable`; when done: where the chain's head is, or will be
    enable : Out(1); cache : In(BufferElement)
    progress : In(Progress)
        of the queue
    taking : Out(1)
        `slot` is taken out of the cache in this cycle
    rewinds : stream of Rewind out; rewound : In(1)
    done : Out(1)
        pulse; with it `fits`
    fits : Out(1)
    """

    PATIENCE = 4096

    def __init__(self, queue_bits, *, cache):
        self.slot_bits = slot_bits(cache)
        super().__init__({
            "requests": In(stream.Signature(MeasureRequest(queue_bits, self.slot_bits))),
            "quiesce": In(1),
            "slot": Out(self.slot_bits),
            "enable": Out(1),
            "cache": In(BufferElement()),
            "progress": In(Progress(self.slot_bits)),
            "taking": Out(1),
            "rewinds": Out(stream.Signature(Rewind(queue_bits, self.slot_bits))),
            "rewound": In(1),
            "done": Out(1),
            "fits": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        request, rewind = self.requests.payload, self.rewinds.payload
        sum = Signal(FRAME_BITS + 2)
        capacity = Signal(FRAME_BITS + 1)
        ended = Signal()
        waited = Signal(range(self.PATIENCE + 1))
        m.d.comb += [
            capacity.eq(Mux(self.cache.length[FRAME_BITS:].any(), 1 << FRAME_BITS, self.cache.length)),
            rewind.queue.eq(request.queue), rewind.position.eq(request.position),
            rewind.slot.eq(self.slot), rewind.chain.eq(request.chain),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.requests.ready.eq(1)
                with m.If(self.requests.valid):
                    m.d.sync += [self.slot.eq(request.slot), sum.eq(0), ended.eq(0), waited.eq(0)]
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += self.enable.eq(1)
                m.d.sync += [self.fits.eq(sum >= request.length), waited.eq(waited + 1)]
                with m.If((sum >= request.length) | ended):
                    m.next = "FINISH"
                with m.Elif(self.progress.slot != self.slot):
                    m.next = "TAKE"
                with m.Elif(self.quiesce | (waited == self.PATIENCE)):
                    m.next = "FINISH"
            with m.State("TAKE"):
                with m.If(self.cache.write):
                    m.d.sync += sum.eq(sum + capacity)
                m.d.comb += self.taking.eq(request.partial)
                m.d.sync += [self.slot.eq(self.slot + 1), ended.eq(self.cache.last), waited.eq(0)]
                m.next = "NEXT"
            with m.State("FINISH"):
                with m.If(request.partial):
                    m.d.comb += self.rewinds.valid.eq(1)
                    with m.If(self.rewinds.ready):
                        m.next = "REWIND"
                with m.Else():
                    m.d.comb += self.done.eq(1)
                    m.d.sync += self.slot.eq(request.slot)
                    m.next = "IDLE"
            with m.State("REWIND"):
                with m.If(self.rewound):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
        return m
