"""Frames that receive offloads have something to say about: right, wrong, cut, padded, in every nesting."""

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    HAO,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Pad1,
    PadN,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from testbench.unit.headers import random_frame

__all__ = ["ETHER", "mobile_frame", "offload_frame"]


# With addresses, so that scapy asks nobody for them.
ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")


def _plain(rng, longest):
    """TCP or UDP over IPv4 or IPv6 with up to two tags, in good order."""
    packet = ETHER
    for _ in range(rng.choice([0, 0, 1, 2])):
        packet /= rng.choice([Dot1Q, Dot1AD])(vlan=rng.randrange(4096))
    packet /= rng.choice([IP(src=".".join(map(str, rng.randbytes(4))), dst="10.0.0.1", id=rng.randrange(65536)),
                          IPv6(src=f"fd00::{rng.randrange(65536):x}", dst="fd00::1", fl=rng.randrange(1 << 20))])
    ports = {"sport": rng.randrange(65536), "dport": rng.randrange(65536)}
    packet /= rng.choice([UDP(**ports), TCP(**ports, seq=rng.getrandbits(32))])
    return packet / rng.randbytes(rng.choice([0, 1, 2, 17, 18, rng.randrange(longest)]))


def offload_frame(rng, longest=300):
    """At least 14 bytes; payloads up to `longest`."""
    if rng.random() < 0.5:
        return random_frame(rng)
    packet = _plain(rng, longest)
    kind = rng.randrange(12)
    if kind == 0 and UDP in packet:
        packet[UDP].chksum = 0
    elif kind == 1 and UDP in packet:
        packet[UDP].len = rng.randrange(40)
    elif kind == 2 and IP in packet:
        packet[IP].len = rng.randrange(20, 80)
    elif kind == 3 and IPv6 in packet:
        packet[IPv6].plen = rng.randrange(80)
    frame = bytearray(bytes(packet))
    if kind == 4:
        frame += rng.randbytes(rng.randrange(1, 40))
    elif kind == 5:
        frame = frame.ljust(60, rng.randbytes(1))
    elif kind == 6:
        frame = frame[:rng.randrange(14, len(frame) + 1)]
    elif kind in (7, 8):
        frame[rng.randrange(14, len(frame))] ^= 1 << rng.randrange(8)
    elif kind == 9:
        # Two changes that may make up for each other: words exchanged, which no sum notices.
        at = rng.randrange(14, len(frame) - 4) & ~1
        frame[at:at + 4] = frame[at + 2:at + 4] + frame[at:at + 2]
    return bytes(frame)


def mobile_frame(rng):
    """IPv6 with a home address in a destination option or a routing header, or something like it; sometimes cut."""
    packet = ETHER / IPv6(src=f"fd00::{rng.randrange(65536):x}", dst="fd00::1")
    if rng.random() < 0.3:
        packet /= IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(rng.choice([4, 12])))])
    if rng.random() < 0.5:
        packet /= IPv6ExtHdrRouting(type=rng.choice([2, 2, 0]), addresses=[f"2001:db8::{rng.randrange(9)}"], segleft=1)
    if rng.random() < 0.7:
        pads = rng.choice([[PadN(optdata=b"\1\2")], [Pad1()] * 4, [Pad1(), PadN(optdata=b"\0")]])
        packet /= IPv6ExtHdrDestOpt(options=[*pads, HAO(hoa=f"2001:db8::{rng.randrange(65536):x}")], autopad=0)
    if rng.random() < 0.1:
        packet /= IPv6ExtHdrFragment(m=1)
    ports = {"sport": rng.randrange(65536), "dport": rng.randrange(65536)}
    frame = bytes(packet / rng.choice([TCP(**ports), UDP(**ports)]) / rng.randbytes(rng.randrange(40)))
    return frame if rng.random() < 0.9 else frame[:rng.randrange(14, len(frame))]
