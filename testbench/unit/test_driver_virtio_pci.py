"""Virtio over PCI against the functional card: structures, accesses, negotiation, queues, configuration, reset."""

import pytest

from model import formats
from model.device import OFFERED, FunctionalNic, NicParameters
from model.formats import CapType, Feature, Status
from model.memory import HostMemory
from testbench.driver.net import REQUIRED, Nic
from testbench.driver.platform import DriverError
from testbench.driver.virtio_pci import QueueSetup
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import Recorder, bring_up


@pytest.mark.requirements("DRV-001", "DRV-006", "DRV-026", "DRV-031", "DRV-032", "DRV-035", "DRV-047", "DRV-087")
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
        # The receive queue's doorbell follows DRIVER_OK, and nothing was rung before.
        assert doorbells[0] == host.accesses.index(("write", 20, 1, 15)) + 1
        assert host.accesses[doorbells[0]] == ("write", 0x1_0000, 2, 0)
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
        assert await virtio.read("queue_device") == 0x14_0000_0008
    run(scenario)


@pytest.mark.requirements("DRV-047", "DRV-048", "DRV-055")
@pytest.mark.parametrize("features, doorbell", [
    ((), (3, 2)), ((Feature.NOTIF_CONFIG_DATA,), (0xabce, 2)),
    ((Feature.NOTIFICATION_DATA,), (0xff7f_0003, 4)),
    ((Feature.NOTIFICATION_DATA, Feature.NOTIF_CONFIG_DATA), (0xff7f_abce, 4))])
def test_doorbells_by_what_was_negotiated(features, doorbell):
    async def scenario(platform):
        _, _, _, virtio = await bring_up(platform, NicParameters(pairs=2, cookie=0xabcb))
        virtio.features = formats.feature_set(*features)
        await virtio.set_up_queue(3, QueueSetup(7, 0, 0, 0))
        assert virtio.doorbell(3, 0x7f7f, 1) == doorbell
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
        nic.config._bytes[at + 12:at + 16] = [0x02, 0x10, 0, 0]
        await virtio.discover()
        await virtio.set_up_queue(1, QueueSetup(1, 0, 0, 0))
        virtio.features = formats.feature_set(Feature.NOTIFICATION_DATA)
        with pytest.raises(DriverError, match="doorbell of queue 1 at 0x1000 is outside of 0x1002 bytes"):
            await virtio.set_up_queue(1, QueueSetup(1, 0, 0, 0))
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
