"""Reading the headers of a packet that is to be cut in segments.

Source: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP), IEEE 802.1Q.
"""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from .offload import Offload
from .spec import EtherType, Protocol, is_vlan_tag

__all__ = ["FIRST_WORD", "HEADER_LIMIT", "TCP_SCANNED", "UDP_SCANNED", "HeaderFacts", "HeaderScan"]


HEADER_LIMIT = 256     # bytes
FIRST_WORD = 3         # of 4 bytes: the one with the EtherType; MAC addresses say nothing

# Behind the transport header's begin: where the last word begins that is read of it.
TCP_SCANNED, UDP_SCANNED = 14, 2

UDP_BYTES = 8
SHORTEST_IHL = SHORTEST_TCP = 5


class HeaderFacts(data.Struct):
    """What segments need to know of their packet's headers.

    Fields
    ------
    ipv6 : else IPv4
    network, transport, size : bytes before the IP header, before the transport header, before the payload
    identification, sequence : of IPv4, of TCP
    control : the two bytes of TCP's data offset and flags, as a number
    network_sum : of the IPv4 header's 16-bit words but total length, identification and checksum
    pseudo_sum : of the pseudo-header's but the length
    """
    ipv6: 1
    network: 5
    transport: 9
    size: 9
    identification: 16
    sequence: 32
    control: 16
    network_sum: 22
    pseudo_sum: 22


class _State(enum.Enum):
    DONE = 0
    LINK = 1
    IPV4 = 2
    IPV6 = 3
    TRANSPORT = 4


def _number(half):
    """16 bits, first byte lowest, as a number."""
    return Cat(half[8:16], half[0:8])


