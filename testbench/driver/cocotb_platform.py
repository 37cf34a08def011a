"""Platform for runs under cocotb: the simulator's time."""

import cocotb
from cocotb.triggers import Event, SimTimeoutError, Timer, with_timeout
from cocotb.utils import get_sim_time

__all__ = ["CocotbPlatform"]


def _picoseconds(ns):
    return max(1, round(ns * 1000))


class CocotbPlatform:
    """`Platform` of the running simulation."""

    def now(self):
        return get_sim_time("ns")

    async def sleep(self, ns):
        await Timer(_picoseconds(ns), "ps")

    def event(self):
        return Event()

    async def wait(self, event, timeout_ns=None):
        if timeout_ns is None:
            await event.wait()
            return True
        try:
            await with_timeout(event.wait(), _picoseconds(timeout_ns), "ps")
        except SimTimeoutError:
            return False
        return True

    def spawn(self, coroutine):
        return cocotb.start_soon(coroutine)
