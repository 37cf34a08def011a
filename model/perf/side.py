"""What both directions' pipelines have in common: descriptors fetched ahead, and used descriptors.

A block is as many packets as no window makes wait for each other; inside, every stage is a prefix scan. Times are
cycles. Queues are served in turn, as the card does: transmitting, up to `READER_PACKETS` of one; receiving, as frames
come.
"""

import numpy as np

from .batch import Batch
from .look import Looks
from .runs import PAD, Runs
from .scan import serve

__all__ = ["PAD", "STAGES", "Side"]

STAGES = {
    "tx": ("doorbell", "fetch_issued", "descriptor_there", "data_issued", "data_there", "first_beat", "last_beat",
           "used_written", "msix"),
    "rx": ("doorbell", "fetch_issued", "descriptor_there", "first_beat", "last_beat", "data_issued", "data_there",
           "used_written", "msix"),
}
BACK, EVERY = 64, 4  # packets that a backlog remembers: of so many one


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

    def wait(self, when, rows=slice(None)):
        """Cycles that something waits that comes at `when`, an array of (scenarios, 1): for all that came before."""
        came = self._came[rows, self._end - BACK:self._end]
        before = np.maximum(np.count_nonzero(came <= when, axis=1) - 1, 0)
        gone = self._gone[rows, self._end - BACK:self._end]
        row = self._row[:len(came)]
        return np.maximum(0.0, gone[row, before] - np.maximum(when[:, 0], came[row, before]))[:, None]


class Side:
    """What both directions have: packets in their order, descriptors fetched ahead, used descriptors.

    Histories are arrays of (scenarios, `PAD` + packets) in the order in which packets pass, which is that of turns: so
    many of one queue's, then as many of the next one's.

    Parameters
    ----------
    batch : Batch
    name : "tx" or "rx"

    Attributes
    ----------
    queue, place : int arrays
        of each packet: its queue, and its number there
    times : dict of stage → array of (scenarios, packets)
    offered : array of (scenarios, packets)
    """

    def __init__(self, batch: Batch, name):
        self.batch, self.name = batch, name
        self.count, self.turn = len(batch.scenarios), batch.turns[name]
        unit, rest = np.divmod(np.arange(batch.packets), self.turn)
        self.queue, self.place = unit % batch.queues, unit // batch.queues * self.turn + rest
        shape = self.count, batch.packets
        self.times = {stage: np.zeros(shape) for stage in STAGES[name]}
        self._walked, self._taken, self.there = (np.zeros((self.count, batch.packets + PAD)) for _ in range(3))
        self.offered = np.zeros(shape)
        self._row = np.arange(self.count)[:, None]
        self._take_free, self._walk_free = (np.zeros(self.count) for _ in range(2))
        self._until = [0] * batch.queues        # packets that have passed
        self.up, self.down = (Backlog(self.count, batch.packets) for _ in range(2))
        self.runs, self._looks = Runs(batch, name), Looks(self)

    def index(self, queue, place):
        """Where in the order packets of a queue stand, an array; those before the first stand in the padding."""
        turn, rest = np.divmod(place, self.turn)
        return np.where(place < 0, 0, PAD + (turn * self.batch.queues + queue) * self.turn + rest)

    def look(self, history, queue, place):
        """Values of a history at packets `place` of a queue, arrays that broadcast to (scenarios, packets)."""
        return history[self._row, self.index(queue, place)]

    def seen(self, queue, place, rows=None):
        """When the driver sees that buffers are used."""
        rows = self._row if rows is None else rows[:, None]
        return self.runs.seen[rows, self.runs.number[rows, self.index(queue, place)]]

    def written_at(self, rows, queue, place):
        """When used descriptors are written, of some scenarios."""
        rows = rows[:, None]
        return self.runs.written[rows, self.runs.number[rows, self.index(queue, place)]]

    def taken_at(self, rows, queue, place):
        """When descriptors leave the cache, of some scenarios and a place in each."""
        return self._taken[rows, self.index(queue, place)]

    def last_taken(self, queue):
        return self._until[queue] - 1

    def block(self, n):
        """(queues, places there, slice of the order, the same behind the padding) of the packets of a block."""
        at = slice(n * self.batch.block, (n + 1) * self.batch.block)
        return self.queue[at], self.place[at], at, slice(at.start + PAD, at.stop + PAD)

    def fetch(self, n):
        """Descriptors of a block: when they are there."""
        queues, places, _, padded = self.block(n)
        for q in set(queues.tolist()):
            self._looks.until(q, int(places[queues == q][-1]))
        self._looks.passed(len(queues))
        return self.there[:, padded]

    @property
    def more(self):
        """TLPs per packet on `rq` beyond those that full batches would be."""
        return self.runs.more + self._looks.more

    def take(self, n, there):
        """From descriptors to elements: copied, or read from their tables. Returns when a walker may have them."""
        batch, c = self.batch, self.batch.constants
        q, p, at, padded = self.block(n)
        room = self.look(self._walked, q, p - batch.elements)
        taken = serve(np.maximum(there, room), np.where(batch.indirect, 2.0, 1.0), self._take_free)
        before, self._take_free = self._take_free, taken[:, -1]
        self._taken[:, padded] = taken
        for queue, place in zip(q.tolist(), p.tolist()):
            self._until[queue] = place + 1
        direct = taken + c["fetch_data"] - 1
        if not batch.indirect.any():
            return direct
        trips = batch.trips[f"table {self.name}"][:, at] + self.up.wait(taken[:, :1])
        trips = trips + self.down.wait((taken + trips)[:, :1])
        came = np.maximum.accumulate(taken - 2 + c["fetch_table"] + trips + c["answer"], axis=1)
        return np.where(batch.indirect, serve(came + c["table_data"], c["store_table"], before), direct)

    def walk(self, n, ready, service):
        walked = serve(ready - service, service, self._walk_free)
        self._walk_free = walked[:, -1]
        self._walked[:, self.block(n)[3]] = walked
        return walked

    def use(self, n, begun, done, sent):
        """Used descriptors of packets that are through at `done`; a packet is behind others of its queue from when it
        is `begun` on. `sent` is when the link has carried what was accepted."""
        batch, c = self.batch, self.batch.constants
        self.runs.add(self.block(n), begun, done, sent)
        trip = batch.nominal + self.up.wait(done[:, -1:])
        trip = trip + self.down.wait(done[:, -1:] + batch.nominal)
        self.times["msix"][:, self.block(n)[2]] = c["used_event"] + trip + c["answer"] + c["event_message"]

    def finish(self):
        """Once all is worked out: stages that wait for the end of a run."""
        number = self.runs.number[:, PAD:]
        self.times["used_written"] = self.runs.written[self._row, number]
        self.times["msix"] += self.times["used_written"]
        self.times["seen"] = self.runs.seen[self._row, number]
