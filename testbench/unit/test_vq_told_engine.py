"""The engine with drivers that ring with data: nothing is lost, read twice, or read before it was told."""

import random

import pytest

from hdl.virtqueue.engine import Direction
from testbench.unit.test_vq_engine import SMALL, chain, feed
from testbench.unit.vq_host import Host


class Told(Host):
    """Counts ring slots without end: `rung`, those told by doorbells that were taken; `read`, those fetched. Drivers
    write the flags of an element before its address, as they may but for heads; every second one maintains those of
    heads only."""

    def __init__(self, direction, sizes, *, seed, **options):
        super().__init__(SMALL, direction, sizes, seed=seed, shift=7, notification_data=True, **options)
        self.rung, self.read = [0] * len(sizes), [0] * len(sizes)
        for number, ring in enumerate(self.rings):
            ring.flags_first, ring.head_only = True, number % 2 == 1

    def rang(self, doorbell):
        super().rang(doorbell)
        queue, ring = doorbell["queue"], self.rings[doorbell["queue"]]
        told = doorbell["next_off"] + ring.size * (1 - doorbell["next_wrap"])
        # Of all counts that fall upon this position the last.
        total = ring.slots_published - (ring.slots_published - told) % (2 * ring.size)
        self.rung[queue] = max(self.rung[queue], total)

    def _check_fetch(self, command):
        super()._check_fetch(command)
        queue, ring = command.queue, self.rings[command.queue]
        assert command.address == ring.base + 16 * (self.read[queue] % ring.size)
        self.read[queue] += command.length // 16
        assert self.read[queue] <= self.rung[queue], "fetched before it was told"

    def all_read_once(self):
        return self.read == [ring.slots_published for ring in self.rings]


@pytest.mark.parametrize("sizes, seed, stall", [
    ((1, 2, 3, 5), 0, 0.2), ((7, 8, 64, 1), 1, 0.4), pytest.param((16, 3, 2, 1), 2, 0, marks=pytest.mark.campaign)])
@pytest.mark.requirements("BAS-025", "FEA-019", "PKD-014")
def test_transmit(sizes, seed, stall):
    host, count = Told(Direction.TX, sizes, seed=seed, stall=stall, latency=(1, 40)), 16
    rng = random.Random(seed)
    backs = [host.driver(queue, [chain(rng, rng.randint(1, min(size, 12)) if rng.random() < 0.5 else 1, write=0,
                                       least=26, most=800) for _ in range(count)],
                         gap=8, pace=rng.choice([0.2, 0.5, 1]))
             for queue, size in enumerate(sizes)]
    host.run(lambda: all(len(back) == count for back in backs))
    assert host.errors == 0 and host.all_read_once() and not host.events


@pytest.mark.parametrize("sizes, seed", [((1, 2, 3, 5), 0), ((7, 8, 20, 13), 1)])
@pytest.mark.requirements("BAS-025", "PKD-014")
def test_receive(sizes, seed):
    host = Told(Direction.RX, sizes, seed=seed, latency=(1, 40))
    rng = random.Random(seed)
    backs = [host.driver(queue, [chain(rng, rng.randint(1, min(size, 4)), write=1, least=1200, most=1600)
                                 for _ in range(100)], gap=8) for queue, size in enumerate(sizes)]
    feed(host, rng, len(sizes))
    host.run(lambda: all(len(back) >= 12 for back in backs))
    assert host.errors == 0 and not host.events
