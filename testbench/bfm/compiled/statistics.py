"""The counters of the compiled host as `Statistics`."""

import ctypes
from collections import Counter, defaultdict

import numpy as np

from testbench.bfm.compiled.library import RangeEntry
from testbench.bfm.host_rules import STRICT
from testbench.bfm.host_statistics import OTHER, Count, Statistics

__all__ = ["CompiledStatistics"]

LABELS, SIZES = 16, 4097
UP = ("read", "write", "message", "completion")
DOWN = ("read", "write", "message", "config", "completion")
_COUNTERS = np.dtype([
    ("in_flight", "i8"), ("most_in_flight", "i8"), ("area", "i8"), ("changed", "i8"),
    ("up", "i8", (len(UP), LABELS, 3)), ("down", "i8", (len(DOWN), LABELS, 3)),
    ("read_sizes", "i8", (LABELS, SIZES)), ("write_sizes", "i8", (LABELS, SIZES))])
_TRIP = np.dtype([("label", "i8"), ("ns", "f8")])


class CompiledStatistics(Statistics):
    """`library` has a card open."""

    def __init__(self, library):
        self._library = library
        self._starts, self._ranges = [], []
        self._names = [OTHER, ""]
        memory = (ctypes.c_char * _COUNTERS.itemsize).from_address(library.card_counters())
        self._counters = np.frombuffer(memory, _COUNTERS)[0]
        self._began = 0

    def restart(self, cycle):
        self._library.card_restart(cycle)
        self._began = cycle

    def label(self, address, length, name):
        super().label(address, length, name)
        if name not in self._names:
            if len(self._names) == LABELS:
                raise ValueError(f"no more than {LABELS} different labels can be counted: {name!r}")
            self._names.append(name)
        self._tell()

    def unlabel(self, address):
        super().unlabel(address)
        self._tell()

    def _tell(self):
        entries = [(start, end, self._names.index(name)) for start, end, name in self._ranges]
        strict = sum(1 << number for number, name in enumerate(self._names) if name in STRICT)
        self._library.card_labels((RangeEntry * len(entries))(*entries), len(entries), strict)

    # What `Statistics` counts itself

    in_flight = property(lambda self: int(self._counters["in_flight"]))
    most_in_flight = property(lambda self: int(self._counters["most_in_flight"]))
    _area = property(lambda self: int(self._counters["area"]))
    _changed = property(lambda self: int(self._counters["changed"]))
    up = property(lambda self: self._counts(UP, "up"))
    down = property(lambda self: self._counts(DOWN, "down"))
    read_sizes = property(lambda self: self._sizes("read_sizes"))
    write_sizes = property(lambda self: self._sizes("write_sizes"))

    @property
    def trips(self):
        count = self._library.card_trip_count()
        content = ctypes.string_at(self._library.card_trips(), count * _TRIP.itemsize) if count else b""
        return [(self._names[label], ns) for label, ns in np.frombuffer(content, _TRIP).tolist()]

    def _counts(self, kinds, direction):
        found = defaultdict(Count)
        for what, row in zip(kinds, self._counters[direction]):
            for name, (tlps, size, payload) in zip(self._names, row.tolist()):
                if tlps:
                    count = found[what, name]
                    count.tlps, count.bytes, count.payload = tlps, size, payload
        return found

    def _sizes(self, which):
        found = defaultdict(Counter)
        for name, sizes in zip(self._names, self._counters[which]):
            for length in np.flatnonzero(sizes).tolist():
                found[name][length] = int(sizes[length])
        return found
