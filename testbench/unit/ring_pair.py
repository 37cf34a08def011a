"""A driver's ring and the device's queue on it, for tests without cards."""

from types import SimpleNamespace

from model.memory import HostMemory
from model.virtqueue import PackedQueue
from model.virtqueue import RingFeatures as DeviceFeatures
from testbench.driver.direct import Labels
from testbench.driver.ring import PackedRing, RingFeatures

__all__ = ["SIZES", "RingPair"]

SIZES = [1, 2, 3, 5, 7, 64]


class RingPair:
    """A driver's ring, the device's queue on it, and memory for buffers."""

    def __init__(self, size, *, style=None, notification_data=False, **features):
        self.memory = HostMemory(size=16 << 20)
        self.host = SimpleNamespace(memory=self.memory, statistics=Labels())
        self.ring = PackedRing(self.host, size, style=style, features=RingFeatures(**features))
        names = {"event_idx": "event_idx", "in_order": "in_order", "indirect": "indirect_desc"}
        self.queue = PackedQueue(
            self.memory, size=size, descriptors=self.ring.descriptors, driver=self.ring.driver, device=self.ring.device,
            features=DeviceFeatures(notification_data=notification_data,
                                    **{names[name]: value for name, value in features.items()}))
        self.room = self.memory.allocate(1 << 20)

    def elements(self, rng, count):
        readable = rng.randint(0, count)
        return [(self.room + rng.randrange(1 << 19), rng.randrange(0, 50), i >= readable) for i in range(count)]

    def buffer(self, length=10, writable=True):
        return [(self.room, length, writable)]

    def use_next(self):
        self.queue.use(self.queue.fetch(), 0)
