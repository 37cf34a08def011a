"""Following the chain of IPv6 extension headers."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .spec import IPV6_HEADER_BYTES
from .window import SLOTS, SlotDigest

__all__ = ["ChainEnd", "ExtensionChain"]


class ChainEnd(data.Struct):
    """Where a chain of extension headers ends.

    Fields: `at` one-hot, the slot behind the last header with a length; `by` one-hot, which header names what is
    there: bit 0 the fixed header, bit n + 1 the extension header in slot n; `fragment` a fragment header is there;
    `broken` the frame ends within the chain; `routing`, `options` slots in which a routing header, or one with
    destination options, begins. Without a bit in `at` the chain goes on beyond the slots.
    """
    at: SLOTS
    by: SLOTS
    routing: SLOTS
    options: SLOTS
    fragment: 1
    broken: 1


class ExtensionChain(wiring.Component):
    """Follows IPv6 extension headers (RFC 8200, section 4), all of them within a cycle; no registers.

    Headers with a length are hop-by-hop options, routing and destination options; `SLOTS` - 1 times 8 bytes of them are
    followed. A fragment header ends the chain, as everything else does. Which slot names which is prepared for all
    slots at once, so that the path is one level of logic per slot.

    Attributes
    ----------
    first : In(SlotDigest); slots : In(array of SlotDigest)
        of the fixed header and of what may follow
    left : In
        bytes of the frame from the fixed header on
    end : Out(ChainEnd)
    """

    def __init__(self, left_bits):
        super().__init__({
            "first": In(SlotDigest), "slots": In(data.ArrayLayout(SlotDigest, SLOTS)), "left": In(left_bits),
            "end": Out(ChainEnd),
        })

    def elaborate(self, platform):
        m = Module()
        slots, end = self.slots, self.end
        def begin(n, kind):
            """A header whose name has `kind` begins in slot n."""
            before = [begins[k] & slots[k].length[n - k - 1] & slots[k][kind] for k in range(n)]
            return Cat(before).any() if n else self.first[kind]
        begins = []     # an extension header with a length begins in slot n
        for n in range(SLOTS):
            begins.append(Signal(name=f"begins{n}"))
            m.d.comb += [begins[n].eq(begin(n, "extends")),
                         end.routing[n].eq(begin(n, "routing")), end.options[n].eq(begin(n, "options"))]
        by = [~self.first.extends, *(begins[n] & ~slots[n].extends for n in range(SLOTS - 1))]
        for n in range(SLOTS):
            named = [by[k + 1] & slots[k].length[n - k - 1] for k in range(n)]
            m.d.comb += end.at[n].eq(Cat(named).any() if n else by[0])
        outside = [begins[n] & (self.left < IPV6_HEADER_BYTES + 8 * (n + 1)) for n in range(SLOTS)]
        m.d.comb += [
            end.by.eq(Cat(by)),
            end.fragment.eq(Cat(bit & digest.fragment for bit, digest in zip(by, [self.first, *slots])).any()),
            end.broken.eq(Cat(outside).any()),
        ]
        return m
