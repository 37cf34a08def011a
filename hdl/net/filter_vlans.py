"""The set of VLANs to receive."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..virtqueue.initialise import InitialiseWalk

__all__ = ["VlanChange", "VlanTable"]


# VLANs whose bits are side by side in the memory: so emptying takes no longer than 128 cycles.
_ROW_BITS = 5


class VlanChange(data.Struct):
    """Pulse: a VLAN is to be in the set, or not. Fields: `valid`; `add` or take away; `vlan` identifier."""
    valid: 1
    add: 1
    vlan: 12


class VlanTable(wiring.Component):
    """A bit for each of 4096 VLANs: a lookup and a change every cycle. Empties itself after reset and `clear`.

    Attributes
    ----------
    lookup : In(12)
    member : Out(1)
        a cycle later; a change shows in lookups of the cycles after it
    change : In(VlanChange)
        not while `clearing`
    clear : In(1); clearing : Out(1)
    """

    lookup: In(12)
    member: Out(1)
    change: In(VlanChange)
    clear: In(1)
    clearing: Out(1)

    def elaborate(self, platform):
        m = Module()
        row_bits = 12 - _ROW_BITS
        m.submodules.walk = walk = InitialiseWalk(1 << row_bits, row_bits)
        m.submodules.rows = rows = Memory(shape=1 << _ROW_BITS, depth=1 << row_bits, init=[])
        read, before, write = rows.read_port(), rows.read_port(domain="comb"), rows.write_port()
        column = Signal(_ROW_BITS)
        change = self.change
        bit = 1 << change.vlan[:_ROW_BITS]
        m.d.sync += column.eq(self.lookup)
        m.d.comb += [
            read.addr.eq(self.lookup[_ROW_BITS:]), self.member.eq(Array(read.data)[column]),
            before.addr.eq(change.vlan[_ROW_BITS:]),
            write.addr.eq(Mux(walk.walking, walk.queue, change.vlan[_ROW_BITS:])),
            write.en.eq(walk.walking | change.valid),
            write.data.eq(Mux(walk.walking, 0, Mux(change.add, before.data | bit, before.data & ~bit))),
            walk.clear.eq(self.clear), self.clearing.eq(walk.walking),
        ]
        return m
