"""Packed virtqueue formats and the records that the engine's stages exchange.

Source: OASIS Virtual I/O Device (VIRTIO) Version 1.4, section "Packed Virtqueues". No logic beyond answering questions
about a format.
"""

from amaranth.lib import data, enum

__all__ = ["Descriptor", "EventFlags", "EventSuppression", "QueueConfig", "Position", "Chain", "BufferElement",
           "Completion", "FRAME_BITS", "EngineFeatures", "Pulse", "Doorbell", "Configure", "Coalescing", "Frame",
           "DropCause", "Verdict"]


# Bits of a frame's length, virtio header included.
FRAME_BITS = 17


class Descriptor(data.Struct):
    """struct pvirtq_desc, 16 bytes little-endian."""
    address: 64
    length: 32
    id: 16
    flags: data.StructLayout({
        "next": 1, "write": 1, "indirect": 1, "reserved3": 4, "avail": 1, "reserved8": 7, "used": 1,
    })

    def is_available(self, wrap):
        """AVAIL equals and USED differs from the driver wrap counter of this pass."""
        return (self.flags.avail == wrap) & (self.flags.used != wrap)


class EventFlags(enum.Enum, shape=2):
    """RING_EVENT_FLAGS_*."""
    ENABLE = 0
    DISABLE = 1
    DESC = 2
    RESERVED = 3


class EventSuppression(data.Struct):
    """struct pvirtq_event_suppress, 4 bytes little-endian."""
    offset: 15
    wrap: 1
    flags: EventFlags
    reserved: 14


class Position(data.Struct):
    """A place in the ring: index and the wrap counter that belongs to the pass. (0, 1) after reset."""
    index: 15
    wrap: 1


class QueueConfig(data.Struct):
    """What the driver set up for a queue, as the engine reads it; constant while `enabled`."""
    descriptors: 64    # queue_desc
    driver: 64         # queue_driver: Driver Event Suppression
    device: 64         # queue_device: Device Event Suppression
    size: 16           # 1 to 32768
    vector: 12         # MSI-X vector in [10:0]; bit 11 set: VIRTIO_MSI_NO_VECTOR
    enabled: 1


class Chain(data.StructLayout):
    """A ring descriptor that was judged available, on its way to `Tables`.

    Fields: `address`, `length` (bytes, 32 bits), `id`; `write` device-writable; `indirect`; `last` ends the chain.
    """

    def __init__(self):
        super().__init__({"address": 64, "length": 32, "id": 16, "write": 1, "indirect": 1, "last": 1})


class BufferElement(data.StructLayout):
    """An element of a buffer, handed to a walker: a ring descriptor or an entry of an indirect table.

    Fields: `address`, `length` (bytes, 32 bits); `id` of the buffer, valid with `last`; `write` device-writable;
    `ring` begins a ring slot: an entry of a table, its first one excepted, has none; `last` ends the buffer.
    """

    def __init__(self):
        super().__init__({"address": 64, "length": 32, "id": 16, "write": 1, "ring": 1, "last": 1})


class Completion(data.StructLayout):
    """A buffer whose bytes have been read or written and which can be published as used.

    Fields: `queue` local index; `id`; `length` bytes written (0 to 2**32 - 1); `written` any byte was written (WRITE
    flag of the used descriptor); `slots` ring slots of the chain, 1 to 32768; `behind` another buffer of this queue
    follows at once, so that publishing may wait for it; `filled` all of the buffer was used, down to its last byte, so
    that with VIRTIO_F_IN_ORDER its used descriptor may be left out; `more` the packet goes on in another buffer, whose
    completion is the next one; `together` valid with a packet's first buffer and `more`: how many buffers it has if
    each takes one slot, else, or if they are more than `SCATTERED`, that.
    """

    SCATTERED = 63

    def __init__(self, pair_bits):
        super().__init__({"queue": pair_bits, "id": 16, "length": 32, "written": 1, "slots": 16, "behind": 1,
                          "filled": 1, "more": 1, "together": 6})


class EngineFeatures(data.Struct):
    """What was negotiated that an engine cares about, constant while the device is live: VIRTIO_F_NOTIFICATION_DATA,
    VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER, VIRTIO_F_INDIRECT_DESC, VIRTIO_NET_F_MRG_RXBUF."""
    notification_data: 1
    event_index: 1
    in_order: 1
    indirect: 1
    mergeable: 1


class Pulse(data.StructLayout):
    """Something happened to a queue: no back-pressure. Fields: `valid`; `queue` local index."""

    def __init__(self, pair_bits):
        super().__init__({"valid": 1, "queue": pair_bits})


class Doorbell(data.StructLayout):
    """The driver rang. Fields: `queue` local index; `next_off`, `next_wrap` where it will put its next descriptor,
    meaningful with `has_data` (VIRTIO_F_NOTIFICATION_DATA)."""

    def __init__(self, pair_bits):
        super().__init__({"queue": pair_bits, "next_off": 15, "next_wrap": 1, "has_data": 1})


class Configure(data.StructLayout):
    """Pulse that gives a queue its configuration. Fields: `valid`; `queue` local index; `config` `QueueConfig`."""

    def __init__(self, pair_bits):
        super().__init__({"valid": 1, "queue": pair_bits, "config": QueueConfig})


class Coalescing(data.StructLayout):
    """Pulse that sets a queue's interrupt coalescing. Fields: `valid`; `queue` local index; `max_packets`, `max_usecs`
    as in struct virtio_net_ctrl_coal."""

    def __init__(self, pair_bits):
        super().__init__({"valid": 1, "queue": pair_bits, "max_packets": 32, "max_usecs": 32})


class Frame(data.StructLayout):
    """A received frame that wants a buffer. Fields: `queue` local index; `length` bytes with the virtio header;
    `unwanted` by the driver's filter: it gets none."""

    def __init__(self, pair_bits):
        super().__init__({"queue": pair_bits, "length": FRAME_BITS, "unwanted": 1})


class DropCause(enum.Enum, shape=3):
    """Why a frame got no buffer."""
    NONE = 0
    DISABLED = 1    # queue not enabled, device not live, or being reset
    NO_BUFFER = 2   # the driver has made nothing available, or not enough
    TOO_LONG = 3    # the next buffer is smaller than the frame, or than its header; it stays available
    FILTERED = 4    # it is unwanted


class Verdict(data.StructLayout):
    """What becomes of a frame. Fields: `accept`; `cause`, NONE with `accept`; `buffers` that hold it, with `accept`;
    `queue`, `length` of the `Frame`."""

    def __init__(self, pair_bits):
        super().__init__({"accept": 1, "cause": DropCause, "buffers": 16, "queue": pair_bits, "length": FRAME_BITS})
