"""The configuration access window on the whole card: BAR 0 without the BAR."""

from model.formats import CapType, Status
from testbench.system.bench_enumerate import discover
from testbench.system.case import system_test


@system_test("PCI-079", "PCI-080", "PCI-081", timeout_us=8000)
async def window(bench):
    """Fields of every size are read and written, and the device is reset, by configuration alone."""
    function, virtio = await discover(bench)
    common = virtio.structures[CapType.COMMON].address - function.bars[0].address
    device = virtio.structures[CapType.DEVICE].address - function.bars[0].address
    for offset, size in ((0, 4), (18, 2), (20, 1), (24, 2), (16, 2)):
        await virtio.window_write(0, common, 1, 4)
        expected = await bench.host.mmio_read(virtio.structures[CapType.COMMON].address + offset, size)
        assert await virtio.window_read(0, common + offset, size) == expected, (offset, size)
    mac = [await virtio.window_read(0, device + n, 1) for n in range(6)]
    assert bytes(mac) == await virtio.read_config("mac")
    # driver_feature_select, 4 bytes; queue_select, 2; device_status, 1
    await virtio.window_write(0, common + 8, 0xa5a5_5a5a, 4)
    assert await virtio.read("driver_feature_select") == 0xa5a5_5a5a
    await virtio.window_write(0, common + 22, 1, 2)
    assert await virtio.read("queue_select") == 1
    await virtio.window_write(0, common + 20, Status.ACKNOWLEDGE | Status.DRIVER, 1)
    assert await virtio.status() == Status.ACKNOWLEDGE | Status.DRIVER
    await virtio.window_write(0, common + 20, 0, 1)
    for _ in range(100):
        if not await virtio.window_read(0, common + 20, 1):
            break
    assert await virtio.status() == 0
