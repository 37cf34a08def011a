"""A `HostCore` with memory, and a loop over cycles that plays the device and the pins."""

from model.latency import fixed
from model.memory import HostMemory
from testbench.bfm.host_core import HostCore
from testbench.bfm.tlp import memory_read, memory_write

__all__ = ["DEVICE", "Bench"]

DEVICE = 0x3b00


class Bench:
    """A core with one region of memory that the device has, and a loop over cycles."""

    def __init__(self, link="gen3x8", profile=None, **options):
        self.memory = HostMemory()
        self.core = HostCore(self.memory, link, profile or fixed(400), **options)
        rules = self.core.rules
        rules.mps, rules.bus_master, rules.extended_tags, rules.requester = 256, True, True, DEVICE
        self.base = self.memory.allocate(1 << 16, align=1 << 16)
        self.memory.give(self.base, 1 << 16, "rw")
        self.cycle = 0
        self.received = []      # (cycle of transfer, TLP) on rc
        self.requests = []      # and on cq

    def read(self, offset, length, tag=0):
        self.core.rq(self.cycle, memory_read(self.base + offset, length, tag, DEVICE))

    def write(self, offset, data):
        self.core.rq(self.cycle, memory_write(self.base + offset, data, DEVICE))

    def request(self, make):
        """A non-posted request of the host; the list fills with its completions, as one entry."""
        done = []
        self.core.request(self.cycle, make, done.append)
        return done

    def run(self, cycles):
        for _ in range(cycles):
            self.core.advance(self.cycle)
            for take, seen in ((self.core.take_rc, self.received), (self.core.take_cq, self.requests)):
                while tlp := take():
                    seen.append((self.cycle + 1, tlp))
                    self.core.sent(self.cycle + 1, tlp)
            self.cycle += 1
