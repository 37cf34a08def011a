"""The link and the host behind it: what `testbench.bfm` does with TLPs, without their bytes.

Upstream a TLP waits for the link, is carried, and arrives. A read is served then: its completions are due a round trip
after it began to be carried, and go back as the link downstream has room. When a line of descriptors is looked at is
drawn, as the host promises nothing about that.
"""

import math

from model.link import COMPLETION, EVENT, REQUEST

from .compiled import compiled
from .draws import draw, skip
from .fifo import drop, first, length, put, ready
from .packets import note
from .state import DATA_THERE, DOORBELL, EVENTS, LINE, RX

__all__ = ["DATA", "QUEUE_BYTES", "READ", "SUPPRESSED", "USED", "advance", "answer", "post_doorbell", "take"]

DATA, USED, SUPPRESSED, READ = range(4)         # what a TLP upstream is
QUEUE_TLPS, QUEUE_BYTES, QUEUE_NP, ROOM_BYTES, ROOM_CQ = 32, 4096, 16, 4096, 16     # as in `testbench.bfm`
DOORBELL_BYTES = REQUEST + EVENT                # of the link
QUANTILES = (0.0, 0.5, 0.95, 0.99, 0.999, 1.0)
NEVER = 1e18


@compiled
def take(w, now, kind, size, a, b, c):
    """A TLP's last beat passes `rq`; `a`, `b`, `c` are handed on to whom it concerns."""
    s, p = w.s, w.p
    start = max(float(now), s.up_free)
    s.up_free = start + size / p.link
    row = put(w.arrivals)
    w.arrivals[row, 0] = s.up_free
    w.arrivals[row, 1] = start
    w.arrivals[row, 2] = kind
    w.arrivals[row, 3] = a
    w.arrivals[row, 4] = b
    w.arrivals[row, 5] = c
    w.waiting[put(w.waiting), 0] = start
    if kind == READ:
        w.waiting_np[put(w.waiting_np), 0] = start


@compiled
def advance(w, now):
    """What arrives until `now`, and what goes downstream; then whether `rq` and its reads are open in the next
    cycle."""
    s, p = w.s, w.p
    while ready(w.arrivals, now):
        row = first(w.arrivals)
        arrival, kind = w.arrivals[row, 0], int(w.arrivals[row, 2])
        if kind == READ:
            _serve(w, arrival, w.arrivals[row, 1], int(w.arrivals[row, 3]))
        else:
            s.last_write = arrival
            _written(w, kind, int(w.arrivals[row, 3]), int(w.arrivals[row, 4]), int(w.arrivals[row, 5]), arrival)
        drop(w.arrivals)
    if s.parts or length(w.requests):
        _send_downstream(w, now)
    while ready(w.waiting, now):
        drop(w.waiting)
    while ready(w.waiting_np, now):
        drop(w.waiting_np)
    s.open = length(w.waiting) < QUEUE_TLPS and (s.up_free - now) * p.link < QUEUE_BYTES
    s.open_np = length(w.waiting_np) < QUEUE_NP


@compiled
def _written(w, kind, a, b, c, arrival):
    """`a`: direction, `b`: queue, `c`: packets used so far, whether doorbells are wanted, or the packet whose last
    write this is."""
    s = w.s
    if kind == USED:
        w.visible[a, b] = c
        w.wakes[a, b] = 1
        s.wakes += 1
    elif kind == SUPPRESSED:
        w.wanted[a, b] = c
    elif c >= 0:
        note(w, RX, DATA_THERE, b, c, arrival)


@compiled
def _trip(w):
    """Cycles from request to completion of a line, by itself."""
    p, logs = w.p, w.logs
    if p.instant:
        return 0.0
    u = draw(w.latencies)
    i = 4
    while QUANTILES[i] > u:
        i -= 1
    low, high = QUANTILES[i], QUANTILES[i + 1]
    return math.exp(logs[i] + (logs[i + 1] - logs[i]) * (u - low) / (high - low)) / p.cycle_ns


