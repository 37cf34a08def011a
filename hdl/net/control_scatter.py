"""The reply's bytes into a device-writable element of the control virtqueue."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .control_memory import MemoryWrite
from .control_spec import Reply

__all__ = ["ControlScatter"]


class ControlScatter(wiring.Component):
    """Writes a reply to memory, one write for each DW that it touches, up to the end of the reply or of the element.

    A byte a cycle at best. Only enabled bytes of a DW are changed.

    Attributes
    ----------
    start : In(1)
        pulse: begin with, or go on in, the `length` bytes (possibly none) at `address`
    address, length : In
    reply : stream of Reply in
    taken : Out(1)
        pulse, a cycle late: a byte has been taken that is or will be written, unless `stop`
    full : Out(1)
        pulse: the element is at its end, or `stop`, and the reply is not
    ended : Out(1)
        pulse: the reply is at its end
    drain : In(1)
        not after `start` before `full` or `ended`: throw the reply away
    stop : In(1)
        write nothing more
    write, writing
        of `ControlMemory`
    """

    start: In(1)
    address: In(64)
    length: In(32)
    reply: In(stream.Signature(Reply))
    taken: Out(1)
    full: Out(1)
    ended: Out(1)
    drain: In(1)
    stop: In(1)
    write: Out(MemoryWrite)
    writing: In(1)

    def elaborate(self, platform):
        m = Module()
        address, left, some, finished = Signal(64), Signal(32), Signal(), Signal()     # `some`: `left` isn't 0
        word = Signal(data.StructLayout({"address": 64, "data": 32, "enables": 4}))
        byte, lane = self.reply.payload, address[:2]
        m.d.comb += [
            self.write.address.eq(word.address), self.write.data.eq(word.data), self.write.enables.eq(word.enables),
        ]
        m.d.sync += self.taken.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    address.eq(self.address), left.eq(self.length), some.eq(self.length != 0), word.enables.eq(0),
                ]
                m.d.comb += [self.reply.ready.eq(self.drain),
                             self.ended.eq(self.drain & self.reply.valid & byte.last)]
                with m.If(self.start):
                    m.next = "GATHER"
            with m.State("GATHER"):
                m.d.comb += self.reply.ready.eq(some)
                m.d.sync += self.taken.eq(self.reply.valid & some)
                with m.If(~some):
                    m.d.comb += self.full.eq(1)
                    m.next = "IDLE"
                with m.Elif(self.reply.valid):
                    m.d.sync += [
                        address.eq(address + 1), left.eq(left - 1), some.eq(left != 1),
                        word.address.eq(address), finished.eq(byte.last),
                        word.data.word_select(lane, 8).eq(byte.data), word.enables.bit_select(lane, 1).eq(1),
                    ]
                    with m.If((lane == 3) | (left == 1) | byte.last):
                        m.next = "STORE"
            with m.State("STORE"):
                with m.If(self.stop | ~self.writing):
                    m.d.comb += [self.write.valid.eq(~self.stop), self.ended.eq(finished),
                                 self.full.eq(self.stop & ~finished)]
                    m.d.sync += word.enables.eq(0)
                    m.next = "GATHER"
                    with m.If(self.stop | finished):
                        m.next = "IDLE"
        return m
