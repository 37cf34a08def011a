"""Sources, monitors and sinks of valid/ready streams at ports, on cocotb-bus, driven by one `CycleLoop`.

A monitor watches; a sink is a monitor that drives `ready` as well; a source drives all but `ready`. Every monitor
checks that `valid` doesn't drop, and that nothing changes, before a transfer. Wide signals are read only on a transfer.
"""

import math
import random
from collections import deque

from cocotb.triggers import Event
from cocotb_bus.drivers import BusDriver
from cocotb_bus.monitors import BusMonitor

from testbench.bfm.loop import DRIVE, SAMPLE

__all__ = ["StreamError", "StreamMonitor", "StreamSink", "StreamSource", "fill_unused"]


class StreamError(AssertionError):
    """A stream broke its protocol."""


def reader(handle):
    """Reads a signal as a string of bits: a seventh of what `handle.value` costs, and it is done every cycle."""
    return handle._handle.get_signal_val_binstr


def fill_unused(data, used_bits, width):
    """`data` with a pattern in the bits that nothing may depend on."""
    return data | (_PATTERN >> used_bits << used_bits) & ((1 << width) - 1)


_PATTERN = int("a5" * 64, 16)


class StreamMonitor(BusMonitor):
    """Collects transactions; see cocotb-bus for `callback`, `wait_for_recv` and the rest.

    Subclasses name the signals: `_signals`, of which `_valid` and `_ready` are the handshake and `_payload` the rest,
    in the order in which `_beat` takes them.

    Parameters
    ----------
    entity, name, clock
        as in cocotb-bus
    loop : CycleLoop
    """

    _valid, _ready = "valid", "ready"

    def __init__(self, entity, name, clock, loop, **options):
        self.loop = loop
        super().__init__(entity, name, clock, case_insensitive=False, **options)
        self._read_valid = reader(getattr(self.bus, self._valid))
        self._read_ready = reader(getattr(self.bus, self._ready))
        self._readers = [(name, reader(getattr(self.bus, name))) for name in self._payload]
        self._offered = None        # the beat that waits for ready
        self._was_valid = False
        loop.add(SAMPLE, self._tick, quiet=self._quiet, waker=getattr(self.bus, self._valid))

    async def _monitor_recv(self):
        """The cycle loop calls `_tick`; there is nothing to wait for in a task of its own."""

    def _beat(self, cycle, *values):
        """Take the values of a transferred beat."""
        raise NotImplementedError

    def _gap(self, cycle):
        """Called in cycles without `valid`."""

    def _is_ready(self):
        return self._read_ready() == "1"

    def _quiet(self):
        return 0 if self._was_valid else math.inf

    def _tick(self, cycle):
        if self._read_valid() != "1":
            if self._was_valid:
                self._was_valid = False
                self._demand(self._offered is None, cycle, "valid dropped before a transfer")
                self._demand(self._read_valid() == "0", cycle, "valid is neither 0 nor 1")
            self._gap(cycle)
            return
        self._was_valid = True
        ready = self._is_ready()
        if not ready and self._offered is not None:
            return
        beat = self._sample(cycle)
        if self._offered is not None:
            self._demand(beat == self._offered, cycle, "payload changed before a transfer")
        self._offered = None if ready else beat
        if ready:
            self._beat(cycle, *beat)

    def _sample(self, cycle):
        try:
            return [int(read(), 2) for _, read in self._readers]
        except ValueError:
            unknown = {name: read() for name, read in self._readers if set(read()) - {"0", "1"}}
            raise StreamError(f"{self.name} at cycle {cycle}: unknown bits in {unknown}") from None

    def _demand(self, condition, cycle, what):
        if not condition:
            raise StreamError(f"{self.name} at cycle {cycle}: {what}")

    def clear(self):
        """Forget a transaction in the making, as in reset."""
        self._offered = None
        self._was_valid = False


