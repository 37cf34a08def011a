"""A reply of any length, cut at the room that there is for it."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .control_spec import ROOM_BITS, Reply

__all__ = ["Result"]


class Result(wiring.Component):
    """Marks the last byte of a reply that does not know its end when it gives a byte: a byte waits inside until the
    next one comes, or `done`, or there is no room for another.

    Attributes
    ----------
    start : In(1); room : In(ROOM_BITS)
        pulse: a reply begins, of at most `room` bytes, at least 1; `room` holds up to `ended`
    bytes : stream of 8 bits in
        at least one for each `start`
    acks : In(1)
        with a byte: it is the ack
    done : In(1)
        there are no more; up to `ended`
    reply : stream of Reply out
    ended : Out(1)
        pulse: the last byte is being taken
    """

    start: In(1)
    room: In(ROOM_BITS)
    bytes: In(stream.Signature(8))
    acks: In(1)
    done: In(1)
    reply: Out(stream.Signature(Reply))
    ended: Out(1)

    def elaborate(self, platform):
        m = Module()
        held, left = Signal(), Signal(ROOM_BITS)     # a byte is inside; bytes that fit, it included
        byte, acks = Signal(8), Signal()
        last = (left == 1) | self.done
        taken = self.reply.valid & self.reply.ready
        m.d.comb += [
            self.reply.payload.data.eq(byte), self.reply.payload.ack.eq(acks), self.reply.payload.last.eq(last),
            self.reply.valid.eq(held & (last | self.bytes.valid)),
            self.bytes.ready.eq(~held | (self.reply.ready & ~last)),
            self.ended.eq(taken & last),
        ]
        with m.If(self.bytes.valid & self.bytes.ready):
            m.d.sync += [held.eq(1), byte.eq(self.bytes.payload), acks.eq(self.acks)]
        with m.Elif(taken):
            m.d.sync += held.eq(0)
        with m.If(self.start):
            m.d.sync += left.eq(self.room)
        with m.Elif(taken):
            m.d.sync += left.eq(left - 1)
        return m
