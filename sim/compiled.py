"""C++ that runs with the simulators: built once per content, like the simulations themselves."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from .simulators import BUILD, ROOT, SimulatorError, digest_of, find_compiler, icarus_include, verilator_include

__all__ = ["compile_cached", "environment_library"]

SOURCES = ROOT / "testbench" / "bfm" / "compiled"
# Sums and products are rounded one by one, as Python does it.
OPTIONS = ["-std=c++17", "-O2", "-ffp-contract=off"]


def environment_library(simulator):
    """Path of the library of `CompiledEnvironment` for a simulator. Raises `SimulatorError`."""
    sources = sorted(SOURCES.glob("*.cpp"))
    content = [path.read_bytes() for path in sorted(SOURCES.glob("*.h")) + sources]
    if simulator == "verilator":
        include = verilator_include()
        options = ["-DDIRECT_PORTS", f"-I{include}", f"-I{include / 'vltstd'}"]
    else:
        options = [f"-I{icarus_include()}"]
    return compile_cached("libcard.so", [*OPTIONS, *options, "-fPIC", "-shared", *map(str, sources)], content)


def compile_cached(name, arguments, content):
    """Path of the file `name` that the compiler makes of `arguments`; `content` is what it depends on beside them."""
    compiler = find_compiler()
    directory = BUILD / "compiled" / f"{name}-{digest_of(compiler, *arguments, *content)}"
    result = directory / name
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            made = subprocess.run([compiler, *arguments, "-o", f"{result}.new"], capture_output=True, text=True)
            if made.returncode:
                line = next((line for line in made.stderr.splitlines() if "error" in line), "failed")
                raise SimulatorError(f"{compiler} could not build {name}: {line}")
            Path(f"{result}.new").rename(result)
    return result
