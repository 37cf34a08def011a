"""The root complex and the link before it, without a simulator: takes (cycle, TLP), yields (cycle, TLP).

Upstream, `rq` and `cc` share the link in the order of acceptance; downstream, `cq` and `rc` share it in the order in
which TLPs become ready. A TLP has its effect when the link has carried it: writes are performed in order, and a
completion of the device is seen after every posted TLP that was accepted before it. Each 64-byte line of a read is
sampled at a random moment of its own between the request's arrival and its completion. Times are cycles, and have
fractions.
"""

import heapq
import itertools
import math
from collections import deque

from model.latency import Latency
from model.link import Link
from testbench.bfm.host_reads import Fault, ReadServer, moments_seed
from testbench.bfm.host_requests import Requester
from testbench.bfm.host_rules import ProtocolError, Rules
from testbench.bfm.host_statistics import Statistics
from testbench.bfm.pacing import Meter, Pace
from testbench.bfm.tlp import Kind

__all__ = ["HostCore"]

QUEUE_TLPS = 32             # what may wait for the upstream link before rq_ready drops,
QUEUE_BYTES = 4096
QUEUE_NP = 16               # and before rq_np_ready does
NP_GRACE = 4                # reads that may follow after rq_np_ready has dropped
ROOM_BYTES = 4096           # buffers between the downstream link and the pins
ROOM_CQ = 16
SLACK = 2 * QUEUE_BYTES     # buffers on either side, with a TLP in the making


