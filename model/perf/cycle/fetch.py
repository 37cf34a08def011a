"""Looks at the rings: `hdl.virtqueue.fetch` and its `FetchState`, state by state.

Positions and slots are counted on and on, so that nothing wraps: a place in the ring is a position modulo its size.
"""

from .compiled import compiled
from .fifo import drop, first, length, put, ready
from .runs import enter, pop, push

__all__ = ["fetch"]

EVENT, CUT, ISSUE = range(3)
REPORT, BELL, SWITCHED, ROOM = range(4)
LEAST = 2           # log2 of the descriptors that a queue begins with: those of a line
STREAK = 3


@compiled
def fetch(w, d, now):
    """A cycle of direction `d`."""
    x = w.fetchers[d]
    if x.state or x.pending or x.yields or not x.room_first or _anything(w, d):
        _fetch(w, d, now)


@compiled
def _fetch(w, d, now):
    x = w.fetchers[d]
    free_port = not length(w.commands[d])
    waiting = ready(w.looks[d], now)
    applied = False
    yields, woken = x.yields, x.woken
    x.yields, x.woken = 0, 0
    if x.state == EVENT:
        if x.pending and not yields:
            applied = True
            _react(w, d, now, free_port and not waiting)
            x.yields = waiting and free_port
        elif waiting and free_port:
            q = pop(w.looks[d], w.in_looks[d])
            x.event_last = 0
            _size(w, d, q)
            x.state = CUT
        else:
            x.yields = x.event_last and waiting and free_port
    elif x.state == CUT:
        x.state = ISSUE
        x.yields = x.event_last and waiting and free_port
    else:
        _decide(w, d, now)
        x.state = EVENT
        x.yields = x.event_last and waiting and free_port
    if woken:
        push(w.looks[d], w.in_looks[d], woken - 1, now + 1)
    _hold_event(w, d, now, applied)
    enter(w.published_pulses[d], w.published[d], w.in_published[d], now)
    enter(w.spaces_pulses[d], w.spaces[d], w.in_spaces[d], now)


@compiled
def _anything(w, d):
    """Whether something waits to be looked at."""
    return (w.fetchers[d].woken or length(w.looks[d]) or length(w.reports[d]) or length(w.bells[d])
            or length(w.switched[d]) or length(w.published[d]) or length(w.spaces[d])
            or length(w.published_pulses[d]) or length(w.spaces_pulses[d]))


@compiled
def _hold_event(w, d, now, applied):
    """The next event into its register. Rooms have every second turn."""
    x = w.fetchers[d]
    others = ready(w.reports[d], now) or ready(w.switched[d], now) or ready(w.bells[d], now)
    # Used descriptors go before space in the cache.
    used, spaces = ready(w.published[d], now), ready(w.spaces[d], now)
    room_first = x.room_first
    x.room_first = not others or not x.room_last
    if room_first and (used or spaces):
        if not x.pending:
            x.pending, x.kind, x.room_last = 1, ROOM, 1
            if used:
                x.event_queue = pop(w.published[d], w.in_published[d])
            else:
                x.event_queue = pop(w.spaces[d], w.in_spaces[d])
        elif applied:
            x.pending = 0
        return
    if not (applied or not x.pending):
        return
    x.pending = 0
    x.room_last = 0
    if ready(w.reports[d], now):
        row = first(w.reports[d])
        x.kind, x.event_queue, x.full = REPORT, int(w.reports[d].rows[row, 1]), int(w.reports[d].rows[row, 2])
        x.position, x.count = int(w.reports[d].rows[row, 3]), int(w.reports[d].rows[row, 4])
        drop(w.reports[d])
    elif ready(w.switched[d], now):
        row = first(w.switched[d])
        x.kind, x.event_queue, x.enable = SWITCHED, int(w.switched[d].rows[row, 1]), int(w.switched[d].rows[row, 2])
        drop(w.switched[d])
    elif ready(w.bells[d], now):
        row = first(w.bells[d])
        x.kind, x.event_queue, x.told = BELL, int(w.bells[d].rows[row, 1]), int(w.bells[d].rows[row, 2])
        drop(w.bells[d])
    else:
        return
    x.pending = 1


@compiled
def _react(w, d, now, may_start):
    x, p = w.fetchers[d], w.p
    q = x.event_queue
    f = w.fetching[d, q]
    x.event_last = 1
    wake = False
    if x.kind == REPORT:
        wake = _full(w, d, now, q) if x.full else _bad(w, d, now, q)
    elif x.kind == BELL:
        wake = True
        f.kick = 1
        if p.told:
            if not f.telling or not f.active or x.told > f.told:
                f.told = x.told
            f.telling, f.active, f.level = 1, 1, p.most_level
    elif x.kind == SWITCHED:
        f.asked -= 1
        if x.enable:
            f.kick, wake = 1, True
    else:
        wake = f.blocked
        f.blocked = 0
    if wake:
        if may_start:
            _size(w, d, q)
            x.state = CUT
        else:
            # In the next cycle, when no decision ends.
            x.woken = q + 1


