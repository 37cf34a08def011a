"""Receive offloads of the model, against scapy and against published hashes."""

import random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    HAO,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from model.offloads_checksum import BAD, NONE, VALID, checksum_verdict
from model.offloads_hash import HashConfig, frame_hash, scaled_queue, toeplitz

ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")     # so that scapy asks nobody for them
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
ALL = 0x1ff
HOME, CARE = "2001:db8::77", "2001:db8::88"
HOME_OPTION = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0\0"), HAO(hoa=HOME)], autopad=0)
ROUTING_2 = IPv6ExtHdrRouting(type=2, addresses=[CARE], segleft=1)

# Published check vectors: source, destination, ports, hash of the addresses, hash with ports.
VECTORS = [
    ("66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178),
    ("199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea),
    ("24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a),
    ("38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f),
    ("153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2),
    ("3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d),
    ("3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf),
    ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024, 0x4b61e985, 0x02d1feef),
]


@pytest.mark.parametrize("source, destination, sport, dport, plain, with_ports", VECTORS)
def test_published_hashes(source, destination, sport, dport, plain, with_ports):
    six = ":" in source
    ip = (IPv6 if six else IP)(src=source, dst=destination)
    config = HashConfig(ALL, KEY)
    for layer, kind in ((TCP, 4 if six else 1), (UDP, 5 if six else 2)):
        frame = bytes(ETHER / Dot1Q() / ip / layer(sport=sport, dport=dport))
        assert frame_hash(frame, config) == (with_ports, kind + 1)
        assert frame_hash(frame, HashConfig(0b1001, KEY)) == (plain, 4 if six else 1)
    assert frame_hash(bytes(ETHER / ip / ICMP()), config) == (plain, 4 if six else 1)


@pytest.mark.parametrize("packet, types, report", [
    (IP() / TCP(), 0b100, 0), (IP() / UDP(), 0b010, 0), (IP() / TCP(), 0b111000, 0), (IPv6() / TCP(), 0b111, 0),
    (IP(frag=3) / UDP(), ALL, 1), (IP(flags="MF") / TCP(), 0b110, 0), (IP(flags="DF") / TCP(), ALL, 2),
    (IPv6() / IPv6ExtHdrHopByHop() / TCP(), ALL, 8), (IPv6() / IPv6ExtHdrHopByHop() / UDP(), ALL, 9),
    (IPv6() / IPv6ExtHdrHopByHop() / TCP(), 0b001_111_000, 7), (IPv6() / IPv6ExtHdrHopByHop() / TCP(), 0b111000, 5),
    (IPv6() / TCP(), 0b111_000_000, 0), (IPv6() / IPv6ExtHdrFragment() / TCP(), ALL, 7),
    (IPv6() / IPv6ExtHdrHopByHop() / ICMP(), 0b111_000_111, 7), (ARP(), ALL, 0),
    (IPv6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(100))]) / TCP(), ALL, 7),
])
def test_which_type_is_chosen(packet, types, report):
    value, found = frame_hash(bytes(ETHER / packet), HashConfig(types, KEY))
    assert found == report and (value == 0) == (report == 0)


def test_home_addresses():
    ends = {"src": "fd00::1", "dst": "fd00::2"}
    plain, home, both = (IPv6(**ends) / TCP(), IPv6(**ends) / HOME_OPTION / TCP(),
                         IPv6(**ends) / ROUTING_2 / HOME_OPTION / TCP())
    swapped = IPv6(src=HOME, dst="fd00::2") / TCP(), IPv6(src=HOME, dst=CARE) / TCP()
    for packet, equal in zip((home, both), swapped):
        value, report = frame_hash(bytes(ETHER / packet), HashConfig(0b010_000_000, KEY))
        assert (value, report - 8) == (frame_hash(bytes(ETHER / equal), HashConfig(ALL, KEY))[0], 0)
        assert frame_hash(bytes(ETHER / packet), HashConfig(0b010_000, KEY)) == \
            frame_hash(bytes(ETHER / plain), HashConfig(ALL, KEY))


def test_queue():
    config = HashConfig(0b1, KEY, table=tuple(range(8)), unclassified=9)
    frame = bytes(ETHER / IP(src="66.9.149.187", dst="161.142.100.80") / TCP())
    assert scaled_queue(frame, config) == 0x323e8fc2 & 7
    assert scaled_queue(bytes(ETHER / ARP()), config) == 9


def test_short_keys_go_on_with_zeros():
    assert toeplitz(KEY[:5], b"\x80") == int.from_bytes(KEY[:4], "big")
    assert toeplitz(b"\xff", b"\x01") == 0x8000_0000


CHECKSUMS = {
    "two tags and options": (ETHER / Dot1AD() / Dot1Q() / IP(options=[IPOption(b"\x01")] * 40) / TCP() / "abc",
                             VALID),
    "extension headers": (ETHER / IPv6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP() / "abc", VALID),
    "extension headers too long": (ETHER / IPv6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(80))]) / UDP(),
                                   NONE),
    "wrong IPv4 header": (ETHER / IP(chksum=0x1234) / UDP() / "abc", BAD),
    "wrong UDP": (ETHER / IP() / UDP(chksum=0x1234) / "abc", BAD),
    "wrong TCP": (ETHER / IPv6() / TCP(chksum=0x1234) / "abc", BAD),
    "UDP without checksum": (ETHER / IP() / UDP(chksum=0) / "abc", NONE),
    "UDP shorter than its packet": (ETHER / IP() / UDP(len=8) / "abc", NONE),
    "fragment": (ETHER / IP(flags="MF") / UDP(), NONE), "IPv6 fragment": (ETHER / IPv6() / IPv6ExtHdrFragment()
                                                                          / UDP(), NONE),
    "ICMP": (ETHER / IP() / ICMP(), NONE), "ARP": (ETHER / ARP(), NONE),
    "jumbo": (ETHER / IP() / TCP() / (b"\xff\x00\xff" * 2900), VALID),
    "on its way": (ETHER / IPv6() / IPv6ExtHdrRouting(addresses=["::1"]) / UDP(), NONE),
}


@pytest.mark.parametrize("name", CHECKSUMS)
def test_checksums(name):
    packet, verdict = CHECKSUMS[name]
    assert checksum_verdict(bytes(packet)) == verdict


def test_padded_and_cut():
    rng = random.Random(1)
    whole = bytes(ETHER / IPv6() / UDP() / "abc")
    assert checksum_verdict(whole + rng.randbytes(20)) == VALID
    assert {checksum_verdict(whole[:size]) for size in range(len(whole))} == {NONE}
