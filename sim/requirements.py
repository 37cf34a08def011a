"""make requirements: which tests would fail if a requirement were broken.

The ledger is docs/requirements.csv. A test names the ids that it would notice being broken by the marker
`requirements`; `docs/scope.toml` says which ids do not apply and which belong to features that are not offered, with
the reason. Whatever is left without a test is a gap; a gap in a MUST or MUST NOT of the areas in scope fails the
command.
"""

import argparse
import csv
import fnmatch
import sys
import tomllib

import pytest
from rich.console import Console
from rich.table import Table

from .simulators import ROOT

__all__ = ["Ledger", "collect_marks", "main"]


LEDGER = ROOT / "docs" / "requirements.csv"
SCOPE = ROOT / "docs" / "scope.toml"


class Ledger:
    """The requirements, and which of them are out of scope for a stated reason."""

    def __init__(self, ledger=LEDGER, scope=SCOPE):
        with open(ledger, newline="") as file:
            self.rows = {row["id"]: row for row in csv.DictReader(file)}
        self.excluded = {}
        with open(scope, "rb") as file:
            rules = tomllib.load(file)["out_of_scope"]
        for reason, patterns in rules.items():
            for pattern in patterns:
                hits = [identifier for identifier in self._expand(pattern)]
                if not hits:
                    raise ValueError(f"{scope}: {pattern!r} names no requirement")
                self.excluded.update(dict.fromkeys(hits, reason))

    def _expand(self, pattern):
        """Ids of 'PKD-003', 'NET-020..NET-030' or 'ADM-*'."""
        first, dots, last = pattern.partition("..")
        if dots:
            return [i for i in self.rows if first <= i <= last and i[:3] == first[:3]]
        return fnmatch.filter(self.rows, pattern)

    def status(self, marks):
        """{id: (state, detail)}; state is 'tested', 'not offered', 'optional' or 'gap'."""
        unknown = sorted(set(marks) - set(self.rows))
        if unknown:
            raise ValueError(f"tests name requirements that the ledger does not have: {', '.join(unknown)}")
        result = {}
        for identifier, row in self.rows.items():
            if identifier in marks:
                result[identifier] = ("tested", sorted(marks[identifier]))
            elif identifier in self.excluded:
                result[identifier] = ("not offered", [self.excluded[identifier]])
            elif row["level"] == "MAY":
                result[identifier] = ("optional", [])
            else:
                result[identifier] = ("gap", [])
        return result


class _Collector:
    def __init__(self):
        self.marks = {}

    def pytest_collection_modifyitems(self, items):
        for item in items:
            for mark in item.iter_markers("requirements"):
                for identifier in mark.args:
                    self.marks.setdefault(identifier, set()).add(item.nodeid)


def collect_marks():
    """{id: {test names}} over every test of the project."""
    collector = _Collector()
    code = pytest.main(["--collect-only", "-p", "no:terminal", "--rootdir", str(ROOT), str(ROOT)],
                       plugins=[collector])
    if code != 0:
        raise RuntimeError("the tests can't be collected: run 'make test'")
    return collector.marks


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="requirements", description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="list every id, not only counts and gaps")
    parser.add_argument("--id", help="show one id")
    options = parser.parse_args(arguments)
    ledger = Ledger()
    status = ledger.status(collect_marks())
    console = Console(width=150)
    if options.id:
        if options.id not in status:
            print(f"requirements: the ledger has no {options.id!r}", file=sys.stderr)
            return 2
        state, detail = status[options.id]
        row = ledger.rows[options.id]
        print(f"{options.id} {row['level']}: {row['summary']}\n{state}", *detail, sep="\n  ")
        return 0
    if options.all:
        for identifier, (state, detail) in status.items():
            print(f"{identifier} {ledger.rows[identifier]['level']:10} {state:12} {'; '.join(detail)}")
    table = Table(title="requirements by area")
    states = ("tested", "not offered", "optional", "gap")
    for column in ("area", *states):
        table.add_column(column, justify="left" if column == "area" else "right")
    areas = dict.fromkeys(row["area"] for row in ledger.rows.values())
    for area in areas:
        counts = [sum(status[i][0] == state for i, row in ledger.rows.items() if row["area"] == area)
                  for state in states]
        table.add_row(area, *map(str, counts))
    console.print(table)
    gaps = [i for i, (state, _) in status.items() if state == "gap"]
    hard = [i for i in gaps if ledger.rows[i]["level"] in ("MUST", "MUST NOT")]
    for identifier in gaps:
        row = ledger.rows[identifier]
        console.print(f"gap: {identifier} {row['level']}: {row['summary']}", highlight=False)
    print(f"requirements: {len(gaps)} gaps, {len(hard)} of them MUST or MUST NOT")
    return 1 if hard else 0


if __name__ == "__main__":
    sys.exit(main())
