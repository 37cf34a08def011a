"""The read engine: `hdl.dma.read`.

A tag is a request; a transaction, known by its first tag, is delivered when all of it and all older ones of its domain,
a client's queue, are there. Clients: fetches, event suppression structures, tables, each of both directions, data.
"""

from .compiled import compiled
from .fifo import drop, first, length, put, ready
from .packets import note, size_of
from .state import (
    CLIENTS,
    DATA_ISSUED,
    DATA_READS,
    DATA_THERE,
    EVENTS,
    FIRST_BEAT,
    GROUPS,
    HEADER,
    LAST_BEAT,
    LINE,
    LOOKS,
    MOST_TAGS,
    TABLES,
    TX,
)
from .window import FREE, count_came

__all__ = ["choose", "issue", "retire"]

HELD = 2                # requests before what merges them with writes
DELIVERED = MOST_TAGS   # place of the transaction that is delivered


@compiled
def _arbitrate(w, now):
    """A command of a client that shares the splitter, in turn."""
    s = w.s
    if s.commanded == 0 or length(w.prompt) >= 3:
        return
    for step in range(1, CLIENTS):
        client = (s.last_client + step) % (CLIENTS - 1)
        if ready(w.commands[client], now):
            s.last_client = client
            row, place = first(w.commands[client]), put(w.prompt)
            w.prompt[place, 0], w.prompt[place, 1] = now + 2, client
            for field in range(1, 7):
                w.prompt[place, field + 1] = w.commands[client, row, field]
            drop(w.commands[client])
            s.commanded -= 1
            return


@compiled
def issue(w, now):
    """A request gets its tag, one a cycle; data waits for the others, for spare tags and for the window."""
    s, p, window = w.s, w.p, w.window
    taken = 0
    counts = False
    if length(w.requested) < HELD:
        if ready(w.prompt, now):
            if s.free > 0:
                row = w.prompt[first(w.prompt)]
                taken = _request(w, now, int(row[1]), row[2:])
                if row[4] <= 0:
                    drop(w.prompt)
        elif ready(w.commands[DATA_READS], now) and s.free > p.reserved_tags and window.open:
            command = w.commands[DATA_READS, first(w.commands[DATA_READS])]
            if not _group_waits(w, command):
                counts = True
                taken = _request(w, now, DATA_READS, command[1:])
                if command[3] <= 0:
                    drop(w.commands[DATA_READS])
    window.asked = max(0, taken - FREE) if counts else 0
    _arbitrate(w, now)


@compiled
def _group_waits(w, command):
    """Whether the last request of a transaction would begin a group whose number is still being delivered."""
    s, p = w.s, w.p
    if command[5] == 0 or command[2] % p.read_bytes + command[3] > p.read_bytes:
        return False
    switch = not s.within and (command[5] == 2 or s.alone)
    return switch and (s.group + 1) % GROUPS == s.delivered_group


