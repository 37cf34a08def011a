"""What both directions' pipelines have in common: descriptors fetched ahead, and used descriptors.

A block is as many packets as no window makes wait for each other; inside, every stage is a prefix scan. Times are
cycles. Queues are served in turn.
"""

import numpy as np

from .batch import Batch
from .scan import serve

__all__ = ["PAD", "STAGES", "Side"]

STAGES = {
    "tx": ("doorbell", "fetch_issued", "descriptor_there", "data_issued", "data_there", "first_beat", "last_beat",
           "used_written", "msix"),
    "rx": ("doorbell", "fetch_issued", "descriptor_there", "first_beat", "last_beat", "data_issued", "data_there",
           "used_written", "msix"),
}
BACK, EVERY = 64, 4  # packets that a backlog remembers: of so many one
PAD = 4096          # what windows look back at before the first packet: all free from cycle 0
UNDER_WAY = 16      # fetches of a queue
LEAST_LEVEL = 2     # log2 of the descriptors that a look begins with
LOOK = 128          # descriptors after which everything that may be is under way


def _rounds(fetch, level):
    """Round trips that each descriptor waits for others after a look at a queue that was dry. It begins with
    2^`level` descriptors, and what each report finds full doubles, first the fetch and then how many are under way."""
    rounds, most, now = [], fetch.bit_length() - 1, 0
    while len(rounds) < LOOK:
        for _ in range(1 << max(0, level - most)):
            rounds += [now] * min(1 << level, fetch - len(rounds) % fetch)
        now, level = now + 1, min(level + 1, most + 4)
    return np.array(rounds[:LOOK])


class Backlog:
    """What waits for one direction of the link, in the order of arrival.

    Parameters
    ----------
    count, packets : int
        scenarios; packets that are noted in all
    """

    def __init__(self, count, packets):
        shape = count, packets + BACK       # more than enough where parts of a block are fewer than `EVERY`
        self._came, self._gone = np.zeros(shape), np.zeros(shape)
        self._end, self._row = BACK, np.arange(count)

    def note(self, came, gone):
        """When packets came, and when each was carried; both ascend."""
        came, gone = came[:, ::-EVERY][:, ::-1], gone[:, ::-EVERY][:, ::-1]
        at = slice(self._end, self._end + came.shape[1])
        self._came[:, at], self._gone[:, at] = came, gone
        self._end = at.stop

    def wait(self, when):
        """Cycles that something waits that comes at `when`, an array of (scenarios, 1): for all that came before."""
        came = self._came[:, self._end - BACK:self._end]
        before = np.maximum(np.count_nonzero(came <= when, axis=1) - 1, 0)
        gone = self._gone[self._row, self._end - BACK + before]
        return np.maximum(0.0, gone - np.maximum(when[:, 0], came[self._row, before]))[:, None]


