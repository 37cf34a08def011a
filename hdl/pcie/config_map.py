"""The function's configuration space as data.

Source: PCI Local Bus Specification 3.0, chapter 6; PCI Bus Power Management Interface Specification 1.2, section 3.2;
PCI Express Base Specification 4.0, sections 7.5 and 7.8; VIRTIO 1.4, section 4.1.4. Sticky is what a function level
reset leaves alone (PCI Express section 6.6.2): error logs with their masks, Max_Payload_Size and link controls.
"""

import enum

from hdl.regs import Access, Field, RegisterMap

__all__ = ["CONFIG_BYTES", "MAX_PAYLOAD_CODE", "WINDOW_DATA", "Uncorrectable", "config_map"]


class Uncorrectable(enum.Enum):
    """Uncorrectable errors and their bits in the registers of Advanced Error Reporting (section 7.8.4)."""
    DATA_LINK_PROTOCOL = 4
    POISONED = 12
    COMPLETION_TIMEOUT = 14
    COMPLETER_ABORT = 15
    UNEXPECTED_COMPLETION = 16
    MALFORMED = 18
    UNSUPPORTED_REQUEST = 20


CONFIG_BYTES = 4096
MAX_PAYLOAD_CODE = 2    # 512 bytes

# Where each capability stands
POWER, MSIX, COMMON, NOTIFY, ISR, DEVICE, WINDOW, EXPRESS = 0x40, 0x48, 0x54, 0x64, 0x78, 0x88, 0x98, 0xac
ERRORS = 0x100
# pci_cfg_data: not a register, each access to it is one to BAR 0
WINDOW_DATA = WINDOW + 16


def constant(name, offset, width, value, bit=0, doc="fixed"):
    return Field(name=name, offset=offset, bit=bit, width=width, access=Access.CONSTANT, reset=value, doc=doc)


def live(name, offset, width, bit=0, doc="state"):
    return Field(name=name, offset=offset, bit=bit, width=width, access=Access.R, doc=doc)


def stored(name, offset, width, bit=0, reset=0, sticky=False, doc="control"):
    return Field(name=name, offset=offset, bit=bit, width=width, access=Access.RW, reset=reset, sticky=sticky, doc=doc)


def event(name, offset, bit, sticky=False, doc="event"):
    return Field(name=name, offset=offset, bit=bit, width=1, access=Access.W1C, sticky=sticky, doc=doc)


def kept(name, offset, width, bit=0, doc="kept outside"):
    return Field(name=name, offset=offset, bit=bit, width=width, access=Access.EXTERNAL, doc=doc)


def header(layout, subsystem_vendor, subsystem_device):
    """Type 0 header.

    BAR 0 is 64 bits wide and not prefetchable: reading the ISR status clears it, so nobody may read ahead.
    """
    return [
        constant("vendor_id", 0x00, 16, 0x1af4),
        constant("device_id", 0x02, 16, 0x1041, doc="non-transitional network device"),
        stored("memory_space_enable", 0x04, 1, bit=1),
        stored("bus_master_enable", 0x04, 1, bit=2),
        stored("parity_error_response", 0x04, 1, bit=6),
        stored("serr_enable", 0x04, 1, bit=8),
        stored("interrupt_disable", 0x04, 1, bit=10),
        live("interrupt_status", 0x06, 1, bit=3),
        constant("capabilities_list", 0x06, 1, 1, bit=4),
        event("master_data_parity", 0x06, 8, doc="our write went out, or a completion came back, poisoned"),
        event("signalled_target_abort", 0x06, 11, doc="a request was ended as Completer Abort"),
        event("received_target_abort", 0x06, 12, doc="a completion came back with Completer Abort"),
        event("received_master_abort", 0x06, 13, doc="a completion came back with Unsupported Request"),
        event("signalled_system_error", 0x06, 14, doc="ERR_FATAL or ERR_NONFATAL went out while SERR# is enabled"),
        event("detected_parity_error", 0x06, 15, doc="a poisoned TLP came in"),
        constant("revision_id", 0x08, 8, 1),
        constant("class_code", 0x09, 16, 0x0000, doc="programming interface and Ethernet"),
        constant("base_class", 0x0b, 8, 0x02, doc="network controller"),
        stored("cache_line_size", 0x0c, 8, doc="for software only"),
        constant("bar0_type", 0x10, 4, 0b0100, doc="memory, 64 bits, not prefetchable"),
        stored("bar0_low", 0x10, 32 - layout.size_bits, bit=layout.size_bits),
        stored("bar0_high", 0x14, 32),
        constant("subsystem_vendor_id", 0x2c, 16, subsystem_vendor),
        constant("subsystem_id", 0x2e, 16, subsystem_device),
        constant("capabilities_pointer", 0x34, 8, POWER),
        stored("interrupt_line", 0x3c, 8, doc="for software only"),
        constant("interrupt_pin", 0x3d, 8, 1, doc="INTA"),
    ]


