"""Driver and RTL declare the wire formats each on their own: here they are compared."""

from types import SimpleNamespace

import pytest
from amaranth.lib import data

from hdl.config import NicConfig
from hdl.pcie.bar import BarLayout
from hdl.pcie.config_map import config_map
from hdl.regs import Access
from hdl.virtio import features as hdl_features
from hdl.virtio import spec as virtio
from hdl.virtio.maps import COMMON_CONFIG, NET_CONFIG
from hdl.virtqueue import spec as virtqueue
from model import formats, pci
from testbench.driver.pci import MsixTable, PciFunction
from testbench.driver.virtio_pci import VirtioPci
from testbench.driver.virtual_time import run


def struct_offsets(struct):
    """name → (bit offset, bits) of an Amaranth layout."""
    return {name: (field.offset, field.width) for name, field in data.Layout.cast(struct)}


def dtype_offsets(dtype):
    """The same of a NumPy dtype."""
    return {name: (8 * offset, 8 * size) for name, (offset, size) in
            ((name, formats.field(dtype, name)) for name in dtype.names)}


def test_descriptor():
    assert struct_offsets(virtqueue.Descriptor) == dtype_offsets(formats.PVIRTQ_DESC)
    flags = {name: 1 << offset for name, (offset, width) in
             struct_offsets(data.Layout.cast(virtqueue.Descriptor)["flags"].shape).items() if width == 1}
    assert flags == {"next": formats.DESC_NEXT, "write": formats.DESC_WRITE, "indirect": formats.DESC_INDIRECT,
                     "avail": formats.DESC_AVAIL, "used": formats.DESC_USED}


def test_event_suppression():
    layout = struct_offsets(virtqueue.EventSuppression)
    assert (layout["offset"], layout["wrap"], layout["flags"]) == ((0, 15), (15, 1), (16, 2))
    assert dtype_offsets(formats.PVIRTQ_EVENT_SUPPRESS)["flags"][0] == layout["flags"][0]
    names = {"ENABLE": formats.EVENT_ENABLE, "DISABLE": formats.EVENT_DISABLE, "DESC": formats.EVENT_DESC}
    assert {flag.name: flag.value for flag in virtqueue.EventFlags if flag.name in names} == names


def test_feature_bits():
    theirs = {feature.name: feature.value for feature in virtio.Feature}
    ours = {feature.name.removeprefix("NET_"): int(feature) for feature in formats.Feature}
    assert ours["SUSPEND"] == 43
    legacy = {"GSO", "NOTIFY_ON_EMPTY", "ANY_LAYOUT", "UNUSED", "GUEST_RSC6"}
    assert ours == {name: bit for name, bit in theirs.items() if name not in legacy}


def test_prerequisites():
    def by_number(table):
        return {int(feature): [{int(need) for need in group} for group in groups] for feature, groups in table.items()}
    assert by_number(formats.FEATURE_NEEDS) == by_number(hdl_features.PREREQUISITES)


def test_status_and_numbers():
    layout = struct_offsets(virtio.Status)
    assert {bit.name.lower(): int(bit) for bit in formats.Status} == {
        name: 1 << offset for name, (offset, _) in layout.items() if name != "reserved5"}
    assert (virtio.NO_VECTOR, virtio.MAX_VECTORS) == (formats.NO_VECTOR, formats.VECTORS_LIMIT)
    assert virtio.SPEED_UNKNOWN == formats.SPEED_UNKNOWN and virtio.Duplex.FULL == formats.DUPLEX_FULL


@pytest.mark.parametrize("map, dtype", [(COMMON_CONFIG, formats.COMMON_CFG), (NET_CONFIG, formats.VIRTIO_NET_CONFIG)],
                         ids=lambda value: getattr(value, "name", ""))
def test_register_maps(map, dtype):
    """Every field of the RTL's maps lies at a field of ours, halves of 64-bit fields and of the MAC at its parts."""
    ours = {}
    for name in dtype.names:
        offset, size = formats.field(dtype, name)
        if size == 8 or name == "mac":
            ours[f"{name}_low"], ours[f"{name}_high"] = (offset, 32), (offset + 4, 8 * size - 32)
        else:
            ours[name] = (offset, 8 * size)
    assert {field.name: (field.offset, field.width) for field in map.fields} == ours
    assert map.size == dtype.itemsize


class ConfigImage:
    """A host whose function is nothing but the RTL's configuration registers: reset values and writable bits."""

    def __init__(self, map):
        self.rules = SimpleNamespace()
        self.content, self.writable = bytearray(map.size), bytearray(map.size)
        for field in map.fields:
            self._deposit(self.content, field, field.reset)
            if field.access is Access.RW:
                self._deposit(self.writable, field, (1 << field.width) - 1)

    @staticmethod
    def _deposit(target, field, value):
        part = slice(4 * field.dword, 4 * field.dword + 4)
        target[part] = (int.from_bytes(target[part], "little") | value << field.lsb).to_bytes(4, "little")

    async def config_read(self, offset, size):
        return int.from_bytes(self.content[offset:offset + size], "little")

    async def config_write(self, offset, value, size):
        for at, byte in enumerate(value.to_bytes(size, "little"), offset):
            self.content[at] = self.content[at] & ~self.writable[at] | byte & self.writable[at]

    async def mmio_read(self, address, size):
        return 0

    async def mmio_write(self, address, value, size):
        pass


@pytest.mark.parametrize("preset", ["tiny", "default", "full"])
def test_the_driver_finds_what_the_rtl_puts_into_configuration_space(preset):
    layout = BarLayout.of(NicConfig.preset(preset))

    async def scenario(platform):
        host = ConfigImage(config_map(layout))
        function = PciFunction(host)
        await function.enumerate(formats.VENDOR_ID, formats.DEVICE_ID_NET)
        assert function.bars[0].size == 1 << layout.size_bits and function.bars[0].is_64_bit
        virtio_pci = VirtioPci(function, platform)
        await virtio_pci.discover()
        base = function.bars[0].address
        assert {kind.name: (found.address - base, found.length) for kind, found in virtio_pci.structures.items()} == {
            "COMMON": (layout.common, 64), "NOTIFY": (layout.notify, layout.notify_length),
            "ISR": (layout.isr, layout.isr_length), "DEVICE": (layout.device, 28), "PCI": (-base, 0)}
        msix = MsixTable(function)
        await msix.discover()
        assert msix.vectors == layout.vectors
        assert await function.configure_express(max_payload=4096) == 512
        assert (host.rules.mps, host.rules.mrrs, host.rules.extended_tags) == (512, 512, True)
        assert await function.read_errors() == (0, 0, bytes(16))
        assert await function.read(pci.PCIE_CAP, "device_capabilities", function.find(pci.CapId.EXPRESS)) \
            & pci.DEVCAP_FLR
        assert function.find(pci.CapId.POWER)
    run(scenario)
