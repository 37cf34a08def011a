"""Indirect tables, from a ring to the walkers and back, against a host that answers in any order of queues."""

import random

import pytest

from hdl.config import NicConfig
from hdl.dma.spec import ReadStatus
from hdl.virtqueue.engine import Direction
from testbench.unit.packed_ring import Indirect
from testbench.unit.test_vq_engine import chain, feed
from testbench.unit.vq_host import BUFFERS, Host

TABLES = 0x90000
SMALL = NicConfig(width=128, pairs=4, queue_size_max=64, cache_descriptors=8, cache_elements=8, fetch_batch=4,
                  used_batch=4, used_timeout=30, tags=32, reserved_tags=8, read_bytes=128, max_mtu=1500, tx_buffer=8192,
                  rx_buffer=8192)
WIDE = SMALL.with_(width=512, cache_elements=16, read_bytes=512)


class Places:
    """Places for tables, none used twice while it matters."""

    def __init__(self, rng):
        self.rng, self.count = rng, 0

    def __call__(self, segments):
        self.count += 1
        # A table of at most 64 elements has 1024 bytes; nothing asks for an alignment.
        at = TABLES + 0x440 * (self.count % 400) + self.rng.choice([0, 16, 16 * self.rng.randrange(4), 7])
        return Indirect(segments, at)


def mixed(rng, places, size, *, write, least, most):
    """A chain of one of both kinds."""
    if rng.random() < 0.6:
        elements = min(size, rng.choice([1, 2, 2, 3, size, rng.randint(1, size)]))
        return places(chain(rng, elements, write=write, least=least, most=most))
    return chain(rng, rng.randint(1, min(size, 12)), write=write, least=least, most=most)


@pytest.mark.parametrize("config, sizes, seed", [
    (SMALL, (1, 2, 3, 7), 0), pytest.param(SMALL, (40, 33, 17, 1), 1, marks=pytest.mark.campaign),
    (WIDE, (40, 3, 64, 16), 2)])
@pytest.mark.requirements("PKD-021", "PKD-022", "PKD-026", "PKD-028", "PKD-029", "PKD-030", "PKD-031")
def test_transmit(config, sizes, seed):
    host = Host(config, Direction.TX, sizes, seed=seed, shift=7)
    rng = random.Random(seed)
    places = Places(rng)
    backs = [host.driver(queue, [mixed(rng, places, size, write=0, least=26, most=1534) for _ in range(10)])
             for queue, size in enumerate(sizes)]
    host.run(lambda: all(len(back) == 10 for back in backs))
    assert host.errors == 0 and not any(buffer.dropped for back in backs for buffer in back)


@pytest.mark.parametrize("config, sizes, seed", [
    (SMALL, (1, 2, 3, 7), 0), pytest.param(SMALL, (20, 13, 17, 1), 1, marks=pytest.mark.campaign),
    (WIDE, (40, 3, 9, 16), 2)])
@pytest.mark.requirements("PKD-004", "PKD-021", "PKD-022", "PKD-026", "PKD-028", "PKD-029", "PKD-030", "PKD-031")
def test_receive(config, sizes, seed):
    host = Host(config, Direction.RX, sizes, seed=seed)
    rng = random.Random(seed)
    places = Places(rng)
    backs = [host.driver(queue, [mixed(rng, places, size, write=1, least=1000, most=1600) for _ in range(100)])
             for queue, size in enumerate(sizes)]
    refused = feed(host, rng, len(sizes))
    host.run(lambda: all(len(back) >= 5 for back in backs))
    assert host.errors == 0 and refused


@pytest.mark.parametrize("status", [ReadStatus.ABORTED, ReadStatus.TIMEOUT])
def test_failed_tables_break_the_queue_only(status):
    host = Host(SMALL, Direction.TX, (4, 8), seed=6, shift=7)
    rng = random.Random(6)
    places = Places(rng)
    segments = [(BUFFERS, 12, 0), (BUFFERS + 100, 60, 0)]
    back = host.driver(1, [places(segments) for _ in range(12)])
    before = host.driver(0, [segments[:1] + segments[1:], places(segments), segments])
    host.table_status = lambda queue: status if queue == 0 else ReadStatus.OK
    host.run(lambda: len(back) == 12 and host.errors and len(before))
    assert host.errors == 1 and len(before) == 1
    assert sum(entry[0] == "data" and entry[2] == 0 for entry in host.log) == 2


@pytest.mark.parametrize("direction, seed", [(Direction.TX, 0), (Direction.RX, 1)])
@pytest.mark.requirements("PKD-010", "PKD-028")
def test_reset_in_the_middle(direction, seed):
    host = Host(SMALL, direction, (5, 16, 3), seed=seed, shift=7)
    rng = random.Random(seed)
    backs = []

    def life():
        write, places = direction is Direction.RX, Places(rng)
        chains = [[mixed(rng, places, min(ring.size, 12), write=write, least=1200, most=1500) for _ in range(100)]
                  for ring in host.rings]
        backs[:] = [host.driver(queue, chains[queue], check=False) for queue in range(len(chains))]
        feed(host, rng, 3 if write else 0)
        host.judge = lambda *_: None
    life()
    host.run(lambda: all(len(back) >= 4 for back in backs), life=life,
             resets=[rng.randint(150, 900) for _ in range(2)])
    assert host.errors == 0
