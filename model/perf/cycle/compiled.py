"""How everything here is compiled."""

from numba import njit

__all__ = ["compiled"]

# Nothing divides by 0, so that need not be looked for.
compiled = njit(cache=True, error_model="numpy", _nrt=False)
