"""What both directions' pipelines have in common: descriptors fetched ahead, and used descriptors.

A block is as many packets as no window makes wait for each other; inside, every stage is a prefix scan. Times are
cycles. Queues are served in turn, as the card does: transmitting, up to `READER_PACKETS` of one; receiving, as frames
come.
"""

import numpy as np

from .batch import Batch
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
        self._fetches = [[] for _ in range(batch.packets // batch.block)]
        for n in np.nonzero(self.place % batch.step == 0)[0]:
            self._fetches[n // batch.block].append((int(self.queue[n]), int(self.place[n])))
        shape = self.count, batch.packets
        self.times = {stage: np.zeros(shape) for stage in STAGES[name]}
        self._walked, self._taken, self._there = (np.zeros((self.count, batch.packets + PAD)) for _ in range(3))
        self.offered = np.zeros(shape)
        self._row = np.arange(self.count)[:, None]
        flat = self.count, batch.queues
        self._desc_last = np.zeros(flat)
        self._dry_at = np.full(flat, -LOOK)
        # Where the queue was only just found dry, and where it had been for long.
        self._rounds = np.array([_rounds(batch.fetch, batch.fetch.bit_length() - 1), _rounds(batch.fetch, LEAST_LEVEL)])
        self._long = np.zeros(flat, int)
        self._grown = np.zeros((*flat, self._rounds.max() + 1))     # when the descriptors of each round come
        self._decided, self._take_free, self._walk_free = (np.zeros(self.count) for _ in range(3))
        self.up, self.down = (Backlog(self.count, batch.packets) for _ in range(2))
        self.runs = Runs(batch, name)

    def index(self, queue, place):
        """Where in the order packets of a queue stand, an array; those before the first stand in the padding."""
        turn, rest = np.divmod(place, self.turn)
        return np.where(place < 0, 0, PAD + (turn * self.batch.queues + queue) * self.turn + rest)

    def look(self, history, queue, place):
        """Values of a history at packets `place` of a queue, arrays that broadcast to (scenarios, packets)."""
        return history[self._row, self.index(queue, place)]

    def seen(self, queue, place):
        """When the driver sees that buffers are used."""
        return self.runs.seen[self._row, self.runs.number[self._row, self.index(queue, place)]]

    def block(self, n):
        """(queues, places there, slice of the order, the same behind the padding) of the packets of a block."""
        at = slice(n * self.batch.block, (n + 1) * self.batch.block)
        return self.queue[at], self.place[at], at, slice(at.start + PAD, at.stop + PAD)

    def fetch(self, n):
        """Descriptors of a block: when they are there. They are fetched with the first of them that is needed."""
        for queue, place in self._fetches[n]:
            self._fetch(queue, place)
        return self._there[:, self.block(n)[3]]

    def _fetch(self, q, place):
        batch, c = self.batch, self.batch.constants
        size = batch.step
        index = self.index(q, place + np.arange(size))
        posted = self.posted(q, place + np.arange(size))
        rung = (posted + 36 / batch.link + 2 + self.down.wait(posted[:, -1:]))
        told, bell = batch.told[:, 0], rung[:, -1] + c["doorbell_fetch"]
        end = place + size - 1
        room = self.look(self._taken, q, end - batch.descriptors)[:, 0]
        room = np.maximum(np.where(room > 0, room + c["space"], 0.0),
                          self.look(self._there, q, np.array([end - UNDER_WAY * batch.fetch]))[:, 0])
        # Nothing is read again before its used descriptor is written.
        room = np.maximum(room, self.runs.written[self._row, self.runs.number[
            self._row, self.index(q, end - batch.ring)]][:, 0])
        earliest = np.maximum(room, self._decided + c["decide"])
        trips = batch.trips[f"fetch {self.name}"][:, place // size * batch.queues + q]
        extra = self._extra(np.where(told, size, batch.fetch))
        trip = self._trip(trips + extra, earliest)
        # Without being told, the card has looked there before: in vain if that was too early.
        dry = ~told & (posted[:, -1] > earliest + trip / 2)
        issue = np.where(told, np.maximum(earliest, bell), earliest)
        issue = np.where(dry, np.maximum(bell, earliest + trip), issue)
        self._long[:, q] = np.where(dry, bell > earliest + 2 * trip, self._long[:, q])
        if dry.any():
            self._look_again(q, dry, issue, trips + np.where(self._long[:, q], self._extra(1 << LEAST_LEVEL), extra))
        self._dry_at[:, q] = np.where(dry, place, self._dry_at[:, q])
        self._decided = np.maximum(self._decided, issue)
        came = np.maximum(np.where(dry, 0.0, issue + trip), self._desc_last[:, q])[:, None] + np.arange(size)
        since = place + np.arange(size) - self._dry_at[:, q][:, None]
        rounds = self._rounds[self._long[:, q][:, None], np.minimum(since, LOOK - 1)]
        grown = np.where((since < LOOK) & ~batch.told, self._grown[self._row, q, rounds], 0.0)
        came = np.maximum(came, grown)
        self._desc_last[:, q] = came[:, 0]
        self._there[:, index] = came
        self.times["doorbell"][:, index - PAD] = rung
        self.times["fetch_issued"][:, index - PAD] = issue[:, None]
        self.times["descriptor_there"][:, index - PAD] = came

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
        q, p, at, padded = self.block(n)
        room = self.look(self._walked, q, p - batch.elements)
        taken = serve(np.maximum(there, room), np.where(batch.indirect, 2.0, 1.0), self._take_free)
        before, self._take_free = self._take_free, taken[:, -1]
        self._taken[:, padded] = taken
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
