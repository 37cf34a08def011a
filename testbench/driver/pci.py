"""PCI function as a bus driver sees it: enumeration, BARs, capabilities, control registers, MSI-X, FLR, AER.

Source: PCI Express Base Specification, Revision 4.0, chapters 6 and 7.
"""

from dataclasses import dataclass, field

from model import formats, pci
from testbench.driver.platform import DriverError

__all__ = ["Bar", "Capability", "MsixTable", "PciFunction"]

# Where BARs are placed: above 4 GiB for 64-bit ones, where both halves of the address count, and below for others.
WINDOW_64 = 0x00a5_8000_0000
WINDOW_32 = 0x8000_0000

_HEADER = pci.PCI_HEADER.fields


@dataclass(frozen=True)
class Bar:
    """A memory BAR as assigned."""
    index: int
    address: int
    size: int
    is_64_bit: bool


@dataclass(frozen=True)
class Capability:
    """An entry of a capability list; `offset` in configuration space."""
    id: int
    offset: int


@dataclass
class PciFunction:
    """One function; call `enumerate` first.

    Attributes
    ----------
    bars : index → Bar
    capabilities, extended : Capability entries in the order of their lists
    """
    host: object
    bars: dict = field(default_factory=dict)
    capabilities: list = field(default_factory=list)
    extended: list = field(default_factory=list)

    # Accesses

    async def read(self, dtype, name, base=0):
        """A register by its name in `dtype`, located at `base`."""
        offset, size = formats.field(dtype, name)
        return await self.host.config_read(base + offset, size)

    async def write(self, dtype, name, value, base=0):
        offset, size = formats.field(dtype, name)
        await self.host.config_write(base + offset, value, size)

    async def read_bytes(self, offset, length):
        """`length` bytes at `offset`, by DWs."""
        first = offset & ~3
        dwords = [await self.host.config_read(at, 4) for at in range(first, offset + length, 4)]
        data = b"".join(dword.to_bytes(4, "little") for dword in dwords)
        return data[offset - first:offset - first + length]

    # Enumeration

    async def enumerate(self, vendor, device):
        """Check the identity, place all BARs, walk both capability lists. Memory space and bus mastering stay off."""
        found = (await self.read(pci.PCI_HEADER, "vendor_id"), await self.read(pci.PCI_HEADER, "device_id"))
        if found != (vendor, device):
            raise DriverError(f"found {found[0]:04x}:{found[1]:04x} and not {vendor:04x}:{device:04x}")
        await self.set_command(clear=pci.Command.MEMORY_SPACE | pci.Command.BUS_MASTER)
        await self._place_bars()
        self.capabilities = await self._walk()
        self.extended = await self._walk_extended()

    async def _place_bars(self):
        """Size each BAR by writing ones, then place it naturally aligned."""
        next_64, next_32 = WINDOW_64, WINDOW_32
        index = 0
        self.bars = {}
        while index < 6:
            offset = _HEADER["bar"][1] + 4 * index
            await self.host.config_write(offset, 0xffff_ffff, 4)
            low = await self.host.config_read(offset, 4)
            is_64_bit = low & 0b111 == 0b100
            if low & 1:
                raise DriverError(f"BAR {index} is an I/O BAR")
            mask = low & ~0xf
            if is_64_bit:
                await self.host.config_write(offset + 4, 0xffff_ffff, 4)
                mask |= await self.host.config_read(offset + 4, 4) << 32
            elif mask:
                mask |= 0xffff_ffff << 32
            if mask:
                size = -mask & 0xffff_ffff_ffff_ffff
                address = -(-(next_64 if is_64_bit else next_32) // size) * size
                if is_64_bit:
                    next_64 = address + size
                    await self.host.config_write(offset + 4, address >> 32, 4)
                else:
                    next_32 = address + size
                await self.host.config_write(offset, address & 0xffff_ffff, 4)
                self.bars[index] = Bar(index, address, size, is_64_bit)
            index += 2 if is_64_bit else 1

    async def _walk(self):
        if not await self.read(pci.PCI_HEADER, "status") & pci.STATUS_CAPABILITIES:
            return []
        found = []
        offset = await self.read(pci.PCI_HEADER, "capabilities") & ~3
        while offset:
            if offset in [known.offset for known in found] or offset < 0x40:
                raise DriverError(f"capability list comes to {offset:#x}")
            found.append(Capability(await self.host.config_read(offset, 1), offset))
            offset = await self.host.config_read(offset + 1, 1) & ~3
        return found

    async def _walk_extended(self):
        found = []
        offset = 0x100
        while offset:
            if offset in [known.offset for known in found] or offset < 0x100:
                raise DriverError(f"extended capability list comes to {offset:#x}")
            header = await self.host.config_read(offset, 4)
            if header in (0, 0xffff_ffff):
                break
            found.append(Capability(header & 0xffff, offset))
            offset = header >> 20 & ~3
        return found

    def find(self, id, extended=False):
        """Offset of the first capability with `id`; raises `DriverError` if there is none."""
        for capability in self.extended if extended else self.capabilities:
            if capability.id == id:
                return capability.offset
        raise DriverError(f"no {'extended ' if extended else ''}capability {id:#x}")

    # Control

    async def set_command(self, *, set=0, clear=0):
        """Set and clear bits of the Command register. `host.rules` knows of Bus Master Enable while it may be on."""
        old = await self.read(pci.PCI_HEADER, "command")
        new = old & ~int(clear) | int(set)
        if new & pci.Command.BUS_MASTER:
            self.host.rules.bus_master = True
        await self.write(pci.PCI_HEADER, "command", new)
        self.host.rules.bus_master = bool(new & pci.Command.BUS_MASTER)

    async def configure_express(self, *, max_payload=256, max_read_request=512, extended_tags=True,
                                relaxed_ordering=True):
        """Device Control: sizes in bytes, 128 to 4096, Max_Payload_Size cut to what the function can do; error
        reporting on. Returns the Max_Payload_Size set."""
        at = self.find(pci.CapId.EXPRESS)
        capabilities = await self.read(pci.PCIE_CAP, "device_capabilities", at)
        max_payload = min(max_payload, 128 << (capabilities & 7))
        control = (pci.DEVCTL_ERRORS | _size_code(max_payload) << pci.DEVCTL_PAYLOAD_SHIFT
                   | _size_code(max_read_request) << pci.DEVCTL_READ_REQUEST_SHIFT)
        if extended_tags and capabilities & pci.DEVCAP_EXTENDED_TAG:
            control |= pci.DEVCTL_EXTENDED_TAG
        if relaxed_ordering:
            control |= pci.DEVCTL_RELAXED_ORDERING
        await self.write(pci.PCIE_CAP, "device_control", control, at)
        rules = self.host.rules
        rules.mps, rules.mrrs = max_payload, max_read_request
        rules.extended_tags = bool(control & pci.DEVCTL_EXTENDED_TAG)
        return max_payload

    async def function_level_reset(self, platform, *, settle_ns=100_000):
        """FLR: silence the function, wait for its transactions, reset it, give it `settle_ns` (100 ms by PCI Express,
        which no simulation has). Everything must be configured anew afterwards."""
        at = self.find(pci.CapId.EXPRESS)
        if not await self.read(pci.PCIE_CAP, "device_capabilities", at) & pci.DEVCAP_FLR:
            raise DriverError("the function has no function level reset")
        await self.set_command(clear=pci.Command.BUS_MASTER)
        while await self.read(pci.PCIE_CAP, "device_status", at) & pci.DEVSTA_TRANSACTIONS_PENDING:
            await platform.sleep(1000)
        control = await self.read(pci.PCIE_CAP, "device_control", at)
        await self.write(pci.PCIE_CAP, "device_control", control | pci.DEVCTL_FLR, at)
        self.host.rules.extended_tags, self.host.rules.mrrs = False, 512
        await platform.sleep(settle_ns)

    async def read_errors(self, *, clear=True):
        """What Advanced Error Reporting has recorded: (uncorrectable status, correctable status, header log)."""
        at = self.find(pci.EXTENDED_AER, extended=True)
        uncorrectable = await self.read(pci.AER_CAP, "uncorrectable_status", at)
        correctable = await self.read(pci.AER_CAP, "correctable_status", at)
        log = await self.read_bytes(at + pci.AER_CAP.fields["header_log"][1], 16)
        if clear:
            await self.write(pci.AER_CAP, "uncorrectable_status", uncorrectable, at)
            await self.write(pci.AER_CAP, "correctable_status", correctable, at)
            device_status = await self.read(pci.PCIE_CAP, "device_status", self.find(pci.CapId.EXPRESS))
            await self.write(pci.PCIE_CAP, "device_status", device_status & 0xf, self.find(pci.CapId.EXPRESS))
        return uncorrectable, correctable, log


def _size_code(size):
    if size not in (128, 256, 512, 1024, 2048, 4096):
        raise DriverError(f"{size} is not a power of 2 from 128 to 4096")
    return size.bit_length() - 8


class MsixTable:
    """MSI-X of a function: its table in a BAR, and its control bits. Call `discover` first."""

    def __init__(self, function):
        self._function = function
        self._at = function.find(pci.CapId.MSIX)
        self.vectors = None

    async def discover(self):
        function = self._function
        self.vectors = (await function.read(pci.MSIX_CAP, "control", self._at) & 0x7ff) + 1
        table = await function.read(pci.MSIX_CAP, "table", self._at)
        pending = await function.read(pci.MSIX_CAP, "pba", self._at)
        self._table = function.bars[table & 7].address + (table & ~7)
        self._pending = function.bars[pending & 7].address + (pending & ~7)

    async def set_vector(self, vector, address, data):
        """Where a vector's message goes; unmasks it. Masked while it changes, as PCI demands."""
        if not 0 <= vector < self.vectors:
            raise DriverError(f"vector {vector} of {self.vectors}")
        await self.mask(vector)
        for offset, value in ((0, address & 0xffff_ffff), (4, address >> 32), (8, data)):
            await self._function.host.mmio_write(self._table + 16 * vector + offset, value, 4)
        await self.unmask(vector)

    async def mask(self, vector):
        await self._function.host.mmio_write(self._table + 16 * vector + 12, pci.MSIX_ENTRY_MASKED, 4)

    async def unmask(self, vector):
        await self._function.host.mmio_write(self._table + 16 * vector + 12, 0, 4)

    async def is_pending(self, vector):
        dword = await self._function.host.mmio_read(self._pending + vector // 32 * 4, 4)
        return bool(dword >> vector % 32 & 1)

    async def control(self, *, enable, function_mask=False):
        """Set MSI-X Enable and Function Mask."""
        value = (pci.MSIX_ENABLE if enable else 0) | (pci.MSIX_FUNCTION_MASK if function_mask else 0)
        await self._function.write(pci.MSIX_CAP, "control", value, self._at)
