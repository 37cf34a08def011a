"""make features: README.md's table of the features that the card offers, from the RTL's own list of them."""

import argparse
import sys
import tomllib

from hdl.generate import configuration
from hdl.virtio.features import offered_features

from .simulators import ROOT

__all__ = ["main", "table", "with_table"]

NOTES = ROOT / "docs" / "features.toml"
README = ROOT / "README.md"
HEAD = "| bit | feature | what is offered, and what limits it |\n| --- | --- | --- |\n"


def table(notes=NOTES):
    """The table as Markdown, in order of the bits. Raises `ValueError` unless `notes` has a line for each feature of
    the `default` card and for nothing else."""
    with open(notes, "rb") as file:
        said = tomllib.load(file)
    offered = offered_features(configuration("default"))
    wrong = {feature.name for feature in offered} ^ set(said)
    if wrong:
        raise ValueError(f"{notes}: offered and not described, or the other way round: {', '.join(sorted(wrong))}")
    return HEAD + "".join(f"| {feature.value} | {feature.name} | {said[feature.name]} |\n" for feature in offered)


def with_table(text, lines):
    """`text` with its table of features replaced by `lines`. Raises `ValueError` where it has none."""
    if HEAD not in text:
        raise ValueError(f"{README}: there is no table that begins with {HEAD.splitlines()[0]!r}")
    before, after = text.split(HEAD, 1)
    rows = after.splitlines(keepends=True)
    count = next((n for n, row in enumerate(rows) if not row.startswith("|")), len(rows))
    return before + lines + "".join(rows[count:])


def main(arguments=None):
    """Returns 0, or 1 with --check when README.md says something else; 2 when it can't be told."""
    parser = argparse.ArgumentParser(prog="features", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the table is out of date")
    options = parser.parse_args(arguments)
    try:
        old = README.read_text()
        new = with_table(old, table())
    except ValueError as error:
        print(f"features: {error}", file=sys.stderr)
        return 2
    if options.check:
        if old != new:
            print(f"features: {README}: the table is out of date; run make features", file=sys.stderr)
        return int(old != new)
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
