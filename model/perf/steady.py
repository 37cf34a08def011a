"""The steady state: what each resource allows, which of them is the bottleneck, and the rate that comes of it."""

from dataclasses import dataclass

import numpy as np

from .constants import Constants
from .costs import Costs, prompt_reads
from .trips import in_order_trip, mean_after_write, mean_trip

__all__ = ["RESOURCES", "Steady", "steady_state"]

# In the order of `Steady.capacity`; the names of blocks are those of docs/architecture.md.
RESOURCES = ("link up", "link down", "rq", "rc", "Walk tx", "Walk rx", "Drain", "eth_tx", "eth_rx", "tags", "cache tx",
             "cache rx", "ring tx", "ring rx", "offered")
ROUNDS = 3


@dataclass(frozen=True)
class Steady:
    """The answer for each of many scenarios.

    Attributes
    ----------
    mpps : array of (scenarios,)
        packets per µs, of "both" in each direction
    capacity : array of (scenarios, resources)
        packets per µs that each of `RESOURCES` allows by itself; infinite if it isn't used
    utilisation : array of (scenarios, resources)
    bottleneck : list of str
    """
    mpps: np.ndarray
    capacity: np.ndarray

    @property
    def utilisation(self):
        return self.mpps[:, None] / self.capacity

    @property
    def bottleneck(self):
        return [RESOURCES[i] for i in np.argmin(self.capacity, axis=1)]


