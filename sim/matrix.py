"""The configuration matrix of the regression: presets, widths, links and latency profiles, pairwise with each other
and with the tests.

A pairwise cover of the circumstances alone has as many rows as its two longest axes need, and an hour is not enough for
every test in each. So the test is one of the axes: each meets every preset, width, link and profile that it can, and
every pair of these is met by many tests. Under Icarus, which shows that the card does not depend on the simulator, a
test meets one of those circumstances, and tests that follow each other take them in turn. Another seed begins the turns
elsewhere.
"""

from dataclasses import dataclass
from itertools import combinations, product

from model.latency import PROFILES
from model.link import LINKS

__all__ = ["ICARUS_SMOKE", "Circumstances", "matrix", "matrix_of_test"]


@dataclass(frozen=True)
class Circumstances:
    """What one run of a system test takes place in."""

    preset: str
    width: int
    link: str
    profile: str

    def __str__(self):
        return f"{self.preset}/{self.width}/{self.link}/{self.profile}"


_HOSTS = tuple(name for name in PROFILES if name.startswith(("e5", "e3", "iommu")))
AXES = {
    "verilator": {"preset": ("tiny", "default"), "width": (128, 256, 512), "link": LINKS, "profile": _HOSTS},
    "icarus": {"preset": ("tiny",), "width": (128,), "link": LINKS, "profile": _HOSTS},
}
# Icarus shows once that the wide build works there too.
ICARUS_SMOKE = Circumstances("tiny", 512, "gen3x8", "e5-warm")


def matrix(simulator):
    """Circumstances in which every pair of values of two axes occurs; greedy, always the same."""
    axes = AXES[simulator]
    names = list(axes)
    rows = [dict(zip(names, values)) for values in product(*axes.values())]

    def pairs(row):
        return {((a, row[a]), (b, row[b])) for a, b in combinations(names, 2)}
    missing = set().union(*map(pairs, rows))
    chosen = []
    while missing:
        best = max(rows, key=lambda row: len(pairs(row) & missing))
        missing -= pairs(best)
        chosen.append(Circumstances(**best))
    return chosen


def matrix_of_test(simulator, number, *, presets=None, width=None):
    """Those circumstances of `matrix` in which test `number` (0, 1, ...) runs; none, if there are none that it can.

    `presets` and `width` are what the test is for, if not for all.
    """
    found = matrix(simulator)
    found = [where for where in found[number % len(found):] + found[:number % len(found)]
             if (presets is None or where.preset in presets) and width in (None, where.width)]
    if simulator == "icarus":
        return found[:1]

    def values(where):
        return set(vars(where).items())
    missing = set().union(*map(values, found))
    chosen = []
    while missing:
        best = max(found, key=lambda where: len(values(where) & missing))
        missing -= values(best)
        chosen.append(best)
    return chosen
