"""The MAC and the wire behind it: sends and captures frames at a line rate, or as fast as the streams go."""

import math
from collections import deque

from testbench.bfm.loop import THINK
from testbench.bfm.streams import EthSink, EthSource, Frame

__all__ = ["Mac"]

OVERHEAD = 4 + 8 + 12       # FCS, preamble, interpacket gap
SHORTEST = 60               # without FCS; shorter frames take as long
TX_BUFFER = 2048            # bytes of wire time that the MAC takes in advance


class Mac:
    """
    Parameters
    ----------
    entity, clock, loop
    gbps : float or None
        line rate in each direction; None: back to back, at the streams' own speed

    Attributes
    ----------
    loopback : bool
        every frame from `eth_tx` is sent to `eth_rx`; its buffer has no limit
    captured : list of Frame
        what came out of `eth_tx`; the owner may empty it
    on_frame : list of callables
        called with each captured `Frame`
    sink, source : EthSink, EthSource
        for back-pressure and gaps
    """

    def __init__(self, entity, clock, loop, *, gbps=None, loopback=False):
        self.loop = loop
        self.loopback = loopback
        self.captured = []
        self.on_frame = []
        self._connect(entity, clock)
        self.set_rate(gbps)

    def _connect(self, entity, clock):
        loop = self.loop
        self.frames_sent = 0
        self._waiting = deque()
        self._rx_free = self._tx_free = 0.0
        self.sink = EthSink(entity, "eth_tx", clock, loop, callback=self._capture)
        self.source = EthSource(entity, "eth_rx", clock, loop, always_ready=True, supply=self._next, on_sent=self._sent)
        loop.add(THINK, self._tick, quiet=self._quiet)

    def set_rate(self, gbps):
        """Line rate in Gb/s from now on; None for none."""
        self._bytes_per_cycle = gbps / 8 * self.loop.period_ns if gbps else math.inf

    def send(self, data, *, bad=False):
        """Send a frame to the card (`bad`: as one that the MAC found damaged); at once, or when its turn comes."""
        self._waiting.append(Frame(bytes(data), bad))
        self.loop.wake()

    @property
    def idle(self):
        """Nothing is waiting to be sent to the card."""
        return not self._waiting and self.source.idle

    def clear(self):
        """As in reset: what waits is gone."""
        self._waiting.clear()
        self.sink.clear()
        self.source.clear()

    def _wire_cycles(self, frame):
        return (max(SHORTEST, len(frame.data)) + OVERHEAD) / self._bytes_per_cycle

    def _capture(self, frame):
        self._tx_free = max(self._tx_free, frame.first) + self._wire_cycles(frame)
        self.captured.append(frame)
        if self.loopback:
            self._waiting.append(Frame(frame.data))
        for callback in self.on_frame:
            callback(frame)

    def _tick(self, cycle):
        self.sink.open = (self._tx_free - cycle) * self._bytes_per_cycle < TX_BUFFER if self._tx_free > cycle else True

    def _quiet(self):
        if not self.sink.open:
            return 0
        return max(self._rx_free - 1, self.loop.cycle) if self._waiting else math.inf

    def _next(self, cycle):
        if not self._waiting or self._rx_free > cycle + 1:
            return None
        frame = self._waiting.popleft()
        frame.first = cycle + 1
        late = cycle + 1 - self._rx_free    # less than a cycle late is on time: the wire does not know cycles
        self._rx_free = (self._rx_free if late < 1 else cycle + 1) + self._wire_cycles(frame)
        return frame

    def _sent(self, cycle, frame):
        frame.last = cycle
        self.frames_sent += 1
