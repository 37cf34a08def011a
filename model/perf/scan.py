"""Recurrences over packets as prefix scans, for many configurations at once.

The last axis is that of packets in their order; all others are configurations.
"""

import numpy as np

__all__ = ["serve", "window_blocks"]


def serve(arrival, service, free):
    """When a server that takes one thing after the other has finished each.

    finish[i] = max(arrival[i], finish[i - 1]) + service[i], with finish[-1] = `free`: with S the running sum of the
    services that is S[i] + max(free, max over j <= i of arrival[j] - S[j - 1]).

    Parameters
    ----------
    arrival : array of (..., packets)
    service : array that broadcasts to it
    free : array of (...)
    """
    total = np.cumsum(np.broadcast_to(service, arrival.shape), axis=-1)
    begun = np.maximum.accumulate(arrival - total + service, axis=-1)
    return total + np.maximum(begun, free[..., None])


def window_blocks(window, most):
    """Packets that can be worked out at once where packet i waits for packet i - `window`: the largest power of 2 up
    to `window` and `most`."""
    return 1 << (max(1, min(window, most)).bit_length() - 1)
