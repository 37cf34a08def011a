"""Used descriptors and what follows them: `hdl.virtqueue.used`, `event` and `suppress`."""

from model.link import EVENT, REQUEST

from .compiled import compiled
from .fifo import drop, first, length, put, ready
from .host import SUPPRESSED, USED
from .packets import note
from .posted import PENDING, ROW, SWITCH, merge_posted
from .runs import pulse
from .state import EVENTS, MSIX, TX, USED_WRITTEN

__all__ = ["ask_events", "build_runs", "collect", "publish", "suppress"]

MERGED = 64         # packets that a used descriptor stands for at most, in order
RUNS, FLIGHTS = 8, 16
IDLE, WRITTEN, TOLD = range(3)


@compiled
def collect(w, d, now):
    """`RunCollector`: a completion every second cycle, or a run whose time is up."""
    x = w.collectors[d]
    if x.busy or x.oldest < now or x.expires <= now or ready(w.completions[d], now):
        _collect(w, d, now)


@compiled
def _collect(w, d, now):
    x = w.collectors[d]
    if x.busy:
        _second(w, d, now)
        return
    if x.oldest < now:
        _find_oldest(w, d, now)
    if x.expires <= now:
        x.queue, x.by_timer, x.busy = x.expiring, 1, 1
    elif ready(w.completions[d], now):
        row = first(w.completions[d])
        x.queue, x.bytes, x.behind = (int(w.completions[d].rows[row, 1]), int(w.completions[d].rows[row, 2]),
                                      int(w.completions[d].rows[row, 3]))
        x.by_timer, x.busy = 0, 1
        drop(w.completions[d])


@compiled
def _find_oldest(w, d, now):
    """The run that has been open longest is the first in the order of opening that is still open."""
    x, p = w.collectors[d], w.p
    x.expires = 1 << 60
    while length(w.opened_runs[d]):
        row = first(w.opened_runs[d])
        q = int(w.opened_runs[d].rows[row, 1])
        run = w.runs[d, q]
        if run.packets and run.opened == w.opened_runs[d].rows[row, 0]:
            x.expires, x.expiring = run.opened + p.used_timeout + 1, q
            break
        drop(w.opened_runs[d])
    x.oldest = 1 << 60


