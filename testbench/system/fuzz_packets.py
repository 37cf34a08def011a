"""Random combinations of chains and headers as a driver may hand them over, good ones and others."""

import struct
from dataclasses import dataclass

from model import formats
from model.formats import GsoType
from model.offload import LONGEST_PACKET
from testbench.unit.offload_packets import net_header, random_packet, spoil
from testbench.unit.traffic import offload_frame

__all__ = ["Packets", "TransmitPacket"]

SEGMENTED = (GsoType.TCPV4, GsoType.TCPV6, GsoType.UDP_L4)
MOST_SEGMENTS = 60
PAGE = 4096


@dataclass
class TransmitPacket:
    """`data` in `elements`, each (place in the area, bytes, device-writable). A `table` takes them, or None as the
    driver's style has it."""
    data: bytes
    elements: list
    table: bool | None

    @property
    def capacity(self):
        """Bytes that the device might write."""
        return sum(length for _, length, writable in self.elements if writable)

    def __str__(self):
        cuts = " ".join(f"{length}{'w' * writable}" for _, length, writable in self.elements)
        return f"{self.data.hex()} in elements of [{cuts}]{' in a table' if self.table else ''}"


class Packets:
    """
    Parameters
    ----------
    rng : random.Random
    header_bytes : of virtio_net_hdr
    longest : bytes of the longest frame
    most : elements of a chain, at most
    tables : whether VIRTIO_F_INDIRECT_DESC was negotiated
    """

    def __init__(self, rng, *, header_bytes, longest, most, tables):
        self._rng, self._longest, self._most, self._tables = rng, longest, most, tables
        self._header_bytes = header_bytes

    def next(self):
        rng = self._rng
        header, frame = self._packet()
        header = self._garnish(header)
        header += rng.choice((bytes(self._header_bytes), rng.randbytes(self._header_bytes)))[len(header):]
        data = header + frame
        kind = rng.random()
        if kind < 0.04:
            data = data[:rng.randrange(0, self._header_bytes + 20)]
        elif kind < 0.07:
            end = self._header_bytes + self._longest + rng.choice((-1, 0, 0, 1, 2, 30))
            data = data[:end] + rng.randbytes(max(0, end - len(data)))
        elif kind < 0.072:
            end = self._header_bytes + LONGEST_PACKET + rng.choice((-1, 0, 1, 4000))
            data = data[:end] + rng.randbytes(max(0, end - len(data)))
        data = self._bound(data)
        elements = self._cut(len(data))
        if rng.random() < 0.03:
            written = rng.randrange(1, len(elements) + 1)
            elements = [(at, length, n >= len(elements) - written) for n, (at, length, _) in enumerate(elements)]
        table = rng.choice((None, True, False)) if self._tables else None
        return TransmitPacket(data, elements, table)

    def _packet(self):
        """(12 bytes of header, frame)"""
        rng = self._rng
        kind = rng.random()
        if kind < 0.2:
            return net_header(), offload_frame(rng, longest=rng.choice((100, 300, 1400)))
        if kind < 0.3:
            return net_header(), rng.randbytes(rng.choice((14, 60, rng.randrange(1, 200), rng.randrange(1, 1600))))
        if kind < 0.38:
            return rng.randbytes(12), offload_frame(rng)
        if kind < 0.46:
            frame = offload_frame(rng)
            start = rng.choice((14, 34, 54, len(frame) - 2, rng.randrange(len(frame) + 8)))
            header = net_header(flags=rng.choice((1, 1, 1, 3, 0xff, 0)), start=max(0, start), offset=rng.choice(
                (0, 6, 16, rng.randrange(40), 0xffff - start)))
            return header, frame
        size = rng.choice((0, 1, rng.randrange(200), rng.randrange(1400), rng.randrange(1, 3000)))
        segment = rng.choice((0, 536, 1448, rng.randrange(1, 1900), rng.randrange(1, 200)))
        if segment and rng.random() < 0.03:
            size = rng.choice((rng.randrange(16_000), rng.randrange(64_000), 65_400))
        header, frame = random_packet(rng, rng.choice(SEGMENTED), rng.randbytes(size), segment)
        if rng.random() < 0.35:
            header, frame = spoil(rng, header, frame)
        return header, frame

    def _garnish(self, header):
        """Anything where fields have no meaning."""
        rng = self._rng
        flags, gso_type, hdr_len, gso_size, start, offset, buffers = struct.unpack("<BBHHHHH", header)
        if rng.random() < 0.3:
            hdr_len, buffers = rng.choice((0, 1, 14, 0xffff, rng.getrandbits(16))), rng.getrandbits(16)
        if rng.random() < 0.1:
            flags |= rng.randrange(256) & ~formats.NET_HDR_F_NEEDS_CSUM
        return struct.pack("<BBHHHHH", flags, gso_type, hdr_len, gso_size, start, offset, buffers)

    @staticmethod
    def _bound(data):
        """No more segments than leave the wire in a reasonable time."""
        gso_size = int.from_bytes(data[4:6], "little")
        if len(data) < 12 or not data[1] or not gso_size:
            return data
        return data[:4] + max(gso_size, len(data) // MOST_SEGMENTS).to_bytes(2, "little") + data[6:]

    def _cut(self, length):
        """Elements of `length` bytes anywhere in memory, some of them empty."""
        rng = self._rng
        count = rng.choice((1, 1, 2, 2, 3, 5, 8, rng.randint(1, self._most)))
        cuts = [rng.randrange(length + 1) for _ in range(min(count, self._most) - 1)]
        if cuts and rng.random() < 0.3:
            cuts[0] = min(length, self._header_bytes)
        if cuts and rng.random() < 0.1:
            cuts[-1] = cuts[0]
        edges = [0, *sorted(cuts), length]
        at, elements = 0, []
        for first, end in zip(edges, edges[1:]):
            at += rng.choice((0, 0, 1, 3, 7, 64, rng.randrange(200), PAGE - (at + rng.randrange(8)) % PAGE))
            elements.append((at, end - first, False))
            at += end - first
        return elements
