"""The regression's matrix covers every pair of values."""

from itertools import combinations, product

import pytest

from sim.matrix import AXES, matrix, matrix_of_test


@pytest.mark.parametrize("simulator", AXES)
def test_every_pair_of_values_occurs(simulator):
    rows = matrix(simulator)
    for (a, values_a), (b, values_b) in combinations(AXES[simulator].items(), 2):
        covered = {(getattr(row, a), getattr(row, b)) for row in rows}
        assert covered == set(product(values_a, values_b)), (a, b)


@pytest.mark.parametrize("simulator", AXES)
def test_nothing_runs_twice_and_less_than_everything(simulator):
    rows = matrix(simulator)
    assert len(set(rows)) == len(rows)
    everything = 1
    for values in AXES[simulator].values():
        everything *= len(values)
    # No row could be left out of a cover smaller than its two longest axes need.
    longest = sorted(len(values) for values in AXES[simulator].values())[-2:]
    assert longest[0] * longest[1] <= len(rows) <= everything


def test_under_icarus_each_test_meets_everything_and_some_test_every_pair():
    axes = AXES["icarus"]
    tests = [matrix_of_test("icarus", number) for number in range(7, 7 + len(axes["link"]))]
    for rows in tests:
        assert {row.link for row in rows} == set(axes["link"])
        assert sorted(row.profile for row in rows) == sorted(axes["profile"])
    assert sorted(map(str, sum(tests, []))) == sorted(map(str, matrix("icarus")))


def test_under_verilator_each_test_runs_everywhere():
    assert matrix_of_test("verilator", 3) == matrix("verilator")
