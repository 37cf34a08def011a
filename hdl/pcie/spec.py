"""Transaction-layer packet formats.

Source: PCI Express Base Specification, Revision 4.0, chapters 2 (transaction layer) and 7 (configuration space). DWs
are written as the specification draws them: DW0 in bits 31:0 of a header, byte 0 of the drawing in bits 31:24.
No logic beyond answering questions about a format.
"""

from amaranth.hdl import Cat, Mux
from amaranth.lib import data, enum

__all__ = ["TlpType", "MessageCode", "CompletionStatus", "TlpHeader", "MemoryRequest", "ConfigRequest", "Completion",
           "Message", "payload_bytes"]


class TlpType(enum.Enum, shape=5):
    """Type field; Fmt tells reads from writes (with data) and 3-DW from 4-DW headers."""
    MEMORY = 0b00000
    MEMORY_LOCKED = 0b00001
    IO = 0b00010
    CONFIG_0 = 0b00100
    CONFIG_1 = 0b00101
    COMPLETION = 0b01010
    COMPLETION_LOCKED = 0b01011
    FETCH_ADD = 0b01100
    SWAP = 0b01101
    COMPARE_SWAP = 0b01110
    # Messages are 0b10rrr, rrr the routing
    MESSAGE_TO_ROOT = 0b10000
    MESSAGE_BY_ADDRESS = 0b10001
    MESSAGE_BY_ID = 0b10010
    MESSAGE_BROADCAST = 0b10011
    MESSAGE_LOCAL = 0b10100
    MESSAGE_GATHERED = 0b10101


class MessageCode(enum.Enum, shape=8):
    ASSERT_INTA = 0x20
    DEASSERT_INTA = 0x24
    PM_ACTIVE_STATE_NAK = 0x14
    PM_PME = 0x18
    PME_TURN_OFF = 0x19
    PME_TO_ACK = 0x1b
    ERR_COR = 0x30
    ERR_NONFATAL = 0x31
    ERR_FATAL = 0x33
    UNLOCK = 0x00
    SET_SLOT_POWER_LIMIT = 0x50
    VENDOR_TYPE_0 = 0x7e
    VENDOR_TYPE_1 = 0x7f


class CompletionStatus(enum.Enum, shape=3):
    SUCCESS = 0
    UNSUPPORTED_REQUEST = 1
    RETRY = 2
    COMPLETER_ABORT = 4


class TlpHeader(data.Struct):
    """DW0, common to all TLPs; the rest by kind: see `MemoryRequest`, `ConfigRequest`, `Completion`, `Message`."""
    length: 10          # in DWs, 0 means 1024
    at: 2
    attr: 2             # [0] no snoop, [1] relaxed ordering
    ep: 1               # poisoned
    td: 1               # digest follows
    th: 1
    ln: 1
    attr2: 1            # ID-based ordering
    t8: 1
    tc: 3
    t9: 1
    type: 5             # TlpType; a plain number, since what the link brings may be none of them
    four_dw: 1          # Fmt[0]
    with_data: 1        # Fmt[1]
    prefix: 1           # Fmt[2]
    rest: 96

    def is_type(self, kind):
        return self.type == kind.value

    def is_message(self):
        return self.type[3:] == 0b10


_DW0 = {name: shape for name, shape in data.Layout.cast(TlpHeader).members.items() if name != "rest"}


class MemoryRequest(data.StructLayout):
    """Memory request. `high` and `low` are DW2 and DW3; with a 3-DW header the address is in `high` and DW3 is 0.

    Use `address_of` to read an address and `place_address` to build the two words.
    """

    def __init__(self):
        super().__init__({**_DW0, "first_be": 4, "last_be": 4, "tag": 8, "requester": 16, "high": 32, "low": 32})

    @staticmethod
    def address_of(view):
        """64-bit address of the first DW; bits 1:0 are 0."""
        return Mux(view.four_dw, Cat(view.low & 0xffff_fffc, view.high), view.high & 0xffff_fffc)

    @staticmethod
    def place_address(address):
        """(four_dw, high, low) for a DW-aligned 64-bit `address`: a 3-DW header below 4 GiB."""
        four_dw = address[32:].any()
        return four_dw, Mux(four_dw, address[32:], address[:32]), Mux(four_dw, address[:32], 0)


class ConfigRequest(data.StructLayout):
    """Type 0 configuration request; always one DW. `register` is the DW number, 0 to 1023."""

    def __init__(self):
        super().__init__({**_DW0, "first_be": 4, "last_be": 4, "tag": 8, "requester": 16,
                          "reserved0": 2, "register": 10, "reserved12": 4, "function": 3, "device": 5, "bus": 8,
                          "dw3": 32})


class Completion(data.StructLayout):
    """Completion, with or without data. `byte_count` is what remains, this completion included; 0 means 4096."""

    def __init__(self):
        super().__init__({**_DW0, "byte_count": 12, "bcm": 1, "status": 3, "completer": 16,
                          "lower_address": 7, "reserved7": 1, "tag": 8, "requester": 16, "dw3": 32})


class Message(data.StructLayout):
    def __init__(self):
        super().__init__({**_DW0, "code": 8, "tag": 8, "requester": 16, "dw2": 32, "dw3": 32})


def payload_bytes(code):
    """Bytes that a Max_Payload_Size or Max_Read_Request_Size code (0 to 5) stands for, as a 13-bit value."""
    return (1 << 7) << code
