"""How many bytes each buffer holds, known as soon as its last element is there."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .spec import FRAME_BITS, Pulse
from .stages import Capacity, Stored

__all__ = ["Capacities", "MOST"]

# A capacity of so many bytes or more counts as this: no frame is longer.
MOST = (1 << FRAME_BITS) - 1


class _Sum(data.Struct):
    """Bytes so far of a buffer that has `begun`."""
    bytes: FRAME_BITS
    begun: 1


class Capacities(wiring.Component):
    """Adds up the device-writable bytes of each buffer while its elements are stored, one a cycle.

    The elements of a buffer come in order, but those of a direct chain and those of tables may come in turn: there is
    a sum for each kind and queue. A capacity is read like an element: a cycle after the last element was stored.

    Parameters
    ----------
    queues, queue_bits : int
    elements : int
        cached per queue: there are never more buffers

    Attributes
    ----------
    init : In(Pulse)
    stored : In(Stored)
    read_queue, read_chain, read_enable : In; read : Out(Capacity)
        of a buffer, `bytes` at most `MOST`; the read takes one cycle and holds its value while not enabled
    """

    def __init__(self, queues, queue_bits, elements):
        self.queues = queues
        self.queue_bits = queue_bits
        self.elements = elements
        self.slot_bits = elements.bit_length()
        super().__init__({
            "init": In(Pulse(queue_bits)),
            "stored": In(Stored(queue_bits, self.slot_bits)),
            "read_queue": In(queue_bits), "read_chain": In(self.slot_bits - 1), "read_enable": In(1),
            "read": Out(Capacity),
        })

    def elaborate(self, platform):
        m = Module()
        stored = self.stored
        m.submodules.memory = capacities = Memory(shape=Capacity, depth=self.queues * self.elements, init=[])
        write, read = capacities.write_port(), capacities.read_port()
        sum, after = Signal(FRAME_BITS + 1), Signal(_Sum)
        direct = self._sum(m, "direct", ~stored.table, after)
        table = self._sum(m, "table", stored.table, after)
        before = Mux(stored.table, table.bytes, direct.bytes)
        m.d.comb += [
            sum.eq(before + Mux(stored.write, stored.length[:FRAME_BITS], 0)),
            after.begun.eq(1), after.bytes.eq(sum),
            write.addr.eq(Cat(stored.chain[:-1], stored.queue)), write.en.eq(stored.valid & stored.last),
            write.data.bytes.eq(after.bytes), write.data.single.eq(stored.table | ~direct.begun),
            read.addr.eq(Cat(self.read_chain, self.read_queue)), read.en.eq(self.read_enable), self.read.eq(read.data),
        ]
        with m.If(sum[-1] | (stored.write & stored.length[FRAME_BITS:].any())):
            m.d.comb += after.bytes.eq(MOST)
        return m

    def _sum(self, m, name, chosen, after):
        """What is known of the buffer of that kind that is being stored; 0 between buffers and after a rewind."""
        stored = self.stored
        m.submodules[name] = sums = Memory(shape=_Sum, depth=1 << self.queue_bits, init=[])
        write, read = sums.write_port(), sums.read_port(domain="comb")
        m.d.comb += [
            read.addr.eq(stored.queue), write.addr.eq(stored.queue),
            write.data.eq(Mux(stored.last | stored.rewind, 0, after.as_value())),
            write.en.eq(stored.rewind | (stored.valid & chosen)),
        ]
        with m.If(self.init.valid):
            m.d.comb += [write.addr.eq(self.init.queue), write.data.eq(0), write.en.eq(1)]
        return read.data
