"""Transaction-layer packets as the bench sees them: a 128-bit header and payload bytes, and their beats.

Declared here on its own, apart from the RTL, from the PCI Express Base Specification, Revision 4.0, section 2.2: DW0 in
bits 31:0 of a header as a number as the specification draws it, DW1 in 63:32, and so on.
"""

from enum import Enum, IntEnum

from model.link import tlp_bytes

__all__ = ["Kind", "MessageCode", "Status", "Tlp", "TlpAssembler", "completion", "config_read", "config_write",
           "memory_read", "memory_write", "message", "to_beats"]


class Kind(Enum):
    MEMORY_READ = "MRd"
    MEMORY_WRITE = "MWr"
    CONFIG_READ = "CfgRd"
    CONFIG_WRITE = "CfgWr"
    COMPLETION = "Cpl"
    MESSAGE = "Msg"
    OTHER = "other"


# By bits 31:24 of DW0: Fmt and Type
_KINDS = {0x00: Kind.MEMORY_READ, 0x20: Kind.MEMORY_READ, 0x40: Kind.MEMORY_WRITE, 0x60: Kind.MEMORY_WRITE,
          0x04: Kind.CONFIG_READ, 0x44: Kind.CONFIG_WRITE, 0x0a: Kind.COMPLETION, 0x4a: Kind.COMPLETION,
          **{fmt | 0x10 | routing: Kind.MESSAGE for fmt in (0x20, 0x60) for routing in range(6)}}


class Status(IntEnum):
    SUCCESS = 0
    UNSUPPORTED_REQUEST = 1
    RETRY = 2
    COMPLETER_ABORT = 4


class MessageCode(IntEnum):
    UNLOCK = 0x00
    PM_ACTIVE_STATE_NAK = 0x14
    PM_PME = 0x18
    PME_TURN_OFF = 0x19
    PME_TO_ACK = 0x1b
    ASSERT_INTA = 0x20
    DEASSERT_INTA = 0x24
    ERR_COR = 0x30
    ERR_NONFATAL = 0x31
    ERR_FATAL = 0x33
    SET_SLOT_POWER_LIMIT = 0x50
    VENDOR_TYPE_0 = 0x7e
    VENDOR_TYPE_1 = 0x7f


def _field(low, width):
    mask = (1 << width) - 1
    return property(lambda tlp: tlp.header >> low & mask)


class Tlp:
    """One TLP. Fields are read by name; which ones have a meaning depends on `kind`."""

    __slots__ = ("header", "kind", "payload")

    def __init__(self, header, payload=b""):
        self.header = header
        self.payload = payload
        self.kind = _KINDS.get(header >> 24 & 0xff, Kind.OTHER)

    # DW0
    length_field = _field(0, 10)
    at = _field(10, 2)
    attr = _field(12, 2)                # [0] no snoop, [1] relaxed ordering
    poisoned = _field(14, 1)
    digest = _field(15, 1)
    traffic_class = _field(20, 3)
    type = _field(24, 5)
    four_dw = _field(29, 1)
    with_data = _field(30, 1)
    # Requests
    first_be = _field(32, 4)
    last_be = _field(36, 4)
    tag = property(lambda tlp: tlp.header >> (72 if tlp.kind is Kind.COMPLETION else 40) & 0xff)
    requester = property(lambda tlp: tlp.header >> (80 if tlp.kind is Kind.COMPLETION else 48) & 0xffff)
    # Configuration requests
    register = _field(66, 10)
    function_id = _field(80, 16)        # bus, device and function
    # Completions
    byte_count_field = _field(32, 12)
    byte_count_modified = _field(44, 1)
    status = _field(45, 3)
    completer = _field(48, 16)
    lower_address = _field(64, 7)
    # Messages
    code = _field(32, 8)

    @property
    def length(self):
        """Length in bytes, whole DWs."""
        return 4 * (self.length_field or 1024)

    @property
    def byte_count(self):
        return self.byte_count_field or 4096

    @property
    def address(self):
        """Address of the first DW of a memory request."""
        if self.four_dw:
            return (self.header >> 64 & 0xffff_ffff) << 32 | self.header >> 96 & 0xffff_fffc
        return self.header >> 64 & 0xffff_fffc

    @property
    def posted(self):
        return self.kind in (Kind.MEMORY_WRITE, Kind.MESSAGE)

    @property
    def link_bytes(self):
        return tlp_bytes(4 if self.four_dw else 3, len(self.payload))

    def enabled(self):
        """(offset of the first enabled byte, offset behind the last) of a memory or configuration request."""
        first, last = self.first_be, self.last_be or self.first_be
        if not first:
            return 0, 0
        return (first & -first).bit_length() - 1, self.length - 4 + last.bit_length()

    def __eq__(self, other):
        return isinstance(other, Tlp) and self.header == other.header and self.payload == other.payload

    __hash__ = None

    def __repr__(self):
        what = {Kind.MEMORY_READ: lambda: f"{self.address:#x} +{self.length} tag {self.tag}",
                Kind.MEMORY_WRITE: lambda: f"{self.address:#x} +{len(self.payload)}",
                Kind.CONFIG_READ: lambda: f"register {4 * self.register:#x} tag {self.tag}",
                Kind.CONFIG_WRITE: lambda: f"register {4 * self.register:#x} tag {self.tag}",
                Kind.COMPLETION: lambda: f"tag {self.tag} status {self.status} +{len(self.payload)} of "
                                         f"{self.byte_count}",
                Kind.MESSAGE: lambda: f"{self.code:#x}"}.get(self.kind, lambda: "")()
        return f"<{self.kind.value} {what} header {self.header:#034x}>"


