"""The read engine as a whole, against a byte-level reference and a host with whims."""

import random

import pytest

from hdl.config import NicConfig
from hdl.dma.read import ReadEngine
from testbench.unit.read_bench import STATUS, ReadBench

TINY = NicConfig.preset("tiny").with_(pairs=2)
WIDE = NicConfig(tags=64, pairs=4)


def random_traffic(bench, count, *, largest, seed):
    rng = random.Random(seed)
    config = bench.config
    for _ in range(count):
        client = rng.choice(["fetch_rx", "fetch_tx", "event_rx", "event_tx", "data_tx", "data_tx", "data_tx"])
        queue = rng.randrange(config.pairs)
        if client.startswith("fetch"):
            bench.ask(client, queue, [16 * rng.randrange(1, config.fetch_batch + 1)], offsets=[16 * rng.randrange(256)])
        elif client.startswith("event"):
            bench.ask(client, queue, [4], offsets=[4 * rng.randrange(1024)])
        else:
            pieces = [rng.choice([0, 1, 3, 12, 64, 72, rng.randrange(300), rng.randrange(largest)])
                      for _ in range(rng.choice([1, 1, 1, 2, 4]))]
            bench.ask(client, queue, pieces)


@pytest.mark.parametrize("config, mrrs, extended, seed", [
    (TINY, 2, 0, 1), (TINY, 0, 1, 2), (WIDE, 2, 1, 4), (WIDE, 1, 0, 5), (WIDE.with_(width=256), 0, 1, 6),
], ids=["tiny", "tiny, 128-byte reads", "wide", "wide, 5-bit tags", "256 bits, 128-byte reads"])
def test_random_traffic(config, mrrs, extended, seed):
    bench = ReadBench(ReadEngine(config), seed=seed, mrrs=mrrs, extended=extended, stall=0.2, gap=0.2,
                      requests_stall=0.2)
    random_traffic(bench, 50, largest=500, seed=seed)
    bench.run()
    assert not any(bench.events.values())


def test_long_pieces():
    """16 KiB from an odd address in one piece, beside small ones of other clients."""
    config = NicConfig(tags=128, pairs=2)
    engine = ReadEngine(config)
    bench = ReadBench(engine, seed=3, rcb=None)
    bench.ask("data_tx", 0, [engine.part_bytes - 3], offsets=[4095])
    bench.ask("fetch_rx", 1, [256], offsets=[3968])
    bench.ask("data_tx", 1, [9014, 1, 2, 3], offsets=[77, 3, 2, 1])
    bench.run()


FAULTS = ["ur", "ca", "reserved", "retry", "poison", "count", "lower", "bare", "excess"]


@pytest.mark.parametrize("config, seed", [(TINY, 1), (WIDE, 2)], ids=["tiny", "wide"])
def test_bad_completions(config, seed):
    def fault(rng, request):
        return rng.choice(FAULTS) if rng.random() < 0.3 else None
    bench = ReadBench(ReadEngine(config), seed=seed, stall=0.1, gap=0.1, fault=fault)
    random_traffic(bench, 50, largest=600, seed=seed)
    bench.run()
    assert {t.status for t in bench.delivered} >= {STATUS["ok"], STATUS["ur"], STATUS["ca"], STATUS["poisoned"]}


@pytest.mark.parametrize("kind, event", [
    ("ur", "unsupported_received"), ("reserved", "unsupported_received"), ("ca", "abort_received"),
    ("poison", "poisoned_completion"), ("count", "unexpected_completion"), ("lower", "unexpected_completion"),
    ("bare", "unexpected_completion"), ("excess", "unexpected_completion"),
])
def test_each_fault_alone(kind, event):
    bench = ReadBench(ReadEngine(TINY), seed=5, rcb=None, fault=lambda rng, request: kind)
    bench.ask("data_tx", 0, [60], offsets=[64])
    bench.run()
    assert bench.delivered[0].status != 0
    assert {name: count for name, count in bench.events.items() if count} == {event: 1}
