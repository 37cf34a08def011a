"""What merges posted writes and reads onto `rq`: `hdl.pcie.request_mux`."""

from model.link import REQUEST

from .compiled import compiled
from .fifo import SLICE, drop, first, length, put, ready
from .host import READ, SUPPRESSED, USED, take
from .packets import note
from .state import DATA_ISSUED, RX

__all__ = ["merge"]

SOURCES = 4     # three posted ones and reads


@compiled
def merge(w, now):
    """`RequestMux`: whole TLPs in turn, a beat a cycle."""
    s = w.s
    s.requests_held = length(w.requested)
    held = length(w.pipe) + s.requests_held
    for n in range(SOURCES - 1):
        w.beats_held[n] = length(w.sources[n])
        held += w.beats_held[n]
    if held:
        _merge(w, now)


@compiled
def _merge(w, now):
    s = w.s
    # A register slice, and before it one register.
    sliced = length(w.pipe) - s.taken
    moves = sliced < SLICE
    if s.open and sliced:
        _pass(w, now)
    if s.taken and not moves:
        return
    before = s.taken
    s.taken = 0
    source = s.last_source
    if s.locked:
        if not ready(w.sources[source], now):
            return
    else:
        found = False
        for step in range(1, SOURCES + 1):
            source = (s.last_source + step) % SOURCES
            if ready(w.requested, now) and s.open_np if source == SOURCES - 1 else ready(w.sources[source], now):
                found = True
                break
        if not found:
            return
    _grant(w, now, source, not before and moves)


@compiled
def _grant(w, now, source, straight):
    s = w.s
    alone = not s.locked and straight
    for other in range(SOURCES - 1):
        alone = alone and (other == source or not ready(w.sources[other], now))
    row = put(w.pipe)
    beat = w.pipe.rows[row]
    if source == SOURCES - 1:
        tag = int(w.requested.rows[first(w.requested), 1])
        drop(w.requested)
        beat[1], beat[2], beat[3], beat[4], beat[5], beat[6] = 1, READ, REQUEST, tag, 0, 0
    else:
        alone = alone and not ready(w.requested, now)
        from_row = first(w.sources[source])
        for field in range(1, 7):
            beat[field] = w.sources[source].rows[from_row, field]
        drop(w.sources[source])
    s.taken = not (alone and beat[1])
    s.locked = not beat[1]
    s.last_source = source


@compiled
def _pass(w, now):
    """A beat on `rq`; with the last one the TLP is on its way, and who wrote it is told in the next cycle."""
    beat = w.pipe.rows[first(w.pipe)]
    if beat[1]:
        kind, a, b, c = int(beat[2]), int(beat[4]), int(beat[5]), int(beat[6])
        if kind == READ:
            head = w.reads[w.tags[a].head]
            head.issued = now
        elif kind == USED:
            row = put(w.accepted[a])
            w.accepted[a].rows[row, 0], w.accepted[a].rows[row, 1], w.accepted[a].rows[row, 2] = now + 1, b, c
        elif kind == SUPPRESSED:
            w.suppressors[a].accepted = now + 1
        elif c >= 0:
            w.sent.rows[put(w.sent), 0] = now + 2
            note(w, RX, DATA_ISSUED, b, c, now)
        take(w, now, kind, int(beat[3]), a, b, c)
    drop(w.pipe)
