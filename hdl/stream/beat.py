"""Shapes of what flows in streams of more than one beat.

Two kinds of beats are used everywhere:

`TlpBeat`
    a transaction-layer packet as the four outer streams carry it: header beside the data, payload from bit 0 of the
    first beat, one keep bit per DW. Indexed by segment from the start; one segment is what is built.

`PacketBeat`
    bytes of a packet, packed from bit 0 of its first beat. Every beat but the last is full; `bytes` counts the valid
    ones (0 is legal only in the only beat of an empty packet).
"""

from amaranth.lib import data

__all__ = ["TlpBeat", "PacketBeat"]


class TlpBeat(data.StructLayout):
    """One beat of a TLP stream.

    Parameters
    ----------
    width : int
        bits of `data`: 128, 256 or 512
    segments : int
        TLPs that may start in one beat; `first`, `last` and `header` exist per segment, low end first

    Fields
    ------
    first, last : `segments` bits
        ends of a TLP
    header : 128 bits per segment
        DW0 in [31:0] as a number as the PCIe specification draws it (Fmt in 31:29, Length in 9:0), DW1 in [63:32], ...;
        DW3 is 0 for 3-DW headers; valid with `first`
    data : `width` bits
        payload in address order from bit 0
    keep : `width // 32` bits
        a bit per DW, contiguous from bit 0; 0 for a TLP without payload
    """

    def __init__(self, width, segments=1):
        self.width = width
        self.segments = segments
        super().__init__({
            "first": segments,
            "last": segments,
            "header": 128 * segments,
            "data": width,
            "keep": width // 32,
        })


class PacketBeat(data.StructLayout):
    """One beat of a byte stream.

    Parameters
    ----------
    width : int
        bits of `data`
    sideband : dict
        further fields that travel with the beat; the stream's owner says on which beats they are valid
    """

    def __init__(self, width, sideband=None):
        self.width = width
        super().__init__({
            "data": width,
            "bytes": range(width // 8 + 1),
            "first": 1,
            "last": 1,
            **(sideband or {}),
        })
