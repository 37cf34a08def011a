"""From what a fetch brought to elements for the walkers: `hdl.virtqueue.receive`, `tables` and `table_store`.

Every packet has one descriptor in the ring, of its buffer or of a table of two elements.
"""

from .compiled import compiled
from .fifo import SLICE, drop, first, length, put, ready
from .packets import note
from .runs import enter, pop, pulse, push
from .state import DESCRIPTOR_THERE, FETCH_ISSUED, LINE, STORES, TABLES, TX

__all__ = ["judge", "store_tables", "take_descriptors"]

TURN, TAKE, ISSUE, AGAIN = range(4)
TABLE_ELEMENTS = 2
TURN_DESCRIPTORS = 16


@compiled
def _passes(w, place, cycle):
    """A beat is at hand from the cycle after `cycle` on, and stored no more."""
    w.passed[place].rows[put(w.passed[place]), 0] = cycle + 1


@compiled
def judge(w, d, now):
    """A batch when the one before is done with: a descriptor a cycle and 2 cycles more, the second of which waits for
    the report to be taken. The first that was not there when the host looked ends the epoch, and the rest of the batch
    passes a beat a cycle."""
    x = w.judges[d]
    if now >= x.busy and (x.reports or ready(w.batches[d], now)):
        _judge(w, d, now)


