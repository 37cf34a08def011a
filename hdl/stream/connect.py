"""Connecting streams whose payloads must agree in shape, not merely in width."""

from amaranth.hdl import Shape, ShapeCastable
from amaranth.lib import wiring

__all__ = ["connect_stream", "stream_shape"]


def stream_shape(port):
    """Shape of the payload of a stream interface."""
    return port.signature.members["payload"].shape


def _same(a, b):
    if isinstance(a, ShapeCastable) or isinstance(b, ShapeCastable):
        return a == b
    return Shape.cast(a) == Shape.cast(b)


def connect_stream(m, source, sink):
    """Connect `source` (a stream that we read) to `sink` (a stream that we write).

    Both belong to submodules, so their directions are as seen from inside those. Raises `TypeError` if the payload
    shapes differ: `wiring.connect` alone accepts any two of equal width.
    """
    if not _same(stream_shape(source), stream_shape(sink)):
        raise TypeError(f"streams of different payload: {stream_shape(source)!r} and {stream_shape(sink)!r}")
    wiring.connect(m, source, sink)
