"""Reads of the device under way at the host: sampled line by line, answered by completions, or by what goes wrong."""

import heapq
import itertools
import math
import random
from dataclasses import dataclass, field

from testbench.bfm.host_rules import ProtocolError
from testbench.bfm.tlp import Status, completion

__all__ = ["FAULTS", "Fault", "Read", "ReadServer", "moments_seed"]

COMPLETER = 0x0000  # the root complex

LINE = 64
JUNK = 0xa5         # bytes that were not asked for: nothing may depend on them

FAULTS = ("ur", "ca", "poison", "drop", "late", "duplicate")


@dataclass
class Fault:
    """What happens to the next `count` reads for which `when(read)` is true.

    "ur", "ca": a completion with that status and without data; "poison": data marked poisoned; "drop": no completion
    ever; "late": completions after `delay` more cycles; "duplicate": the last completion comes once more.
    """
    action: str
    when: object = field(default=lambda read: True)
    count: int = 1
    delay: float = 0.0

    def __post_init__(self):
        if self.action not in FAULTS:
            raise ValueError(f"unknown fault {self.action!r}; there are: {', '.join(FAULTS)}")


class Read:
    """One read request of the device.

    `address` and `length` are those of the whole DWs, `first` and `end` the offsets of the bytes asked for; `accepted`
    is the cycle of the request's last beat. `data` fills as lines are sampled.
    """

    __slots__ = ("accepted", "address", "data", "end", "fault", "first", "label", "length", "request", "tag")

    def __init__(self, request, accepted, label):
        self.request = request
        self.accepted = accepted
        self.label = label
        self.tag = request.tag
        self.address = request.address
        self.length = request.length
        self.first, self.end = request.enabled()
        self.data = bytearray([JUNK]) * self.length
        self.fault = None

    def lines(self, start, end):
        """(start, end) offsets of the asked-for bytes within [start, end), cut at 64-byte lines of memory."""
        at, end = max(start, self.first), min(end, self.end)
        while at < end:
            stop = min(end, at + LINE - (self.address + at) % LINE)
            yield at, stop
            at = stop

    def cuts(self, boundary):
        """(start, end) offsets of the completions, cut where the address is a multiple of `boundary`."""
        at = 0
        while at < self.length:
            stop = min(self.length, at + boundary - (self.address + at) % boundary)
            yield at, stop
            at = stop

    def complete(self, start, end):
        """The completion with the bytes at offsets [start, end)."""
        at = start or self.first
        return completion(self.request.requester, self.tag, COMPLETER, byte_count=max(1, self.end - at),
                          lower_address=self.address + at & 0x7f, payload=bytes(self.data[start:end]),
                          poisoned=self.fault == "poison")

    def refuse(self):
        """The completion of a read that is an error ("ur" or "ca")."""
        status = Status.UNSUPPORTED_REQUEST if self.fault == "ur" else Status.COMPLETER_ABORT
        return completion(self.request.requester, self.tag, COMPLETER, status=status,
                          byte_count=max(1, self.end - self.first), lower_address=self.address + self.first & 0x7f)

    def __repr__(self):
        return f"read of [{self.address:#x}, +{self.length}) tag {self.tag} accepted at {self.accepted}"


def moments_seed(seed):
    """Seed of the moments at which lines are sampled, for a host with `seed`: latencies are drawn from that itself."""
    return seed ^ 0x5eed


class ReadServer:
    """Serves the device's reads: draws when each is answered, and samples memory in between.

    Parameters
    ----------
    memory : model.memory.HostMemory
    latency : model.latency.Latency
    answer : callable (ready, read, make, last)
        takes the completion `make()`, to be sent from cycle `ready` on; `last` is the one that ends `read`
    cycle_ns, seed
        length of a cycle; seed of the moments of sampling
    trips : list
        of (label, ns), to which what is drawn for each read is added
    """

    def __init__(self, memory, latency, answer, *, cycle_ns, seed, trips):
        self.memory = memory
        self.latency = latency
        self.answer = answer
        self.cycle_ns = cycle_ns
        self.trips = trips
        self.outstanding = {}       # tag → Read
        self.lost = set()           # tags of reads that are never completed
        self.samples = []           # heap of (moment, sequence, Read, start, end)
        self._faults = []
        self.seed(seed)
        self._sequence = itertools.count()

    def seed(self, seed):
        """Draw moments from here on as from the beginning with that seed."""
        self._random = random.Random(seed)

    def reset(self):
        self.outstanding.clear()
        self.lost.clear()
        self.samples.clear()

    def inject(self, fault):
        self._faults.append(fault)

    def accept(self, cycle, tlp, label):
        if tlp.tag in self.lost:
            raise ProtocolError(f"tag of a read that was never completed is used again: {tlp}")
        self.outstanding[tlp.tag] = Read(tlp, cycle, label)

    def serve(self, arrival, start, tag, *, since_write, boundary):
        """The request that the link began to carry at cycle `start` is at the host. `since_write`: cycles since the
        last write arrived; completions are cut at multiples of `boundary`. Returns the Read if it is never answered."""
        read = self.outstanding[tag]
        delay = self._go_wrong(read)
        if read.fault == "drop":
            self.lost.add(tag)
            return read
        drawn = self.latency.round_trip(since_write=since_write * self.cycle_ns)
        self.trips.append((read.label, drawn))
        trip = drawn / self.cycle_ns
        ready = max(start + trip + delay, arrival + 1)
        if read.fault in ("ur", "ca"):
            self.answer(ready, read, read.refuse, True)
            return None
        per_byte = self.latency.profile.per_byte / self.cycle_ns
        for at, end in read.cuts(boundary):
            when = ready + max(0, end - LINE) * per_byte
            self._sample_between(read, at, end, arrival, when - 1)
            self.answer(when, read, lambda at=at, end=end: read.complete(at, end), end == read.length)
        if read.fault == "duplicate":
            self.answer(when, None, lambda: read.complete(at, end), False)
        return None

    def _go_wrong(self, read):
        """Note in `read` what is to go wrong with it; returns how many cycles later it is answered."""
        for fault in self._faults:
            if fault.when(read):
                fault.count -= 1
                if not fault.count:
                    self._faults.remove(fault)
                read.fault = fault.action
                return fault.delay
        return 0.0

    def _sample_between(self, read, at, end, earliest, latest):
        for line, line_end in read.lines(at, end):
            moment = earliest + self._random.random() * (latest - earliest)
            heapq.heappush(self.samples, (moment, next(self._sequence), read, line, line_end))

    @property
    def next_sample(self):
        return self.samples[0][0] if self.samples else math.inf

    def sample(self):
        """Take the next sample."""
        _, _, read, start, end = heapq.heappop(self.samples)
        read.data[start:end] = self.memory.device_read(read.address + start, end - start)
