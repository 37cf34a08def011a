"""Device side of a packed virtqueue, one descriptor at a time and without any notion of time.

Source: OASIS Virtual I/O Device (VIRTIO) Version 1.4, section "Packed Virtqueues".
"""

from dataclasses import dataclass
from typing import NamedTuple

from model import formats

__all__ = ["Chain", "Element", "PackedQueue", "Position", "QueueError", "RingFeatures", "covers"]


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
    """A buffer as the driver made it available. Its `elements` take as many ring descriptors, or one if they stand in
    an `indirect` table."""
    id: int
    elements: tuple
    indirect: bool = False

    @property
    def slots(self):
        return 1 if self.indirect else len(self.elements)

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


@dataclass(frozen=True, kw_only=True)
class RingFeatures:
    """What was negotiated that changes how a ring works, named as the bits VIRTIO_F_..."""
    notification_data: bool = False
    event_idx: bool = False
    in_order: bool = False
    indirect_desc: bool = False

    @classmethod
    def of(cls, features):
        """From a feature mask."""
        return cls(**{name: formats.has_feature(features, formats.Feature[name.upper()])
                      for name in cls.__dataclass_fields__})


class PackedQueue:
    """One virtqueue: takes buffers with `fetch`, gives them back with `use`, or many at a time with `use_packet` or
    `use_batch`.

    Parameters
    ----------
    memory : has `device_read` and `device_write`
    size : descriptors, 1 to 32768
    descriptors, driver, device : addresses of the Descriptor Area, the Driver Area and the Device Area
    features : RingFeatures

    Attributes
    ----------
    avail : Position of the next descriptor to fetch
    used : Position of the next used descriptor to write
    told : Position up to which the driver has told that descriptors are available; None without
        VIRTIO_F_NOTIFICATION_DATA, or if it rang without saying
    """

    def __init__(self, memory, *, size, descriptors, driver, device, features=None):
        if not 1 <= size <= formats.QUEUE_SIZE_LIMIT:
            raise QueueError(f"queue size {size} is not 1 to {formats.QUEUE_SIZE_LIMIT}")
        self._memory = memory
        self.size = size
        self._descriptors = descriptors
        self._driver = driver
        self._device = device
        self._features = features or RingFeatures()
        self.avail = Position()
        self.used = Position()
        self.told = Position() if self._features.notification_data else None
        self._decided = Position()      # `used` at the last decision about an interrupt
        self._undecided = 0             # descriptors used since then

    def _read(self, index):
        return formats.DESC.unpack(
            self._memory.device_read(self._descriptors + index * formats.DESC_BYTES, formats.DESC_BYTES))

    def tell(self, told):
        """A doorbell said that descriptors up to `told`, a Position, are available; None if it said nothing.

        One that was overtaken by another tells of less, or of what is long done: it changes nothing.
        """
        if not self._features.notification_data:
            return
        if told is None or self.told is None:
            self.told = told
        elif self._distance(self.avail, self.told) < self._distance(self.avail, told) <= self.size:
            self.told = told

    def _distance(self, start, end):
        """Descriptors from position `start` to `end`, 0 to 2 * size - 1."""
        passes = self.size * (start.wrap != end.wrap)
        return (end.index + passes - start.index) % (2 * self.size)

    def peek(self):
        """The next available chain, or None. Raises `QueueError` for one whose end can't be found or believed, and if
        the driver told of more than it made available."""
        if self.told == self.avail:
            return None
        address, length, id, flags = self._read(self.avail.index)
        if flags & formats.DESC_WRAP_BITS != formats.AVAILABLE[self.avail.wrap]:
            if self.told:
                raise QueueError(f"nothing is available at {self.avail}, the doorbell told of {self.told}")
            return None
        if flags & formats.DESC_INDIRECT:
            return self._indirect(address, length, id, flags)
        elements = []
        while True:
            elements.append(Element(address, length, bool(flags & formats.DESC_WRITE)))
            if not flags & formats.DESC_NEXT:
                break
            if len(elements) == self.size:
                raise QueueError(f"chain longer than the queue size of {self.size}, at {self.avail}")
            address, length, id, flags = self._read(self.avail.advance(len(elements), self.size).index)
            if flags & formats.DESC_INDIRECT:
                raise QueueError(f"INDIRECT in a chain, at {self.avail}")
        if self.told and len(elements) > self._distance(self.avail, self.told):
            raise QueueError(f"chain at {self.avail} goes beyond {self.told}, which the doorbell told of")
        return Chain(id, tuple(elements))       # of a direct chain, the last element has the id

    def _indirect(self, address, length, id, flags):
        """The chain in the table that a ring descriptor refers to: of its flags only WRITE counts."""
        if not self._features.indirect_desc:
            raise QueueError(f"INDIRECT without VIRTIO_F_INDIRECT_DESC, at {self.avail}")
        if flags & formats.DESC_NEXT:
            raise QueueError(f"INDIRECT in a chain, at {self.avail}")
        count, rest = divmod(length, formats.DESC_BYTES)
        if rest or not 1 <= count <= self.size:
            raise QueueError(f"indirect table of {length} bytes in a ring of {self.size}, at {self.avail}")
        table = self._memory.device_read(address, length)
        return Chain(id, tuple(Element(at, size, bool(entry_flags & formats.DESC_WRITE))
                               for at, size, _, entry_flags in formats.DESC.iter_unpack(table)), indirect=True)

    def holds_whole_ring(self):
        """Whether all descriptors are fetched and not used: the driver can't make more available."""
        return self._distance(self.used, self.avail) == self.size

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
        self._undecided += chain.slots

    def use_packet(self, packet):
        """Publish several (chain, written) that belong together: the first one last, so that none is seen alone."""
        place, places = self.used, []
        for chain, _ in packet:
            places.append(place)
            place = place.advance(chain.slots, self.size)
        for self.used, (chain, written) in reversed([*zip(places, packet)]):
            self.use(chain, written)
        self.used = place

    def use_batch(self, batch):
        """With VIRTIO_F_IN_ORDER, publish several (chain, written) by the used descriptor of the last one. Those before
        it count as completely used: their `written` is their capacity."""
        (last, written), skipped = batch[-1], [chain for chain, _ in batch[:-1]]
        assert self._features.in_order or not skipped
        self.use(last, written)
        for chain in skipped:
            self.used = self.used.advance(chain.slots, self.size)
            self._undecided += chain.slots

    def wants_interrupt(self):
        """Whether the driver asks for a notification of what was used since the last call. Ask after `use`."""
        desc, flags = formats.EVENT.unpack(self._memory.device_read(self._driver, formats.EVENT.size))
        old, self._decided = self._decided, self.used
        passed, self._undecided = self._undecided, 0
        if not passed:
            return False
        match flags & 3:
            case formats.EVENT_ENABLE:
                return True
            case formats.EVENT_DESC if self._features.event_idx:
                # More than a pass: the driver has collected without being notified, and one too many does no harm.
                return passed > self.size or covers(old, self.used, Position(desc & 0x7fff, desc >> 15), self.size)
            case _:
                return False

    def suppress_doorbells(self, suppress):
        """Tell the driver whether available buffer notifications are of use: with VIRTIO_F_EVENT_IDX, only that of the
        next descriptor. After allowing them, `fetch` again."""
        if suppress:
            event = formats.EVENT.pack(0, formats.EVENT_DISABLE)
        elif self._features.event_idx:
            event = formats.EVENT.pack(self.avail.index | self.avail.wrap << 15, formats.EVENT_DESC)
        else:
            event = formats.EVENT.pack(0, formats.EVENT_ENABLE)
        self._memory.device_write(self._device, event)
