"""Driver side of a packed virtqueue.

Source: VIRTIO Version 1.4, section "Packed Virtqueues".

    ring = PackedRing(host, size=256)
    ring.add([(address, length, False)], token="mine")
    ...
    for token, written in ring.collect(): ...

What the device can see is given to it, and taken back, at the moments of the specification: ring and event areas for
the ring's life, buffers from just before they are made available until they are seen used.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from model import formats
from testbench.driver.area import Area
from testbench.driver.platform import DeviceError, DriverError

__all__ = ["PackedRing", "RingStyle"]

_USED_BITS = formats.DESC_WRAP_BITS


@dataclass(frozen=True)
class RingStyle:
    """Liberties that the specification leaves to a driver; a device has to cope with all of them.

    set_bits_on_all : give AVAIL and USED of the available state to every element of a chain; else only the first has
        them, and the others look like used in the last pass
    set_id_on_all : write the buffer id into every element; else only into the last, and the others have 0xdead
    """
    set_bits_on_all: bool = True
    set_id_on_all: bool = True


class PackedRing:
    """One ring of `size` descriptors, 1 to 32768, and the buffers in it.

    `host` has `memory` and `statistics`. The caller keeps `size` to what the device allows. An element is (address,
    length, device_writable).

    Attributes
    ----------
    descriptors, driver, device : addresses of the three areas
    free : descriptors not in use
    avail_index, avail_wrap : where the next descriptor goes
    used_index, used_wrap : where the next used descriptor is expected
    """

    def __init__(self, host, size, *, style=None):
        if not 1 <= size <= formats.QUEUE_SIZE_LIMIT:
            raise DriverError(f"ring size must be 1 to {formats.QUEUE_SIZE_LIMIT}, not {size}")
        self._memory = host.memory
        self._style = style or RingStyle()
        self.size = size
        ring = Area(host, size * formats.DESC_BYTES, "ring", align=16, access="rw")
        driver = Area(host, formats.EVENT.size, "event", align=4, access="r")
        device = Area(host, formats.EVENT.size, "event", align=4, access="w")
        self._areas = (ring, driver, device)
        self.descriptors, self.driver, self.device = (area.address for area in self._areas)
        self._bytes = ring.view
        self._table = np.frombuffer(ring.view, formats.PVIRTQ_DESC)
        self._driver_events = driver.view
        self._device_events = device.view
        self.free = size
        self.avail_index, self.avail_wrap = 0, 1
        self.used_index, self.used_wrap = 0, 1
        # By id, for buffers in flight:
        self._free_ids = deque(range(size))
        self._tokens = [None] * size
        self._slots = [0] * size            # 0: not in flight
        self._grants = [None] * size
        self._writable = [0] * size         # bytes the device may write

    @property
    def in_flight(self):
        """Buffers made available and not yet seen used."""
        return self.size - len(self._free_ids)

    # Making buffers available

    def add(self, elements, token=None):
        """Make one buffer available: a list of elements, readable ones first. Returns its id.

        All but the first descriptor's flags are written first; those flags publish the whole chain.
        """
        count = len(elements)
        self._check(elements)
        buffer_id = self._free_ids.popleft()
        self._tokens[buffer_id] = token
        self._slots[buffer_id] = count
        self._writable[buffer_id] = sum(length for _, length, writable in elements if writable)
        self._grants[buffer_id] = [self._memory.give(address, length, "w" if writable else "r")
                                   for address, length, writable in elements if length]
        index, wrap, size = self.avail_index, self.avail_wrap, self.size
        head_flags = None
        for position, (address, length, writable) in enumerate(elements):
            last = position == count - 1
            flags = (formats.DESC_WRITE if writable else 0) | (0 if last else formats.DESC_NEXT)
            if position == 0:
                head_offset, head_flags = index * formats.DESC_BYTES, flags | formats.AVAILABLE[wrap]
                flags = int(self._table["flags"][index])        # untouched until the chain stands
            else:
                flags |= formats.AVAILABLE[wrap] if self._style.set_bits_on_all else formats.USED[wrap ^ 1]
            shown_id = buffer_id if last or self._style.set_id_on_all else 0xdead
            formats.DESC.pack_into(self._bytes, index * formats.DESC_BYTES, address, length, shown_id, flags)
            index += 1
            if index == size:
                index, wrap = 0, wrap ^ 1
        self.avail_index, self.avail_wrap = index, wrap
        self.free -= count
        # Write barrier: everything above is visible before the flags.
        flags_offset = head_offset + formats.DESC_FLAGS_OFFSET
        self._bytes[flags_offset:flags_offset + 2] = head_flags.to_bytes(2, "little")
        return buffer_id

    def _check(self, elements):
        if not elements:
            raise DriverError("a buffer has at least one element")
        if len(elements) > self.size:
            raise DriverError(f"chain of {len(elements)} elements in a ring of {self.size}")
        if len(elements) > self.free:
            raise DriverError(f"chain of {len(elements)} elements, {self.free} descriptors are free")
        writable = [element[2] for element in elements]
        if writable != sorted(writable):
            raise DriverError("a readable element stands behind a writable one")

    def add_batch(self, addresses, lengths, writable, tokens):
        """Make many buffers of one element each available, in order: the same as `add` for each, but faster."""
        count = len(addresses)
        if count > self.free:
            raise DriverError(f"{count} buffers, {self.free} descriptors are free")
        ids = [self._free_ids.popleft() for _ in range(count)]
        give, access = self._memory.give, "w" if writable else "r"
        for buffer_id, address, length, token in zip(ids, addresses, lengths, tokens):
            self._tokens[buffer_id] = token
            self._slots[buffer_id] = 1
            self._writable[buffer_id] = length if writable else 0
            self._grants[buffer_id] = (give(address, length, access),)
        self.free -= count
        done = 0
        while done < count:
            index = self.avail_index
            run = min(count - done, self.size - index)
            part, source = slice(index, index + run), slice(done, done + run)
            self._table["address"][part] = addresses[source]
            self._table["length"][part] = lengths[source]
            self._table["id"][part] = ids[source]
            # Write barrier: everything above is visible before the flags.
            self._table["flags"][part] = formats.AVAILABLE[self.avail_wrap] | (formats.DESC_WRITE if writable else 0)
            done += run
            self.avail_index += run
            if self.avail_index == self.size:
                self.avail_index, self.avail_wrap = 0, self.avail_wrap ^ 1

    def doorbell_wanted(self):
        """Whether the device asks to be notified. Ask after adding: a full barrier lies between."""
        flags = self._device_events[2] & 3
        if flags == formats.EVENT_DISABLE:
            return False
        if flags != formats.EVENT_ENABLE:
            raise DeviceError(f"device event suppression flags of {flags} without VIRTIO_F_EVENT_IDX")
        return True

    # Seeing buffers used

    def has_used(self):
        """Whether the device has used a buffer that was not yet collected."""
        if self.free == self.size:      # then the descriptor here may be of any age
            return False
        flags = self._bytes[self.used_index * 16 + 14] | self._bytes[self.used_index * 16 + 15] << 8
        return flags & _USED_BITS == formats.USED[self.used_wrap]

    def collect(self, limit=None):
        """Take back used buffers, at most `limit`: a list of (token, bytes written), in the order of completion."""
        found = []
        unpack, ring, take = formats.DESC.unpack_from, self._bytes, self._memory.take
        index, wrap, size = self.used_index, self.used_wrap, self.size
        used_state = formats.USED[wrap]
        while self.free < size and (limit is None or len(found) < limit):
            _, written, buffer_id, flags = unpack(ring, index * 16)
            if flags & _USED_BITS != used_state:
                break
            slots = self._slots[buffer_id] if buffer_id < size else 0
            if not slots:
                raise DeviceError(f"used descriptor {index} has id {buffer_id}, which is not in flight")
            if not flags & formats.DESC_WRITE:
                written = 0             # reserved without WRITE
            if written > self._writable[buffer_id]:
                raise DeviceError(f"{written} bytes written to buffer {buffer_id} of {self._writable[buffer_id]}")
            for grant in self._grants[buffer_id]:
                take(grant)
            found.append((self._tokens[buffer_id], written))
            self._slots[buffer_id], self._tokens[buffer_id], self._grants[buffer_id] = 0, None, None
            self._free_ids.append(buffer_id)
            self.free += slots
            index += slots
            if index >= size:
                index, wrap = index - size, wrap ^ 1
                used_state = formats.USED[wrap]
            self.used_index, self.used_wrap = index, wrap
        return found

    # Interrupts

    def enable_interrupts(self):
        """Ask for used buffer notifications. Look at `has_used` afterwards: what came before brings none."""
        formats.EVENT.pack_into(self._driver_events, 0, 0, formats.EVENT_ENABLE)

    def disable_interrupts(self):
        """Ask for silence; one notification may still be on its way."""
        formats.EVENT.pack_into(self._driver_events, 0, 0, formats.EVENT_DISABLE)

    # The end

    def close(self):
        """Take everything back from a device that has been reset; returns the tokens of the buffers in flight."""
        tokens = []
        for buffer_id, slots in enumerate(self._slots):
            if slots:
                tokens.append(self._tokens[buffer_id])
                for grant in self._grants[buffer_id]:
                    self._memory.take(grant)
        self._slots = [0] * self.size
        for area in self._areas:
            area.close()
        self._areas = ()
        return tokens
