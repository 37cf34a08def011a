"""Register layouts of the virtio structures in BAR 0.

Source: VIRTIO 1.4, sections "Common configuration structure layout", "ISR status capability", "Network device
configuration layout". Fields of 64 bits are two of 32, low half first, as the driver accesses them.
"""

from hdl.regs import Access, Field, RegisterMap

from .spec import NO_VECTOR

__all__ = ["COMMON_CONFIG", "ISR_STATUS", "NET_CONFIG", "ADDRESS_FIELDS"]


def _field(offset, width, name, access, doc, reset=0):
    return Field(name=name, offset=offset, width=width, access=access, reset=reset, doc=doc)


# queue_desc, queue_driver and queue_device in the order of their DWs
ADDRESS_FIELDS = ("queue_desc_low", "queue_desc_high", "queue_driver_low", "queue_driver_high", "queue_device_low",
                  "queue_device_high")

COMMON_CONFIG = RegisterMap("common config", 64, [
    _field(0, 32, "device_feature_select", Access.RW, "window of device_feature"),
    _field(4, 32, "device_feature", Access.R, "offered features of that window"),
    _field(8, 32, "driver_feature_select", Access.RW, "window of driver_feature"),
    _field(12, 32, "driver_feature", Access.EXTERNAL, "accepted features of that window; offered ones read back"),
    _field(16, 16, "config_msix_vector", Access.EXTERNAL, "vector of configuration changes; 0xffff is none",
           reset=NO_VECTOR),
    _field(18, 16, "num_queues", Access.R, "virtqueues, without administration virtqueues"),
    _field(20, 8, "device_status", Access.EXTERNAL, "status bits; writing 0 resets the device"),
    _field(21, 8, "config_generation", Access.R, "changes when the device configuration has changed"),
    _field(22, 16, "queue_select", Access.RW, "virtqueue of the fields from queue_size on"),
    _field(24, 16, "queue_size", Access.EXTERNAL, "descriptors of the ring; the largest after reset; 0: no such queue"),
    _field(26, 16, "queue_msix_vector", Access.EXTERNAL, "vector of the queue; 0xffff is none", reset=NO_VECTOR),
    _field(28, 16, "queue_enable", Access.EXTERNAL, "writing 1 enables the queue"),
    _field(30, 16, "queue_notify_off", Access.R, "doorbell of the queue, in units of notify_off_multiplier"),
    *(_field(32 + 4 * n, 32, name, Access.EXTERNAL, f"{area}, {half} half")
      for n, (name, area, half) in enumerate(zip(
          ADDRESS_FIELDS,
          ("Descriptor Area",) * 2 + ("Driver Area",) * 2 + ("Device Area",) * 2,
          ("low", "high") * 3))),
    _field(56, 16, "queue_notif_config_data", Access.R, "with NOTIF_CONFIG_DATA: what doorbells of the queue carry"),
    _field(58, 16, "queue_reset", Access.EXTERNAL, "with RING_RESET: writing 1 resets the queue; 1 until that is done"),
    _field(60, 16, "admin_queue_index", Access.CONSTANT, "with ADMIN_VQ, which is not offered"),
    _field(62, 16, "admin_queue_num", Access.CONSTANT, "with ADMIN_VQ, which is not offered"),
])

ISR_STATUS = RegisterMap("isr", 4, [
    _field(0, 8, "isr_status", Access.EXTERNAL, "bit 0 queue interrupt, bit 1 configuration change; a read clears it"),
])

NET_CONFIG = RegisterMap("net config", 28, [
    _field(0, 32, "mac_low", Access.R, "MAC address, first four bytes"),
    _field(4, 16, "mac_high", Access.R, "MAC address, last two bytes"),
    _field(6, 16, "status", Access.R, "bit 0 link up, bit 1 announce"),
    _field(8, 16, "max_virtqueue_pairs", Access.R, "with MQ or RSS; else 0"),
    _field(10, 16, "mtu", Access.R, "largest mtu that the driver may use"),
    _field(12, 32, "speed", Access.R, "Mbit/s; 0xffffffff is unknown"),
    _field(16, 8, "duplex", Access.R, "0x01 full"),
    _field(17, 8, "rss_max_key_size", Access.R, "longest key in bytes, with RSS or HASH_REPORT; else 0"),
    _field(18, 16, "rss_max_indirection_table_length", Access.R, "most entries, with RSS; else 0"),
    _field(20, 32, "supported_hash_types", Access.R, "bit mask, with RSS or HASH_REPORT; else 0"),
    _field(24, 32, "supported_tunnel_types", Access.CONSTANT, "with HASH_TUNNEL, which is not offered"),
])
