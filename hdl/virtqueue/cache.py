"""Descriptors or elements waiting to be taken, in a place of each queue."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .spec import Chain

__all__ = ["Cache", "CacheWrite"]


class CacheWrite(data.StructLayout):
    """Fields: `valid`; `queue`; `slot` place in the queue's part of the cache; `chain` what to store."""

    def __init__(self, queue_bits, slot_bits, entry=Chain()):
        super().__init__({"valid": 1, "queue": queue_bits, "slot": slot_bits, "chain": entry})


class Cache(wiring.Component):
    """Block memory of `slots` entries for each queue: one write and one read port.

    An entry written in one cycle is read when addressed in the next. The read takes one cycle; `read` holds its
    value while `read_enable` is low.

    Parameters
    ----------
    queues, queue_bits : int
    slots : int
        power of 2; slot numbers given to the ports are taken modulo this
    entry : shape-like
        what is stored
    """

    def __init__(self, queues, queue_bits, slots, entry=Chain()):
        self.queues = queues
        self.slots = slots
        self.entry = entry
        self.slot_bits = (slots - 1).bit_length()
        super().__init__({
            "write": In(CacheWrite(queue_bits, self.slot_bits, entry)),
            "read_queue": In(queue_bits),
            "read_slot": In(self.slot_bits),
            "read_enable": In(1),
            "read": Out(entry),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.entry, depth=self.queues * self.slots, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(Cat(self.write.slot, self.write.queue)),
            write.data.eq(self.write.chain),
            write.en.eq(self.write.valid),
            read.addr.eq(Cat(self.read_slot, self.read_queue)),
            read.en.eq(self.read_enable),
            self.read.eq(read.data),
        ]
        return m
