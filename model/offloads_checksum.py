"""What a receiving device may say of a frame's checksums.

Sources: VIRTIO Version 1.4, section "Processing of Incoming Packets" (VIRTIO_NET_HDR_F_DATA_VALID: the device has
validated the packet checksum); RFC 1071, 791, 9293, 768, 8200 section 8.1.
"""

from model.offload import ones_sum
from model.offloads_parse import TCP, UDP, parse

__all__ = ["BAD", "NONE", "VALID", "checksum_verdict"]


NONE, VALID, BAD = "none", "valid", "bad"


def _right(data):
    """Whether the ones' complement sum of bytes that include their checksum is as it must be."""
    return ones_sum(data) == 0xffff


def checksum_verdict(frame):
    """VALID or BAD of a whole TCP or UDP packet; NONE of everything else, and of UDP that has no checksum."""
    packet = parse(frame)
    if packet is None or packet.fragment or packet.on_its_way or packet.length != len(packet.payload):
        return NONE
    payload = packet.payload
    if packet.protocol == UDP:
        if len(payload) < 8 or int.from_bytes(payload[4:6], "big") != len(payload) or payload[6:8] == b"\0\0":
            return NONE
    elif packet.protocol != TCP or len(payload) < 20:
        return NONE
    pseudo = packet.source + packet.destination + len(payload).to_bytes(4, "big") + bytes([0, packet.protocol])
    right = _right(pseudo + payload) and (packet.version == 6 or _right(packet.header))
    return VALID if right else BAD
