"""The register bus: how accesses to BAR 0 reach the register blocks, one DW at a time."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RegisterRequest", "RegisterBus"]


class RegisterRequest(data.Struct):
    """Access to one DW.

    Fields
    ------
    function : PCI function
    write : write, else read
    address : byte offset in BAR 0 of the DW; [1:0] are 0
    data : written bytes, in their lanes
    strobe : a bit per byte lane; a lane whose bit is 0 is neither written nor, on a read, subject to side effects
    """
    function: 8
    write: 1
    address: 32
    data: 32
    strobe: 4


class RegisterBus(wiring.Signature):
    """Requests out, answers in, seen from the initiator.

    Every read is answered by one DW, in order; writes are not answered. A target takes requests strictly in order, so a
    read sees every earlier write. It may take any number of cycles, but waits for nothing outside itself: above all not
    for `rq` or `cc`.
    """

    def __init__(self):
        super().__init__({
            "request": Out(stream.Signature(RegisterRequest)),
            "response": In(stream.Signature(32)),
        })
