"""The speed of a built simulation without a testbench: see reference.cpp."""

import subprocess
from pathlib import Path

from testbench.system.record import INPUTS, OUTPUTS

from .compiled import compile_cached
from .simulators import verilator_include

__all__ = ["build_reference", "run_reference"]

SOURCE = Path(__file__).with_name("reference.cpp")


def build_reference(built):
    """Path of the program that replays records on `built`, a build for Verilator: its objects are linked as they are,
    with another `main`. Raises `SimulatorError`."""
    directory = built.directory
    objects = [directory / "Vtop__ALL.a", *sorted(directory.glob("verilated*.o"))]
    include = verilator_include()
    inputs = " ".join(f"P({name})" for name in INPUTS)
    outputs = " ".join(f"S({valid}, {ready}, {' '.join(f'P({name})' for name in rest)})"
                       for valid, ready, rest in OUTPUTS)
    return compile_cached("reference", [
        "-Os", f"-DINPUTS(P)={inputs}", f"-DOUTPUTS(S, P)={outputs}", f"-I{directory}", f"-I{include}",
        f"-I{include / 'vltstd'}", str(SOURCE), *map(str, objects), "-lpthread"], [SOURCE.read_bytes()])


def run_reference(program, record):
    """CPU seconds of the recorded window. Raises `AssertionError` if the RTL did anything else than was recorded."""
    outcome = subprocess.run([program, record], capture_output=True, text=True)
    if outcome.returncode:
        raise AssertionError(f"reference run of {record}: {outcome.stderr.strip()}")
    return float(outcome.stdout)
