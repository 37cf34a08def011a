"""How long the card takes from a doorbell to the wire."""

from collections import deque

__all__ = ["LatencyProbe"]


class LatencyProbe:
    """For each frame, the cycles from the clock edge that transfers the doorbell announcing it (on `cq`) to the edge
    that transfers its first beat on `eth_tx`.

    A doorbell announces what was made available since the driver last asked itself whether to ring. Waiting behind
    older frames counts: under load the median says how much is queued, while the smallest value is the way through an
    idle card. A frame that was on the wire before its doorbell came (the card looked for itself), or for which the card
    wanted no doorbell, has no latency.

    Parameters
    ----------
    bench : Bench
    address : int
        of the transmit queue's doorbell

    Attributes
    ----------
    cycles : list of int
    first_doorbell, first_wire, last_wire : int or None
        cycle numbers; of the first doorbell, of the first and the last beat on the wire
    """

    def __init__(self, bench, address):
        self.cycles = []
        self.first_doorbell = self.first_wire = self.last_wire = None
        self._address = address
        self._rung = deque()        # (first frame, frame behind the last) of doorbells on their way to the card
        self._rang_at = {}          # frame → cycle in which its doorbell came
        self._sent = 0
        self._on_sent = bench.host.cq.on_sent
        bench.host.cq.on_sent = self._transferred
        bench.mac.on_frame.append(self._on_wire)

    def announce(self, first, end):
        """The driver rings for frames `first` to `end` - 1, counted from 0."""
        self._rung.append((first, end))

    def _transferred(self, cycle, tlp):
        self._on_sent(cycle, tlp)
        if not tlp.posted or tlp.address != self._address:
            return
        if self.first_doorbell is None:
            self.first_doorbell = cycle
        for frame in range(*self._rung.popleft()):
            if frame >= self._sent:
                self._rang_at[frame] = cycle

    def _on_wire(self, frame):
        if self.first_wire is None:
            self.first_wire = frame.first
        self.last_wire = frame.last
        rang_at = self._rang_at.pop(self._sent, None)
        if rang_at is not None:
            self.cycles.append(frame.first - rang_at)
        self._sent += 1
