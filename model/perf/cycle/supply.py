"""From what a fetch brought to elements for the walkers: `hdl.virtqueue.receive`, `tables` and `table_store`.

Every packet has one descriptor in the ring, of its buffer or of a table of two elements.
"""

from .compiled import compiled
from .fetch import pop, push
from .fifo import drop, first, length, put, ready
from .packets import note
from .state import DESCRIPTOR_THERE, FETCH_ISSUED, LINE, TABLES

__all__ = ["judge", "store_tables", "take_descriptors"]

TURN, TAKE, ISSUE = range(3)
TABLE_ELEMENTS = 2
TURN_DESCRIPTORS = 16


@compiled
def judge(w, d, now):
    """A batch when the one before is done with: a descriptor a cycle and 2 cycles more. The first that was not there
    when the host looked ends the epoch, and the rest of the batch passes a beat a cycle."""
    x, p = w.judges[d], w.p
    if now < x.busy or not ready(w.batches[d], now):
        return
    row = first(w.batches[d])
    batch = w.batches[d, row]
    q, position, count, epoch = int(batch[1]), int(batch[2]), int(batch[3]), int(batch[4])
    look, line, address = int(batch[5]), int(batch[6]), int(batch[7])
    drop(w.batches[d])
    beats = -(-count // p.lanes)
    x.level -= beats
    if epoch != w.epochs[d, q]:
        x.busy = now + 1 + beats
        return
    good = 0
    while good < count and _was_there(w, d, q, position + good, w.moments[look, (address + 16 * good) // LINE - line]):
        good += 1
    for n in range(good):
        entry = put(w.descriptors[d, q])
        w.descriptors[d, q, entry, 0] = now + 3 + n
        note(w, d, FETCH_ISSUED, q, position + n, batch[8])
        note(w, d, DESCRIPTOR_THERE, q, position + n, batch[9])
    if good:
        push(w.turns[d], w.in_turns[d], q, now + 2)
    report = put(w.reports[d])
    w.reports[d, report, 1], w.reports[d, report, 2] = q, good == count
    w.reports[d, report, 3], w.reports[d, report, 4] = position + good, good
    if good == count:
        x.busy = now + 2 + count
        w.reports[d, report, 0] = now + 2 + count
    else:
        w.reports[d, report, 0] = now + 3 + good
        w.epochs[d, q] += 1
        x.busy = now + 3 + good + beats - good // p.lanes


@compiled
def _was_there(w, d, q, position, moment):
    """Whether a descriptor was available when its line was looked at. What the driver does in a cycle is seen from that
    cycle's end on."""
    return position < w.posted[d, q] and w.posted_at[d, q, position % w.p.ring] < moment


@compiled
def take_descriptors(w, d, now):
    """Queues take turns: direct descriptors are copied, one a cycle; for a table a read is issued, 2 cycles each."""
    x = w.takers[d]
    if x.state == TURN:
        if x.due and x.due_at <= now:
            x.due = 0
            if ready(w.descriptors[d, x.next], now):
                x.queue, x.turn, x.state = x.next, 0, TAKE
                x.free = w.emptied[d, x.queue] + w.p.elements - w.reserved[d, x.queue]
    elif x.state == TAKE:
        _take(w, d, now)
    else:
        _issue(w, d, now)
    if not x.due and ready(w.turns[d], now):
        x.next = pop(w.turns[d], w.in_turns[d])
        x.due, x.due_at = 1, now + 1


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
        command = w.commands[client, row]
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
        push(w.spaces[d], w.in_spaces[d], q, now + 2)
    if not ready(w.descriptors[d, q], now):
        x.state = TURN
        if length(w.descriptors[d, q]):     # it comes, and then there is another turn
            push(w.turns[d], w.in_turns[d], q, int(w.descriptors[d, q, first(w.descriptors[d, q]), 0]) - 1)
    elif x.turn == TURN_DESCRIPTORS:
        x.state = TURN
        push(w.turns[d], w.in_turns[d], q, now + 2)
    else:
        x.state = TAKE


@compiled
def _element(w, d, q, cycle):
    """A whole chain is there for the walker."""
    w.chains[d, q, put(w.chains[d, q]), 0] = cycle
    push(w.walks[d], w.in_walks[d], q, cycle)


@compiled
def store_tables(w, d, now):
    """The elements of a table that has come, one a cycle."""
    x = w.stores[d]
    if now < x.busy or not ready(w.tables[d], now):
        return
    row = first(w.tables[d])
    q = int(w.tables[d, row, 1])
    drop(w.tables[d])
    x.level -= 1
    # Its first element is at hand a cycle after it came, unless others were before it.
    begin = now + 1 if x.busy < now else now
    x.busy = begin + TABLE_ELEMENTS
    _element(w, d, q, begin + TABLE_ELEMENTS + 1)
