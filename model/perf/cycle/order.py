"""Which transactions are complete, with all older ones of their domain: `hdl.dma.order`.

A domain, a client's queue, is a list of tags. Its cursor is its oldest tag that has not been walked over, and only that
one is watched: when it retires, the walk goes on from there, a tag a cycle, to the next that hasn't. One domain is
walked after the other.
"""

from .compiled import compiled
from .fifo import drop, first, length, put, ready
from .state import DATA_READS
from .window import count_came

__all__ = ["append", "retire"]


@compiled
def append(w):
    """The tag that was taken in the cycle before goes to the end of its domain's list."""
    s = w.s
    if s.opened >= 0 or s.opening >= 0:
        _append(w)


@compiled
def _append(w):
    s = w.s
    tag = s.opened
    s.opened, s.opening = s.opening, -1
    if tag < 0:
        return
    read = w.tags[tag]
    client, q = read.client, read.queue
    if w.cursors[client, q] or read.head != tag:
        w.tags[w.tails[client, q]].following = tag
    w.tails[client, q] = tag
    if not w.cursors[client, q]:
        w.cursors[client, q] = read.watched = 1
    if read.ends and client == DATA_READS:
        group = w.reads[read.head].group
        w.in_group[group] += 1
        s.newest_group = group


@compiled
def retire(w, now):
    """A tag is over, a cycle; one that was never sent, where no completion ends one. Then the walk goes on."""
    w.window.came, w.window.told = 0, 0
    if w.s.walking or ready(w.ended, now) or ready(w.unsent, now):
        _retire(w, now)


@compiled
def _retire(w, now):
    s = w.s
    cursor = -1
    if ready(w.ended, now):
        tag = int(w.ended.rows[first(w.ended), 1])
        drop(w.ended)
        count_came(w, now, tag)
        cursor = _retired(w, tag)
    elif ready(w.unsent, now):
        tag = int(w.unsent.rows[first(w.unsent), 1])
        drop(w.unsent)
        cursor = _retired(w, tag)
    if s.walking or cursor >= 0:
        _walk(w, now, cursor)


@compiled
def _retired(w, tag):
    """Returns the tag if it is its domain's cursor, else -1."""
    read = w.tags[tag]
    read.retired = 1
    whole = w.reads[read.head]
    whole.there = max(whole.there, read.there)
    if not read.watched:
        return -1
    read.watched = 0
    return tag


@compiled
def _walk(w, now, cursor):
    s = w.s
    if not s.walking:
        # Told of at once, and walked on from in the next cycle.
        _tell(w, now, cursor)
        s.walking, s.here, s.told = 1, cursor, 1
        return
    here = w.tags[s.here]
    client, q = here.client, here.queue
    last = w.tails[client, q] == s.here
    # Another tag is just being put behind this one: what becomes of it is known in the next cycle.
    stays = last and s.opened >= 0 and w.tags[s.opened].client == client and w.tags[s.opened].queue == q
    if not stays:
        if not s.told:
            _tell(w, now, s.here)
        if last:
            w.cursors[client, q] = 0
        elif w.tags[here.following].retired:
            s.here, s.told, stays = here.following, 0, 1
        else:
            w.tags[here.following].watched = 1
    if not stays:
        s.told = 0
        if not length(w.waiting_cursors):
            s.walking, s.here = cursor >= 0, cursor
            return
        s.here = int(w.waiting_cursors.rows[first(w.waiting_cursors), 0])
        drop(w.waiting_cursors)
    if cursor >= 0:
        w.waiting_cursors.rows[put(w.waiting_cursors), 0] = cursor


@compiled
def _tell(w, now, tag):
    """If a transaction ends here, it is complete."""
    if not w.tags[tag].ends:
        return
    head = w.tags[tag].head
    whole = w.reads[head]
    place = whole.client + (whole.group if whole.client == DATA_READS else 0)
    row = put(w.done[place])
    w.done[place].rows[row, 0], w.done[place].rows[row, 1] = now + 1, head
    w.s.complete += 1
