"""What a transmitted packet's header asks for."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .spec import LONGEST_PACKET, GsoType, HeaderFlag, VirtioNetHeader

__all__ = ["CHECKSUM_BYTES", "CHECKSUM_OF_TCP", "CHECKSUM_OF_UDP", "FrameSent", "Offload", "OffloadDecode",
           "TransmitFeatures"]


# Place of the checksum in the transport header: RFC 9293, RFC 768.
CHECKSUM_OF_TCP = 16
CHECKSUM_OF_UDP = 6
CHECKSUM_BYTES = 2


class TransmitFeatures(data.Struct):
    """Negotiated: VIRTIO_NET_F_CSUM, HOST_TSO4, HOST_TSO6, HOST_ECN, HOST_USO."""
    csum: 1
    tso4: 1
    tso6: 1
    ecn: 1
    uso: 1

    def segments(self):
        """Whether packets may be cut in segments."""
        return self.tso4 | self.tso6 | self.uso


class Offload(data.Struct):
    """What is to be done with a packet.

    Fields
    ------
    segment : cut it in segments, `legal` as far as its header tells; of these `tcp` or UDP, `ipv4` or `ipv6` or either
    checksum : not with `segment`: complete one checksum
    needs_csum : VIRTIO_NET_HDR_F_NEEDS_CSUM was set
    gso_size, start : gso_size, csum_start of the header
    end : bytes of the packet up to the checksum's end
    never_zero : by its place the checksum is that of UDP
    """
    segment: 1
    legal: 1
    tcp: 1
    ipv4: 1
    ipv6: 1
    checksum: 1
    needs_csum: 1
    gso_size: 16
    start: 16
    end: 18
    never_zero: 1


class FrameSent(data.StructLayout):
    """Pulse that tells of a frame that goes out, for statistics.

    Fields: `valid`; `queue` local index; `bytes`; `needs_csum` the packet's header said so; `segment` the frame was cut
    from a packet, of whose frames it is the `first`, the `last`; `packet_bytes` of that packet, with its last frame.
    """

    def __init__(self, pair_bits, max_frame):
        super().__init__({
            "valid": 1, "queue": pair_bits, "bytes": range(max_frame + 1), "needs_csum": 1, "segment": 1,
            "first": 1, "last": 1, "packet_bytes": range(LONGEST_PACKET + 1),
        })


class OffloadDecode(wiring.Component):
    """Reads headers, in view of what was negotiated. Latency 1 cycle.

    NEEDS_CSUM without VIRTIO_NET_F_CSUM is an unknown flag, which is ignored; a gso_type that isn't negotiated makes a
    packet to be segmented that isn't `legal`. hdr_len is not used: headers tell their length themselves.

    Attributes
    ----------
    features : In(TransmitFeatures)
    header : In(VirtioNetHeader); complete : In(1)
        pulse: a packet's header
    offload : Out(Offload)
        what the last of them asks for
    """

    features: In(TransmitFeatures)
    header: In(VirtioNetHeader)
    complete: In(1)
    offload: Out(Offload)

    def elaborate(self, platform):
        m = Module()
        header, features, o = Signal(VirtioNetHeader), self.features, self.offload
        # Packets wait for what is added up or compared here; `legal` is looked at later than the rest.
        with m.If(self.complete):
            m.d.sync += [
                header.eq(self.header),
                o.segment.eq(self.header.gso_type != GsoType.NONE.value),
                o.end.eq(self.header.csum_start + self.header.csum_offset + CHECKSUM_BYTES),
                o.never_zero.eq(self.header.csum_offset == CHECKSUM_OF_UDP),
            ]
        kind, ecn = header.gso_type[:7], header.gso_type[7]
        tcp4 = (kind == GsoType.TCPV4.value) & features.tso4
        tcp6 = (kind == GsoType.TCPV6.value) & features.tso6
        udp = (kind == GsoType.UDP_L4.value) & features.uso
        m.d.comb += [
            o.needs_csum.eq((header.flags & HeaderFlag.NEEDS_CSUM.value).any() & features.csum),
            o.checksum.eq(o.needs_csum & ~o.segment),
            o.tcp.eq(tcp4 | tcp6), o.ipv4.eq(tcp4 | udp), o.ipv6.eq(tcp6 | udp),
            o.legal.eq((o.tcp | (udp & ~ecn)) & (~ecn | features.ecn) & o.needs_csum & (header.gso_size != 0)
                       & (header.csum_offset == Mux(o.tcp, CHECKSUM_OF_TCP, CHECKSUM_OF_UDP))),
            o.gso_size.eq(header.gso_size), o.start.eq(header.csum_start),
        ]
        return m