@compiled
def _judge(w, d, now):
    x, p = w.judges[d], w.p
    if x.reports:
        _report(w, d, now)
        return
    row = first(w.batches[d])
    batch = w.batches[d].rows[row]
    q, position, count, epoch = int(batch[1]), int(batch[2]), int(batch[3]), int(batch[4])
    look, line, address = int(batch[5]), int(batch[6]), int(batch[7])
    beats = -(-count // p.lanes)
    _passes(w, d, max(int(batch[0]) - (beats - 1), x.free))
    drop(w.batches[d])
    if epoch != w.epochs[d, q]:
        x.busy = now + 1 + beats
        x.free = now + beats
        for beat in range(1, beats):
            _passes(w, d, now + beat)
        return
    good = 0
    while good < count and _was_there(w, d, q, position + good, w.moments[look, (address + 16 * good) // LINE - line]):
        good += 1
    for n in range(good):
        entry = put(w.descriptors[d, q])
        w.descriptors[d, q].rows[entry, 0] = now + 3 + n
        pulse(w.turns_pulses[d], now + 2 + n, q)
        note(w, d, FETCH_ISSUED, q, position + n, batch[8])
        note(w, d, DESCRIPTOR_THERE, q, position + n, batch[9])
    x.reports, x.queue, x.full, x.position, x.good = 1, q, good == count, position + good, good
    # The beat at hand stays.
    whole = beats - 1 if x.full else good // p.lanes
    for beat in range(1, whole + 1):
        _passes(w, d, now + beat * p.lanes)
    x.left = beats - whole
    x.free = now + count
    x.busy = now + 1 + count if x.full else now + 2 + good


@compiled
def _report(w, d, now):
    """What was found goes into a register slice, and what is left of a bad batch nowhere."""
    x = w.judges[d]
    if length(w.reports[d]) >= SLICE:
        return
    x.reports, x.busy = 0, now + 1
    row = put(w.reports[d])
    w.reports[d].rows[row, 0], w.reports[d].rows[row, 1], w.reports[d].rows[row, 2] = now + 1, x.queue, x.full
    w.reports[d].rows[row, 3], w.reports[d].rows[row, 4] = x.position, x.good
    if not x.full:
        w.epochs[d, x.queue] += 1
        x.busy += x.left
        x.free = now + x.left
        for beat in range(1, x.left):
            _passes(w, d, now + beat)


@compiled
def _was_there(w, d, q, position, moment):
    """Whether a descriptor was available when its line was looked at. What the driver does in a cycle is seen from that
    cycle's end on."""
    return position < w.posted[d, q] and w.posted_at[d, q, position % w.p.ring] < moment


@compiled
def take_descriptors(w, d, now):
    """`TableTake`: queues take turns: direct descriptors are copied, one a cycle; for a table a read is issued, 2
    cycles each."""
    x = w.takers[d]
    if (x.state or x.due or x.waits or length(w.turns_pulses[d]) or length(w.turns[d]) or length(w.rooms[d])
            or length(w.rooms_pulses[d])):
        _take_descriptors(w, d, now)


@compiled
def _take_descriptors(w, d, now):
    x = w.takers[d]
    due, again, free = x.due, False, not x.waits or not ready(w.turns_pulses[d], now)
    if x.state == TURN:
        if due and ready(w.descriptors[d, x.next], now):
            x.queue, x.turn, x.state = x.next, 0, TAKE
            x.free = w.emptied[d, x.queue] + w.p.elements - w.reserved[d, x.queue]
        x.due = 0
    elif x.state == TAKE:
        _take(w, d, now)
    elif x.state == ISSUE:
        _issue(w, d, now)
    else:
        again = True
        x.state = TURN if free else TAKE
    _turns(w, d, now, due, again, free)


@compiled
def _turns(w, d, now, due, again, free):
    """`TableTurns`: whose turn is next. What comes while nothing stands before it passes straight on."""
    x = w.takers[d]
    pulses, run, waits = w.turns_pulses[d], w.turns[d], w.in_turns[d]
    arrived = ready(pulses, now)
    q = -1
    if arrived:
        q = int(pulses.rows[first(pulses), 1])
        drop(pulses)
    elif x.waits:
        q = x.waiting
    if not due:
        if length(run):
            x.due, x.next = 1, pop(run, waits)
        elif q >= 0:
            x.due, x.next, q = 1, q, -1
    if q >= 0:
        push(run, waits, q, now + 1)
    if free:
        x.waits = 0
        if again:
            x.waits, x.waiting = 1, x.queue
        elif length(w.rooms[d]):
            x.waits, x.waiting = 1, pop(w.rooms[d], w.in_rooms[d])
    enter(w.rooms_pulses[d], w.rooms[d], w.in_rooms[d], now)


@compiled
def _take(w, d, now):
    x = w.takers[d]
    if w.p.indirect:
        x.state = ISSUE
    elif x.free == 0:
        x.state = TURN
    else:
        q = x.queue
        w.reserved[d, q] += 1
        x.free -= 1
        _element(w, d, q, now + 2)
        _go_on(w, d, now)


@compiled
def _issue(w, d, now):
    x, client = w.takers[d], TABLES + d
    if x.free < TABLE_ELEMENTS:
        x.state = TURN
    elif length(w.commands[client]) == 0:
        q = x.queue
        w.reserved[d, q] += TABLE_ELEMENTS
        x.free -= TABLE_ELEMENTS
        row = put(w.commands[client])
        command = w.commands[client].rows[row]
        command[0], command[1] = now + 1, q
        command[2], command[3] = 0, 16 * TABLE_ELEMENTS
        command[4] = w.taken[d, q]
        w.s.commanded += 1
        _go_on(w, d, now)


@compiled
def _go_on(w, d, now):
    """The descriptor at hand is taken; the next one, if it is there and the turn is not over."""
    x, p = w.takers[d], w.p
    q = x.queue
    drop(w.descriptors[d, q])
    w.taken[d, q] += 1
    x.turn += 1
    if w.taken[d, q] % (1 << p.batch_level) == 0:
        pulse(w.spaces_pulses[d], now + 1, q)
    if not ready(w.descriptors[d, q], now):
        x.state = TURN
    elif x.turn % TURN_DESCRIPTORS == 0:
        x.state = AGAIN
    else:
        x.state = TAKE


@compiled
def _element(w, d, q, cycle):
    """A whole chain is there for the walker."""
    w.chains[d, q].rows[put(w.chains[d, q]), 0] = cycle
    if d == TX:
        pulse(w.walks_pulses[d], cycle - 1, q)


@compiled
def store_tables(w, d, now):
    """The elements of a table that has come, one a cycle."""
    if now >= w.stores[d].busy and ready(w.tables[d], now):
        _store_table(w, d, now)


@compiled
def _store_table(w, d, now):
    x, p = w.stores[d], w.p
    row = first(w.tables[d])
    q = int(w.tables[d].rows[row, 1])
    beats = -(-TABLE_ELEMENTS // p.lanes)
    came = int(w.tables[d].rows[row, 0])
    first_came = came - (beats - 1)
    _passes(w, STORES + d, max(first_came, x.free))
    drop(w.tables[d])
    # Its first element is at hand a cycle after it came, unless others were before it, and counts once all are there.
    begin = max(first_came + 1, came, x.busy)
    if beats > 1:
        _passes(w, STORES + d, begin)
    x.busy = begin + TABLE_ELEMENTS
    x.free = x.busy - 1
    _element(w, d, q, begin + TABLE_ELEMENTS + 1)
