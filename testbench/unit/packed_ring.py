"""A packed ring as a driver keeps it, written from the specification alone (VIRTIO 1.4, Packed Virtqueues).

The driver works in steps: every write of 16 bytes to the ring is one, so that a bench can let a device read in between.
"""

import struct
from dataclasses import dataclass

NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 1 << 7, 1 << 15
EVENT_ENABLE, EVENT_DISABLE, EVENT_DESC = 0, 1, 2


class Indirect(list):
    """Segments that go into an indirect table, at address `table`."""

    def __init__(self, segments, table):
        super().__init__(segments)
        self.table = table


@dataclass
class Buffer:
    """A chain given to the device: `segments` are (address, length, device-writable); `table` is where they stand, or
    None if they stand in the ring."""
    id: int
    index: int
    wrap: int
    segments: list
    table: int | None = None

    @property
    def slots(self):
        return 1 if self.table is not None else len(self.segments)

    def bytes_of(self, writable):
        return sum(length for _, length, write in self.segments if write == writable)


class PackedRing:
    """Driver's side of one ring in `memory` (a bytearray).

    Parameters
    ----------
    base, device_area : int
        addresses of the ring and of Device Event Suppression
    size : int
    head_only : bool
        maintain AVAIL and USED in the first descriptor of a chain only; the other elements have both bits 0
    flags_first : bool
        write the other elements' flags before the rest of them
    event_index, in_order : bool
        VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER
    """

    def __init__(self, memory, base, device_area, size, *, head_only=False, flags_first=False, event_index=False,
                 in_order=False):
        self.memory = memory
        self.base = base
        self.device_area = device_area
        self.size = size
        self.head_only = head_only
        self.flags_first = flags_first
        self.event_index, self.in_order = event_index, in_order
        self.next_index, self.next_wrap = 0, 1
        self.used_index, self.used_wrap = 0, 1
        self.free = size
        self.outstanding = {}
        self.order = []         # buffers not yet seen by the device, in ring order
        self._ids = list(range(size))
        self._published = self.slots_published = 0
        self._since = set()     # positions made available since the driver last thought of ringing
        self.skips = 0
        self._skipped = []      # buffers that came back without a used descriptor of their own, not yet given out
        memory[base:base + 16 * size] = bytes(16 * size)
        memory[device_area:device_area + 4] = bytes(4)

    def _after(self, index, wrap, slots):
        index += slots
        if index >= self.size:
            return index - self.size, wrap ^ 1
        return index, wrap

    def _write(self, index, address, length, id, flags):
        at = self.base + 16 * index
        self.memory[at:at + 16] = struct.pack("<QIHH", address, length, id, flags)

    def publish(self, segments, rng, extra_flags=0):
        """Generator: one descriptor a step (some two with `flags_first`), the first one last; yields before each step.
        Returns the `Buffer`."""
        id = self._ids.pop(rng.randrange(len(self._ids)))
        buffer = Buffer(id, self.next_index, self.next_wrap, list(segments), getattr(segments, "table", None))
        assert buffer.slots <= self.free
        if buffer.table is not None:
            segments = [(buffer.table, self._fill(segments, rng), rng.getrandbits(1))]
            extra_flags |= INDIRECT
        buffer.number = self._published
        self._published += 1
        self.slots_published += buffer.slots
        self.free -= buffer.slots
        place = (self.next_index, self.next_wrap)
        self.next_index, self.next_wrap = self._after(*place, buffer.slots)
        steps = []
        for number, (address, length, write) in enumerate(segments):
            index, wrap = self._after(*place, number)
            flags = NEXT * (number < len(segments) - 1) | WRITE * write | extra_flags
            if number == 0 or not self.head_only:
                flags |= AVAIL if wrap else USED
            # Only the last element's id counts: the others get a wrong one.
            steps.append((index, address, length, id if number == len(segments) - 1 else id ^ 0x8000, flags))
        head, rest = steps[0], steps[1:]
        rng.shuffle(rest)
        for step in [*rest, head]:
            if self.flags_first and step is not head:
                yield
                struct.pack_into("<H", self.memory, self.base + 16 * step[0] + 14, step[-1])
            yield
            self._write(*step)
        self._since.update(self._after(*place, number) for number in range(buffer.slots))
        self.outstanding[id] = buffer
        self.order.append(buffer)
        return buffer

    def _fill(self, segments, rng):
        """The table; only WRITE counts of flags, and no id. Returns its bytes."""
        content = b"".join(
            struct.pack("<QIHH", address, length, rng.getrandbits(16), rng.getrandbits(16) & ~WRITE | WRITE * write)
            for address, length, write in segments)
        self.memory[segments.table:segments.table + len(content)] = content
        return len(content)

    def wants_doorbell(self):
        """Whether the device asks for a doorbell for what was published since the last call."""
        position, flags = struct.unpack_from("<HH", self.memory, self.device_area)
        since, self._since = self._since, set()
        assert flags in (EVENT_ENABLE, EVENT_DISABLE) or flags == EVENT_DESC and self.event_index, \
            f"flags {flags:#x} were never agreed upon"
        if flags == EVENT_DESC:
            assert position & 0x7fff < self.size
            return (position & 0x7fff, position >> 15) in since
        assert position == 0
        return flags != EVENT_DISABLE

    def poll(self):
        """(buffer, length, written) of the next buffer that came back, or None."""
        if self._skipped:
            return self._skipped.pop(0)
        if not self.outstanding:
            return None
        _, length, id, flags = struct.unpack_from("<QIHH", self.memory, self.base + 16 * self.used_index)
        if bool(flags & AVAIL) != self.used_wrap or bool(flags & USED) != self.used_wrap:
            return None
        assert id in self.outstanding, f"id {id} is not outstanding"
        # In order: those before it are back as well, completely used.
        before = list(self.outstanding) if self.in_order else [id]
        for one in before[:before.index(id) + 1]:
            buffer = self.outstanding.pop(one)
            self._ids.append(one)
            self.free += buffer.slots
            self.used_index, self.used_wrap = self._after(self.used_index, self.used_wrap, buffer.slots)
            self._skipped.append((buffer, buffer.bytes_of(1), buffer.bytes_of(1) > 0))
        self.skips += len(self._skipped) - 1
        self._skipped[-1] = buffer, length, bool(flags & WRITE)
        return self._skipped.pop(0)

    def ask_for(self, driver_area):
        """Sets Driver Event Suppression to DESC and the next used position."""
        struct.pack_into("<HH", self.memory, driver_area, self.used_wrap << 15 | self.used_index, EVENT_DESC)
