"""Wire formats of a virtio network device: NumPy dtypes, offsets and bits.

Source: OASIS Virtual I/O Device (VIRTIO) Version 1.4, sections "Packed Virtqueues", "Virtio Over PCI Bus" and "Network
Device"; the formats of PCI itself are in `model.pci`.
Declared here on their own, and never derived from `hdl`, so that a wrong offset cannot cancel out.
"""

import struct
from enum import IntEnum, IntFlag

import numpy as np

from model.control_formats import *

# Identity ------------------------------------------------------------------------------------------------------------

VENDOR_ID = 0x1af4
DEVICE_ID_NET = 0x1041
CLASS_ETHERNET = 0x020000


class Status(IntFlag):
    """device_status."""
    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    SUSPEND = 16
    NEEDS_RESET = 64
    FAILED = 128


class Feature(IntEnum):
    """Feature bit numbers; `feature_set(...)` makes a mask of them."""
    NET_CSUM = 0
    NET_GUEST_CSUM = 1
    NET_CTRL_GUEST_OFFLOADS = 2
    NET_MTU = 3
    NET_MAC = 5
    NET_GUEST_TSO4 = 7
    NET_GUEST_TSO6 = 8
    NET_GUEST_ECN = 9
    NET_GUEST_UFO = 10
    NET_HOST_TSO4 = 11
    NET_HOST_TSO6 = 12
    NET_HOST_ECN = 13
    NET_HOST_UFO = 14
    NET_MRG_RXBUF = 15
    NET_STATUS = 16
    NET_CTRL_VQ = 17
    NET_CTRL_RX = 18
    NET_CTRL_VLAN = 19
    NET_CTRL_RX_EXTRA = 20
    NET_GUEST_ANNOUNCE = 21
    NET_MQ = 22
    NET_CTRL_MAC_ADDR = 23
    INDIRECT_DESC = 28
    EVENT_IDX = 29
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
    SUSPEND = 43
    NET_DEVICE_STATS = 50
    NET_HASH_TUNNEL = 51
    NET_VQ_NOTF_COAL = 52
    NET_NOTF_COAL = 53
    NET_GUEST_USO4 = 54
    NET_GUEST_USO6 = 55
    NET_HOST_USO = 56
    NET_HASH_REPORT = 57
    NET_GUEST_HDRLEN = 59
    NET_RSS = 60
    NET_RSC_EXT = 61
    NET_STANDBY = 62
    NET_SPEED_DUPLEX = 63
    NET_RSS_CONTEXT = 64
    NET_GUEST_UDP_TUNNEL_GSO = 65
    NET_GUEST_UDP_TUNNEL_GSO_CSUM = 66
    NET_HOST_UDP_TUNNEL_GSO = 67
    NET_HOST_UDP_TUNNEL_GSO_CSUM = 68
    NET_OUT_NET_HEADER = 69
    NET_IPSEC = 70


FEATURE_WINDOWS = 3     # 32-bit windows that hold bits defined for a network device


def feature_set(*features):
    """Mask with the bits of `features`."""
    return sum({1 << feature for feature in features})


def has_feature(mask, feature):
    """Whether `feature` is in `mask`."""
    return bool(mask >> feature & 1)


RING_FEATURES = feature_set(Feature.NOTIFICATION_DATA, Feature.NOTIF_CONFIG_DATA, Feature.EVENT_IDX, Feature.IN_ORDER,
                            Feature.INDIRECT_DESC, Feature.RING_RESET)
RECEIVE_FEATURES = feature_set(Feature.NET_MRG_RXBUF)
OFFLOAD_FEATURES = feature_set(Feature.NET_GUEST_CSUM, Feature.NET_RSS, Feature.NET_HASH_REPORT)
FILTER_FEATURES = feature_set(Feature.NET_CTRL_VQ, Feature.NET_CTRL_RX, Feature.NET_CTRL_RX_EXTRA,
                              Feature.NET_CTRL_VLAN, Feature.NET_CTRL_MAC_ADDR)
