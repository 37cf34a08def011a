"""Judgement of requests that want a completion."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .classify import BarMatch
from .spec import CompletionStatus, ConfigRequest, MemoryRequest, TlpHeader, TlpType

__all__ = ["NonPostedJudge"]


class NonPostedJudge(wiring.Component):
    """What becomes of a request, and how its completions begin. Combinational.

    PCI Express Base Specification 4.0, sections 2.2.9 and 2.3.1.1.

    Parameters
    ----------
    size_bits : int
        log2 of the size of BAR 0

    Attributes
    ----------
    header : In(128)
    base : In(64 - size_bits)
    memory_enable : In(1)
    status : Out(CompletionStatus)
    poisoned : Out(1)
        the status is Unsupported Request because the payload is marked bad
    read : Out(1)
        a memory read of any kind: its completions name an address
    memory, config : Out(1)
        a memory read, or a configuration request, to be executed
    offset : Out(size_bits - 2)
        DW number in the BAR
    length : Out(11)
        DWs to read
    byte_count : Out(13)
        bytes from the first to the last one enabled; operand size of an atomic operation; else 4
    skipped : Out(2)
        bytes before the first one enabled
    """

    def __init__(self, size_bits):
        self.size_bits = size_bits
        super().__init__({
            "header": In(128), "base": In(64 - size_bits), "memory_enable": In(1),
            "status": Out(CompletionStatus), "poisoned": Out(1), "read": Out(1), "memory": Out(1), "config": Out(1),
            "offset": Out(size_bits - 2), "length": Out(11), "byte_count": Out(13), "skipped": Out(2),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bar = bar = BarMatch(self.size_bits)
        header = TlpHeader(self.header)
        request = data.View(MemoryRequest(), self.header)
        config = data.View(ConfigRequest(), self.header)
        is_memory = header.is_type(TlpType.MEMORY)
        is_config = header.is_type(TlpType.CONFIG_0) & (config.function == 0)
        reach = bar.hit & self.memory_enable
        m.d.comb += [
            Value.cast(bar.header).eq(self.header), bar.base.eq(self.base), self.offset.eq(bar.offset),
            self.read.eq(is_memory | header.is_type(TlpType.MEMORY_LOCKED)),
            self.poisoned.eq(is_config & header.with_data & header.ep),
            self.memory.eq(is_memory & reach & ~bar.overrun),
            self.config.eq(is_config & ~self.poisoned),
            self.length.eq(Mux(is_memory, Cat(header.length, header.length == 0), 1)),
            self.status.eq(CompletionStatus.UNSUPPORTED_REQUEST),
        ]
        with m.If(self.memory | self.config):
            m.d.comb += self.status.eq(CompletionStatus.SUCCESS)
        with m.Elif(is_memory & reach):
            m.d.comb += self.status.eq(CompletionStatus.COMPLETER_ABORT)
        self._count(m, header, request)
        return m

    def _count(self, m, header, request):
        single = header.length == 1
        final_be = Mux(single, request.first_be, request.last_be)
        beyond = Signal(2)             # bytes after the last one enabled
        with m.If(self.read):
            with m.Switch(request.first_be):
                for lane, pattern in enumerate(("---1", "--10", "-100", "1000")):
                    with m.Case(pattern):
                        m.d.comb += self.skipped.eq(lane)
            with m.Switch(final_be):
                for lane, pattern in enumerate(("1---", "01--", "001-", "0001")):
                    with m.Case(pattern):
                        m.d.comb += beyond.eq(lane)
            full = Cat(C(0, 2), header.length, header.length == 0)
            m.d.comb += self.byte_count.eq(full - self.skipped - beyond)
            with m.If(single & (request.first_be == 0)):
                m.d.comb += self.byte_count.eq(1)
        with m.Elif(header.is_type(TlpType.FETCH_ADD) | header.is_type(TlpType.SWAP)):
            m.d.comb += self.byte_count.eq(header.length << 2)
        with m.Elif(header.is_type(TlpType.COMPARE_SWAP)):
            m.d.comb += self.byte_count.eq(header.length << 1)
        with m.Else():
            m.d.comb += self.byte_count.eq(4)
