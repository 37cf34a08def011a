"""Transmit offloads, done in plain Python: a packet with its header becomes the frames that leave.

Source: VIRTIO Version 1.4, section "Network Device / Device Operation / Packet Transmission"; RFC 1071 (checksum),
RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 3168 (CWR). What those leave open is the card's choice, told at `frames_of`.
"""

import struct

import numpy as np

from model import formats
from model.formats import Feature, GsoType
from model.offloads_parse import TCP, UDP

__all__ = ["LONGEST_HEADERS", "LONGEST_PACKET", "MalformedPacket", "frames_of", "ones_sum"]

LONGEST_PACKET = 65535 + formats.ETHERNET_HEADER + 2 * formats.VLAN_TAG
LONGEST_HEADERS = 256

_TYPES = {      # GSO type: (feature, protocol, EtherTypes, place of the checksum in the transport header)
    GsoType.TCPV4: (Feature.NET_HOST_TSO4, TCP, (0x0800,), 16),
    GsoType.TCPV6: (Feature.NET_HOST_TSO6, TCP, (0x86dd,), 16),
    GsoType.UDP_L4: (Feature.NET_HOST_USO, UDP, (0x0800, 0x86dd), 6),
}
_FIN, _PSH, _CWR = 0x01, 0x08, 0x80


class MalformedPacket(ValueError):
    """A packet of which nothing can be made."""


def ones_sum(data, initial=0):
    """Ones' complement sum of 16-bit words, an odd byte at the end padded with 0."""
    total = initial + int(np.frombuffer(bytes(data) + bytes(len(data) % 2), ">u2").sum(dtype=np.uint64))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def frames_of(header, frame, features, max_frame):
    """Frames that leave for `frame` behind the virtio_net_hdr `header` (bytes), none longer than `max_frame`.

    Raises `MalformedPacket`: a checksum's place outside of the packet; a GSO type that is not negotiated or without
    NEEDS_CSUM; headers that contradict the GSO type, `csum_start` or `csum_offset`, or are longer than 256 bytes;
    `gso_size` 0; nothing behind the headers; a frame that would be longer than `max_frame`. `hdr_len` is never used.
    IPv6 extension headers are not looked into: the transport header is where `csum_start` is.
    """
    flags, gso_type, _, gso_size, start, offset = struct.unpack_from("<BBHHHH", header)
    if gso_type == GsoType.NONE:
        if not formats.ETHERNET_HEADER <= len(frame) <= max_frame:
            raise MalformedPacket(f"a frame of {len(frame)} bytes")
        if flags & formats.NET_HDR_F_NEEDS_CSUM and formats.has_feature(features, Feature.NET_CSUM):
            return [_checksummed(bytearray(frame), start, start + offset, offset == 6)]
        return [bytes(frame)]
    kind = _kind(flags, gso_type, gso_size, features)
    return _segments(frame, kind, gso_size, start, offset, max_frame)


def _checksummed(frame, start, at, is_udp):
    if at + 2 > len(frame):
        raise MalformedPacket(f"a checksum at byte {at} of {len(frame)}")
    value = ~ones_sum(frame[start:]) & 0xffff
    struct.pack_into(">H", frame, at, 0xffff if is_udp and not value else value)
    return bytes(frame)


def _kind(flags, gso_type, gso_size, features):
    """The row of `_TYPES`."""
    kind = _TYPES.get(gso_type & ~formats.GSO_ECN)
    if kind is None or not formats.has_feature(features, kind[0]):
        raise MalformedPacket(f"GSO type {gso_type:#x} is not negotiated")
    if gso_type & formats.GSO_ECN and (kind[1] != TCP or not formats.has_feature(features, Feature.NET_HOST_ECN)):
        raise MalformedPacket("ECN is not negotiated")
    if not flags & formats.NET_HDR_F_NEEDS_CSUM or not gso_size:
        raise MalformedPacket("segments without checksum or size")
    return kind


def _segments(frame, kind, gso_size, start, offset, max_frame):
    network, pseudo, headers = _parse(frame, kind, start, offset)
    payload = frame[headers:]
    if not payload or len(frame) > LONGEST_PACKET:
        raise MalformedPacket(f"{len(payload)} bytes behind headers of {headers}")
    if min(gso_size, len(payload)) + headers > max_frame:
        raise MalformedPacket(f"segments of {gso_size} bytes")
    pieces = [payload[at:at + gso_size] for at in range(0, len(payload), gso_size)]
    frames = []
    for number, piece in enumerate(pieces):
        segment = bytearray(frame[:headers] + piece)
        _fix_network(segment, network, start, number)
        _fix_transport(segment, kind[1], start, number, gso_size, number == len(pieces) - 1)
        struct.pack_into(">H", segment, start + offset, 0)
        value = ~ones_sum(segment[start:], pseudo + len(segment) - start) & 0xffff
        struct.pack_into(">H", segment, start + offset, 0xffff if kind[1] == UDP and not value else value)
        frames.append(bytes(segment))
    return frames


def _parse(frame, kind, start, offset):
    """(offset of the IP header, pseudo-header sum without the length, bytes of all headers)."""
    _, protocol, ethertypes, checksum = kind
    at = 12
    for _ in range(2):
        if frame[at:at + 2] in (b"\x81\x00", b"\x88\xa8"):
            at += 4
    ethertype, network = int.from_bytes(frame[at:at + 2], "big"), at + 2
    if ethertype not in ethertypes or offset != checksum or len(frame) < start + 20 - 12 * (protocol == UDP):
        raise MalformedPacket(f"EtherType {ethertype:#06x}, transport header at {start}, checksum at {offset}")
    ip = frame[network:start]
    if ethertype == 0x0800:
        good = len(ip) >= 20 and ip[0] >> 4 == 4 and len(ip) == 4 * (ip[0] & 15) and ip[9] == protocol
        addresses = ip[12:20]
    else:
        good = len(ip) >= 40 and ip[0] >> 4 == 6 and len(ip) % 8 == 0 and (len(ip) > 40 or ip[6] == protocol)
        addresses = ip[8:40]
    size = 8 if protocol == UDP else frame[start + 12] >> 4 << 2
    headers = start + size
    if not good or protocol == TCP and size < 20 or headers > LONGEST_HEADERS:
        raise MalformedPacket(f"headers of {headers} bytes")
    return network, ones_sum(addresses, protocol), headers


def _fix_network(segment, network, transport, number):
    if segment[network] >> 4 == 6:
        struct.pack_into(">H", segment, network + 4, len(segment) - network - 40)
        return
    struct.pack_into(">H", segment, network + 2, len(segment) - network)
    identification, = struct.unpack_from(">H", segment, network + 4)
    struct.pack_into(">H", segment, network + 4, identification + number & 0xffff)
    struct.pack_into(">H", segment, network + 10, 0)
    struct.pack_into(">H", segment, network + 10, ~ones_sum(segment[network:transport]) & 0xffff)


def _fix_transport(segment, protocol, start, number, gso_size, last):
    if protocol == UDP:
        struct.pack_into(">H", segment, start + 4, len(segment) - start)
        return
    sequence, = struct.unpack_from(">I", segment, start + 4)
    struct.pack_into(">I", segment, start + 4, sequence + number * gso_size & 0xffff_ffff)
    if number:
        segment[start + 13] &= ~_CWR & 0xff
    if not last:
        segment[start + 13] &= ~(_FIN | _PSH) & 0xff
