"""The functional twin of the transmit offloads, against scapy: lengths and checksums as scapy makes them."""

import random
import struct

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from model import formats
from model.formats import GsoType
from model.offload import MalformedPacket, frames_of
from testbench.driver.offload import prepare
from testbench.driver.platform import DriverError
from testbench.unit.offload_packets import net_header, random_packet

ALL = formats.TRANSMIT_FEATURES
SEGMENTED = (GsoType.TCPV4, GsoType.TCPV6, GsoType.UDP_L4)


def rebuilt(frame):
    """The frame with every length and checksum made by scapy."""
    packet = Ether(frame)
    for layer, fields in ((IP, ("len", "chksum")), (IPv6, ("plen",)), (TCP, ("chksum",)), (UDP, ("len", "chksum"))):
        if layer in packet:
            for name in fields:
                packet[layer].delfieldval(name)
    return bytes(packet)


@pytest.mark.parametrize("seed", range(3))
def test_checksums(seed):
    rng = random.Random(seed)
    for _ in range(300):
        header, frame = random_packet(rng, rng.choice(SEGMENTED), rng.randbytes(rng.randrange(1, 400)))
        assert frames_of(header, frame, ALL, 9022) == [rebuilt(frame)]


@pytest.mark.parametrize("kind", SEGMENTED)
def test_segments(kind):
    rng = random.Random(kind)
    for _ in range(150):
        payload = rng.randbytes(rng.choice([1, 100, rng.randrange(1, 9000), rng.randrange(20_000, 65_000)]))
        size = rng.choice([1448, len(payload), rng.randrange(max(1, len(payload) // 50), 9000 - 256)])
        if len(payload) > 65_535 - 300:
            payload = payload[:60_000]
        header, packet = random_packet(rng, kind, payload, size)
        hdr_len, = struct.unpack_from("<H", header, 2)
        frames = frames_of(header, packet, ALL, 9022 if size <= 8766 else 65_600)
        assert frames == [rebuilt(frame) for frame in frames]
        assert b"".join(frame[hdr_len:] for frame in frames) == payload
        assert [len(frame) - hdr_len for frame in frames[:-1]] == [size] * (len(frames) - 1)
        check_headers(Ether(packet), [Ether(frame) for frame in frames], size)


def check_headers(packet, frames, size):
    for n, frame in enumerate(frames):
        if IP in packet:
            assert frame[IP].id == (packet[IP].id + n) % 65_536
        if TCP in packet:
            assert frame[TCP].seq == (packet[TCP].seq + n * size) % 2**32
            flags = set(str(packet[TCP].flags))
            if n:
                flags.discard("C")
            if n < len(frames) - 1:
                flags -= {"F", "P"}
            assert set(str(frame[TCP].flags)) == flags


@pytest.mark.requirements("NET-035", "NET-037", "NET-038", "NET-039")
@pytest.mark.parametrize("change, message", [
    ({"gso_type": 3}, "0x3 is not negotiated"), ({"gso_type": 0x21}, "not negotiated"), ({"flags": 0}, "without"),
    ({"gso_size": 0}, "without"), ({"gso_type": 0x85}, "ECN"), ({"offset": 6}, "checksum at 6"),
    ({"start": 30}, "headers of"), ({"gso_size": 9000}, "segments of 9000 bytes"),
])
def test_malformed(change, message):
    header, packet = random_packet(random.Random(1), GsoType.TCPV4, bytes(20_000), 1448, tags=0)
    flags, gso_type, _, gso_size, start, offset = struct.unpack_from("<BBHHHH", header)
    fields = {"flags": flags, "gso_type": gso_type, "gso_size": gso_size, "start": start, "offset": offset, **change}
    with pytest.raises(MalformedPacket, match=message):
        frames_of(net_header(**fields), packet, ALL, 9022)


@pytest.mark.parametrize("seed", range(2))
def test_the_driver_prepares_what_the_twin_takes(seed):
    rng = random.Random(seed)
    for _ in range(200):
        kind = rng.choice(SEGMENTED)
        header, frame = random_packet(rng, kind, rng.randbytes(rng.randrange(1, 3000)), size := rng.choice([0, 700]))
        offload, prepared = prepare(frame, ALL, checksum=True, segment=size)
        assert offload.header(12) == header and prepared == frame


def test_the_driver_asks_only_for_what_is_negotiated():
    _, frame = random_packet(random.Random(1), GsoType.TCPV4, bytes(100))
    for features, options in ((0, {"checksum": True}), (1, {"segment": 50})):
        with pytest.raises(DriverError, match="not negotiated"):
            prepare(frame, features, **options)