class Side:
    """What both directions have: histories by queue, descriptors fetched ahead, used descriptors.

    Parameters
    ----------
    batch : Batch
    name : "tx" or "rx"

    Attributes
    ----------
    times : dict of stage → array of (scenarios, queues, packets of a queue)
    seen : array
        when the driver sees a packet's used descriptor
    """

    def __init__(self, batch: Batch, name):
        self.batch, self.name = batch, name
        self.count = len(batch.scenarios)
        shape = self.count, batch.queues, batch.packets // batch.queues
        self.times = {stage: np.zeros(shape) for stage in STAGES[name]}
        padded = shape[0], shape[1], shape[2] + PAD
        self.seen, self._walked, self._taken, self._came = (np.zeros(padded) for _ in range(4))
        self.offered = np.zeros(shape)
        self._row = np.arange(self.count)[:, None]
        flat = self.count, batch.queues
        self._desc_last, self._issue_last = np.zeros(flat), np.zeros(flat)
        self._dry_at = np.full(flat, -LOOK)
        # Where the queue was only just found dry, and where it had been for long.
        self._rounds = np.array([_rounds(batch.fetch, batch.fetch.bit_length() - 1), _rounds(batch.fetch, LEAST_LEVEL)])
        self._long = np.zeros(flat, int)
        self._grown = np.zeros((*flat, self._rounds.max() + 1))     # when the descriptors of each round come
        self._decided, self._walk_free = np.zeros(self.count), np.zeros(self.count)
        self.up, self.down = (Backlog(self.count, batch.packets) for _ in range(2))
        self._runs = 1 / batch.costs.used_batch[name][:, None]

    def look(self, history, q, index):
        """Values of a padded history of queue `q` at packets `index`, an array of (scenarios, packets)."""
        return history[self._row, q, np.maximum(index + PAD, 0)]

    def place(self, n):
        """(queue, first packet in that queue, packets there, packets overall) of block `n`."""
        batch = self.batch
        turn, part = divmod(n, batch.turn)
        q, p = turn % batch.queues, (turn // batch.queues * batch.turn + part) * batch.block
        return q, p, slice(p, p + batch.block), slice(n * batch.block, (n + 1) * batch.block)

    def fetch(self, n, posted):
        """Descriptors of a block that the driver made available at `posted`: when they are there."""
        batch, c = self.batch, self.batch.constants
        q, p, own, overall = self.place(n)
        told, size = batch.told[:, 0], batch.step
        rung = posted + 36 / batch.link + 2 + self.down.wait(posted[:, -1:])
        there = np.empty_like(posted)
        trips = batch.trips[f"fetch {self.name}"][:, overall.start // size:overall.stop // size]
        extra = self._extra(np.where(told, size, batch.fetch))
        first = self._extra(1 << LEAST_LEVEL)
        for part in range(0, batch.block, size):
            end = p + part + size - 1
            room = self.look(self._taken, q, end - batch.descriptors)[:, 0]
            room = np.maximum(np.where(room > 0, room + c["space"], 0.0),
                              self._came[:, q, PAD + end - UNDER_WAY * batch.fetch])
            earliest = np.maximum(room, self._decided + c["decide"])
            trip = self._trip(trips[:, part // size] + extra, earliest)
            # Without being told, the card has looked there before: in vain if that was too early.
            dry = ~told & (posted[:, part + size - 1] > earliest + trip / 2)
            bell = rung[:, part + size - 1] + c["doorbell_fetch"]
            issue = np.where(told, np.maximum(earliest, bell), earliest)
            issue = np.where(dry, np.maximum(bell, earliest + trip), issue)
            self._long[:, q] = np.where(dry, bell > earliest + 2 * trip, self._long[:, q])
            if dry.any():
                self._look_again(q, dry, issue, trips[:, part // size] + np.where(self._long[:, q], first, extra))
            self._dry_at[:, q] = np.where(dry, p + part, self._dry_at[:, q])
            self._decided = np.maximum(self._decided, issue)
            came = np.where(dry, 0.0, issue + trip)
            came = np.maximum(came, self._desc_last[:, q])[:, None] + np.arange(size)
            since = p + part + np.arange(size) - self._dry_at[:, q][:, None]
            rounds = self._rounds[self._long[:, q][:, None], np.minimum(since, LOOK - 1)]
            grown = np.where((since < LOOK) & ~batch.told, self._grown[self._row, q, rounds], 0.0)
            came = np.maximum(came, grown)
            self._desc_last[:, q] = came[:, 0]
            there[:, part:part + size] = came
            self.times["fetch_issued"][:, q, p + part:p + part + size] = issue[:, None]
            self._came[:, q, PAD + p + part:PAD + p + part + size] = came
        self.times["doorbell"][:, q, own] = rung
        self.times["descriptor_there"][:, q, own] = there
        return there

    def _extra(self, descriptors):
        """Cycles of a fetch beyond the host's round trip: for its length, and its beats on `rc`."""
        batch = self.batch
        length = 16 * descriptors
        return (np.maximum(0, length - 64) * batch.per_byte[:, 0] + self.batch.constants["answer"]
                + np.ceil(length / batch.costs.beat[:, 0]) - 1)

    def _trip(self, trip, when):
        """Cycles from a fetch issued at `when` until it is there, for whom the host takes `trip`."""
        trip = trip + self.up.wait(when[:, None])[:, 0]
        return trip + self.down.wait((when + trip)[:, None])[:, 0]

    def _look_again(self, q, dry, issue, trip):
        """A queue that was found dry is looked at from `issue` on: when what each round of fetches brings is there."""
        c = self.batch.constants
        for number in range(self._grown.shape[2]):
            came = issue + self._trip(trip, issue)
            self._grown[:, q, number] = np.where(dry, came, self._grown[:, q, number])
            issue = came + c["decide"] + 12

    def take(self, n, there):
        """From descriptors to elements: copied, or read from their tables. Returns when a walker may have them."""
        batch, c = self.batch, self.batch.constants
        q, p, own, overall = self.place(n)
        index = p + np.arange(batch.block)
        room = self.look(self._walked, q, index - batch.elements)
        before = self._taken[:, q, PAD + p - 1]
        taken = serve(np.maximum(there, room), np.where(batch.indirect, 2.0, 1.0), before)
        self._taken[:, q, PAD + p:PAD + p + batch.block] = taken
        direct = taken + c["fetch_data"] - 1
        if not batch.indirect.any():
            return direct
        trips = batch.trips[f"table {self.name}"][:, overall] + self.up.wait(taken[:, :1])
        trips = trips + self.down.wait((taken + trips)[:, :1])
        came = np.maximum.accumulate(taken - 2 + c["fetch_table"] + trips + c["answer"], axis=1)
        return np.where(batch.indirect, serve(came + c["table_data"], c["store_table"], before), direct)

    def walk(self, n, ready, service):
        q, p, own, overall = self.place(n)
        walked = serve(ready - service, service, self._walk_free)
        self._walk_free = walked[:, -1]
        self._walked[:, q, PAD + p:PAD + p + self.batch.block] = walked
        return walked

    def use(self, n, done, behind, sent):
        """Used descriptors of packets that are through at `done`, of which the next one is under way when `behind`;
        `sent` is when the link has carried what was accepted."""
        batch, c = self.batch, self.batch.constants
        q, p, own, overall = self.place(n)
        used = batch.costs.used_batch[self.name][:, None]
        index = p + np.arange(batch.block)
        close = ((index + 1) % used == 0) | ~behind
        close[:, -1] |= (used[:, 0] <= batch.block)
        self._runs = 0.9 * self._runs + 0.1 * close.mean(axis=1, keepdims=True)
        at = np.where(close, done, np.inf)
        at = np.minimum.accumulate(at[:, ::-1], axis=1)[:, ::-1]
        at = np.where(np.isinf(at), done[:, -1:], at)       # the run goes on in the next block: below
        at = np.maximum.accumulate(at, axis=1)
        run = np.maximum(1, used - 1) * 16 + 32
        seen = np.maximum(at, sent) + run / batch.link + 1
        seen = np.maximum.accumulate(seen, axis=1)
        store = self.seen[:, q]
        store[:, PAD + p:PAD + p + batch.block] = seen
        written = self.times["used_written"][:, q]
        written[:, own] = at
        for row in np.nonzero((used[:, 0] > batch.block) & ((p + batch.block) % used[:, 0] == 0))[0]:
            back = int(used[row, 0])
            written[row, p + batch.block - back:p + batch.block] = at[row, -1]
            store[row, PAD + p + batch.block - back:PAD + p + batch.block] = seen[row, -1]
        trip = batch.nominal + self.up.wait(at[:, -1:])
        trip = trip + self.down.wait(at[:, -1:] + batch.nominal)
        self.times["msix"][:, q, own] = at + c["used_event"] + trip + c["answer"] + c["event_message"]


    @property
    def more_runs(self):
        """Used writes per packet beyond those of full runs."""
        return np.maximum(0.0, self._runs - 1 / self.batch.costs.used_batch[self.name][:, None])
