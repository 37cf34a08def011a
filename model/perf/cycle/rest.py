"""Which cycle is to be followed next: those in which nothing happens, or only TLPs are carried, are passed over."""

import math

from .compiled import compiled
from .driver import TICK
from .fifo import SLICE, first, length, ready
from .host import SUPPRESSED, USED, advance, answer
from .merge import merge
from .reads import data_may_be_read
from .state import DATA_READS, DELIVERED, RX
from .walk import CHOOSE, FRAME, SECOND, WAIT, may_be_written
from .window import LEAST, PROBE
from .write import write_beats

__all__ = ["active", "following"]

NEVER = 1 << 59


@compiled
def active(w, d):
    """Whether anything of a direction goes on: before the load both may be used."""
    return not w.s.loaded or (w.p.rx if d == RX else w.p.tx)


@compiled
def following(w, now, most):
    """The next cycle that has to be followed, `most` at the latest. Up to there nobody in the card moves but who
    carries TLPs, which is done here."""
    w.moving[0], w.moving[1] = active(w, 0) and _moves_in(w, 0), active(w, 1) and _moves_in(w, 1)
    if w.moving[0] | w.moving[1] or _moves(w, now):
        return now + 1
    s, window = w.s, w.window
    cycle, passed = _next_event(w, now, most), now
    fills = w.filler.state == CHOOSE or w.filler.state == SECOND
    waits = length(w.commands[DATA_READS]) and data_may_be_read(w)
    while passed + 1 < cycle:
        if not _carries(w):
            passed = min(cycle, _next_of_host(w, passed)) - 1
            if passed + 1 >= cycle:
                break
        elif _tells(w):
            break
        passed += 1
        merge(w, passed)
        advance(w, passed)
        answer(w, passed)
        write_beats(w, passed)
        if length(w.sent) or (waits and length(w.requested) < SLICE):
            break
        if fills and may_be_written(w):
            break
        cycle = _whole(passed, min(float(cycle), min(_earliest(w.ended), _earliest_bell(w))))
    window.left -= passed - now
    if s.reading >= 0:
        s.rows_left -= passed - now
    return passed + 1


@compiled
def _next_event(w, now, most):
    """The next cycle in which something happens by itself in the card, or the driver."""
    s = w.s
    cycle = min(float(now + w.window.left - 2), float(most))
    cycle = min(cycle, _earliest_news(w), _earliest(w.ended), _earliest(w.unsent), _earliest(w.leaving),
                _earliest_bell(w))
    if s.reading >= 0:
        cycle = min(cycle, float(now + s.rows_left))
    if length(w.wire):
        cycle = min(cycle, float(s.wire_last))
    if w.filler.state == FRAME:
        cycle = min(cycle, _earliest(w.frames))
    if w.p.paced and s.loaded:
        cycle = min(cycle, s.due - TICK)
    for d in range(2):
        cycle = min(cycle, float(w.collectors[d].expires))
    return _whole(now, cycle)


@compiled
def _next_of_host(w, now):
    """The next cycle in which something happens by itself on the link, or behind it."""
    s = w.s
    cycle = _earliest(w.arrivals)
    if length(w.cq):
        cycle = min(cycle, float(s.cq_last))
    if length(w.rc):
        cycle = min(cycle, float(s.rc_last))
    if s.parts:
        cycle = min(cycle, max(w.parts_due[0], s.down_free) - 1)
    if length(w.requests):
        cycle = min(cycle, max(_earliest(w.requests), s.down_free) - 1)
    return _whole(now, cycle)


@compiled
def _whole(now, cycle):
    """What is seen from a cycle on that isn't whole is seen in the next one, and not before the one after `now`."""
    return max(now + 1, int(math.ceil(min(cycle, float(NEVER)))))


