"""Questions about a received request header: what kind it is, and whether it reaches our memory."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .spec import MemoryRequest, TlpHeader, TlpType, payload_bytes

__all__ = ["BarMatch", "RequestClassifier"]


class RequestClassifier(wiring.Component):
    """Which way a received TLP goes. Combinational; exactly one output is 1.

    Malformed is what PCI Express Base Specification 4.0, sections 2.2 and 2.3.1 make it: undefined combinations of Fmt
    and Type, prefixes (we announce no support), completions (they arrive elsewhere), payloads above Max_Payload_Size,
    and I/O and configuration requests of other than one DW.

    Attributes
    ----------
    header : In(128)
    max_payload : In(2)
        Max_Payload_Size: 128 bytes << code
    write, message, nonposted, malformed : Out(1)
    """

    header: In(TlpHeader)
    max_payload: In(2)
    write: Out(1)
    message: Out(1)
    nonposted: Out(1)
    malformed: Out(1)

    def elaborate(self, platform):
        m = Module()
        header = self.header
        allowed = Signal()
        one_dw = Signal()
        # More DWs than a power of 2, without a carry; a length of 0 stands for 1024 and is more than any of these.
        too_long = Signal()
        with m.Switch(self.max_payload):
            for code in range(1 << len(self.max_payload)):
                with m.Case(code):
                    bit = exact_log2(payload_bytes(code) // 4)
                    m.d.comb += too_long.eq((header.length == 0) | header.length[bit + 1:].any()
                                            | (header.length[bit] & header.length[:bit].any()))
        m.d.comb += [
            allowed.eq(~header.prefix & ~(header.with_data & too_long)),
            one_dw.eq((header.length == 1) & ~header.four_dw),
        ]
        with m.If(allowed):
            with m.Switch(header.type):
                with m.Case(TlpType.MEMORY.value):
                    m.d.comb += [self.write.eq(header.with_data), self.nonposted.eq(~header.with_data)]
                with m.Case(TlpType.MEMORY_LOCKED.value):
                    m.d.comb += self.nonposted.eq(~header.with_data)
                with m.Case(TlpType.IO.value, TlpType.CONFIG_0.value, TlpType.CONFIG_1.value):
                    m.d.comb += self.nonposted.eq(one_dw)
                with m.Case(TlpType.FETCH_ADD.value, TlpType.SWAP.value, TlpType.COMPARE_SWAP.value):
                    m.d.comb += self.nonposted.eq(header.with_data)
                with m.Case("10---"):
                    m.d.comb += self.message.eq(header.four_dw)
        m.d.comb += self.malformed.eq(~(self.write | self.message | self.nonposted))
        return m


class BarMatch(wiring.Component):
    """Whether a memory request reaches BAR 0, and where. Combinational.

    Parameters
    ----------
    size_bits : int
        log2 of the BAR's size in bytes

    Attributes
    ----------
    header : In(MemoryRequest)
    base : In(64 - size_bits)
        address of the BAR, without the low bits
    hit : Out(1)
    offset : Out(size_bits - 2)
        DW number in the BAR
    overrun : Out(1)
        the request begins in the BAR and ends beyond it
    """

    def __init__(self, size_bits):
        self.size_bits = size_bits
        super().__init__({
            "header": In(MemoryRequest()),
            "base": In(64 - size_bits),
            "hit": Out(1),
            "offset": Out(size_bits - 2),
            "overrun": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        address = MemoryRequest.address_of(self.header)
        length = Cat(self.header.length, self.header.length == 0)
        end = Signal(self.size_bits - 1)
        m.d.comb += [
            self.hit.eq(address[self.size_bits:64] == self.base),
            self.offset.eq(address[2:self.size_bits]),
            end.eq(self.offset + length),
            self.overrun.eq(end > 1 << self.size_bits - 2),
        ]
        return m
