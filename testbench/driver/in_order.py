"""Which buffers a used descriptor stands for, where they are used in the order in which they were made available.

Source: VIRTIO Version 1.4, section "In-order use of descriptors".
"""

from collections import deque
from itertools import islice

__all__ = ["InOrder"]


class InOrder:
    """Buffers in flight, oldest first, and those of a batch that was seen used and is not collected yet."""

    def __init__(self):
        self._in_flight = deque()
        self._batch = deque()

    def add(self, *buffer_ids):
        self._in_flight.extend(buffer_ids)

    def seen(self, buffer_id, written, capacities):
        """A used descriptor names `buffer_id`, which is in flight: all before it are used too, and filled to the byte.
        `capacities`: id → bytes that the device may write."""
        while self._in_flight[0] != buffer_id:
            skipped = self._in_flight.popleft()
            self._batch.append((skipped, capacities[skipped]))
        self._in_flight.popleft()
        self._batch.append((buffer_id, written))

    def has_used(self):
        """Whether a buffer of a batch waits to be collected."""
        return bool(self._batch)

    def next(self):
        """(id, bytes written) of the next buffer of the batch."""
        return self._batch.popleft()

    def oldest(self, count):
        """Ids of the next `count` buffers to be used, or of all."""
        return islice(self._in_flight, count)
