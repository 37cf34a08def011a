"""A frame's headers, as far as receive offloads look at them.

Sources: RFC 791 (IPv4), RFC 8200 (IPv6 and its extension headers), RFC 6275 (home address option, routing header type
2), IEEE 802.1Q. What the specification of virtio leaves open is how far a device follows: this one follows two VLAN
tags, and `EXTENSION_BYTES` of IPv6 extension headers (hop-by-hop options, routing, destination options, and a fragment
header behind them).
"""

from dataclasses import dataclass

__all__ = ["EXTENSION_BYTES", "Packet", "TCP", "UDP", "parse"]


TCP, UDP = 6, 17
EXTENSION_BYTES = 56
_TAGS = (0x8100, 0x88a8)
_IPV4, _IPV6 = 0x0800, 0x86dd
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS = 0, 43, 44, 60


@dataclass
class Packet:
    """An IP packet whose headers make sense.

    version : 4 or 6
    source, destination : addresses of its header
    header : bytes of the IP header, extension headers included
    protocol : of `payload`
    payload : what the length in the header covers behind it, as far as the frame has it
    length : bytes that it should have
    fragment : part of a fragmented packet
    extended : it has IPv6 extension headers
    on_its_way : a routing header in it has segments left
    complete : all headers are there and were followed
    """
    version: int
    source: bytes
    destination: bytes
    header: bytes = b""
    protocol: int = 0
    payload: bytes = b""
    length: int = 0
    fragment: bool = False
    extended: bool = False
    on_its_way: bool = False
    complete: bool = True

    @property
    def ports(self):
        """The first four bytes of a whole TCP or UDP packet, if they are there; else None."""
        usable = self.protocol in (TCP, UDP) and not self.fragment and min(len(self.payload), self.length) >= 4
        return self.payload[:4] if usable else None


def parse(frame, partial=False):
    """`Packet`, or None of what is no IP packet, ends within its headers or has more of them than are followed. With
    `partial`, only of what has no IP header; of other such packets what lies behind it counts as not `complete`."""
    at = 12
    while at < 20 and int.from_bytes(frame[at:at + 2], "big") in _TAGS:
        at += 4
    kind, packet = int.from_bytes(frame[at:at + 2], "big"), frame[at + 2:]
    found = _ipv4(packet) if kind == _IPV4 else _ipv6(packet) if kind == _IPV6 else None
    return found if found and (found.complete or partial) else None


def _ipv4(packet):
    size = packet[0] % 16 * 4 if packet else 0
    if size < 20 or packet[0] >> 4 != 4 or len(packet) < size:
        return None
    length = int.from_bytes(packet[2:4], "big")
    return Packet(4, packet[12:16], packet[16:20], packet[:size], packet[9], packet[size:length], length - size,
                  fragment=int.from_bytes(packet[6:8], "big") & 0x3fff != 0, complete=length >= size)


def _ipv6(packet):
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return None
    length = 40 + int.from_bytes(packet[4:6], "big")
    o = Packet(6, packet[8:24], packet[24:40], complete=False)
    name, at = packet[6], 40
    while name in (_HOP_BY_HOP, _ROUTING, _OPTIONS):
        o.extended = True
        if at + 8 > len(packet) or at >= 40 + EXTENSION_BYTES:
            return o
        o.on_its_way |= name == _ROUTING and packet[at + 3] != 0
        name, at = packet[at], at + 8 + 8 * packet[at + 1]
    if at > 40 + EXTENSION_BYTES:
        return o
    if name == _FRAGMENT:
        o.fragment = o.extended = True
        at += 8
    if at > len(packet):
        return o
    o.complete = True
    o.protocol = packet[at - 8] if o.fragment else name
    o.header, o.payload, o.length = packet[:at], packet[at:max(at, length)], length - at
    return o