class StreamSink(StreamMonitor):
    """A monitor that drives `ready`.

    Attributes
    ----------
    open : bool
        whether the model behind the sink takes anything
    paused : bool
        for tests: 0 on `ready` from the next edge on, as long as this is True
    """

    def __init__(self, entity, name, clock, loop, **options):
        super().__init__(entity, name, clock, loop, **options)
        self.open = True
        self._paused = False
        self._stall = None
        self._driven = 0
        self._ready_handle = getattr(self.bus, self._ready)
        self._ready_handle.value = 0
        loop.add(DRIVE, self._drive)

    @property
    def paused(self):
        return self._paused

    @paused.setter
    def paused(self, value):
        self._paused = value
        self.loop.wake()

    def stall(self, pattern, seed=1):
        """Back-pressure: `pattern` is the share of cycles in which `ready` is 0, or an iterator of bools that says of
        each cycle whether it is; None ends it."""
        if isinstance(pattern, (int, float)):
            rng = random.Random(seed)
            self._stall = iter(lambda: rng.random() < pattern, None) if pattern else None
        else:
            self._stall = None if pattern is None else iter(pattern)
        self.loop.wake()

    def _is_ready(self):
        return self._driven

    def _quiet(self):
        return 0 if self._was_valid or self._stall is not None else math.inf

    def _drive(self, cycle):
        stalled = self._stall is not None and next(self._stall, False)
        ready = int(self.open and not self._paused and not stalled)
        if ready != self._driven:
            self._driven = ready
            self._ready_handle.value = ready

    def clear(self):
        super().clear()
        self._driven = 0
        self._ready_handle.value = 0


class StreamSource(BusDriver):
    """Drives transactions: those that were appended, then those that `supply(cycle)` gives (None: nothing now).

    Attributes
    ----------
    supply : callable or None
    on_sent : callable (cycle, transaction) or None
        called when the last beat has been transferred
    """

    _valid, _ready = "valid", "ready"

    def __init__(self, entity, name, clock, loop, *, supply=None, on_sent=None, **options):
        self.loop = loop
        self.supply = supply
        self.on_sent = on_sent
        super().__init__(entity, name, clock, case_insensitive=False, **options)
        self._read_ready = reader(getattr(self.bus, self._ready))
        self._valid_handle = getattr(self.bus, self._valid)
        self._handles = [getattr(self.bus, name) for name in self._payload]
        self._pins = [None] * len(self._handles)
        self._queue = deque()       # (transaction, callback, event)
        self._beats = deque()
        self._current = None
        self._driving = 0
        self._stall = 0.0
        self._random = None
        self._valid_handle.value = 0
        for handle in self._handles:
            handle.value = 0
        loop.add(DRIVE, self._tick, quiet=self._quiet)

    def append(self, transaction, callback=None, event=None):
        """Queue a transaction; `callback(transaction)` and `event` tell that it has been transferred."""
        self._queue.append((transaction, callback, event))
        self.loop.wake()

    async def _driver_send(self, transaction, sync=True):
        event = Event()
        self.append(transaction, event=event)
        await event.wait()

    def stall(self, share, seed=1):
        """Leave `valid` low before this share of the beats, again and again."""
        self._stall = share
        self._random = random.Random(seed)

    @property
    def idle(self):
        return not (self._driving or self._beats or self._queue)

    def clear(self):
        """Forget everything that has not been sent, and drive nothing, as in reset."""
        self._queue.clear()
        self._beats.clear()
        self._driving = 0
        self._valid_handle.value = 0

    def _make_beats(self, transaction):
        """Tuples of the values of `_payload`; None leaves a signal as it is."""
        raise NotImplementedError

    def _quiet(self):
        return math.inf if self.idle else 0

    def _refused(self, cycle):
        """Called when `ready` is 0 while a beat is offered."""

    def _tick(self, cycle):
        if self._driving:
            if self._read_ready() != "1":
                self._refused(cycle)
                return
            if not self._beats:
                self._finish(cycle)
        if not self._beats:
            self._take(cycle)
        if not self._beats or self._stall and self._random.random() < self._stall:
            if self._driving:
                self._driving = self._valid_handle.value = 0
            return
        pins = self._pins
        for i, value in enumerate(self._beats.popleft()):
            if value is not None and value != pins[i]:
                pins[i] = self._handles[i].value = value
        if not self._driving:
            self._driving = self._valid_handle.value = 1

    def _take(self, cycle):
        if self._queue:
            self._current = self._queue.popleft()
        else:
            transaction = self.supply(cycle) if self.supply else None
            if transaction is None:
                return
            self._current = (transaction, None, None)
        self._beats.extend(self._make_beats(self._current[0]))

    def _finish(self, cycle):
        transaction, callback, event = self._current
        if self.on_sent:
            self.on_sent(cycle, transaction)
        if callback:
            callback(transaction)
        if event:
            event.set()
