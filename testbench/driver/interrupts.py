"""Interrupts as the driver's host receives them: MSI-X messages written to memory, and the level of INTA."""

from testbench.driver.area import Area

__all__ = ["MessageInterrupts", "PinInterrupt"]


class MessageInterrupts:
    """A place in memory where each MSI-X vector writes its number.

    Attributes
    ----------
    address : of the 4 bytes that messages are written to
    counts : vector → messages received
    """

    def __init__(self, host):
        self._memory = host.memory
        self._area = Area(host, 4, "msix", align=4, access="w", low=True)
        self.address = self._area.address
        self._watch = self._memory.watch(self.address, 4, self._receive)
        self._handlers = {}
        self.counts = {}

    def connect(self, vector, handler):
        """Call `handler()` on each message of `vector`. Several may share a vector."""
        self._handlers.setdefault(vector, []).append(handler)

    def _receive(self, address, data):
        vector = int.from_bytes(data, "little")
        self.counts[vector] = self.counts.get(vector, 0) + 1
        for handler in self._handlers.get(vector, ()):
            handler()

    def close(self):
        """The device may send no more messages."""
        self._memory.unwatch(self._watch)
        self._area.close()


class PinInterrupt:
    """INTA: while it is asserted, a task reads ISR status, which de-asserts it, and calls those whom it concerns.

    Parameters
    ----------
    read_isr : coroutine function
    handlers : ISR bit → handler
    """

    def __init__(self, host, platform, read_isr, handlers):
        self._host = host
        self._read_isr = read_isr
        self._handlers = handlers
        self._asserted = False
        self._wake = platform.event()
        self.count = 0
        host.on_intx.append(self._level)
        self._task = platform.spawn(self._serve())

    def _level(self, asserted):
        self._asserted = asserted
        if asserted:
            self._wake.set()

    async def _serve(self):
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._asserted:
                self.count += 1
                isr = await self._read_isr()
                for bit, handler in self._handlers.items():
                    if isr & bit:
                        handler()

    def close(self):
        self._task.cancel()
        self._host.on_intx.remove(self._level)
