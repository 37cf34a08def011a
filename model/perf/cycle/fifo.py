"""Queues: records of the place of the first entry, how many there are, and rows of numbers in a ring, an entry each.
Field 0 of an entry is the cycle from which on its taker sees it."""

from .compiled import compiled

__all__ = ["SLICE", "drop", "first", "length", "put", "ready"]

SLICE = 2       # entries of a register slice; it takes another one if it was not full at the cycle's beginning


@compiled
def length(queue):
    return queue.count


@compiled
def first(queue):
    """Row of the first entry."""
    return queue.at


@compiled
def ready(queue, now):
    """Whether the first entry is seen in cycle `now`."""
    return queue.count > 0 and queue.rows[queue.at, 0] <= now


@compiled
def put(queue):
    """Row of a new last entry, to be filled by the caller. There is room: whoever puts has looked, or there can't be
    more."""
    depth = queue.rows.shape[0]
    if queue.count >= depth:
        raise OverflowError("a queue of the performance model is full")
    at = queue.at + queue.count
    queue.count += 1
    return at - depth if at >= depth else at


@compiled
def drop(queue):
    """Take the first entry away."""
    at = queue.at + 1
    queue.at = 0 if at >= queue.rows.shape[0] else at
    queue.count -= 1
