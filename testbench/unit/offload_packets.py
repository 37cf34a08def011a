"""Packets that ask for checksums and segmentation, by scapy, good ones and others."""

import struct
from ipaddress import IPv6Address

from scapy.layers.inet import IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from model import formats
from model.formats import GsoType
from model.offload import ones_sum

__all__ = ["headers_of_packet", "net_header", "random_packet", "spoil"]


def net_header(*, flags=0, gso_type=0, hdr_len=0, gso_size=0, start=0, offset=0):
    return struct.pack("<BBHHHHH", flags, gso_type, hdr_len, gso_size, start, offset, 0)


def headers_of_packet(rng, kind, tags=None):
    """(Ethernet and IP headers as scapy sees them, transport header) for GSO type `kind`."""
    mac = [":".join(f"{byte:02x}" for byte in rng.randbytes(6)) for _ in range(2)]
    packet = Ether(dst=mac[0], src=mac[1])
    for _ in range(rng.choice([0, 0, 1, 2]) if tags is None else tags):
        packet /= rng.choice([Dot1Q, Dot1AD])(vlan=rng.randrange(4096), prio=rng.randrange(8))
    if kind == GsoType.TCPV6 or kind == GsoType.UDP_L4 and rng.random() < 0.5:
        packet /= IPv6(src=str(IPv6Address(rng.randbytes(16))), dst=str(IPv6Address(rng.randbytes(16))),
                       tc=rng.randrange(256), fl=rng.getrandbits(20), hlim=rng.randrange(256))
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            packet /= rng.choice([IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt])(
                options=[PadN(optdata=bytes(8 * rng.choice([0, 1, 3]) + 4))])
    else:
        packet /= IP(src=".".join(map(str, rng.randbytes(4))), dst=".".join(map(str, rng.randbytes(4))),
                     id=rng.getrandbits(16), flags=rng.choice(["DF", ""]), tos=rng.randrange(256),
                     ttl=rng.randrange(256), options=[IPOption(b"\x01")] * (4 * rng.choice([0, 0, 0, 1, 5, 10])))
    ports = {"sport": rng.randrange(65536), "dport": rng.randrange(65536)}
    if kind == GsoType.UDP_L4:
        return packet, UDP(**ports)
    return packet, TCP(**ports, seq=rng.getrandbits(32), ack=rng.getrandbits(32), window=rng.getrandbits(16),
                       flags=rng.choice(["A", "PA", "FA", "FPA", "CA", "CPA", "CFPAE"]),
                       options=[("NOP", None)] * (4 * rng.choice([0, 0, 3, 10])))


def random_packet(rng, kind, payload, gso_size=0, *, tags=None):
    """(virtio_net_hdr, frame) as a good driver hands them over: to be segmented by `kind`, or, with a `gso_size` of 0,
    with a checksum to be completed."""
    packet, transport = headers_of_packet(rng, kind, tags)
    whole = packet / transport / Raw(payload)
    if not payload:
        whole = packet / transport
    frame = bytearray(bytes(whole))
    size = len(bytes(transport))
    start = len(frame) - len(payload) - size
    offset = 6 if kind == GsoType.UDP_L4 else 16
    # The sum of the pseudo-header, as far as the length is known.
    layer = whole.getlayer(IPv6) or whole.getlayer(IP)
    addresses = b"".join(IPv6Address(a).packed if ":" in a else bytes(map(int, a.split(".")))
                         for a in (layer.src, layer.dst))
    pseudo = ones_sum(addresses, (len(frame) - start & 0xffff) + (17 if kind == GsoType.UDP_L4 else 6))
    struct.pack_into(">H", frame, start + offset, pseudo)
    ecn = formats.GSO_ECN if kind != GsoType.UDP_L4 and gso_size and frame[start + 13] & 0x80 else 0
    header = net_header(flags=formats.NET_HDR_F_NEEDS_CSUM, gso_type=(kind | ecn) if gso_size else 0,
                        hdr_len=start + size if gso_size else 0, gso_size=gso_size, start=start, offset=offset)
    return header, bytes(frame)


def spoil(rng, header, frame):
    """Break something of a packet to be segmented."""
    header, frame = bytearray(header), bytearray(frame)
    match rng.randrange(7):
        case 0:
            header[rng.choice([0, 1, 4, 5, 6, 7, 8, 9])] ^= 1 << rng.randrange(8)
        case 1:
            frame[rng.randrange(12, min(len(frame), 80))] ^= 1 << rng.randrange(8)
        case 2:
            struct.pack_into("<H", header, 6, rng.choice([0, 14, 33, 36, 250, 255, 256, 258, 65535]))
        case 3:
            frame = frame[:rng.randrange(14, min(len(frame), 120))]
        case 4:
            struct.pack_into("<H", header, 4, rng.choice([0, 1, 9000, 65535]))
        case 5:
            start, = struct.unpack_from("<H", header, 6)
            if start + 12 < len(frame):
                frame[start + 12] = rng.choice([0, 0x40, 0x50, 0xf0])
        case 6:
            header[0] = 0
    return bytes(header), bytes(frame)
