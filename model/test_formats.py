"""Sizes and offsets as the specification prints them."""

import pytest

from model import formats, pci
from model.formats import Feature, feature_names, feature_set, lacking_prerequisites, net_header_bytes


def offsets(dtype):
    return {name: formats.field(dtype, name) for name in dtype.names}


def test_packed_ring():
    assert offsets(formats.PVIRTQ_DESC) == {"address": (0, 8), "length": (8, 4), "id": (12, 2), "flags": (14, 2)}
    assert formats.PVIRTQ_DESC.itemsize == formats.DESC.size == formats.DESC_BYTES == 16
    assert offsets(formats.PVIRTQ_EVENT_SUPPRESS) == {"desc": (0, 2), "flags": (2, 2)}
    assert formats.AVAILABLE == (0x8000, 0x0080) and formats.USED == (0x0000, 0x8080)


def test_common_configuration():
    assert offsets(formats.COMMON_CFG) == {
        "device_feature_select": (0, 4), "device_feature": (4, 4), "driver_feature_select": (8, 4),
        "driver_feature": (12, 4), "config_msix_vector": (16, 2), "num_queues": (18, 2), "device_status": (20, 1),
        "config_generation": (21, 1), "queue_select": (22, 2), "queue_size": (24, 2), "queue_msix_vector": (26, 2),
        "queue_enable": (28, 2), "queue_notify_off": (30, 2), "queue_desc": (32, 8), "queue_driver": (40, 8),
        "queue_device": (48, 8), "queue_notif_config_data": (56, 2), "queue_reset": (58, 2),
        "admin_queue_index": (60, 2), "admin_queue_num": (62, 2)}


def test_network_configuration():
    assert offsets(formats.VIRTIO_NET_CONFIG) == {
        "mac": (0, 6), "status": (6, 2), "max_virtqueue_pairs": (8, 2), "mtu": (10, 2), "speed": (12, 4),
        "duplex": (16, 1), "rss_max_key_size": (17, 1), "rss_max_indirection_table_length": (18, 2),
        "supported_hash_types": (20, 4), "supported_tunnel_types": (24, 4)}


def test_network_header():
    assert offsets(formats.VIRTIO_NET_HDR_OUT) == {
        "flags": (0, 1), "gso_type": (1, 1), "hdr_len": (2, 2), "gso_size": (4, 2), "csum_start": (6, 2),
        "csum_offset": (8, 2), "num_buffers": (10, 2), "hash_value": (12, 4), "hash_report": (16, 2),
        "padding_reserved": (18, 2), "outer_th_offset": (20, 2), "inner_nh_offset": (22, 2),
        "outer_nh_offset": (24, 2), "resource_id": (26, 4), "resource_type": (30, 2)}


@pytest.mark.requirements("DRV-096", "DRV-115")
@pytest.mark.parametrize("feature, size", [
    (Feature.NET_MAC, 12), (Feature.NET_HASH_REPORT, 20), (Feature.NET_HOST_UDP_TUNNEL_GSO, 24),
    (Feature.NET_GUEST_UDP_TUNNEL_GSO, 24), (Feature.NET_OUT_NET_HEADER, 32), (Feature.NET_IPSEC, 32)])
def test_header_size_follows_features(feature, size):
    assert net_header_bytes(feature_set(feature)) == size
    assert net_header_bytes(feature_set(feature, Feature.NET_IPSEC)) == 32


def test_capabilities():
    assert offsets(formats.VIRTIO_PCI_NOTIFY_CAP) == {
        "cap_vndr": (0, 1), "cap_next": (1, 1), "cap_len": (2, 1), "cfg_type": (3, 1), "bar": (4, 1), "id": (5, 1),
        "padding": (6, 2), "offset": (8, 4), "length": (12, 4), "notify_off_multiplier": (16, 4)}
    assert formats.field(formats.VIRTIO_PCI_CFG_CAP, "pci_cfg_data") == (16, 4)


def test_pci_registers():
    header = offsets(pci.PCI_HEADER)
    assert [header[name][0] for name in ("command", "status", "bar", "subsystem_id", "capabilities", "interrupt_pin")] \
        == [0x04, 0x06, 0x10, 0x2e, 0x34, 0x3d]
    express = offsets(pci.PCIE_CAP)
    assert [express[name][0] for name in ("device_capabilities", "device_control", "device_status", "link_status",
                                          "device_capabilities_2", "device_control_2")] == [4, 8, 10, 18, 0x24, 0x28]
    assert offsets(pci.MSIX_ENTRY) == {"address": (0, 8), "data": (8, 4), "control": (12, 4)}
    aer = offsets(pci.AER_CAP)
    assert [aer[name][0] for name in ("uncorrectable_status", "correctable_status", "control", "header_log")] \
        == [4, 0x10, 0x18, 0x1c]


def test_feature_bits():
    assert feature_set(Feature.VERSION_1, Feature.RING_PACKED) == 0x5_0000_0000
    assert feature_set(Feature.NET_MAC, Feature.NET_MAC) == 0x20
    assert feature_names(1 << 5 | 1 << 44) == ["NET_MAC", "44"]
    assert Feature.NET_IPSEC == 70 and Feature.NET_SPEED_DUPLEX == 63


def test_prerequisites():
    assert lacking_prerequisites(feature_set(Feature.NET_MQ)) == [Feature.NET_MQ]
    assert lacking_prerequisites(feature_set(Feature.NET_MQ, Feature.NET_CTRL_VQ)) == []
    assert lacking_prerequisites(feature_set(Feature.NET_GUEST_ECN, Feature.NET_GUEST_TSO6, Feature.NET_GUEST_CSUM)) \
        == []
