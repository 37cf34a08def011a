"""What the driver stands on: a host with memory and a bus, and a clock to wait by.

The driver is plain `async`/`await`; these few things come from outside, so that the same driver runs in a simulation
(`cocotb_platform`) and against the functional card (`virtual_time`, `direct`).
"""

from typing import Protocol

__all__ = ["DeviceError", "DriverError", "Event", "Host", "Memory", "NegotiationError", "Platform"]


class DriverError(Exception):
    """The driver can't do what it was asked to do."""


class NegotiationError(DriverError):
    """Driver and device don't agree on features."""


class DeviceError(DriverError):
    """The device did what no device may do."""


class Memory(Protocol):
    """`model.memory.HostMemory`, as far as the driver needs it."""

    def allocate(self, length, align=64, *, low=False): ...
    def free(self, address): ...
    def read(self, address, length): ...
    def write(self, address, data): ...
    def view(self, address, length): ...
    def give(self, address, length, access): ...
    def take(self, grant): ...
    def watch(self, address, length, callback): ...
    def unwatch(self, handle): ...


class Host(Protocol):
    """A root complex with one function behind it. Sizes are 1, 2 or 4 bytes, values are numbers, addresses are
    those of the bus.

    memory : Memory
    on_intx : list of callables, called with the level of INTA when that changes
    rules : what the function is configured for: `mps`, `mrrs`, `extended_tags`, `bus_master`; the driver sets them
    statistics : has `label(address, length, name)` and `unlabel(address)` for ranges of addresses
    """

    memory: Memory
    on_intx: list
    rules: object
    statistics: object

    async def config_read(self, offset, size): ...
    async def config_write(self, offset, value, size): ...
    async def mmio_read(self, address, size): ...
    async def mmio_write(self, address, value, size): ...


class Event(Protocol):
    """As in asyncio and cocotb alike."""

    def set(self): ...
    def clear(self): ...
    def is_set(self): ...
    async def wait(self): ...


class Platform(Protocol):
    """Time, in nanoseconds."""

    def now(self): ...
    async def sleep(self, ns): ...
    def event(self): ...

    async def wait(self, event, timeout_ns=None):
        """Until `event` is set; False if that took longer than `timeout_ns`."""

    def spawn(self, coroutine):
        """Run beside the caller; what is returned has `cancel()`."""
