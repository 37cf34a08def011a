"""What a host finds before any driver: configuration space, BAR, capabilities; and what negotiation may refuse."""

from model import formats, pci
from model.formats import Feature, Status
from testbench.bfm.host import RequestFailed
from testbench.bfm.tlp import Status as CompletionStatus
from testbench.driver.pci import PciFunction
from testbench.driver.platform import NegotiationError
from testbench.driver.virtio_pci import VirtioPci
from testbench.system.case import system_test

OFFERED = {Feature.VERSION_1, Feature.ACCESS_PLATFORM, Feature.ORDER_PLATFORM, Feature.RING_PACKED,
           Feature.NOTIFICATION_DATA, Feature.NOTIF_CONFIG_DATA, Feature.NET_MAC, Feature.NET_STATUS, Feature.NET_MTU,
           Feature.NET_SPEED_DUPLEX, Feature.EVENT_IDX, Feature.IN_ORDER, Feature.NET_CTRL_VQ, Feature.NET_MQ,
           Feature.NET_NOTF_COAL, Feature.NET_VQ_NOTF_COAL, Feature.INDIRECT_DESC, Feature.NET_GUEST_CSUM,
           Feature.NET_RSS, Feature.NET_MRG_RXBUF, Feature.NET_CTRL_RX, Feature.NET_CTRL_RX_EXTRA,
           Feature.NET_CTRL_VLAN, Feature.NET_CTRL_MAC_ADDR, Feature.NET_GUEST_ANNOUNCE, Feature.NET_DEVICE_STATS,
           Feature.NET_CSUM, Feature.NET_HOST_TSO4, Feature.NET_HOST_TSO6, Feature.NET_HOST_ECN, Feature.NET_HOST_USO,
           Feature.NET_GUEST_HDRLEN, Feature.RING_RESET, Feature.NET_CTRL_GUEST_OFFLOADS,
           Feature.NET_HASH_REPORT}


async def discover(bench):
    """A function enumerated and its virtio structures found, reset."""
    function = PciFunction(bench.host)
    await function.enumerate(formats.VENDOR_ID, formats.DEVICE_ID_NET)
    await function.configure_express()
    await function.set_command(set=pci.Command.MEMORY_SPACE | pci.Command.BUS_MASTER)
    virtio = VirtioPci(function, bench.platform)
    await virtio.discover()
    await virtio.reset()
    return function, virtio


@system_test("PCI-002", "PCI-003", "PCI-005", "PCI-006", "PCI-007", "PCI-023", "PCI-049", "PCI-062", "PCI-070",
             "PCI-078", "PCI-089", presets=("tiny", "default"), icarus=("tiny",))
async def enumerates(bench):
    function, virtio = await discover(bench)
    identity = await bench.host.config_read(0, 4)
    assert identity == 0x1041_1AF4
    class_and_revision = await bench.host.config_read(8, 4)
    assert class_and_revision == 0x020000_01
    assert await bench.host.config_read(0x2e, 2) >= 0x40
    bar = function.bars[0]
    assert bar.is_64_bit and bar.size == bench.manifest["bar0"]["size"]
    assert {capability.id for capability in function.capabilities} == {
        pci.CapId.POWER, pci.CapId.EXPRESS, pci.CapId.MSIX, pci.CapId.VENDOR}
    assert pci.EXTENDED_AER in {capability.id for capability in function.extended}


@system_test("FEA-001", "FEA-004", "FEA-007", "FEA-009", "FEA-014", "PCI-024", "PCI-041", presets=("tiny", "default"))
async def offers_what_it_should(bench):
    _, virtio = await discover(bench)
    offered = await virtio.offered()
    assert offered == formats.feature_set(*OFFERED)
    assert {f["bit"] for f in bench.manifest["features"]} == {int(f) for f in OFFERED}


async def _try(bench, features):
    """Whether the device takes exactly these features."""
    _, virtio = await discover(bench)
    await virtio.set_status(Status.ACKNOWLEDGE)
    await virtio.set_status(Status.DRIVER)
    try:
        await virtio.force_features(features)
    except NegotiationError:
        return False
    return True


