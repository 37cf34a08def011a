"""What the card counts. Each pulse or amount comes from the block that the first part of its name tells."""

from .regs.counters import Counter

__all__ = ["COUNTERS"]


def _counter(name, description, width=1):
    return Counter(name=name, description=description, width=width)


COUNTERS = (
    _counter("receive.frames", "frames whose buffer was published or is about to be"),
    _counter("receive.drop.no_buffer", "frames for which the driver had no buffer"),
    _counter("receive.drop.too_long_for_buffer", "frames longer than the next buffer"),
    _counter("receive.drop.bad", "frames that the MAC marked bad, and runts"),
    _counter("receive.drop.oversize", "frames longer than the mtu allows"),
    _counter("receive.drop.overflow", "frames for which the frame buffer had no room"),
    _counter("receive.drop.filtered", "frames that the driver's filters don't let pass"),
    _counter("receive.drop.disabled", "frames that came while the device was not live"),
    _counter("transmit.frames", "frames handed to the MAC"),
    _counter("transmit.bytes", "bytes of those, without FCS", 16),
    _counter("transmit.drop.malformed", "packets that don't make a frame: too short, too long, or in a bad chain"),
    _counter("transmit.drop.read_error", "packets with a read that failed"),
    _counter("read.unexpected_completion", "completions that answer no request"),
    _counter("read.timeout", "reads that were not answered in time"),
    _counter("read.poisoned", "completions marked poisoned"),
    _counter("read.unsupported", "reads answered with Unsupported Request"),
    _counter("read.aborted", "reads answered with Completer Abort"),
)
