"""Device side of a packed virtqueue, one descriptor at a time and without any notion of time.

Source: OASIS Virtual I/O Device (VIRTIO) Version 1.4, section "Packed Virtqueues".
"""

from dataclasses import dataclass
from typing import NamedTuple

from model import formats

__all__ = ["Chain", "Element", "PackedQueue", "Position", "QueueError", "covers"]


class QueueError(Exception):
    """The driver broke the ring: only a device reset helps."""


class Position(NamedTuple):
    """A place in the ring and the wrap counter of its pass. (0, 1) after reset."""
    index: int = 0
    wrap: int = 1

    def advance(self, count, size):
        """`count` descriptors further, 0 to `size`: a whole round keeps the index and toggles the wrap counter."""
        index = self.index + count
        return Position(index - size, self.wrap ^ 1) if index >= size else Position(index, self.wrap)


def covers(old, new, event, size):
    """Whether going from position `old` to `new`, 1 to `size` descriptors further, passed the position `event`.

    All three are positions of the ring; `event` may also name the coming or the last pass.
    """
    passed = event.index - (size if event.wrap != new.wrap else 0)
    start = old.index - (size if new.index <= old.index else 0)
    return (new.index - passed - 1) & 0xffff < (new.index - start) & 0xffff


class Element(NamedTuple):
    """One piece of a buffer; `writable` by the device, else readable."""
    address: int
    length: int
    writable: bool


@dataclass(frozen=True)
class Chain:
    """A buffer as the driver made it available: its `elements` take as many ring descriptors."""
    id: int
    elements: tuple

    @property
    def slots(self):
        return len(self.elements)

    @property
    def capacity(self):
        """Bytes that the device may write."""
        return sum(element.length for element in self.elements if element.writable)

    def gather(self, memory):
        """The bytes of all readable elements, in their order."""
        return b"".join(memory.device_read(element.address, element.length)
                        for element in self.elements if not element.writable and element.length)

    def scatter(self, memory, data):
        """Write `data` into the writable elements, from the first on."""
        for element in self.elements:
            if element.writable and data:
                memory.device_write(element.address, data[:element.length])
                data = data[element.length:]
        assert not data, "the caller checks the capacity"


class PackedQueue:
    """One virtqueue: takes buffers with `fetch`, gives them back with `use`.

    Parameters
    ----------
    memory : has `device_read` and `device_write`
    size : descriptors, 1 to 32768
    descriptors, driver, device : addresses of the Descriptor Area, the Driver Area and the Device Area
    event_idx : VIRTIO_F_EVENT_IDX was negotiated

    Attributes
    ----------
    avail : Position of the next descriptor to fetch
    used : Position of the next used descriptor to write
    """

    def __init__(self, memory, *, size, descriptors, driver, device, event_idx=False):
        if not 1 <= size <= formats.QUEUE_SIZE_LIMIT:
            raise QueueError(f"queue size {size} is not 1 to {formats.QUEUE_SIZE_LIMIT}")
        self._memory = memory
        self.size = size
        self._descriptors = descriptors
        self._driver = driver
        self._device = device
        self._event_idx = event_idx
        self.avail = Position()
        self.used = Position()
        self._decided = Position()      # `used` at the last decision about an interrupt

    def _read(self, index):
        return formats.DESC.unpack(
            self._memory.device_read(self._descriptors + index * formats.DESC_BYTES, formats.DESC_BYTES))

    def peek(self):
        """The next available chain, or None. Raises `QueueError` for one whose end can't be found or believed."""
        address, length, id, flags = self._read(self.avail.index)
        if flags & formats.DESC_WRAP_BITS != formats.AVAILABLE[self.avail.wrap]:
            return None
        elements = []
        while True:
            if flags & formats.DESC_INDIRECT:
                raise QueueError(f"INDIRECT without VIRTIO_F_INDIRECT_DESC, at {self.avail}")
            elements.append(Element(address, length, bool(flags & formats.DESC_WRITE)))
            if not flags & formats.DESC_NEXT:
                return Chain(id, tuple(elements))       # of a direct chain, the last element has the id
            if len(elements) == self.size:
                raise QueueError(f"chain longer than the queue size of {self.size}, at {self.avail}")
            address, length, id, flags = self._read(self.avail.advance(len(elements), self.size).index)

    def fetch(self):
        """As `peek`, and go on behind it."""
        chain = self.peek()
        if chain:
            self.avail = self.avail.advance(chain.slots, self.size)
        return chain

    def use(self, chain, written):
        """Publish `chain` as used, `written` bytes written; in one 16-byte write, flags and all."""
        flags = formats.USED[self.used.wrap] | (formats.DESC_WRITE if written else 0)
        self._memory.device_write(self._descriptors + self.used.index * formats.DESC_BYTES,
                                  formats.DESC.pack(0, written, chain.id, flags))
        self.used = self.used.advance(chain.slots, self.size)

    def wants_interrupt(self):
        """Whether the driver asks for a notification of what was used since the last call. Ask after `use`."""
        desc, flags = formats.EVENT.unpack(self._memory.device_read(self._driver, formats.EVENT.size))
        old, self._decided = self._decided, self.used
        if old == self.used:
            return False
        match flags & 3:
            case formats.EVENT_ENABLE:
                return True
            case formats.EVENT_DESC if self._event_idx:
                return covers(old, self.used, Position(desc & 0x7fff, desc >> 15), self.size)
            case _:
                return False

    def suppress_doorbells(self, suppress):
        """Tell the driver whether available buffer notifications are of use. After allowing them, `fetch` again."""
        flags = formats.EVENT_DISABLE if suppress else formats.EVENT_ENABLE
        self._memory.device_write(self._device, formats.EVENT.pack(0, flags))
