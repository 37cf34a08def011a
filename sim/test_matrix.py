"""The regression's matrix covers every pair of values."""

from itertools import combinations, product

import pytest

from sim.matrix import AXES, matrix, matrix_of_test
from sim.regress import plan


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


def values(rows):
    return {(name, getattr(row, name)) for row in rows for name in AXES["verilator"]}


@pytest.mark.parametrize("presets, width", [(None, None), (("tiny",), None), (("default",), None), (("tiny",), 512)])
def test_each_test_meets_every_value_that_it_can(presets, width):
    able = [row for row in matrix("verilator")
            if (presets is None or row.preset in presets) and width in (None, row.width)]
    for number in range(30):
        rows = matrix_of_test("verilator", number, presets=presets, width=width)
        assert set(rows) <= set(able) and values(rows) == values(able)
        assert len(rows) <= 6


def test_some_test_meets_every_pair_of_values():
    assert {row for number in range(len(matrix("verilator"))) for row in matrix_of_test("verilator", number)} \
        == set(matrix("verilator"))


def test_under_icarus_tests_take_circumstances_in_turn():
    everything = matrix("icarus")
    turns = [matrix_of_test("icarus", number) for number in range(7, 7 + len(everything))]
    assert all(len(rows) == 1 for rows in turns)
    assert set(sum(turns, [])) == set(everything)


def test_a_test_for_another_preset_runs_nowhere():
    assert matrix_of_test("icarus", 3, presets=("default",)) == []


def test_another_seed_begins_elsewhere():
    assert [job[:2] for job in plan("icarus", 1)] == [job[:2] for job in plan("icarus", 2)]
    assert plan("icarus", 1) != plan("icarus", 2)
