"""Captures of Ethernet frames: reading pcap, pcapng and gzip of either; writing pcap.

    for frame in read_capture("traffic.pcapng.gz", mtu=1500): frame.data, frame.time_ns
    write_capture("out.pcap", frames)

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import pcapng
from pcapng.blocks import BasePacketBlock

__all__ = ["CaptureError", "CapturedFrame", "read_capture", "write_capture"]

ETHERNET = 1                    # LINKTYPE_ETHERNET
ETHERNET_HEADER = 14
VLAN_TAG = 4
VLAN_TYPES = (b"\x81\x00", b"\x88\xa8")
MOST_BYTES = 1 << 18            # of a frame in any sound capture

GZIP_MAGIC = b"\x1f\x8b"
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
PCAP_MAGICS = {
    # magic: (byte order, ns in a unit of the second time stamp)
    bytes.fromhex("d4c3b2a1"): ("<", 1000), bytes.fromhex("a1b2c3d4"): (">", 1000),
    bytes.fromhex("4d3cb2a1"): ("<", 1), bytes.fromhex("a1b23c4d"): (">", 1),
}


class CaptureError(Exception):
    """A capture, or a frame of it, that can't be used; the message is one line that names both."""


class CapturedFrame(NamedTuple):
    """A frame without FCS, and when it was captured."""
    data: bytes
    time_ns: int


class _Record(NamedTuple):
    """A frame as the file has it: `length` is what it had on the wire."""
    data: bytes
    time_ns: int
    length: int
    link_type: int


def read_capture(path, *, mtu=9000):
    """All frames of a capture, as a list of CapturedFrame. Frames are counted from 1, as Wireshark does.

    Raises `CaptureError` if the file can't be read, or for a frame that was cut by its snap length, is not Ethernet, or
    is shorter than 14 bytes or longer than `mtu` allows: mtu, 14 bytes, and 4 for each VLAN tag that it has, at most 2.
    """
    content = _content(path)
    if content[:4] == PCAPNG_MAGIC:
        records = _pcapng_records(path, content)
    elif content[:4] in PCAP_MAGICS:
        records = _pcap_records(path, content)
    else:
        raise CaptureError(f"{path}: neither pcap nor pcapng")
    frames = []
    for number, record in enumerate(records, 1):
        _check(f"{path}: frame {number}", record, mtu)
        frames.append(CapturedFrame(record.data, record.time_ns))
    return frames


def _content(path):
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content[:2] == GZIP_MAGIC else content
    except (OSError, EOFError, zlib.error) as error:
        raise CaptureError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error


def _check(where, record, mtu):
    if record.link_type != ETHERNET:
        raise CaptureError(f"{where}: link type {record.link_type} is not Ethernet")
    if len(record.data) < record.length:
        raise CaptureError(f"{where}: cut by its snap length to {len(record.data)} of {record.length} bytes")
    if len(record.data) < ETHERNET_HEADER:
        raise CaptureError(f"{where}: {len(record.data)} bytes are less than an Ethernet header")
    most = mtu + ETHERNET_HEADER + VLAN_TAG * _vlan_tags(record.data)
    if len(record.data) > most:
        raise CaptureError(f"{where}: {len(record.data)} bytes are more than the {most} that an mtu of {mtu} allows")


def _vlan_tags(frame):
    if frame[12:14] not in VLAN_TYPES:
        return 0
    return 2 if frame[16:18] in VLAN_TYPES else 1


def _pcap_records(path, content):
    """Records of a pcap file. Done by hand: libraries take a file that breaks off for one that ends."""
    order, unit_ns = PCAP_MAGICS[content[:4]]
    if len(content) < 24:
        raise CaptureError(f"{path}: breaks off in its header")
    link_type, = struct.unpack_from(order + "I", content, 20)
    if link_type != ETHERNET:
        raise CaptureError(f"{path}: link type {link_type} is not Ethernet")
    header = struct.Struct(order + "IIII")
    at, number = 24, 1
    while at < len(content):
        if at + header.size > len(content):
            raise CaptureError(f"{path}: breaks off in frame {number}")
        seconds, units, captured, length = header.unpack_from(content, at)
        at += header.size
        if captured > MOST_BYTES:
            raise CaptureError(f"{path}: frame {number}: {captured} bytes long, the file is damaged")
        if at + captured > len(content):
            raise CaptureError(f"{path}: breaks off in frame {number}")
        yield _Record(content[at:at + captured], seconds * 10**9 + units * unit_ns, length, link_type)
        at += captured
        number += 1


def _pcapng_records(path, content):
    number = 1
    blocks = iter(pcapng.FileScanner(io.BytesIO(content)))
    while True:
        try:
            block = next(blocks, None)
            if block is None:
                return
            record = _pcapng_record(block) if isinstance(block, BasePacketBlock) else None
        except Exception as error:      # of whatever kind: the library leaves damage to struct, dict and others
            raise CaptureError(f"{path}: frame {number}: can't be read: {error or type(error).__name__}") from error
        if record:
            yield record
            number += 1


def _pcapng_record(block):
    interface = block.interface
    time_ns = 0
    if hasattr(block, "timestamp_high"):
        units_per_second = round(1 / interface.timestamp_resolution)
        time_ns = (block.timestamp_high << 32 | block.timestamp_low) * 10**9 // units_per_second
    return _Record(bytes(block.packet_data), time_ns, block.packet_len, interface.link_type)


def write_capture(path, frames):
    """Write CapturedFrames as a pcap with time stamps in ns, which Wireshark and tcpdump open."""
    from scapy.utils import RawPcapWriter  # here, since it takes longer to load than most captures to read

    with RawPcapWriter(str(path), linktype=ETHERNET, nano=True, endianness="<") as writer:
        writer.write_header(None)
        for data, time_ns in frames:
            writer.write_packet(data, sec=time_ns // 10**9, usec=time_ns % 10**9)
