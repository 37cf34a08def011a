"""Cycles that the read engine takes: per transaction, and from end to end."""

import pytest

from hdl.config import NicConfig
from hdl.dma.read import ReadEngine
from testbench.unit.few import few
from testbench.unit.read_bench import ReadBench


@pytest.mark.parametrize("offset", few(1, [61, 0, 2]))
def test_throughput_of_one_queue(offset):
    """One-piece reads of 72 bytes at 140 cycles' latency in one domain: 2 cycles each."""
    bench = ReadBench(ReadEngine(NicConfig(pairs=1)), seed=1, rcb=None, shuffle=0, latency=lambda rng, request: 140)
    for _ in range(200):
        bench.ask("data_tx", 0, [72], offsets=[offset])
    bench.run(check=False)
    times = [t.delivered_at for t in bench.delivered]
    assert times[-1] - times[20] <= 2.1 * 179


def test_throughput_with_descriptor_batches():
    """192 reads of 72 bytes, and a batch of 256 bytes for 16 of them: 2 and 4 beats, and no cycle lost between them."""
    bench = ReadBench(ReadEngine(NicConfig(pairs=1)), seed=1, rcb=None, shuffle=0, latency=lambda rng, request: 140)
    for _ in range(192):
        bench.ask("data_tx", 0, [72], offsets=[0])

    def fetch(bench):
        if bench.cycle >= 260 and bench.cycle % 36 == 0 and bench.cycle < 600:
            bench.ask("fetch_tx", 0, [256], offsets=[0])
    bench.script.append(fetch)
    bench.run(check=False)
    times = sorted(t.delivered_at for t in bench.delivered if t.client == "data_tx")
    batches = sum(1 for t in bench.delivered if t.client == "fetch_tx" and t.delivered_at < times[-1])
    assert batches >= 4
    assert times[-1] - times[0] <= 1.02 * (2 * 192 + 4 * batches)


def test_tags_in_flight():
    bench = ReadBench(ReadEngine(NicConfig(pairs=1)), seed=1, rcb=None, shuffle=0, latency=lambda rng, request: 400)
    for _ in range(260):
        bench.ask("data_tx", 0, [64], offsets=[0])
    bench.run(check=False)
    assert bench.sent_peak == 240


@pytest.mark.parametrize("client, length, to_request, to_beat", [
    ("data_tx", 64, 2, 7), ("data_tx", 72, 2, 7), ("fetch_rx", 64, 3, 7), ("event_tx", 4, 3, 7)])
def test_latencies(client, length, to_request, to_beat):
    bench = ReadBench(ReadEngine(NicConfig(tags=64, pairs=4)), rcb=None, latency=lambda rng, request: 100)
    read = bench.ask(client, 0, [length], offsets=[0])
    bench.run(check=False)
    assert bench.request_at[read.number] - bench.asked_at[read.number] == to_request
    assert read.first_at - bench.last_rc[read.number] == to_beat