@compiled
def _serve(w, arrival, start, tag):
    """A read has arrived: when each of its completions is due, and when its lines are looked at."""
    s, p, read = w.s, w.p, w.tags[tag]
    trip, since = _trip(w), start - s.last_write
    if since < p.after_write_most:
        settled = p.after_write_least + (p.after_write_most - p.after_write_least) * draw(w.latencies)
        trip += max(0.0, settled - since)
    due = max(start + trip, arrival + 1)
    at, length = 0, 4 * -(-read.length // 4)       # whole DWs
    while at < length:
        stop = min(length, at + p.max_payload - (read.address + at) % p.max_payload)
        when = due + max(0, stop - LINE) * p.per_byte
        begin, end = read.address + at, read.address + stop
        if read.client < EVENTS:
            for line in range(begin // LINE, (end - 1) // LINE + 1):
                w.moments[read.look, line - read.first_line] = arrival + draw(w.moment_draws) * (when - 1 - arrival)
        else:
            skip(w.moment_draws, (end - 1) // LINE + 1 - begin // LINE)
        _due(w, when, tag, stop - at, stop == length)
        at = stop


@compiled
def _due(w, when, tag, size, last):
    """One more completion: the earliest is on top of the heap."""
    s, heap = w.s, w.parts
    at, sequence = s.parts, s.sequence
    s.parts += 1
    s.sequence += 1
    while at > 0:
        above = (at - 1) // 2
        if heap[above].when < when or (heap[above].when == when and heap[above].sequence < sequence):
            break
        heap[at] = heap[above]
        at = above
    part = heap[at]
    part.when, part.sequence, part.tag, part.bytes, part.last = when, sequence, tag, size, last


@compiled
def _pop(w):
    """Take the completion on top away."""
    s, heap = w.s, w.parts
    s.parts -= 1
    count = s.parts
    moved = heap[count]
    when, sequence = moved.when, moved.sequence
    at = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and (heap[below + 1].when < heap[below].when
                                  or (heap[below + 1].when == heap[below].when
                                      and heap[below + 1].sequence < heap[below].sequence)):
            below += 1
        if heap[below].when > when or (heap[below].when == when and heap[below].sequence > sequence):
            break
        heap[at] = heap[below]
        at = below
    heap[at] = heap[count]


@compiled
def _send_downstream(w, now):
    """Doorbells and completions in the order in which they are due, as far as the link and its buffers have room."""
    s, p = w.s, w.p
    while True:
        asked, answered = length(w.requests) > 0, s.parts > 0
        if asked and length(w.cq) >= ROOM_CQ:
            s.cq_blocked = now + 1
            asked = False
        if answered and s.rc_bytes >= ROOM_BYTES:
            s.rc_blocked = now + 1
            answered = False
        if asked and (not answered or w.requests[first(w.requests), 0] <= w.parts[0].when):
            earliest = max(w.requests[first(w.requests), 0], s.cq_blocked)
        elif answered:
            asked = False
            earliest = max(w.parts[0].when, s.rc_blocked)
        else:
            return
        if max(earliest, s.down_free) > now + 1:
            return
        if asked:
            size = DOORBELL_BYTES
            from_row, row = first(w.requests), put(w.cq)
            for field in range(1, 4):
                w.cq[row, field] = w.requests[from_row, field]
            drop(w.requests)
        else:
            part = w.parts[0]
            size = COMPLETION + 4 * -(-part.bytes // 4)
            row = put(w.rc)
            w.rc[row, 1], w.rc[row, 2], w.rc[row, 3] = part.tag, part.bytes, part.last
            s.rc_bytes += size
            _pop(w)
        s.down_free = max(earliest, s.down_free) + size / p.link


@compiled
def answer(w, now):
    """What begins to be driven at `cq` and `rc`: a beat a cycle from the next one on."""
    s, p = w.s, w.p
    if length(w.cq) and s.cq_last <= now:
        row = first(w.cq)
        s.cq_last = now + 1
        direction, q = int(w.cq[row, 1]), int(w.cq[row, 2])
        bell = put(w.bells[direction])
        w.bells[direction, bell, 0] = s.cq_last + p.doorbell_delay
        w.bells[direction, bell, 1], w.bells[direction, bell, 2] = q, w.cq[row, 3]
        _rung(w, direction, q, int(w.cq[row, 3]), s.cq_last)
        drop(w.cq)
    if length(w.rc) and s.rc_last <= now:
        row = first(w.rc)
        tag, size = int(w.rc[row, 1]), int(w.rc[row, 2])
        beats = max(1, -(-size // p.beat))
        s.rc_last = now + beats
        s.rc_bytes -= COMPLETION + 4 * -(-size // 4)
        if w.rc[row, 3]:
            w.tags[tag].there = s.rc_last
            end = put(w.ended)
            w.ended[end, 0], w.ended[end, 1] = s.rc_last + 2, tag
        drop(w.rc)


@compiled
def _rung(w, direction, q, until, cycle):
    """A doorbell passes `cq` that tells of all packets before number `until`."""
    place = max(0, w.rung[direction, q])
    while place < min(until, w.p.packets):
        note(w, direction, DOORBELL, q, place, cycle)
        place += 1
    w.rung[direction, q] = max(place, w.rung[direction, q])


@compiled
def post_doorbell(w, now, direction, q, until):
    """The driver rings: all packets before number `until` are available."""
    row = put(w.requests)
    w.requests[row, 0], w.requests[row, 1], w.requests[row, 2], w.requests[row, 3] = now, direction, q, until
