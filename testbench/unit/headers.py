"""Frames of every make, by scapy, and what their headers say, read byte by byte."""

from ipaddress import IPv6Address

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

__all__ = ["FIELDS", "endpoints_of", "headers_of", "random_frame"]


REACH, SLOTS = 128, 8
FIELDS = ("destination_mac", "source_mac", "tags", "customer_tag", "ethertype", "ipv4", "ipv6", "source", "destination",
          "endpoints",
          "fragment", "protocol", "transport", "tcp", "udp", "source_port", "destination_port", "truncated",
          "malformed", "unreached")


def headers_of(frame):
    """{field: value} of `PacketHeaders`; optional ones only where they are valid."""
    o = _headers(frame)
    o["endpoints"] = endpoints_of(o)
    return o


def endpoints_of(o):
    """`endpoints` by the other fields."""
    one, other = (o["source"], o["destination"]) if o["ipv4"] or o["ipv6"] else (o["source_mac"], o["destination_mac"])
    return _fold(one ^ other) | _fold(one & other) << 32


def _fold(address):
    folded = 0
    for turn in (0, 5, 11, 19):
        word = address & 0xffffffff
        folded ^= (word << turn | word >> (32 - turn)) & 0xffffffff
        address >>= 32
    return folded


def _headers(frame):
    o = dict.fromkeys(FIELDS, 0)
    o["destination_mac"], o["source_mac"] = (int.from_bytes(frame[at:at + 6], "little") for at in (0, 6))
    at = 12
    while o["tags"] < 2 and frame[at:at + 2] in (b"\x81\x00", b"\x88\xa8"):
        if len(frame) >= at + 4:
            o[("outer_tag", "inner_tag")[o["tags"]]] = int.from_bytes(frame[at + 2:at + 4], "big")
        o["customer_tag"] = int(frame[12:14] == b"\x81\x00")
        o["tags"] += 1
        at += 4
    o["l3_offset"] = at + 2
    if len(frame) < at + 2:
        o["truncated"] = 1
        return o
    o["ethertype"] = int.from_bytes(frame[at:at + 2], "big")
    packet = frame[at + 2:]
    if o["ethertype"] == 0x0800:
        _ipv4(o, packet)
    elif o["ethertype"] == 0x86dd:
        _ipv6(o, packet)
    return o


def _ipv4(o, packet):
    if len(packet) < 20:
        o["truncated"] = 1
        return
    size, length = packet[0] % 16 * 4, int.from_bytes(packet[2:4], "big")
    if packet[0] >> 4 != 4 or size < 20:
        o["malformed"] = 1
        return
    o["malformed"] = int(length < size)
    if len(packet) < size:
        o["truncated"] = 1
        return
    o["ipv4"] = 1
    o["source"], o["destination"] = (int.from_bytes(packet[n:n + 4], "little") for n in (12, 16))
    o["protocol"] = packet[9]
    if int.from_bytes(packet[6:8], "big") & 0x3fff:
        o["fragment"] = 1
    else:
        _transport(o, packet, size, length)


def _ipv6(o, packet):
    if len(packet) < 40:
        o["truncated"] = 1
        return
    if packet[0] >> 4 != 6:
        o["malformed"] = 1
        return
    o["ipv6"] = 1
    o["source"], o["destination"] = (int.from_bytes(packet[n:n + 16], "little") for n in (8, 24))
    name, at = packet[6], 40
    while name in (0, 43, 60):
        if at > 40 + 8 * (SLOTS - 1):
            o["unreached"] = 1
            return
        if len(packet) < at + 8:
            o["truncated"] = 1
            return
        name, at = packet[at], at + 8 + 8 * packet[at + 1]
    if at > 40 + 8 * (SLOTS - 1):
        o["unreached"] = 1
    elif len(packet) < at + 8 * (name == 44):
        o["truncated"] = 1
    elif name == 44:
        o["fragment"], o["protocol"] = 1, packet[at]
    else:
        o["protocol"] = name
        _transport(o, packet, at, 40 + int.from_bytes(packet[4:6], "big"))


def _transport(o, packet, at, length):
    o["transport"] = 1
    o["l4_offset"] = o["l3_offset"] + at
    if o["protocol"] not in (6, 17):
        return
    inside, fits = len(packet) >= at + 4, length >= at + 4
    o["truncated"] |= not inside
    o["malformed"] |= not fits
    if inside and fits:
        o["tcp"], o["udp"] = int(o["protocol"] == 6), int(o["protocol"] == 17)
        o["source_port"], o["destination_port"] = (int.from_bytes(packet[n:n + 2], "big") for n in (at, at + 2))


def _options(rng):
    """An extension header's content: options that fill it."""
    return [PadN(optdata=bytes(8 * rng.choice([0, 0, 0, 1, 2, 3]) + 4))]


def random_frame(rng):
    """A frame of any nesting, sometimes cut or spoilt in one byte."""
    mac = [":".join(f"{byte:02x}" for byte in rng.randbytes(6)) for _ in range(2)]
    packet = Ether(dst=mac[0], src=mac[1])
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 2, 3])):
        packet /= rng.choice([Dot1Q, Dot1AD])(vlan=rng.randrange(4096), prio=rng.randrange(8))
    kind = rng.randrange(16)
    if kind == 0:
        packet /= ARP()
    elif kind < 7:
        packet /= IP(src=".".join(map(str, rng.randbytes(4))), dst=".".join(map(str, rng.randbytes(4))),
                     flags=rng.choice(["DF", "", "", "MF"]), frag=rng.choice([0, 0, 0, rng.randrange(1, 8000)]),
                     options=[IPOption(b"\x01")] * (4 * rng.randrange(11)))
    else:
        packet /= IPv6(src=str(IPv6Address(rng.randbytes(16))), dst=str(IPv6Address(rng.randbytes(16))))
        for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 4])):
            header = rng.choice([IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting])
            packet /= (IPv6ExtHdrRouting(addresses=["::"] * rng.choice([0, 1])) if header is IPv6ExtHdrRouting
                       else header(options=_options(rng)))
        if rng.random() < 0.2:
            packet /= IPv6ExtHdrFragment(offset=rng.choice([0, 100]), m=1, id=rng.getrandbits(32))
            packet /= rng.choice([Raw(b""), IPv6ExtHdrDestOpt(options=_options(rng))])
    ports = {"sport": rng.randrange(65536), "dport": rng.randrange(65536)}
    packet /= rng.choice([TCP(**ports), UDP(**ports), UDP(**ports), ICMP()])
    frame = bytearray(bytes(packet / Raw(rng.randbytes(rng.choice([0, 0, 6, 18, 40, 200])))))
    spoil = rng.random()
    if spoil < 0.2:
        frame = frame[:rng.randrange(14, len(frame) + 1)]
    elif spoil < 0.3:
        at = rng.randrange(12, len(frame))
        frame[at] = rng.randrange(256)
    elif spoil < 0.4:
        frame = frame[:rng.randrange(14, 70)].ljust(60, b"\0")
    return bytes(frame)


