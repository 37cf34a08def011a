"""Packets by queue and place: how long they are, and when they reached a stage."""

from .compiled import compiled

__all__ = ["note", "size_of"]


@compiled
def size_of(w, q, place):
    """Bytes of a frame."""
    if w.p.lengths == 1:
        return w.lengths[0]
    return w.lengths[(place * w.p.queues + q) % w.p.lengths]


@compiled
def note(w, d, stage, q, place, cycle):
    """A packet reaches a stage, or a part of it does: the latest time counts. Packets beyond those that are asked for
    leave nothing."""
    if place < w.p.packets:
        at = q * w.p.packets + place
        w.times[d, at, stage] = max(w.times[d, at, stage], cycle)
