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
        number of the last rising edge
    held : bool
        while True nothing is called: the bench is in reset
    """

    def __init__(self, clock, period_ns=4.0):
        self.clock = clock
        self.period_ns = period_ns
        self.cycle = 0
        self.held = False
        self._ticks = ([], [], [])
        self._quiet = []
        self._wakers = []
        self._wake = Event()
        self._task = None

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
        began = get_sim_time("step")
        period = Timer(self.period_ns, "ns")._sim_steps
        ticks = [tick for phase in self._ticks for tick in phase]
        while True:
            if not self.held:
                if len(ticks) != sum(map(len, self._ticks)):
                    ticks = [tick for phase in self._ticks for tick in phase]
                for tick in ticks:
                    tick(self.cycle)
                if self.cycle % LOOK_EVERY == 0:
                    until = min((quiet() for quiet in self._quiet), default=0)
                    if until > self.cycle + WORTH_SLEEPING and not self._wake.is_set():
                        await self._sleep(until)
                        self.cycle = (get_sim_time("step") - began) // period
                    self._wake.clear()
            await edge
            self.cycle += 1

    async def _sleep(self, until):
        triggers = [RisingEdge(signal) for signal in self._wakers]
        triggers.append(self._wake.wait())
        if until != math.inf:
            triggers.append(Timer((math.ceil(until) - self.cycle - 0.5) * self.period_ns, "ns", round_mode="round"))
        await First(*triggers)
