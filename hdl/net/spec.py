"""Formats of the network device's packets.

Sources: OASIS Virtual I/O Device (VIRTIO) Version 1.4, section "Network Device / Device Operation" (struct
virtio_net_hdr); IEEE 802.3 and 802.1Q (Ethernet header, VLAN tags).
"""

from amaranth.lib import data, enum

__all__ = ["ETHERNET_HEADER_BYTES", "HEADER_SIZES", "GsoType", "VLAN_TAG_BYTES", "VirtioNetHeader", "is_vlan_tag"]


# Destination, source, EtherType: what a frame must have at least.
ETHERNET_HEADER_BYTES = 14
VLAN_TAG_BYTES = 4

# Bytes of virtio_net_hdr: plain; with hash report; with UDP tunnel segmentation; with outer header or IPsec.
HEADER_SIZES = (12, 20, 24, 32)


class GsoType(enum.Enum, shape=8):
    NONE = 0
    TCPV4 = 1
    UDP = 3
    TCPV6 = 4
    UDP_L4 = 5


class VirtioNetHeader(data.Struct):
    """struct virtio_net_hdr, the 12 bytes that every packet of a VERSION_1 device begins with; little-endian."""
    flags: 8
    gso_type: 8
    hdr_len: 16
    gso_size: 16
    csum_start: 16
    csum_offset: 16
    num_buffers: 16


def is_vlan_tag(first, second):
    """Whether the two bytes of an EtherType announce a VLAN tag: 0x8100 or 0x88a8."""
    return ((first == 0x81) & (second == 0x00)) | ((first == 0x88) & (second == 0xa8))