def power_management():
    return [
        constant("power_capability", POWER, 16, MSIX << 8 | 0x01),
        constant("power_capabilities", POWER + 2, 16, 0x0003, doc="version 3; D0 and D3hot; no PME"),
        kept("power_state", POWER + 4, 2, doc="0 D0, 3 D3hot; other values are not stored"),
        constant("no_soft_reset", POWER + 4, 1, 1, bit=3, doc="D3hot to D0 keeps everything"),
    ]


def msix(layout):
    return [
        constant("msix_capability", MSIX, 16, COMMON << 8 | 0x11),
        constant("msix_table_size", MSIX + 2, 11, layout.vectors - 1, doc="vectors less 1"),
        stored("msix_function_mask", MSIX + 2, 1, bit=14),
        stored("msix_enable", MSIX + 2, 1, bit=15),
        constant("msix_table", MSIX + 4, 32, layout.msix_table, doc="offset in BAR 0"),
        constant("msix_pba", MSIX + 8, 32, layout.msix_pba, doc="offset in BAR 0"),
    ]


def virtio(name, at, following, kind, offset, length, size=16):
    """One `struct virtio_pci_cap` that describes a structure in BAR 0."""
    return [
        constant(f"{name}_capability", at, 32, kind << 24 | size << 16 | following << 8 | 0x09),
        constant(f"{name}_bar", at + 4, 8, 0),
        constant(f"{name}_offset", at + 8, 32, offset),
        constant(f"{name}_length", at + 12, 32, length),
    ]


def virtio_structures(layout):
    return [
        *virtio("common", COMMON, NOTIFY, 1, layout.common, layout.common_length),
        *virtio("notify", NOTIFY, ISR, 2, layout.notify, layout.notify_length, size=20),
        constant("notify_off_multiplier", NOTIFY + 16, 32, layout.page, doc="bytes between two doorbells"),
        *virtio("isr", ISR, DEVICE, 3, layout.isr, layout.isr_length),
        *virtio("device", DEVICE, WINDOW, 4, layout.device, layout.device_length),
        constant("window_capability", WINDOW, 32, 5 << 24 | 20 << 16 | EXPRESS << 8 | 0x09),
        stored("window_bar", WINDOW + 4, 8),
        stored("window_offset", WINDOW + 8, 32),
        stored("window_length", WINDOW + 12, 32),
    ]


