"""What the flags of a whole batch say, before its descriptors are looked at one by one."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import FetchContext, ReadBeat
from hdl.stream import Queue

from .spec import Descriptor

__all__ = ["LINE", "Mark", "Marks", "ends_in_line", "ones"]


# Descriptors in a 64-byte line of host memory.
LINE = 4


class Marks(data.StructLayout):
    """A bit for each descriptor of a batch, the first one lowest, and 0 beyond its end.

    Fields: `right` AVAIL and USED are those of an available descriptor of its pass; `next` NEXT; `all` all are
    `right`; `behind` as in `ReadBeat`.
    """

    def __init__(self, batch):
        super().__init__({"right": batch, "next": batch, "all": 1, "behind": 1})


def ends_in_line(right, next, lane):
    """Whether the chain of the element at hand ends before the last place of its 64-byte line, with right bits up to
    there, and a head with right bits stands behind it in that line.

    Bit 0 of `right` and `next` is the element's, `lane` its place in the line.
    """
    cases = []
    for end in range(LINE - 1):
        inside = [right[n] & next[n] for n in range(end)]
        cases.append(Cat(*inside, right[end] & ~next[end], right[end + 1], lane < LINE - 1 - end).all())
    return Cat(cases).any()


def ones(bits):
    """How many 1s `bits` begins with."""
    count = C(len(bits))
    for n in reversed(range(len(bits))):
        count = Mux(bits[n], count, n)
    return count


class Mark(wiring.Component):
    """Listens to the beats that go to `Narrow`, and gives `Marks` of each batch no later than `Narrow` offers it.

    Parameters
    ----------
    width, queue_bits, batch : int
        as in `Narrow`

    Attributes
    ----------
    beats : In(ReadBeat)
    taken : In(1)
        the beat is transferred in this cycle
    marks : stream of Marks out
    """

    def __init__(self, width, queue_bits, batch):
        self.lanes = width // 128
        self.batch_beats = -(-batch // self.lanes)
        self.layout = Marks(batch)
        super().__init__({
            "beats": In(ReadBeat(width, queue_bits)),
            "taken": In(1),
            "marks": Out(stream.Signature(self.layout)),
        })

    def elaborate(self, platform):
        m = Module()
        lanes, beats = self.lanes, self.beats
        # As deep as the batches of `Narrow`.
        m.submodules.queue = queue = Queue(self.layout, 4 * self.batch_beats + 2, block=False, through=True)
        wiring.connect(m, queue.o, wiring.flipped(self.marks))
        now, before, number = Signal(self.layout), Signal(self.layout), Signal(range(self.batch_beats))
        context = FetchContext()(beats.context)
        descriptors = [Descriptor(beats.data.word_select(lane, 128)) for lane in range(lanes)]
        there = [beats.bytes >= 16 * (lane + 1) for lane in range(lanes)]
        right = Cat(d.is_available(context.wrap) & t for d, t in zip(descriptors, there))
        next = Cat(d.flags.next & t for d, t in zip(descriptors, there))
        m.d.comb += [now.eq(before), now.behind.eq(beats.behind),
                     now.all.eq(((number == 0) | before.all) & (right | ~Cat(there)).all())]
        with m.Switch(number):
            for n in range(self.batch_beats):
                with m.Case(n):
                    m.d.comb += [now.right[n * lanes:(n + 1) * lanes].eq(right),
                                 now.next[n * lanes:(n + 1) * lanes].eq(next)]
        m.d.comb += [queue.i.payload.eq(now), queue.i.valid.eq(self.taken & beats.last)]
        with m.If(self.taken):
            m.d.sync += [number.eq(number + 1), before.eq(now)]
            with m.If(beats.last):
                m.d.sync += [number.eq(0), before.eq(0)]
        return m
