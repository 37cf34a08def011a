"""Where a packet's segments end, and what their headers say."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .arithmetic import fold16
from .offload import CHECKSUM_OF_TCP, CHECKSUM_OF_UDP, Offload
from .segment_scan import HEADER_LIMIT, HeaderFacts
from .spec import IPV6_HEADER_BYTES, LONGEST_PACKET

__all__ = ["Arrived", "HeaderWrite", "Segment", "SegmentPlan"]


FIN_PSH, CWR = 0x09, 0x80      # of TCP's flags


class Arrived(data.Struct):
    """How much there is of a packet.

    Fields: `ended` it has come to its end, then `good` as it should have and `total` bytes; else it is `open`, `stored`
    bytes have been stored and `verified` bytes were read without error: what is both may leave. It will not end well
    once it is `hopeless`: then its rest is to be taken as it comes, since it may be more than can wait.
    """
    ended: 1
    good: 1
    total: range(LONGEST_PACKET + 1)
    open: 1
    hopeless: 1
    stored: 18
    verified: 18


class HeaderWrite(data.Struct):
    """Two bytes of the headers: `value`, a number, at byte `at`; `enable`."""
    enable: 1
    at: range(HEADER_LIMIT + 16)
    value: 16


class Segment(data.StructLayout):
    """A segment: `bytes` of its frame; `first`, `last` of its packet; `pseudo` the pseudo-header's sum."""

    def __init__(self, max_frame):
        super().__init__({"bytes": range(max_frame + 1), "first": 1, "last": 1, "pseudo": 16})


