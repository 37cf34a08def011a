"""Coalescing of used buffer notifications, per queue.

Source: VIRTIO Version 1.4, section "Notifications Coalescing". Without a clock, time is over when the card has nothing
else to do: it then asks for what is `overdue`.
"""

from dataclasses import dataclass

__all__ = ["Coalescing"]


@dataclass
class _Queue:
    packets: int = 0
    usecs: int = 0
    held: int = 0           # packets used since the condition was last met
    since: float = 0        # when the first of them was

    def is_met(self):
        return self.held > 0 and (not self.packets or not self.usecs or self.held >= self.packets)


class Coalescing:
    """Parameters of every receive (even index) and transmit queue, and the packets that wait for a notification.

    Parameters
    ----------
    clock : clock(): nanoseconds; None if there is none
    """

    def __init__(self, clock=None):
        self._clock = clock
        self._defaults = {0: (0, 0), 1: (0, 0)}
        self._queues = {}

    def enable(self, index):
        """A queue begins, or begins anew, with what was last set for its direction."""
        self._queues[index] = _Queue(*self._defaults[index & 1])

    def set_direction(self, direction, packets, usecs):
        """For all queues of a direction, 0 receive and 1 transmit, and for those that will be enabled again."""
        self._defaults[direction] = packets, usecs
        for index, queue in self._queues.items():
            if index & 1 == direction:
                queue.packets, queue.usecs = packets, usecs

    def set_queue(self, index, packets, usecs):
        self._queues[index].packets, self._queues[index].usecs = packets, usecs

    def of_queue(self, index):
        """(max_packets, max_usecs)"""
        return self._queues[index].packets, self._queues[index].usecs

    def used(self, index, packets):
        """So many packets more were put into used buffers."""
        queue = self._queues[index]
        if not queue.held and self._clock:
            queue.since = self._clock()
        queue.held += packets

    def due(self, index):
        """Whether the condition is met for the packets counted, or has become so; counting then begins anew."""
        queue = self._queues[index]
        met = queue.is_met()
        if met:
            queue.held = 0
        return met

    def overdue(self, index):
        """Whether packets have been waiting and the time is over; counting then begins anew."""
        queue = self._queues[index]
        over = queue.held > 0 and (not self._clock or self._clock() - queue.since >= 1000 * queue.usecs)
        if over:
            queue.held = 0
        return over

    def waits(self, index):
        """Whether packets of the queue wait for a notification."""
        return self._queues[index].held > 0
