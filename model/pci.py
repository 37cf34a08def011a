"""Formats of PCI configuration space: NumPy dtypes, offsets and bits.

Source: PCI Express Base Specification, Revision 4.0, chapter 7; PCI Local Bus Specification 3.0, section 6.8.2 (MSI-X).
Declared here on their own, and never derived from `hdl`.
"""

from enum import IntEnum, IntFlag

import numpy as np

PCI_HEADER = np.dtype([
    ("vendor_id", "<u2"), ("device_id", "<u2"), ("command", "<u2"), ("status", "<u2"), ("revision_id", "u1"),
    ("class_code", "u1", 3), ("cache_line_size", "u1"), ("latency_timer", "u1"), ("header_type", "u1"), ("bist", "u1"),
    ("bar", "<u4", 6), ("cardbus_cis", "<u4"), ("subsystem_vendor_id", "<u2"), ("subsystem_id", "<u2"),
    ("expansion_rom", "<u4"), ("capabilities", "u1"), ("reserved", "u1", 7), ("interrupt_line", "u1"),
    ("interrupt_pin", "u1"), ("min_gnt", "u1"), ("max_lat", "u1")])


class Command(IntFlag):
    """Command register."""
    MEMORY_SPACE = 1 << 1
    BUS_MASTER = 1 << 2
    SERR = 1 << 8
    INTERRUPT_DISABLE = 1 << 10


STATUS_INTERRUPT = 1 << 3
STATUS_CAPABILITIES = 1 << 4


class CapId(IntEnum):
    """Capability ids in the first 256 bytes."""
    POWER = 0x01
    VENDOR = 0x09
    EXPRESS = 0x10
    MSIX = 0x11


EXTENDED_AER = 0x0001

PCIE_CAP = np.dtype([
    ("id", "u1"), ("next", "u1"), ("capabilities", "<u2"), ("device_capabilities", "<u4"), ("device_control", "<u2"),
    ("device_status", "<u2"), ("link_capabilities", "<u4"), ("link_control", "<u2"), ("link_status", "<u2"),
    ("slot", "<u4", 2), ("root", "<u4", 2), ("device_capabilities_2", "<u4"), ("device_control_2", "<u2"),
    ("device_status_2", "<u2"), ("link_capabilities_2", "<u4"), ("link_control_2", "<u2"), ("link_status_2", "<u2"),
    ("slot_2", "<u4", 2)])

DEVCAP_EXTENDED_TAG = 1 << 5
DEVCAP_FLR = 1 << 28
DEVCTL_ERRORS = 0xf                     # correctable, non-fatal, fatal and unsupported request reporting
DEVCTL_RELAXED_ORDERING = 1 << 4
DEVCTL_PAYLOAD_SHIFT = 5
DEVCTL_EXTENDED_TAG = 1 << 8
DEVCTL_NO_SNOOP = 1 << 11
DEVCTL_READ_REQUEST_SHIFT = 12
DEVCTL_FLR = 1 << 15
DEVSTA_TRANSACTIONS_PENDING = 1 << 5

MSIX_CAP = np.dtype([("id", "u1"), ("next", "u1"), ("control", "<u2"), ("table", "<u4"), ("pba", "<u4")])
MSIX_ENABLE = 1 << 15
MSIX_FUNCTION_MASK = 1 << 14
MSIX_ENTRY = np.dtype([("address", "<u8"), ("data", "<u4"), ("control", "<u4")])
MSIX_ENTRY_MASKED = 1

POWER_CAP = np.dtype([("id", "u1"), ("next", "u1"), ("capabilities", "<u2"), ("control", "<u2"), ("reserved", "<u2")])

AER_CAP = np.dtype([
    ("header", "<u4"), ("uncorrectable_status", "<u4"), ("uncorrectable_mask", "<u4"),
    ("uncorrectable_severity", "<u4"), ("correctable_status", "<u4"), ("correctable_mask", "<u4"),
    ("control", "<u4"), ("header_log", "<u4", 4)])
