"""The table of MAC addresses to receive."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..virtqueue.initialise import InitialiseWalk

__all__ = ["AddressTable", "SETS", "WAYS", "address_set"]


# 128 addresses chosen at random fit without a full set 19 times out of 20.
SETS, WAYS = 256, 4
_SET_BITS = (SETS - 1).bit_length()

_Way = data.StructLayout({"used": 1, "any": 1, "address": 48})


def address_set(address):
    """The set of an address: its bytes, each turned by its place, added up without carry. A level of logic."""
    turned = [address[8 * n:8 * n + 8].rotate_left(n) for n in range(6)]
    return turned[0] ^ turned[1] ^ turned[2] ^ turned[3] ^ turned[4] ^ turned[5]


class AddressTable(wiring.Component):
    """Whether an address is in the table, a lookup every cycle; meanwhile a new table is built beside it.

    An address has a place in one of `WAYS` ways of its set, of `SETS`. A set that gets more takes everything that
    belongs to it from then on: a table of any size holds at least what was put into it.

    `begin` empties the new table, in `SETS` cycles; then `addresses` are taken, one a cycle; `commit` puts the new
    table in the place of the old one between two cycles. A table that was begun and not committed is nobody's.

    Attributes
    ----------
    lookup : In(48)
    hit : Out(1)
        a cycle later
    begin, commit : In(1)
        pulses; `commit` while `addresses.ready`
    addresses : stream of 48 bits in
    clear : In(1)
        pulse: the table is empty
    """

    lookup: In(48)
    hit: Out(1)
    begin: In(1)
    addresses: In(stream.Signature(48))
    commit: In(1)
    clear: In(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = InitialiseWalk(SETS, _SET_BITS)
        m.submodules.ways = ways = Memory(shape=data.ArrayLayout(_Way, WAYS), depth=2 * SETS, init=[])
        m.submodules.filled = filled = Memory(shape=range(WAYS + 1), depth=SETS, init=[])
        read, write = ways.read_port(), ways.write_port(granularity=1)
        count, recount = filled.read_port(domain="comb"), filled.write_port()
        # The bank that is looked at, the other one is being built; whether there is a table in it.
        bank, present = Signal(), Signal()
        asked = Signal(48, reset_less=True)
        looked = Signal()      # `present` when the memory was read
        m.d.comb += [
            read.addr.eq(Cat(address_set(self.lookup), bank)),
            self.hit.eq(looked & Cat(way.used & (way.any | (way.address == asked)) for way in read.data).any()),
        ]
        m.d.sync += [asked.eq(self.lookup), looked.eq(present)]
        with m.If(self.clear):
            m.d.sync += present.eq(0)
        with m.Elif(self.commit):
            m.d.sync += [bank.eq(~bank), present.eq(1)]

        place = Mux(walk.walking, walk.queue, address_set(self.addresses.payload))
        taken = self.addresses.valid & self.addresses.ready
        full = count.data == WAYS
        m.d.comb += [
            walk.clear.eq(self.begin), self.addresses.ready.eq(~walk.walking & ~self.begin),
            count.addr.eq(place), recount.addr.eq(place), recount.en.eq(walk.walking | taken),
            recount.data.eq(Mux(walk.walking, 0, count.data + ~full)),
            write.addr.eq(Cat(place, ~bank)),
            write.en.eq(Mux(walk.walking, ~0, Mux(taken, Cat((count.data == n) | (full & (n == WAYS - 1))
                                                             for n in range(WAYS)), 0))),
        ]
        for way in write.data:
            m.d.comb += [way.used.eq(~walk.walking), way.any.eq(full), way.address.eq(self.addresses.payload)]
        return m
