"""The read engine as a whole, against a byte-level reference and a host with whims."""

import random

import pytest

from hdl.config import NicConfig
from hdl.dma.read import ReadEngine
from testbench.unit.read_bench import ReadBench

TINY = NicConfig.preset("tiny")
WIDE = NicConfig(tags=64, pairs=4)


def random_traffic(bench, count, *, queues, largest, seed):
    rng = random.Random(seed)
    config = bench.config
    for _ in range(count):
        client = rng.choice(["fetch_rx", "fetch_tx", "event_rx", "event_tx", "data_tx", "data_tx", "data_tx"])
        queue = rng.randrange(queues)
        if client.startswith("fetch"):
            bench.ask(client, queue, [16 * rng.randrange(1, config.fetch_batch + 1)], offsets=[16 * rng.randrange(256)])
        elif client.startswith("event"):
            bench.ask(client, queue, [4], offsets=[4 * rng.randrange(1024)])
        else:
            pieces = [rng.choice([0, 1, 3, 12, 64, 72, rng.randrange(300), rng.randrange(largest)])
                      for _ in range(rng.choice([1, 1, 1, 2, 4]))]
            bench.ask(client, queue, pieces)


@pytest.mark.parametrize("config, mrrs, extended, seed", [
    (TINY, 2, 0, 1), (TINY, 0, 1, 2), (TINY, 5, 1, 3), (WIDE, 2, 1, 4), (WIDE, 1, 0, 5), (WIDE, 0, 1, 6),
], ids=str)
def test_random_traffic(config, mrrs, extended, seed):
    bench = ReadBench(ReadEngine(config), seed=seed, mrrs=mrrs, extended=extended, stall=0.2, gap=0.2,
                      requests_stall=0.2)
    random_traffic(bench, 60, queues=config.pairs, largest=500, seed=seed)
    bench.run()
    assert not any(bench.events.values())
