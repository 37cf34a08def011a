"""How fast an ideal device could be that delivers in order: what slow reads cost even the best hardware.

The device takes no time of its own and never waits for the link's bookkeeping. It has the card's resources: `tags`
reads outstanding, each keeping its tag, and with it the storage of its answer, until the answer is delivered in order;
and room for `window` descriptors per queue, from the moment they are asked for until they are taken; as many tags are
set aside as that takes fetches. Reads take what the caller tells, and the link carries one packet after the other at
its SPEC rate.
"""

import heapq
from collections import deque
from itertools import cycle

from model.latency import NS_PER_BYTE
from model.link import BATCH, Link, Traffic, link_bound

__all__ = ["in_order_mpps"]


def in_order_mpps(direction, frame, *, fetches, data, first, packets, per_byte=NS_PER_BYTE, link="gen3x8", tags=256,
                  window=256, policy=BATCH, mps=256, mrrs=512):
    """Millions of packets per second of one queue pair, over `packets` packets behind the `first` ones; of "both", in
    each direction.

    `fetches` and `data` are the ns that reads of descriptors and of packets take, in the order in which they are asked
    for, and `per_byte` more for each byte beyond 64; after the last they begin anew. A packet is one descriptor, and
    one read if it is transmitted: frames of more than `mrrs` bytes are not modelled.
    """
    if frame + 12 > mrrs:
        raise ValueError(f"frames of up to {mrrs - 12} bytes are one read, not {frame}")
    each = 1e3 / link_bound(Link(link, mps=mps), Traffic(direction, frame, policy, mps=mps, mrrs=mrrs))    # ns
    fetch_trips, data_trips = _trips(fetches, 16 * int(policy.fetch), per_byte), _trips(data, 12 + frame, per_byte)
    sides = [_Side(name == "tx", fetch_trips, data_trips, each, window, policy.fetch)
             for name in (("tx", "rx") if direction == "both" else (direction,))]
    pool = _Tags(tags - len(sides) * (window // int(policy.fetch)))
    began = 0.0
    for number in range(first + packets):
        if number == first:
            began = max(side.delivered for side in sides)
        for side in sides:
            side.step(number, pool)
    return packets * 1e3 / (max(side.delivered for side in sides) - began)


def _trips(drawn, length, per_byte):
    """Without end, what reads of `length` bytes take."""
    return (ns + max(0, length - 64) * per_byte for ns in cycle(drawn))


class _Tags:
    """Tags in the order in which they are taken; each is given back at a time that is known when it is."""

    def __init__(self, count):
        self._free_at = [0.0] * count       # a heap

    def take(self, when):
        """The time from `when` on at which a tag is free."""
        return max(when, heapq.heappop(self._free_at))

    def give(self, when):
        heapq.heappush(self._free_at, when)


class _Side:
    """One direction: descriptors fetched ahead, packets one by one."""

    def __init__(self, transmit, fetch_trips, data_trips, each, window, batch):
        self.delivered = 0.0        # the last packet
        self._transmit, self._fetch_trips, self._data_trips, self._each = transmit, fetch_trips, data_trips, each
        self._batch = int(batch)
        self._fetches = window // self._batch
        self._taken = deque([0.0] * self._fetches)      # when the window's oldest batches were taken
        self._ready = 0.0           # the batch at hand
        self._issued = 0.0

    def step(self, number, tags):
        if number % self._batch == 0:
            # This batch was asked for when the one a window before it had been taken.
            asked = self._taken.popleft()
            self._ready = max(self._ready, asked + next(self._fetch_trips))
        begin = self._ready
        if self._transmit:
            self._issued = max(tags.take(begin), self._issued)
            arrives = self._issued + next(self._data_trips)
            self.delivered = max(self.delivered + self._each, arrives)
            tags.give(self.delivered)
            taken = self._issued
        else:
            self.delivered = max(self.delivered + self._each, begin)
            taken = self.delivered
        if (number + 1) % self._batch == 0:
            self._taken.append(taken)