# Building

def _header(dw0, dw1, dw2, dw3=0):
    return dw0 | dw1 << 32 | dw2 << 64 | dw3 << 96


def _memory(with_data, address, length, tag, requester, flags):
    """Header of a request for bytes [address, +length), and the number of bytes before them in the first DW."""
    skip = address & 3
    dwords = max(1, skip + length + 3 >> 2)
    behind = 4 * dwords - skip - length
    first = 0xf << skip & 0xf if length else 0
    last = 0xf >> behind if length else 0
    if dwords == 1:
        first, last = first & last, 0
    address -= skip
    four_dw = address >= 1 << 32
    words = (address >> 32, address & 0xffff_ffff) if four_dw else (address, 0)
    dw0 = with_data << 30 | four_dw << 29 | flags | dwords & 0x3ff
    return _header(dw0, requester << 16 | tag << 8 | last << 4 | first, *words), skip


def memory_read(address, length, tag, requester=0, *, flags=0):
    """Read of bytes [address, +length); of length 0, a read of one DW without any byte enabled."""
    return Tlp(_memory(0, address, length, tag, requester, flags)[0])


def memory_write(address, data, requester=0, *, tag=0, flags=0):
    header, skip = _memory(1, address, len(data), tag, requester, flags)
    payload = bytes(skip) + bytes(data)
    return Tlp(header, payload + bytes(-len(payload) % 4))


def config_read(function_id, offset, size, tag, requester=0):
    """Type 0 read of `size` bytes within the DW at `offset`."""
    return Tlp(_config(0x04, function_id, offset, size, tag, requester))


def config_write(function_id, offset, data, tag, requester=0):
    return Tlp(_config(0x44, function_id, offset, len(data), tag, requester),
               bytes(offset & 3) + bytes(data) + bytes(4 - (offset & 3) - len(data)))


def _config(kind, function_id, offset, size, tag, requester):
    if not 0 < size <= 4 - (offset & 3):
        raise ValueError(f"{size} bytes at {offset:#x} are not within one DW")
    enables = ((1 << size) - 1) << (offset & 3)
    return _header(kind << 24 | 1, requester << 16 | tag << 8 | enables, function_id << 16 | offset & 0xffc)


def completion(requester, tag, completer, *, status=Status.SUCCESS, byte_count=4, lower_address=0, payload=b"",
               poisoned=False):
    with_data = bool(payload)
    return Tlp(_header((0x4a if with_data else 0x0a) << 24 | poisoned << 14 | len(payload) >> 2 & 0x3ff,
                       completer << 16 | status << 13 | byte_count & 0xfff, requester << 16 | tag << 8 | lower_address),
               payload)


def message(code, *, routing=0b100, requester=0, tag=0, words=(0, 0), payload=b""):
    """Message; `words` are DW2 and DW3. Routing: 0 to root, 1 by address, 2 by id, 3 broadcast, 4 local, 5 gathered."""
    dw0 = ((0x70 if payload else 0x30) | routing) << 24 | len(payload) >> 2
    return Tlp(_header(dw0, requester << 16 | tag << 8 | code, *words), payload)


# Beats: (first, last, header, keep, data)

def to_beats(tlp, width):
    """Beats of `width` bits; `header` is 0 where it isn't valid."""
    step = width // 8
    payload = tlp.payload
    if len(payload) <= step:
        return [(1, 1, tlp.header, (1 << (len(payload) >> 2)) - 1, int.from_bytes(payload, "little"))]
    beats = []
    for at in range(0, len(payload), step):
        part = payload[at:at + step]
        beats.append((int(at == 0), int(at + step >= len(payload)), tlp.header if at == 0 else 0,
                      (1 << (len(part) >> 2)) - 1, int.from_bytes(part, "little")))
    return beats


class TlpAssembler:
    """Makes TLPs of beats, and checks what the streams promise of them: AssertionError names the rule broken."""

    def __init__(self, width):
        self._full = (1 << width // 32) - 1
        self._bytes = width // 8
        self._header = None
        self._parts = []

    @property
    def inside(self):
        """Whether a TLP has begun and not ended."""
        return self._header is not None

    def push(self, first, last, header, keep, data):
        """The TLP that this beat completes, or None."""
        assert first == (self._header is None), f"first is {first} in the {'middle' if self.inside else 'first beat'}"
        assert keep & keep + 1 == 0, f"keep {keep:#x} is not contiguous from bit 0"
        assert last or keep == self._full, f"keep {keep:#x} is partial before the last beat"
        if first:
            self._header = header
        else:
            assert keep, "a beat without payload inside a TLP"
        if keep:
            self._parts.append(data.to_bytes(self._bytes, "little")[:4 * keep.bit_length()])
        if not last:
            return None
        tlp = Tlp(self._header, b"".join(self._parts))
        self._header = None
        self._parts = []
        expected = tlp.length if tlp.with_data else 0
        assert len(tlp.payload) == expected, f"{len(tlp.payload)} bytes of payload instead of {expected}: {tlp}"
        assert tlp.four_dw or not tlp.header >> 96, f"DW3 is not 0 behind a 3-DW header: {tlp}"
        return tlp