class HostCore:
    """
    Parameters
    ----------
    memory : model.memory.HostMemory
    link : str or Link
    profile : str or model.latency.Profile
    cycle_ns : float
        length of a cycle
    rcb64 : bool
        completions cut at every 64 bytes, not at every Max_Payload_Size
    seed : int
        of latencies and of the moments at which lines are sampled

    Attributes
    ----------
    rules : Rules
        what the function is configured for
    statistics : Statistics
    np_hold : bool
        forces `rq_np_ready` to 0
    on_message : list of callables
        called with each message TLP of the device
    """

    def __init__(self, memory, link="gen3x8", profile="e5-warm", *, cycle_ns=4.0, rcb64=False, seed=1):
        self.memory = memory
        self.link = link if isinstance(link, Link) else Link(link)
        self.latency = Latency(profile, seed)
        self.cycle_ns = cycle_ns
        self.rcb64 = rcb64
        self.rules = Rules()
        self.statistics = Statistics()
        self.np_hold = False
        self.on_message = []
        spec, hard = self.link.spec_bytes(cycle_ns), self.link.hard_bytes(cycle_ns)
        self._up, self._down = Pace(spec), Pace(spec)
        self._up_meter = Meter("upstream", hard, SLACK)
        self._down_meter = Meter("downstream", hard, SLACK)
        # Upstream
        self._arrivals = deque()    # (arrival, start, TLP)
        self._queued = deque()      # starts of TLPs on rq that wait for the link
        self._queued_np = deque()
        self._np_was_ready = True
        self._np_late = 0
        self._last_write = -math.inf
        self.reads = ReadServer(memory, self.latency, self._answer, cycle_ns=cycle_ns, seed=moments_seed(seed),
                                trips=self.statistics.trips)
        self.requester = Requester(self.post, self.rules)
        # Downstream
        self._sequence = itertools.count()
        self._completions = []      # heap of (ready, sequence, Read or None, function that makes the TLP, last)
        self.requests = deque()     # (ready, TLP)
        self._cq_out, self._rc_out = deque(), deque()
        self._rc_out_bytes = 0
        self._cq_blocked = self._rc_blocked = 0.0

    # Upstream: what the device sends

    def rq(self, cycle, tlp):
        """A request whose last beat was transferred at `cycle`."""
        memory = tlp.kind in (Kind.MEMORY_READ, Kind.MEMORY_WRITE)
        label = self.statistics.label_of(tlp.address) if memory else ""
        self.rules.check_request(tlp, label, self.reads.outstanding)
        read = tlp.kind is Kind.MEMORY_READ
        if read:
            self._np_late = 0 if self._np_was_ready else self._np_late + 1
            if self._np_late > NP_GRACE:
                raise ProtocolError(f"{self._np_late} reads while rq_np_ready is 0: {tlp}")
            self.reads.accept(cycle, tlp, label)
            self.statistics.flight(cycle, 1)
            self.statistics.read_sizes[label][tlp.length] += 1
        elif memory:
            first, end = tlp.enabled()
            self.statistics.write_sizes[label][end - first] += 1
        self.statistics.up["read" if read else "write" if memory else "message", label].add(tlp)
        start = self._carry(cycle, tlp)
        self._queued.append(start)
        if read:
            self._queued_np.append(start)

    def cc(self, cycle, tlp):
        """A completion of the device whose last beat was transferred at `cycle`."""
        if tlp.kind is not Kind.COMPLETION:
            raise ProtocolError(f"not a completion: {tlp}")
        self.statistics.up["completion", ""].add(tlp)
        self._carry(cycle, tlp)

    def _carry(self, cycle, tlp):
        size = tlp.link_bytes
        self._up_meter.pass_(cycle, size)
        start = self._up.begin(cycle, size)
        self._arrivals.append((self._up.free, start, tlp))
        return start

    def rq_ready(self, cycle):
        """Whether the link side takes TLPs: not while 32 of them, or 4 KiB, wait for the link."""
        queued = self._queued
        while queued and queued[0] <= cycle:
            queued.popleft()
        return len(queued) < QUEUE_TLPS and (self._up.free - cycle) * self._up.bytes_per_cycle < QUEUE_BYTES

    def rq_np_ready(self, cycle):
        """Whether it takes reads; call it every cycle that something happens, since the rule for reads refers to it."""
        queued = self._queued_np
        while queued and queued[0] <= cycle:
            queued.popleft()
        self._np_was_ready = len(queued) < QUEUE_NP and not self.np_hold
        return self._np_was_ready

    def _arrive(self, arrival, start, tlp):
        kind = tlp.kind
        if kind is Kind.MEMORY_WRITE:
            first, end = tlp.enabled()
            self._last_write = arrival
            self.memory.device_write(tlp.address + first, tlp.payload[first:end])
        elif kind is Kind.MEMORY_READ:
            self._serve(arrival, start, tlp)
        elif kind is Kind.COMPLETION:
            self.requester.complete(arrival, tlp)
        else:
            for callback in self.on_message:
                callback(tlp)

    # Reads of the device

    def inject(self, action, when=lambda read: True, *, count=1, delay=0.0):
        """Let the next `count` reads for which `when(read)` is true go wrong; see `Fault`. Returns the fault."""
        fault = Fault(action, when, count, delay)
        self.reads.inject(fault)
        return fault

    def send_completion(self, cycle, tlp):
        """Send a completion that nobody asked for."""
        self._answer(cycle, None, lambda: tlp, False)

    def _serve(self, arrival, start, tlp):
        lost = self.reads.serve(arrival, start, tlp.tag, since_write=start - self._last_write,
                                boundary=64 if self.rcb64 else self.rules.mps)
        if lost:
            self._forget(arrival, lost)

    def _answer(self, ready, read, make, last):
        heapq.heappush(self._completions, (ready, next(self._sequence), read, make, last))

    def _forget(self, cycle, read):
        del self.reads.outstanding[read.tag]
        self.statistics.flight(cycle, -1)

    # Requests of the host

    def post(self, cycle, tlp):
        """Send a posted request, behind everything that was given before."""
        self.requests.append((cycle, tlp))

    def request(self, cycle, make, done):
        """Send the non-posted request `make(tag)` as soon as one of 32 tags is free; `done(completions)` is called."""
        self.requester.request(cycle, make, done)

    # Downstream: what the device receives

    def take_cq(self):
        """Next request for the pins, or None."""
        return self._cq_out.popleft() if self._cq_out else None

    def take_rc(self):
        """Next completion for the pins, or None."""
        if not self._rc_out:
            return None
        tlp = self._rc_out.popleft()
        self._rc_out_bytes -= tlp.link_bytes
        return tlp

    def sent(self, cycle, tlp):
        """The last beat of a TLP was transferred to the device."""
        self._down_meter.pass_(cycle, tlp.link_bytes)

    def _send_downstream(self, now):
        """Give the link to what is ready first, as far as buffers have room."""
        while True:
            request = self.requests[0] if self.requests else None
            answer = self._completions[0] if self._completions else None
            if request and len(self._cq_out) >= ROOM_CQ:
                self._cq_blocked, request = now + 1, None
            if answer and self._rc_out_bytes >= ROOM_BYTES:
                self._rc_blocked, answer = now + 1, None
            if request and (not answer or request[0] <= answer[0]):
                earliest = max(request[0], self._cq_blocked)
            elif answer:
                request, earliest = None, max(answer[0], self._rc_blocked)
            else:
                return
            if max(earliest, self._down.free) > now + 1:    # driven now, transferred at the next edge
                return
            if request:
                self.requests.popleft()
                tlp = request[1]
                self._cq_out.append(tlp)
                self._count_request(tlp)
            else:
                heapq.heappop(self._completions)
                tlp = self._release(now, *answer[2:])
            self._down.begin(earliest, tlp.link_bytes)

    def _release(self, now, read, make, last):
        tlp = make()
        self._rc_out.append(tlp)
        self._rc_out_bytes += tlp.link_bytes
        self.statistics.down["completion", read.label if read else ""].add(tlp)
        if last:
            self._forget(now, read)
        return tlp

    def _count_request(self, tlp):
        what = {Kind.MEMORY_READ: "read", Kind.MEMORY_WRITE: "write", Kind.MESSAGE: "message"}.get(tlp.kind, "config")
        label = self.statistics.label_of(tlp.address) if what in ("read", "write") else ""
        self.statistics.down[what, label].add(tlp)

    # Time

    def advance(self, now):
        """Let everything happen that is due by cycle `now`."""
        arrivals, reads = self._arrivals, self.reads
        while True:
            sample = reads.next_sample
            if arrivals and arrivals[0][0] <= min(now, sample):
                self._arrive(*arrivals.popleft())
            elif sample <= now:
                reads.sample()
            else:
                break
        if self.requests or self._completions:
            self._send_downstream(now)

    def next_time(self):
        """Cycle before which `advance` would change nothing; infinite if nothing is under way."""
        times = [self.reads.next_sample]
        if self._arrivals:
            times.append(self._arrivals[0][0])
        ready = [queue[0][0] for queue in (self.requests, self._completions) if queue]
        if ready:
            times.append(max(min(ready), self._down.free) - 1)
        if self._cq_out or self._rc_out:
            times.append(0)
        return min(times)

    @property
    def idle(self):
        """Nothing is under way: no request of either side, no TLP on the link."""
        return not (self._arrivals or self.reads.outstanding or self._completions or self.requester.outstanding
                    or self.requests or self._cq_out or self._rc_out)

    def forget_lost_tags(self):
        """After a reset of the function, which frees the tags of reads that were never completed."""
        self.reads.lost.clear()

    def reset(self, cycle):
        """A conventional reset: whatever is under way is gone, and the function is as after power-up."""
        for queue in (self._arrivals, self._queued, self._queued_np, self._completions, self.requests, self._cq_out,
                      self._rc_out):
            queue.clear()
        self._rc_out_bytes = 0
        self.statistics.flight(cycle, -len(self.reads.outstanding))
        self.reads.reset()
        self.requester.forget()
        self.rules.reset()
