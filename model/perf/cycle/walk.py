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
    if ready(w.walks_pulses[TX], now) or (not w.walker.valid if x.state else ready(w.walks[TX], now)):
        _read(w, now)


@compiled
def _read(w, now):
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
    x = w.walker
    if x.valid and x.valid <= now and length(w.commands[DATA_READS]) < 2:
        _emit(w, now)


@compiled
def _emit(w, now):
    x, p = w.walker, w.p
    most = (p.part_requests >> 1) * p.read_bytes
    whole = x.left <= most
    piece = x.left if whole else most
    needed = max(1, -(-((x.offset % p.read_bytes) + piece) // p.read_bytes)) if whole else (p.part_requests >> 1) + 1
    row = put(w.commands[DATA_READS])
    command = w.commands[DATA_READS].rows[row]
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
    x = w.filler
    if x.state == FRAME and not ready(w.frames, now):
        return
    if x.state == WAIT and not ready(w.chains[RX, x.queue], now - 1):
        return
    _take_frame(w, now)


@compiled
def _take_frame(w, now):
    x, p = w.filler, w.p
    if x.state == FRAME:
        if ready(w.frames, now):
            row = first(w.frames)
            x.queue, x.place = int(w.frames.rows[row, 1]), int(w.frames.rows[row, 2])
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
    w.writes.rows[row, 0], w.writes.rows[row, 1], w.writes.rows[row, 2] = now + 1, q, x.place
    w.writes.rows[row, 3], w.writes.rows[row, 4] = piece, last
    _empty(w, RX, q, now)
    if not last:
        x.state = SECOND
        return
    drop(w.chains[RX, q])
    receipt = put(w.receipts)
    w.receipts.rows[receipt, 0], w.receipts.rows[receipt, 1] = now + 1, q
    w.receipts.rows[receipt, 2], w.receipts.rows[receipt, 3] = size + HEADER, x.follows and ready(w.chains[RX, q], now)
    w.inside[q] += 1
    x.state = FRAME


@compiled
def may_be_written(w):
    """Whether there is room for the next command of a frame from the next cycle on."""
    return length(w.writes) < SLICE and w.s.verdicts < VERDICTS and length(w.receipts) < RECEIPTS


@compiled
def _another_known(w, q, now):
    """Whether another frame of the queue is offered behind the one at hand."""
    depth = w.frames.rows.shape[0]
    at, left = first(w.frames), length(w.frames)
    while left:
        if w.frames.rows[at, 0] > now:
            return False
        if w.frames.rows[at, 1] == q:
            return True
        at = at + 1 if at + 1 < depth else 0
        left -= 1
    return False


@compiled
def give_receipts(w, now):
    """Completions of received packets, once their last write has its place."""
    if ready(w.sent, now) and ready(w.receipts, now):
        _give_receipt(w, now)


@compiled
def _give_receipt(w, now):
    row = first(w.receipts)
    q = int(w.receipts.rows[row, 1])
    w.inside[q] -= 1
    drop(w.sent)
    receipt, done = w.receipts.rows[row], w.completions[RX].rows[put(w.completions[RX])]
    done[0], done[1], done[2], done[3] = now + 1, q, receipt[2], receipt[3] or w.inside[q]
    drop(w.receipts)
