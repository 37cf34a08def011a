"""Queues in arrays: row 0 is (place of the first entry, entries), the others are entries. Field 0 of an entry is the
cycle from which on its taker sees it."""

from .compiled import compiled

__all__ = ["SLICE", "drop", "first", "length", "put", "ready"]

SLICE = 2       # entries of a register slice; it takes another one if it was not full at the cycle's beginning


@compiled
def length(queue):
    return int(queue[0, 1])


@compiled
def first(queue):
    """Row of the first entry."""
    return int(queue[0, 0]) + 1


@compiled
def ready(queue, now):
    """Whether the first entry is seen in cycle `now`."""
    return queue[0, 1] > 0 and queue[int(queue[0, 0]) + 1, 0] <= now


@compiled
def put(queue):
    """Row of a new last entry, to be filled by the caller. There is room: whoever puts has looked, or there can't be
    more."""
    depth = queue.shape[0] - 1
    if queue[0, 1] >= depth:
        raise OverflowError("a queue of the performance model is full")
    at = int(queue[0, 0] + queue[0, 1])
    queue[0, 1] += 1
    return (at - depth if at >= depth else at) + 1


@compiled
def drop(queue):
    """Take the first entry away."""
    at = queue[0, 0] + 1
    queue[0, 0] = 0 if at >= queue.shape[0] - 1 else at
    queue[0, 1] -= 1
