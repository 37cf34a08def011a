"""Per-packet answers: what `simulate` gives for each scenario."""

from dataclasses import dataclass

import numpy as np

from model.moments import BEGIN

from .constants import Constants
from .cycle.run import follow
from .cycle.state import STAGE_NAMES
from .steady import RESOURCES, steady_state

__all__ = ["Answer", "simulate"]

THROUGH = {"tx": "first_beat", "rx": "seen"}        # a packet, once it has reached that
WARM_UP = 3         # of so many parts of all packets, the first is not counted
PACKETS = 4096
ENDLESS = 1 << 40
SPARE = 2           # times the packets that the steady state expects until a given cycle


@dataclass(frozen=True)
class Answer:
    """What became of one scenario.

    Attributes
    ----------
    scenario : Scenario
    times : dict of direction → dict of stage → array of (queues, packets of a queue)
        cycles from the beginning of the load; the last beat of a read or write on `rq`, or on `rc`; NaN where a packet
        did not come so far
    offered : dict of direction → array
        when the driver made each packet available, or when it was given to the wire
    mpps : dict of direction → packets per µs, without the warm-up
    utilisation : dict of resource → part of what it could carry
    bottleneck : str
        the resource that is used most
    """
    scenario: object
    times: dict
    offered: dict
    mpps: dict
    utilisation: dict
    bottleneck: str

    @property
    def rate(self):
        """Packets per µs; of both ways at once the mean, for one may catch up with the other meanwhile."""
        return float(np.mean(list(self.mpps.values())))

    def within(self, begin, end):
        """({direction: packets per µs}, {direction: their latencies}) of what was through from cycle `begin` up to
        cycle `end`, with its last beat on the wire if it was sent."""
        rates, latencies = {}, {}
        for name in self.times:
            through = self._through(name)
            ends = self.times[name]["last_beat" if name == "tx" else THROUGH[name]]
            chosen = (ends >= begin) & (ends < end)
            if chosen.any():
                rates[name] = _rate(np.sort(through[chosen]), self.scenario.card.cycle_ns)
                latencies[name] = (through - self.offered[name])[chosen]
        return rates, latencies

    def _through(self, direction):
        return self.times[direction][THROUGH[direction]]

    def latency(self, direction):
        """Cycles of each packet after the warm-up: from when it was offered to its first beat on the wire, or until
        the driver sees its buffer used."""
        spent = self._through(direction) - self.offered[direction]
        spent = spent[:, spent.shape[1] // WARM_UP:].ravel()
        return spent[np.isfinite(spent)]


def simulate(scenarios, *, packets=PACKETS, cycles=None, constants=None):
    """`Answer` for each of `scenarios`, in their order: of so many packets, or, with `cycles`, of what passes until the
    cycle given for each."""
    constants = constants or Constants.load()
    steady = steady_state(scenarios, constants)
    answers = []
    for i, scenario in enumerate(scenarios):
        queues, until = scenario.pattern.queues, ENDLESS
        each = -(-packets // queues)
        if cycles is not None:
            until = int(cycles[i])
            expected = steady.mpps[i] * until * scenario.card.cycle_ns / 1e3
            each = int(SPARE * expected / queues) + scenario.pattern.ring
        answers.append(_answer(scenario, steady.capacity[i], follow(scenario, each, until, constants)))
    return answers


def _answer(scenario, capacity, followed):
    _, found = followed
    times, offered, mpps = {}, {}, {}
    for place, name in enumerate(("rx", "tx")):
        if scenario.pattern.direction in (name, "both"):
            of_direction = found[place, :, :, scenario.pattern.begin if name == "tx" else 0:]
            of_direction = np.where(of_direction == 0, np.nan, of_direction - BEGIN)
            times[name] = dict(zip(STAGE_NAMES, of_direction))
            offered[name] = times[name].pop("offered")
            through = np.sort(times[name][THROUGH[name]].ravel())
            through = through[np.isfinite(through)]
            mpps[name] = _rate(through[len(through) // WARM_UP:], scenario.card.cycle_ns)
    used = float(np.mean(list(mpps.values()))) / capacity
    return Answer(scenario, times, offered, mpps, dict(zip(RESOURCES, used)), RESOURCES[int(np.argmax(used))])


def _rate(through, cycle_ns):
    """Packets per µs from the first to the last of these ascending moments."""
    if not len(through):
        return 0.0
    later = np.count_nonzero(through > through[0])
    return later / max(1e-9, (through[-1] - through[0]) * cycle_ns) * 1e3
