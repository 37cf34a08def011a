"""Whether the checksums of a received packet are right."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .arithmetic import add_up, fold16
from .extensions import ChainEnd
from .spec import IPV6_HEADER_BYTES, ChecksumVerdict, PacketHeaders
from .window import LONGEST_IHL, SHORTEST_IHL, SLOTS, AlignedHeaders, one_hot_choice

__all__ = ["ChecksumJudge"]


# Of 16-bit words: the longest IPv4 header, the part of it that is always there, what an IPv6 packet has before the
# addresses, a slot of its extension headers.
IPV4_WORDS, FIXED_WORDS, IPV6_WORDS, SLOT_WORDS = 2 * LONGEST_IHL, 2 * SHORTEST_IHL, 4, 4
ADDRESS_WORDS = range(6, 10)
TERMS = 8
PORT_BYTES = 4
TCP_HEADER_BYTES, UDP_HEADER_BYTES = 20, 8
SEGMENTS_LEFT_AT = 3      # in an IPv6 routing header


class ChecksumJudge(wiring.Component):
    """Checks the IPv4 header checksum and that of TCP or UDP (RFC 791, 9293, 768, 8200), by what the parser says of a
    frame and by the sum of its whole IP packet.

    A right IPv4 header adds nothing to the packet's sum, so there the pseudo header alone is missing. In IPv6 the
    addresses belong to both; the rest of the header and all extension headers are taken away again.

    No verdict (NONE) is given of anything but whole, well formed TCP and UDP packets: not of fragments; of UDP that
    carries no checksum (0: RFC 768 has none to verify, and virtio's DATA_VALID says that it was); of UDP whose length
    is not that of the packet; of what ends within its TCP or UDP header; of IPv6 on its way by a routing header, when
    the address that was summed isn't known.

    Attributes
    ----------
    aligned : In(AlignedHeaders(0))
        2 cycles before `valid`
    end : In(ChainEnd)
        a cycle before `valid`
    valid : In(1); headers : In(PacketHeaders)
        pulse per frame
    summed : In(1); sum : In(17); whole : In(1)
        of `PacketSum`, per frame: 2 cycles after `valid` or later, and before `valid` of the next frame but one cycle
    verdict : Out(ChecksumVerdict)
        with `summed`, in the same cycle
    """

    aligned: In(AlignedHeaders(0))
    end: In(ChainEnd)
    valid: In(1)
    headers: In(PacketHeaders)
    summed: In(1)
    sum: In(17)
    whole: In(1)
    verdict: Out(ChecksumVerdict)

    def elaborate(self, platform):
        m = Module()
        prepared = self._prepare(m)
        parts = self._gather(m, prepared)
        final, judged = self._expect(m, parts)

        # A sum of words, none of them negative and not all 0, is right if it is a multiple of 65535.
        total = Signal(18)
        right = Cat(total == 65535 * n for n in range(1, 5)).any()
        m.d.comb += total.eq(self.sum + final.missing)
        with m.If(~(final.possible & self.whole)):
            m.d.comb += self.verdict.eq(ChecksumVerdict.NONE)
        with m.Elif(final.header_right & right):
            m.d.comb += self.verdict.eq(ChecksumVerdict.VALID)
        with m.Else():
            m.d.comb += self.verdict.eq(ChecksumVerdict.BAD)
        return m

    def _prepare(self, m):
        """First stage, with `aligned`: words that may have to be added up, four by four, before their number is known
        in IPv6; what may be the second four bytes of the transport header."""
        is4, l3 = self.aligned.ipv4, self.aligned.l3
        ihl = l3[0][:4]
        o = Signal(data.StructLayout({
            "is4": 1, "header4": 6, "length": 16, "addresses": 18, "second4": 32,
            "terms": data.ArrayLayout(18, TERMS), "seconds6": data.ArrayLayout(32, SLOTS), "on_its_way": SLOTS,
        }), reset_less=True)

        def word(n):
            return Cat(l3[2 * n + 1], l3[2 * n])

        def four_bytes(at):
            return Cat(l3[at:at + PORT_BYTES])

        def word4(n):
            if n < FIXED_WORDS:
                return word(n)
            return Mux(ihl > n // 2, word(n), 0) if n < IPV4_WORDS else C(0, 16)
        for k in range(TERMS):
            first6 = (IPV6_HEADER_BYTES + 8 * (k - 1)) // 2 if k else 0
            words = [Mux(is4, word4(4 * k + n), word(first6 + n)) for n in range(SLOT_WORDS)]
            m.d.sync += o.terms[k].eq(add_up(m, words, f"term{k}_"))
        with m.Switch(ihl):
            for value in range(SHORTEST_IHL, LONGEST_IHL + 1):
                with m.Case(value):
                    m.d.sync += o.second4.eq(four_bytes(4 * value + PORT_BYTES))
        starts = [IPV6_HEADER_BYTES + 8 * n for n in range(SLOTS)]
        m.d.sync += [
            o.is4.eq(is4), o.header4.eq(ihl << 2), o.length.eq(Mux(is4, word(1), word(2))),
            o.addresses.eq(add_up(m, [word(n) for n in ADDRESS_WORDS], "addresses")),
            o.on_its_way.eq(Cat(l3[start + SEGMENTS_LEFT_AT].any() for start in starts)),
        ]
        m.d.sync += [o.seconds6[n].eq(four_bytes(start + PORT_BYTES)) for n, start in enumerate(starts)]
        return o

    def _gather(self, m, i):
        """Second stage, with `end`: the header's sum, in two parts, and what there is behind the header."""
        at = self.end.at
        o = Signal(data.StructLayout({"is4": 1, "addresses": 18, "header": data.ArrayLayout(20, 2), "rest": signed(18),
                                      "second": 32, "on_its_way": 1}), reset_less=True)
        before = [C(1), *(at[n + 1:].any() for n in range(TERMS - 1))]
        terms = [Mux(i.is4 | bit, term, 0) for bit, term in zip(before, i.terms)]
        header6 = one_hot_choice(at, [C(8 * n, 6) for n in range(SLOTS)])
        m.d.sync += [
            o.is4.eq(i.is4), o.addresses.eq(i.addresses),
            *(o.header[n].eq(add_up(m, terms[n::2], f"header{n}_")) for n in range(2)),
            o.rest.eq(i.length - Mux(i.is4, i.header4, header6)),
            o.second.eq(Mux(i.is4, i.second4, one_hot_choice(at, i.seconds6))),
            o.on_its_way.eq((self.end.routing & i.on_its_way).any()),
        ]
        return o

    def _expect(self, m, i):
        """Third and fourth stage, with and behind `valid`: what is missing in the packet's sum, and whether a verdict
        is possible."""
        headers = self.headers
        third = Signal(data.StructLayout({"addresses": 21, "rest": 17, "possible": 1, "ipv6": 1, "folded": 17}),
                       reset_less=True)
        final = Signal(data.StructLayout({"missing": 17, "possible": 1, "header_right": 1}), reset_less=True)
        judged = Signal()
        length, checksum = (Cat(i.second[at + 8:at + 16], i.second[at:at + 8]) for at in (0, 16))
        complete = Mux(headers.tcp, i.rest >= TCP_HEADER_BYTES,
                       (i.rest >= UDP_HEADER_BYTES) & (i.rest == length) & (checksum != 0))
        header = add_up(m, i.header, "header")
        m.d.sync += [
            judged.eq(self.valid),
            # A multiple of 65535 less something is its negative.
            third.addresses.eq(Mux(i.is4, i.addresses, 65535 * 32 - header)),
            third.rest.eq(i.rest[:16] + headers.protocol),
            third.possible.eq((headers.tcp | headers.udp) & complete & ~headers.malformed & ~headers.truncated
                              & ~(headers.ipv6 & i.on_its_way)),
            third.ipv6.eq(headers.ipv6), third.folded.eq(fold16(header)),
        ]
        missing = Signal(22)
        m.d.comb += missing.eq(third.addresses + third.rest)
        with m.If(judged):
            m.d.sync += [final.missing.eq(fold16(missing)), final.possible.eq(third.possible),
                         final.header_right.eq(third.ipv6 | (third.folded == 65535))]
        return final, judged