CONTROL_FEATURES = feature_set(Feature.NET_CTRL_VQ, Feature.NET_MQ, Feature.NET_NOTF_COAL, Feature.NET_VQ_NOTF_COAL,
                               Feature.NET_DEVICE_STATS, Feature.NET_CTRL_GUEST_OFFLOADS)
TRANSMIT_FEATURES = feature_set(Feature.NET_CSUM, Feature.NET_HOST_TSO4, Feature.NET_HOST_TSO6, Feature.NET_HOST_ECN,
                                Feature.NET_HOST_USO, Feature.NET_GUEST_HDRLEN)


def feature_names(mask):
    """Names of the bits in `mask`, unknown ones as numbers, for messages."""
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    known = set(Feature)
    return [Feature(bit).name if bit in known else str(bit) for bit in bits]


# Guest offload → its bit in the mask of GUEST_OFFLOADS_SET
GUEST_OFFLOAD_BITS = {
    Feature.NET_GUEST_CSUM: 1, Feature.NET_GUEST_TSO4: 7, Feature.NET_GUEST_TSO6: 8, Feature.NET_GUEST_ECN: 9,
    Feature.NET_GUEST_UFO: 10, Feature.NET_GUEST_UDP_TUNNEL_GSO: 46, Feature.NET_GUEST_UDP_TUNNEL_GSO_CSUM: 47,
    Feature.NET_GUEST_USO4: 54, Feature.NET_GUEST_USO6: 55,
}


def guest_offloads(features):
    """Mask of the guest offloads among the feature bits in `features`."""
    return sum(1 << bit for feature, bit in GUEST_OFFLOAD_BITS.items() if has_feature(features, feature))


_ANY_HOST_TSO = (Feature.NET_HOST_TSO4, Feature.NET_HOST_TSO6)
_ANY_GUEST_TSO = (Feature.NET_GUEST_TSO4, Feature.NET_GUEST_TSO6)

FEATURE_NEEDS = {
    # feature: groups, of each of which at least one must be accepted too
    Feature.NET_GUEST_TSO4: [(Feature.NET_GUEST_CSUM,)],
    Feature.NET_GUEST_TSO6: [(Feature.NET_GUEST_CSUM,)],
    Feature.NET_GUEST_ECN: [_ANY_GUEST_TSO],
    Feature.NET_GUEST_UFO: [(Feature.NET_GUEST_CSUM,)],
    Feature.NET_GUEST_USO4: [(Feature.NET_GUEST_CSUM,)],
    Feature.NET_GUEST_USO6: [(Feature.NET_GUEST_CSUM,)],
    Feature.NET_HOST_TSO4: [(Feature.NET_CSUM,)],
    Feature.NET_HOST_TSO6: [(Feature.NET_CSUM,)],
    Feature.NET_HOST_ECN: [_ANY_HOST_TSO],
    Feature.NET_HOST_UFO: [(Feature.NET_CSUM,)],
    Feature.NET_HOST_USO: [(Feature.NET_CSUM,)],
    Feature.NET_CTRL_RX: [(Feature.NET_CTRL_VQ,)],
    Feature.NET_CTRL_VLAN: [(Feature.NET_CTRL_VQ,)],
    Feature.NET_GUEST_ANNOUNCE: [(Feature.NET_CTRL_VQ,)],
    Feature.NET_MQ: [(Feature.NET_CTRL_VQ,)],
    Feature.NET_CTRL_MAC_ADDR: [(Feature.NET_CTRL_VQ,)],
    Feature.NET_VQ_NOTF_COAL: [(Feature.NET_CTRL_VQ,)],
    Feature.NET_NOTF_COAL: [(Feature.NET_CTRL_VQ,)],
    Feature.NET_RSS: [(Feature.NET_CTRL_VQ,)],
    Feature.NET_HASH_TUNNEL: [(Feature.NET_CTRL_VQ,), (Feature.NET_RSS, Feature.NET_HASH_REPORT)],
    Feature.NET_RSC_EXT: [_ANY_HOST_TSO],
    Feature.NET_RSS_CONTEXT: [(Feature.NET_CTRL_VQ,), (Feature.NET_RSS,)],
    Feature.NET_GUEST_UDP_TUNNEL_GSO: [(Feature.NET_GUEST_TSO4,), (Feature.NET_GUEST_TSO6,), (Feature.NET_GUEST_USO4,),
                                       (Feature.NET_GUEST_USO6,)],
    Feature.NET_GUEST_UDP_TUNNEL_GSO_CSUM: [(Feature.NET_GUEST_UDP_TUNNEL_GSO,)],
    Feature.NET_HOST_UDP_TUNNEL_GSO: [(Feature.NET_HOST_TSO4,), (Feature.NET_HOST_TSO6,), (Feature.NET_HOST_USO,)],
    Feature.NET_HOST_UDP_TUNNEL_GSO_CSUM: [(Feature.NET_HOST_UDP_TUNNEL_GSO,)],
}


