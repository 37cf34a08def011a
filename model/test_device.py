"""Registers and life cycle of the functional card, as a driver finds them."""

import pytest

from model import formats, pci
from model.device import OFFERED, FunctionalNic, NicParameters
from model.formats import Status
from model.memory import HostMemory

BAR = 0x12_3400_0000


@pytest.fixture
def nic():
    card = FunctionalNic(HostMemory(), NicParameters(pairs=2, queue_size_max=300))
    card.config_write(0x10, BAR & 0xffff_ffff, 4)
    card.config_write(0x14, BAR >> 32, 4)
    card.config_write(0x04, pci.Command.MEMORY_SPACE | pci.Command.BUS_MASTER, 2)
    return card


def read(nic, name, dtype=formats.COMMON_CFG, base=0):
    offset, size = formats.field(dtype, name)
    return nic.mmio_read(BAR + base + offset, size)


def write(nic, name, value):
    offset, size = formats.field(formats.COMMON_CFG, name)
    nic.mmio_write(BAR + offset, value, size)


def go_live(nic):
    write(nic, "device_status", Status.ACKNOWLEDGE | Status.DRIVER)
    for window in range(2):
        write(nic, "driver_feature_select", window)
        write(nic, "driver_feature", OFFERED >> 32 * window & 0xffff_ffff)
    write(nic, "device_status", 0x0b)
    assert read(nic, "device_status") == 0x0b
    write(nic, "device_status", 0x0f)


def capability(nic, kind):
    """Offset of the first capability of `kind`, a CapId, or of a CapType of virtio."""
    at = nic.config_read(0x34, 1)
    while at:
        if isinstance(kind, pci.CapId):
            if nic.config_read(at, 1) == kind:
                return at
        elif nic.config_read(at, 1) == pci.CapId.VENDOR and nic.config_read(at + 3, 1) == kind:
            return at
        at = nic.config_read(at + 1, 1)
    raise AssertionError(f"no {kind}")


def test_bar_sizing(nic):
    nic.config_write(0x10, 0xffff_ffff, 4)
    nic.config_write(0x14, 0xffff_ffff, 4)
    assert nic.config_read(0x10, 4) == 0xfffc_0004 and nic.config_read(0x14, 4) == 0xffff_ffff


def test_memory_space_must_be_on(nic):
    assert read(nic, "num_queues") == 4
    nic.config_write(0x04, 0, 2)
    assert read(nic, "num_queues") == 0xffff
    write(nic, "queue_select", 1)
    nic.config_write(0x04, 2, 2)
    assert read(nic, "queue_select") == 0


def test_any_width_is_accepted(nic):
    nic.mmio_write(BAR + 32, 0x1122_3344_5566_7788, 8)
    assert read(nic, "queue_desc") == 0x1122_3344_5566_7788
    nic.mmio_write(BAR + 35, 0xaa, 1)
    assert read(nic, "queue_desc") == 0x1122_3344_aa66_7788
    assert [nic.mmio_read(BAR + 32 + i, 1) for i in range(8)] == [0x88, 0x77, 0x66, 0xaa, 0x44, 0x33, 0x22, 0x11]


@pytest.mark.parametrize("window, bits", [(0, OFFERED & 0xffff_ffff), (1, OFFERED >> 32 & 0xffff_ffff),
                                          (2, 0), (3, 0), (0xffff_ffff, 0)])
def test_feature_windows(nic, window, bits):
    write(nic, "device_feature_select", window)
    assert read(nic, "device_feature") == bits


def test_queues(nic):
    assert [(write(nic, "queue_select", i), read(nic, "queue_size"), read(nic, "queue_notify_off"))[1:]
            for i in (0, 3, 4, 0xffff)] == [(300, 0), (300, 3), (0, 0), (0, 0)]
    write(nic, "queue_select", 1)
    write(nic, "queue_size", 77)
    write(nic, "queue_enable", 1)
    write(nic, "queue_enable", 0)
    write(nic, "queue_size", 78)
    assert (read(nic, "queue_enable"), read(nic, "queue_size")) == (1, 77)
    write(nic, "device_status", 0)
    write(nic, "queue_select", 1)
    assert (read(nic, "queue_enable"), read(nic, "queue_size")) == (0, 300)


def test_vectors_that_are_not_there_are_not_mapped(nic):
    for name in ("config_msix_vector", "queue_msix_vector"):
        assert read(nic, name) == 0xffff
        write(nic, name, 4)
        assert read(nic, name) == 4
        write(nic, name, 5)
        assert read(nic, name) == 0xffff


def test_status_bits_are_cleared_by_reset_only(nic):
    go_live(nic)
    write(nic, "device_status", 1)
    assert read(nic, "device_status") == 0x0f
    write(nic, "device_status", 0)
    assert read(nic, "device_status") == 0


def test_features_are_judged_once(nic):
    write(nic, "driver_feature_select", 1)
    write(nic, "driver_feature", 1)
    write(nic, "device_status", 0x0b)
    assert read(nic, "device_status") == 0x03
    write(nic, "device_status", 0)
    go_live(nic)
    write(nic, "driver_feature", 0)
    write(nic, "device_status", 0x0f)
    assert (read(nic, "device_status"), nic.common.features) == (0x0f, OFFERED)


