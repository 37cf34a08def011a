"""Buffers whose bytes are on their way to the host."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.stream import Queue, RegisterSlice

from .spec import FRAME_BITS, Completion

__all__ = ["Receipt", "Receipts"]


class Receipt(data.StructLayout):
    """Fields: `queue`; `id`; `length` bytes written; `slots` of the chain; `filled` as in `Completion`."""

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "id": 16, "length": FRAME_BITS, "slots": 16, "filled": 1})


class Receipts(wiring.Component):
    """Holds back the completion of each buffer until its packet was sent, so that used follows data.

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
    behind : In(1)
        another frame follows, beyond those whose receipts are inside
    clear : In(1)
        forget all
    completions : stream of Completion out
    idle : Out(1)
    """

    def __init__(self, queue_bits, depth):
        self.queue_bits = queue_bits
        self.depth = depth
        super().__init__({
            "i": In(stream.Signature(Receipt(queue_bits))),
            "sent": In(1),
            "behind": In(1),
            "clear": In(1),
            "completions": Out(stream.Signature(Completion(queue_bits))),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        held = Queue(Receipt(self.queue_bits), self.depth)
        m.submodules.held = ResetInserter(self.clear)(held)
        m.submodules.out_slice = out = RegisterSlice(Completion(self.queue_bits))
        sent = Signal(range(self.depth + 2))
        passes = held.o.valid & held.o.ready
        receipt, completion = held.o.payload, out.i.payload
        wiring.connect(m, wiring.flipped(self.i), held.i)
        wiring.connect(m, out.o, wiring.flipped(self.completions))
        m.d.comb += [
            out.i.valid.eq(held.o.valid & (sent != 0)),
            held.o.ready.eq(out.i.ready & (sent != 0)),
            completion.queue.eq(receipt.queue), completion.id.eq(receipt.id),
            completion.length.eq(receipt.length), completion.written.eq(1),
            completion.slots.eq(receipt.slots), completion.filled.eq(receipt.filled),
            # A frame whose buffer was handed out is behind as well, though no longer among those that wait.
            completion.behind.eq(self.behind | (held.level > 1)),
            self.idle.eq((held.level == 0) & ~self.completions.valid),
        ]
        with m.If(self.clear):
            m.d.sync += sent.eq(0)
        with m.Else():
            m.d.sync += sent.eq(sent + self.sent - passes)
        return m
