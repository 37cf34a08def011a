"""make mutate: break the RTL where a requirement lives, and see whether a test that names the requirement notices.

    python -m sim.mutate --count 10 --seed 1        python -m sim.mutate PKD-007 PCI-049

The mutations are in testbench/mutations.toml. Each is applied to a temporary copy of the tree, never in place, and only
the tests marked with the requirement run there. Exit status 1 if one of them went unnoticed.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from .requirements import collect_marks
from .simulators import BUILD, ROOT

__all__ = ["MutationError", "load", "mutate", "main"]


TABLE = ROOT / "testbench" / "mutations.toml"
COPIED = ("hdl", "model", "testbench", "sim", "docs", "pyproject.toml")
FAILED, PASSED = 1, 0       # pytest's exit statuses that say something about the card


class MutationError(Exception):
    """A mutation that can't be tried; the message is one line."""


def load(table=TABLE):
    """{id: {file, find, replace}}."""
    with open(table, "rb") as file:
        return tomllib.load(file)


def mutate(text, change):
    """`text` with the mutation made; what is looked for must be there exactly once."""
    found = text.count(change["find"])
    if found != 1:
        raise MutationError(f"{change['file']}: {change['find']!r} occurs {found} times, not once")
    return text.replace(change["find"], change["replace"])


def _copy(target):
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)


def try_one(identifier, change, tests):
    """Whether any of `tests` fails on the mutated card."""
    if not tests:
        raise MutationError("no test is marked with it")
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        tree = Path(folder)
        _copy(tree)
        path = tree / change["file"]
        path.write_text(mutate(path.read_text(), change))
        environment = {**os.environ, "PYTHONPATH": folder, "NIC_BUILD": str(tree / "build")}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--rootdir", folder,
                   *sorted(tests, key=lambda name: ("system" in name, name))]    # the fast ones first
        out = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        log = BUILD / "mutate" / f"{identifier}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(out.stdout + out.stderr)
    if out.returncode not in (FAILED, PASSED):
        raise MutationError(f"its tests don't run (see {log})")
    return out.returncode == FAILED


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__.splitlines()[0])
    parser.add_argument("ids", nargs="*", metavar="ID", help="requirements to break; default: a random choice")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    table = load()
    unknown = [identifier for identifier in options.ids if identifier not in table]
    if unknown:
        print(f"mutate: no mutation is written for {', '.join(unknown)}", file=sys.stderr)
        return 2
    ids = options.ids or random.Random(options.seed).sample(sorted(table), min(options.count, len(table)))
    marks = collect_marks()
    bad = 0
    for identifier in ids:
        try:
            verdict = "noticed" if try_one(identifier, table[identifier], marks.get(identifier)) else "NOT NOTICED"
        except MutationError as error:
            verdict = f"NOT TRIED: {error}"
        bad += verdict != "noticed"
        print(f"mutate: {identifier}: {verdict}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
