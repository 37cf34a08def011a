"""Per-packet answers: what `simulate` gives for each scenario."""

from dataclasses import dataclass

import numpy as np

from .batch import Batch, group_key
from .stages import Receiver, Transmitter
from .steady import RESOURCES, steady_state

__all__ = ["Answer", "simulate"]

THROUGH = {"tx": "first_beat", "rx": "seen"}        # a packet, once it has reached that
WARM_UP = 3         # of so many parts of all packets, the first is not counted
PACKETS = 4096


@dataclass(frozen=True)
class Answer:
    """What became of one scenario.

    Attributes
    ----------
    scenario : Scenario
    times : dict of direction → dict of stage → array of (queues, packets of a queue)
        cycles; the last beat of a read or write on `rq`, or on `rc`
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
        """({direction: packets per µs}, {direction: their latencies}) of what was through from cycle `begin` to `end`,
        or as long before the last packet if that was earlier."""
        rates, latencies = {}, {}
        last = min(float(np.max(self._through(name))) for name in self.times)
        begin, end = begin - max(0.0, end - last), min(end, last)
        for name in self.times:
            through = self._through(name)
            chosen = (through >= begin) & (through <= end)
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
        return spent[:, spent.shape[1] // WARM_UP:].ravel()


def simulate(scenarios, *, packets=PACKETS, constants=None):
    """`Answer` for each of `scenarios`, in their order. Those that can be are worked out together: see `group_key`."""
    groups = {}
    for place, scenario in enumerate(scenarios):
        groups.setdefault(group_key(scenario), []).append(place)
    answers = [None] * len(scenarios)
    for places in groups.values():
        for place, answer in zip(places, _simulate_group([scenarios[place] for place in places], packets, constants)):
            answers[place] = answer
    return answers


def _simulate_group(scenarios, packets, constants):
    batch = Batch(scenarios, packets, constants)
    transmitter = Transmitter(batch) if batch.direction != "rx" else None
    receiver = Receiver(batch) if batch.direction != "tx" else None
    if batch.direction == "both":
        transmitter.feedback, receiver.feedback = receiver, transmitter
        transmitter.up, receiver.down = receiver.up, transmitter.down
    sides = [side for side in (transmitter, receiver) if side]
    for n in range(batch.packets // batch.block):
        for side in sides:
            side.step(n)
    for side in sides:
        side.finish()
    steady = steady_state(scenarios, constants)
    return [_answer(scenario, i, batch, transmitter, receiver, steady) for i, scenario in enumerate(scenarios)]


def _answer(scenario, i, batch, transmitter, receiver, steady):
    times, offered, mpps = {}, {}, {}
    for name, side in (("tx", transmitter), ("rx", receiver)):
        if side is None:
            continue
        shape = batch.queues, batch.packets // batch.queues
        order = np.lexsort((side.place, side.queue))
        times[name] = {stage: array[i, order].reshape(shape) for stage, array in side.times.items()}
        offered[name] = side.offered[i, order].reshape(shape)
        through = np.sort(times[name][THROUGH[name]].ravel())
        mpps[name] = _rate(through[len(through) // WARM_UP:], batch.cycle[i, 0])
    used = float(np.mean(list(mpps.values()))) / steady.capacity[i]
    return Answer(scenario, times, offered, mpps, dict(zip(RESOURCES, used)), RESOURCES[int(np.argmax(used))])


def _rate(through, cycle_ns):
    """Packets per µs from the first to the last of these ascending moments."""
    later = np.count_nonzero(through > through[0])
    return later / max(1e-9, (through[-1] - through[0]) * cycle_ns) * 1e3
