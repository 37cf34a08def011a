"""Indirect descriptor tables: a buffer's elements in memory of their own, one descriptor of the ring for all of them.

Source: VIRTIO Version 1.4, section "Indirect Flag: Scatter-Gather Support".
"""

from model import formats
from testbench.driver.area import Area

__all__ = ["TablePool"]

_SLAB_BYTES = 4096


class TablePool:
    """Tables of a ring. They are used again: what a device finds in one that it has no more is of another buffer.

    Parameters
    ----------
    offset : bytes that each table begins behind a multiple of 16
    show_ids : write the buffer id, which has no meaning there, into every entry; else 0xdead
    """

    def __init__(self, host, *, offset=0, show_ids=True):
        self._host = host
        self._offset = offset
        self._show_ids = show_ids
        self._slabs = []
        self._free = {}         # entries of a table, a power of 2 → views and addresses of free ones
        self._taken = {}        # buffer id → (entries, (view, address), grant)

    def write(self, elements, buffer_id):
        """Put `elements` into a table, and give it to the device until `take`; returns (address, bytes)."""
        entries = 1 << (len(elements) - 1).bit_length()
        free = self._free.setdefault(entries, [])
        if not free:
            self._grow(entries, free)
        view, address = place = free.pop()
        shown_id = buffer_id if self._show_ids else 0xdead
        for number, (at, length, writable) in enumerate(elements):
            formats.DESC.pack_into(view, number * formats.DESC_BYTES, at, length, shown_id,
                                   formats.DESC_WRITE if writable else 0)
        size = len(elements) * formats.DESC_BYTES
        self._taken[buffer_id] = entries, place, self._host.memory.give(address, size, "r")
        return address, size

    def take(self, buffer_id):
        """The device is done with the buffer."""
        if buffer_id in self._taken:
            entries, place, grant = self._taken.pop(buffer_id)
            self._host.memory.take(grant)
            self._free[entries].append(place)

    def _grow(self, entries, free):
        size = entries * formats.DESC_BYTES
        stride = size + (16 if self._offset else 0)
        count = max(1, _SLAB_BYTES // stride)
        slab = Area(self._host, stride * count, "table", align=16)
        self._slabs.append(slab)
        for at in range(self._offset, stride * count, stride):
            free.append((slab.view[at:at + size], slab.address + at))

    def close(self):
        """Take everything back."""
        for buffer_id in list(self._taken):
            self.take(buffer_id)
        for slab in self._slabs:
            slab.close()
        self._slabs, self._free = [], {}
