"""When what passed the ports, for measuring latencies."""

from typing import NamedTuple

from testbench.bfm.tlp import Kind

__all__ = ["Passed", "Probe"]


class Passed(NamedTuple):
    """A request of the card. `cycle` its last beat on `rq`; `what` "read" or "write"; `label` of its address; `drawn`
    cycles that the host was drawn to take for a read, `answered` the cycle of its last completion beat on `rc`."""
    cycle: int
    what: str
    label: str
    address: int
    tag: int
    drawn: float = 0.0
    answered: int = 0

    def due(self):
        """The cycle for which the answer of a read was drawn."""
        return self.cycle + self.drawn


class Probe:
    """Notes doorbells, the card's memory requests, and the cycles that were drawn for each read.

    Parameters
    ----------
    bench : Bench

    Attributes
    ----------
    doorbells : list of (int, int)
        cycles in which a doorbell was transferred on `cq`, and its address
    requests : list of Passed
    """

    def __init__(self, bench):
        self.doorbells, self.requests = [], []
        self._core = core = bench.host.core
        self._rq, self._serve, self._trip = core.rq, core.reads.serve, core.latency.round_trip
        self._cq = bench.host.cq.on_sent
        bench.host.cq.on_sent = self._on_cq
        core.rq, core.reads.serve = self._on_rq, self._on_serve
        core.latency.round_trip = self._on_trip
        self._rc = bench.host.rc.on_sent
        bench.host.rc.on_sent = self._on_rc
        self._drawn_ns = 0.0

    def clear(self):
        self.doorbells.clear()
        self.requests.clear()

    def last(self, what, label, *, before):
        """Of such requests that passed before cycle `before`, the last, or of reads the one answered last."""
        return max((r for r in self.requests if (r.what, r.label) == (what, label) and r.cycle < before),
                   key=Passed.due)

    def first(self, what, label, *, after):
        return min((r for r in self.requests if (r.what, r.label) == (what, label) and r.cycle >= after),
                   key=lambda r: r.cycle)

    def _on_cq(self, cycle, tlp):
        self._cq(cycle, tlp)
        if tlp.kind is Kind.MEMORY_WRITE and self._core.statistics.label_of(tlp.address) == "doorbell":
            self.doorbells.append((cycle, tlp.address))

    def _on_rq(self, cycle, tlp):
        self._rq(cycle, tlp)
        if tlp.kind in (Kind.MEMORY_READ, Kind.MEMORY_WRITE):
            what = "read" if tlp.kind is Kind.MEMORY_READ else "write"
            self.requests.append(Passed(cycle, what, self._core.statistics.label_of(tlp.address),
                                        tlp.address, tlp.tag))

    def _on_trip(self, *args, **options):
        self._drawn_ns = self._trip(*args, **options)
        return self._drawn_ns

    def _on_serve(self, arrival, start, tag, **options):
        lost = self._serve(arrival, start, tag, **options)
        self._note(tag, drawn=self._drawn_ns / self._core.cycle_ns)
        return lost

    def _on_rc(self, cycle, tlp):
        self._rc(cycle, tlp)
        self._note(tlp.tag, answered=cycle)

    def _note(self, tag, **what):
        """Of the last read with this tag."""
        for i in reversed(range(len(self.requests))):
            if self.requests[i].what == "read" and self.requests[i].tag == tag:
                self.requests[i] = self.requests[i]._replace(**what)
                break
