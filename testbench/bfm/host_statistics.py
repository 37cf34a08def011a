"""What passed the link, counted by direction, kind and purpose.

The driver names address ranges (`label`); "ring", "event", "msix" and "doorbell" have a meaning here, others are free.
"""

import bisect
from collections import Counter, defaultdict

__all__ = ["Count", "Statistics"]

OTHER = "other"


class Count:
    """TLPs, their bytes of link capacity, and their payload bytes."""

    __slots__ = ("bytes", "payload", "tlps")

    def __init__(self):
        self.tlps = self.bytes = self.payload = 0

    def add(self, tlp):
        self.tlps += 1
        self.bytes += tlp.link_bytes
        self.payload += len(tlp.payload)

    def __repr__(self):
        return f"{self.tlps} TLPs, {self.bytes} bytes, {self.payload} of payload"


class Statistics:
    """Counters of a window of time, from `restart` to `report`.

    Attributes
    ----------
    up, down : dict of (what, label) → Count
        what: "read", "write", "completion", "message", "config"; label of the address, of a completion that of its read
    read_sizes, write_sizes : dict of label → Counter of lengths in bytes
        requests of the device
    doorbells, messages : int
        host writes labelled "doorbell", device writes labelled "msix"
    in_flight, most_in_flight : int
        reads of the device that are outstanding, and the most there were
    trips : list of (label, ns)
        of every read that the host has begun to serve, in that order and since the beginning, what was drawn for it
    """

    def __init__(self):
        self.trips = []
        self._starts = []
        self._ranges = []       # (address, end, name), ascending
        self.in_flight = 0
        self.restart(0)

    def restart(self, cycle):
        """Forget what was counted, keep the labels."""
        self.up = defaultdict(Count)
        self.down = defaultdict(Count)
        self.read_sizes = defaultdict(Counter)
        self.write_sizes = defaultdict(Counter)
        self.most_in_flight = self.in_flight
        self._began = self._changed = cycle
        self._area = 0.0

    def label(self, address, length, name):
        """Count what goes to [address, +length) as `name`. Ranges may not overlap."""
        i = bisect.bisect_left(self._starts, address)
        before_ends = self._ranges[i - 1][1] if i else 0
        after_starts = self._starts[i] if i < len(self._starts) else 1 << 64
        if before_ends > address or address + length > after_starts:
            raise ValueError(f"[{address:#x}, +{length}) overlaps another label")
        self._starts.insert(i, address)
        self._ranges.insert(i, (address, address + length, name))

    def unlabel(self, address):
        i = self._starts.index(address)
        del self._starts[i], self._ranges[i]

    def label_of(self, address):
        i = bisect.bisect_right(self._starts, address) - 1
        return self._ranges[i][2] if i >= 0 and address < self._ranges[i][1] else OTHER

    def flight(self, cycle, change):
        """`change` more reads outstanding from `cycle` on."""
        self._area += self.in_flight * (cycle - self._changed)
        self._changed = cycle
        self.in_flight += change
        if self.in_flight > self.most_in_flight:
            self.most_in_flight = self.in_flight

    def mean_in_flight(self, cycle):
        span = cycle - self._began
        return (self._area + self.in_flight * (cycle - self._changed)) / span if span > 0 else 0.0

    @property
    def doorbells(self):
        return self.down["write", "doorbell"].tlps

    @property
    def messages(self):
        return self.up["write", "msix"].tlps

    def descriptors_per_fetch(self):
        """Mean over the reads of rings, of 16-byte descriptors asked for."""
        sizes = self.read_sizes["ring"]
        return sum(length * n for length, n in sizes.items()) / 16 / max(1, sizes.total())

    def used_per_write(self):
        """Mean over the writes to rings; the first used descriptor of a run is written from its length field on."""
        sizes = self.write_sizes["ring"]
        return sum((length + 8) // 16 * n for length, n in sizes.items()) / max(1, sizes.total())

    def report(self, cycle):
        """All of it as plain numbers, for printing and for JSON."""
        def table(counts):
            return {f"{what} {label}": {"tlps": count.tlps, "bytes": count.bytes, "payload": count.payload}
                    for (what, label), count in sorted(counts.items()) if count.tlps}
        return {
            "cycles": cycle - self._began,
            "up": table(self.up),
            "down": table(self.down),
            "up_bytes": sum(count.bytes for count in self.up.values()),
            "down_bytes": sum(count.bytes for count in self.down.values()),
            "read_sizes": {label: dict(sorted(sizes.items())) for label, sizes in self.read_sizes.items() if sizes},
            "write_sizes": {label: dict(sorted(sizes.items())) for label, sizes in self.write_sizes.items() if sizes},
            "doorbells": self.doorbells,
            "messages": self.messages,
            "descriptors_per_fetch": self.descriptors_per_fetch(),
            "used_per_write": self.used_per_write(),
            "in_flight": {"mean": self.mean_in_flight(cycle), "max": self.most_in_flight},
        }
