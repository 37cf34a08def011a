"""Subsets of the features, few of them, in which any two features meet in every way that they may.

Source: VIRTIO Version 1.4, section "Network Device / Feature bit requirements".
"""

import random
from itertools import combinations, product

from model.formats import Feature
from testbench.driver.options import REQUIRED, WANTED_ALL

__all__ = ["FEATURES", "allowed", "cover"]

F = Feature
_CONTROL = (F.NET_CTRL_VQ,)
# Feature → groups of prerequisites: a driver that accepts it accepts one of each group, too.
PREREQUISITES = {
    F.NET_HOST_TSO4: [(F.NET_CSUM,)], F.NET_HOST_TSO6: [(F.NET_CSUM,)], F.NET_HOST_USO: [(F.NET_CSUM,)],
    F.NET_HOST_ECN: [(F.NET_HOST_TSO4, F.NET_HOST_TSO6)],
    F.NET_CTRL_RX: [_CONTROL], F.NET_CTRL_VLAN: [_CONTROL], F.NET_GUEST_ANNOUNCE: [_CONTROL], F.NET_MQ: [_CONTROL],
    F.NET_CTRL_MAC_ADDR: [_CONTROL], F.NET_NOTF_COAL: [_CONTROL], F.NET_VQ_NOTF_COAL: [_CONTROL],
    F.NET_RSS: [_CONTROL],
}
# What a driver may leave or take; the others it must take.
FEATURES = tuple(feature for feature in Feature if (WANTED_ALL & ~REQUIRED) >> feature & 1)
TRIES = 60          # of which the best row is taken


def allowed(taken):
    """Whether a driver may accept this set of features."""
    return all(any(feature in taken for feature in group)
               for feature in taken for group in PREREQUISITES.get(feature, []))


def _completed(row):
    """What follows from `row`, {feature: taken or not}, for others; None if that contradicts it."""
    row, changed = dict(row), True
    while changed:
        changed = False
        for feature, groups in PREREQUISITES.items():
            for group in groups:
                open_ones = [other for other in group if row.get(other) is not False]
                if row.get(feature) and not open_ones:
                    return None
                if row.get(feature) and len(open_ones) == 1 and row.get(open_ones[0]) is None:
                    row[open_ones[0]] = changed = True
                if row.get(feature) is None and not open_ones:
                    row[feature], changed = False, True
    return row


def _pairs(row):
    return {((a, row[a]), (b, row[b])) for a, b in combinations(FEATURES, 2) if a in row and b in row}


def cover():
    """Rows, each a frozenset of features: every two features meet taken and left in each way that is allowed. Greedy,
    and always the same."""
    rng = random.Random(1)
    both = tuple(product((False, True), repeat=2))
    missing = {((a, x), (b, y)) for (a, b), (x, y) in product(combinations(FEATURES, 2), both)
               if _completed({a: x, b: y}) is not None}
    rows = []
    while missing:
        best = max((_candidate(rng, missing) for _ in range(TRIES)), key=lambda row: len(_pairs(row) & missing))
        missing -= _pairs(best)
        rows.append(frozenset(feature for feature in FEATURES if best[feature]))
    return rows


def _candidate(rng, missing):
    """A row that begins with a pair that is missing; then each feature as more pairs are covered."""
    first = rng.choice(sorted(missing))
    row = _completed(dict(first))
    for feature in rng.sample(FEATURES, len(FEATURES)):
        if feature in row:
            continue
        choices = [found for value in rng.sample((False, True), 2)
                   if (found := _completed(row | {feature: value})) is not None]
        row = max(choices, key=lambda choice: sum(
            tuple(sorted(((feature, choice[feature]), pair))) in missing for pair in choice.items()))
    return row