def lacking_prerequisites(mask):
    """Features in `mask` of which a prerequisite is not in `mask`."""
    return [feature for feature, groups in FEATURE_NEEDS.items() if mask >> feature & 1
            and not all(any(mask >> need & 1 for need in group) for group in groups)]


# Packed virtqueue ----------------------------------------------------------------------------------------------------

PVIRTQ_DESC = np.dtype([("address", "<u8"), ("length", "<u4"), ("id", "<u2"), ("flags", "<u2")])
DESC = struct.Struct("<QIHH")               # the same, for one descriptor at a time
DESC_BYTES = 16
DESC_FLAGS_OFFSET = 14

DESC_NEXT = 0x0001
DESC_WRITE = 0x0002
DESC_INDIRECT = 0x0004
DESC_AVAIL = 0x0080
DESC_USED = 0x8000
DESC_WRAP_BITS = DESC_AVAIL | DESC_USED

AVAILABLE = (DESC_USED, DESC_AVAIL)         # [wrap]: AVAIL = wrap, USED = not wrap
USED = (0, DESC_AVAIL | DESC_USED)          # [wrap]: AVAIL = USED = wrap

PVIRTQ_EVENT_SUPPRESS = np.dtype([("desc", "<u2"), ("flags", "<u2")])   # desc: offset in [14:0], wrap in [15]
EVENT = struct.Struct("<HH")
EVENT_ENABLE = 0
EVENT_DISABLE = 1
EVENT_DESC = 2

QUEUE_SIZE_LIMIT = 32768


# Network device ------------------------------------------------------------------------------------------------------

VIRTIO_NET_HDR = np.dtype([
    ("flags", "u1"), ("gso_type", "u1"), ("hdr_len", "<u2"), ("gso_size", "<u2"), ("csum_start", "<u2"),
    ("csum_offset", "<u2"), ("num_buffers", "<u2")])
VIRTIO_NET_HDR_HASH = np.dtype(VIRTIO_NET_HDR.descr + [
    ("hash_value", "<u4"), ("hash_report", "<u2"), ("padding_reserved", "<u2")])
VIRTIO_NET_HDR_TUNNEL = np.dtype(VIRTIO_NET_HDR_HASH.descr + [("outer_th_offset", "<u2"), ("inner_nh_offset", "<u2")])
VIRTIO_NET_HDR_OUT = np.dtype(VIRTIO_NET_HDR_TUNNEL.descr + [
    ("outer_nh_offset", "<u2"), ("resource_id", "<u4"), ("resource_type", "<u2")])


# flags of virtio_net_hdr
NET_HDR_F_NEEDS_CSUM, NET_HDR_F_DATA_VALID = 1, 2


class GsoType(IntEnum):
    """gso_type without GSO_ECN."""
    NONE = 0
    TCPV4 = 1
    UDP = 3
    TCPV6 = 4
    UDP_L4 = 5


GSO_ECN = 0x80


