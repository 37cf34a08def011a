"""The C++ library as Python sees it: what it is given, what it answers, and what it tells."""

import ctypes
import random
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_int,
    c_int32,
    c_int64,
    c_uint32,
    c_uint64,
    c_void_p,
)
from enum import IntEnum

__all__ = ["Event", "Fault", "Hear", "RangeEntry", "RulesEntry", "SettingsEntry", "load"]

_STATE = 625                    # words of a random generator's state

# Answers whether tasks want to run.
Hear = CFUNCTYPE(c_int, c_int, c_int64, c_double, c_void_p, c_int)


class Event(IntEnum):
    FRAME, ARRIVED, WRITTEN, FAILED, RUN = range(5)


class Fault(IntEnum):
    STREAM, PROTOCOL, BUDGET, READ_OWNERSHIP, WRITE_OWNERSHIP = range(5)


class _Profile(Structure):
    _fields_ = [("logs", c_double * 6), ("per_byte", c_double), ("after_write", c_double * 2), ("instant", c_int32),
                ("unused", c_int32)]


class _Arena(Structure):
    _fields_ = [("base", c_uint64), ("end", c_uint64), ("bytes", c_void_p), ("readable", c_void_p),
                ("writable", c_void_p), ("watched", c_void_p)]


class SettingsEntry(Structure):
    _fields_ = [("cycle_ns", c_double), ("spec", c_double), ("hard", c_double), ("slack", c_double),
                ("profile", _Profile), ("latencies", c_uint32 * _STATE), ("moments", c_uint32 * _STATE),
                ("high", _Arena), ("low", _Arena), ("half_period", c_int64), ("rcb64", c_int32), ("unused", c_int32)]

    def draw(self, latency, seed):
        """Latencies as `latency` draws them, and moments of sampling as `ReadServer` does with `seed`."""
        profile = latency.profile
        self.profile.instant = latency._logs is None
        self.profile.logs[:] = latency._logs or [0.0] * 6
        self.profile.per_byte = profile.per_byte
        self.profile.after_write[:] = profile.after_write
        self.latencies[:] = latency._random.getstate()[1]
        self.moments[:] = random.Random(seed).getstate()[1]

    def see(self, memory):
        """The bytes of a `WatchedMemory`."""
        for entry, arena, watched in zip((self.high, self.low), memory.arenas, memory.watched):
            entry.base, entry.end = arena.base, arena.end
            entry.bytes, entry.readable, entry.writable, entry.watched = (
                ctypes.addressof(ctypes.c_char.from_buffer(part))
                for part in (arena.bytes, arena.readable, arena.writable, watched))


class RulesEntry(Structure):
    _fields_ = [(name, c_int32) for name in ("mps", "mrrs", "extended_tags", "bus_master", "requester")]


class RangeEntry(Structure):
    _fields_ = [("address", c_uint64), ("end", c_uint64), ("label", c_int64)]


_FUNCTIONS = {
    "card_open": (c_char_p, c_char_p, POINTER(SettingsEntry), Hear), "card_seed": (None, POINTER(SettingsEntry)),
    "card_start": (None,), "card_stop": (None,), "card_hold": (None, c_int),
    "card_post": (None, c_double, c_char_p, c_char_p, c_int),
    "card_send": (None, c_char_p, c_int, c_int), "card_rate": (None, c_double), "card_hold_reads": (None, c_int),
    "card_rules": (None, POINTER(RulesEntry)), "card_pause": (None, c_int, c_int, c_int),
    "card_labels": (None, POINTER(RangeEntry), c_int, c_uint32), "card_counters": (c_void_p,),
    "card_taps": (c_char_p, c_char_p, POINTER(c_char_p), c_int), "card_tap_count": (c_int64,),
    "card_tap_events": (c_void_p,), "card_restart": (None, c_int64), "card_clear_host": (None,),
    "card_trip_count": (c_int64,), "card_trips": (c_void_p,),
    "card_clear_mac": (None,), "card_cycle": (c_int64,), "card_outstanding": (c_int,), "card_waiting": (c_int,),
    "card_frames_sent": (c_int64,), "card_idle": (c_int,),
}


def load(path):
    """The library; it finds VPI in the simulator, in which this must run."""
    library = ctypes.PyDLL(str(path))       # its functions are short and may call back: the interpreter stays locked
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
