"""The read engine: `hdl.dma.read`.

A tag is a request; a transaction, known by its first tag, is delivered when all of it and all older ones of its domain,
a client's queue, are there. Clients: fetches, event suppression structures, tables, each of both directions, data.
"""

from .compiled import compiled
from .fifo import SLICE, drop, first, length, put, ready
from .state import (
    CLIENTS,
    DATA_READS,
    EVENTS,
    GROUPS,
    LINE,
    LOOKS,
)
from .window import FREE

__all__ = ["data_may_be_read", "issue"]

PROMPT = SLICE + 1      # commands in the slice and in the splitter


@compiled
def _arbitrate(w, now, held):
    """A command of a client that shares the splitter, in turn; what is once offered stands."""
    s = w.s
    if s.commanded == 0:
        return
    client = s.last_client
    if not s.offered:
        for step in range(1, CLIENTS):
            client = (s.last_client + step) % (CLIENTS - 1)
            if ready(w.commands[client], now):
                break
        if not ready(w.commands[client], now):
            return
    s.last_client, s.offered = client, held >= PROMPT
    if s.offered:
        return
    row, place = first(w.commands[client]), put(w.prompt)
    w.prompt.rows[place, 0], w.prompt.rows[place, 1] = now + 2, client
    for field in range(1, 7):
        w.prompt.rows[place, field + 1] = w.commands[client].rows[row, field]
    drop(w.commands[client])
    s.commanded -= 1


@compiled
def issue(w, now):
    """A request gets its tag, one a cycle; data waits for the others, for spare tags and for the window."""
    s = w.s
    w.window.asked = 0
    if s.commanded or (s.requests_held < SLICE and (length(w.prompt) or length(w.commands[DATA_READS]))):
        _issue(w, now)


@compiled
def _issue(w, now):
    s = w.s
    taken, counts, held = 0, False, length(w.prompt)
    if s.requests_held < SLICE:
        if ready(w.prompt, now):
            if s.free > 0:
                row = w.prompt.rows[first(w.prompt)]
                taken = _request(w, now, int(row[1]), row[2:])
                if row[4] <= 0:
                    drop(w.prompt)
        elif ready(w.commands[DATA_READS], now) and data_may_be_read(w):
            counts = True
            command = w.commands[DATA_READS].rows[first(w.commands[DATA_READS])]
            taken = _request(w, now, DATA_READS, command[1:])
            if command[3] <= 0:
                drop(w.commands[DATA_READS])
    w.window.asked = max(0, taken - FREE) if counts else 0
    _arbitrate(w, now, held)


@compiled
def data_may_be_read(w):
    """Whether there are spare tags for the first command of data, and the window is open. The last request of a
    transaction also waits if it would begin a group whose number is still being delivered."""
    s, p = w.s, w.p
    if s.free <= p.reserved_tags or not w.window.open:
        return False
    command = w.commands[DATA_READS].rows[first(w.commands[DATA_READS])]
    if command[5] == 0 or int(command[2]) % p.read_bytes + int(command[3]) > p.read_bytes:
        return True
    switch = not s.within and (command[5] == 2 or s.alone)
    return not switch or (s.group + 1) % GROUPS != s.delivered_group


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
    read.client, read.queue, read.address, read.length, read.following = client, q, address, size, -1
    read.taken, read.there, read.retired, read.watched = now, 0, 0, 0
    read.rows = max(1, -(-size // p.beat))
    # A transaction is open while its client's last command has not ended it.
    begins = w.open_reads[client] < 0
    head = tag if begins else int(w.open_reads[client])
    whole = w.reads[head]
    read.head = head
    if begins:
        whole.client, whole.queue, whole.issued, whole.there, whole.beats = client, q, 0, 0, 0
        whole.a, whole.b, whole.bytes = int(command[3]), int(command[4]), left
        whole.address = address
        if client < EVENTS:
            whole.look = w.looks_made[client] % LOOKS
            w.looks_made[client] += 1
            if client:
                whole.look += LOOKS
    whole.last = tag
    read.look, read.first_line = whole.look, whole.address // LINE
    command[1] += size
    command[2] -= size
    ends = command[2] <= 0 and (client != DATA_READS or command[4] > 0)
    w.open_reads[client] = -1 if ends else head
    read.ends, s.opening = ends, tag
    if ends:
        whole.beats = max(1, -(-whole.bytes // p.beat))
        if client == DATA_READS:
            _group(w, whole, command[4] == 2)
    if size > 0:
        row = put(w.requested)
        w.requested.rows[row, 0], w.requested.rows[row, 1] = now + 1, tag
    else:
        end = put(w.unsent)
        w.unsent.rows[end, 0], w.unsent.rows[end, 1] = now + 5, tag
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
