"""Runs `bench_bfm.py`: the models of host and MAC at the ports of a card without anything inside."""

from pathlib import Path

import pytest

from sim.simulators import build, run

WIRES = Path(__file__).with_name("bfm_wires.v")


@pytest.mark.parametrize("simulator", ["icarus"])
def test_models_at_the_ports(simulator, tmp_path):
    outcome = run(build(simulator, "bfm_wires", [WIRES]), "testbench.unit.bench_bfm", directory=tmp_path)
    assert outcome.ok, outcome.summary()
    assert len(outcome.passed) == 18
