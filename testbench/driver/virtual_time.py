"""Platform for runs without a simulator: asyncio with a clock that jumps from one timer to the next.

    run(scenario)       # scenario(platform): coroutine function

Runs are repeatable, take no real time, and if everybody waits for somebody else, that is an error and not a hang.
"""

import asyncio

__all__ = ["AsyncioPlatform", "Deadlock", "run"]


class Deadlock(RuntimeError):
    """All tasks wait and no timer is running, or the time allowed is over: a wake-up was lost."""


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    """One second of the loop is a nanosecond of ours, and passes at once when nothing else is to be done."""

    def __init__(self, limit_ns):
        super().__init__()
        self._now = 0.0
        self._limit = limit_ns
        self._select = self._selector.select
        self._selector.select = self._pass_time

    def time(self):
        return self._now

    def _pass_time(self, timeout=None):
        events = self._select(0)
        if timeout is None and not events:
            raise Deadlock(f"at {self._now:.0f} ns every task waits for another")
        self._now += timeout or 0
        if self._now > self._limit:
            self._limit = float("inf")      # what follows is the clearing up
            raise Deadlock(f"not finished at {self._now:.0f} ns")
        return events


class AsyncioPlatform:
    """`Platform` on the running loop of `run`."""

    def now(self):
        return asyncio.get_running_loop().time()

    async def sleep(self, ns):
        await asyncio.sleep(ns)

    def event(self):
        return asyncio.Event()

    async def wait(self, event, timeout_ns=None):
        try:
            await asyncio.wait_for(event.wait(), timeout_ns)
        except TimeoutError:
            return False
        return True

    def spawn(self, coroutine):
        return asyncio.get_running_loop().create_task(coroutine)


def run(scenario, *, limit_ns=5_000_000):
    """Run `scenario(platform)` to its end, in virtual time; returns its result."""
    with asyncio.Runner(loop_factory=lambda: _VirtualTimeLoop(limit_ns)) as runner:
        return runner.run(scenario(AsyncioPlatform()))
