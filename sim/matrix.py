"""The configuration matrix of the regression: a pairwise cover of presets, widths, links and latency profiles.

Under Icarus, where only links and profiles differ, a pairwise cover of these two would be all their combinations, and
an hour is not enough for every test in each. There the test is one of the axes: each meets every link and every
profile, and every combination of the two is met by some test in any `len(LINKS)` that follow each other.
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


def matrix_of_test(simulator, number):
    """Those circumstances of `matrix` in which test `number` (0, 1, ...) runs."""
    found = matrix(simulator)
    if simulator != "icarus":
        return found
    return [where for where in found
            if LINKS.index(where.link) == (number + _HOSTS.index(where.profile)) % len(LINKS)]
