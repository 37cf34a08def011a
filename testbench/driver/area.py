"""A piece of host memory with a name and, if the device may touch it, a grant."""

__all__ = ["Area"]


class Area:
    """`length` fresh bytes, zeroed, from creation to `close`.

    Parameters
    ----------
    host : Host
    name : under which the host counts what the device does here
    align : of the address
    access : "r", "w" or "rw" for the device, or None if parts are given separately
    low : below 4 GiB

    Attributes
    ----------
    address : of the first byte
    view : memoryview of the bytes
    """

    def __init__(self, host, length, name, *, align, access=None, low=False):
        self._host = host
        self.address = host.memory.allocate(length, align, low=low)
        self.view = host.memory.view(self.address, length)
        host.statistics.label(self.address, length, name)
        self._grant = host.memory.give(self.address, length, access) if access else None

    def close(self):
        """Take it back from the device, and free it."""
        if self._grant:
            self._host.memory.take(self._grant)
        self._host.statistics.unlabel(self.address)
        self._host.memory.free(self.address)
