"""Looks at a ring: when `hdl.virtqueue.fetch` reads descriptors, how many, and what it does with what isn't there.

Every look brings as many descriptors as its size, or those that the driver had made available when the host was read.
A look that finds all it asked for is followed by the next one, and once a round trip by twice as many; one that doesn't
sends the queue back to what it did not find, to wait for its doorbell.
"""

import numpy as np

from model.link import REQUEST

from .runs import PAD

__all__ = ["Looks"]

UNDER_WAY = 4       # log2 of the fetches of a queue
LEAST = 2           # log2 of the descriptors that a look begins with
STREAK = 3          # full batches in a row until doorbells are switched off
SWITCHED = 24       # cycles until they are on again, besides a look
MOMENTS = 4099      # that are drawn, a prime
KEPT = 32           # looks that are remembered, more than may be under way


class Looks:
    """The state of every queue's looks, arrays of (scenarios, queues).

    Parameters
    ----------
    side : Side
    """

    def __init__(self, side):
        batch = side.batch
        self._side, self._batch = side, batch
        flat = side.count, batch.queues
        self._batch_level = batch.fetch.bit_length() - 1
        self._most_level = np.minimum(self._batch_level + UNDER_WAY, np.log2(batch.descriptors[:, 0]).astype(int))
        self._next = np.zeros(flat, int)                # descriptor to be looked at
        self._level = np.full(flat, LEAST)
        self._goes_on, self._quiet = np.zeros(flat, bool), np.zeros(flat, bool)
        self._streak = np.zeros(flat, int)
        self._again = np.zeros(flat)                    # cycle before which no look begins
        self._reports = np.full((*flat, KEPT), np.inf)       # when looks under way come back, the oldest one first
        self._under_way = np.zeros(flat, int)
        self._number, self._counted = np.zeros(side.count, int), np.zeros(side.count, int)
        self._rate = np.full((side.count, 1), 1 / batch.fetch)
        self._moments = np.array([np.random.default_rng((s.seed, 99)).random(MOMENTS) for s in batch.scenarios])
        self._decided, self._judged = np.zeros(flat), np.zeros(flat)

    def passed(self, packets):
        """So many more packets have been looked for: what that took."""
        self._rate = 0.9 * self._rate + 0.1 * ((self._number - self._counted) / packets)[:, None]
        self._counted = self._number.copy()

    @property
    def more(self):
        """Looks per packet of late, beyond those that full ones would be."""
        return np.maximum(0.0, self._rate - 1 / self._batch.fetch)

    def until(self, queue, place):
        """Look until descriptor `place` of a queue is there in every scenario."""
        while True:
            rows = np.nonzero(self._next[:, queue] <= place)[0]
            if not len(rows):
                return
            self._look(rows, queue)

    def _look(self, r, q):
        side, batch, c = self._side, self._batch, self._batch.constants
        at, told = self._next[r, q], batch.told[r, 0]
        earliest = np.maximum(self._room(r, q, at), self._decided[r, q] + c["decide"])
        earliest = self._come_back(r, q, np.maximum(earliest, self._again[r, q]), told)
        level = self._level[r, q]
        places = at[:, None] + np.arange(batch.fetch + 1)
        posted = side.posted_at(r, q, places)
        rung = posted + 36 / batch.link[r] + 2 + side.down.wait(posted[:, :1], r)
        bell = rung + c["doorbell_fetch"]
        written = side.written_at(r, q, places - batch.ring[r])
        # The whole ring is fetched: with doorbells on, that is the end, but for a report or a doorbell.
        stops = (written[:, 0] > earliest) & ~self._quiet[r, q] & ~told
        if stops.any():
            earliest[stops] = self._rest(r[stops], q, earliest[stops], written[stops, 0])
            level = self._level[r, q]
        waits = told | ~(self._goes_on[r, q] | (~stops & self._quiet[r, q]))
        issue = np.maximum(earliest, written[:, 0])
        issue = np.where(waits, np.maximum(issue, bell[:, 0]), issue)
        asked = self._asked(r, at, np.where(told, self._batch_level, level), written <= issue[:, None])
        host = batch.trips[f"fetch {side.name}"][r, self._number[r] % batch.packets]
        # Each line of memory is read at a moment of its own while the host serves the read.
        line = (places + 1) // 4 - (at[:, None] + 1) // 4
        moment = self._moments[r[:, None], (self._number[r, None] * 8 + line) % MOMENTS]
        # The link carries what was written before first.
        begun = issue + side.up.wait(issue[:, None], r)[:, 0]
        begun = np.maximum(begun, side.seen(q, at[:, None] - batch.ring[r], r)[:, 0])
        sampled = (begun + REQUEST / batch.link[r, 0])[:, None] + moment * host[:, None]
        there = np.where(told[:, None], bell <= issue[:, None], posted <= sampled)
        back = begun + host + self._extra(r, asked.sum(axis=1))
        back = back + side.down.wait(back[:, None], r)[:, 0]
        found = np.minimum.accumulate(there & asked, axis=1).sum(axis=1)
        # Descriptors are judged one by one, in the order of looks; the report tells of all.
        came = np.maximum(back, self._judged[r, q])
        full = (found == asked.sum(axis=1)) | told
        self._store(r, q, places, found, came, issue, rung)
        self._number[r] += 1
        self._decided[r, q] = issue
        self._next[r, q] = at + found
        self._judged[r, q] = came + asked.sum(axis=1)
        self._reports[r, q, self._under_way[r, q]] = came + np.where(full, asked.sum(axis=1), found + 1) + c["report"]
        self._under_way[r, q] += 1
        report = self._reports[r, q, self._under_way[r, q] - 1]
        self._number[r] += np.where(full, 0, self._in_vain(r, q, at, issue, report))
        self._bad(r[~full], q, found[~full])

    def _asked(self, r, at, level, free):
        """Which of the next places a look asks for: so many, or those that are `free` if these are fewer. Where more
        follows, it ends with a multiple of the largest batch."""
        batch = self._batch.fetch
        size = np.minimum(1 << level, batch)
        ring, at = self._batch.ring[r, 0], at + self._batch.begin[self._side.name][r, 0]
        ahead = np.minimum(np.minimum.accumulate(free, axis=1).sum(axis=1), ring - at % ring)
        size = np.where(ahead > size, np.minimum(size, batch - at % batch), ahead)
        return np.arange(batch + 1) < np.maximum(size, 1)[:, None]

    def _rest(self, r, q, when, free):
        """Nothing is looked for until there is room in the ring, which is at `free`, and then only once a report comes
        or, which the caller sees to, a doorbell; returns when."""
        when = when.copy()
        self._goes_on[r, q] = False
        while len(heard := np.nonzero((self._under_way[r, q] > 0) & (when < free))[0]):
            when[heard] = np.maximum(when[heard], self._reports[r[heard], q, 0])
            self._full(r[heard], q)
            self._goes_on[r[heard], q] = when[heard] >= free[heard]
        return when

    def _store(self, r, q, places, found, came, issue, rung):
        side = self._side
        row, column = np.nonzero(np.arange(places.shape[1]) < found[:, None])
        index, rows = side.index(q, places[row, column]), r[row]
        ahead = index < side.there.shape[1]
        row, column, index, rows = row[ahead], column[ahead], index[ahead], rows[ahead]
        side.there[rows, index] = came[row] + column
        inside = index < PAD + self._batch.packets
        row, column, index, rows = row[inside], column[inside], index[inside] - PAD, rows[inside]
        side.times["descriptor_there"][rows, index] = came[row] + column
        side.times["fetch_issued"][rows, index] = issue[row]
        side.times["doorbell"][rows, index] = rung[row, column]

    def _in_vain(self, r, q, at, issue, report):
        """Looks that begin behind one that finds too little, until its report: as far as ring and cache go."""
        batch, c = self._batch, self._batch.constants
        most = 1 << np.clip(self._level[r, q] - self._batch_level, 0, UNDER_WAY)
        behind = at[:, None] + np.arange(1, 1 << UNDER_WAY) * batch.fetch
        written = self._side.written_at(r, q, np.minimum(behind - batch.ring[r], self._side.last_taken(q)))
        free = written <= issue[:, None]
        free &= behind + batch.fetch - self._side.last_taken(q) <= 2 * batch.descriptors[r]
        count = np.minimum(free.sum(axis=1), (report - issue) / (c["decide"] + 2))
        return np.where(self._goes_on[r, q], np.minimum(count, most - self._under_way[r, q]).clip(0).astype(int), 0)

    def _come_back(self, r, q, when, told):
        """Hear what has come back at `when`, and wait until another look may be under way; returns when."""
        when, told = when.copy(), told.copy()
        while True:
            most = 1 << np.where(told, UNDER_WAY, np.clip(self._level[r, q] - self._batch_level, 0, UNDER_WAY))
            under_way, oldest = self._under_way[r, q], self._reports[r, q, 0]
            waits = (under_way > 0) & (~(self._goes_on[r, q] | told) | (under_way >= most))
            heard = np.nonzero(waits | (oldest <= when))[0]
            if not len(heard):
                return when
            when[heard] = np.maximum(when[heard], oldest[heard])
            self._full(r[heard], q)

    def _full(self, r, q):
        """The oldest report: all was there."""
        level = self._level[r, q]
        self._reports[r, q] = np.c_[self._reports[r, q][:, 1:], np.full(len(r), np.inf)]
        self._under_way[r, q] -= 1
        self._goes_on[r, q] = True
        # Of the reports of one round trip one finds the fetches at such a place.
        place = (self._next[r, q] >> self._batch_level) & ((1 << np.maximum(0, level - self._batch_level)) - 1)
        self._level[r, q] = np.minimum(level + (place == 0), self._most_level[r])
        self._streak[r, q] = np.minimum(self._streak[r, q] + 1, STREAK + 1)
        self._quiet[r, q] |= self._streak[r, q] > STREAK

    def _bad(self, r, q, found):
        """The last look found less than it asked for: those before it come back, then it is as if none were under
        way."""
        while len(rows := np.nonzero(self._under_way[r, q] > 1)[0]):
            self._full(r[rows], q)
        level, goes_on = self._level[r, q], self._goes_on[r, q]
        needed = np.ceil(np.log2(np.maximum(found, 1))).astype(int)
        less = np.where(level > self._batch_level, self._batch_level,
                        np.where((level == LEAST + 1) & (found == 0), LEAST, level))
        self._level[r, q] = np.where(goes_on, less, np.clip(needed, LEAST, self._batch_level))
        self._goes_on[r, q] = self._quiet[r, q]
        self._again[r, q] = self._reports[r, q, 0] + np.where(self._quiet[r, q], SWITCHED, 0)
        self._quiet[r, q], self._streak[r, q] = False, 0
        self._reports[r, q], self._under_way[r, q] = np.inf, 0

    def _room(self, r, q, at):
        """When the cache has room for a whole batch: the walker tells of it by half batches."""
        side, batch = self._side, self._batch
        half = batch.fetch // 2
        needed = at + batch.fetch - batch.descriptors[r, 0]
        last = -(-needed // half) * half - 1
        room = side.taken_at(r, q, np.minimum(last, side.last_taken(q)))
        return np.where(room > 0, room + batch.constants["space"], 0.0)

    def _extra(self, r, descriptors):
        """Cycles of a fetch beyond the host's round trip: for its length, and its beats on `rc`."""
        batch, length = self._batch, 16 * descriptors
        return (np.maximum(0, length - 64) * batch.per_byte[r, 0] + batch.constants["answer"]
                + np.ceil(length / batch.costs.beat[r, 0]) - 1)
