"""A host without a bus: accesses of the driver are calls of the functional card."""

__all__ = ["DirectHost"]


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
        self.labels = {}

    @property
    def on_intx(self):
        return self.nic.interrupts.on_intx

    @on_intx.setter
    def on_intx(self, callback):
        self.nic.interrupts.on_intx = callback

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

    def label(self, address, length, name):
        self.labels[address] = (length, name)

    async def _pass(self):
        if self._latency_ns:
            await self._platform.sleep(self._latency_ns)

    async def work(self, rng, mean_ns):
        """Body of a task for a deferred card: steps at random times, `mean_ns` apart on average."""
        while True:
            await self._platform.sleep(rng.expovariate(1 / mean_ns))
            self.nic.step()
