"""TLPs of the requester streams for unit benches: beats from bytes and bytes from beats.

Declares the header format on its own, so that a wrong offset in the design cannot cancel out.
"""

from dataclasses import dataclass

__all__ = ["MemoryWrite", "beats_of", "memory_header", "message_header", "memory_writes", "tlps_of"]


def memory_header(address, dwords, *, write, tag=0, first_be=0xf, last_be=0xf, requester=0):
    """A memory request's header as a 128-bit number, DW0 lowest."""
    wide = address >= 1 << 32
    dw0 = (0x40000000 if write else 0) | (0x20000000 if wide else 0) | (dwords & 0x3ff)
    dw1 = requester << 16 | tag << 8 | last_be << 4 | first_be
    tail = [address >> 32, address & 0xfffffffc] if wide else [address & 0xfffffffc, 0]
    return sum(dw << 32 * n for n, dw in enumerate([dw0, dw1, *tail]))


def message_header(code, *, tag=0, routing=4):
    """A message without data, routed locally unless told."""
    return (0x30 | routing) << 24 | (tag << 8 | code) << 32


def beats_of(header, payload, width):
    """`TlpBeat` dicts of one TLP; `payload` in whole DWs."""
    assert len(payload) % 4 == 0
    size = width // 8
    chunks = [payload[n:n + size] for n in range(0, len(payload), size)] or [b""]
    return [{"first": n == 0, "last": n == len(chunks) - 1, "header": header if n == 0 else 0,
             "data": int.from_bytes(chunk, "little"), "keep": (1 << len(chunk) // 4) - 1}
            for n, chunk in enumerate(chunks)]


def tlps_of(beats, width):
    """[(header, payload)] of collected `TlpBeat`s; asserts the stream's framing."""
    result, payload, header = [], None, None
    for beat in beats:
        assert beat.first == (payload is None), "first does not mark the first beat"
        if beat.first:
            header, payload = beat.header, b""
        dwords = beat.keep.bit_count()
        assert beat.keep == (1 << dwords) - 1, f"keep has holes: {beat.keep:#x}"
        assert beat.last or dwords == width // 32, "a beat that is not the last one is partial"
        payload += beat.data.to_bytes(width // 8, "little")[:4 * dwords]
        if beat.last:
            result.append((header, payload))
            payload = None
    assert payload is None, "the last TLP does not end"
    return result


@dataclass
class MemoryWrite:
    """A memory write as it reached the host: `bytes_at` maps address to enabled byte."""
    address: int     # of the first DW
    dwords: int
    first_be: int
    last_be: int
    attributes: int
    requester: int
    bytes_at: dict


def memory_writes(beats, width):
    """Decode collected beats, all of them memory writes, and check the rules of every request."""
    writes = []
    for header, payload in tlps_of(beats, width):
        dw0, dw1, dw2, dw3 = (header >> 32 * n & 0xffffffff for n in range(4))
        assert dw0 >> 24 in (0x40, 0x60), f"not a memory write: {dw0:#010x}"
        address = dw2 << 32 | dw3 if dw0 >> 29 & 1 else dw2
        assert bool(dw0 >> 29 & 1) == (address >= 1 << 32), "4-DW headers are for addresses from 4 GiB on"
        assert dw0 >> 29 & 1 or dw3 == 0
        assert address % 4 == 0
        dwords = dw0 & 0x3ff or 1024
        assert len(payload) == 4 * dwords, f"length {dwords} DWs, payload {len(payload)} bytes"
        first_be, last_be = dw1 & 0xf, dw1 >> 4 & 0xf
        assert first_be, "no byte is enabled"
        assert bool(last_be) == (dwords > 1), "last BE is 0 exactly for requests of one DW"
        assert address // 4096 == (address + 4 * dwords - 1) // 4096, "crosses a 4 KiB boundary"
        enables = [first_be] + [0xf] * (dwords - 2) + ([last_be] if dwords > 1 else [])
        writes.append(MemoryWrite(
            address, dwords, first_be, last_be, dw0 >> 12 & 3, dw1 >> 16,
            {address + n: byte for n, byte in enumerate(payload) if enables[n // 4] >> n % 4 & 1}))
    return writes