def net_header_bytes(features):
    """Size of struct virtio_net_hdr with the negotiated `features`, the same on transmit and receive."""
    def has(*names):
        return any(features >> name & 1 for name in names)
    if has(Feature.NET_OUT_NET_HEADER, Feature.NET_IPSEC):
        return VIRTIO_NET_HDR_OUT.itemsize
    if has(Feature.NET_HOST_UDP_TUNNEL_GSO, Feature.NET_GUEST_UDP_TUNNEL_GSO):
        return VIRTIO_NET_HDR_TUNNEL.itemsize
    if has(Feature.NET_HASH_REPORT):
        return VIRTIO_NET_HDR_HASH.itemsize
    return VIRTIO_NET_HDR.itemsize


VIRTIO_NET_CONFIG = np.dtype([
    ("mac", "u1", 6), ("status", "<u2"), ("max_virtqueue_pairs", "<u2"), ("mtu", "<u2"), ("speed", "<u4"),
    ("duplex", "u1"), ("rss_max_key_size", "u1"), ("rss_max_indirection_table_length", "<u2"),
    ("supported_hash_types", "<u4"), ("supported_tunnel_types", "<u4")])

NET_S_LINK_UP = 1
NET_S_ANNOUNCE = 2
SPEED_UNKNOWN = 0xffff_ffff
DUPLEX_FULL = 1
DUPLEX_UNKNOWN = 0xff

ETHERNET_HEADER = 14
VLAN_TAG = 4
VLANS = 4096


# Control virtqueue ---------------------------------------------------------------------------------------------------

def control_queue(features, pairs):
    """Index of the control virtqueue of a card with at most `pairs` pairs, or None without VIRTIO_NET_F_CTRL_VQ."""
    if not has_feature(features, Feature.NET_CTRL_VQ):
        return None
    return 2 * pairs if has_feature(features, Feature.NET_MQ) or has_feature(features, Feature.NET_RSS) else 2


# Virtio over PCI -----------------------------------------------------------------------------------------------------

COMMON_CFG = np.dtype([
    ("device_feature_select", "<u4"), ("device_feature", "<u4"), ("driver_feature_select", "<u4"),
    ("driver_feature", "<u4"), ("config_msix_vector", "<u2"), ("num_queues", "<u2"), ("device_status", "u1"),
    ("config_generation", "u1"), ("queue_select", "<u2"), ("queue_size", "<u2"), ("queue_msix_vector", "<u2"),
    ("queue_enable", "<u2"), ("queue_notify_off", "<u2"), ("queue_desc", "<u8"), ("queue_driver", "<u8"),
    ("queue_device", "<u8"), ("queue_notif_config_data", "<u2"), ("queue_reset", "<u2"), ("admin_queue_index", "<u2"),
    ("admin_queue_num", "<u2")])

NO_VECTOR = 0xffff
VECTORS_LIMIT = 0x800
ISR_QUEUE = 1
ISR_CONFIG = 2


class CapType(IntEnum):
    """cfg_type of struct virtio_pci_cap."""
    COMMON = 1
    NOTIFY = 2
    ISR = 3
    DEVICE = 4
    PCI = 5
    SHARED_MEMORY = 8
    VENDOR = 9


VIRTIO_PCI_CAP = np.dtype([
    ("cap_vndr", "u1"), ("cap_next", "u1"), ("cap_len", "u1"), ("cfg_type", "u1"), ("bar", "u1"), ("id", "u1"),
    ("padding", "<u2"), ("offset", "<u4"), ("length", "<u4")])
VIRTIO_PCI_NOTIFY_CAP = np.dtype(VIRTIO_PCI_CAP.descr + [("notify_off_multiplier", "<u4")])
VIRTIO_PCI_CFG_CAP = np.dtype(VIRTIO_PCI_CAP.descr + [("pci_cfg_data", "<u4")])


def field(dtype, name):
    """(offset, size in bytes) of a field."""
    shape, offset = dtype.fields[name][:2]
    return offset, shape.itemsize