@compiled
def _earliest_news(w):
    """When something arrives of which the driver learns."""
    arrivals = w.arrivals
    at, left = first(arrivals), length(arrivals)
    while left:
        kind = arrivals.rows[at, 2]
        if kind == USED or kind == SUPPRESSED:
            return arrivals.rows[at, 0]
        at = at + 1 if at + 1 < arrivals.rows.shape[0] else 0
        left -= 1
    return float(NEVER)


@compiled
def _earliest_bell(w):
    return min(_earliest(w.bells[0]), _earliest(w.bells[1]))


@compiled
def _earliest(queue):
    return queue.rows[first(queue), 0] if length(queue) else float(NEVER)


@compiled
def _carries(w):
    """Whether beats or requests are on their way to `rq`."""
    x = w.writer
    return (length(w.pipe) | length(w.requested) | length(w.writes)
            | length(w.sources[0]) | length(w.sources[1]) | length(w.sources[2])
            | x.busy | x.request | x.plan | x.merged)


@compiled
def _tells(w):
    """Whether a TLP may pass `rq` in the next cycle, and an engine is told so."""
    if not length(w.pipe):
        return False
    beat = w.pipe.rows[first(w.pipe)]
    return beat[1] and (beat[2] == USED or beat[2] == SUPPRESSED)


@compiled
def _moves(w, now):
    """Whether something moves in what both directions share, other than what is written."""
    s, x = w.s, w.window
    if s.walking or s.opened >= 0 or s.opening >= 0 or s.commanded:
        return True
    if s.newest_group != s.delivered_group and w.in_group[s.delivered_group] == 0:
        return True
    # Rows of data inside a slot follow each other, and who waits for them waits.
    if s.reading < 0:
        if s.complete:
            return True
    elif s.rows_left <= 1 or s.late or w.reads[DELIVERED].client != DATA_READS:
        return True
    if x.came or x.asked or x.told or x.came_before or x.asked_before or x.told_before:
        return True
    if length(w.prompt) or length(w.sent) or length(w.walks_pulses[1]):
        return True
    asked = length(w.commands[DATA_READS])
    if asked and length(w.requested) < SLICE and data_may_be_read(w):
        return True
    if (w.walker.valid and asked < 2) or (w.reader.state and not w.walker.valid):
        return True
    if _fills(w, now):
        return True
    if length(w.walks[1]) and not w.reader.state:
        return True
    return x.probe != (x.number % PROBE == 0) or x.open != (x.under_way <= (LEAST if x.probe else x.limit))


@compiled
def _fills(w, now):
    """Whether a frame that has begun gets its buffer, or is found to have none."""
    x = w.filler
    if x.state == FRAME:
        return False
    chains = w.chains[RX, x.queue]
    if x.state == WAIT:
        return length(chains) > 0
    return may_be_written(w) or not (x.state == SECOND or ready(chains, now))


@compiled
def _moves_in(w, d):
    """Whether something moves in a direction's engine."""
    x, taker, suppressor = w.fetchers[d], w.takers[d], w.suppressors[d]
    queued = (length(w.accepted[d]) | length(w.notices[d]) | length(w.answers[d]) | length(w.completions[d])
              | length(w.closed[d]) | length(w.switches[d]) | length(w.switched[d]) | length(w.reports[d])
              | length(w.batches[d]) | length(w.tables[d]) | length(w.looks[d]) | length(w.published[d])
              | length(w.spaces[d]) | length(w.turns[d]) | length(w.rooms[d]) | length(w.published_pulses[d])
              | length(w.spaces_pulses[d]) | length(w.turns_pulses[d]) | length(w.rooms_pulses[d])
              | length(w.sources[1 + d]))
    busy = (x.state | x.pending | x.woken | x.yields | (1 - x.room_first) | w.judges[d].reports | taker.state
            | taker.due | taker.waits | w.collectors[d].busy)
    if queued | busy or w.registers[d, 0, 0] or w.registers[d, 1, 0] or w.registers[d, 2, 0]:
        return True
    return w.collectors[d].oldest < NEVER or (suppressor.state and suppressor.accepted < NEVER)
