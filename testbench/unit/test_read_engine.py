"""The read engine as a whole, against a byte-level reference and a host with whims."""

import pytest

from hdl.config import NicConfig
from hdl.dma.read import ReadEngine
from testbench.unit.few import few
from testbench.unit.read_bench import ReadBench, random_traffic

TINY = NicConfig.preset("tiny").with_(pairs=2)
WIDE = NicConfig(tags=64, pairs=4)


@pytest.mark.parametrize("config, mrrs, extended, seed", few(3, [
    (TINY, 2, 0, 1), (WIDE, 1, 0, 5), (WIDE.with_(width=256), 0, 1, 6), (WIDE, 2, 1, 4), (TINY, 0, 1, 2),
]), ids=["tiny", "wide, 5-bit tags", "256 bits, 128-byte reads", "wide", "tiny, 128-byte reads"])
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


def test_only_what_was_sent_is_outstanding():
    """A read that waits for the link may wait for long, and is no pending transaction: nobody will complete it."""
    bench = ReadBench(ReadEngine(TINY), seed=9, requests_stall=1.0)
    for _ in range(4):
        bench.ask("fetch_rx", 0, [64])

    def watch(bench):
        if bench.cycle < 200:
            assert bench.outstanding == 0
        else:
            bench.requests_stall = 0.0
    bench.script.append(watch)
    bench.run()
