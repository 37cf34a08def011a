"""A functional card, a host and a driver, for tests of the driver without RTL."""

import random

from model import formats, pci
from model.device import OFFERED_ALL, FunctionalNic, NicParameters
from model.memory import HostMemory
from testbench.driver.direct import DirectHost
from testbench.driver.framing import Framing
from testbench.driver.net import WANTED_UNFILTERED, Nic
from testbench.driver.pci import PciFunction
from testbench.driver.virtio_pci import VirtioPci

__all__ = ["Recorder", "Setup", "bring_up", "exchange", "flow", "many_pairs", "random_frames"]


class Setup:
    """Card, host and driver; `nic` is the card, `driver` the driver."""

    def __init__(self, platform, *, parameters=None, seed=None, deferred=False, suppress=False, loop=True, **options):
        self.platform = platform
        self.memory = HostMemory()
        self.nic = FunctionalNic(self.memory, parameters, order=None if seed is None else random.Random(seed),
                                 deferred=deferred, suppress=suppress, clock=platform.now if deferred else None)
        if loop:
            self.nic.datapath.wire = self.nic.receive
        self.host = DirectHost(self.nic, platform, latency_ns=100 if deferred else 0)
        self.driver = Nic(self.host, platform, **options)
        self.worker = platform.spawn(self.host.work(random.Random(1), 50)) if deferred else None

    async def close(self):
        """Remove the driver; nothing of the memory may be left to the card."""
        await self.driver.remove()
        if self.worker:
            self.worker.cancel()
        assert not self.memory._grants and not self.memory._allocated and not self.memory._watchers
        assert not self.host.statistics.ranges and not self.host.on_intx and not self.host.rules.bus_master


def many_pairs(platform, *, card=None, **options):
    """A `Setup` with everything negotiated, and a card of 4 pairs unless `card` says otherwise."""
    card = {"offered": OFFERED_ALL, "pairs": 4, "rx_buffer": 1 << 30, "cookie": 3, **(card or {})}
    return Setup(platform, wanted=WANTED_UNFILTERED, parameters=NicParameters(**card), **options)


def flow(number, length=60):
    """A UDP datagram of a flow, from us to them, with `length` bytes behind its header."""
    addresses = bytes([10, 0, 0, 1, 10, 0, number >> 8, number & 255])
    header = bytes(12) + b"\x08\x00\x45" + bytes(8) + b"\x11" + bytes(2) + addresses
    return header + b"\x03\xe8\x00\x35" + bytes(length)


def random_frames(rng, count):
    return [rng.randbytes(rng.choice((60, rng.randint(14, 100), rng.randint(60, 1514)))) for _ in range(count)]


async def exchange(setup, rng, frames, most_elements):
    """Send all of `frames` in random framings, and receive as many, beside each other."""
    async def send():
        for frame in frames:
            await setup.driver.send(frame, framing=Framing.random(rng, len(frame) + 12, most_elements))
        await setup.driver.flush()

    sender = setup.platform.spawn(send())
    received = [await setup.driver.receive() for _ in frames]
    await sender
    return received


class Recorder(DirectHost):
    """A host that keeps a list of the accesses to memory space: (what, offset in BAR 0, size, value)."""

    def __init__(self, nic, platform):
        super().__init__(nic, platform)
        self.accesses = []

    async def mmio_read(self, address, size):
        value = await super().mmio_read(address, size)
        self.accesses.append(("read", address - self.nic.config.bar, size, value))
        return value

    async def mmio_write(self, address, value, size):
        self.accesses.append(("write", address - self.nic.config.bar, size, value))
        await super().mmio_write(address, value, size)


async def bring_up(platform, parameters=None):
    """A function that is enumerated and switched on, and its virtio side."""
    nic = FunctionalNic(HostMemory(), parameters)
    host = Recorder(nic, platform)
    function = PciFunction(host)
    await function.enumerate(formats.VENDOR_ID, formats.DEVICE_ID_NET)
    await function.set_command(set=pci.Command.MEMORY_SPACE | pci.Command.BUS_MASTER)
    virtio = VirtioPci(function, platform)
    await virtio.discover()
    return nic, host, function, virtio
