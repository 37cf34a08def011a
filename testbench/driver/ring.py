"""Driver side of a packed virtqueue.

Source: VIRTIO Version 1.4, section "Packed Virtqueues".

    ring = PackedRing(host, size=256)
    ring.add([(address, length, False)], token="mine")
    ...
    for token, written in ring.collect(): ...

What the device can see is given to it, and taken back, at the moments of the specification: ring and event areas for
the ring's life, buffers and their tables from just before they are made available until they are seen used.
"""

from collections import deque

import numpy as np

from model import formats
from testbench.driver.area import Area
from testbench.driver.event_suppression import EventSuppression
from testbench.driver.in_order import InOrder
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.ring_options import RingFeatures, RingStyle
from testbench.driver.tables import TablePool

__all__ = ["PackedRing", "RingFeatures", "RingStyle"]

_USED_BITS = formats.DESC_WRAP_BITS


class PackedRing:
    """One ring of `size` descriptors, 1 to 32768, and the buffers in it.

    `host` has `memory` and `statistics`. The caller keeps `size` to what the device allows. An element is (address,
    length, device_writable). `style` is a RingStyle, `features` RingFeatures.

    Attributes
    ----------
    descriptors, driver, device : addresses of the three areas
    free : descriptors not in use
    avail_index, avail_wrap : where the next descriptor goes
    used_index, used_wrap : where the next used descriptor is expected
    """

    def __init__(self, host, size, *, style=None, features=None):
        if not 1 <= size <= formats.QUEUE_SIZE_LIMIT:
            raise DriverError(f"ring size must be 1 to {formats.QUEUE_SIZE_LIMIT}, not {size}")
        self._memory = host.memory
        self._style = style or RingStyle()
        features = features or RingFeatures()
        self.size = size
        self._area = Area(host, size * formats.DESC_BYTES, "ring", align=16, access="rw")
        self._events = EventSuppression(host, size, features.event_idx)
        self.descriptors, self.driver, self.device = self._area.address, self._events.driver, self._events.device
        self._bytes = self._area.view
        self._table = np.frombuffer(self._bytes, formats.PVIRTQ_DESC)
        self._tables = None
        if features.indirect:
            self._tables = TablePool(host, offset=self._style.table_offset, show_ids=self._style.set_id_on_all)
        self._parts = tuple(part for part in (self._tables, self._events, self._area) if part)
        self._order = InOrder() if features.in_order else None
        self.free = size
        self.avail_index, self.avail_wrap = 0, 1
        self.used_index, self.used_wrap = 0, 1
        self._undecided = 0                 # descriptors made available since `decide_doorbell`
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

    def slots(self, count, indirect=None):
        """Descriptors of the ring that a buffer of `count` elements takes; `indirect` as for `add`."""
        return 1 if self._with_table(count, indirect) else count

    def _with_table(self, count, indirect):
        if indirect is None:
            policy = self._style.indirect
            return self._tables is not None and (policy == "always" or policy == "several" and count > 1)
        if indirect and not self._tables:
            raise DriverError("INDIRECT without VIRTIO_F_INDIRECT_DESC")
        return indirect

    def add(self, elements, token=None, *, indirect=None):
        """Make one buffer available: a list of elements, readable ones first. Returns its id.

        `indirect` tells whether they stand in a table; by default, what the style says. All but the first descriptor's
        flags are written first; those flags publish the whole chain.
        """
        slots = self.slots(len(elements), indirect)
        self._check(elements, slots)
        buffer_id = self._free_ids.popleft()
        self._tokens[buffer_id] = token
        self._slots[buffer_id] = slots
        self._writable[buffer_id] = sum(length for _, length, writable in elements if writable)
        self._grants[buffer_id] = [self._memory.give(address, length, "w" if writable else "r")
                                   for address, length, writable in elements if length]
        if self._with_table(len(elements), indirect):
            head_flags = self._write_indirect(elements, buffer_id)
        else:
            head_flags = self._write_chain(elements, buffer_id)
        self._publish(head_flags, slots, buffer_id)
        return buffer_id

    def _write_indirect(self, elements, buffer_id):
        """Write a descriptor that refers to a table, but for its flags; returns those."""
        address, length = self._tables.write(elements, buffer_id)
        index = self.avail_index
        formats.DESC.pack_into(self._bytes, index * formats.DESC_BYTES, address, length, buffer_id,
                               int(self._table["flags"][index]))
        useless = formats.DESC_WRITE if self._style.set_write_on_table else 0
        return formats.DESC_INDIRECT | useless | formats.AVAILABLE[self.avail_wrap]

    def _write_chain(self, elements, buffer_id):
        """Write a descriptor per element, but for the first one's flags; returns those."""
        index, wrap = self.avail_index, self.avail_wrap
        for position, (address, length, writable) in enumerate(elements):
            last = position == len(elements) - 1
            flags = (formats.DESC_WRITE if writable else 0) | (0 if last else formats.DESC_NEXT)
            if position == 0:
                head_flags = flags | formats.AVAILABLE[wrap]
                flags = int(self._table["flags"][index])        # untouched until the chain stands
            else:
                flags |= formats.AVAILABLE[wrap] if self._style.set_bits_on_all else formats.USED[wrap ^ 1]
            shown_id = buffer_id if last or self._style.set_id_on_all else 0xdead
            formats.DESC.pack_into(self._bytes, index * formats.DESC_BYTES, address, length, shown_id, flags)
            index += 1
            if index == self.size:
                index, wrap = 0, wrap ^ 1
        return head_flags

    def _publish(self, head_flags, slots, buffer_id):
        flags_offset = self.avail_index * formats.DESC_BYTES + formats.DESC_FLAGS_OFFSET
        self._advance_avail(slots)
        self.free -= slots
        if self._order:
            self._order.add(buffer_id)
        # Write barrier: everything above is visible before the flags.
        self._bytes[flags_offset:flags_offset + 2] = head_flags.to_bytes(2, "little")

    def _advance_avail(self, count):
        self._undecided += count
        self.avail_index += count
        if self.avail_index >= self.size:
            self.avail_index, self.avail_wrap = self.avail_index - self.size, self.avail_wrap ^ 1

    def _check(self, elements, slots):
        if not elements:
            raise DriverError("a buffer has at least one element")
        if len(elements) > self.size:
            raise DriverError(f"chain of {len(elements)} elements in a ring of {self.size}")
        if slots > self.free:
            raise DriverError(f"chain of {slots} elements, {self.free} descriptors are free")
        writable = [element[2] for element in elements]
        if writable != sorted(writable):
            raise DriverError("a readable element stands behind a writable one")

    def add_batch(self, addresses, lengths, writable, tokens):
        """Make many buffers of one element each available, in order: the same as `add` for each, but faster."""
        count = len(addresses)
        if count > self.free:
            raise DriverError(f"{count} buffers, {self.free} descriptors are free")
        if self._with_table(1, None):
            for address, length, token in zip(addresses, lengths, tokens):
                self.add([(address, length, writable)], token)
            return
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
            self._advance_avail(run)
        if self._order:
            self._order.add(*ids)

    def doorbell_wanted(self):
        """Whether the device asks to be notified of what was made available since the last `decide_doorbell`. Ask
        after adding: a full barrier lies between."""
        return self._events.doorbell_wanted(self._position(self.avail_index, self.avail_wrap), self._undecided)

    def decide_doorbell(self):
        """The same, and what was made available so far has been decided about: the caller rings if True."""
        wanted = self.doorbell_wanted()
        self._undecided = 0
        return wanted

    def _position(self, index, wrap):
        return index if wrap else index + self.size

    # Seeing buffers used

    def has_used(self):
        """Whether the device has used a buffer that was not yet collected."""
        if self.free == self.size:      # then the descriptor here may be of any age
            return False
        if self._order and self._order.has_used():
            return True
        flags = self._bytes[self.used_index * 16 + 14] | self._bytes[self.used_index * 16 + 15] << 8
        return flags & _USED_BITS == formats.USED[self.used_wrap]

    def collect(self, limit=None):
        """Take back used buffers, at most `limit`: a list of (token, bytes written), in the order of completion."""
        found = []
        take, order = self._memory.take, self._order
        while self.free < self.size and (limit is None or len(found) < limit):
            if order and order.has_used():
                buffer_id, written = order.next()
            elif (used := self._read_used()) is None:
                break
            elif order:
                order.seen(*used, self._writable)
                continue
            else:
                buffer_id, written = used
            for grant in self._grants[buffer_id]:
                take(grant)
            if self._tables:
                self._tables.take(buffer_id)
            found.append((self._tokens[buffer_id], written))
            self._retire(buffer_id)
        return found

    def _read_used(self):
        """(id, bytes written) of the next used descriptor, or None."""
        _, written, buffer_id, flags = formats.DESC.unpack_from(self._bytes, self.used_index * formats.DESC_BYTES)
        if flags & _USED_BITS != formats.USED[self.used_wrap]:
            return None
        if buffer_id >= self.size or not self._slots[buffer_id]:
            raise DeviceError(f"used descriptor {self.used_index} has id {buffer_id}, which is not in flight")
        if not flags & formats.DESC_WRITE:
            written = 0             # reserved without WRITE
        if written > self._writable[buffer_id]:
            raise DeviceError(f"{written} bytes written to buffer {buffer_id} of {self._writable[buffer_id]}")
        return buffer_id, written

    def _retire(self, buffer_id):
        """The buffer's id and descriptors are free again; the next used descriptor is expected behind those."""
        slots = self._slots[buffer_id]
        self._slots[buffer_id], self._tokens[buffer_id], self._grants[buffer_id] = 0, None, None
        self._free_ids.append(buffer_id)
        self.free += slots
        self.used_index += slots
        if self.used_index >= self.size:
            self.used_index, self.used_wrap = self.used_index - self.size, self.used_wrap ^ 1

    # Interrupts

    def enable_interrupts(self, after=1):
        """Ask for used buffer notifications. Look at `has_used` afterwards: what came before brings none.

        With VIRTIO_F_EVENT_IDX the notification comes when `after` more buffers are used, or all that are in flight if
        those are fewer; with chains and without VIRTIO_F_IN_ORDER maybe earlier, for nobody knows which come first.
        """
        slots = after - 1
        if self._order:
            slots = sum(self._slots[buffer_id] for buffer_id in self._order.oldest(after - 1))
        slots = max(0, min(slots, self.size - self.free - 1))
        self._events.arm((self._position(self.used_index, self.used_wrap) + slots) % (2 * self.size))

    def disable_interrupts(self):
        """Ask for silence; one notification may still be on its way."""
        self._events.disarm()

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
        for part in self._parts:
            part.close()
        self._parts = ()
        return tokens
