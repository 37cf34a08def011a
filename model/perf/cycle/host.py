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
from .state import DATA_THERE, DOORBELL, EVENTS, LINE, MOST_TAGS, RX

__all__ = ["DATA", "QUEUE_BYTES", "READ", "SUPPRESSED", "USED", "advance", "answer", "post_doorbell", "take"]

DATA, USED, SUPPRESSED, READ = range(4)         # what a TLP upstream is
QUEUE_TLPS, QUEUE_BYTES, QUEUE_NP, ROOM_BYTES, ROOM_CQ = 32, 4096, 16, 4096, 16     # as in `testbench.bfm`
DOORBELL_BYTES = REQUEST + EVENT                # of the link
QUANTILES = (0.0, 0.5, 0.95, 0.99, 0.999, 1.0)
NEVER = 1e18
PART = 1 << 13          # more than the bytes of a completion


@compiled
def take(w, now, kind, size, a, b, c):
    """A TLP's last beat passes `rq`; `a`, `b`, `c` are handed on to whom it concerns."""
    s, p = w.s, w.p
    start = max(float(now), s.up_free)
    s.up_free = start + size / p.link
    row = put(w.arrivals)
    w.arrivals.rows[row, 0] = s.up_free
    w.arrivals.rows[row, 1] = start
    w.arrivals.rows[row, 2] = kind
    w.arrivals.rows[row, 3] = a
    w.arrivals.rows[row, 4] = b
    w.arrivals.rows[row, 5] = c
    w.waiting.rows[put(w.waiting), 0] = start
    if kind == READ:
        w.waiting_np.rows[put(w.waiting_np), 0] = start


@compiled
def advance(w, now):
    """What arrives until `now`, and what goes downstream; then whether `rq` and its reads are open in the next
    cycle."""
    s = w.s
    if ready(w.arrivals, now):
        _arrive(w, now)
    # Nothing goes while the link is busy.
    if s.down_free <= now + 1 and ((s.parts and w.parts_due[0] <= now + 1) or ready(w.requests, now + 1)):
        _send_downstream(w, now)
    while ready(w.waiting, now):
        drop(w.waiting)
    while ready(w.waiting_np, now):
        drop(w.waiting_np)
    s.open = length(w.waiting) < QUEUE_TLPS and (s.up_free - now) * w.p.link < QUEUE_BYTES
    s.open_np = length(w.waiting_np) < QUEUE_NP


@compiled
def _arrive(w, now):
    """TLPs that are there by now."""
    s = w.s
    while ready(w.arrivals, now):
        row = first(w.arrivals)
        arrival, kind = w.arrivals.rows[row, 0], int(w.arrivals.rows[row, 2])
        if kind == READ:
            _serve(w, arrival, w.arrivals.rows[row, 1], int(w.arrivals.rows[row, 3]))
        else:
            s.last_write = arrival
            a, b, c = int(w.arrivals.rows[row, 3]), int(w.arrivals.rows[row, 4]), int(w.arrivals.rows[row, 5])
            _written(w, kind, a, b, c, arrival)
        drop(w.arrivals)


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
    s, whens, parts = w.s, w.parts_due, w.parts
    at, part = s.parts, ((s.sequence * MOST_TAGS + tag) * PART + size) * 2 + last
    s.parts += 1
    s.sequence += 1
    while at > 0:
        above = (at - 1) >> 1
        if whens[above] <= when:        # of two at the same time the one that was known first
            break
        whens[at], parts[at] = whens[above], parts[above]
        at = above
    whens[at], parts[at] = when, part


@compiled
def _pop(w):
    """Take the completion on top away."""
    s, whens, parts = w.s, w.parts_due, w.parts
    s.parts -= 1
    count = s.parts
    when, part = whens[count], parts[count]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and _before(whens[below + 1], parts[below + 1], whens[below], parts[below]):
            below += 1
        if _before(when, part, whens[below], parts[below]):
            break
        whens[at], parts[at] = whens[below], parts[below]
        at = below
    whens[at], parts[at] = when, part


@compiled
def _before(when, part, other_when, other_part):
    """Whether one completion is due before another; of two at the same time the one that was known first."""
    return when < other_when or (when == other_when and part < other_part)


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
        if asked and (not answered or w.requests.rows[first(w.requests), 0] <= w.parts_due[0]):
            earliest = max(w.requests.rows[first(w.requests), 0], s.cq_blocked)
        elif answered:
            asked = False
            earliest = max(w.parts_due[0], s.rc_blocked)
        else:
            return
        if max(earliest, s.down_free) > now + 1:
            return
        if asked:
            size = DOORBELL_BYTES
            from_row, row = first(w.requests), put(w.cq)
            for field in range(1, 4):
                w.cq.rows[row, field] = w.requests.rows[from_row, field]
            drop(w.requests)
        else:
            part, row = w.parts[0], put(w.rc)
            carried = (part >> 1) % PART
            size = COMPLETION + 4 * -(-carried // 4)
            completion = w.rc.rows[row]
            completion[1], completion[2], completion[3] = (part >> 1) // PART % MOST_TAGS, carried, part & 1
            s.rc_bytes += size
            _pop(w)
        s.down_free = max(earliest, s.down_free) + size / p.link


@compiled
def answer(w, now):
    """What begins to be driven at `cq` and `rc`: a beat a cycle from the next one on."""
    if length(w.cq) and w.s.cq_last <= now:
        _ring(w, now)
    if length(w.rc) and w.s.rc_last <= now:
        _complete(w, now)


@compiled
def _ring(w, now):
    """A doorbell."""
    s, p = w.s, w.p
    row = first(w.cq)
    s.cq_last = now + 1
    direction, q = int(w.cq.rows[row, 1]), int(w.cq.rows[row, 2])
    bell = put(w.bells[direction])
    w.bells[direction].rows[bell, 0] = s.cq_last + p.doorbell_delay
    w.bells[direction].rows[bell, 1], w.bells[direction].rows[bell, 2] = q, w.cq.rows[row, 3]
    _rung(w, direction, q, int(w.cq.rows[row, 3]), s.cq_last)
    drop(w.cq)


@compiled
def _complete(w, now):
    """A completion; a beat begins when the one before is over."""
    s, p = w.s, w.p
    row = first(w.rc)
    tag, size = int(w.rc.rows[row, 1]), int(w.rc.rows[row, 2])
    beats = max(1, -(-size // p.beat))
    s.rc_last = now + beats
    s.rc_bytes -= COMPLETION + 4 * -(-size // 4)
    if w.rc.rows[row, 3]:
        w.tags[tag].there = s.rc_last
        end = put(w.ended)
        w.ended.rows[end, 0], w.ended.rows[end, 1] = s.rc_last + 2, tag
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
    request = w.requests.rows[row]
    request[0], request[1], request[2], request[3] = now, direction, q, until
