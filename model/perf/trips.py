"""Round trips of the host for many packets at once: the distributions of `model.latency`, drawn as arrays."""

import numpy as np

from model.latency import QUANTILES

__all__ = ["draw_trips", "mean_trip", "mean_after_write"]


def draw_trips(profile, rng, shape, reads=1):
    """ns from request to first completion, of `shape`; the slowest of `reads` at a time."""
    if profile.points[0] == profile.points[-1]:
        return np.full(shape, profile.points[0])
    u = rng.random(shape, dtype=np.float32) ** (1 / np.asarray(reads))
    return np.exp(np.interp(u, QUANTILES, np.log(profile.points)))


def mean_trip(profile):
    """ns on average: between two of the points the logarithm is a straight line."""
    if profile.points[0] == profile.points[-1]:
        return float(profile.points[0])
    low, high = np.array(profile.points[:-1], float), np.array(profile.points[1:], float)
    span = np.maximum(np.log(high / low), 1e-12)
    return float(np.sum(np.diff(QUANTILES) * np.where(high > low, (high - low) / span, low)))


def mean_after_write(profile, interval):
    """ns that a read pays on average where the host gets a write every `interval` ns, an array: the read comes at any
    moment between two of them."""
    low, high = profile.after_write
    if high <= 0:
        return np.zeros_like(interval)
    x = np.linspace(0.0, high, 65)
    # What is paid at a distance x behind the write: the mean of max(0, U(low, high) - x).
    paid = np.where(x < low, (low + high) / 2 - x, (high - x) ** 2 / (2 * max(1e-9, high - low)))
    total = np.concatenate(([0.0], np.cumsum((paid[1:] + paid[:-1]) / 2 * np.diff(x))))
    gap = np.maximum(interval, 1e-9)
    return np.where(gap < x[1], paid[0], np.interp(np.minimum(gap, high), x, total) / gap)
