"""Formats of the network device's packets.

Sources: OASIS Virtual I/O Device (VIRTIO) Version 1.4, section "Network Device / Device Operation" (struct
virtio_net_hdr); IEEE 802.3 and 802.1Q (Ethernet header, VLAN tags); RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP),
RFC 768 (UDP).
"""

from amaranth.lib import data, enum

__all__ = ["ETHERNET_HEADER_BYTES", "HEADER_BYTES", "ChecksumVerdict", "EtherType", "FrameHash", "GsoType",
           "HeaderFlag", "IPV4_HEADER_BYTES", "IPV6_HEADER_BYTES", "LONGEST_PACKET", "LONG_HEADER_BYTES",
           "PacketHeaders", "Protocol", "VLAN_TAG_BYTES", "VirtioNetHeader", "VirtioNetHeaderHash",
           "is_vlan_tag"]


# Destination, source, EtherType: what a frame must have at least.
ETHERNET_HEADER_BYTES = 14
VLAN_TAG_BYTES = 4
# Without options and extension headers.
IPV4_HEADER_BYTES = 20
IPV6_HEADER_BYTES = 40

# Bytes of virtio_net_hdr: plain, and with VIRTIO_NET_F_HASH_REPORT.
HEADER_BYTES, LONG_HEADER_BYTES = 12, 20

# Of a packet to be segmented: the longest IP packet behind an Ethernet header and two tags.
LONGEST_PACKET = 65535 + ETHERNET_HEADER_BYTES + 2 * VLAN_TAG_BYTES


class GsoType(enum.Enum, shape=8):
    NONE = 0
    TCPV4 = 1
    UDP = 3
    TCPV6 = 4
    UDP_L4 = 5


class HeaderFlag(enum.IntEnum, shape=8):
    """VIRTIO_NET_HDR_F_*."""
    NEEDS_CSUM = 1
    DATA_VALID = 2


class ChecksumVerdict(enum.Enum, shape=2):
    """Of the checksums of a received frame: nothing is claimed; all are right; one is wrong."""
    NONE = 0
    VALID = 1
    BAD = 2


class FrameHash(data.Struct):
    """`hash_value` and `hash_report` of struct virtio_net_hdr, the latter as far as it is used."""
    value: 32
    report: 4


class EtherType(enum.IntEnum, shape=16):
    IPV4 = 0x0800
    VLAN = 0x8100
    IPV6 = 0x86dd


class Protocol(enum.IntEnum, shape=8):
    """IPv4 protocol, IPv6 next header (IANA, "Assigned Internet Protocol Numbers")."""
    HOP_BY_HOP = 0
    TCP = 6
    UDP = 17
    ROUTING = 43
    FRAGMENT = 44
    DESTINATION_OPTIONS = 60


class PacketHeaders(data.Struct):
    """What is known of a frame's headers. Addresses have their first byte on the wire lowest; all else are numbers.

    Fields
    ------
    destination_mac, source_mac : 48 bits
    tags : VLAN tags, 0 to 2; what looks like a third one is an EtherType
    outer_tag, inner_tag : tag control information of the first and the second tag, if there
    customer_tag : the first tag is one of 802.1Q, TPID 0x8100
    ethertype : behind the tags; 0 if the frame ends before
    ipv4, ipv6 : the EtherType says so, the version is right, and the fixed header (IPv4: with its options) is inside
    source, destination : IP addresses; IPv4 in the low 32 bits; 0 without IP
    final_source, final_destination : the same, but of IPv6 the home address (RFC 6275, sections 6.3 and 6.4) where a
        destination option, or a routing header of type 2, has one; the option behind nothing but padding;
        valid with `ipv6`
    extended : IPv6 with extension headers of the kinds that are followed, or a fragment header
    endpoints : `flow.fold_pair` of source and destination, without IP of the MAC addresses
    fragment : part of a fragmented packet, the first part as well as later ones
    protocol : behind IPv4, or behind the IPv6 extension headers; 0 if not found
    transport : a header of `protocol` begins at `l4_offset`; never in a fragment
    tcp, udp : `transport`, and the ports are inside the frame and the IP packet
    source_port, destination_port : of TCP or UDP, else 0
    l3_offset : bytes before what the EtherType announces: 14, 18 or 22
    l4_offset : bytes before the header of `protocol`; valid with `transport`
    truncated : the frame ends before a header that is announced, or before the ports
    malformed : a header contradicts itself or its EtherType
    unreached : IPv6 extension headers go on for too long to be followed
    """
    destination_mac: 48
    source_mac: 48
    tags: 2
    customer_tag: 1
    outer_tag: 16
    inner_tag: 16
    ethertype: 16
    ipv4: 1
    ipv6: 1
    source: 128
    destination: 128
    final_source: 128
    final_destination: 128
    extended: 1
    endpoints: 64
    fragment: 1
    protocol: 8
    transport: 1
    tcp: 1
    udp: 1
    source_port: 16
    destination_port: 16
    l3_offset: 5
    l4_offset: 7
    truncated: 1
    malformed: 1
    unreached: 1


class VirtioNetHeader(data.Struct):
    """struct virtio_net_hdr, the 12 bytes that every packet of a VERSION_1 device begins with; little-endian."""
    flags: 8
    gso_type: 8
    hdr_len: 16
    gso_size: 16
    csum_start: 16
    csum_offset: 16
    num_buffers: 16


class VirtioNetHeaderHash(data.Struct):
    """The same with what VIRTIO_NET_F_HASH_REPORT adds: 20 bytes."""
    plain: VirtioNetHeader
    hash_value: 32
    hash_report: 16
    reserved: 16


def is_vlan_tag(first, second):
    """Whether the two bytes of an EtherType announce a VLAN tag: 0x8100 or 0x88a8."""
    return ((first == 0x81) & (second == 0x00)) | ((first == 0x88) & (second == 0xa8))
