"""The card behind a root complex that this project did not write; see testbench.bfm.other_root."""

from model import pci
from testbench.bfm.other_root import OtherEnvironment
from testbench.driver.net import Nic
from testbench.driver.pci import Bar, Capability
from testbench.system.bench_traffic import echo
from testbench.system.case import system_test

FRAMES = 1000
RING = 128


class RootMsix:
    """The capability, in the root complex's hands; `vectors` as it has counted them."""

    def __init__(self, function, vectors):
        self._function = function
        self.vectors = vectors

    async def control(self, *, enable):
        await self._function.msix_set_enable(enable)


class RootInterrupts:
    """MSI-X by the root complex: it has found the table, filled it with its own messages, and enabled it."""

    def __init__(self, function):
        self._function = function
        self.counts = {}

    def connect(self, vector, handler):
        async def call():
            self.counts[vector] = self.counts.get(vector, 0) + 1
            handler()
        self._function.request_irq(vector, call)

    def close(self):
        """The vectors stay the root complex's."""


class RootNic(Nic):
    """The driver on a function that somebody else has enumerated, with somebody else's MSI-X."""

    async def _set_up_function(self):
        found = self.host.pci
        self.function.bars = {index: Bar(index, address, found.bar_size[index], True)
                              for index, address in enumerate(found.bar_addr) if address is not None}
        self.function.capabilities = [Capability(*entry) for entry in found.capabilities]
        self.function.extended = [Capability(*entry) for entry in found.ext_capabilities]
        await found.enable_device()
        await found.set_master()

    async def _set_up_interrupts(self):
        vectors = await self.host.pci.alloc_irq_vectors(1, 32)
        self.msix = RootMsix(self.host.pci, vectors)
        self.messages = RootInterrupts(self.host.pci)
        self.messages.connect(0, self._config_interrupt)
        await self.virtio.map_config_vector(0)


@system_test("PCI-001", "PCI-062", "PCI-063", "NET-026", "NET-050", simulators=("verilator",), timeout_us=20_000,
             environment=OtherEnvironment)
async def another_root_complex(bench):
    """Enumerated, placed and interrupt-enabled by cocotbext-pcie; a thousand frames each way."""
    host = bench.host
    await host.enumerate()
    found = host.pci
    assert (found.vendor_id, found.device_id) == (0x1af4, 0x1041)
    assert found.class_code == 0x020000 and not found.multifunction
    assert found.bar_size[0] == bench.manifest["bar0"]["size"]
    assert {number for number, _ in found.capabilities} == {
        pci.CapId.POWER, pci.CapId.EXPRESS, pci.CapId.MSIX, pci.CapId.VENDOR}
    nic = await bench.nic(driver=RootNic, queue_size=RING)
    assert nic.msix.vectors == bench.manifest["queues"] + 1
    frames = [bench.frame(length) for length in (60, 61, 64, 65, 127, 128, 129, 1511, 1512, 1513, 1514)]
    frames += [bench.frame() for _ in range(FRAMES - len(frames))]
    assert await echo(bench, nic, frames, batch=32) == frames
    await nic.flush(timeout_ns=100_000)
    assert nic.messages.counts[1] > 0 and nic.messages.counts[2] > 0, nic.messages.counts
    assert not host.device.messages
