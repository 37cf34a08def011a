"""Of many random cases of a test, those that `make test` runs."""

import pytest

__all__ = ["few"]


def few(count, cases):
    """`cases` for `parametrize`, of which those behind the first `count` run in `make campaign` alone."""
    return [case if number < count else
            pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.campaign)
            for number, case in enumerate(cases)]