@compiled
def _second(w, d, now):
    x, p = w.collectors[d], w.p
    q = x.queue
    run = w.runs[d, q]
    if x.by_timer:
        if length(w.closed[d]) < RUNS:
            _close(w, d, now, q)
            x.busy = 0
        return
    opens = run.packets == 0
    merged = p.in_order and d == TX
    count = 1 if merged else run.packets + 1
    takes_row = opens or (not merged and run.packets % p.lanes == 0)
    if takes_row and run.rows >= p.run_rows:
        return
    index = run.position % p.ring
    ends_ring = index + 1 == p.ring
    heavy = run.bytes + x.bytes >= p.used_bytes
    if merged:
        close = run.packets >= MERGED - 1 or run.packets >= p.ring // 4 or heavy or not x.behind
    else:
        page_ends = (w.rings[d, q] // 16 + index + 1) % 256 == 0
        close = count >= p.used_batch or ends_ring or page_ends or heavy or not x.behind
    if close and length(w.closed[d]) >= RUNS:
        return
    run.rows += takes_row
    run.taken_rows += takes_row
    run.position += 1
    run.packets += 1
    run.bytes += x.bytes
    x.busy = 0
    if close:
        _close(w, d, now, q)
    elif opens:
        run.opened = now
        row = put(w.opened_runs[d])
        w.opened_runs[d].rows[row, 0], w.opened_runs[d].rows[row, 1] = now, q
        x.oldest = now


@compiled
def _close(w, d, now, q):
    x, p, run = w.collectors[d], w.p, w.runs[d, q]
    row = put(w.closed[d])
    closed = w.closed[d].rows[row]
    closed[0], closed[1], closed[2], closed[3] = now + 1, q, run.position, run.taken_rows
    closed[4] = 8 if p.in_order and d == TX else 16 * run.packets - 8
    run.packets, run.bytes, run.taken_rows = 0, 0, 0
    x.oldest = now


@compiled
def build_runs(w, d, now):
    """`RunBuilder`: a row, and so a beat, a cycle."""
    if w.registers[d, ROW, 0] or w.registers[d, PENDING, 0] or w.registers[d, SWITCH, 0] or ready(w.closed[d], now):
        _build(w, d, now)


@compiled
def _build(w, d, now):
    x = w.builders[d]
    filled = w.registers[d, ROW, 0] + w.registers[d, PENDING, 0] + w.registers[d, SWITCH, 0]
    if (filled and not merge_posted(w, d, now)) or not ready(w.closed[d], now):
        return
    run = w.closed[d].rows[first(w.closed[d])]
    if x.beat == 0:
        if x.flights >= FLIGHTS:
            return
        x.flights += 1
    x.beat += 1
    beat = w.registers[d, PENDING]
    ends = x.beat >= run[3]
    beat[0], beat[1], beat[2], beat[3] = 1, ends, USED, REQUEST + run[4]
    beat[4], beat[5], beat[6] = d, run[1], run[2]
    if ends:
        x.beat = 0
        w.runs[d, int(run[1])].rows -= int(run[3])
        drop(w.closed[d])


@compiled
def publish(w, d, now):
    """A run has its place: the ring has room again, and the driver may want to be told."""
    if ready(w.accepted[d], now):
        _publish(w, d, now)


@compiled
def _publish(w, d, now):
    row = first(w.accepted[d])
    q, until = int(w.accepted[d].rows[row, 1]), int(w.accepted[d].rows[row, 2])
    drop(w.accepted[d])
    w.builders[d].flights -= 1
    for place in range(w.used[d, q], min(until, w.p.packets)):
        note(w, d, USED_WRITTEN, q, place, now - 1)
    w.used[d, q] = until
    pulse(w.published_pulses[d], now + 1, q)
    row = put(w.notices[d])
    w.notices[d].rows[row, 0], w.notices[d].rows[row, 1], w.notices[d].rows[row, 2] = now, q, until


@compiled
def ask_events(w, d, now):
    """`Event`: a read of the driver's structure under way per queue, and another one if it may have missed a run."""
    if ready(w.answers[d], now) or ready(w.notices[d], now):
        _events(w, d, now)


@compiled
def _events(w, d, now):
    if ready(w.answers[d], now):
        row = first(w.answers[d])
        q, there = int(w.answers[d].rows[row, 1]), w.answers[d].rows[row, 2]
        drop(w.answers[d])
        event = w.events[d, q]
        for place in range(event.told, min(event.asked, w.p.packets)):
            note(w, d, MSIX, q, place, there + w.p.message_delay)
        event.told, event.reading = event.asked, 0
        if event.again:
            event.again = 0
            _ask(w, d, now, q)
    elif ready(w.notices[d], now) and length(w.commands[EVENTS + d]) < 2:
        row = first(w.notices[d])
        q = int(w.notices[d].rows[row, 1])
        w.events[d, q].until = int(w.notices[d].rows[row, 2])
        drop(w.notices[d])
        if w.events[d, q].reading:
            w.events[d, q].again = 1
        else:
            _ask(w, d, now, q)


@compiled
def _ask(w, d, now, q):
    event = w.events[d, q]
    event.reading, event.asked = 1, event.until
    row = put(w.commands[EVENTS + d])
    command = w.commands[EVENTS + d].rows[row]
    command[0], command[1], command[2], command[3] = now + 2, q, 0, 4
    w.s.commanded += 1


@compiled
def suppress(w, d, now):
    """`Suppress`: one change of the device's event suppression structure after the other."""
    x = w.suppressors[d]
    if x.state == TOLD or ready(w.switches[d], now) or (x.state == WRITTEN and x.accepted < now):
        _suppress(w, d, now)


@compiled
def _suppress(w, d, now):
    x = w.suppressors[d]
    if x.state == TOLD and length(w.switched[d]) == 0:
        x.state = IDLE
    if x.state == IDLE:
        if ready(w.switches[d], now):
            row = first(w.switches[d])
            x.queue, x.enable = int(w.switches[d].rows[row, 1]), int(w.switches[d].rows[row, 2])
            x.state, x.accepted = WRITTEN, 1 << 60
            drop(w.switches[d])
            beat = w.registers[d, SWITCH]
            beat[0], beat[1], beat[2], beat[3] = 1, 1, SUPPRESSED, REQUEST + EVENT
            beat[4], beat[5], beat[6] = d, x.queue, x.enable
    elif x.state == WRITTEN and x.accepted < now:
        row = put(w.switched[d])
        w.switched[d].rows[row, 0], w.switched[d].rows[row, 1], w.switched[d].rows[row, 2] = now, x.queue, x.enable
        x.state = TOLD
