"""Runs of used descriptors: which packets share one, and when it ends."""

import numpy as np

__all__ = ["PAD", "Runs"]

PAD = 4096          # what windows look back at before the first packet: all free from cycle 0


class Runs:
    """A run ends when it is full, at the ring's end (but for a single used descriptor that stands for many), when
    nothing of its queue is behind its last packet, or when its time is up.

    Parameters
    ----------
    batch : Batch
    name : "tx" or "rx"

    Attributes
    ----------
    number : int array of (scenarios, `PAD` + packets)
        run of each packet; 0 of those before the first
    written, seen : arrays of (scenarios, runs)
        when its used descriptors are written, and when the driver sees them; of a run that is open, as if it ended
    more : array of (scenarios, 1)
        runs per packet of late, beyond those that full ones would be
    """

    def __init__(self, batch, name):
        count = len(batch.scenarios)
        self._link = batch.link[:, 0]
        self._full = batch.costs.full_runs[name]
        self._ring, self._begin = batch.ring, batch.begin[name]
        self._timeout = np.array([s.card.used_timeout for s in batch.scenarios])
        self._single = np.array([s.pattern.in_order and name == "tx" for s in batch.scenarios])
        self.number = np.zeros((count, batch.packets + PAD), int)
        flat = count, batch.queues
        self.written, self.seen = (np.zeros((count, 1 + batch.queues + batch.packets)) for _ in range(2))
        # A run is open already where turns don't begin with runs.
        self._held = np.repeat(batch.ahead_of_runs[name], batch.queues, axis=1)
        self._opened, self._last = np.full(flat, np.inf), np.full(flat, np.inf)
        self._open = np.broadcast_to(1 + np.arange(batch.queues), flat).copy()
        self._next, self._row = np.full(count, 1 + batch.queues), np.arange(count)
        self._rate = 1 / self._full[:, None]

    @property
    def more(self):
        return np.maximum(0.0, self._rate - 1 / self._full[:, None])

    def add(self, block, begun, done, sent):
        """The next packets, in their order."""
        queues, places, _, padded = block
        first = self._next
        begins = ((places + self._begin) % self._ring == 0) & ~self._single[:, None]    # the ring
        for j, q in enumerate(queues):
            self.number[:, padded.start + j] = self._add(q, begins[:, j], begun[:, j], done[:, j], sent[:, j])
        self._rate = 0.9 * self._rate + 0.1 * ((self._next - first) / len(queues))[:, None]

    def _add(self, q, begins, begun, done, sent):
        row, held, run, ends = self._row, self._held[:, q], self._open[:, q], self._opened[:, q] + self._timeout
        goes_on = (held > 0) & (held < self._full) & (begun < self._last[:, q]) & ~begins
        late = goes_on & (done > ends)
        if late.any():
            delay = self.seen[row, run] - self.written[row, run]
            self.written[row, run] = np.where(late, ends, self.written[row, run])
            self.seen[row, run] = np.where(late, ends + delay, self.seen[row, run])
        fresh = ~goes_on | late
        run = np.where(fresh, self._next, run)
        self._next = self._next + fresh
        held = np.where(fresh, 1, held + 1)
        self._opened[:, q] = np.where(fresh, done, self._opened[:, q])
        self._open[:, q], self._held[:, q], self._last[:, q] = run, held, done
        self.written[row, run] = done
        size = np.where(self._single, 32, 16 * held + 16)
        self.seen[row, run] = np.maximum(done, sent) + size / self._link + 1
        return run
