"""Every system test, on the presets and simulators that it names, as pytest items."""

import pytest

from sim.simulators import SimulatorError, icarus_path
from testbench.system.catalogue import cases, run_case


def _items():
    for (module, name), case in cases().items():
        if case.long:
            continue
        for preset in case.presets:
            for simulator in case.simulators:
                if simulator == "icarus" and preset not in case.icarus and "verilator" in case.simulators:
                    continue
                yield pytest.param(module, name, preset, simulator, id=f"{name}-{preset}-{simulator}",
                                   marks=[pytest.mark.requirements(*case.requirements)] if case.requirements else [])


@pytest.mark.parametrize("module, name, preset, simulator", list(_items()))
def test_system(module, name, preset, simulator):
    if simulator == "icarus":
        try:
            icarus_path()
        except SimulatorError as error:
            pytest.skip(f"Icarus half not run: {error}")
    outcome = run_case(module, name, preset=preset, simulator=simulator)
    assert outcome.ok, f"{outcome.summary()} (log: {outcome.log})"