def express():
    """PCI Express capability, version 2, of an endpoint on eight lanes at 8 GT/s."""
    control, status = EXPRESS + 0x08, EXPRESS + 0x0a
    return [
        constant("express_capability", EXPRESS, 16, 0x00 << 8 | 0x10),
        constant("express_capabilities", EXPRESS + 2, 16, 0x0002, doc="version 2, endpoint"),
        constant("device_capabilities", EXPRESS + 4, 32, 1 << 28 | 1 << 15 | 1 << 5 | MAX_PAYLOAD_CODE,
                 doc="FLR, role-based error reporting, 8-bit tags, 512-byte payloads"),
        stored("correctable_enable", control, 1, bit=0),
        stored("nonfatal_enable", control, 1, bit=1),
        stored("fatal_enable", control, 1, bit=2),
        stored("unsupported_enable", control, 1, bit=3),
        stored("relaxed_ordering_enable", control, 1, bit=4, reset=1),
        stored("max_payload", control, 3, bit=5, sticky=True, doc="128 bytes << code"),
        stored("extended_tag_enable", control, 1, bit=8),
        stored("no_snoop_enable", control, 1, bit=11, reset=1),
        stored("max_read_request", control, 3, bit=12, reset=2, doc="128 bytes << code"),
        kept("initiate_flr", control, 1, bit=15, doc="reads 0"),
        event("correctable_detected", status, 0),
        event("nonfatal_detected", status, 1),
        event("fatal_detected", status, 2),
        event("unsupported_detected", status, 3),
        live("transactions_pending", status, 1, bit=5),
        constant("link_capabilities", EXPRESS + 0x0c, 32, 1 << 22 | 8 << 4 | 3, doc="8 GT/s, eight lanes, no ASPM"),
        stored("aspm_control", EXPRESS + 0x10, 2, sticky=True),
        stored("read_completion_boundary", EXPRESS + 0x10, 1, bit=3, sticky=True, doc="of the root complex"),
        stored("common_clock", EXPRESS + 0x10, 1, bit=6, sticky=True),
        stored("extended_synch", EXPRESS + 0x10, 1, bit=7, sticky=True),
        constant("link_status", EXPRESS + 0x12, 16, 1 << 12 | 8 << 4 | 3, doc="8 GT/s, eight lanes, slot clock"),
        constant("device_capabilities_2", EXPRESS + 0x24, 32, 0x1f, doc="completion timeout ranges A to D, disable"),
        stored("completion_timeout", EXPRESS + 0x28, 4, doc="range and value"),
        stored("completion_timeout_disable", EXPRESS + 0x28, 1, bit=4),
        constant("link_capabilities_2", EXPRESS + 0x2c, 32, 0b111 << 1, doc="2.5, 5 and 8 GT/s"),
        stored("target_link_speed", EXPRESS + 0x30, 4, reset=3, sticky=True),
    ]


def advanced_errors():
    """Advanced Error Reporting. What the layers below detect is never set here, but its mask and severity are kept."""
    fields = [constant("errors_capability", ERRORS, 32, 0x000 << 20 | 1 << 16 | 0x0001)]
    for error in Uncorrectable:
        name, bit = error.name.lower(), error.value
        fatal = error in (Uncorrectable.DATA_LINK_PROTOCOL, Uncorrectable.MALFORMED)
        fields += [
            event(f"{name}_status", ERRORS + 0x04, bit, sticky=True),
            stored(f"{name}_mask", ERRORS + 0x08, 1, bit=bit, sticky=True),
            stored(f"{name}_severity", ERRORS + 0x0c, 1, bit=bit, sticky=True, reset=int(fatal), doc="1 is fatal"),
        ]
    fields.append(event("advisory_status", ERRORS + 0x10, 13, sticky=True, doc="advisory non-fatal error"))
    for name, bit, masked in (("receiver_error", 0, 0), ("bad_tlp", 6, 0), ("bad_dllp", 7, 0),
                              ("replay_rollover", 8, 0), ("replay_timeout", 12, 0), ("advisory", 13, 1)):
        fields.append(stored(f"{name}_mask", ERRORS + 0x14, 1, bit=bit, sticky=True, reset=masked))
    fields.append(live("first_error", ERRORS + 0x18, 5, doc="bit number of the error whose header is logged"))
    fields += [live(f"header_log_{n}", ERRORS + 0x1c + 4 * n, 32) for n in range(4)]
    return fields


def config_map(layout, *, subsystem_vendor=0x1af4, subsystem_device=0x1041):
    """Register map of the whole space; what is not in it reads 0.

    Parameters
    ----------
    layout : BarLayout
    subsystem_vendor, subsystem_device : int
        16 bits each; a non-transitional device has a subsystem device id of 0x40 or more
    """
    if not 0x40 <= subsystem_device <= 0xffff:
        raise ValueError(f"subsystem device id must be 0x40 to 0xffff, not {subsystem_device:#x}")
    if not 0 <= subsystem_vendor <= 0xffff:
        raise ValueError(f"subsystem vendor id must have 16 bits, not {subsystem_vendor:#x}")
    return RegisterMap("pci config", CONFIG_BYTES, [
        *header(layout, subsystem_vendor, subsystem_device), *power_management(), *msix(layout),
        *virtio_structures(layout), *express(), *advanced_errors(),
    ])
