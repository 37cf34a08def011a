"""AXI4-Stream at the card's edge: what `tkeep` says, and a packet stream as AXI4-Stream.

Source: AMBA AXI4-Stream Protocol, IHI 0051A. Bytes lie from bit 0 on and without position or null bytes in between, as
Ethernet MACs want it.
"""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .beat import PacketBeat

__all__ = ["PacketToAxis", "bytes_of_keep", "keep_has_holes", "keep_of_bytes"]


def keep_of_bytes(count, lanes):
    """`tkeep` of `lanes` bits with the lowest `count` bits set."""
    return Cat(count > lane for lane in range(lanes))


def keep_has_holes(keep):
    """Whether the ones of `keep` are not contiguous from bit 0; also when there are none."""
    return ~keep[0] | (~keep[:-1] & keep[1:]).any()


def bytes_of_keep(keep):
    """Number of ones of a `keep` without holes."""
    ends = Cat(keep[:-1] & ~keep[1:], keep[-1])
    bits = len(keep).bit_length()
    return Cat(Cat(end for lane, end in enumerate(ends) if (lane + 1) >> bit & 1).any() for bit in range(bits))


class PacketToAxis(wiring.Component):
    """A stream of `PacketBeat`s as AXI4-Stream signals, all of them registers. One beat a cycle; latency 1 cycle.

    Parameters
    ----------
    width : int
        bits per beat

    Attributes
    ----------
    i : In(stream(PacketBeat(width)))
        packets of at least one byte
    tdata, tkeep, tvalid, tlast : Out
    tready : In(1)
    """

    def __init__(self, width):
        self.width = width
        super().__init__({
            "i": In(stream.Signature(PacketBeat(width))),
            "tdata": Out(width), "tkeep": Out(width // 8), "tvalid": Out(1), "tlast": Out(1), "tready": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        beat = self.i.payload
        m.d.comb += self.i.ready.eq(~self.tvalid | self.tready)
        with m.If(self.i.ready):
            m.d.sync += [
                self.tvalid.eq(self.i.valid),
                self.tdata.eq(beat.data),
                self.tkeep.eq(keep_of_bytes(beat.bytes, self.width // 8)),
                self.tlast.eq(beat.last),
            ]
        return m
