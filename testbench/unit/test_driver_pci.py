"""The driver's bus layer against the functional card: enumeration, control registers, MSI-X, errors, FLR."""

import pytest

from model.formats import Status
from testbench.driver.pci import MsixTable, PciFunction
from testbench.driver.platform import DriverError
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import bring_up


@pytest.mark.requirements("DRV-025")
def test_enumeration():
    async def scenario(platform):
        nic, host, function, virtio = await bring_up(platform)
        bar = function.bars[0]
        assert (bar.size, bar.is_64_bit, bar.address % bar.size, bar.address) == (0x4_0000, True, 0, nic.config.bar)
        assert [capability.id for capability in function.capabilities] == [1, 0x10, 0x11, 9, 9, 9, 9, 9]
        assert [capability.id for capability in function.extended] == [1]
        assert host.rules.bus_master
        with pytest.raises(DriverError, match="no capability 0x5"):
            function.find(5)
        with pytest.raises(DriverError, match="found 1af4:1041 and not 8086:1041"):
            await function.enumerate(0x8086, 0x1041)
    run(scenario)


class Registers:
    """A function that is nothing but 4 KiB of registers, of which those of the BARs are writable by `masks`."""

    def __init__(self, masks=None):
        self.rules = type("Rules", (), {})()
        self.content = bytearray(4096)
        self.masks = masks or {}
        self.put(0, 0x1041_1af4)
        self.put(4, 0x0010_0000)
        for offset, (_, fixed) in self.masks.items():
            self.put(offset, fixed)

    def put(self, offset, value):
        self.content[offset:offset + 4] = value.to_bytes(4, "little")

    async def config_read(self, offset, size):
        return int.from_bytes(self.content[offset:offset + size], "little")

    async def config_write(self, offset, value, size):
        if offset in self.masks:
            mask, fixed = self.masks[offset]
            self.put(offset, value & mask | fixed)


def enumerate_registers(registers):
    async def scenario(platform):
        function = PciFunction(registers)
        await function.enumerate(0x1af4, 0x1041)
        return function
    return run(scenario)


def test_bars_of_every_kind_are_placed_apart():
    function = enumerate_registers(Registers({
        0x10: (0xffff_f000, 0), 0x18: (0xfff0_0000, 4), 0x1c: (0xffff_ffff, 0), 0x20: (0x0000_0000, 4),
        0x24: (0xffff_ffff, 0)}))
    assert {index: (bar.size, bar.is_64_bit) for index, bar in function.bars.items()} == {
        0: (0x1000, False), 2: (0x10_0000, True), 4: (0x1_0000_0000, True)}
    for bar in function.bars.values():
        assert bar.address % bar.size == 0 and (bar.address >= 1 << 32) == bar.is_64_bit


@pytest.mark.parametrize("words, message", [
    ({0x34: 0x40, 0x40: 0x5009, 0x50: 0x4009}, "capability list comes to 0x40"),
    ({0x34: 0x20}, "capability list comes to 0x20"),
    ({0x100: 0x1000_0001}, "extended capability list comes to 0x100"),
    ({0x100: 0x0801_0001}, "extended capability list comes to 0x80"),
])
def test_broken_capability_lists(words, message):
    registers = Registers()
    for offset, value in words.items():
        registers.put(offset, value)
    with pytest.raises(DriverError, match=message):
        enumerate_registers(registers)


def test_io_bars_are_refused():
    with pytest.raises(DriverError, match="BAR 0 is an I/O BAR"):
        enumerate_registers(Registers({0x10: (0xffff_fff0, 1)}))


def test_device_control():
    async def scenario(platform):
        nic, host, function, _ = await bring_up(platform)
        assert await function.configure_express(max_payload=4096, max_read_request=1024) == 512
        assert nic.config.express["device_control"] == 3 << 12 | 1 << 8 | 2 << 5 | 1 << 4 | 0xf
        assert (host.rules.mps, host.rules.mrrs, host.rules.extended_tags) == (512, 1024, True)
        await function.configure_express(max_payload=128, max_read_request=128, extended_tags=False,
                                         relaxed_ordering=False)
        assert nic.config.express["device_control"] == 0xf
        assert (host.rules.mps, host.rules.mrrs, host.rules.extended_tags) == (128, 128, False)
        for size in (0, 64, 200, 8192):
            with pytest.raises(DriverError, match=f"{size} is not a power of 2"):
                await function.configure_express(max_read_request=size)
    run(scenario)


def test_errors_are_read_and_cleared():
    async def scenario(platform):
        nic, _, function, _ = await bring_up(platform)
        nic.config.aer["uncorrectable_status"], nic.config.aer["correctable_status"] = 1 << 14, 1 << 13
        nic.config.aer["header_log"] = [1, 2, 3, 4]
        nic.config.express["device_status"] = 0xf
        log = bytes.fromhex("01000000020000000300000004000000")
        assert await function.read_errors(clear=False) == (1 << 14, 1 << 13, log)
        assert await function.read_errors() == (1 << 14, 1 << 13, log)
        assert await function.read_errors() == (0, 0, log)
        assert nic.config.express["device_status"] == 0
    run(scenario)


def test_function_level_reset():
    async def scenario(platform):
        nic, host, function, virtio = await bring_up(platform)
        await virtio.set_status(Status.ACKNOWLEDGE)
        await function.configure_express()
        await function.function_level_reset(platform, settle_ns=1234)
        assert platform.now() == 1234
        assert nic.common.status == 0 and nic.config.bar == 0
        assert (host.rules.bus_master, host.rules.extended_tags, host.rules.mrrs) == (False, False, 512)
        nic.config.express["device_capabilities"] = 0
        with pytest.raises(DriverError, match="no function level reset"):
            await function.function_level_reset(platform)
    run(scenario)


@pytest.mark.requirements("DRV-044")
def test_msix_table():
    async def scenario(platform):
        nic, host, function, _ = await bring_up(platform)
        msix = MsixTable(function)
        await msix.discover()
        assert msix.vectors == 3
        await msix.set_vector(2, 0x12_3456_789c, 0xabcd)
        assert [(offset - 0x2_0020, value) for _, offset, _, value in host.accesses[-5:]] == [
            (12, 1), (0, 0x3456_789c), (4, 0x12), (8, 0xabcd), (12, 0)]
        assert nic.interrupts.table[32:48] == bytes.fromhex("9c78563412000000cdab000000000000")
        await msix.mask(2)
        assert nic.interrupts.table[44] == 1
        await msix.control(enable=True, function_mask=True)
        assert nic.config.msix_enabled and nic.config.msix_masked
        nic.interrupts.used_buffer(2)
        assert [await msix.is_pending(vector) for vector in range(3)] == [False, False, True]
        with pytest.raises(DriverError, match="vector 3 of 3"):
            await msix.set_vector(3, 0, 0)
    run(scenario)
