"""What has come of reads to who asked: `hdl.dma.deliver`, `rows` and `pack`.

Transactions that are complete are read out of their slots a row a cycle, and packed into beats.
"""

from .compiled import compiled
from .fifo import drop, first, put, ready
from .packets import note, size_of
from .state import (
    CLIENTS,
    DATA_ISSUED,
    DATA_READS,
    DATA_THERE,
    DELIVERED,
    EVENTS,
    FIRST_BEAT,
    GROUPS,
    HEADER,
    LAST_BEAT,
    LINE,
    STORES,
    TABLES,
    TX,
)

__all__ = ["choose"]

@compiled
def choose(w, now):
    """The row reader: a row a cycle of one transaction after the other; clients by rank, data by groups."""
    s = w.s
    # A group is over once another one has begun and all of it was chosen before this cycle.
    over = s.newest_group != s.delivered_group and w.in_group[s.delivered_group] == 0
    if s.reading >= 0:
        # Rows of data inside a slot concern nobody.
        if s.rows_left > 1 and not s.late and w.reads[DELIVERED].client == DATA_READS:
            s.rows_left -= 1
        else:
            _choose(w, now)
    elif s.complete:
        _choose(w, now)
    if over:
        s.delivered_group = (s.delivered_group + 1) % GROUPS


@compiled
def _choose(w, now):
    s = w.s
    while ready(w.returned, now):
        w.credit[int(w.returned.rows[first(w.returned), 1])] += 1
        drop(w.returned)
    late = 0
    if s.reading >= 0:
        s.rows_left -= 1
        tag = s.reading_tag
        last = not s.rows_left and tag == w.reads[DELIVERED].last
        _pack(w, now, last)
        if s.rows_left:
            return
        w.free_tags[s.free] = tag
        s.free += 1
        if not last:
            following = w.tags[tag].following
            s.reading_tag, s.rows_left = following, w.tags[following].rows
            return
        _deliver(w, now, w.reads[DELIVERED])
        s.reading, late = -1, s.residue
    if s.complete == 0:
        return
    for client in range(CLIENTS):
        place = client + (s.delivered_group if client == DATA_READS else 0)
        if ready(w.done[place], now):
            head = int(w.done[place].rows[first(w.done[place]), 1])
            whole = w.reads[head]
            if client != DATA_READS and (w.credit[client] < whole.beats or not _room(w, client, now)):
                continue
            if client == DATA_READS:
                w.in_group[whole.group] -= 1
            else:
                w.credit[client] -= whole.beats
            drop(w.done[place])
            s.complete -= 1
            # Its first tag may be another transaction's before its last one is read.
            w.reads[DELIVERED] = whole
            s.reading, s.reading_tag, s.rows_left = head, head, w.tags[head].rows
            s.late, s.held = late, 0
            return


@compiled
def _pack(w, now, last):
    """`Packer`: bytes of a row that don't fill a beat wait for the next row, and so do all of them where what is left
    of the transaction before takes the first beat's place; what is left in the end takes a beat of its own."""
    s, p = w.s, w.p
    row_ends = s.rows_left == 0
    size, total = w.tags[s.reading_tag].length, s.held + p.beat
    if row_ends:
        total = s.held + (size - 1) % p.beat + 1 if size else s.held      # a read that closes a part has no bytes
    late, s.late, s.residue = s.late, 0, 0
    s.held = total
    if total > p.beat:
        _give(w, now)
        s.held, s.residue = total - p.beat, last
    elif last:
        s.residue = late
    elif total == p.beat and not row_ends and not late:
        _give(w, now)
        s.held = 0
    if last:
        _give(w, now + s.residue)


@compiled
def _give(w, now):
    """A beat of descriptors or of an event suppression structure: where it is stored, and that its client has it."""
    client = w.reads[DELIVERED].client
    if client == DATA_READS:
        return
    row = put(w.returned)
    w.returned.rows[row, 0], w.returned.rows[row, 1] = now + 5, client
    if client < EVENTS:
        w.stored[client].rows[put(w.stored[client]), 0] = now + 4
    elif client >= TABLES:
        place = client - TABLES + STORES
        w.stored[place].rows[put(w.stored[place]), 0] = now + 4


@compiled
def _room(w, client, now):
    """`Narrow`: two whole batches have room."""
    p = w.p
    if client < EVENTS:
        return _level(w, client, now) <= 2 * (-(-(1 << p.batch_level) // p.lanes))
    if client >= TABLES:
        return _level(w, client - TABLES + STORES, now) <= 2 * (-(-p.read_bytes // 16 // p.lanes))
    return True


@compiled
def _level(w, place, now):
    """Beats that are stored in this cycle."""
    while ready(w.stored[place], now):
        w.levels[place] += 1
        drop(w.stored[place])
    while ready(w.passed[place], now):
        w.levels[place] -= 1
        drop(w.passed[place])
    return w.levels[place]


@compiled
def _deliver(w, now, whole):
    """The last row of a transaction is read: when its client has it."""
    client, q, cycle = whole.client, whole.queue, now + 3 + w.s.residue
    if client < EVENTS:
        row = put(w.batches[client])
        batch = w.batches[client].rows[row]
        batch[0], batch[1], batch[2], batch[3], batch[4] = cycle, q, whole.a, whole.bytes // 16, whole.b
        batch[5], batch[6], batch[7] = whole.look, whole.address // LINE, whole.address
        batch[8], batch[9] = whole.issued, whole.there
    elif client < TABLES:
        row = put(w.answers[client - EVENTS])
        w.answers[client - EVENTS].rows[row, 0], w.answers[client - EVENTS].rows[row, 1] = cycle, q
        w.answers[client - EVENTS].rows[row, 2] = whole.there
    elif client < DATA_READS:
        row = put(w.tables[client - TABLES])
        w.tables[client - TABLES].rows[row, 0], w.tables[client - TABLES].rows[row, 1] = cycle, q
    else:
        _data(w, cycle, whole, w.tails[client, q] != whole.last)


@compiled
def _data(w, cycle, whole, behind):
    """A transaction of data is there; with the last one of a packet its frame may leave, and its buffer is used."""
    s, p = w.s, w.p
    q, place = whole.queue, whole.a
    note(w, TX, DATA_ISSUED, q, place, whole.issued)
    note(w, TX, DATA_THERE, q, place, whole.there)
    if not whole.packet_ends:
        return
    size = size_of(w, q, place)
    beats = -(-size // p.beat)
    # Without its header a frame may end a beat earlier than its packet.
    begins = max(cycle + p.wire_delay + (beats == -(-(size + HEADER) // p.beat)), s.eth_last + 1)
    s.eth_last = begins - 1 + beats
    note(w, TX, FIRST_BEAT, q, place, begins)
    note(w, TX, LAST_BEAT, q, place, s.eth_last)
    row = put(w.leaving)
    w.leaving.rows[row, 0], w.leaving.rows[row, 1] = s.eth_last, q
    row = put(w.completions[TX])
    w.completions[TX].rows[row, 0], w.completions[TX].rows[row, 1] = cycle + 2, q
    w.completions[TX].rows[row, 2], w.completions[TX].rows[row, 3] = 0, behind
