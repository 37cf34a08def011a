"""From beats of a fetch to descriptors."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import FetchContext, ReadBeat, ReadStatus
from hdl.stream import Queue

from .spec import Descriptor

__all__ = ["Batch", "Narrow"]


class Batch(data.StructLayout):
    """A fetch that has arrived. Fields: `queue`; `status` of the read; `context` what was asked for."""

    def __init__(self, queue_bits, context):
        super().__init__({"queue": queue_bits, "status": ReadStatus, "context": context})


class Narrow(wiring.Component):
    """Stores fetches whole and hands out their descriptors one by one.

    A batch is offered with its last beat, which carries the status, if nothing is inside. Its first descriptor is
    offered no later than in the cycle after that, the others one a cycle. The descriptors of a batch must be
    taken, down to the one with `descriptor_last`, or be passed over by `skip`, one beat a cycle.

    Parameters
    ----------
    width, queue_bits : int
    batch : int
        most descriptors in one fetch
    context : data.Layout
        what a read carries along

    Attributes
    ----------
    beats : stream of ReadBeat in
    room : Out(1)
        there is space for two whole batches: one that is decided upon now and one that may be on its way here
    batches : stream of Batch out
    descriptors : stream of Descriptor out
    descriptor_last : Out(1)
        last descriptor of its batch, beside `descriptors`
    skip : In(1)
        leave out the rest of the beat at hand
    beat_last : Out(1)
        the beat at hand is the batch's last, beside `descriptors`
    empty : Out(1)
    """

    def __init__(self, width, queue_bits, batch, context=FetchContext()):
        self.width = width
        self.queue_bits = queue_bits
        self.batch_layout = Batch(queue_bits, context)
        self.lanes = width // 128
        self.batch_beats = -(-batch // self.lanes)
        super().__init__({
            "beats": In(stream.Signature(ReadBeat(width, queue_bits))),
            "room": Out(1),
            "batches": Out(stream.Signature(self.batch_layout)),
            "descriptors": Out(stream.Signature(Descriptor)),
            "descriptor_last": Out(1),
            "skip": In(1),
            "beat_last": Out(1),
            "empty": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = range(self.lanes)
        beat = data.StructLayout({"data": self.width, "lanes": lanes, "last": 1})
        m.submodules.beats = stored = Queue(beat, 4 * self.batch_beats, block=False, through=True)
        # As many batches as beats: short fetches may be a beat each. Two more whose beats are not stored any more: that
        # of the beat at hand, and one whose descriptors are all taken.
        m.submodules.batches = batches = Queue(self.batch_layout, 4 * self.batch_beats + 2, block=False,
                                               through=True)
        beats = self.beats.payload
        m.d.comb += [
            stored.i.payload.data.eq(beats.data),
            # Index of the last whole descriptor; a beat with none is one of a failed read, which nobody looks at.
            stored.i.payload.lanes.eq((beats.bytes >> 4) - 1),
            stored.i.payload.last.eq(beats.last),
            stored.i.valid.eq(self.beats.valid),
            self.beats.ready.eq(stored.i.ready),
            batches.i.payload.queue.eq(beats.queue),
            batches.i.payload.status.eq(beats.status),
            batches.i.payload.context.eq(beats.context),
            batches.i.valid.eq(self.beats.valid & stored.i.ready & beats.last),
            self.room.eq(stored.level <= 2 * self.batch_beats),
        ]
        wiring.connect(m, batches.o, wiring.flipped(self.batches))

        # The beat at hand is shifted down descriptor by descriptor.
        hand = Signal(beat)
        held = Signal()
        ends = Signal()
        m.d.comb += [
            self.descriptors.valid.eq(held),
            self.descriptors.payload.eq(hand.data[:128]),
            self.beat_last.eq(hand.last),
            self.descriptor_last.eq(hand.last & (hand.lanes == 0)),
            ends.eq(held & (self.skip | (self.descriptors.ready & (hand.lanes == 0)))),
            stored.o.ready.eq(~held | ends),
            self.empty.eq(~held & (stored.level == 0) & ~self.batches.valid),
        ]
        with m.If(stored.o.ready):
            m.d.sync += [hand.eq(stored.o.payload), held.eq(stored.o.valid)]
        with m.Elif(held & self.descriptors.ready):
            m.d.sync += [hand.data.eq(hand.data >> 128), hand.lanes.eq(hand.lanes - 1)]
        return m
