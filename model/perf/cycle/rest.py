"""When nothing can happen: cycles that need not be followed one by one."""

import math

from .compiled import compiled
from .fifo import first, length
from .reads import data_may_be_read
from .state import DATA_READS, DELIVERED
from .walk import WAIT
from .window import LEAST

__all__ = ["following"]

NEVER = 1 << 59


@compiled
def following(w, now, most):
    """The next cycle in which anything may happen, `most` at the latest; up to there the card and its host stand
    still."""
    if _moves(w) or _moves_in(w, 0) or _moves_in(w, 1):
        return now + 1
    s, window = w.s, w.window
    cycle = min(float(now + window.left - 2), float(most))
    cycle = min(cycle, _earliest(w.arrivals), _earliest(w.ended), _earliest(w.unsent), _earliest(w.returned),
                _earliest(w.leaving), _earliest(w.bells[0]), _earliest(w.bells[1]))
    if s.reading >= 0:
        cycle = min(cycle, float(now + s.rows_left))
    if length(w.cq):
        cycle = min(cycle, float(s.cq_last))
    if length(w.rc):
        cycle = min(cycle, float(s.rc_last))
    if s.parts:
        cycle = min(cycle, max(w.parts[0].when, s.down_free) - 2)
    if w.filler.state == 0:
        cycle = min(cycle, _earliest(w.frames))
    if w.p.paced and s.loaded:
        cycle = min(cycle, s.due - 1)
    for d in range(2):
        cycle = min(cycle, float(w.collectors[d].expires))
    # What is seen from a cycle on that isn't whole is seen in the next one.
    cycle = max(now + 1, int(math.ceil(min(cycle, float(NEVER)))))
    window.left -= cycle - now - 1
    if s.reading >= 0:
        s.rows_left -= cycle - now - 1
    return cycle


@compiled
def _earliest(queue):
    return queue[first(queue), 0] if length(queue) else float(NEVER)


@compiled
def _moves(w):
    """Whether something moves in what both directions share."""
    s, x, writer = w.s, w.window, w.writer
    if s.walking or s.opened >= 0 or s.opening >= 0 or s.commanded or not s.open or not s.open_np:
        return True
    if s.newest_group != s.delivered_group and w.in_group[s.delivered_group] == 0:
        return True
    # Rows of data inside a slot follow each other, and who waits for them waits.
    if s.reading < 0:
        if s.complete:
            return True
    elif s.rows_left <= 1 or s.late or w.reads[DELIVERED].client != DATA_READS:
        return True
    asked = length(w.commands[DATA_READS])
    if asked and data_may_be_read(w):
        return True
    if (w.walker.valid and asked < 2) or (w.reader.state and not w.walker.valid):
        return True
    if (length(w.pipe) or length(w.requested) or length(w.prompt)
            or length(w.writes) or writer.busy or writer.request or writer.plan or writer.merged
            or length(w.sent) or length(w.wire) or length(w.requests)
            or length(w.sources[0])):
        return True
    if w.filler.state and (w.filler.state != WAIT or length(w.chains[0, w.filler.queue])):
        return True
    if x.came or x.asked or x.told or x.came_before or x.asked_before or x.told_before:
        return True
    if (length(w.walks[1]) and not w.reader.state) or length(w.walks_pulses[1]):
        return True
    return x.open != (x.under_way <= (LEAST if x.probe else x.limit))


@compiled
def _moves_in(w, d):
    """Whether something moves in a direction's engine."""
    if (length(w.accepted[d]) or length(w.notices[d]) or length(w.answers[d]) or length(w.completions[d])
            or length(w.closed[d]) or length(w.switches[d]) or length(w.switched[d]) or length(w.reports[d])
            or length(w.batches[d]) or length(w.tables[d]) or length(w.looks[d]) or length(w.published[d])
            or length(w.spaces[d]) or length(w.turns[d]) or length(w.rooms[d]) or length(w.published_pulses[d])
            or length(w.spaces_pulses[d]) or length(w.turns_pulses[d]) or length(w.rooms_pulses[d])
            or length(w.sources[1 + d])):
        return True
    x, taker, suppressor = w.fetchers[d], w.takers[d], w.suppressors[d]
    if (x.state or x.pending or x.woken or w.judges[d].reports or taker.state or taker.due or taker.waits
            or w.collectors[d].busy):
        return True
    if w.registers[d, 0, 0] or w.registers[d, 1, 0] or w.registers[d, 2, 0]:
        return True
    return w.collectors[d].oldest < NEVER or (suppressor.state and suppressor.accepted < NEVER)
