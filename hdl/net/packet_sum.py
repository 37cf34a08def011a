"""Ones' complement sum of a frame's IP packet while it streams by."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat
from .arithmetic import add_up, fold16
from .spec import ETHERNET_HEADER_BYTES, IPV6_HEADER_BYTES, VLAN_TAG_BYTES, EtherType, is_vlan_tag
from .window import one_hot_choice

__all__ = ["PacketSum"]


# Where the EtherType stands behind 0, 1 and 2 VLAN tags, and where its packet begins.
TYPE_AT = [ETHERNET_HEADER_BYTES - 2 + VLAN_TAG_BYTES * tags for tags in range(3)]
BEGIN = [at + 2 for at in TYPE_AT]
# The bytes that say where the packet ends are among the first so many.
HEAD_BYTES = 32
TOTAL_LENGTH_AT, PAYLOAD_LENGTH_AT = 2, 4     # in the IPv4 and the IPv6 header
LENGTH_BITS = 17


class PacketSum(wiring.Component):
    """Adds up the 16-bit words, in network byte order, of what the IP header's length covers: from the first byte of
    the IP header to the packet's last byte, an odd one counting as the upper half of a word (RFC 1071).

    Watches beats go by, one a cycle, and tells of every frame 5 cycles after its last beat. Padding behind the packet
    is left out. The sum means nothing without an IP header behind at most two VLAN tags, or if the length is less than
    that of the IP header. No beat is held for what is found out later: the length lies within the first two beats, and
    of those before it nothing can be left out at the end.

    Parameters
    ----------
    width : int
        bits per beat: 128, 256 or 512
    context_bits : int

    Attributes
    ----------
    beat : In(PacketBeat(width)); taken : In(1); context : In(context_bits)
        a beat goes by; the last one's context goes along
    summed : Out(1)
        pulse per frame
    sum : Out(17)
        a number with the remainder by 65535 of the sum
    whole : Out(1)
        the packet doesn't end behind the frame
    sum_context : Out(context_bits)
    """

    def __init__(self, width, context_bits):
        self.width = width
        self.context_bits = context_bits
        super().__init__({
            "beat": In(PacketBeat(width)), "taken": In(1), "context": In(context_bits),
            "summed": Out(1), "sum": Out(LENGTH_BITS), "whole": Out(1), "sum_context": Out(context_bits),
        })
        self._lanes = width // 8
        self._lane_bits = (self._lanes - 1).bit_length()
        # Bytes of the beats before the one with the length.
        self._before = max(0, HEAD_BYTES - self._lanes) // self._lanes * self._lanes
        # What goes along with a beat in every stage.
        self._tags = {"last": 1, "first": 1, "context": context_bits}

    def elaborate(self, platform):
        m = Module()
        located, located_valid = self._locate(m)
        bounded, bounded_valid = self._bound(m, located, located_valid)
        groups, groups_valid = self._group(m, bounded, bounded_valid)
        shape = data.StructLayout({**self._tags, "whole": 1, "total": 21})
        total, total_valid = Signal(shape, reset_less=True), Signal()
        m.d.sync += [total_valid.eq(groups_valid), total.total.eq(add_up(m, list(groups.sums), "total"))]
        m.d.sync += [total[name].eq(groups[name]) for name in (*self._tags, "whole")]

        # The largest frame has less than 2**14 words.
        before, now = Signal(30), Signal(30)
        m.d.comb += now.eq(Mux(total.first, 0, before) + total.total)
        m.d.sync += [
            self.summed.eq(total_valid & total.last), self.sum.eq(fold16(now)), self.whole.eq(total.whole),
            self.sum_context.eq(total.context),
        ]
        with m.If(total_valid):
            m.d.sync += before.eq(now)
        return m

    def _locate(self, m):
        """First stage: where the packet begins and how long it says that it is."""
        beat = self.beat
        shape = data.StructLayout({**self._tags, "data": self.width, "bytes": range(self._lanes + 1),
                                   "tags": 3, "ipv6": 1, "length": 16, "second": 1})
        o, valid = Signal(shape, reset_less=True), Signal()
        second = Signal()
        head = beat.data
        once_at = beat.data
        if self._before:
            stored = Signal(self.width, reset_less=True)
            with m.If(self.taken):
                m.d.sync += [stored.eq(beat.data), second.eq(beat.first)]
            head = Cat(stored, beat.data)
            once_at = Mux(beat.first, beat.data, stored)

        def octet(at):
            return head[8 * at:8 * at + 8]

        def number(at):
            return Cat(octet(at + 1), octet(at))
        once, twice = Signal(), Signal()
        m.d.comb += [
            once.eq(is_vlan_tag(once_at[8 * TYPE_AT[0]:][:8], once_at[8 * TYPE_AT[0] + 8:][:8])),
            twice.eq(once & is_vlan_tag(octet(TYPE_AT[1]), octet(TYPE_AT[1] + 1))),
        ]

        def by_tags(values):
            return Mux(twice, values[2], Mux(once, values[1], values[0]))
        ipv6 = Signal()
        m.d.comb += ipv6.eq(by_tags([number(at) == EtherType.IPV6 for at in TYPE_AT]))
        m.d.sync += [
            valid.eq(self.taken),
            o.data.eq(beat.data), o.bytes.eq(beat.bytes), o.first.eq(beat.first), o.last.eq(beat.last),
            o.context.eq(self.context), o.second.eq(second),
            o.tags.eq(Cat(~once, once & ~twice, twice)), o.ipv6.eq(ipv6),
            o.length.eq(Mux(ipv6, by_tags([number(at + PAYLOAD_LENGTH_AT) for at in BEGIN]),
                            by_tags([number(at + TOTAL_LENGTH_AT) for at in BEGIN]))),
        ]
        return o, valid

    def _bound(self, m, i, i_valid):
        """Second stage: bytes from this beat's first one to the packet's end, and how many of them are in this beat."""
        shape = data.StructLayout({**self._tags, "data": self.width, "bytes": range(self._lanes + 1),
                                   "tags": 3, "second": 1, "left": LENGTH_BITS, "take": range(self._lanes + 1)})
        o, valid = Signal(shape, reset_less=True), Signal()
        known, left, next_left = (Signal(LENGTH_BITS, name=name) for name in ("known", "left", "next_left"))

        def behind(ahead):
            """What is left behind `ahead` bytes, by the length; a constant is chosen, so that there is one sum."""
            fixed = [Mux(i.ipv6, begin + IPV6_HEADER_BYTES - ahead, begin - ahead) for begin in BEGIN]
            return i.length + one_hot_choice(i.tags, fixed)
        tells = i.second if self._before else i.first      # with this beat the length is known
        m.d.comb += [
            left.eq(Mux(tells, behind(self._before), known)),
            next_left.eq(Mux(tells, behind(self._before + self._lanes), known - self._lanes)),
        ]
        if self._before:
            with m.If(i.first):
                m.d.comb += left.eq(self._lanes)
        beyond = left[self._lane_bits:].any()
        with m.If(i_valid):
            m.d.sync += known.eq(Mux(beyond, next_left, 0))
        m.d.sync += [valid.eq(i_valid), o.left.eq(left), o.take.eq(Mux(beyond, self._lanes, left[:self._lane_bits]))]
        m.d.sync += [o[name].eq(i[name]) for name in (*self._tags, "data", "bytes", "tags", "second")]
        return o, valid

    def _group(self, m, i, i_valid):
        """Third stage: the words inside the packet, four by four."""
        shape = data.StructLayout({**self._tags, "whole": 1, "sums": data.ArrayLayout(18, self._lanes // 8)})
        o, valid = Signal(shape, reset_less=True), Signal()
        octets = []
        for lane in range(self._lanes):
            inside = (i.take > lane) & ~self._ahead(i, lane)
            octets.append(Mux(inside, i.data.word_select(lane, 8), 0))
        words = [Cat(octets[n + 1], octets[n]) for n in range(0, self._lanes, 2)]
        m.d.sync += [o.sums[n // 4].eq(add_up(m, words[n:n + 4], f"group{n}_")) for n in range(0, len(words), 4)]
        m.d.sync += [valid.eq(i_valid), o.whole.eq(i.left <= i.bytes)]
        m.d.sync += [o[name].eq(i[name]) for name in self._tags]
        return o, valid

    def _ahead(self, i, lane):
        """Whether a lane lies before the packet."""
        def ahead(at):
            return Cat(i.tags[tags] for tags in range(3) if at + lane < BEGIN[tags]).any()
        return (i.first & ahead(0)) | (i.second & ahead(self._before) if self._before else 0)
