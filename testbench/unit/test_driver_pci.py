"""The driver's lower layers against the functional card: enumeration, control, virtio structures, resets."""

import pytest

from model import formats, pci
from model.device import OFFERED, FunctionalNic, NicParameters
from model.formats import CapType, Status
from model.memory import HostMemory
from testbench.driver.direct import DirectHost
from testbench.driver.net import REQUIRED, Nic
from testbench.driver.pci import MsixTable, PciFunction
from testbench.driver.platform import DriverError
from testbench.driver.virtio_pci import QueueSetup, VirtioPci
from testbench.driver.virtual_time import run


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


@pytest.mark.requirements("DRV-026", "DRV-031", "DRV-032", "DRV-035", "DRV-047", "DRV-087")
def test_every_access_has_the_width_of_its_field():
    """A whole life of a device: accesses to its structures, field by field."""
    async def scenario(platform):
        host = Recorder(FunctionalNic(HostMemory()), platform)
        nic = Nic(host, platform, queue_size=16)
        host.nic.datapath.wire = host.nic.receive
        await nic.start()
        await nic.send(bytes(60))
        await nic.receive()
        await nic.link_up()
        await nic.stop()
        fields = {offset: (name, size) for name in formats.COMMON_CFG.names
                  for offset, size in [formats.field(formats.COMMON_CFG, name)]}
        read_only = {"device_feature", "num_queues", "config_generation", "queue_notify_off",
                     "queue_notif_config_data"}
        config_sizes = {offset: size for offset, size in (formats.field(formats.VIRTIO_NET_CONFIG, name)
                                                          for name in formats.VIRTIO_NET_CONFIG.names)}
        config_sizes.update({i: 1 for i in range(6)})
        for what, offset, size, value in host.accesses:
            if offset < 64:
                name, width = fields.get(offset) or fields[offset - 4]
                assert size == min(width, 4) and offset % size == 0
                if what == "write":
                    assert name not in read_only
                    assert (name, value) not in (("queue_enable", 0), ("queue_size", 0))
            elif 0x200 <= offset < 0x21c:
                assert what == "read" and config_sizes[offset - 0x200] == size
            elif 0x1_0000 <= offset < 0x2_0000:
                assert (what, size, value) == ("write", 2, (offset - 0x1_0000) // 4096)
        assert {offset for _, offset, _, _ in host.accesses} >= {0, 4, 8, 12, 16, 18, 20, 21, 22, 24, 26, 28, 30, 52}
        status = [value for what, offset, _, value in host.accesses if (what, offset) == ("write", 20)]
        assert status == [0, 1, 3, 11, 15, 0]
        doorbells = [i for i, access in enumerate(host.accesses) if 0x1_0000 <= access[1] < 0x2_0000]
        assert doorbells[0] > host.accesses.index(("write", 20, 1, 15))
    run(scenario)


@pytest.mark.requirements("DRV-027", "DRV-028", "DRV-029")
def test_capabilities_that_are_of_no_use_are_passed_over():
    async def scenario(platform):
        nic, _, function, virtio = await bring_up(platform)
        first = virtio.structures[CapType.COMMON].capability
        second = virtio.structures[CapType.ISR].capability
        # The ISR capability turns into a second, longer COMMON_CFG; then the first gets a reserved BAR or type.
        view = nic.config._bytes
        view[second + 3], view[second + 2] = CapType.COMMON, 32
        view[second + 12:second + 16] = [0, 1, 0, 0]
        with pytest.raises(DriverError, match="no usable virtio structure ISR"):
            await virtio.discover()
        assert virtio.structures[CapType.COMMON].capability == first
        for at, value in ((4, 6), (3, 77), (15, 1)):
            old, view[first + at] = view[first + at], value
            with pytest.raises(DriverError, match="no usable virtio structure ISR"):
                await virtio.discover()
            assert virtio.structures[CapType.COMMON].capability == second
            assert virtio.structures[CapType.COMMON].length == 256
            view[first + at] = old
    run(scenario)


@pytest.mark.requirements("DRV-024", "DRV-036")
def test_reset_is_awaited():
    async def scenario(platform):
        _, host, _, virtio = await bring_up(platform, NicParameters(reset_reads=10))
        await virtio.set_status(Status.ACKNOWLEDGE)
        await virtio.reset(poll_ns=100)
        assert platform.now() == 900
        assert [access[3] for access in host.accesses][-10:] == [1] * 9 + [0]
        with pytest.raises(DriverError, match="reset not finished after 300 ns"):
            await virtio.reset(poll_ns=100, timeout_ns=300)
    run(scenario)


@pytest.mark.requirements("DRV-021")
def test_configuration_is_read_of_one_generation():
    async def scenario(platform):
        nic, host, _, virtio = await bring_up(platform)
        original, changes = host.mmio_read, iter([True, True])

        async def read(address, size):
            if address == nic.config.bar + 0x206 and next(changes, False):
                nic.link_up = not nic.link_up
            return await original(address, size)
        host.mmio_read = read
        assert await virtio.read_config("mac", "status", "mtu") == (nic.parameters.mac, 1, 1500)
        # Two changes, and the round in which none came
        assert len([access for access in host.accesses if access[1] == 0x206]) == 3
        assert await virtio.read_config("speed") == 100_000
    run(scenario)


@pytest.mark.requirements("DRV-046")
def test_a_vector_that_can_not_be_mapped():
    async def scenario(platform):
        _, _, _, virtio = await bring_up(platform)
        await virtio.map_config_vector(2)
        with pytest.raises(DriverError, match="could not map config_msix_vector to 3"):
            await virtio.map_config_vector(3)
        await virtio.map_config_vector(None)
    run(scenario)


def test_queues():
    async def scenario(platform):
        nic, _, _, virtio = await bring_up(platform, NicParameters(pairs=2, page=8192))
        assert [await virtio.queue_limit(index) for index in range(5)] == [256] * 4 + [0]
        doorbell = await virtio.set_up_queue(3, QueueSetup(77, 0x12_0000_0010, 0x13_0000_0004, 0x14_0000_0008, 1))
        assert doorbell == nic.config.bar + 0x1_0000 + 3 * 8192
        queue = nic.common.queues[3]
        assert (queue.size, queue.desc, queue.driver, queue.device, queue.vector, queue.enable) == (
            77, 0x12_0000_0010, 0x13_0000_0004, 0x14_0000_0008, 1, 1)
        virtio.features = formats.feature_set(formats.Feature.NOTIFICATION_DATA)
        with pytest.raises(DriverError, match="doorbells with data"):
            virtio.doorbell(3)
    run(scenario)


def test_a_doorbell_outside_of_its_structure():
    async def scenario(platform):
        nic, _, _, virtio = await bring_up(platform)
        at = virtio.structures[CapType.NOTIFY].capability
        nic.config._bytes[at + 12:at + 16] = [0x01, 0x10, 0, 0]
        await virtio.discover()
        with pytest.raises(DriverError, match="doorbell of queue 1 at 0x1000 is outside of 0x1001 bytes"):
            await virtio.set_up_queue(1, QueueSetup(1, 0, 0, 0))
        await virtio.set_up_queue(0, QueueSetup(1, 0, 0, 0))
    run(scenario)


def test_negotiation_reads_all_windows():
    async def scenario(platform):
        high = 1 << 69
        nic, _, _, virtio = await bring_up(platform, NicParameters(offered=OFFERED | high))
        assert await virtio.offered() == OFFERED | high
        assert await virtio.negotiate(required=REQUIRED, wanted=high | 1 << 40) == REQUIRED | high
        assert nic.common.features == virtio.features == REQUIRED | high
    run(scenario)


@pytest.mark.requirements("DRV-042", "DRV-043")
def test_the_window_reaches_the_bar():
    async def scenario(platform):
        nic, _, _, virtio = await bring_up(platform)
        assert await virtio.window_read(0, 18, 2) == 2
        await virtio.window_write(0, 20, Status.ACKNOWLEDGE, 1)
        assert nic.common.status == Status.ACKNOWLEDGE
        with pytest.raises(DriverError, match="offset 0x13 is no multiple of 2"):
            await virtio.window_read(0, 0x13, 2)
        with pytest.raises(DriverError, match="no virtio structure has 4 bytes at 0x300"):
            await virtio.window_read(0, 0x300, 4)
    run(scenario)
