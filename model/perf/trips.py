"""Round trips of the host for many packets at once: the distributions of `model.latency`, drawn as arrays."""

import functools

import numpy as np

from model.latency import QUANTILES

__all__ = ["draw_trips", "in_order_trip", "mean_after_write", "mean_trip"]

IN_ORDER_READS = 1 << 15        # that the time of reads in order is a mean of
MOST_WINDOW = 1024


def draw_trips(profile, rng, shape, reads=1):
    """ns from request to first completion, of `shape`; the slowest of `reads` at a time."""
    if profile.points[0] == profile.points[-1]:
        return np.full(shape, profile.points[0])
    u = rng.random(shape, dtype=np.float32) ** (1 / np.asarray(reads))
    return np.exp(np.interp(u, QUANTILES, np.log(profile.points)))


@functools.lru_cache
def _in_order_trip(profile, window):
    done = np.zeros(window)
    rng, last, blocks = np.random.default_rng(1), 0.0, IN_ORDER_READS // window
    for _ in range(blocks):
        done = np.maximum(np.maximum.accumulate(done + draw_trips(profile, rng, window)), last)
        last = done[-1]
    return last / blocks


def in_order_trip(profile, windows):
    """ns for which each of `windows` reads (an array) holds its tag where they are delivered in order and nothing else
    takes time: windows per this time is the rate. Between powers of 2 it follows the logarithm."""
    logs = np.log2(np.clip(windows, 1, MOST_WINDOW))
    powers = range(int(logs.min()), int(np.ceil(logs.max())) + 1)
    return np.interp(logs, list(powers), [_in_order_trip(profile, 1 << power) for power in powers])


def mean_trip(profile):
    """ns on average: between two of the points the logarithm is a straight line."""
    if profile.points[0] == profile.points[-1]:
        return float(profile.points[0])
    low, high = np.array(profile.points[:-1], float), np.array(profile.points[1:], float)
    span = np.maximum(np.log(high / low), 1e-12)
    return float(np.sum(np.diff(QUANTILES) * np.where(high > low, (high - low) / span, low)))


@functools.lru_cache
def _after_write(profile):
    """(distances behind a write, ns paid there, running integral of those)."""
    low, high = profile.after_write
    x = np.linspace(0.0, high, 65)
    # At a distance x the mean of max(0, U(low, high) - x).
    paid = np.where(x < low, (low + high) / 2 - x, (high - x) ** 2 / (2 * max(1e-9, high - low)))
    return x, paid, np.concatenate(([0.0], np.cumsum((paid[1:] + paid[:-1]) / 2 * np.diff(x))))


def mean_after_write(profile, interval):
    """ns that a read pays on average where the host gets a write every `interval` ns, an array: the read comes at any
    moment between two of them."""
    if profile.after_write[1] <= 0:
        return np.zeros_like(interval)
    x, paid, total = _after_write(profile)
    gap = np.maximum(interval, 1e-9)
    return np.where(gap < x[1], paid[0], np.interp(np.minimum(gap, x[-1]), x, total) / gap)