@system_test("FEA-002", "FEA-003", "FEA-005", "FEA-008", "FEA-038", "FEA-040", "FEA-041", timeout_us=8000)
async def negotiates(bench):
    """Good subsets are taken, again and again; what lacks VERSION_1 or RING_PACKED, or asks for more, is not."""
    must = formats.feature_set(Feature.VERSION_1, Feature.RING_PACKED)
    full = formats.feature_set(*OFFERED)
    optional = [1 << f for f in OFFERED if f not in (Feature.VERSION_1, Feature.RING_PACKED)]
    for _ in range(8):
        subset = must | sum(bit for bit in optional if bench.random.random() < 0.5)
        lacking = formats.lacking_prerequisites(subset)
        assert await _try(bench, subset) == (not lacking), hex(subset)
        while lacking:
            subset &= ~formats.feature_set(*lacking)
            lacking = formats.lacking_prerequisites(subset)
        assert await _try(bench, subset), hex(subset)
    assert await _try(bench, full)
    assert await _try(bench, full)
    for needed in (Feature.NET_CTRL_VQ, Feature.NET_CSUM):
        assert not await _try(bench, full & ~(1 << needed))
    assert not await _try(bench, full & ~(1 << Feature.VERSION_1))
    assert not await _try(bench, full & ~(1 << Feature.RING_PACKED))
    for bit in (7, 14, 37, 41, 44, 69, 95):
        assert not await _try(bench, full | 1 << bit), bit


@system_test("BAS-012", "BAS-013", "BAS-014", "NET-005", "NET-006", "NET-014", "NET-015", "NET-019", "NET-020",
             "NET-022")
async def shows_its_configuration(bench):
    """Every field of the device configuration can be read before negotiation, and none can be written."""
    function, virtio = await discover(bench)
    expected = {"status": 1, "mtu": 1500, "speed": 100_000, "duplex": 1}
    for name, value in expected.items():
        assert await virtio.read_config(name) == value, name
    assert await virtio.read_config("mac") == bytes.fromhex("020000000001")
    before = [await virtio.read_config(name) for name in expected]
    device = virtio.structures[formats.CapType.DEVICE]
    for offset in range(0, 28, 4):
        await bench.host.mmio_write(device.address + offset, 0xffff_ffff, 4)
    assert [await virtio.read_config(name) for name in expected] == before


@system_test("PCI-036", "PCI-042", "PCI-043", "PCI-044", "PCI-060", "NET-003")
async def queue_windows(bench):
    _, virtio = await discover(bench)
    queues = await virtio.read("num_queues")
    assert queues == bench.manifest["queues"] == 2 * bench.parameter("pairs") + 1
    for index in (0, queues - 1):
        assert await virtio.queue_limit(index) == bench.parameter("queue_size_max")
    await virtio.write("queue_select", queues)
    assert await virtio.read("queue_size") == 0


@system_test("PCI-001")
async def refuses_what_it_does_not_have(bench):
    """Requests that nothing answers for are Unsupported Requests; the function goes on working."""
    function, virtio = await discover(bench)
    for address in (function.bars[0].address + function.bars[0].size, 0x1000):
        try:
            await bench.host.mmio_read(address, 4)
        except RequestFailed as failed:
            assert failed.status == CompletionStatus.UNSUPPORTED_REQUEST
        else:
            raise AssertionError(f"{address:#x} was answered")
    await function.set_command(clear=pci.Command.MEMORY_SPACE)
    try:
        await virtio.status()
    except RequestFailed as failed:
        assert failed.status == CompletionStatus.UNSUPPORTED_REQUEST
    else:
        raise AssertionError("answered with Memory Space Enable off")
    await function.set_command(set=pci.Command.MEMORY_SPACE)
    assert await virtio.status() == 0


@system_test("FEA-008")
async def a_driver_without_packed_rings_is_refused(bench):
    try:
        await bench.nic(required=formats.feature_set(Feature.VERSION_1), wanted=0)
    except NegotiationError:
        return
    raise AssertionError("started without RING_PACKED")
