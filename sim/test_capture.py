"""Captures of every format that is read, and every way in which one can be wrong."""

import gzip
import io
import struct

import pcapng
import pcapng.blocks
import pytest
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcapng

from sim.capture import CapturedFrame, CaptureError, read_capture, write_capture
from sim.make_sample import SAMPLE, make_frames

# python-pcapng warns of its own table of options.
pytestmark = pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")

FRAMES = [CapturedFrame(bytes(range(14)), 1_700_000_000_000_000_001),
          CapturedFrame(bytes(60), 1_700_000_000_123_456_789),
          CapturedFrame(b"\xff" * 9014, 1_700_000_001_000_000_000)]


def pcap(frames, order="<", unit_ns=1, link_type=1, lengths=None):
    magic = 0xa1b23c4d if unit_ns == 1 else 0xa1b2c3d4
    content = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for (data, time_ns), length in zip(frames, lengths or [len(frame.data) for frame in frames]):
        content += struct.pack(order + "IIII", time_ns // 10**9, time_ns % 10**9 // unit_ns, len(data), length) + data
    return content


def pcapng_file(frames, *, order="<", ns=True, link_types=(1,), lengths=None, block="enhanced"):
    section = pcapng.blocks.SectionHeader(endianness=order)
    options = {"if_tsresol": b"\x09"} if ns else {}
    interfaces = [section.new_member(pcapng.blocks.InterfaceDescription, link_type=link_type, snaplen=0,
                                     options=options) for link_type in link_types]
    stream = io.BytesIO()
    writer = pcapng.FileWriter(stream, section)
    for (data, time_ns), length in zip(frames, lengths or [len(frame.data) for frame in frames]):
        if block == "simple":
            writer.write_block(section.new_member(pcapng.blocks.SimplePacket, packet_len=length, packet_data=data))
            continue
        packet = section.new_member(
            pcapng.blocks.EnhancedPacket, interface_id=len(interfaces) - 1, packet_len=length, captured_len=len(data))
        packet.packet_data = data
        units = time_ns if ns else time_ns // 1000
        packet.timestamp_high, packet.timestamp_low = units >> 32, units & 0xffff_ffff
        writer.write_block(packet)
    return stream.getvalue()


def microseconds(frames):
    return [CapturedFrame(data, time_ns // 1000 * 1000) for data, time_ns in frames]


FORMATS = {
    "pcap ns little": (lambda: pcap(FRAMES), FRAMES),
    "pcap ns big": (lambda: pcap(FRAMES, ">"), FRAMES),
    "pcap us little": (lambda: pcap(FRAMES, "<", 1000), microseconds(FRAMES)),
    "pcap us big": (lambda: pcap(FRAMES, ">", 1000), microseconds(FRAMES)),
    "pcapng ns little": (lambda: pcapng_file(FRAMES), FRAMES),
    "pcapng us big": (lambda: pcapng_file(FRAMES, order=">", ns=False), microseconds(FRAMES)),
    "pcapng, simple packets": (lambda: pcapng_file(FRAMES, block="simple"),
                               [CapturedFrame(data, 0) for data, _ in FRAMES]),
    "pcapng, two sections": (lambda: pcapng_file(FRAMES) + pcapng_file(FRAMES[:1], order=">"), FRAMES + FRAMES[:1]),
    "empty pcap": (lambda: pcap([]), []),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format(tmp_path, name, compressed):
    make, frames = FORMATS[name]
    content = make()
    path = tmp_path / "capture"
    path.write_bytes(gzip.compress(content, mtime=0) if compressed else content)
    assert read_capture(path) == frames


def test_pcapng_by_another_library(tmp_path):
    path = tmp_path / "scapy.pcapng"
    packets = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88b5) / Raw(bytes([n]) * 50 * n)
               for n in range(1, 4)]
    for packet in packets:
        packet.time = 1_700_000_000.5
    wrpcapng(str(path), packets)
    assert read_capture(path) == [CapturedFrame(bytes(packet), 1_700_000_000_500_000_000) for packet in packets]


@pytest.mark.parametrize("content, message", [
    (b"", "neither pcap nor pcapng"),
    (b"hello, world", "neither pcap nor pcapng"),
    (pcap(FRAMES)[:20], "breaks off in its header"),
    (pcap(FRAMES)[:30], "breaks off in frame 1"),
    (pcap(FRAMES)[:-1], "breaks off in frame 3"),
    (pcap(FRAMES[:1]) + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30), "frame 2: 1073741824 bytes long, the file is"),
    (pcap(FRAMES, link_type=101), "link type 101 is not Ethernet"),
    (pcap(FRAMES, lengths=[14, 61, 9014]), "frame 2: cut by its snap length to 60 of 61 bytes"),
    (pcap([*FRAMES, CapturedFrame(bytes(13), 0)]), "frame 4: 13 bytes are less than an Ethernet header"),
    (pcap([FRAMES[0], CapturedFrame(bytes(9015), 0)]), "frame 2: 9015 bytes are more than the 9014 that an mtu"),
    (lambda: pcapng_file(FRAMES)[:-1], "frame 3: can't be read: "),
    (lambda: pcapng_file(FRAMES)[:50], "frame 1: can't be read: "),
    (lambda: pcapng_file(FRAMES, link_types=(1, 113)), "frame 1: link type 113 is not Ethernet"),
    (lambda: pcapng_file(FRAMES, lengths=[14, 60, 9999]), "frame 3: cut by its snap length to 9014 of 9999 bytes"),
    (gzip.compress(pcap(FRAMES), mtime=0)[:-20], "can't be read: Compressed file ended"),
    (gzip.compress(pcap(FRAMES), mtime=0)[:-8] + bytes(8), "can't be read: CRC check failed"),
])
def test_every_error_names_file_and_frame(tmp_path, content, message):
    path = tmp_path / "broken.pcap"
    path.write_bytes(content() if callable(content) else content)
    with pytest.raises(CaptureError) as error:
        read_capture(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(CaptureError, match="missing: can't be read: No such file"):
        read_capture(tmp_path / "missing")
    with pytest.raises(CaptureError, match="can't be read: Is a directory"):
        read_capture(tmp_path)


@pytest.mark.parametrize("tags, most", [("", 1514), ("81000001", 1518), ("88a8000181000002", 1522)])
def test_vlan_tags_make_room(tmp_path, tags, most):
    path = tmp_path / "tagged.pcap"
    frame = bytes(12) + bytes.fromhex(tags) + b"\x08\x00"
    path.write_bytes(pcap([CapturedFrame(frame.ljust(most, b"x"), 0)]))
    assert len(read_capture(path, mtu=1500)[0].data) == most
    path.write_bytes(pcap([CapturedFrame(frame.ljust(most + 1, b"x"), 0)]))
    with pytest.raises(CaptureError, match=f"more than the {most} that an mtu of 1500 allows"):
        read_capture(path, mtu=1500)


@pytest.mark.parametrize("frames", [FRAMES, []], ids=["some", "none"])
def test_what_is_written_is_read_back(tmp_path, frames):
    path = tmp_path / "out.pcap"
    write_capture(path, frames)
    assert path.read_bytes() == pcap(frames)
    assert read_capture(path) == frames


# The sample

def ones_complement_sum(data):
    total = sum(struct.unpack(f">{len(data) // 2 + len(data) % 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def layers(frame):
    """(network protocol, transport protocol) of a frame whose lengths and checksums are all right."""
    at = 18 if frame[12:14] == b"\x81\x00" else 14
    kind = frame[at - 2:at]
    if kind == b"\x08\x06":
        return "arp", None
    if kind == b"\x08\x00":
        assert ones_complement_sum(frame[at:at + 20]) == 0xffff
        protocol, end = frame[at + 9], at + int.from_bytes(frame[at + 2:at + 4], "big")
        addresses, body = frame[at + 12:at + 20], frame[at + 20:end]
    else:
        assert kind == b"\x86\xdd"
        protocol, end = frame[at + 6], at + 40 + int.from_bytes(frame[at + 4:at + 6], "big")
        addresses, body = frame[at + 8:at + 40], frame[at + 40:end]
    assert end == len(frame) or (len(frame) == 60 and not any(frame[end:]))
    pseudo = b"" if protocol == 1 else addresses + struct.pack(">HH", protocol, len(body))
    assert ones_complement_sum(pseudo + body) == 0xffff
    return "ipv4" if kind == b"\x08\x00" else "ipv6", {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp"}[protocol]


@pytest.fixture(scope="module")
def sample():
    return read_capture(SAMPLE, mtu=1500)


def test_sample_has_every_kind_of_frame_and_right_checksums(sample):
    assert len(sample) == 3000 and SAMPLE.stat().st_size < 3_000_000
    lengths = [len(data) for data, _ in sample]
    assert (min(lengths), max(lengths)) == (60, 1514)
    assert len({data[12:14] for data, _ in sample}) == 4       # ARP, IPv4, IPv6, VLAN
    kinds = {layers(data) for data, _ in sample}
    assert kinds == {("arp", None), *((network, transport) for network in ("ipv4", "ipv6")
                                      for transport in ("icmp", "tcp", "udp"))}
    times = [time_ns for _, time_ns in sample]
    assert times == sorted(times)


def test_sample_is_what_its_maker_makes(sample):
    assert make_frames(300) == sample[:300]