@compiled
def _full(w, d, now, q):
    """All descriptors of a look were there; whether that is reason for another one."""
    f, p = w.fetching[d, q], w.p
    f.under_way -= 1
    wake = not f.telling or f.active or f.kick
    f.active = not f.telling or f.active
    over = max(f.level, p.batch_level) - p.batch_level
    if f.level < p.most_level and (f.position % p.ring >> p.batch_level) & ((1 << over) - 1) == 0:
        f.level += 1
    if f.streak != STREAK:
        f.streak += 1
    elif not p.told and not f.suppressed and f.asked == 0:
        f.suppressed, f.asked = 1, 1
        _switch(w, d, now, q, 0)
    return wake


@compiled
def _bad(w, d, now, q):
    """Back to the first descriptor that was not there."""
    x, f, p = w.fetchers[d], w.fetching[d, q], w.p
    told, active = f.telling, f.active
    f.position = x.position
    f.epoch += 1
    f.under_way, f.blocked, f.streak = 0, 0, 0
    f.active = told and f.kick
    if not told:
        if not active:
            f.level = LEAST
            for level in range(LEAST, p.batch_level):
                if x.count > 1 << level:
                    f.level = level + 1
        elif f.level > p.batch_level:
            f.level = p.batch_level
        elif f.level == LEAST + 1 and x.count == 0:
            f.level = LEAST
    if not f.kick and f.suppressed:
        f.suppressed = 0
        f.asked += 1
        _switch(w, d, now, q, 1)
    return f.kick


@compiled
def _switch(w, d, now, q, enable):
    row = put(w.switches[d])
    w.switches[d].rows[row, 0], w.switches[d].rows[row, 1], w.switches[d].rows[row, 2] = now + 1, q, enable


@compiled
def _size(w, d, q):
    """How much may be looked at, as of this cycle: `FetchSize`."""
    x, f, p = w.fetchers[d], w.fetching[d, q], w.p
    x.queue = q
    batch = 1 << p.batch_level
    index = f.position % p.ring
    x.aligned = batch - index % batch
    cut = f.telling and f.told // p.ring == f.position // p.ring
    x.cut = cut
    x.to_end = f.told - f.position if cut else p.ring - index
    x.window = w.used[d, q] + p.ring - f.position
    x.filled = f.position - w.taken[d, q]
    x.ahead = f.told > f.position


@compiled
def _decide(w, d, now):
    """Look, or find out why not; then what to do next."""
    x, p = w.fetchers[d], w.p
    q = x.queue
    f = w.fetching[d, q]
    batch = part = 1 << p.batch_level
    part = x.aligned
    if not f.telling and f.level < p.batch_level:
        batch = 1 << f.level
        part = min(part, batch)
    ring = min(x.to_end, x.window)
    count = part if ring > batch or ring >= 32 else ring
    if x.filled > p.descriptors - batch:
        count = 0
    most = 1
    if f.telling:
        most = 1 << (p.most_level - p.batch_level)
    elif f.level > p.batch_level:
        most = 1 << (f.level - p.batch_level)
    if f.under_way == 0:
        wanted = f.kick or f.active
    else:
        wanted = f.active and f.under_way < most
    if f.telling and not x.ahead:
        f.active = 0
        f.kick = f.kick and f.under_way != 0
    elif not wanted:
        pass
    elif count > 0:
        reaches = x.cut and x.to_end <= batch and x.to_end <= x.window
        _issue(w, d, now, q, count, f.active and not (f.telling and reaches))
    elif x.window == 0 and not f.telling and not f.kick and not f.suppressed:
        f.active = 0
    else:
        f.blocked = 1


@compiled
def _issue(w, d, now, q, count, more):
    f, p = w.fetching[d, q], w.p
    f.active = more
    if more:
        push(w.looks[d], w.in_looks[d], q, now + 1)
    row = put(w.commands[d])
    command = w.commands[d].rows[row]
    command[0], command[1] = now + 1, q
    command[2], command[3] = w.rings[d, q] + f.position % p.ring * 16, count * 16
    command[4], command[5], command[6] = f.position, f.epoch, 0
    w.s.commanded += 1
    f.position += count
    f.under_way += 1
    f.kick = f.kick and f.under_way != 1
    f.blocked = 0
