"""The subsets of features in which the card is tried meet what is asked of them."""

from itertools import combinations, product

from model.formats import Feature
from testbench.system.feature_cover import FEATURES, PREREQUISITES, allowed, cover


def test_any_two_features_meet_in_every_way():
    rows = cover()
    assert 8 <= len(rows) <= 16 and len(set(rows)) == len(rows) and rows == cover()
    assert all(allowed(row) for row in rows)
    assert not allowed({Feature.NET_HOST_ECN, Feature.NET_CSUM}) and not allowed({Feature.NET_MQ})
    for (a, b), (x, y) in product(combinations(FEATURES, 2), product((False, True), repeat=2)):
        met = any((a in row, b in row) == (x, y) for row in rows)
        assert met or not _possible({a: x, b: y}), (a, x, b, y)


def _possible(fixed):
    """Whether some allowed set agrees with `fixed`: try all of what the two features and their prerequisites leave."""
    concerned = set(fixed)
    for _ in range(3):
        concerned |= {other for feature in concerned for group in PREREQUISITES.get(feature, []) for other in group}
    free = sorted(concerned - set(fixed))
    sets = ({feature for feature, value in {**fixed, **dict(zip(free, values))}.items() if value}
            for values in product((False, True), repeat=len(free)))
    return any(allowed(taken) for taken in sets)
