"""Records that only the stages of the engine exchange.

A *slot* is a place in a queue's cache, of ring descriptors or of elements, counted modulo twice the cache so that full
and empty differ; `slot_bits` is its width. A *chain number* counts complete chains in the same modulus: there are never
more chains than entries.
"""

from amaranth.lib import data

from .spec import FRAME_BITS, BufferElement, Position

__all__ = ["slot_bits", "BUFFER_COUNT", "Notification", "Progress", "Published", "Report", "Rewind", "Suppression",
           "Stored", "Capacity", "WalkState", "TableCopy", "TableState"]

# Bits of the number of buffers that one write of used descriptors may stand for.
BUFFER_COUNT = 7


def slot_bits(cache):
    return cache.bit_length()


class Progress(data.StructLayout):
    """How far a queue's cache is filled (written by who fills it) or emptied (written by who reads it).

    Fields: `slot` the next one; `chain` number of the next chain.
    """

    def __init__(self, slot_bits):
        super().__init__({"slot": slot_bits, "chain": slot_bits})


class Report(data.StructLayout):
    """What a fetch brought, from `Receive` to `Fetch`.

    Fields: `queue`; `full` all descriptors were good, else `position` and `slot` are those of the first bad one, and
    everything fetched from there on is thrown away; `chain` we stand inside a chain; `count` good ones. `seen`, valid
    without `full`: what was thrown away shows every head in front of `until` available, so that a chain that begins
    there is complete in whatever is read from now on; `on` that was all that came, and not the end of what is
    available.
    """

    def __init__(self, queue_bits, slot_bits):
        super().__init__({"queue": queue_bits, "full": 1, "chain": 1, "position": Position, "slot": slot_bits,
                          "count": 6, "seen": 1, "until": Position, "on": 1})


class Rewind(data.StructLayout):
    """Fetch a chain again from its head, which is known to be available.

    Fields: `queue`; `position` of the head; `slot`, `chain` where the head goes in the cache.
    """

    def __init__(self, queue_bits, slot_bits):
        super().__init__({"queue": queue_bits, "position": Position, "slot": slot_bits, "chain": slot_bits})


class Suppression(data.StructLayout):
    """Fields: `queue`; `enable` ask for doorbells again, else say that there is no need; `position` of the descriptor
    that is awaited, meaningful with `enable`."""

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "enable": 1, "position": Position})


class Published(data.StructLayout):
    """A run of used descriptors has its place in the posted order.

    Fields: `queue`; `next` the used position behind it; `slots` between the position before and that, 1 to 32768, or 0
    for a part of a packet that is not visible yet; `buffers` that it stands for, those of one packet counted once.
    """

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "next": Position, "slots": 16, "buffers": BUFFER_COUNT})


class Notification(data.StructLayout):
    """As `Published`, for the decision on an interrupt. Fields: `queue`, `next`; `slots`, 0 if there is nothing newer
    than the notification before, and then `next` is void; `due` the driver is to be told, if it wants to be."""

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "next": Position, "slots": 16, "due": 1})


class WalkState(data.StructLayout):
    """State of one queue: `slot`, `chain` in the cache, and `position` in the ring, of the next chain's head."""

    def __init__(self, slot_bits):
        super().__init__({"slot": slot_bits, "chain": slot_bits, "position": Position})

    def initial(self):
        return self.const({"position": {"index": 0, "wrap": 1}})


class TableState(data.StructLayout):
    """State of one queue.

    Fields
    ------
    read : next place to be taken in the cache of ring descriptors
    slot, chain : next place to be given away in the cache of elements, number of the next buffer
    index : elements of the table at hand that have been asked for
    inside : the next ring descriptor belongs to a direct chain that has begun
    asked : reads that have been issued, modulo twice the cache of elements
    broken : the driver broke the rules: nothing is taken from this queue any more
    """

    def __init__(self, ring_bits, slot_bits):
        super().__init__({"read": ring_bits, "slot": slot_bits, "chain": slot_bits, "index": 16, "inside": 1,
                          "asked": slot_bits, "broken": 1})


class TableCopy(data.StructLayout):
    """Fields: `valid`; `queue`; `slot` place in the cache of elements; `chain` number of the first buffer that is not
    complete with this element; `entry` the element. With `rewind` nothing is stored: the visible part of the cache
    ends at `slot`, `chain` from now on."""

    def __init__(self, queue_bits, slot_bits):
        super().__init__({"valid": 1, "rewind": 1, "queue": queue_bits, "slot": slot_bits, "chain": slot_bits,
                          "entry": BufferElement()})


class Stored(data.StructLayout):
    """An element goes into the cache in this cycle.

    Fields: `valid`; `queue`; `table` it is an entry of a table; `chain` number of its buffer, valid with `last`;
    `length`, `write`, `last` as in `BufferElement`. `rewind`: nothing is stored, and buffers that have begun are
    forgotten.
    """

    def __init__(self, queue_bits, slot_bits):
        super().__init__({"valid": 1, "rewind": 1, "queue": queue_bits, "table": 1, "chain": slot_bits, "length": 32,
                          "write": 1, "last": 1})


class Capacity(data.Struct):
    """What a buffer holds. Fields: `bytes` that are device-writable; more than any frame count as the most that the
    field can tell; `single` it takes one ring slot."""
    bytes: FRAME_BITS
    single: 1
