"""Scenarios that can be worked out together, as arrays: a row for each, packets along the other axis."""

import math

import numpy as np

from .constants import Constants
from .costs import Costs, prompt_reads, received_run
from .scan import window_blocks
from .steady import QUEUE_BYTES, QUEUE_TLPS, Means, steady_state
from .trips import draw_trips, mean_trip

__all__ = ["Batch", "group_key"]

MOST_BLOCK = 64
PART_REQUESTS = 16      # reads of a part of a long packet, at most
WINDOW_FREE, WINDOW_LEAST, WINDOW_SLACK = 64, 8192, 128     # of `hdl.dma.read_window`: bytes, bytes, cycles
TURN, TURN_BYTES = 16, 16384        # of a transmit queue, before another's


def _part_requests(scenario):
    """Reads of a part of a long packet."""
    return min(PART_REQUESTS, 1 << int(math.log2(max(4, scenario.card.tags // 4))))


def _tag_window(scenario):
    """Packets whose data may be under way at once, not a whole number. A part's tags are held until all of it is
    there."""
    card, pattern = scenario.card, scenario.pattern
    size = max(pattern.lengths) + 12
    requests = -(-size // min(card.read_bytes, scenario.host.max_read_request)) + pattern.indirect
    held = (min(requests, _part_requests(scenario)) - 1) / 2
    return max(1.0, (card.tags - card.reserved_tags - held) / (requests + prompt_reads(scenario)))


def _under_way(scenario):
    """Frames of a queue that a driver which receives as much as it can has under way: see `Pattern`."""
    card, pattern = scenario.card, scenario.pattern
    beats = -(-max(pattern.lengths) // card.bytes_per_beat)
    frames = max(1, card.rx_buffer // card.bytes_per_beat // beats // pattern.queues)
    return max(1, min(pattern.ring - 2 * pattern.doorbell, frames))


def _run(scenario):
    """Received packets that are used together."""
    card, host, length = scenario.card, scenario.host, min(scenario.pattern.lengths) + 12
    run = received_run(scenario, length)
    each = (length + 24 * -(-length // host.max_payload)) / (host.bytes_per_ns * card.cycle_ns)
    return max(1, min(run, _under_way(scenario), math.ceil(card.used_timeout / each)))


def _turns(scenario):
    """Packets of a queue that pass before the next one's, of each direction. Frames come as others of their queue are
    used, so as many together."""
    pattern = scenario.pattern
    if pattern.times_ns:
        return 1, 1
    if not pattern.saturated:
        return pattern.doorbell, pattern.doorbell
    return max(1, min(TURN, TURN_BYTES // min(pattern.lengths))), _run(scenario)


def _block(scenario):
    """Packets none of which waits for another of them."""
    card, pattern, step = scenario.card, scenario.pattern, scenario.card.fetch_batch
    windows = [card.cache_descriptors - step, card.cache_elements // (1 + pattern.indirect),
               pattern.ring - 2 * pattern.doorbell - step + 1]
    if pattern.direction != "rx":
        windows.append(int(_tag_window(scenario)))
    if pattern.direction != "tx" and pattern.saturated:
        # A packet of an open run waits for the end of that.
        windows.append(_under_way(scenario) - _run(scenario) + 1)
    return window_blocks(min(windows), MOST_BLOCK)


def group_key(scenario):
    """Scenarios with the same key are worked out together: their blocks are of the same sizes, and queues take the
    same turns."""
    pattern = scenario.pattern
    turns = _turns(scenario) if pattern.queues > 1 else (1, 1)
    return pattern.direction, pattern.queues, turns, scenario.card.fetch_batch, _block(scenario)


class Batch:
    """Parameters of scenarios with the same `group_key`, as arrays of (scenarios, 1) unless said otherwise.

    Parameters
    ----------
    scenarios : list of Scenario
    packets : int
        of each direction; rounded up to whole blocks of every queue

    Attributes
    ----------
    block, fetch, queues, packets : int
        packets worked out at once; descriptors per fetch
    turns : dict of direction → packets of a queue before the next one's
    costs : Costs, of all packets
    """

    def __init__(self, scenarios, packets, constants=None):
        self.direction, self.queues, turns, self.fetch, self.block = group_key(scenarios[0])
        self.turns = dict(zip(("tx", "rx"), turns))
        self.scenarios = scenarios
        self.constants = constants or Constants.load()
        whole = math.lcm(self.block, *(turn * self.queues for turn in turns))
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
        begin = of(lambda s: s.pattern.begin, int)
        self.begin = {"tx": begin, "rx": 0 * begin}
        self.told = of(lambda s: s.pattern.notification_data, bool)
        self.saturated = of(lambda s: s.pattern.saturated, bool)
        self.indirect = of(lambda s: s.pattern.indirect, bool)
        self.descriptors = of(lambda s: s.card.cache_descriptors, int)
        self.elements = of(lambda s: s.card.cache_elements // (2 if s.pattern.indirect else 1), int)
        self.tag_window = of(_tag_window)
        self.part_requests = of(_part_requests)
        self.per_byte = of(lambda s: s.host.latency.per_byte) / self.cycle
        mean = lengths.mean(axis=1, keepdims=True)
        self.most = of(_under_way, int)
        # Frames come when others are used, so many behind those: where that is no whole number of runs, runs don't
        # begin with turns.
        together = of(_run, int)
        self.ahead_of_runs = {"tx": 0 * self.most,
                              "rx": np.where(self.saturated & (self.queues > 1), self.most % together, 0)}
        # Both ways at once, frames that may come in before as many have gone out, and may go out before they come in.
        self.ahead = np.maximum(32, np.minimum(256, 48 + (32 << 10) // mean) // self.queues).astype(int)
        self.lead = np.minimum(512, 96 + (64 << 10) // mean).astype(int)
        self.refill = np.maximum(1, np.minimum(32, self.ring // 4))
        tlp = self.costs.data_up["rx"].mean(axis=1, keepdims=True) / np.ceil((mean + 12) / self.costs.mps)
        self.waiting = np.minimum(QUEUE_BYTES, QUEUE_TLPS * tlp) / self.link      # cycles before rq stands still
        self._share(means)
        self._read_window()
        self.costs.spread(self.packets)
        self._draw(means)

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
        # Of both ways at once `rq` serves reads and received data in turn: what has more TLPs waits for the other.
        self.up_rx, self.rq_rx = self._spread(mine[0] / link), self._spread(mine[1])
        writes = np.ceil((costs.lengths + 12) / costs.mps).mean(axis=1, keepdims=True)
        self.tx_waits = np.full((len(self.scenarios), 1), self.direction == "tx")
        if self.direction == "both":
            reads = costs.requests.mean(axis=1, keepdims=True) + 2 * costs.indirect + 2 / self.fetch
            reads = reads + sum(1 / self.event[name] for name in names)[:, None]
            self.tx_waits = reads >= writes

    def _read_window(self):
        """`line`: cycles of data that stand before the downstream link at most. `ReadWindow` lets as much be under way
        as the link carries in twice the time of the fastest read, and `WINDOW_SLACK` cycles."""
        costs = self.costs
        whole = costs.lengths + 12
        last = whole - (np.ceil(whole / costs.read) - 1) * costs.read
        counted = (whole - last) * (1 - WINDOW_FREE / costs.read) + np.maximum(0, last - WINDOW_FREE)
        counted = np.maximum(1e-3, counted.mean(axis=1, keepdims=True))
        turn = np.maximum(self.down, self.rc).mean(axis=1, keepdims=True)
        size = np.minimum(costs.read, whole.mean(axis=1, keepdims=True))
        least = np.array([[s.host.latency.points[0]] for s in self.scenarios]) / self.cycle + 12
        fastest = least + np.maximum(0, size - 64) * self.per_byte + size / self.link
        self.line = np.maximum(2 * fastest + WINDOW_SLACK, (WINDOW_LEAST + size) * turn / counted) - fastest

    def _spread(self, values):
        return np.broadcast_to(values, (len(self.scenarios), self.packets))

    def _draw(self, means):
        """Round trips in cycles: of data, of fetches and of tables."""
        after = means.after_write(self.rate[:, 0])[:, None]
        self.nominal = np.array([[mean_trip(s.host.latency)] for s in self.scenarios]) / self.cycle + after
        kinds = ["data tx", "fetch tx", "fetch rx"]
        if self.indirect.any():
            kinds += ["table tx", "table rx"]
        self.trips = {kind: self._drawn(number, kind) / self.cycle + after
                      for number, kind in enumerate(kinds) if kind[-2:] in self._ways}

    def _drawn(self, number, kind):
        """ns of each read of a kind."""
        rows = []
        for i, s in enumerate(self.scenarios):
            rng = np.random.default_rng((s.seed, number))
            reads = self.costs.requests[i] if kind == "data tx" else 1
            rows.append(draw_trips(s.host.latency, rng, self.packets, reads))
        return np.array(rows)

    def offered(self, queue, place):
        """Cycle at which each packet is offered, of those that come at a pace: (scenarios, packets). 0 where rings are
        kept full."""
        offered = np.zeros((len(self.scenarios), len(place)))
        for i, s in enumerate(self.scenarios):
            pattern = s.pattern
            if pattern.times_ns:
                offered[i] = np.resize(pattern.times_ns, len(place)) / s.card.cycle_ns
            elif pattern.gap_ns:
                offered[i] = (place // pattern.doorbell + queue / self.queues) * pattern.gap_ns / s.card.cycle_ns
        return offered
