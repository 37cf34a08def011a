"""A packed ring as a driver keeps it, written from the specification alone (VIRTIO 1.4, Packed Virtqueues).

The driver works in steps: every write of 16 bytes to the ring is one, so that a bench can let a device read in between.
"""

import struct
from dataclasses import dataclass

NEXT, WRITE, INDIRECT, AVAIL, USED = 1, 2, 4, 1 << 7, 1 << 15
EVENT_DISABLE = 1


@dataclass
class Buffer:
    """A chain given to the device: `segments` are (address, length, device-writable)."""
    id: int
    index: int
    wrap: int
    segments: list

    @property
    def slots(self):
        return len(self.segments)

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
    """

    def __init__(self, memory, base, device_area, size, *, head_only=False, flags_first=False):
        self.memory = memory
        self.base = base
        self.device_area = device_area
        self.size = size
        self.head_only = head_only
        self.flags_first = flags_first
        self.next_index, self.next_wrap = 0, 1
        self.used_index, self.used_wrap = 0, 1
        self.free = size
        self.outstanding = {}
        self.order = []         # buffers not yet seen by the device, in ring order
        self._ids = list(range(size))
        self._published = self.slots_published = 0
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
        assert len(segments) <= self.free
        id = self._ids.pop(rng.randrange(len(self._ids)))
        buffer = Buffer(id, self.next_index, self.next_wrap, list(segments))
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
        self.outstanding[id] = buffer
        self.order.append(buffer)
        return buffer

    def wants_doorbell(self):
        flags = struct.unpack_from("<H", self.memory, self.device_area + 2)[0]
        assert flags in (0, EVENT_DISABLE), f"flags {flags:#x} were never agreed upon"
        assert self.memory[self.device_area:self.device_area + 2] == bytes(2)
        return flags != EVENT_DISABLE

    def poll(self):
        """(buffer, length, written) of the next used descriptor, or None."""
        if not self.outstanding:
            return None
        _, length, id, flags = struct.unpack_from("<QIHH", self.memory, self.base + 16 * self.used_index)
        if bool(flags & AVAIL) != self.used_wrap or bool(flags & USED) != self.used_wrap:
            return None
        buffer = self.outstanding.pop(id, None)
        assert buffer is not None, f"id {id} is not outstanding"
        self._ids.append(id)
        self.free += buffer.slots
        self.used_index, self.used_wrap = self._after(self.used_index, self.used_wrap, buffer.slots)
        return buffer, length, bool(flags & WRITE)
