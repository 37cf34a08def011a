"""The host model and its link: nothing passes faster than the budget, in either direction."""


import pytest

from model.link import Link
from testbench.bfm.host_rules import ProtocolError
from testbench.bfm.pacing import LinkBudgetError, Meter
from testbench.bfm.tlp import (
    completion,
)
from testbench.unit.host_bench import DEVICE, Bench


def test_saturated_completions_come_at_the_budget_and_not_faster():
    bench = Bench("gen3x8")
    count = 0
    for cycle in range(4000):
        free = [tag for tag in range(256) if tag not in bench.core.reads.outstanding]
        if free and cycle % 4 == 0:
            bench.read(512 * (count % 64), 512, free[0])
            count += 1
        bench.run(1)
    window = [tlp.link_bytes for cycle, tlp in bench.received if 1000 <= cycle < 3000]
    assert sum(window) / 2000 == pytest.approx(Link("gen3x8").spec / 8 * 4, rel=0.01)
    assert bench.core.statistics.report(bench.cycle)["in_flight"]["max"] > 40


def test_upstream_ready_holds_the_device_to_the_budget():
    bench = Bench("gen3x8")
    carried = 0
    for cycle in range(3000):
        if bench.core.rq_ready(cycle):
            bench.write(0, bytes(256))
            carried += 280 * (cycle >= 1000)
        bench.run(1)
    assert carried / 2000 == pytest.approx(Link("gen3x8").spec / 8 * 4, rel=0.02)


def test_small_tlps_are_held_by_their_number():
    bench = Bench("gen3x8")
    taken = 0
    while bench.core.rq_ready(0):
        bench.write(0, bytes(4))
        taken += 1
    assert taken == 33      # one is on the link, 32 wait


def test_overdriving_upstream_fires_the_hard_budget():
    bench = Bench("gen3x8")
    with pytest.raises(LinkBudgetError, match="upstream at cycle"):
        for _ in range(200):
            bench.write(0, bytes(256))
            bench.run(1)


def test_overdriving_downstream_fires_the_hard_budget():
    core = Bench("gen3x8").core
    with pytest.raises(LinkBudgetError, match="downstream"):
        for cycle in range(500):
            core.sent(cycle, completion(DEVICE, 0, 0, payload=bytes(64), byte_count=64))


def test_meter_allows_exactly_the_rate_in_every_span():
    meter = Meter("link", 10.0, 100)
    for cycle in range(1000):
        meter.pass_(cycle, 10)
    meter.pass_(2000, 100)
    meter.pass_(2005, 50)
    with pytest.raises(LinkBudgetError, match="1 bytes more"):
        meter.pass_(2005, 1)


def test_completions_wait_while_the_pins_stand_still():
    bench = Bench()
    for tag in range(100):
        bench.read(512 * tag, 512, tag)
        for _ in range(20):
            bench.core.advance(bench.cycle)
            bench.cycle += 1
    held = 0
    while bench.core.take_rc():
        held += 1
    assert 4096 <= held * 276 < 4096 + 2 * 276


# Reads that the link can't take, faults

def test_np_ready_and_its_grace():
    bench = Bench()
    bench.core.np_hold = True
    assert not bench.core.rq_np_ready(0)
    for tag in range(4):
        bench.read(0, 64, tag)
    bench.write(0, b"posted ones go on")
    with pytest.raises(ProtocolError, match="5 reads while rq_np_ready is 0"):
        bench.read(0, 64, 9)
    bench.core.np_hold = False
    assert bench.core.rq_np_ready(100)
