"""What a driver leaves to the card when it sends: a checksum, or cutting a packet in segments.

Source: VIRTIO Version 1.4, section "Network Device / Device Operation / Packet Transmission", its driver requirements.
"""

import struct
from dataclasses import dataclass

from model import formats
from model.formats import Feature, GsoType
from model.offload import ones_sum
from model.offloads_parse import TCP, UDP
from testbench.driver.platform import DriverError

__all__ = ["NO_OFFLOAD", "Offload", "prepare"]

_EXTENSIONS = (0, 43, 60)       # hop-by-hop options, routing, destination options
_CHECKSUM = {TCP: 16, UDP: 6}
_FEATURES = {GsoType.TCPV4: Feature.NET_HOST_TSO4, GsoType.TCPV6: Feature.NET_HOST_TSO6,
             GsoType.UDP_L4: Feature.NET_HOST_USO}
_CWR = 0x80


@dataclass(frozen=True)
class Offload:
    """Fields of struct virtio_net_hdr."""
    flags: int = 0
    gso_type: int = 0
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    def header(self, size):
        """The header, of `size` bytes."""
        return struct.pack("<BBHHHHH", self.flags, self.gso_type, self.hdr_len, self.gso_size, self.csum_start,
                           self.csum_offset, 0).ljust(size, b"\0")


NO_OFFLOAD = Offload()


def prepare(frame, features, *, checksum=False, segment=0):
    """(Offload, frame) to send `frame`, a TCP or UDP packet whose checksum field may hold anything.

    With `segment`, it is cut in segments of so many bytes of payload; else with `checksum` its checksum is completed.
    Raises `DriverError` if that was not negotiated or the frame is no such packet.
    """
    if not (checksum or segment):
        return NO_OFFLOAD, frame
    if not formats.has_feature(features, Feature.NET_CSUM):
        raise DriverError("checksums are not negotiated")
    start, protocol, pseudo = _transport(frame)
    offset = _CHECKSUM[protocol]
    frame = bytearray(frame)
    struct.pack_into(">H", frame, start + offset, ones_sum(b"", pseudo + (len(frame) - start & 0xffff)))
    if not segment:
        return Offload(flags=formats.NET_HDR_F_NEEDS_CSUM, csum_start=start, csum_offset=offset), bytes(frame)
    kind = GsoType.UDP_L4 if protocol == UDP else GsoType.TCPV6 if _version(frame) == 6 else GsoType.TCPV4
    if not formats.has_feature(features, _FEATURES[kind]):
        raise DriverError(f"segments of type {kind.name} are not negotiated")
    ecn = 0
    if protocol == TCP and frame[start + 13] & _CWR:
        if not formats.has_feature(features, Feature.NET_HOST_ECN):
            raise DriverError("segments with CWR are not negotiated")
        ecn = formats.GSO_ECN
    size = 8 if protocol == UDP else frame[start + 12] >> 4 << 2
    return Offload(formats.NET_HDR_F_NEEDS_CSUM, kind | ecn, start + size, segment, start, offset), bytes(frame)


def _network(frame):
    at = 12
    while frame[at:at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += formats.VLAN_TAG
    return at + 2


def _version(frame):
    return frame[_network(frame)] >> 4


def _transport(frame):
    """(offset of the TCP or UDP header, protocol, sum of the pseudo-header without the length)."""
    at = _network(frame)
    if _version(frame) == 4:
        start, protocol, addresses = at + frame[at] % 16 * 4, frame[at + 9], frame[at + 12:at + 20]
    else:
        start, protocol, addresses = at + 40, frame[at + 6], frame[at + 8:at + 40]
        while protocol in _EXTENSIONS:
            start, protocol = start + 8 + 8 * frame[start + 1], frame[start]
    if protocol not in _CHECKSUM:
        raise DriverError(f"protocol {protocol} has no checksum that the device could complete")
    return start, protocol, ones_sum(addresses, protocol)
