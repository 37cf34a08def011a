"""What packets cost on the link and on the streams of TLPs, for arrays of scenarios.

Bytes are bytes of link capacity, as in `model.link`; beats are cycles of a TLP stream.
"""

import numpy as np

from model.link import COMPLETION, DESCRIPTOR, EVENT, NET_HEADER, REQUEST

__all__ = ["Costs", "prompt_reads"]

DOORBELL = REQUEST + EVENT
MERGED = 64         # buffers that one used descriptor stands for with VIRTIO_F_IN_ORDER, at most


def _ceil(value, by):
    return -(-value // by)


def prompt_reads(scenario):
    """Reads per packet besides its data. They take tags as well: data leaves so many free, whoever has the others."""
    card, pattern = scenario.card, scenario.pattern
    return (pattern.indirect + 1 / card.fetch_batch + 1 / card.used_batch) * (1 + (pattern.direction == "both"))


def _received_run(scenario, length):
    """Most received packets of `length` bytes, their header counted, that one used write tells of: the packet that
    brings it to so many bytes ends it."""
    return min(_written_together(scenario), int(_ceil(scenario.card.used_bytes, length)))


def _written_together(scenario):
    return min(scenario.card.used_batch, scenario.host.max_payload // DESCRIPTOR)


class Costs:
    """Costs of packets of `lengths`, arrays of (scenarios, packets).

    Parameters
    ----------
    scenarios : list of Scenario, all of one direction
    lengths : int array of (scenarios, packets)

    Attributes
    ----------
    requests : array
        reads of a transmitted packet's data
    rows : array
        of its data in the read engine's memory
    frame_beats : array
        of a frame on an Ethernet stream
    data_up, data_down, data_rq, data_rc : dict of direction → array
        bytes upstream and downstream, beats of `rq` and of `rc`, of a packet's data
    full_runs : dict of direction → array of (scenarios,)
        most packets of a used write
    used_batch : dict of direction → array of (scenarios,)
        packets per used write while many are under way
    """

    def __init__(self, scenarios, lengths):
        def column(values, of=int):
            return np.array([of(value) for value in values])[:, None]
        self._scenarios = scenarios
        self.beat = column(s.card.bytes_per_beat for s in scenarios)
        self.mps = column(s.host.max_payload for s in scenarios)
        self.read = column(min(s.card.read_bytes, s.host.max_read_request) for s in scenarios)
        self.indirect = column(s.pattern.indirect for s in scenarios)
        self.fetch = column(s.card.fetch_batch for s in scenarios)
        self.lengths = lengths
        whole = lengths + NET_HEADER
        apart = self.indirect
        self.frame_beats = _ceil(lengths, self.beat)
        self.requests = _ceil(whole, self.read) + apart
        self.rows = np.where(apart, 1 + _ceil(lengths, self.beat), _ceil(whole, self.beat))
        self._data(whole, apart)
        self.full_runs = {name: self._full_run(name) for name in ("tx", "rx")}
        self.used_batch = {name: self._offered_together(full) for name, full in self.full_runs.items()}

    def _data(self, whole, apart):
        lengths, mps, beat = self.lengths, self.mps, self.beat
        pieces = _ceil(whole, mps)
        written = np.where(apart, _ceil(lengths, mps), pieces)
        dwords = np.where(apart, 4 * _ceil(lengths, 4) + NET_HEADER, 4 * _ceil(whole, 4))
        self.data_up = {"tx": self.requests * REQUEST, "rx": dwords + REQUEST * (written + apart)}
        self.data_down = {"tx": dwords + COMPLETION * (pieces + apart), "rx": 0 * lengths}
        self.data_rq = {"tx": self.requests, "rx": apart + np.where(apart, _cut_beats(lengths, mps, beat),
                                                                    _cut_beats(whole, mps, beat))}
        self.data_rc = {"tx": apart + np.where(apart, _cut_beats(lengths, mps, beat), _cut_beats(whole, mps, beat)),
                        "rx": 0 * lengths}

    def _full_run(self, direction):
        found = []
        for s, length in zip(self._scenarios, self.lengths.mean(axis=1) + NET_HEADER):
            if direction == "rx":
                found.append(_received_run(s, length))
            elif s.pattern.in_order:
                found.append(min(MERGED, s.pattern.ring // 4 + 1))      # the packet that exceeds a quarter ends it
            else:
                found.append(_written_together(s))
        return np.array(found)

    def _offered_together(self, full):
        return np.array([most if s.pattern.saturated else min(most, s.pattern.doorbell)
                         for s, most in zip(self._scenarios, full)])

    def limit_runs(self, rate):
        """Packets per used write when there are `rate` packets per cycle, an array of (scenarios,): no run stays open
        for longer than `used_timeout`."""
        most = np.array([s.card.used_timeout / s.pattern.queues for s in self._scenarios]) * rate
        for name, full in self.full_runs.items():
            self.used_batch[name] = np.minimum(self._offered_together(full), np.maximum(1, most.astype(int)))

    def shared(self, direction, *, event):
        """(up, down, rq, rc) per packet of what packets share: descriptors, used descriptors, events, doorbells.
        `event`: packets per read of the driver's event suppression structure. Arrays of (scenarios, 1)."""
        fetch, mps, beat, table = self.fetch, self.mps, self.beat, self.indirect
        used = self.used_batch[direction][:, None]
        in_order = np.array([[s.pattern.in_order and direction == "tx"] for s in self._scenarios])
        rung = np.array([[1 / s.pattern.doorbell if s.pattern.notification_data or not s.pattern.saturated else 0.0]
                         for s in self._scenarios])
        run = np.where(in_order, 8, DESCRIPTOR * used - 8)
        event = event[:, None]
        batch = DESCRIPTOR * fetch
        up = (REQUEST / fetch + REQUEST * table + (run + REQUEST * _ceil(run, mps)) / used + REQUEST / event)
        down = (DESCRIPTOR + COMPLETION * _ceil(batch, mps) / fetch + (2 * DESCRIPTOR + COMPLETION) * table
                + (COMPLETION + EVENT) / event + DOORBELL * rung)
        rq = 1 / fetch + table + _cut_beats(run, mps, beat) / used + 1 / event
        rc = _cut_beats(batch, mps, beat) / fetch + _ceil(2 * DESCRIPTOR, beat) * table + 1 / event
        return up, down, rq, rc


def _cut_beats(length, most, beat):
    """Beats of `length` bytes in TLPs of at most `most`."""
    whole, rest = np.divmod(length, most)
    return whole * _ceil(most, beat) + _ceil(rest, beat)
