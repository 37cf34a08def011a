"""A host without a bus: accesses of the driver are calls of the functional card."""

from types import SimpleNamespace

__all__ = ["DirectHost", "Labels"]


class Labels:
    """The names of address ranges, and nothing counted. `ranges`: address → (length, name)."""

    def __init__(self):
        self.ranges = {}

    def label(self, address, length, name):
        self.ranges[address] = (length, name)

    def unlabel(self, address):
        del self.ranges[address]


class DirectHost:
    """`Host` in front of a `FunctionalNic`.

    Parameters
    ----------
    nic : FunctionalNic
    platform : Platform
    latency_ns : what an access takes; 0 does not even yield
    """

    def __init__(self, nic, platform, *, latency_ns=0):
        self.nic = nic
        self.memory = nic.memory
        self._platform = platform
        self._latency_ns = latency_ns
        self.statistics = Labels()
        self.rules = SimpleNamespace(mps=128, mrrs=512, extended_tags=False, bus_master=False)
        self.on_intx = []
        nic.interrupts.on_intx = self._intx

    async def config_read(self, offset, size):
        await self._pass()
        return self.nic.config_read(offset, size)

    async def config_write(self, offset, value, size):
        await self._pass()
        self.nic.config_write(offset, value, size)

    async def mmio_read(self, address, size):
        await self._pass()
        return self.nic.mmio_read(address, size)

    async def mmio_write(self, address, value, size):
        await self._pass()
        self.nic.mmio_write(address, value, size)

    def _intx(self, level):
        for callback in list(self.on_intx):
            callback(level)

    async def _pass(self):
        if self._latency_ns:
            await self._platform.sleep(self._latency_ns)

    async def work(self, rng, mean_ns):
        """Body of a task for a deferred card: steps at random times, `mean_ns` apart on average."""
        while True:
            await self._platform.sleep(rng.expovariate(1 / mean_ns))
            self.nic.step()
