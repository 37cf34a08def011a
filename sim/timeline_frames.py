"""Which frames on the wire are whose: a transmitted packet may be cut in many, and some have none."""

from collections import defaultdict, deque
from dataclasses import dataclass

__all__ = ["Frame", "Leaving"]


@dataclass(eq=False)
class Frame:
    """A frame that waits for the wire, or has been there, in cycles."""
    begin: int | None = None
    end: int | None = None


class Leaving:
    """Frames leave in the order in which they are complete, and those of a queue in the order of its packets."""

    def __init__(self):
        # What became of each queue's packets, in order: their frames, none of a refused one. Queues whose last packet
        # has more frames to come.
        self._became, self._unfinished = defaultdict(list), set()
        self._waiting = deque()

    def refused(self, queue):
        """The next packet of `queue` is dropped for its header."""
        self._end(queue)
        self._became[queue].append([])

    def complete(self, queue, first, last):
        """A frame is complete, the `first` or the `last` of its packet or both."""
        frame = Frame()
        self._waiting.append(frame)
        if first:
            self._end(queue)
            self._became[queue].append([])
        if self._became[queue]:
            self._became[queue][-1].append(frame)
        (self._unfinished.discard if last else self._unfinished.add)(queue)

    def wire(self, cycle, first, last):
        """The `first` or the `last` beat of a frame, or both, passes the wire."""
        if not self._waiting:
            return
        frame = self._waiting[0]
        if first:
            frame.begin = cycle
        if last:
            frame.end = cycle
            self._waiting.popleft()

    def by_packet(self, packets):
        """Yields (packet, its frames) of transmitted packets, as far as it is known; what is `dropped` has none."""
        for queue in list(self._unfinished):
            self._end(queue)
        became = {queue: deque(found) for queue, found in self._became.items()}
        for packet in packets:
            if not packet.dropped and became.get(packet.queue):
                yield packet, became[packet.queue].popleft()

    def _end(self, queue):
        """What a packet has sent without its last frame is that of a dropped one: a read failed."""
        if queue in self._unfinished:
            self._unfinished.discard(queue)
            self._became[queue].pop()