class Means:
    """Means over a scenario's packets, as arrays of (scenarios,), and what follows from a rate."""

    def __init__(self, scenarios, constants=None):
        self.scenarios, self.constants = scenarios, constants or Constants.load()
        longest = max(len(s.pattern.lengths) for s in scenarios)
        lengths = np.array([np.resize(s.pattern.lengths, longest) for s in scenarios])
        self.costs = Costs(scenarios, lengths)

        def of(value):
            return np.array([value(s) for s in scenarios], dtype=float)
        self.length = lengths.mean(axis=1)
        self.cycle = of(lambda s: s.card.cycle_ns)
        self.rate = of(lambda s: s.host.bytes_per_ns) * self.cycle         # bytes per cycle
        self._profiles = {}
        for place, s in enumerate(scenarios):
            self._profiles.setdefault(s.host.latency, []).append(place)
        self.ring = of(lambda s: s.pattern.ring)
        self.queues = of(lambda s: s.pattern.queues)
        self.doorbell = of(lambda s: s.pattern.doorbell)
        # Packets per cycle that are offered.
        self.offered = of(lambda s: s.pattern.doorbell * s.pattern.queues / s.pattern.gap_ns if s.pattern.gap_ns
                          else np.inf) * self.cycle
        self.transmits = np.array([s.pattern.direction != "rx" for s in scenarios])
        self.receives = np.array([s.pattern.direction != "tx" for s in scenarios])
        self.tags = of(lambda s: s.card.tags - s.card.reserved_tags)
        self.prompt = of(prompt_reads)
        self.trip, self.in_order = np.empty_like(self.cycle), np.empty_like(self.cycle)
        for profile, places in self._profiles.items():
            self.trip[places] = mean_trip(profile) / self.cycle[places]
            self.in_order[places] = in_order_trip(profile, self.tags[places]) / self.cycle[places]
        self.per_byte = of(lambda s: s.host.latency.per_byte) / self.cycle
        self.window = of(lambda s: s.card.cache_descriptors)
        self.fifo = of(lambda s: max(1, s.card.rx_buffer // s.card.bytes_per_beat // s.pattern.queues))

    def after_write(self, packets_per_cycle):
        """Cycles that a read pays on average for the writes before it."""
        used = np.where(self.transmits, self.costs.used_batch["tx"], np.inf)
        written = np.where(self.receives, 1.0, 1 / used) * packets_per_cycle
        interval, found = self.cycle / np.maximum(written, 1e-9), np.empty_like(self.cycle)
        for profile, places in self._profiles.items():
            found[places] = mean_after_write(profile, interval[places])
        return found / self.cycle

    def shared(self, packets_per_cycle):
        """Sums over both directions of (up, down, rq, rc) per packet, arrays of (scenarios,)."""
        total = [0.0] * 4
        costs = self.costs
        trip = self.trip + self.after_write(packets_per_cycle) + self.constants["used_event"] + 12
        for name, active in (("tx", self.transmits), ("rx", self.receives)):
            event = np.maximum(costs.used_batch[name], packets_per_cycle * trip / self.queues)
            each = costs.shared(name, event=event)
            data = (costs.data_up[name], costs.data_down[name], costs.data_rq[name], costs.data_rc[name])
            total = [sum_ + np.where(active, common[:, 0] + own.mean(axis=1), 0.0)
                     for sum_, common, own in zip(total, each, data)]
        return total


def steady_state(scenarios, constants=None):
    """`Steady` of a list of `Scenario`, of any directions."""
    means = Means(scenarios, constants)
    rate = np.full(len(scenarios), 0.1)
    for _ in range(ROUNDS):
        means.costs.limit_runs(rate)
        capacity = _capacity(means, rate)
        least, smooth = capacity.min(axis=1), means.constants.smooth
        rate = least * np.sum((least[:, None] / capacity) ** smooth, axis=1) ** (-1 / smooth)
    return Steady(rate / means.cycle * 1e3, capacity / means.cycle[:, None] * 1e3)


def _capacity(means, rate):
    """Packets per cycle that each resource allows; `rate` is the last guess, on which the share of common TLPs and
    what reads pay for writes depend."""
    costs, constants = means.costs, means.constants
    up, down, rq, rc = means.shared(rate)
    transmits, receives = means.transmits, means.receives
    elements = 1 + costs.indirect[:, 0]
    after = means.after_write(rate)
    requests, rows = costs.requests.mean(axis=1), costs.rows.mean(axis=1)
    beats = costs.frame_beats.mean(axis=1)
    data_trip = (means.in_order + after + means.per_byte * np.minimum(costs.read[:, 0], means.length)
                 + _held(constants, rows))
    fetch_trip = (means.trip + after + 16 * means.per_byte * costs.fetch[:, 0] + constants["decide"]
                  + costs.fetch[:, 0] + constants["space"])
    table = costs.indirect[:, 0] * (means.trip + after + constants["fetch_table"])
    elements_window = np.array([s.card.cache_elements for s in means.scenarios]) / elements * means.queues
    used = costs.used_batch
    seen = constants["used_event"] + 8

    def only(active, value):
        return np.where(active, value, np.inf)
    window = means.window * means.queues
    shown = means.ring * means.queues
    stay_tx = fetch_trip + table + data_trip + seen + (used["tx"] + means.doorbell) / np.maximum(rate, 1e-6)
    stay_rx = fetch_trip + table + seen + (used["rx"] + means.doorbell) / np.maximum(rate, 1e-6)
    return np.stack([
        means.rate / up, means.rate / np.maximum(down, 1e-9), 1 / rq, 1 / np.maximum(rc, 1e-9),
        only(transmits, 1 / (constants["walk_tx"] * elements)),
        only(receives, 1 / np.where(elements > 1, constants["walk_rx_chain"], constants["walk_rx"])),
        only(transmits, 1 / rows), only(transmits, 1 / beats), only(receives, 1 / beats),
        only(transmits, means.tags / (requests + means.prompt) / data_trip),
        *(only(active, np.minimum(window / fetch_trip, np.where(elements > 1, elements_window / np.maximum(table, 1),
                                                                  np.inf)))
          for active in (transmits, receives)),
        only(transmits, shown / stay_tx), only(receives, shown / stay_rx), means.offered], axis=1)


def _held(constants, rows):
    """Cycles that a tag is held besides the host's time: until its data is delivered in order."""
    return constants["answer"] + 8 + rows
