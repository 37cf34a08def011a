"""Finding out what a frame is while it streams by."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat
from .extensions import ChainEnd, ExtensionChain
from .flow import fold_pair
from .spec import ETHERNET_HEADER_BYTES, IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, VLAN_TAG_BYTES, PacketHeaders, Protocol
from .window import LONGEST_IHL, SHORTEST_IHL, SLOTS, AlignedHeaders, HeaderWindow, one_hot_choice

__all__ = ["HeaderParser"]


PORT_BYTES = 4
# Extension headers with an address, which is behind their first 8 bytes, can begin in so many slots.
MOBILE_SLOTS = SLOTS - 3
# RFC 6275: type and length of the home address option, and where it stands for its address to be aligned; routing type.
HOME_ADDRESS, HOME_ADDRESS_BYTES, HOME_ADDRESS_AT = 0xc9, 16, 6
OPTIONS_AT, PAD_1, PAD_N = 2, 0, 1
HOME_LENGTH = ROUTING_LENGTH = 2     # as the header says it: 24 bytes
ROUTING_TYPE = 2


def _number(octets):
    """Octets as they come on the wire, as a number."""
    return Cat(*reversed(list(octets)))


class _NetworkLayer(data.StructLayout):
    """What the second stage knows.

    Fields: `ipv4`, `ipv6`, `truncated`, `malformed` as in `PacketHeaders`, as far as known; `source`, `destination` of
    the IP version by EtherType; for IPv4: `ihl`, `fragment4`, `protocol4` and whether that is TCP or UDP, `tcp4`,
    `udp4`; `word4` (the first 4 bytes behind the header), `within4` it is inside the frame, `room4` and inside the
    packet; for IPv6: `end` of the extension headers, and for each slot `words` (its first 4 bytes) and `names` (the
    next headers, that of the fixed header first; `tcp6`, `udp6` as before); whether 0, 4 or 8 bytes from that slot on
    are inside the frame, `reached6`, `within6`, `whole6`; whether 4 bytes there are inside the packet, `room6`; whether
    an extension header there would have a home address, `home6` as a destination option, `care6` as a routing header.
    """

    def __init__(self):
        super().__init__({
            "ipv4": 1, "ipv6": 1, "truncated": 1, "malformed": 1, "source": 128, "destination": 128,
            "ihl": 4, "fragment4": 1, "protocol4": 8, "tcp4": 1, "udp4": 1, "word4": 32, "within4": 1, "room4": 1,
            "end": ChainEnd, "words": data.ArrayLayout(32, SLOTS), "names": data.ArrayLayout(8, SLOTS),
            "tcp6": SLOTS, "udp6": SLOTS,
            "reached6": SLOTS, "within6": SLOTS, "whole6": SLOTS, "room6": SLOTS,
            "home6": MOBILE_SLOTS, "care6": MOBILE_SLOTS,
        })


class HeaderParser(wiring.Component):
    """Reads the headers of every frame that goes by: Ethernet, up to two VLAN tags, IPv4 with options, IPv6 with
    extension headers, and the ports of TCP and UDP.

    It takes a beat a cycle, also if each is a frame, and holds nothing up. 3 cycles after a frame's last beat, or the
    beat with its 128th byte if that comes first, `valid` is 1 and `headers` says what was found. Frames come out in
    order, one each. IPv6 extension headers (hop-by-hop, routing, destination options, then possibly a fragment header)
    are followed for 56 bytes. What a fragment carries isn't looked at. No checksum is checked, and lengths only as far
    as needed to tell that the ports are inside.

    Parameters
    ----------
    width : int
        bits per beat: 128, 256 or 512
    context_bits : int
        bits that go along with a frame

    Attributes
    ----------
    beat : In(PacketBeat(width)); taken : In(1)
        a beat goes by; every frame has one with `last`
    context : In(context_bits)
        the same with every beat of a frame
    valid : Out(1); headers : Out(PacketHeaders); headers_context : Out(context_bits)
        pulse per frame
    aligned : Out(AlignedHeaders(context_bits)); end : Out(ChainEnd)
        what the earlier stages know of the same frame: 2 cycles, and a cycle, before `valid`
    """

    def __init__(self, width, context_bits=0):
        self.width = width
        self.context_bits = context_bits
        super().__init__({
            "beat": In(PacketBeat(width)), "taken": In(1), "context": In(context_bits),
            "valid": Out(1), "headers": Out(PacketHeaders), "headers_context": Out(context_bits),
            "aligned": Out(AlignedHeaders(context_bits)), "end": Out(ChainEnd),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.window = window = HeaderWindow(self.width, self.context_bits)
        m.d.comb += [window.beat.eq(self.beat), window.taken.eq(self.taken), window.context.eq(self.context)]

        # Registers of the second stage: what is found out there, and what comes along from the first.
        network = Signal(_NetworkLayer(), reset_less=True)
        link = Signal(AlignedHeaders(self.context_bits), reset_less=True)
        network_valid = Signal()
        found = Signal(_NetworkLayer())
        cut4, wrong4 = self._read_ipv4(m, window.o, found)
        cut6, wrong6 = self._read_ipv6(m, window.o, found)
        is4, is6, l3 = window.o.ipv4, window.o.ipv6, window.o.l3
        m.d.comb += [
            found.truncated.eq(window.o.cut | (is4 & cut4) | (is6 & cut6)),
            found.malformed.eq((is4 & wrong4) | (is6 & wrong6)),
            found.source.eq(Mux(is4, Cat(l3[n] for n in range(12, 16)), Cat(l3[n] for n in range(8, 24)))),
            found.destination.eq(Mux(is4, Cat(l3[n] for n in range(16, 20)), Cat(l3[n] for n in range(24, 40)))),
        ]
        m.d.sync += [network_valid.eq(window.valid), network.eq(found), link.eq(window.o)]

        headers = Signal(PacketHeaders)
        kept = Signal(PacketHeaders, reset_less=True)
        context = Signal(self.context_bits, reset_less=True)
        self._judge(m, link, network, headers)
        m.d.sync += [self.valid.eq(network_valid), kept.eq(headers), context.eq(link.context)]
        m.d.comb += [
            self.headers.eq(kept), self.headers_context.eq(context),
            self.aligned.eq(window.o), self.end.eq(network.end),
        ]
        return m

    def _read_ipv4(self, m, link, found):
        """Returns whether the frame ends within the header, and whether the header contradicts itself."""
        l3, left = link.l3, link.left
        version, ihl = l3[0][4:], l3[0][:4]
        length = _number(l3[2:4])
        header = Signal(6)
        fixed, right, inside = Signal(), Signal(), Signal()
        m.d.comb += [
            header.eq(ihl << 2),
            fixed.eq(left >= IPV4_HEADER_BYTES),
            right.eq((version == 4) & (ihl >= SHORTEST_IHL)),
            inside.eq(left >= header),
            found.ipv4.eq(link.ipv4 & fixed & right & inside),
            found.ihl.eq(ihl), found.protocol4.eq(l3[9]),
            found.tcp4.eq(l3[9] == Protocol.TCP), found.udp4.eq(l3[9] == Protocol.UDP),
            found.fragment4.eq(Cat(l3[6][:6], l3[7]).any()),     # More Fragments, Fragment Offset
            found.within4.eq(left >= header + PORT_BYTES),
            found.room4.eq(length >= header + PORT_BYTES),
        ]
        with m.Switch(ihl):
            for value in range(SHORTEST_IHL, LONGEST_IHL + 1):
                with m.Case(value):
                    m.d.comb += found.word4.eq(Cat(l3[4 * value:4 * value + PORT_BYTES]))
        return ~fixed | (right & ~inside), fixed & (~right | (length < header))

    def _read_ipv6(self, m, link, found):
        """Returns as `_read_ipv4`."""
        m.submodules.chain = chain = ExtensionChain(len(link.left))
        l3, left = link.l3, link.left
        length = _number(l3[4:6])
        starts = [IPV6_HEADER_BYTES + 8 * n for n in range(SLOTS)]
        fixed, right = left >= IPV6_HEADER_BYTES, l3[0][4:] == 6
        m.d.comb += [
            chain.first.eq(link.first), Value.cast(chain.slots).eq(link.slots), chain.left.eq(left),
            found.ipv6.eq(link.ipv6 & fixed & right),
            found.end.eq(chain.end),
            found.reached6.eq(Cat(left >= start for start in starts)),
            found.within6.eq(Cat(left >= start + PORT_BYTES for start in starts)),
            found.whole6.eq(Cat(left >= start + 8 for start in starts)),
            found.room6.eq(Cat(length >= 8 * n + PORT_BYTES for n in range(SLOTS))),
        ]
        m.d.comb += [found.words[n].eq(Cat(l3[at] for at in range(start, start + PORT_BYTES)))
                     for n, start in enumerate(starts)]
        names = [link.first.next_header, *(link.slots[n].next_header for n in range(SLOTS - 1))]
        m.d.comb += [
            *(found.names[n].eq(name) for n, name in enumerate(names)),
            found.tcp6.eq(Cat(name == Protocol.TCP for name in names)),
            found.udp6.eq(Cat(name == Protocol.UDP for name in names)),
        ]
        m.d.comb += [found.home6.eq(Cat(self._has_home(l3[start:start + 8]) for start in starts[:MOBILE_SLOTS])),
                     found.care6.eq(Cat((l3[start + 1] == ROUTING_LENGTH) & (l3[start + 2] == ROUTING_TYPE)
                                        for start in starts[:MOBILE_SLOTS]))]
        return ~fixed, fixed & ~right

    @staticmethod
    def _has_home(octets):
        """Whether destination options that begin with these 8 bytes have a home address after nothing but padding."""
        reached = {at: C(0) for at in range(OPTIONS_AT, HOME_ADDRESS_AT + 1)} | {OPTIONS_AT: C(1)}
        for at in range(OPTIONS_AT, HOME_ADDRESS_AT):
            reached[at + 1] |= reached[at] & (octets[at] == PAD_1)
            for size in range(HOME_ADDRESS_AT - at - 1):
                reached[at + 2 + size] |= reached[at] & (octets[at] == PAD_N) & (octets[at + 1] == size)
        return (reached[HOME_ADDRESS_AT] & (octets[HOME_ADDRESS_AT] == HOME_ADDRESS)
                & (octets[HOME_ADDRESS_AT + 1] == HOME_ADDRESS_BYTES) & (octets[1] >= HOME_LENGTH))

    def _judge(self, m, link, network, o):
        """Third stage: which of it counts."""
        end = network.end
        reached, within, whole, room = ((end.at & bits).any() for bits in (
            network.reached6, network.within6, network.whole6, network.room6))
        word6 = one_hot_choice(end.at, network.words)
        ends6 = network.ipv6 & ~end.broken & end.at.any()      # the chain has an end, within the frame or not
        found6 = ends6 & Mux(end.fragment, whole, reached)
        protocol, word = Signal(8), Signal(32)
        ported, fits, transport = Signal(), Signal(), Signal()
        # With `transport`: TCP or UDP; found beside the choice of the protocol, not behind it.
        is_tcp, is_udp, carries = (Signal(name=name) for name in ("is_tcp", "is_udp", "carries"))
        m.d.comb += [
            protocol.eq(Mux(network.ipv4, network.protocol4,
                            Mux(found6, Mux(end.fragment, word6[:8], one_hot_choice(end.by, network.names)), 0))),
            word.eq(Mux(network.ipv4, network.word4, word6)),
            ported.eq(transport & Mux(network.ipv4, network.within4 & network.room4, within & room)),
            is_tcp.eq(Mux(network.ipv4, network.tcp4, (end.by & network.tcp6).any())),
            is_udp.eq(Mux(network.ipv4, network.udp4, (end.by & network.udp6).any())),
            carries.eq(is_tcp | is_udp),
        ]
        m.d.comb += [
            o.fragment.eq((network.ipv4 & network.fragment4) | (found6 & end.fragment)),
            transport.eq((network.ipv4 & ~network.fragment4) | (found6 & ~end.fragment)),
            fits.eq(Mux(network.ipv4, network.within4, within)),
            o.transport.eq(transport), o.protocol.eq(protocol),
            o.tcp.eq(ported & is_tcp), o.udp.eq(ported & is_udp),
            o.truncated.eq(network.truncated | (network.ipv6 & end.broken) | (ends6 & ~found6)
                           | (transport & carries & ~fits)),
            o.malformed.eq(network.malformed
                           | (transport & carries & ~Mux(network.ipv4, network.room4, room))),
            o.unreached.eq(network.ipv6 & ~end.broken & ~end.at.any()),
        ]
        with m.If(o.tcp | o.udp):
            m.d.comb += [o.source_port.eq(_number([word[0:8], word[8:16]])),
                         o.destination_port.eq(_number([word[16:24], word[24:32]]))]
        with m.If(network.ipv4 | network.ipv6):
            m.d.comb += [o.source.eq(network.source), o.destination.eq(network.destination),
                         o.endpoints.eq(fold_pair(network.source, network.destination))]
        with m.Else():
            m.d.comb += o.endpoints.eq(fold_pair(link.source_mac, link.destination_mac))
        self._move(m, link, network, found6, o)
        m.d.comb += [getattr(o, name).eq(getattr(link, name)) for name in
                     ("destination_mac", "source_mac", "tags", "outer_tag", "customer_tag", "inner_tag", "ethertype")]
        behind = Signal(7)
        m.d.comb += [
            o.ipv4.eq(network.ipv4), o.ipv6.eq(network.ipv6),
            o.l3_offset.eq(ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES * link.tags),
            behind.eq(Mux(network.ipv4, network.ihl << 2,
                          one_hot_choice(end.at, [IPV6_HEADER_BYTES + 8 * n for n in range(SLOTS)]))),
            o.l4_offset.eq(o.l3_offset + behind),
        ]

    def _move(self, m, link, network, found6, o):
        """Home addresses in place of the IPv6 header's, if all extension headers are inside."""
        end = network.end
        for kind, has, address, moved in ((end.options, network.home6, network.source, o.final_source),
                                          (end.routing, network.care6, network.destination, o.final_destination)):
            there = kind[:MOBILE_SLOTS] & has
            first = [bit & ~there[:n].any() for n, bit in enumerate(there)]
            starts = [IPV6_HEADER_BYTES + 8 * (n + 1) for n in range(MOBILE_SLOTS)]
            homes = [Cat(link.l3[at] for at in range(start, start + 16)) for start in starts]
            m.d.comb += moved.eq(Mux(there.any() & found6, one_hot_choice(first, homes), address))
        m.d.comb += o.extended.eq(network.ipv6 & (~end.at[0] | end.fragment))
