"""The read engine and completions that are unsuccessful, poisoned, or contradict their requests."""

import pytest

from hdl.config import NicConfig
from hdl.dma.read import ReadEngine
from testbench.unit.read_bench import ReadBench, random_traffic
from testbench.unit.read_host import STATUS

TINY = NicConfig.preset("tiny").with_(pairs=2)
WIDE = NicConfig(tags=64, pairs=4)
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
