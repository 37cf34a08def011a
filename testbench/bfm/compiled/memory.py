"""Host memory that tells where its watchers are."""

import mmap

from model.memory import HostMemory

__all__ = ["WatchedMemory"]

PAGE_SHIFT = 12


class WatchedMemory(HostMemory):
    """
    Attributes
    ----------
    arenas : the two regions
    watched : of each, a byte per page: whether somebody watches writes to it
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.arenas = (self._high, self._low)
        self.watched = tuple(mmap.mmap(-1, arena.end - arena.base >> PAGE_SHIFT) for arena in self.arenas)

    def watch(self, address, length, callback):
        handle = super().watch(address, length, callback)
        self._note()
        return handle

    def unwatch(self, handle):
        super().unwatch(handle)
        self._note()

    def _note(self):
        for arena, watched in zip(self.arenas, self.watched):
            first = arena.base >> PAGE_SHIFT
            watched[:] = bytes(len(watched))
            for page in self._watchers:
                if 0 <= page - first < len(watched):
                    watched[page - first] = 1

    def written(self, address, data):
        """The device has written there: tell who watches."""
        self._notify(address, data)
