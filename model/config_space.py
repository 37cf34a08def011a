"""PCI configuration space of the functional card: registers with write masks, capabilities, BAR 0, MSI-X.

Source: PCI Express Base Specification, Revision 4.0, chapter 7; VIRTIO Version 1.4, section "Virtio Structure PCI
Capabilities".
"""

import numpy as np

from model import formats, pci
from model.formats import CapType

__all__ = ["ConfigSpace"]

CONFIG_BYTES = 4096


class ConfigSpace:
    """4 KiB of bytes, each bit read-only, writable, or cleared by writing 1. Its registers are NumPy views:
`header`, `power`, `express`, `msix`, `aer`, and `window` (VIRTIO_PCI_CAP_PCI_CFG).

    Parameters
    ----------
    bar_bytes : size of BAR 0, a power of 2
    structures : list of (CapType, offset in BAR 0, length) in the order of preference
    multiplier : notify_off_multiplier
    vectors : MSI-X table entries
    table, pending : offsets in BAR 0 of the MSI-X table and of the pending bits
    window_read, window_write : (offset in BAR 0, size), (offset, value, size): accesses through `window`
    flr : called on Initiate Function Level Reset, before the registers return to their defaults
    """

    def __init__(self, *, bar_bytes, structures, multiplier, vectors, table, pending, window_read, window_write, flr):
        self._bytes = np.zeros(CONFIG_BYTES, np.uint8)
        self._writable = np.zeros(CONFIG_BYTES, np.uint8)
        self._clearable = np.zeros(CONFIG_BYTES, np.uint8)
        self._window_read = window_read
        self._window_write = window_write
        self._flr = flr
        self._next_pointer = pci.PCI_HEADER.fields["capabilities"][1]
        self._free = 0x40
        self._build_header(bar_bytes)
        self._build_power()
        self._build_express()
        self._build_msix(vectors, table, pending)
        self._build_virtio(structures, multiplier, bar_bytes)
        self._build_aer()
        self._defaults = self._bytes.copy()

    # Building

    def _place(self, dtype, offset, source):
        return source[offset:offset + dtype.itemsize].view(dtype)[0]

    def _capability(self, dtype, id):
        """Append a capability to the list; returns (offset, register view, write mask view)."""
        offset = self._free
        self._bytes[self._next_pointer] = offset
        self._bytes[offset] = id
        self._next_pointer = offset + 1
        self._free = -(-(offset + dtype.itemsize) // 4) * 4
        return offset, self._place(dtype, offset, self._bytes), self._place(dtype, offset, self._writable)

    def _build_header(self, bar_bytes):
        self.header = header = self._place(pci.PCI_HEADER, 0, self._bytes)
        writable = self._place(pci.PCI_HEADER, 0, self._writable)
        header["vendor_id"] = header["subsystem_vendor_id"] = formats.VENDOR_ID
        header["device_id"] = header["subsystem_id"] = formats.DEVICE_ID_NET
        header["revision_id"] = 1
        header["class_code"] = list(formats.CLASS_ETHERNET.to_bytes(3, "little"))
        header["interrupt_pin"] = 1
        header["status"] = pci.STATUS_CAPABILITIES
        header["bar"][0] = 0b100            # 64-bit memory
        mask = -bar_bytes & 0xffff_ffff_ffff_ffff
        writable["bar"][0], writable["bar"][1] = mask & 0xffff_ffff, mask >> 32
        writable["command"] = (pci.Command.MEMORY_SPACE | pci.Command.BUS_MASTER | pci.Command.SERR
                               | pci.Command.INTERRUPT_DISABLE)
        writable["interrupt_line"] = writable["cache_line_size"] = 0xff

    def _build_power(self):
        _, self.power, writable = self._capability(pci.POWER_CAP, pci.CapId.POWER)
        self.power["capabilities"] = 3
        writable["control"] = 3

    def _build_express(self):
        self._express_at, self.express, writable = self._capability(pci.PCIE_CAP, pci.CapId.EXPRESS)
        self.express["capabilities"] = 2                            # endpoint, version 2
        self.express["device_capabilities"] = pci.DEVCAP_FLR | pci.DEVCAP_EXTENDED_TAG | 1 << 15 | 2    # 512 bytes
        self.express["device_control"] = 2 << pci.DEVCTL_READ_REQUEST_SHIFT | pci.DEVCTL_RELAXED_ORDERING
        writable["device_control"] = (pci.DEVCTL_ERRORS | pci.DEVCTL_RELAXED_ORDERING | 7 << pci.DEVCTL_PAYLOAD_SHIFT
                                      | pci.DEVCTL_EXTENDED_TAG | 7 << pci.DEVCTL_READ_REQUEST_SHIFT)
        self._place(pci.PCIE_CAP, self._express_at, self._clearable)["device_status"] = 0xf

    def _build_msix(self, vectors, table, pending):
        _, self.msix, writable = self._capability(pci.MSIX_CAP, pci.CapId.MSIX)
        self.msix["control"] = vectors - 1
        self.msix["table"], self.msix["pba"] = table, pending       # both in BAR 0
        writable["control"] = pci.MSIX_ENABLE | pci.MSIX_FUNCTION_MASK

    def _build_virtio(self, structures, multiplier, bar_bytes):
        self.bar_bytes = bar_bytes
        for kind, start, length in structures:
            dtype = formats.VIRTIO_PCI_NOTIFY_CAP if kind == CapType.NOTIFY else formats.VIRTIO_PCI_CAP
            _, cap, _ = self._capability(dtype, pci.CapId.VENDOR)
            cap["cap_len"], cap["cfg_type"] = dtype.itemsize, kind
            cap["offset"], cap["length"] = start, length
            if kind == CapType.NOTIFY:
                cap["notify_off_multiplier"] = multiplier
        at, self.window, writable = self._capability(formats.VIRTIO_PCI_CFG_CAP, pci.CapId.VENDOR)
        self.window["cap_len"], self.window["cfg_type"] = formats.VIRTIO_PCI_CFG_CAP.itemsize, CapType.PCI
        for name, mask in (("bar", 0xff), ("offset", 0xffff_ffff), ("length", 0xffff_ffff),
                           ("pci_cfg_data", 0xffff_ffff)):
            writable[name] = mask
        self._window_data = at + formats.field(formats.VIRTIO_PCI_CFG_CAP, "pci_cfg_data")[0]

    def _build_aer(self):
        self.aer = self._place(pci.AER_CAP, 0x100, self._bytes)
        self.aer["header"] = pci.EXTENDED_AER | 2 << 16
        writable = self._place(pci.AER_CAP, 0x100, self._writable)
        writable["uncorrectable_mask"] = writable["uncorrectable_severity"] = writable["correctable_mask"] = 0xffff_ffff
        clearable = self._place(pci.AER_CAP, 0x100, self._clearable)
        clearable["uncorrectable_status"] = clearable["correctable_status"] = 0xffff_ffff

    # Accesses

    def read(self, offset, size):
        """`size` bytes, 1, 2 or 4, as a number."""
        if offset <= self._window_data < offset + size and (access := self._window_access()):
            self.window["pci_cfg_data"] = self._window_read(*access)
        return int.from_bytes(self._bytes[offset:offset + size].tobytes(), "little")

    def write(self, offset, value, size):
        part = slice(offset, offset + size)
        data = np.frombuffer(value.to_bytes(size, "little"), np.uint8)
        writable = self._writable[part]
        self._bytes[part] = (self._bytes[part] & ~writable | data & writable) & ~(data & self._clearable[part])
        control = self._express_at + formats.field(pci.PCIE_CAP, "device_control")[0]
        if offset <= control + 1 < offset + size and data[control + 1 - offset] & pci.DEVCTL_FLR >> 8:
            self._flr()
            self._bytes[:] = self._defaults
        elif offset <= self._window_data < offset + size and (access := self._window_access()):
            start, length = access
            self._window_write(start, int(self.window["pci_cfg_data"]) & (1 << 8 * length) - 1, length)

    def _window_access(self):
        """(offset, size) that `window` is set to, or None if that is no access to BAR 0."""
        start, length = int(self.window["offset"]), int(self.window["length"])
        legal = (self.window["bar"] == 0 and length in (1, 2, 4) and start % length == 0
                 and start + length <= self.bar_bytes)
        return (start, length) if legal else None

    # Questions

    @property
    def bar(self):
        """Address that BAR 0 is set to."""
        return int(self.header["bar"][1]) << 32 | int(self.header["bar"][0]) & ~0xf

    def commands(self, command):
        """Whether a bit of the Command register is set."""
        return bool(self.header["command"] & command)

    @property
    def msix_enabled(self):
        return bool(self.msix["control"] & pci.MSIX_ENABLE)

    @property
    def msix_masked(self):
        return bool(self.msix["control"] & pci.MSIX_FUNCTION_MASK)
