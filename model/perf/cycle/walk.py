"""The walkers: transmit chains become reads of data, frames are put into receive buffers."""

from .compiled import compiled
from .fifo import SLICE, drop, first, length, put, ready
from .packets import size_of
from .runs import enter, pop, pulse, push
from .state import DATA_READS, HEADER, RX, TX

__all__ = ["emit_reads", "give_receipts", "read_chains", "take_frames"]

TURN, TAKE = range(2)
TURN_PACKETS, TURN_BYTES = 16, 16384
FRAME, CHOOSE, WAIT, SECOND = range(4)
VERDICTS, RECEIPTS = 10, 64


@compiled
def _empty(w, d, q, now):
    """An element of a queue's cache is taken."""
    w.emptied[d, q] += 1
    if w.emptied[d, q] % ((1 << w.p.batch_level) // 2) == 0:
        pulse(w.rooms_pulses[d], now + 1, q)


@compiled
def read_chains(w, now):
    """`Reader`: the elements of one queue after the other, one a cycle."""
    x = w.reader
    if x.state == TURN:
        if ready(w.walks[TX], now):
            q = pop(w.walks[TX], w.in_walks[TX])
            if ready(w.chains[TX, q], now):
                x.queue, x.state, x.packets, x.bytes, x.second = q, TAKE, 0, 0, 0
    elif not w.walker.valid:
        _take(w, now)
    enter(w.walks_pulses[TX], w.walks[TX], w.in_walks[TX], now)


@compiled
def _take(w, now):
    x, p, walk = w.reader, w.p, w.walker
    q = x.queue
    place = w.walked[TX, q]
    size = size_of(w, q, place)
    if p.indirect:
        size = size if x.second else HEADER
    else:
        size += HEADER
    _empty(w, TX, q, now)
    walk.valid, walk.queue, walk.place, walk.left = now + 1, q, place, size
    walk.last = not p.indirect or x.second
    walk.offset = 512 if p.indirect and x.second else 0
    heavy = x.bytes >= TURN_BYTES
    x.bytes = min(TURN_BYTES, x.bytes + size)
    if not walk.last:
        x.second = 1
        return
    x.second = 0
    w.walked[TX, q] = place + 1
    drop(w.chains[TX, q])
    # The counter has no more places.
    many = x.packets >= TURN_PACKETS - 1
    x.packets = (x.packets + 1) % (2 * TURN_PACKETS)
    follows = ready(w.chains[TX, q], now)
    if not follows:
        x.state = TURN
    elif (many or heavy) and not ready(w.walks_pulses[TX], now):
        # Just then a chain arrives: the turn goes on for one more.
        push(w.walks[TX], w.in_walks[TX], q, now + 1)
        x.state = TURN


@compiled
def emit_reads(w, now):
    """`WalkTransmit`: elements in pieces, and packets in parts that a transaction may read."""
    x, p = w.walker, w.p
    if not x.valid or x.valid > now or length(w.commands[DATA_READS]) >= 2:
        return
    most = (p.part_requests >> 1) * p.read_bytes
    whole = x.left <= most
    piece = x.left if whole else most
    needed = max(1, -(-((x.offset % p.read_bytes) + piece) // p.read_bytes)) if whole else (p.part_requests >> 1) + 1
    row = put(w.commands[DATA_READS])
    command = w.commands[DATA_READS, row]
    command[0], command[1], command[2], command[3] = now + 2, x.queue, x.offset, piece
    command[4], command[5], command[6] = x.place, 0, 0       # command[5]: ends a transaction; 1 with, 2 without more
    if x.asked + needed > p.part_requests - 1:
        command[3], command[5] = 0, 2
        x.asked = 0
    elif whole:
        command[5] = x.last
        x.asked = 0 if x.last else x.asked + needed
        x.valid = 0
    else:
        x.asked += needed
        x.offset += piece
        x.left -= piece
        x.valid = now + 2


@compiled
def take_frames(w, now):
    """`WalkReceive`: a frame every second cycle; one that has no buffer yet waits for one."""
    x, p = w.filler, w.p
    if x.state == FRAME:
        if ready(w.frames, now):
            row = first(w.frames)
            x.queue, x.place = int(w.frames[row, 1]), int(w.frames[row, 2])
            drop(w.frames)
            # Counted as they become known, which may be later than they were given to the wire.
            x.follows = _another_known(w, x.queue, now)
            x.state = CHOOSE
        return
    q = x.queue
    # Whether the buffer was there a cycle ago.
    if x.state == WAIT:
        if ready(w.chains[RX, q], now - 1):
            x.state = CHOOSE
        return
    if x.state == CHOOSE and not ready(w.chains[RX, q], now - 1):
        x.state = WAIT
        return
    if w.writer.held >= SLICE or w.s.verdicts >= VERDICTS or length(w.receipts) >= RECEIPTS:
        return
    size = size_of(w, q, x.place)
    if x.state == CHOOSE:
        w.s.verdicts += 1
    last = not p.indirect or x.state == SECOND
    piece = size + HEADER
    if p.indirect:
        piece = size if last else HEADER
    row = put(w.writes)
    w.writes[row, 0], w.writes[row, 1], w.writes[row, 2] = now + 1, q, x.place
    w.writes[row, 3], w.writes[row, 4] = piece, last
    _empty(w, RX, q, now)
    if not last:
        x.state = SECOND
        return
    drop(w.chains[RX, q])
    receipt = put(w.receipts)
    w.receipts[receipt, 0], w.receipts[receipt, 1] = now + 1, q
    w.receipts[receipt, 2], w.receipts[receipt, 3] = size + HEADER, x.follows and ready(w.chains[RX, q], now)
    w.inside[q] += 1
    x.state = FRAME


@compiled
def _another_known(w, q, now):
    """Whether another frame of the queue is offered behind the one at hand."""
    depth = w.frames.shape[0] - 1
    at, left = int(w.frames[0, 0]), length(w.frames)
    while left:
        if w.frames[at + 1, 0] > now:
            return False
        if w.frames[at + 1, 1] == q:
            return True
        at = at + 1 if at + 1 < depth else 0
        left -= 1
    return False


@compiled
def give_receipts(w, now):
    """Completions of received packets, once their last write has its place."""
    if ready(w.sent, now) and ready(w.receipts, now):
        row = first(w.receipts)
        q = int(w.receipts[row, 1])
        w.inside[q] -= 1
        drop(w.sent)
        done = put(w.completions[RX])
        w.completions[RX, done, 0], w.completions[RX, done, 1] = now + 1, q
        w.completions[RX, done, 2], w.completions[RX, done, 3] = w.receipts[row, 2], w.receipts[row, 3] or w.inside[q]
        drop(w.receipts)
