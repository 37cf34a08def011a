"""The driver, which costs nothing, and the MAC: what `testbench.system.paced.PacedLoad` does.

Directions are 0, receive, and 1, transmit. Packets of a queue are counted from 0 on, and so are its descriptors.
"""

from model.moments import BEGIN

from .compiled import compiled
from .fifo import drop, first, length, put, ready
from .host import post_doorbell
from .packets import note, size_of
from .state import DOORBELL, FIRST_BEAT, LAST_BEAT, OFFERED, RX, SEEN, TX

__all__ = ["PARSED", "feed", "frame_left", "pace", "post", "run", "send_frames", "transmit"]

TICK = 1.0001       # cycles from an edge in which a process goes on that is due: to the next one, rounded
PARSED = 128        # bytes of a frame after which its headers are known; a shorter one waits for them


@compiled
def run(w, now):
    """Everybody who was woken in this cycle."""
    s, p = w.s, w.p
    if s.wakes:
        _woken(w, now)
    if p.paced and s.loaded and s.due <= now + TICK:
        pace(w, now)


@compiled
def _woken(w, now):
    queues = w.p.queues
    w.s.wakes = 0
    for q in range(queues):
        if w.wakes[RX, q]:
            w.wakes[RX, q] = 0
            _receive(w, now, q)
    for q in range(queues):
        if w.wakes[TX, q]:
            w.wakes[TX, q] = 0
            _seen(w, now, TX, q)
            transmit(w, now, q)


@compiled
def _seen(w, now, direction, q):
    for place in range(w.seen[direction, q], w.visible[direction, q]):
        note(w, direction, SEEN, q, place, now)
    w.seen[direction, q] = w.visible[direction, q]


@compiled
def post(w, now, direction, q, count):
    """Make so many available, and ring unless the card does without."""
    p = w.p
    begin = w.posted[direction, q]
    for place in range(begin, begin + count):
        w.posted_at[direction, q, place % p.ring] = now
        if direction == TX:
            note(w, TX, OFFERED, q, place, now)
            note(w, TX, DOORBELL, q, place, now)
    w.posted[direction, q] = begin + count
    if p.told or w.wanted[direction, q]:
        post_doorbell(w, now, direction, q, begin + count)


@compiled
def transmit(w, now, q):
    """As many bursts as there is room for, and as the other direction lets come."""
    s, p = w.s, w.p
    while s.loaded and (w.late[q] or not p.paced):
        if p.ring - (w.posted[TX, q] - w.collected[q]) < p.ring // 2:
            w.collected[q] = w.visible[TX, q]
        if p.ring - (w.posted[TX, q] - w.collected[q]) < p.burst:
            return
        if p.both and w.posted[TX, q] - w.seen[RX, q] > p.lead:
            return
        post(w, now, TX, q, p.burst)
        if p.paced:
            w.late[q] -= 1


@compiled
def _receive(w, now, q):
    """All frames that are used by now; buffers go back many at a time."""
    s, p = w.s, w.p
    new = w.visible[RX, q] - w.seen[RX, q]
    _seen(w, now, RX, q)
    w.idle[q] += new
    if w.idle[q] >= p.refill:
        count = w.idle[q]
        w.idle[q] = 0
        post(w, now, RX, q, count)
    if not s.loaded:
        return
    if not p.paced:
        feed(w, now)
    if p.both:
        transmit(w, now, q)


@compiled
def _may_come(w, q):
    p = w.p
    fed = w.fed[q]
    return fed - w.seen[RX, q] < p.under_way and not (p.both and fed >= w.left[q] + p.ahead)


@compiled
def feed(w, now):
    """Frames from the wire, of all queues in turn."""
    s, p = w.s, w.p
    rest = 0
    while rest < p.queues:
        q = s.next_fed
        s.next_fed = q + 1 if q + 1 < p.queues else 0
        if _may_come(w, q):
            _offer(w, now, q)
            rest = 0
        else:
            rest += 1


@compiled
def _offer(w, now, q):
    place = w.fed[q]
    note(w, RX, OFFERED, q, place, now)
    row = put(w.wire)
    w.wire.rows[row, 1], w.wire.rows[row, 2] = q, place
    w.fed[q] = place + 1


@compiled
def _moment(w, burst, q):
    """When a queue's burst is due, from the beginning of the load."""
    p, captured = w.p, w.p.captured
    if captured:
        rounds, number = divmod(burst * p.queues + q, captured)
        return w.captured[number] + rounds * p.span
    return (burst + q / p.queues) * p.gap


@compiled
def pace(w, now):
    """Bursts that are due, of each queue at a time of its own; or packets of a capture, one by one."""
    s, p = w.s, w.p
    following = 1e18
    for q in range(p.queues):
        while w.due[q] <= now + TICK:
            if p.tx:
                w.late[q] += 1
                transmit(w, now, q)
            if p.rx:
                _feed_paced(w, now, q)
            w.bursts[q] += 1
            w.due[q] = BEGIN + _moment(w, w.bursts[q], q)
        following = min(following, w.due[q])
    s.due = following


@compiled
def _feed_paced(w, now, q):
    for _ in range(w.p.burst):
        if _may_come(w, q):
            _offer(w, now, q)


@compiled
def send_frames(w, now):
    """The wire's next frame, a beat a cycle from the next one on."""
    if length(w.wire) and w.s.wire_last <= now:
        _send_frame(w, now)


@compiled
def _send_frame(w, now):
    s, p = w.s, w.p
    row = first(w.wire)
    q, place = int(w.wire.rows[row, 1]), int(w.wire.rows[row, 2])
    size = size_of(w, q, place)
    beats = -(-size // p.beat)
    s.wire_last = now + beats
    known = now + min(beats, -(-PARSED // p.beat)) + p.parse_delay
    s.offer_at = max(s.offer_at + 1, max(s.wire_last, known) + p.offer_delay)
    frame = put(w.frames)
    w.frames.rows[frame, 0], w.frames.rows[frame, 1], w.frames.rows[frame, 2] = s.offer_at, q, place
    note(w, RX, FIRST_BEAT, q, place, now + 1)
    note(w, RX, LAST_BEAT, q, place, s.wire_last)
    drop(w.wire)


@compiled
def frame_left(w, now):
    """Frames whose last beat has passed `eth_tx`."""
    if ready(w.leaving, now):
        _frames_left(w, now)


@compiled
def _frames_left(w, now):
    s, p = w.s, w.p
    while ready(w.leaving, now):
        q = int(w.leaving.rows[first(w.leaving), 1])
        w.left[q] += 1
        drop(w.leaving)
        if p.both and s.loaded:
            feed(w, now)
