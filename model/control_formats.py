"""Formats of the control virtqueue.

Source: VIRTIO Version 1.4, section "Control Virtqueue".
"""

import struct
from enum import IntEnum

__all__ = ["COAL", "COAL_VQ", "COAL_VQ_GET", "NET_ERR", "NET_OK", "PAIRS_LIMIT", "AnnounceCommand", "ControlClass",
           "GuestOffloadsCommand", "MacCommand", "MqCommand", "NotfCoalCommand", "RxCommand", "STATISTICS",
           "STATS_REPLY", "STATS_REQUEST", "StatisticType", "StatsCommand", "VlanCommand", "mac_table"]


class ControlClass(IntEnum):
    """VIRTIO_NET_CTRL_..., the first byte of a command."""
    RX = 0
    MAC = 1
    VLAN = 2
    ANNOUNCE = 3
    MQ = 4
    GUEST_OFFLOADS = 5
    NOTF_COAL = 6
    STATS = 8


class RxCommand(IntEnum):
    """VIRTIO_NET_CTRL_RX_..."""
    PROMISC = 0
    ALLMULTI = 1
    ALLUNI = 2
    NOMULTI = 3
    NOUNI = 4
    NOBCAST = 5


class MacCommand(IntEnum):
    """VIRTIO_NET_CTRL_MAC_..."""
    TABLE_SET = 0
    ADDR_SET = 1


class VlanCommand(IntEnum):
    """VIRTIO_NET_CTRL_VLAN_..."""
    ADD = 0
    DEL = 1


class AnnounceCommand(IntEnum):
    """VIRTIO_NET_CTRL_ANNOUNCE_..."""
    ACK = 0


class MqCommand(IntEnum):
    """VIRTIO_NET_CTRL_MQ_..."""
    VQ_PAIRS_SET = 0
    RSS_CONFIG = 1
    HASH_CONFIG = 2


class GuestOffloadsCommand(IntEnum):
    """VIRTIO_NET_CTRL_GUEST_OFFLOADS_..."""
    SET = 0


class NotfCoalCommand(IntEnum):
    """VIRTIO_NET_CTRL_NOTF_COAL_..."""
    TX_SET = 0
    RX_SET = 1
    VQ_SET = 2
    VQ_GET = 3


class StatsCommand(IntEnum):
    """VIRTIO_NET_CTRL_STATS_..."""
    QUERY = 0
    GET = 1


class StatisticType(IntEnum):
    """VIRTIO_NET_STATS_TYPE_...: bit in a request, type of a reply."""
    RX_BASIC = 0
    RX_CSUM = 1
    RX_GSO = 2
    RX_SPEED = 3
    TX_BASIC = 16
    TX_CSUM = 17
    TX_GSO = 18
    TX_SPEED = 19
    CVQ = 32


# Counters of each type, 64 bits each, in their order.
STATISTICS = {
    StatisticType.RX_BASIC: ("rx_notifications", "rx_packets", "rx_bytes", "rx_interrupts", "rx_drops",
                             "rx_drop_overruns"),
    StatisticType.RX_CSUM: ("rx_csum_valid", "rx_needs_csum", "rx_csum_none", "rx_csum_bad"),
    StatisticType.RX_GSO: ("rx_gso_packets", "rx_gso_bytes", "rx_gso_packets_coalesced", "rx_gso_bytes_coalesced"),
    StatisticType.RX_SPEED: ("rx_packets_allowance_exceeded", "rx_bytes_allowance_exceeded"),
    StatisticType.TX_BASIC: ("tx_notifications", "tx_packets", "tx_bytes", "tx_interrupts", "tx_drops",
                             "tx_drop_malformed"),
    StatisticType.TX_CSUM: ("tx_csum_none", "tx_needs_csum"),
    StatisticType.TX_GSO: ("tx_gso_packets", "tx_gso_bytes", "tx_gso_segments", "tx_gso_segments_bytes",
                           "tx_gso_packets_noseg", "tx_gso_bytes_noseg"),
    StatisticType.TX_SPEED: ("tx_packets_allowance_exceeded", "tx_bytes_allowance_exceeded"),
    StatisticType.CVQ: ("command_num", "ok_num"),
}
STATS_REQUEST = struct.Struct("<H6xQ")      # vq_index, reserved, types_bitmap
STATS_REPLY = struct.Struct("<BxHxxH")      # type, vq_index, size; the counters follow

NET_OK = 0
NET_ERR = 1
PAIRS_LIMIT = 0x8000
COAL = struct.Struct("<II")         # max_packets, max_usecs
COAL_VQ = struct.Struct("<HHII")    # vq_index, reserved, max_packets, max_usecs
COAL_VQ_GET = struct.Struct("<HH")  # of this, what the driver gives to VQ_GET


def mac_table(*kinds):
    """The data of MAC_TABLE_SET: a list of addresses of each kind, unicast and multicast."""
    return b"".join(len(addresses).to_bytes(4, "little") + b"".join(addresses) for addresses in kinds)
