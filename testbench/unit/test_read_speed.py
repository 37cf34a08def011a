"""Cycles that the read engine takes: per transaction, and from end to end."""

import pytest

from hdl.config import NicConfig
from hdl.dma.read import ReadEngine
from testbench.unit.read_bench import ReadBench


@pytest.mark.parametrize("offset", [0, 2, 61])
def test_throughput_of_one_queue(offset):
    """One-piece reads of 72 bytes at 140 cycles' latency in one domain, with descriptor batches: 2 cycles each."""
    bench = ReadBench(ReadEngine(NicConfig(pairs=1)), seed=1, rcb=None, shuffle=0, latency=lambda rng, request: 140)
    for _ in range(200):
        bench.ask("data_tx", 0, [72], offsets=[offset])
    bench.run(check=False)
    times = [t.delivered_at for t in bench.delivered]
    print(f"cycles per read: {(times[-1] - times[20]) / 179:.2f}; tags in flight: {bench.sent_peak}")
    assert times[-1] - times[20] <= 2.1 * 179


def test_throughput_with_descriptor_batches():
    """192 reads of 72 bytes with 12 batches of 256 bytes: 2 and 4 beats each, and no cycle lost between them."""
    bench = ReadBench(ReadEngine(NicConfig(pairs=1)), seed=1, rcb=None, shuffle=0, latency=lambda rng, request: 140)
    for _ in range(12):
        bench.ask("fetch_tx", 0, [256], offsets=[0])
        for _ in range(16):
            bench.ask("data_tx", 0, [72], offsets=[0])
    bench.run(check=False)
    times = sorted(t.delivered_at for t in bench.delivered if t.client == "data_tx")
    assert times[-1] - times[0] <= 1.05 * (2 * 192 + 4 * 12)


def test_tags_in_flight():
    bench = ReadBench(ReadEngine(NicConfig(pairs=1)), seed=1, rcb=None, shuffle=0, latency=lambda rng, request: 400)
    for _ in range(260):
        bench.ask("data_tx", 0, [64], offsets=[0])
    bench.run(check=False)
    assert bench.sent_peak == 240


@pytest.mark.parametrize("client, command_to_request", [("data_tx", 3), ("fetch_rx", 4)])
def test_latencies(client, command_to_request):
    engine = ReadEngine(NicConfig(tags=64, pairs=4))
    bench = ReadBench(engine, seed=1, rcb=None, latency=lambda rng, request: 100)
    read = bench.ask(client, 0, [80], offsets=[0])
    bench.run(check=False)
    assert bench.request_at[read.number] - bench.asked_at[read.number] == command_to_request
    assert read.first_at - bench.last_rc[read.number] == 7