class HeaderScan(wiring.Component):
    """Takes a packet's headers 4 bytes a cycle, from byte 12 on, up to what is needed of the transport header.

    All headers begin 2 bytes into a word, since an Ethernet header has 14 bytes, a tag 4, and the others multiples of
    4: so a word's second half and the next one's first half belong together. IPv6 extension headers are not looked
    into: the transport header is where the packet's `start` is.

    Attributes
    ----------
    offload : In(Offload)
        of the packet; constant from `begin` to `done`
    begin : In(1)
        the words that come from now on are of another packet
    valid : In(1); word : In(32)
        the next 4 bytes; taken as they come until `done`
    done, good : Out(1)
        nothing more is needed; the headers fit the packet's `offload` and are no longer than `HEADER_LIMIT`. From the
        cycle after the last word, until `begin`. Whether the packet is as long as its headers is not looked at
    facts : Out(HeaderFacts)
        valid with `done` and `good`
    """

    offload: In(Offload)
    begin: In(1)
    valid: In(1)
    word: In(32)
    done: Out(1)
    good: Out(1)
    facts: Out(HeaderFacts)

    def elaborate(self, platform):
        m = Module()
        facts = self.facts
        self._at = Signal(range(HEADER_LIMIT // 4 + 1))          # headers begin with these words' second half
        self._left = Signal(range(HEADER_LIMIT // 4 + 1))        # words from there to the transport header
        self._count = Signal(range(HEADER_LIMIT // 4 + 1))       # words of this header so far
        self._state = Signal(_State)
        held, tags = Signal(16), Signal(2)
        first, second = held, self.word[:16]                     # two halves of 4 bytes of a header
        with m.If(self.valid):
            m.d.sync += [
                held.eq(self.word[16:]), self._at.eq(self._at + 1), self._left.eq(self._left - 1),
                self._count.eq(self._count + 1),
            ]
        m.d.comb += self.done.eq(self._state == _State.DONE)
        with m.If(self.valid):
            with m.Switch(self._state):
                with m.Case(_State.LINK):
                    self._link(m, second, tags)
                with m.Case(_State.IPV4):
                    self._ipv4(m, first, second)
                with m.Case(_State.IPV6):
                    self._ipv6(m, first, second)
                with m.Case(_State.TRANSPORT):
                    self._read_transport(m, first, second)
            with m.If(~self.done & (self._at == HEADER_LIMIT // 4)):
                self._fail(m)
        with m.If(self.begin):
            start = self.offload.start
            m.d.sync += [
                self._state.eq(_State.LINK),
                self.good.eq(1), self._at.eq(FIRST_WORD), tags.eq(0), facts.network.eq(14),
                facts.network_sum.eq(0), facts.pseudo_sum.eq(Mux(self.offload.tcp, Protocol.TCP, Protocol.UDP)),
                facts.transport.eq(start), self._left.eq(((start + 2) >> 2) - FIRST_WORD),
            ]
            with m.If((start[:2] != 2) | (start >= HEADER_LIMIT)):
                self._fail(m)
        return m

    def _fail(self, m):
        m.d.sync += [self.good.eq(0), self._state.eq(_State.DONE)]

    def _demand(self, m, condition):
        with m.If(~condition):
            self._fail(m)

    def _link(self, m, kind, tags):
        with m.If(is_vlan_tag(kind[:8], kind[8:]) & (tags != 2)):
            m.d.sync += [tags.eq(tags + 1), self.facts.network.eq(self.facts.network + 4)]
        with m.Else():
            ipv4, ipv6 = _number(kind) == EtherType.IPV4, _number(kind) == EtherType.IPV6
            m.d.sync += [
                self.facts.ipv6.eq(ipv6), self._count.eq(0), self._state.eq(Mux(ipv6, _State.IPV6, _State.IPV4)),
            ]
            self._demand(m, (ipv4 & self.offload.ipv4) | (ipv6 & self.offload.ipv6))

    def _end_network(self, m):
        with m.If(self._left == 1):
            m.d.sync += [self._count.eq(0), self._state.eq(_State.TRANSPORT)]

    def _protocol(self, m, value):
        return value == Mux(self.offload.tcp, Protocol.TCP, Protocol.UDP)

    def _ipv4(self, m, first, second):
        count, facts = self._count, self.facts
        ihl, version = first[:4], first[4:8]
        a, b = _number(first), _number(second)
        m.d.sync += facts.network_sum.eq(facts.network_sum + Mux(count == 1, 0, a)
                                         + Mux((count == 0) | (count == 2), 0, b))
        self._end_network(m)
        with m.Switch(count):
            with m.Case(0):
                self._demand(m, (version == 4) & (ihl >= SHORTEST_IHL) & (ihl == self._left))
            with m.Case(1):
                m.d.sync += facts.identification.eq(a)
            with m.Case(2):
                self._demand(m, self._protocol(m, first[8:]))
            with m.Case(3, 4):
                m.d.sync += facts.pseudo_sum.eq(facts.pseudo_sum + a + b)

    def _ipv6(self, m, first, second):
        count, facts = self._count, self.facts
        fixed = 10      # words
        self._end_network(m)
        with m.Switch(count):
            with m.Case(0):
                # A header that lies before this one would be further away than any can be.
                self._demand(m, (first[4:8] == 6) & (self._left >= fixed) & ~self._left[-1] & ~self._left[0])
            with m.Case(1):
                alone = self._left == fixed - 1
                self._demand(m, ~alone | self._protocol(m, second[:8]))
            with m.Case(*range(2, fixed)):
                m.d.sync += facts.pseudo_sum.eq(facts.pseudo_sum + _number(first) + _number(second))

    def _read_transport(self, m, first, second):
        facts = self.facts
        with m.If(~self.offload.tcp):
            m.d.sync += [facts.size.eq(facts.transport + UDP_BYTES), self._state.eq(_State.DONE)]
            self._demand(m, facts.transport <= HEADER_LIMIT - UDP_BYTES)
        with m.Elif(self._count == 1):
            m.d.sync += facts.sequence.eq(Cat(_number(second), _number(first)))
        with m.Elif(self._count == 3):
            size, end = first[4:8], Signal(10)
            m.d.comb += end.eq(facts.transport + (size << 2))
            m.d.sync += [
                facts.control.eq(_number(first)), facts.size.eq(end), self._state.eq(_State.DONE),
            ]
            self._demand(m, (size >= SHORTEST_TCP) & (end <= HEADER_LIMIT))
