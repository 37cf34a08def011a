"""Transaction-layer packets for unit benches: built and taken apart with plain integers.

Written from the PCI Express Base Specification alone, and not from the design's own tables, so that an error in one
does not hide behind the same error in the other.
"""

from dataclasses import dataclass, field

__all__ = ["Completion", "Tlp", "beats_of", "completion_of", "config_read", "config_write", "memory_read",
           "memory_write", "message", "tlps_of"]

NO_DATA_3DW, NO_DATA_4DW, DATA_3DW, DATA_4DW = range(4)


@dataclass
class Tlp:
    """A packet: header DWs as the specification numbers them, payload DWs with byte 0 in bits 7:0."""

    header: list
    payload: list = field(default_factory=list)

    @property
    def fmt(self):
        return self.header[0] >> 29

    @property
    def type(self):
        return self.header[0] >> 24 & 0x1f

    @property
    def number(self):
        """The header as the stream carries it."""
        return sum(dw << 32 * n for n, dw in enumerate(self.header))

    @property
    def data(self):
        return b"".join(dw.to_bytes(4, "little") for dw in self.payload)


def dw0(fmt, kind, length, *, tc=0, attr=0, ep=0):
    """`attr` has three bits: ID-based ordering, relaxed ordering, no snoop."""
    return fmt << 29 | kind << 24 | tc << 20 | attr >> 2 << 18 | ep << 14 | (attr & 3) << 12 | length & 0x3ff


def span(address, length):
    """(DWs, first byte enables, last byte enables) of `length` bytes at a byte address; 0 bytes are one DW."""
    if length == 0:
        return 1, 0, 0
    lead = address % 4
    count = (lead + length + 3) // 4
    first = 0xf << lead & 0xf
    last = 0xf >> -(lead + length) % 4
    return (1, first & last, 0) if count == 1 else (count, first, last)


def request(kind, data, address, length, *, tag=0, requester=0, enables=None, long=None, **bits):
    count, first, last = span(address, length)
    if enables is not None:
        first, last = enables
    address &= ~3
    long = address >> 32 != 0 if long is None else long
    where = [address >> 32, address & 0xffff_ffff] if long else [address, 0]
    fmt = (2 if data else 0) + long
    return [dw0(fmt, kind, count, **bits), requester << 16 | tag << 8 | last << 4 | first, *where]


def memory_read(address, length, *, kind=0, **options):
    return Tlp(request(kind, False, address, length, **options))


def memory_write(address, data, *, kind=0, **options):
    """Write bytes; those around them in the first and last DW are filled with 0xee, not enabled."""
    lead = address % 4
    padded = bytes([0xee] * lead) + data
    padded += bytes([0xee] * (-len(padded) % 4))
    words = [int.from_bytes(padded[n:n + 4], "little") for n in range(0, len(padded), 4)]
    return Tlp(request(kind, True, address, len(data), **options), words)


def _config(fmt, register, *, kind=4, tag=0, requester=0, bus=1, device=0, function=0, enables=0xf, length=1, **bits):
    return [dw0(fmt, kind, length, **bits), requester << 16 | tag << 8 | enables,
            bus << 24 | device << 19 | function << 16 | register & 0xffc, 0]


def config_read(register, **options):
    """`register` is a byte offset."""
    return Tlp(_config(NO_DATA_3DW, register, **options))


def config_write(register, value, **options):
    return Tlp(_config(DATA_3DW, register, **options), [value])


def message(code, routing, payload=(), *, requester=0, dw2=0, dw3=0, **bits):
    fmt = DATA_4DW if payload else NO_DATA_4DW
    return Tlp([dw0(fmt, 0x10 | routing, len(payload), **bits), requester << 16 | code, dw2, dw3], list(payload))


def beats_of(tlp, width):
    """Stream beats of a packet, as dictionaries."""
    lanes = width // 32
    count = max(1, -(-len(tlp.payload) // lanes))
    beats = []
    for n in range(count):
        words = tlp.payload[n * lanes:(n + 1) * lanes]
        beats.append({
            "first": n == 0, "last": n == count - 1, "keep": (1 << len(words)) - 1,
            # What the contract leaves open is filled with rubbish
            "header": tlp.number if n == 0 else (1 << 128) - 1,
            "data": sum(word << 32 * lane for lane, word in enumerate(words)) | _rubbish(len(words), lanes),
        })
    return beats


def _rubbish(used, lanes):
    return sum(0xdeadbeef << 32 * lane for lane in range(used, lanes))


def tlps_of(beats):
    """Packets of collected beats (views with the fields of a beat); checks the stream's rules."""
    tlps = []
    inside = False
    for beat in beats:
        assert beat.first == (not inside), "first and last do not alternate"
        if beat.first:
            tlps.append(Tlp([beat.header >> 32 * n & 0xffff_ffff for n in range(4)]))
        lanes = len(bin(beat.keep)) - 2 if beat.keep else 0
        assert beat.keep == (1 << lanes) - 1, f"keep {beat.keep:#x} is not contiguous"
        tlps[-1].payload += [beat.data >> 32 * lane & 0xffff_ffff for lane in range(lanes)]
        inside = not beat.last
    for tlp in tlps if not inside else tlps[:-1]:
        length = (tlp.header[0] & 0x3ff or 1024) if tlp.fmt & 2 else 0
        assert len(tlp.payload) == length, f"{len(tlp.payload)} DWs of payload, length says {length}"
        assert tlp.fmt & 1 or tlp.header[3] == 0, "DW3 of a 3-DW header is not 0"
    return tlps if not inside else tlps[:-1]


@dataclass
class Completion:
    status: int
    locked: bool
    tag: int
    requester: int
    completer: int
    byte_count: int
    lower_address: int
    tc: int
    attr: int
    data: bytes


def completion_of(tlp):
    first, second, third, _ = tlp.header
    assert tlp.type in (0x0a, 0x0b) and tlp.fmt in (NO_DATA_3DW, DATA_3DW), f"not a completion: {first:#010x}"
    assert not (first & 0x8b_cc00 or second >> 12 & 1 or third >> 7 & 1), "reserved bits are set"
    return Completion(
        status=second >> 13 & 7, locked=tlp.type == 0x0b, tag=third >> 8 & 0xff, requester=third >> 16,
        completer=second >> 16, byte_count=second & 0xfff or 4096, lower_address=third & 0x7f,
        tc=first >> 20 & 7, attr=(first >> 12 & 3) | (first >> 18 & 1) << 2, data=tlp.data)
