"""Identity, status and feature bits of a virtio network device.

Source: OASIS Virtual I/O Device (VIRTIO) Version 1.4, sections "Device Status Field", "Feature Bits", "Reserved Feature
Bits", "Network Device / Feature bits", "MSI-X Vector Configuration" and "Network device configuration layout".
No logic; the register layouts are in `maps`.
"""

import enum

from amaranth.lib import data

__all__ = ["Feature", "FEATURE_BITS", "GUEST_OFFLOADS", "NO_VECTOR", "MAX_VECTORS", "Status", "LinkStatus", "Duplex",
           "IsrStatus", "SPEED_UNKNOWN", "MIN_MTU"]


# Bits kept for the driver's features: windows 0 to 3. The highest bit that the specification defines is 70.
FEATURE_BITS = 128
# VIRTIO_MSI_NO_VECTOR: the event is mapped to no vector.
NO_VECTOR = 0xffff
# "Valid vector numbers are 0 to 0x7FF".
MAX_VECTORS = 0x800
# speed: the link's speed is unknown.
SPEED_UNKNOWN = 0xffff_ffff
# Smallest value that mtu may have.
MIN_MTU = 68


class Status(data.Struct):
    """device_status."""
    acknowledge: 1
    driver: 1
    driver_ok: 1
    features_ok: 1
    suspend: 1
    reserved5: 1
    needs_reset: 1
    failed: 1


class IsrStatus(data.Struct):
    """ISR status; bits 2 and up are reserved."""
    queue: 1
    config: 1


class LinkStatus(data.Struct):
    """`status` of the network configuration: VIRTIO_NET_S_*."""
    link_up: 1
    announce: 1
    reserved2: 14


class Duplex(enum.IntEnum):
    """`duplex` of the network configuration. The normative sentence swaps the first two against the field's
    description; Linux and QEMU follow the description, and so does this card."""
    HALF = 0x00
    FULL = 0x01
    UNKNOWN = 0xff


class Feature(enum.IntEnum):
    """Feature bits by number: VIRTIO_F_* and VIRTIO_NET_F_*."""
    # Network, 0 to 23
    CSUM = 0
    GUEST_CSUM = 1
    CTRL_GUEST_OFFLOADS = 2
    MTU = 3
    MAC = 5
    GSO = 6                     # legacy
    GUEST_TSO4 = 7
    GUEST_TSO6 = 8
    GUEST_ECN = 9
    GUEST_UFO = 10
    HOST_TSO4 = 11
    HOST_TSO6 = 12
    HOST_ECN = 13
    HOST_UFO = 14
    MRG_RXBUF = 15
    STATUS = 16
    CTRL_VQ = 17
    CTRL_RX = 18
    CTRL_VLAN = 19
    CTRL_RX_EXTRA = 20
    GUEST_ANNOUNCE = 21
    MQ = 22
    CTRL_MAC_ADDR = 23
    # Device independent, 24 to 49
    NOTIFY_ON_EMPTY = 24        # legacy
    ANY_LAYOUT = 27             # legacy
    INDIRECT_DESC = 28
    EVENT_IDX = 29
    UNUSED = 30                 # legacy
    VERSION_1 = 32
    ACCESS_PLATFORM = 33
    RING_PACKED = 34
    IN_ORDER = 35
    ORDER_PLATFORM = 36
    SR_IOV = 37
    NOTIFICATION_DATA = 38
    NOTIF_CONFIG_DATA = 39
    RING_RESET = 40
    ADMIN_VQ = 41
    GUEST_RSC6 = 42             # legacy; 41 was GUEST_RSC4
    SUSPEND = 43
    # Network, 50 and up
    DEVICE_STATS = 50
    HASH_TUNNEL = 51
    VQ_NOTF_COAL = 52
    NOTF_COAL = 53
    GUEST_USO4 = 54
    GUEST_USO6 = 55
    HOST_USO = 56
    HASH_REPORT = 57
    GUEST_HDRLEN = 59
    RSS = 60
    RSC_EXT = 61
    STANDBY = 62
    SPEED_DUPLEX = 63
    RSS_CONTEXT = 64
    GUEST_UDP_TUNNEL_GSO = 65
    GUEST_UDP_TUNNEL_GSO_CSUM = 66
    HOST_UDP_TUNNEL_GSO = 67
    HOST_UDP_TUNNEL_GSO_CSUM = 68
    OUT_NET_HEADER = 69
    IPSEC = 70


# Guest offload → its bit in VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, which has no room for feature bits above 63.
GUEST_OFFLOADS = {
    Feature.GUEST_CSUM: 1, Feature.GUEST_TSO4: 7, Feature.GUEST_TSO6: 8, Feature.GUEST_ECN: 9, Feature.GUEST_UFO: 10,
    Feature.GUEST_UDP_TUNNEL_GSO: 46, Feature.GUEST_UDP_TUNNEL_GSO_CSUM: 47, Feature.GUEST_USO4: 54,
    Feature.GUEST_USO6: 55,
}
