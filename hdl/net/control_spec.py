"""Formats of the control virtqueue, and what its blocks tell each other. No logic.

Source: OASIS Virtual I/O Device (VIRTIO) Version 1.4, section "Network Device / Device Operation / Control Virtqueue".
"""

from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ControlClass", "ReceiveCommand", "MacCommand", "VlanCommand", "AnnounceCommand", "MultiqueueCommand",
           "CoalescingCommand", "OffloadsCommand", "StatisticsCommand", "Ack", "ControlFeatures", "Reply", "ROOM_BITS",
           "HandlerPort", "CoalescingSettings", "QueueEnable", "Place", "UsedBuffer", "ControlInterrupt"]


class ControlClass(enum.Enum, shape=8):
    """VIRTIO_NET_CTRL_*: first byte of a command."""
    RX = 0
    MAC = 1
    VLAN = 2
    ANNOUNCE = 3
    MQ = 4
    GUEST_OFFLOADS = 5
    NOTF_COAL = 6
    HASH_TUNNEL = 7
    STATS = 8
    RSS_CTX = 9


class ReceiveCommand(enum.Enum, shape=8):
    """Commands of class RX."""
    PROMISC = 0
    ALLMULTI = 1
    ALLUNI = 2
    NOMULTI = 3
    NOUNI = 4
    NOBCAST = 5


class MacCommand(enum.Enum, shape=8):
    """Commands of class MAC."""
    TABLE_SET = 0
    ADDR_SET = 1


class VlanCommand(enum.Enum, shape=8):
    """Commands of class VLAN."""
    ADD = 0
    DEL = 1


class AnnounceCommand(enum.Enum, shape=8):
    """Commands of class ANNOUNCE."""
    ACK = 0


class MultiqueueCommand(enum.Enum, shape=8):
    """Commands of class MQ."""
    VQ_PAIRS_SET = 0
    RSS_CONFIG = 1
    HASH_CONFIG = 2


class CoalescingCommand(enum.Enum, shape=8):
    """Commands of class NOTF_COAL."""
    TX_SET = 0
    RX_SET = 1
    VQ_SET = 2
    VQ_GET = 3


class OffloadsCommand(enum.Enum, shape=8):
    """Commands of class GUEST_OFFLOADS."""
    SET = 0


class StatisticsCommand(enum.Enum, shape=8):
    """Commands of class STATS."""
    QUERY = 0
    GET = 1


class Ack(enum.Enum, shape=8):
    """VIRTIO_NET_OK and VIRTIO_NET_ERR."""
    OK = 0
    ERR = 1


class ControlFeatures(data.Struct):
    """Negotiated features that commands depend on, constant while the device is live: VIRTIO_NET_F_MQ, NOTF_COAL,
    VQ_NOTF_COAL, RSS, HASH_REPORT, CTRL_RX, CTRL_RX_EXTRA, CTRL_VLAN, CTRL_MAC_ADDR, GUEST_ANNOUNCE, DEVICE_STATS,
    CTRL_GUEST_OFFLOADS; and for the types of statistics GUEST_CSUM, CSUM, and any of HOST_TSO4, HOST_TSO6 and
    HOST_USO."""
    multiqueue: 1
    coalescing: 1
    queue_coalescing: 1
    scaling: 1
    hash_report: 1
    receive_modes: 1
    receive_extra: 1
    vlan: 1
    mac_address: 1
    announce: 1
    statistics: 1
    guest_offloads: 1
    receive_checksum: 1
    transmit_checksum: 1
    segmentation: 1


class Reply(data.Struct):
    """A byte of the device-writable part; `ack` says whether it is that, `last` ends the part."""
    data: 8
    ack: 1
    last: 1


# Device-writable bytes of a command, saturated: enough for all statistics of 513 virtqueues.
ROOM_BITS = 17


class HandlerPort(wiring.Signature):
    """Between the dispatcher (as whose output it is written) and the handler of a class.

    begin : Out(1)
        pulse: a command begins, what came of an earlier one is forgotten; `command` holds from now on
    command : Out(8)
    bytes : stream of 8 bits out, always ready
        command-specific-data, not in the cycle of `begin`
    enough : In(1)
        more data changes nothing: it need not be read
    execute : Out(1)
        pulse: all data has come, unless it was `enough`; the reply may begin. Without it nothing may have an effect
    room : Out(ROOM_BITS)
        device-writable bytes of the buffer, at least 1, saturated; valid from `execute` on
    reply : stream of Reply in
        the device-writable bytes from the first on, the ack at its place among them: at most `room`. Comes in bounded
        time after each `execute`, and only then; the effect comes before its last byte
    """

    def __init__(self):
        super().__init__({
            "begin": Out(1), "command": Out(8), "bytes": Out(stream.Signature(8, always_ready=True)), "enough": In(1),
            "execute": Out(1), "room": Out(ROOM_BITS), "reply": In(stream.Signature(Reply)),
        })


class CoalescingSettings(data.StructLayout):
    """Pulse: a queue's coalescing parameters are set. Fields: `valid`; `transmit` direction; `queue` local index;
    `max_packets`, `max_usecs`."""

    def __init__(self, pair_bits):
        super().__init__({"valid": 1, "transmit": 1, "queue": pair_bits, "max_packets": 32, "max_usecs": 32})


class QueueEnable(data.StructLayout):
    """Pulse: a queue has been set up anew. Fields: `valid`; `transmit` direction; `queue` local index; `enabled` as it
    is now."""

    def __init__(self, pair_bits):
        super().__init__({"valid": 1, "transmit": 1, "queue": pair_bits, "enabled": 1})


class Place(data.Struct):
    """A descriptor in the ring or in a table. `address` of it; `left` descriptors from here to the end; `wrap` driver
    wrap counter of this pass, without meaning in a table."""
    address: 64
    left: 16
    wrap: 1


class UsedBuffer(data.Struct):
    """A buffer to be published as used. `first` its first slot; `slots` 1 to 32768; `id`; `length` bytes written."""
    first: Place
    slots: 16
    id: 16
    length: 32


# `vector` as in `QueueConfig`.
ControlInterrupt = data.StructLayout({"vector": 12})
