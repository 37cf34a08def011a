"""The same seed gives the same run, cycle by cycle, whoever simulates it."""

import json

import pytest

from sim.compiled import environment_library
from sim.simulators import SimulatorError, icarus_path
from testbench.system.bench_determinism import FRAMES, RECORD
from testbench.system.catalogue import run_case


def _run(case, folder, simulator, seed, extra):
    outcome = run_case("testbench.system.bench_determinism", case, preset="tiny", simulator=simulator, seed=seed,
                       directory=folder, extra=extra)
    assert outcome.ok, f"{outcome.summary()} (log: {outcome.log})"


def _cycles(folder, simulator, seed, **extra):
    folder = folder / f"{simulator}-{seed}-{len(extra)}"
    _run("cycles_of_a_run", folder, simulator, seed, extra)
    return json.loads((folder / RECORD).read_text())


def test_the_compiled_environment_agrees_in_every_cycle(tmp_path):
    ours = _cycles(tmp_path, "verilator", 7)
    assert len(ours["sent"]) == len(ours["received"]) == FRAMES
    assert [label for label, _ in ours["trips"]].count("tx") >= FRAMES
    assert _cycles(tmp_path, "verilator", 7, compiled=str(environment_library("verilator"))) == ours


def test_both_simulators_agree_in_every_cycle(tmp_path):
    """With either environment."""
    try:
        icarus_path()
    except SimulatorError as error:
        pytest.skip(f"no second simulator: {error}")
    ours = _cycles(tmp_path, "verilator", 7)
    assert _cycles(tmp_path, "icarus", 7) == ours
    assert _cycles(tmp_path, "icarus", 7, compiled=str(environment_library("icarus"))) == ours


def test_another_seed_is_another_run(tmp_path):
    first, second = (_cycles(tmp_path, "verilator", seed) for seed in (7, 8))
    assert first != second
    assert _cycles(tmp_path / "again", "verilator", 7) == first


@pytest.mark.parametrize("host", ["python", "compiled"])
def test_a_seed_given_anew_begins_anew(tmp_path, host):
    extra = {"compiled": str(environment_library("verilator"))} if host == "compiled" else {}
    _run("a_seed_given_anew", tmp_path, "verilator", 7, extra)
