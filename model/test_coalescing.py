"""Coalescing of notifications, by the count."""

import pytest

from model.coalescing import Coalescing


@pytest.fixture
def coalescing():
    coalescing = Coalescing()
    for index in range(4):
        coalescing.enable(index)
    return coalescing


@pytest.mark.parametrize("packets, usecs", [(0, 0), (5, 0), (0, 5), (1, 5)])
def test_one_of_both_is_zero_or_one_packet_is_enough(coalescing, packets, usecs):
    coalescing.set_direction(0, packets, usecs)
    for _ in range(3):
        assert not coalescing.due(0)
        coalescing.used(0, 1)
        assert coalescing.due(0)


def test_counting_begins_anew(coalescing):
    coalescing.set_queue(1, 3, 10)
    due = []
    for _ in range(9):
        coalescing.used(1, 1)
        due.append(coalescing.due(1))
    assert due == [False, False, True] * 3
    coalescing.used(1, 7)
    assert coalescing.due(1) and not coalescing.due(1)
    coalescing.used(1, 2)
    assert not coalescing.due(1)
    assert coalescing.overdue(1) and not coalescing.overdue(1)
    coalescing.used(1, 2)
    assert not coalescing.due(1)


def test_the_last_setter_wins(coalescing):
    coalescing.set_queue(2, 7, 8)
    assert [coalescing.of_queue(index) for index in range(4)] == [(0, 0), (0, 0), (7, 8), (0, 0)]
    coalescing.set_direction(0, 1, 2)
    coalescing.set_direction(1, 3, 4)
    assert [coalescing.of_queue(index) for index in range(4)] == [(1, 2), (3, 4), (1, 2), (3, 4)]
    coalescing.set_queue(2, 7, 8)
    assert coalescing.of_queue(2) == (7, 8) and coalescing.of_queue(0) == (1, 2)


def test_a_queue_begins_anew_with_what_was_set_for_its_direction(coalescing):
    coalescing.set_direction(1, 3, 4)
    coalescing.set_queue(1, 5, 6)
    coalescing.used(1, 2)
    coalescing.enable(1)
    assert coalescing.of_queue(1) == (3, 4) and not coalescing.overdue(1)
    coalescing.enable(0)
    assert coalescing.of_queue(0) == (0, 0)


def test_a_change_may_make_it_due(coalescing):
    coalescing.set_queue(1, 5, 10)
    coalescing.used(1, 3)
    assert not coalescing.due(1)
    coalescing.set_queue(1, 3, 10)
    assert coalescing.due(1)
    coalescing.used(1, 1)
    assert not coalescing.due(1)
    coalescing.set_direction(1, 3, 0)
    assert coalescing.due(1)
