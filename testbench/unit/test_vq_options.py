"""The packed virtqueue engine with VIRTIO_F_EVENT_IDX and VIRTIO_F_IN_ORDER, against drivers that make use of them."""

import random

import pytest

from hdl.virtqueue.engine import Direction
from testbench.unit.test_vq_engine import SMALL, chain
from testbench.unit.vq_host import BUFFERS, Host


@pytest.mark.parametrize("sizes, seed", [((1, 2, 3, 5), 0), ((7, 8, 13, 20), 1)])
@pytest.mark.requirements("PKD-037", "PKD-038", "PKD-040", "PKD-047")
def test_event_index_both_ways(sizes, seed):
    """The device is told of a buffer only if it passes the place asked for, and the driver sleeps unless what it waits
    for is used already: neither waits for ever."""
    host = Host(SMALL, Direction.TX, sizes, seed=seed, stall=0.1, shift=7, latency=(1, 25), event_index=True)
    rng, count = random.Random(seed), 24
    backs = [host.driver(queue, [chain(rng, rng.choice([1, 1, 1, min(2, sizes[queue])]), write=0, least=26, most=200)
                                 for _ in range(count)], pace=pace, gap=12, most=2, sleeps=True)
             for queue, pace in enumerate([0.9, 0.5, 0.9, 0.3])]
    host.run(lambda: all(len(back) == count for back in backs), limit=30_000)
    doorbells = sum(entry[0] == "doorbell" for entry in host.log)
    print("doorbells", doorbells, "interrupts", host.interrupts, "changes", len(host.events))
    assert all(content[2] & 3 in (1, 2) for *_, content in host.events)
    assert {content[2] for *_, content in host.events} == {1, 2}


@pytest.mark.parametrize("sizes, seed", [((1, 3, 5, 20), 0), ((2, 7, 32, 13), 1)])
@pytest.mark.requirements("FEA-011", "PKD-017", "PKD-032", "PKD-033", "PKD-034")
def test_in_order_transmit(sizes, seed):
    host = Host(SMALL, Direction.TX, sizes, seed=seed, shift=7, event_index=True, in_order=True)
    host.follows = 0.8
    rng, count = random.Random(seed), 24
    backs = [host.driver(queue, [chain(rng, rng.choice([1, 1, 1, rng.randint(1, min(size, 6))]), write=0, least=26,
                                       most=400) for _ in range(count)], pace=0.8, sleeps=queue % 2)
             for queue, size in enumerate(sizes)]
    host.run(lambda: all(len(back) == count for back in backs))
    assert [[buffer.number for buffer in back] for back in backs] == [list(range(count))] * 4
    assert sum(ring.skips for ring in host.rings) > 8


@pytest.mark.parametrize("sizes, seed", [((3, 20), 0), ((7, 32), 1)])
@pytest.mark.requirements("FEA-011", "PKD-017", "PKD-033", "PKD-034")
def test_in_order_receive(sizes, seed):
    """Buffers that are filled to the last byte may be skipped, others never; whatever elements they are made of."""
    host = Host(SMALL, Direction.RX, sizes, seed=seed, in_order=True)
    host.follows = 0.9
    rng, count = random.Random(seed), 24

    def writable(size):
        """A buffer that holds the frame in hand exactly, or a byte more; some elements are empty or not writable."""
        total = 500 + (rng.random() < 0.3)
        segments = chain(rng, rng.choice([1, 1, rng.randint(1, min(size, 4))]), write=1, least=total, most=total)
        if len(segments) < min(size, 4) and rng.random() < 0.3:
            segments.insert(rng.randint(0, len(segments)), (BUFFERS, rng.choice([0, 100]), 0))
        return segments
    backs = [host.driver(queue, [writable(size) for _ in range(count)], pace=0.9) for queue, size in enumerate(sizes)]

    def frames():
        while True:
            if len(host.frames) < 2:
                host.frames.append({"queue": rng.randrange(2), "length": 500})
            yield
    host.drivers.append(frames())
    host.run(lambda: all(len(back) == count for back in backs))
    assert [[buffer.number for buffer in back] for back in backs] == [list(range(count))] * 2
    assert sum(ring.skips for ring in host.rings) > 8
