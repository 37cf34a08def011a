"""Formats of the control virtqueue.

Source: VIRTIO Version 1.4, section "Control Virtqueue".
"""

import struct
from enum import IntEnum

__all__ = ["COAL", "COAL_VQ", "COAL_VQ_GET", "NET_ERR", "NET_OK", "PAIRS_LIMIT", "AnnounceCommand", "ControlClass",
           "MacCommand", "MqCommand", "NotfCoalCommand", "RxCommand", "VlanCommand", "mac_table"]


class ControlClass(IntEnum):
    """VIRTIO_NET_CTRL_..., the first byte of a command."""
    RX = 0
    MAC = 1
    VLAN = 2
    ANNOUNCE = 3
    MQ = 4
    NOTF_COAL = 6


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


class NotfCoalCommand(IntEnum):
    """VIRTIO_NET_CTRL_NOTF_COAL_..."""
    TX_SET = 0
    RX_SET = 1
    VQ_SET = 2
    VQ_GET = 3


NET_OK = 0
NET_ERR = 1
PAIRS_LIMIT = 0x8000
COAL = struct.Struct("<II")         # max_packets, max_usecs
COAL_VQ = struct.Struct("<HHII")    # vq_index, reserved, max_packets, max_usecs
COAL_VQ_GET = struct.Struct("<HH")  # of this, what the driver gives to VQ_GET


def mac_table(*kinds):
    """The data of MAC_TABLE_SET: a list of addresses of each kind, unicast and multicast."""
    return b"".join(len(addresses).to_bytes(4, "little") + b"".join(addresses) for addresses in kinds)
