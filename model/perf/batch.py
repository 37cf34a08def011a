"""Scenarios that can be worked out together, as arrays: a row for each, packets along the other axis."""

import math
from dataclasses import replace

import numpy as np

from .constants import Constants
from .costs import Costs
from .scan import window_blocks
from .steady import QUEUE_BYTES, QUEUE_TLPS, Means, steady_state
from .trips import draw_trips, mean_trip

__all__ = ["Batch", "group_key"]

LEAST_BLOCK = 16


def _tag_window(scenario):
    """Packets whose data may be under way at once."""
    card = scenario.card
    size = max(scenario.pattern.lengths) + 12
    requests = -(-size // min(card.read_bytes, scenario.host.max_read_request)) + scenario.pattern.indirect
    return max(1, (card.tags - card.reserved_tags) // requests)


def _block(scenario):
    return max(LEAST_BLOCK, scenario.card.fetch_batch)


def _as_blocks(scenario):
    """The scenario itself; or, where bursts of several queues are no whole blocks, one with a single queue that comes
    to the same in all but the order of delivery."""
    pattern = scenario.pattern
    if pattern.queues == 1 or pattern.saturated or pattern.doorbell % _block(scenario) == 0:
        return scenario
    return scenario.with_(pattern=replace(pattern, queues=1, ring=pattern.ring * pattern.queues,
                                          burst=pattern.doorbell, gap_ns=pattern.gap_ns / pattern.queues))


def group_key(scenario):
    """Scenarios with the same key are worked out together: their blocks are of the same sizes, and queues take the
    same turns."""
    scenario = _as_blocks(scenario)
    card, pattern, block = scenario.card, scenario.pattern, _block(scenario)
    turn = 1 if pattern.saturated or pattern.queues == 1 else pattern.doorbell // block
    # A burst of the driver's is fetched for itself.
    step = card.fetch_batch if pattern.saturated else math.gcd(card.fetch_batch, pattern.doorbell)
    return (pattern.direction, pattern.queues, turn, card.fetch_batch, step,
            window_blocks(_tag_window(scenario), block))


class Batch:
    """Parameters of scenarios with the same `group_key`, as arrays of (scenarios, 1) unless said otherwise.

    Parameters
    ----------
    scenarios : list of Scenario
    packets : int
        of each direction; rounded up to whole blocks of every queue

    Attributes
    ----------
    block, part, turn, fetch, step, queues, packets : int
        packets worked out at once; of them, those that may wait for each other's tags; blocks of a queue before the
        next one's; descriptors per fetch, and as many of them as are made available together
    costs : Costs, of all packets
    """

    def __init__(self, scenarios, packets, constants=None):
        self.direction, self.queues, self.turn, self.fetch, self.step, self.part = group_key(scenarios[0])
        self.block = _block(scenarios[0])
        self.scenarios = scenarios = [_as_blocks(scenario) for scenario in scenarios]
        self.constants = constants or Constants.load()
        whole = self.block * self.turn * self.queues
        self.packets = -(-packets // whole) * whole
        means = Means(scenarios, self.constants)
        rate = steady_state(scenarios, self.constants).mpps[:, None] * means.cycle[:, None] / 1e3
        self.rate = rate                                # packets per cycle, roughly
        # Where all frames of a scenario are alike, their costs are worked out once.
        longest = max(len(s.pattern.lengths) for s in scenarios)
        lengths = np.array([np.resize(s.pattern.lengths, self.packets if longest > 1 else 1) for s in scenarios])
        self.costs = Costs(scenarios, lengths)
        self.costs.limit_runs(rate[:, 0])

        def of(value, kind=float):
            return np.array([value(s) for s in scenarios], dtype=kind)[:, None]
        self.cycle = of(lambda s: s.card.cycle_ns)
        self.link = of(lambda s: s.host.bytes_per_ns) * self.cycle      # bytes per cycle
        self.ring = of(lambda s: s.pattern.ring, int)
        self.doorbell = of(lambda s: s.pattern.doorbell, int)
        self.told = of(lambda s: s.pattern.notification_data, bool)
        self.saturated = of(lambda s: s.pattern.saturated, bool)
        self.indirect = of(lambda s: s.pattern.indirect, bool)
        self.descriptors = of(lambda s: s.card.cache_descriptors, int)
        self.elements = of(lambda s: s.card.cache_elements // (2 if s.pattern.indirect else 1), int)
        self.tag_window = of(_tag_window, int)
        self.per_byte = of(lambda s: s.host.latency.per_byte) / self.cycle
        mean = lengths.mean(axis=1, keepdims=True)
        beats = self.costs.frame_beats.mean(axis=1, keepdims=True)
        rows = of(lambda s: s.card.rx_buffer // s.card.bytes_per_beat, int)
        # A driver that receives as much as it can: see `Pattern`.
        self.most = np.maximum(1, np.minimum(self.ring - 2 * self.doorbell, rows // beats // self.queues)).astype(int)
        self.ahead = np.minimum(256, 48 + (32 << 10) // mean).astype(int)
        self.lead = np.minimum(512, 96 + (64 << 10) // mean).astype(int)
        self.refill = np.maximum(1, np.minimum(32, self.ring // 4))
        tlp = self.costs.data_up["rx"].mean(axis=1, keepdims=True) / np.ceil((mean + 12) / self.costs.mps)
        self.waiting = np.minimum(QUEUE_BYTES, QUEUE_TLPS * tlp) / self.link      # cycles before rq stands still
        self._share(means)
        self.costs.spread(self.packets)
        self._draw(means)
        self._offer()

    def _share(self, means):
        """Cycles of each shared server per packet, whoever causes them."""
        costs, link = self.costs, self.link
        self._ways = names = ("tx", "rx") if self.direction == "both" else (self.direction,)
        up = down = rq = rc = 0.0
        trip = means.trip[:, None] + means.after_write(self.rate[:, 0])[:, None] + self.constants["used_event"] + 12
        self.event = {}
        for name in names:
            event = np.maximum(costs.used_batch[name], self.rate[:, 0] * trip[:, 0] / self.queues)
            self.event[name] = event
            common = costs.shared(name, event=event)
            mine = costs.data_up[name] + common[0], costs.data_rq[name] + common[2]
            up, down = up + mine[0], down + costs.data_down[name] + common[1]
            rq, rc = rq + mine[1], rc + costs.data_rc[name] + common[3]
        self.up, self.down, self.rq, self.rc = (self._spread(each) for each in (up / link, down / link, rq, rc))
        # Of both ways at once `rq` serves reads and writes in turn: the direction with more TLPs waits for the other.
        self.up_rx, self.rq_rx = self._spread(mine[0] / link), self._spread(mine[1])
        writes = np.ceil((costs.lengths + 12) / costs.mps).mean(axis=1, keepdims=True)
        self.tx_waits = np.full((len(self.scenarios), 1), self.direction == "tx")
        if self.direction == "both":
            self.tx_waits = costs.requests.mean(axis=1, keepdims=True) >= writes

    def _spread(self, values):
        return np.broadcast_to(values, (len(self.scenarios), self.packets))

    def _draw(self, means):
        """Round trips in cycles: of data, of fetches and of tables."""
        after = means.after_write(self.rate[:, 0])[:, None]
        self.nominal = np.array([[mean_trip(s.host.latency)] for s in self.scenarios]) / self.cycle + after
        kinds = {"data tx": 1, "fetch tx": self.step, "fetch rx": self.step}
        if self.indirect.any():
            kinds |= {"table tx": 1, "table rx": 1}
        self.trips = {kind: self._drawn(number, kind, share) / self.cycle + after
                      for number, (kind, share) in enumerate(kinds.items()) if kind[-2:] in self._ways}

    def _drawn(self, number, kind, share):
        """ns of each read of a kind, of which there is one for every `share` packets."""
        rows = []
        for i, s in enumerate(self.scenarios):
            rng = np.random.default_rng((s.seed, number))
            reads = self.costs.requests[i, ::share] if kind == "data tx" else 1
            rows.append(draw_trips(s.host.latency, rng, self.packets // share, reads))
        return np.array(rows)

    def _offer(self):
        """Cycle at which each packet is offered, of those that come at a pace: (scenarios, queues, packets), or None
        where rings are kept full."""
        self.offered = None
        if self.saturated.all():
            return
        each = self.packets // self.queues
        number = np.arange(self.packets).reshape(-1, self.block * self.turn)
        self.offered = np.zeros((len(self.scenarios), self.queues, each))
        for i, s in enumerate(self.scenarios):
            pattern = s.pattern
            for q in range(self.queues):
                mine = number[q::self.queues].ravel()
                if pattern.times_ns:
                    self.offered[i, q] = np.resize(pattern.times_ns, self.packets)[mine] / s.card.cycle_ns
                elif pattern.gap_ns:
                    burst = np.arange(each) // pattern.doorbell
                    self.offered[i, q] = (burst + q / self.queues) * pattern.gap_ns / s.card.cycle_ns
