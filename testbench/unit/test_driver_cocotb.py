"""Runs `bench_driver.py`: the driver on cocotb's clock."""

from pathlib import Path

from sim.simulators import build, run


def test_driver_under_cocotb(tmp_path):
    built = build("icarus", "nothing", [Path(__file__).with_name("nothing.v")])
    outcome = run(built, "testbench.unit.bench_driver", directory=tmp_path)
    assert outcome.ok, outcome.summary()
    assert len(outcome.passed) == 4
