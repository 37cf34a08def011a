"""What the control queue tells the receive path about hashes and receive side scaling. No logic.

Source: VIRTIO 1.4, sections "Hash calculation for incoming packets" and "Receive-side scaling (RSS)".
"""

from amaranth.lib import data, enum

from ..config import HASH_TYPES, KEY_BYTES, TABLE_ENTRIES

__all__ = ["HashType", "ScalingSettings", "TableWrite"]


class HashType(enum.IntEnum, shape=4):
    """VIRTIO_NET_HASH_TYPE_* by bit number; hash_report is one more."""
    IPV4 = 0
    TCPV4 = 1
    UDPV4 = 2
    IPV6 = 3
    TCPV6 = 4
    UDPV6 = 5
    IP_EX = 6
    TCP_EX = 7
    UDP_EX = 8


class ScalingSettings(data.StructLayout):
    """In force from one cycle to the next.

    Fields: `scaling` receive side scaling decides, not automatic steering; `bank` of the indirection table; `mask` of
    the hash; `unclassified` queue; `types` enabled, a bit each; `key` its first bit lowest, see `Toeplitz`.
    """

    def __init__(self, pair_bits):
        super().__init__({"scaling": 1, "bank": 1, "mask": (TABLE_ENTRIES - 1).bit_length(), "unclassified": pair_bits,
                          "types": HASH_TYPES, "key": 8 * KEY_BYTES})


class TableWrite(data.StructLayout):
    """Pulse: an entry of the indirection table. Fields: `valid`; `bank`, `entry`; `queue` local index."""

    def __init__(self, pair_bits):
        super().__init__({"valid": 1, "bank": 1, "entry": (TABLE_ENTRIES - 1).bit_length(), "queue": pair_bits})
