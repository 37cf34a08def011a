"""Hash of a received packet, and the receive queue that receive side scaling gives it.

Source: VIRTIO Version 1.4, sections "Hash calculation for incoming packets", "Receive-side scaling (RSS)".
"""

from dataclasses import dataclass

from model.offloads_parse import TCP, UDP, parse

__all__ = ["HashConfig", "frame_hash", "scaled_queue", "toeplitz"]


_IPV4, _TCPV4, _UDPV4, _IPV6, _TCPV6, _UDPV6, _IP_EX, _TCP_EX, _UDP_EX = range(9)
_HOP_BY_HOP, _ROUTING, _OPTIONS = 0, 43, 60
_HOME_ADDRESS = bytes([0xc9, 16])


@dataclass(frozen=True)
class HashConfig:
    """What RSS_CONFIG or HASH_CONFIG has set. Without a `table` steering is automatic."""
    types: int = 0
    key: bytes = b""
    table: tuple = ()
    unclassified: int = 0


def toeplitz(key, data):
    """32 bits: the parts of the key, 32 bits each, that begin where `data` has a bit set, added up without carry."""
    bits = int.from_bytes(key.ljust(len(data) + 4, b"\0"), "big")
    size = 8 * max(len(key), len(data) + 4)
    result = 0
    for n in range(8 * len(data)):
        if data[n // 8] >> (7 - n % 8) & 1:
            result ^= bits >> (size - 32 - n) & 0xffff_ffff
    return result


def _home_addresses(header):
    """(source, destination) of an IPv6 header with its extension headers, mobile ends by their home addresses."""
    source, destination = header[8:24], header[24:40]
    moved = set()
    name, at = header[6], 40
    while name in (_HOP_BY_HOP, _ROUTING, _OPTIONS):
        extension = header[at:at + 8 + 8 * header[at + 1]]
        if name == _OPTIONS and "source" not in moved and _pads_to(extension, 6) and extension[6:8] == _HOME_ADDRESS \
                and len(extension) >= 24:
            source, moved = extension[8:24], moved | {"source"}
        if name == _ROUTING and "destination" not in moved and extension[1:3] == b"\2\2":
            destination, moved = extension[8:24], moved | {"destination"}
        name, at = extension[0], at + len(extension)
    return source, destination


def _pads_to(extension, end):
    """Whether options from byte 2 on are padding that ends at byte `end`."""
    at = 2
    while at < end:
        if extension[at] > 1:
            return False
        at += 1 if extension[at] == 0 else 2 + extension[at + 1]
    return at == end


def frame_hash(frame, config):
    """(hash_value, hash_report); (0, 0) of a frame that has no hash."""
    packet = parse(frame, partial=True)
    if packet is None:
        return 0, 0
    ports = packet.ports
    tcp, udp = ports is not None and packet.protocol == TCP, ports is not None and packet.protocol == UDP
    plain = packet.source, packet.destination
    if packet.version == 4:
        groups = [((_TCPV4, _UDPV4, _IPV4), plain)]
    else:
        groups = [((_TCPV6, _UDPV6, _IPV6), plain)]
        if packet.extended:
            groups.insert(0, ((_TCP_EX, _UDP_EX, _IP_EX), _home_addresses(packet.header) if packet.complete else plain))
    for kinds, addresses in groups:
        for kind, fits, extra in zip(kinds, (tcp, udp, True), (ports, ports, b"")):
            if fits and config.types >> kind & 1:
                return toeplitz(config.key.ljust(40, b"\0"), b"".join(addresses) + extra), kind + 1
    return 0, 0


def scaled_queue(frame, config):
    """Number of the pair whose receive queue gets the frame."""
    value, report = frame_hash(frame, config)
    return config.table[value & len(config.table) - 1] if report else config.unclassified
