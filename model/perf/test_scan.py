"""Prefix scans against the recurrences that they stand for."""

import numpy as np
import pytest

from model.perf.scan import serve, window_blocks


@pytest.mark.parametrize("seed", range(5))
def test_a_server_finishes_as_a_loop_says(seed):
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(3, (4, 200)), axis=1) + rng.normal(0, 20, (4, 200))     # not in order, either
    service, free = rng.exponential(4, (4, 200)), rng.uniform(0, 50, 4)
    finish = serve(arrival, service, free)
    for row in range(4):
        last = free[row]
        for i in range(200):
            last = max(arrival[row, i], last) + service[row, i]
            assert finish[row, i] == pytest.approx(last)


def test_blocks_one_after_the_other_are_one_scan():
    rng = np.random.default_rng(7)
    arrival, service = np.sort(rng.uniform(0, 300, (2, 64)), axis=1), rng.uniform(0, 9, (2, 64))
    whole = serve(arrival, service, np.zeros(2))
    free, parts = np.zeros(2), []
    for at in range(0, 64, 16):
        parts.append(serve(arrival[:, at:at + 16], service[:, at:at + 16], free))
        free = parts[-1][:, -1]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("window, most, block", [(1, 16, 1), (2, 16, 2), (13, 16, 8), (240, 16, 16), (240, 32, 32)])
def test_the_block_fits_the_window(window, most, block):
    assert window_blocks(window, most) == block
