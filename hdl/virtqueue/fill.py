"""Spreading a frame over the elements of its buffers."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import WriteCommand
from hdl.stream import RegisterSlice

from .receipts import Receipts
from .spec import FRAME_BITS, BufferElement, Completion, Frame, Position, Pulse
from .stages import Capacity

__all__ = ["Fill"]


class Fill(wiring.Component):
    """Takes elements one by one: writes for exactly the bytes of a frame, and a receipt for each of its buffers.

    An element a cycle. All of a frame's buffers but the last are filled to their last byte. The used descriptor of
    each has the id of its last element and the bytes written there.

    Parameters
    ----------
    queue_bits : int
    depth : int
        buffers that may be under way between `writes` and `packet_sent`

    Attributes
    ----------
    init : In(Pulse)
    begin : In(1); frame : In(Frame), position : In(Position), follows : In(1)
        a frame, where its first buffer stands in the ring, and whether another one of its queue waits; before its
        elements
    last_slot : In(15)
        index of the ring's last slot
    wanted : In(1), element : In(BufferElement), capacity : In(Capacity)
        take this element; `capacity` of its buffer, valid with the buffer's last element
    together : In(6)
        see `Completion`
    another : In(1)
        there is a buffer behind that of the element
    taken, ends : Out(1)
        the element is taken; with it the frame's last buffer ends
    behind : Out(Position)
        ring position behind the element
    abandon : In(1); abandoned : Out(1)
        end the packet without the elements that are missing
    writes : stream of WriteCommand out
    packet_sent : In(1)
        see `Receipts`
    begun : Out(Pulse)
        the last buffer of a packet has its receipt
    completions : stream of Completion out
    idle : Out(1)
    """

    def __init__(self, queue_bits, depth):
        self.queue_bits = queue_bits
        self.depth = depth
        super().__init__({
            "init": In(Pulse(queue_bits)),
            "begin": In(1), "frame": In(Frame(queue_bits)), "position": In(Position), "follows": In(1),
            "last_slot": In(15), "another": In(1),
            "wanted": In(1), "element": In(BufferElement()), "capacity": In(Capacity), "together": In(6),
            "taken": Out(1), "ends": Out(1), "behind": Out(Position),
            "abandon": In(1), "abandoned": Out(1),
            "writes": Out(stream.Signature(WriteCommand(queue_bits))),
            "packet_sent": In(1), "begun": Out(Pulse(queue_bits)),
            "completions": Out(stream.Signature(Completion(queue_bits))),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        self._outputs(m)
        element, write, receipt = self.element, self._writes.payload, self._receipts.payload
        queue, end = Signal(self.queue_bits), Signal(Position)      # `end`: place of the element at hand
        remaining, left = Signal(FRAME_BITS), Signal(FRAME_BITS)    # bytes to come; as the buffer at hand began
        slots, follows = Signal(16), Signal()                       # of the buffer so far; another frame waits
        piece, cut, puts, free = Signal(FRAME_BITS), Signal(), Signal(), Signal()
        unmet = Signal()
        m.d.comb += [
            unmet.eq(remaining.any()),
            cut.eq(element.length >= remaining), piece.eq(Mux(cut | self.abandon, remaining, element.length)),
            puts.eq(element.write & element.length.any() & unmet),
            free.eq(~element.last | self._receipts.ready),
            self.taken.eq(self.wanted & (~puts | self._writes.ready) & free),
            self.ends.eq(element.last & (~unmet | (element.write & cut))),
            self.abandoned.eq(~unmet | self._writes.ready),
            write.queue.eq(queue), write.address.eq(element.address), write.length.eq(piece),
            write.last.eq(cut | self.abandon),
            self._writes.valid.eq((self.wanted & puts & free) | (self.abandon & unmet)),
            receipt.queue.eq(queue), receipt.id.eq(element.id), receipt.slots.eq(slots + element.ring),
            receipt.length.eq(Mux(self.ends, left, self.capacity.bytes)),
            receipt.filled.eq(~self.ends | (self.capacity.bytes == left)),
            receipt.more.eq(~self.ends), receipt.together.eq(self.together),
            # Without a buffer for the next one, the driver has to see first what is used.
            receipt.behind.eq(follows & self.another),
            self._receipts.valid.eq(self.taken & element.last),
            self.behind.eq(self._behind(end)),
        ]
        with m.If(self.taken):
            m.d.sync += [slots.eq(Mux(element.last, 0, slots + element.ring)), end.eq(self.behind)]
            with m.If(puts):
                m.d.sync += remaining.eq(remaining - piece)
            with m.If(element.last):
                m.d.sync += left.eq(left - self.capacity.bytes)
        with m.If(self.begin):
            m.d.sync += [
                queue.eq(self.frame.queue), remaining.eq(self.frame.length), left.eq(self.frame.length),
                end.eq(self.position), slots.eq(0), follows.eq(self.follows),
            ]
        return m

    def _outputs(self, m):
        """Registers at the outputs; behind them nothing depends on who is ready."""
        m.submodules.writes = writes = RegisterSlice(WriteCommand(self.queue_bits))
        m.submodules.receipts = receipts = Receipts(self.queue_bits, self.depth)
        wiring.connect(m, writes.o, wiring.flipped(self.writes))
        wiring.connect(m, receipts.completions, wiring.flipped(self.completions))
        m.d.comb += [
            receipts.sent.eq(self.packet_sent), receipts.init.eq(self.init),
            self.begun.queue.eq(receipts.i.payload.queue),
            self.begun.valid.eq(receipts.i.valid & receipts.i.ready & ~receipts.i.payload.more),
            self.idle.eq(~self.writes.valid & receipts.idle),
        ]
        self._writes, self._receipts = writes.i, receipts.i

    def _behind(self, end):
        ends = self.element.ring & (end.index == self.last_slot)
        return Cat(Mux(ends, 0, end.index + self.element.ring)[:15], end.wrap ^ ends)