@compiled
def _request(w, now, client, command):
    """The next request of a command: queue, address, bytes that are left, and what belongs to the client. Returns its
    bytes."""
    s, p = w.s, w.p
    q, address, left = int(command[0]), int(command[1]), int(command[2])
    size = min(left, p.read_bytes - address % p.read_bytes)
    s.free -= 1
    tag = int(w.free_tags[s.free])
    read = w.tags[tag]
    read.client, read.address, read.length, read.following = client, address, size, -1
    read.taken, read.there = now, 0
    read.rows = max(1, -(-size // p.beat))
    # A transaction is open while its client's last command has not ended it.
    begins = w.open_reads[client] < 0
    head = tag if begins else int(w.open_reads[client])
    whole = w.reads[head]
    read.head = head
    if begins:
        whole.client, whole.queue, whole.left, whole.closed = client, q, 0, 0
        whole.following, whole.issued, whole.there, whole.beats = -1, 0, 0, 0
        whole.a, whole.b, whole.bytes = int(command[3]), int(command[4]), left
        whole.address, whole.last = address, tag
        w.opened[client, q] += 1
        whole.number = w.opened[client, q]
        if client < EVENTS:
            whole.look = w.looks_made[client] % LOOKS
            w.looks_made[client] += 1
            if client:
                whole.look += LOOKS
        if w.newest[client, q] >= 0:
            w.reads[w.newest[client, q]].following = tag
        else:
            w.oldest[client, q] = tag
        w.newest[client, q] = tag
    else:
        w.tags[whole.last].following = tag
        whole.last = tag
    whole.left += 1
    read.look, read.first_line = whole.look, whole.address // LINE
    command[1] += size
    command[2] -= size
    ends = command[2] <= 0 and (client != DATA_READS or command[4] > 0)
    w.open_reads[client] = -1 if ends else head
    if ends:
        whole.closed = now + 1
        whole.beats = max(1, -(-whole.bytes // p.beat))
        if client == DATA_READS:
            _group(w, whole, command[4] == 2)
    if size > 0:
        row = put(w.requested)
        w.requested[row, 0], w.requested[row, 1] = now + 1, tag
    else:
        end = put(w.unsent)
        w.unsent[end, 0], w.unsent[end, 1] = now + 5, tag
    return size


@compiled
def _group(w, whole, more):
    """A transaction of data ends: which group it belongs to."""
    s = w.s
    if not s.within and (more or s.alone):
        s.group = (s.group + 1) % GROUPS
    s.alone = s.within or more
    s.within = more
    whole.group = s.group
    whole.packet_ends = not more
    w.in_group[s.group] += 1


@compiled
def retire(w, now):
    """Tags that are over: a completion each, and of those that were never sent one besides."""
    w.window.came, w.window.told = 0, 0
    if ready(w.ended, now):
        tag = int(w.ended[first(w.ended), 1])
        drop(w.ended)
        count_came(w, now, tag)
        _retired(w, now, tag)
    if ready(w.unsent, now):
        tag = int(w.unsent[first(w.unsent), 1])
        drop(w.unsent)
        _retired(w, now, tag)


@compiled
def _retired(w, now, tag):
    head = w.tags[tag].head
    whole = w.reads[head]
    whole.left -= 1
    whole.there = max(whole.there, w.tags[tag].there)
    client, q = whole.client, whole.queue
    step = 1
    while w.oldest[client, q] >= 0:
        at = w.oldest[client, q]
        oldest = w.reads[at]
        if oldest.left or not oldest.closed:
            return
        w.oldest[client, q] = oldest.following
        if oldest.following < 0:
            w.newest[client, q] = -1
        place = client + (oldest.group if client == DATA_READS else 0)
        row = put(w.done[place])
        w.done[place, row, 0], w.done[place, row, 1] = now + step, at
        w.s.complete += 1
        step += 1


@compiled
def choose(w, now):
    """The row reader: a row a cycle of one transaction after the other; clients by rank, data by groups."""
    s, p = w.s, w.p
    while ready(w.returned, now):
        row = first(w.returned)
        w.credit[int(w.returned[row, 1])] += int(w.returned[row, 2])
        drop(w.returned)
    if s.reading >= 0:
        s.rows_left -= 1
        if s.rows_left:
            return
        tag = s.reading_tag
        # Bytes that don't fill a beat wait for the next row; what is left in the end takes a beat of its own.
        held = s.held + (w.tags[tag].length - 1) % p.beat + 1
        s.residue = held > p.beat
        s.held = held - p.beat if s.residue else held
        w.free_tags[s.free] = tag
        s.free += 1
        following = w.tags[tag].following
        if following >= 0:
            s.reading_tag, s.rows_left = following, w.tags[following].rows
            return
        _deliver(w, now, w.reads[DELIVERED])
        s.reading = -1
    _next_group(w)
    if s.complete == 0:
        return
    for client in range(CLIENTS):
        place = client + (s.delivered_group if client == DATA_READS else 0)
        if ready(w.done[place], now):
            head = int(w.done[place, first(w.done[place]), 1])
            whole = w.reads[head]
            if client != DATA_READS and (w.credit[client] < whole.beats or not _room(w, client)):
                continue
            w.credit[client] -= whole.beats
            if client == DATA_READS:
                w.in_group[whole.group] -= 1
            drop(w.done[place])
            s.complete -= 1
            # Its first tag may be another transaction's before its last one is read.
            w.reads[DELIVERED] = whole
            s.reading, s.reading_tag, s.rows_left, s.held = head, head, w.tags[head].rows, 0
            return


@compiled
def _next_group(w):
    """Once another group has begun and all of this one is chosen, the next one's turn comes."""
    s = w.s
    if s.group != s.delivered_group and w.in_group[s.delivered_group] == 0:
        s.delivered_group = (s.delivered_group + 1) % GROUPS


@compiled
def _room(w, client):
    p = w.p
    if client < EVENTS:
        return w.judges[client].level <= 2 * (-(-(1 << p.batch_level) // p.lanes))
    if client >= TABLES:
        return w.stores[client - TABLES].level <= 2 * (-(-p.read_bytes // 16 // p.lanes))
    return True


@compiled
def _deliver(w, now, whole):
    """The last row of a transaction is read: when its client has it."""
    p = w.p
    client, q, cycle = whole.client, whole.queue, now + 3 + w.s.residue
    row = put(w.returned)
    w.returned[row, 0], w.returned[row, 1], w.returned[row, 2] = cycle + 2, client, whole.beats
    if client < EVENTS:
        row = put(w.batches[client])
        batch = w.batches[client, row]
        batch[0], batch[1], batch[2], batch[3], batch[4] = cycle, q, whole.a, whole.bytes // 16, whole.b
        batch[5], batch[6], batch[7] = whole.look, whole.address // LINE, whole.address
        batch[8], batch[9] = whole.issued, whole.there
        w.judges[client].level += -(-whole.bytes // 16 // p.lanes)
    elif client < TABLES:
        row = put(w.answers[client - EVENTS])
        w.answers[client - EVENTS, row, 0], w.answers[client - EVENTS, row, 1] = cycle, q
        w.answers[client - EVENTS, row, 2] = whole.there
    elif client < DATA_READS:
        row = put(w.tables[client - TABLES])
        w.tables[client - TABLES, row, 0], w.tables[client - TABLES, row, 1] = cycle, q
        w.stores[client - TABLES].level += 1
    else:
        _data(w, cycle, whole)


@compiled
def _data(w, cycle, whole):
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
    w.leaving[row, 0], w.leaving[row, 1] = s.eth_last, q
    row = put(w.completions[TX])
    w.completions[TX, row, 0], w.completions[TX, row, 1] = cycle + 2, q
    # Whether another transaction of its queue has been begun since.
    w.completions[TX, row, 2], w.completions[TX, row, 3] = 0, w.opened[DATA_READS, q] > whole.number