class SegmentPlan(wiring.Component):
    """Plans a packet's segments one by one: waits until a segment's bytes are there, then writes what differs from the
    segment before into the headers, a field a cycle. 4 cycles to plan and 6 to write, 5 in IPv6.

    A segment is planned while the headers of the one before may still be read; written are they with `free`.

    Parameters
    ----------
    max_frame : int
        bytes of the longest frame

    Attributes
    ----------
    offload : In(Offload), facts : In(HeaderFacts)
        of the packet
    begin : In(1)
        pulse: plan this packet; while `idle`
    arrived : In(Arrived)
    free : In(1)
        the headers of the segments planned have been read
    write : Out(HeaderWrite)
    segments : Out(stream(Segment(max_frame)))
    malformed : Out(1)
        pulse: the packet has no more segments, though its last was not planned, because of its header or length
    idle : Out(1)
    """

    def __init__(self, max_frame):
        self.max_frame = max_frame
        super().__init__({
            "offload": In(Offload), "facts": In(HeaderFacts), "begin": In(1), "arrived": In(Arrived), "free": In(1),
            "write": Out(HeaderWrite), "segments": Out(stream.Signature(Segment(max_frame))),
            "malformed": Out(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        facts, segment = self.facts, self.segments.payload
        self._number = data.StructLayout({"identification": 16, "sequence": 32})
        self._now = Signal(self._number)         # of the segment being planned
        self._place = Signal(18)                 # of its first byte of payload in the packet
        self._payload = Signal(16)               # bytes of it
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += [
                    self._place.eq(facts.size), segment.first.eq(1), segment.last.eq(0),
                    self._now.identification.eq(facts.identification), self._now.sequence.eq(facts.sequence),
                ]
                with m.If(self.begin):
                    m.next = "measure"
            self._plan(m)
            self._write(m)
            with m.State("give"):
                m.d.comb += self.segments.valid.eq(1)
                with m.If(self.segments.ready):
                    m.d.sync += [
                        self._place.eq(self._place + self.offload.gso_size), segment.first.eq(0),
                        self._now.identification.eq(self._now.identification + 1),
                        self._now.sequence.eq(self._now.sequence + self.offload.gso_size),
                    ]
                    m.next = "measure"
                    with m.If(segment.last):
                        m.next = "idle"
        return m

    def _plan(self, m):
        """How long the segment is."""
        arrived, facts, segment = self.arrived, self.facts, self.segments.payload
        until = Signal(19)                       # the segment ends here if it is a full one
        fits, over, there, within, some = (Signal(name=name) for name in ("fits", "over", "there", "within", "some"))
        ended, good, hopeless = Signal(), Signal(), Signal()
        rest = Signal(18)
        with m.State("measure"):
            m.d.sync += [
                until.eq(self._place + self.offload.gso_size),
                fits.eq(facts.size + self.offload.gso_size <= self.max_frame),
            ]
            m.next = "look"
        with m.State("look"):
            m.d.sync += [
                ended.eq(arrived.ended), good.eq(arrived.good), hopeless.eq(arrived.open & arrived.hopeless),
                rest.eq(arrived.total - self._place),
                within.eq(arrived.total <= until), some.eq(arrived.total > self._place),
                there.eq(arrived.open & (arrived.stored > until) & (arrived.verified > until)),
                over.eq(arrived.open & (arrived.stored > self.max_frame) & (arrived.verified > self.max_frame)),
            ]
            m.next = "decide"
        with m.State("decide"):
            m.d.sync += [
                segment.last.eq(ended & within), self._payload.eq(Mux(ended & within, rest, self.offload.gso_size)),
            ]
            with m.If(ended):
                m.next = "check"
                with m.If(~good | ~some | (~within & ~fits)):
                    m.d.comb += self.malformed.eq(good)
                    m.next = "idle"
            with m.Elif(there & fits):
                m.next = "check"
            with m.Elif(hopeless):
                m.next = "idle"
            with m.Elif(over & ~fits):
                m.d.comb += self.malformed.eq(1)
                m.next = "idle"
            with m.Else():
                m.next = "look"
        with m.State("check"):
            m.d.sync += segment.bytes.eq(facts.size + self._payload)
            m.next = "length"
            with m.If(facts.size + self._payload > self.max_frame):
                m.d.comb += self.malformed.eq(1)
                m.next = "idle"

    def _write(self, m):
        """What differs from the segment before."""
        facts, segment, tcp = self.facts, self.segments.payload, self.offload.tcp
        write = Signal(HeaderWrite)
        network, pseudo = Signal(23), Signal(23)
        behind_network, behind_transport = Signal(16), Signal(16)   # bytes of the packets that begin there
        length, flags = Signal(16), Signal(16)
        m.d.sync += self.write.eq(write)
        m.d.comb += [
            length.eq(Mux(facts.ipv6, behind_network - IPV6_HEADER_BYTES, behind_network)),
            flags.eq(facts.control & Mux(segment.first, ~C(0, 16), ~C(CWR, 16))
                     & Mux(segment.last, ~C(0, 16), ~C(FIN_PSH, 16))),
        ]

        def field(at, value):
            m.d.comb += [write.enable.eq(1), write.at.eq(at), write.value.eq(value)]
        with m.State("length"):
            m.d.sync += [
                behind_network.eq(segment.bytes - facts.network), behind_transport.eq(segment.bytes - facts.transport),
                network.eq(fold16(facts.network_sum)), pseudo.eq(fold16(facts.pseudo_sum)),
            ]
            with m.If(self.free):
                with m.If(segment.first):       # the checksum is summed with 0 in its place
                    field(facts.transport + Mux(tcp, CHECKSUM_OF_TCP, CHECKSUM_OF_UDP), 0)
                m.next = "network length"
        with m.State("network length"):
            field(facts.network + Mux(facts.ipv6, 4, 2), length)
            m.d.sync += [network.eq(network + behind_network), pseudo.eq(pseudo + behind_transport)]
            m.next = "identification"
        with m.State("identification"):
            with m.If(~facts.ipv6):
                field(facts.network + 4, self._now.identification)
            m.d.sync += [network.eq(network + self._now.identification), pseudo.eq(fold16(pseudo))]
            m.next = "sequence high"
        with m.State("sequence high"):
            field(facts.transport + 4, Mux(tcp, self._now.sequence[16:], behind_transport))
            m.d.sync += [network.eq(fold16(network)), segment.pseudo.eq(fold16(pseudo))]
            m.next = "sequence low"
        with m.State("sequence low"):
            with m.If(tcp):
                field(facts.transport + 6, self._now.sequence[:16])
            m.d.sync += network.eq(fold16(network))
            m.next = "flags"
        with m.State("flags"):
            with m.If(tcp):
                field(facts.transport + 12, flags)
            m.next = "header checksum"
            with m.If(facts.ipv6):
                m.next = "give"
        with m.State("header checksum"):
            field(facts.network + 10, ~network[:16])
            m.next = "give"
