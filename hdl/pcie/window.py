"""The configuration access window: BAR 0 through configuration space."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ConfigWindow"]


class ConfigWindow(wiring.Component):
    """What an access to `pci_cfg_data` stands for. VIRTIO 1.4, section 4.1.4.9.

    A written field counts from the second cycle after the write on: `legal` and what `length` decides are registers.
    Otherwise combinational; no request is judged so soon after another.

    The driver may write anything into bar, offset and length. An access is legal when the bar is 0, the length 1, 2 or
    4, the offset a multiple of it and inside the BAR; any other access reads 0 and changes nothing.

    Parameters
    ----------
    size_bits : int
        log2 of the size of BAR 0

    Attributes
    ----------
    bar, offset, length : In
        the capability's fields
    enable : In(4)
        byte enables of the access to `pci_cfg_data`; bytes beyond `length` don't count
    legal : Out(1)
    address : Out(size_bits)
        of the DW in BAR 0
    read_strobe : Out(4)
        lanes that a read takes: all `length` bytes, if any of them is enabled
    write_strobe : Out(4)
        lanes that a write changes: the enabled ones of the `length` bytes
    shift : Out(5)
        bits from lane 0 of `pci_cfg_data` up to the lane on the bus
    mask : Out(32)
        bits of `pci_cfg_data` that count
    """

    def __init__(self, size_bits):
        self.size_bits = size_bits
        super().__init__({
            "bar": In(8), "offset": In(32), "length": In(32), "enable": In(4),
            "legal": Out(1), "address": Out(size_bits), "read_strobe": Out(4), "write_strobe": Out(4),
            "shift": Out(5), "mask": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        lane = self.offset[:2]
        bytes_ = Signal(4)
        aligned = Signal()
        m.d.sync += [
            bytes_.eq(0), self.legal.eq(aligned & (self.bar == 0) & ~self.offset[self.size_bits:].any()),
        ]
        with m.Switch(self.length):
            with m.Case(1):
                m.d.sync += bytes_.eq(0b0001)
                m.d.comb += aligned.eq(1)
            with m.Case(2):
                m.d.sync += bytes_.eq(0b0011)
                m.d.comb += aligned.eq(~lane[0])
            with m.Case(4):
                m.d.sync += bytes_.eq(0b1111)
                m.d.comb += aligned.eq(lane == 0)
        counted = Signal(4)
        m.d.comb += [
            counted.eq(self.enable & bytes_),
            self.address.eq(Cat(C(0, 2), self.offset[2:self.size_bits])),
            self.read_strobe.eq(Mux(counted.any(), bytes_ << lane, 0)),
            self.write_strobe.eq(counted << lane),
            self.shift.eq(lane << 3),
            self.mask.eq(Cat(bit.replicate(8) for bit in bytes_)),
        ]
        return m
