"""The first bytes of a frame, gathered from its beats and aligned behind its VLAN tags."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat
from .spec import ETHERNET_HEADER_BYTES, IPV6_HEADER_BYTES, VLAN_TAG_BYTES, EtherType, Protocol, is_vlan_tag

__all__ = ["AlignedHeaders", "HeaderWindow", "LONGEST_IHL", "REACH", "SHORTEST_IHL", "SLOTS", "SlotDigest",
           "one_hot_choice"]


# Bytes of a frame that are looked at.
REACH = 128
# Places, 8 bytes apart behind the fixed IPv6 header, where an extension header or the transport header may begin.
SLOTS = 8
# Of the network layer: the fixed IPv6 header and the slots.
L3_BYTES = IPV6_HEADER_BYTES + 8 * SLOTS
# Header length of IPv4, in words of 4 bytes.
SHORTEST_IHL, LONGEST_IHL = 5, 15
NEXT_HEADER_AT = 6     # in the fixed IPv6 header
# Of the EtherType behind 0, 1 and 2 VLAN tags.
TYPE_AT = [ETHERNET_HEADER_BYTES - 2 + VLAN_TAG_BYTES * tags for tags in range(3)]


def one_hot_choice(bits, values):
    """The value whose bit of the one-hot `bits` is set; 0 without any."""
    choices = [Mux(bit, value, 0) for bit, value in zip(bits, values)]
    while len(choices) > 1:
        choices = [choices[n] | choices[n + 1] if n + 1 < len(choices) else choices[n]
                   for n in range(0, len(choices), 2)]
    return choices[0]


class SlotDigest(data.Struct):
    """The first two bytes of an IPv6 extension header, read in advance of knowing that one begins there.

    `next_header`; whether that is a header with a length, `extends`, and then whether it is a `routing` header or one
    with destination `options`, or a `fragment` header; `length` bit n: this header has 8 * (n + 1) bytes.
    """
    next_header: 8
    extends: 1
    routing: 1
    options: 1
    fragment: 1
    length: SLOTS - 1


class AlignedHeaders(data.StructLayout):
    """A frame's headers, network layer from byte 0 of `l3`; bytes that the frame doesn't have mean nothing.

    Fields: `destination_mac`, `source_mac`, `tags`, `outer_tag`, `customer_tag`, `inner_tag`, `ethertype` as in
    `PacketHeaders`;
    `ipv4`, `ipv6` by EtherType alone; `cut` the frame ends before its EtherType; `left` bytes of the frame behind the
    EtherType that are within reach; `first` digest of the fixed IPv6 header (without length), `slots` of what may
    follow; `context` as given with the frame.
    """

    def __init__(self, context_bits):
        super().__init__({
            "destination_mac": 48, "source_mac": 48, "tags": 2, "outer_tag": 16, "customer_tag": 1, "inner_tag": 16,
            "ethertype": 16,
            "ipv4": 1, "ipv6": 1, "cut": 1, "left": range(REACH - ETHERNET_HEADER_BYTES + 1),
            "l3": data.ArrayLayout(8, L3_BYTES), "first": SlotDigest, "slots": data.ArrayLayout(SlotDigest, SLOTS),
            "context": context_bits,
        })


class HeaderWindow(wiring.Component):
    """Watches beats go by; one cycle after a frame's last beat, or the beat with its `REACH`th byte, whichever comes
    first, gives its aligned headers. Takes a beat a cycle, also if each is a frame.

    Offsets of the network layer differ by 4 bytes only, so aligning is a choice of three per bit.

    Parameters
    ----------
    width : int
        bits per beat
    context_bits : int

    Attributes
    ----------
    beat : In(PacketBeat(width)); taken : In(1)
        a beat goes by; every frame has one with `last`
    context : In(context_bits)
        goes with the headers; sampled with the last beat that they need
    valid : Out(1); o : Out(AlignedHeaders)
        `o` is meaningful while `valid`, which is a pulse per frame
    """

    def __init__(self, width, context_bits):
        self.width = width
        self.beats = REACH * 8 // width
        super().__init__({
            "beat": In(PacketBeat(width)), "taken": In(1), "context": In(context_bits),
            "valid": Out(1), "o": Out(AlignedHeaders(context_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        # One bit per beat of the window that comes next, and one for "the window is full".
        place = Signal(self.beats + 1, init=1)
        complete = Signal()
        m.d.comb += complete.eq(self.taken & ((self.beat.last & ~place[-1]) | place[-2]))
        m.d.sync += self.valid.eq(complete)
        with m.If(self.taken):
            m.d.sync += place.eq(Mux(self.beat.last, 1, Cat(0, place[:-2], place[-2] | place[-1])))
        window, is_tag = self._gather(m, place)
        result = Signal.like(self.o)
        self._align(m, window, is_tag, place[:-1], result)
        kept = Signal.like(self.o, reset_less=True)
        m.d.comb += [result.context.eq(self.context), self.o.eq(kept)]
        with m.If(complete):
            m.d.sync += kept.eq(result)
        return m

    def _gather(self, m, place):
        """The window's bytes, with the beat at hand in its place, and whether a VLAN tag is announced at the first two
        places for one. All else waits for these: so both the beat and what was stored are looked at before the choice.
        """
        lanes = self.width // 8
        parts, is_tag = [], []
        for n in range(self.beats - 1):
            stored = Signal(self.width, name=f"stored{n}", reset_less=True)
            with m.If(self.taken & place[n]):
                m.d.sync += stored.eq(self.beat.data)
            parts.append(Mux(place[n], self.beat.data, stored))
            for at in TYPE_AT[:2]:
                if at // lanes == n:
                    now, before = (is_vlan_tag(source.word_select(at % lanes, 8), source.word_select(at % lanes + 1, 8))
                                   for source in (self.beat.data, stored))
                    is_tag.append(Mux(place[n], now, before))
        gathered = Signal(8 * REACH)
        m.d.comb += gathered.eq(Cat(*parts, self.beat.data))
        return gathered, is_tag

    def _align(self, m, window, is_tag, place, o):
        def octet(at):
            return window[8 * at:8 * at + 8]

        def number(at):
            return Cat(octet(at + 1), octet(at))
        behind = [at + 2 for at in TYPE_AT]
        complete = Signal(3)      # the EtherType behind so many tags is in the frame
        ahead = range(0, REACH, self.width // 8)      # bytes before the beat, by its place
        have = self.beat.bytes
        once, twice = Signal(), Signal()
        m.d.comb += [
            complete.eq(Cat(Cat(bit & (have >= at - n) if at > n else bit for n, bit in zip(ahead, place)).any()
                            for at in behind)),
            once.eq(is_tag[0] & complete[0]), twice.eq(once & is_tag[1] & complete[1]),
        ]

        def by_tags(values):
            # Not by multiplexers: synthesis would choose first, and then subtract or compare once.
            return one_hot_choice([~once, once & ~twice, twice], values)
        present = [Mux(bit, number(at), 0) for bit, at in zip(complete, TYPE_AT)]
        m.d.comb += [
            o.destination_mac.eq(window[:48]), o.source_mac.eq(window[48:96]),
            o.tags.eq(Cat(once & ~twice, twice)), o.customer_tag.eq(once & (octet(TYPE_AT[0]) == EtherType.VLAN >> 8)),
            o.outer_tag.eq(number(TYPE_AT[0] + 2)), o.inner_tag.eq(number(TYPE_AT[1] + 2)),
            o.cut.eq(by_tags(~complete)),
            o.ethertype.eq(by_tags(present)),
            o.ipv4.eq(by_tags([bit & (number(at) == EtherType.IPV4) for bit, at in zip(complete, TYPE_AT)])),
            o.ipv6.eq(by_tags([bit & (number(at) == EtherType.IPV6) for bit, at in zip(complete, TYPE_AT)])),
            o.left.eq(by_tags([Mux(bit, have + one_hot_choice(place, [n - at for n in ahead]), 0)
                               for bit, at in zip(complete, behind)])),
            Value.cast(o.l3).eq(by_tags([window[8 * at:8 * (at + L3_BYTES)] for at in behind])),
        ]
        self._digest_slots(m, octet, behind, by_tags, o)

    def _digest_slots(self, m, octet, behind, by_tags, o):
        """Each place is read once, before it is known which slot of which alignment it is."""
        starts = [at + IPV6_HEADER_BYTES for at in behind]
        places = range(starts[0], starts[2] + 8 * SLOTS, VLAN_TAG_BYTES)
        digests = Signal(data.ArrayLayout(SlotDigest, len(places)))
        bits = Shape.cast(SlotDigest).width
        m.d.comb += [Value.cast(digests[n]).eq(self._digest(octet(at), octet(at + 1))) for n, at in enumerate(places)]
        flat = Value.cast(digests)

        def slots(start):
            return Cat(flat[bits * n:bits * (n + 1)] for n, at in enumerate(places)
                       if at in range(start, start + 8 * SLOTS, 8))
        m.d.comb += [
            Value.cast(o.slots).eq(by_tags([slots(start) for start in starts])),
            Value.cast(o.first).eq(by_tags([self._digest(octet(at + NEXT_HEADER_AT), C(0, 8)) for at in behind])),
        ]

    def _digest(self, next_header, length):
        """Bits of a `SlotDigest`."""
        hop_by_hop, routing, options, fragment = (next_header == protocol for protocol in (
            Protocol.HOP_BY_HOP, Protocol.ROUTING, Protocol.DESTINATION_OPTIONS, Protocol.FRAGMENT))
        return Cat(next_header, hop_by_hop | routing | options, routing, options, fragment,
                   *(length == n for n in range(SLOTS - 1)))
