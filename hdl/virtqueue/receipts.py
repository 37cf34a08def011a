"""Buffers whose bytes are on their way to the host."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.stream import Queue, RegisterSlice

from .spec import FRAME_BITS, Completion, Pulse

__all__ = ["Receipt", "Receipts"]


class Receipt(data.StructLayout):
    """Fields: `queue`; `id`; `length` bytes written; `slots` of the chain; `filled`, `more`, `together` as in
    `Completion`; `behind` another frame of the queue, and a buffer for it, waited when this one got its own."""

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "id": 16, "length": FRAME_BITS, "slots": 16, "filled": 1, "more": 1,
                          "together": 6, "behind": 1})


class Receipts(wiring.Component):
    """Holds back the completion of each packet's last buffer until the packet was sent, so that used follows data.
    Those of its other buffers go ahead, as they may be more than there is room for: nobody shows them alone.

    A completion says that another one of its queue is `behind` if a receipt of that queue is inside, or if its own
    said so. What came since then and was not yet taken is not seen: the used descriptor goes out a little early.

    Parameters
    ----------
    queue_bits : int
    depth : int
        buffers under way at once

    Attributes
    ----------
    i : stream of Receipt in
        in the order of the packets
    sent : In(1)
        pulse: the next packet has its place in the posted order; may precede its receipt
    init : In(Pulse)
        forget all; each queue must be named
    completions : stream of Completion out
    idle : Out(1)
    """

    def __init__(self, queue_bits, depth):
        self.queue_bits = queue_bits
        self.depth = depth
        super().__init__({
            "i": In(stream.Signature(Receipt(queue_bits))),
            "sent": In(1),
            "init": In(Pulse(queue_bits)),
            "completions": Out(stream.Signature(Completion(queue_bits))),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        held = Queue(Receipt(self.queue_bits), self.depth)
        m.submodules.held = ResetInserter(self.init.valid)(held)
        m.submodules.out_slice = out = RegisterSlice(Completion(self.queue_bits))
        sent = Signal(range(self.depth + 2))
        free = (sent != 0) | held.o.payload.more
        passes = held.o.valid & held.o.ready & ~held.o.payload.more
        receipt, completion = held.o.payload, out.i.payload
        wiring.connect(m, wiring.flipped(self.i), held.i)
        wiring.connect(m, out.o, wiring.flipped(self.completions))
        m.d.comb += [
            out.i.valid.eq(held.o.valid & free),
            held.o.ready.eq(out.i.ready & free),
            completion.queue.eq(receipt.queue), completion.id.eq(receipt.id),
            completion.length.eq(receipt.length), completion.written.eq(receipt.length.any()),
            *[completion[field].eq(receipt[field]) for field in ("slots", "filled", "more", "together")],
            completion.behind.eq(receipt.behind | self._others(m, held)),
            self.idle.eq((held.level == 0) & ~self.completions.valid),
        ]
        with m.If(self.init.valid):
            m.d.sync += sent.eq(0)
        with m.Else():
            m.d.sync += sent.eq(sent + self.sent - passes)
        return m

    def _others(self, m, held):
        """Whether another receipt of the first one's queue is inside: by counts of those that came and that left, so
        that each memory has one writer."""
        counts = []
        for name, port in (("came", held.i), ("left", held.o)):
            m.submodules[name] = memory = Memory(shape=range(2 * self.depth + 1), depth=1 << self.queue_bits, init=[])
            write, own, first = memory.write_port(), memory.read_port(domain="comb"), memory.read_port(domain="comb")
            m.d.comb += [
                own.addr.eq(port.payload.queue), first.addr.eq(held.o.payload.queue),
                write.addr.eq(Mux(self.init.valid, self.init.queue, port.payload.queue)),
                write.data.eq(Mux(self.init.valid, 0, own.data + 1)),
                write.en.eq(self.init.valid | (port.valid & port.ready)),
            ]
            counts.append(first.data)
        came, left = counts
        return (left + 1)[:len(left)] != came
