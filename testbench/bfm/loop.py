"""One wake-up per clock edge for every stream of a bench, and none while nothing goes on.

A task per stream costs several times as much as one task that calls them all. At each rising edge the loop calls what
was added, phase by phase; what is read there are the values that the edge sampled, what is written is seen at the next
edge.
"""

import math

import cocotb
from cocotb.triggers import Event, First, RisingEdge, Timer
from cocotb.utils import get_sim_time

__all__ = ["DRIVE", "SAMPLE", "THINK", "CycleLoop"]

SAMPLE, THINK, DRIVE = range(3)
WORTH_SLEEPING = 16     # cycles; a sleep costs about as much as ten wake-ups
LOOK_EVERY = 8          # cycles between looks whether there is anything to do


class CycleLoop:
    """
    Parameters
    ----------
    clock : handle
    period_ns : float
        of the clock; it must not stop or change

    Attributes
    ----------
    cycle : int
        number of the last rising edge, asleep or not
    held : bool
        while True nothing is called: the bench is in reset; False counts from the next edge on
    """

    def __init__(self, clock, period_ns=4.0):
        self.clock = clock
        self.period_ns = period_ns
        self._held = False
        self._free_from = 0
        self._ticks = ([], [], [])
        self._quiet = []
        self._wakers = []
        self._wake = Event()
        self._task = None
        self._cycle = 0
        self._asleep = False
        self._began = self._period = None

    @property
    def cycle(self):
        return self._elapsed() if self._asleep else self._cycle

    @property
    def held(self):
        return self._held

    @held.setter
    def held(self, held):
        if self._held and not held and self._period:
            self._free_from = self._elapsed() + 1
        self._held = held

    def _elapsed(self):
        """Number of the last rising edge, by the clock on the wall."""
        cycles, rest = divmod(get_sim_time("step") - self._began, self._period)
        return cycles if rest or self.clock.value else cycles - 1   # at the time of an edge it may still be to come

    def add(self, phase, tick, *, quiet=None, waker=None):
        """Call `tick(cycle)` in `phase` of every cycle.

        The loop may sleep until the earliest of what `quiet()` answers: a cycle before which there is nothing to do
        without being woken, infinite if ever. A rise of the signal `waker` wakes it, and so does `wake`.
        """
        self._ticks[phase].append(tick)
        if quiet is not None:
            self._quiet.append(quiet)
        if waker is not None:
            self._wakers.append(waker)

    def wake(self):
        """There is something to do: go on at the next edge."""
        self._wake.set()

    def start(self):
        self._task = cocotb.start_soon(self._run())

    async def _run(self):
        edge = RisingEdge(self.clock)
        await edge
        self._began = get_sim_time("step")
        self._period = Timer(self.period_ns, "ns")._sim_steps
        ticks = [tick for phase in self._ticks for tick in phase]
        while True:
            if not self._held and self._cycle >= self._free_from:
                if len(ticks) != sum(map(len, self._ticks)):
                    ticks = [tick for phase in self._ticks for tick in phase]
                for tick in ticks:
                    tick(self._cycle)
                if self._cycle % LOOK_EVERY == 0:
                    until = min((quiet() for quiet in self._quiet), default=0)
                    if until > self._cycle + WORTH_SLEEPING and not self._wake.is_set():
                        await self._sleep(until)
                    self._wake.clear()
            await edge
            self._cycle += 1

    async def _sleep(self, until):
        triggers = [RisingEdge(signal) for signal in self._wakers]
        triggers.append(self._wake.wait())
        if until != math.inf:
            triggers.append(Timer((math.ceil(until) - self._cycle - 0.5) * self.period_ns, "ns", round_mode="round"))
        self._asleep = True
        await First(*triggers)
        self._asleep = False
        self._cycle = self._elapsed()