def test_device_configuration(nic):
    config = {name: read(nic, name, formats.VIRTIO_NET_CONFIG, 0x200) for name in ("mac", "status", "mtu", "duplex")}
    assert config["mac"] & (1 << 48) - 1 == int.from_bytes(nic.parameters.mac, "little")
    assert (config["status"], config["mtu"], config["duplex"]) == (1, 1500, 1)
    nic.mmio_write(BAR + 0x20a, 9000, 2)
    assert read(nic, "mtu", formats.VIRTIO_NET_CONFIG, 0x200) == 1500


def test_generation_changes_with_the_first_read_after_a_change(nic):
    for _ in range(300):
        old = read(nic, "config_generation")
        nic.link_up = not nic.link_up
        assert read(nic, "config_generation") == old
        read(nic, "status", formats.VIRTIO_NET_CONFIG, 0x200)
        assert read(nic, "config_generation") == (old + 1) % 256


def test_intx_follows_isr_and_its_masks(nic):
    levels = []
    nic.interrupts.on_intx = levels.append
    go_live(nic)
    nic.link_up = False
    assert levels == [True] and nic.config_read(0x06, 2) & pci.STATUS_INTERRUPT
    nic.config_write(0x04, 6 | pci.Command.INTERRUPT_DISABLE, 2)
    assert levels == [True, False] and nic.config_read(0x06, 2) & pci.STATUS_INTERRUPT
    nic.config_write(0x04, 6, 2)
    assert nic.mmio_read(BAR + 0x100, 1) == formats.ISR_CONFIG and nic.mmio_read(BAR + 0x100, 1) == 0
    assert levels == [True, False, True, False] and not nic.config_read(0x06, 2) & pci.STATUS_INTERRUPT


def test_masked_messages_wait(nic):
    memory = nic.memory
    target = memory.allocate(4)
    memory.give(target, 4, "w")
    messages = []
    memory.watch(target, 4, lambda address, data: messages.append(data[0]))
    at = capability(nic, pci.CapId.MSIX)
    table, pending = BAR + 0x2_0000, BAR + 0x3_0000
    assert nic.config_read(at + 2, 2) == 4
    assert (nic.config_read(at + 4, 4), nic.config_read(at + 8, 4)) == (0x2_0000, 0x3_0000)
    nic.config_write(at + 2, pci.MSIX_ENABLE | pci.MSIX_FUNCTION_MASK, 2)
    nic.mmio_write(table + 16, target, 8)
    nic.mmio_write(table + 24, 0x55, 4)
    write(nic, "config_msix_vector", 1)
    go_live(nic)
    nic.link_up = False
    nic.link_up = True
    assert nic.mmio_read(pending, 8) == 2 and nic.interrupts.isr == formats.ISR_CONFIG
    nic.config_write(at + 2, pci.MSIX_ENABLE, 2)
    assert messages == []
    nic.mmio_write(table + 28, 0, 4)
    assert messages == [0x55] and nic.mmio_read(pending, 8) == 0
    nic.config_write(at + 2, pci.MSIX_ENABLE | pci.MSIX_FUNCTION_MASK, 2)
    nic.link_up = False
    assert messages == [0x55]
    nic.config_write(at + 2, pci.MSIX_ENABLE, 2)
    assert messages == [0x55, 0x55]
    write(nic, "config_msix_vector", 0xffff)
    nic.link_up = True
    assert messages == [0x55, 0x55]


def test_window(nic):
    at = capability(nic, formats.CapType.PCI)
    def aim(offset, length):
        nic.config_write(at + 4, 0, 1)
        nic.config_write(at + 8, offset, 4)
        nic.config_write(at + 12, length, 4)
    aim(18, 2)
    assert nic.config_read(at + 16, 2) == 4
    aim(22, 2)
    nic.config_write(at + 16, 3, 4)
    assert read(nic, "queue_select") == 3
    aim(23, 2)
    nic.config_write(at + 16, 0xffff, 4)
    assert read(nic, "queue_select") == 3


def test_function_level_reset(nic):
    go_live(nic)
    nic.config_write(capability(nic, pci.CapId.EXPRESS) + 8, pci.DEVCTL_FLR, 2)
    assert nic.config_read(0x04, 2) == 0 and nic.config.bar == 0 and nic.common.status == 0


def test_frames_from_the_wire_need_a_live_queue_and_a_legal_length(nic):
    nic.receive(bytes(60))
    assert nic.counters == {"rx_not_live": 1}
    write(nic, "queue_select", 0)
    write(nic, "queue_size", 1)
    for name in ("queue_desc", "queue_driver", "queue_device"):
        address = nic.memory.allocate(16)
        nic.memory.give(address, 16, "rw")
        write(nic, name, address)
    write(nic, "queue_enable", 1)
    go_live(nic)
    tag = b"\x81\x00\x00\x01"
    nic.counters.clear()
    nic.receive(bytes(1514))
    nic.receive(bytes(12) + tag + bytes(1502))
    nic.receive(bytes(12) + tag + tag + bytes(1502))
    assert not nic.counters
    nic.receive(bytes(1515))
    nic.receive(bytes(12) + tag + bytes(1503))
    assert nic.counters == {"rx_oversize": 2}
    for _ in range(60):
        nic.receive(bytes(1514))
    assert nic.counters["rx_overflow"] == 20
