"""The completer's entrance: posted requests are done as they arrive, the others handed on."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterRequest
from hdl.stream import Skid, TlpBeat, connect_stream

from .classify import BarMatch, RequestClassifier
from .errors import RequestErrors
from .spec import MemoryRequest, Message, MessageCode, TlpHeader

__all__ = ["NonPostedRequest", "RequestIngress"]

# Hot-plug messages of PCI Express 1.0a: "ignored" ever since
IGNORED = (0x40, 0x41, 0x43, 0x44, 0x45, 0x47, 0x48)


class NonPostedRequest(data.Struct):
    """A request that wants a completion: its header and the first DW of its payload."""
    header: 128
    data: 32


class MessageJudge(wiring.Component):
    """What to do with a received message. Combinational.

    Swallowed are the messages that any endpoint may get and need not act on: Set_Slot_Power_Limit (we draw what the
    form factor allows), Unlock (we are never locked), PM_Active_State_Nak (for the link), the "ignored" hot-plug
    messages of older systems, and vendor-defined messages of type 1. All others are Unsupported Requests.
    PCI Express Base Specification 4.0, sections 2.2.8 and 2.3.1.
    """

    header: In(Message())
    turn_off: Out(1)
    unsupported: Out(1)
    poisoned: Out(1)

    def elaborate(self, platform):
        m = Module()
        poisoned = self.header.with_data & self.header.ep
        with m.Switch(self.header.code):
            with m.Case(MessageCode.PME_TURN_OFF.value):
                m.d.comb += self.turn_off.eq(1)
            with m.Case(MessageCode.SET_SLOT_POWER_LIMIT.value):
                m.d.comb += self.poisoned.eq(poisoned)
            with m.Case(MessageCode.UNLOCK.value, MessageCode.PM_ACTIVE_STATE_NAK.value,
                        MessageCode.VENDOR_TYPE_1.value, *IGNORED):
                pass
            with m.Default():
                m.d.comb += self.unsupported.eq(1)
        return m


class RequestIngress(wiring.Component):
    """Takes received requests in order; one beat at a time stands in the working register.

    A memory write goes to `writes` DW by DW, one a cycle; a DW without enabled bytes goes nowhere. A request that wants
    a completion goes to `nonposted` once every DW of the writes before it has been taken, so whoever takes it cannot
    overtake one. What is refused is swallowed to its last beat and told to `errors`. Latency from `cq` to
    `writes.valid` or `nonposted.valid`: 1 cycle. `cq` stands still only while `writes` or `nonposted` does.

    Parameters
    ----------
    width : int
        bits per beat
    size_bits : int
        log2 of the size of BAR 0

    Attributes
    ----------
    cq : In(stream of TlpBeat(width))
    writes : Out(stream of RegisterRequest)
    nonposted : Out(stream of NonPostedRequest)
    base : In(64 - size_bits)
        of BAR 0
    memory_enable : In(1)
    max_payload : In(2)
    errors : Out(RequestErrors)
        of posted requests and malformed TLPs; one cycle each
    turn_off : Out(1)
        PME_Turn_Off received
    """

    def __init__(self, width, size_bits):
        self.width = width
        self.size_bits = size_bits
        super().__init__({
            "cq": In(stream.Signature(TlpBeat(width))),
            "writes": Out(stream.Signature(RegisterRequest)),
            "nonposted": Out(stream.Signature(NonPostedRequest)),
            "base": In(64 - size_bits),
            "memory_enable": In(1),
            "max_payload": In(2),
            "errors": Out(RequestErrors),
            "turn_off": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.skid = arriving = Skid(TlpBeat(self.width))
        connect_stream(m, wiring.flipped(self.cq), arriving.i)
        busy = Signal()
        beat = Signal(TlpBeat(self.width))
        opening = Signal()             # the beat carries the header, and none of it has gone out
        more = Signal()                # DWs of the beat behind the lowest
        address = Signal(self.size_bits - 2)
        writing = Signal()
        wanting = Signal()             # a completion
        verdict = Signal(RequestErrors)
        turn_off = Signal()
        done = Signal()
        with m.If(busy):
            with m.If(writing):
                self._write(m, beat, more, verdict.header, address, opening, done)
            with m.Elif(wanting & opening):
                m.d.comb += [self.nonposted.valid.eq(1), done.eq(self.nonposted.ready)]
            with m.Else():
                m.d.comb += done.eq(1)

        judged = self._judge(m, arriving.o.p.header)
        m.d.comb += arriving.o.ready.eq(~busy | done)
        with m.If(arriving.o.ready):
            m.d.sync += [
                busy.eq(arriving.o.valid),
                Value.cast(beat).eq(Value.cast(arriving.o.p)),
                opening.eq(arriving.o.p.first), more.eq(arriving.o.p.keep[1:].any()),
            ]
            with m.If(arriving.o.valid & arriving.o.p.first):
                m.d.sync += [
                    writing.eq(judged.write), wanting.eq(judged.nonposted), address.eq(judged.offset),
                    Value.cast(verdict).eq(Value.cast(judged.errors)), turn_off.eq(judged.turn_off),
                ]
        m.d.comb += [
            self.nonposted.p.header.eq(verdict.header),
            self.nonposted.p.data.eq(beat.data[:32]),
            self.errors.header.eq(verdict.header),
            self.turn_off.eq(busy & opening & turn_off),
        ]
        for name in ("malformed", "unsupported", "aborted", "poisoned"):
            m.d.comb += self.errors[name].eq(busy & opening & verdict[name])
        return m

    def _judge(self, m, header):
        """Decide about an arriving TLP from its header."""
        judged = Signal(data.StructLayout({"write": 1, "nonposted": 1, "offset": self.size_bits - 2,
                                           "errors": RequestErrors, "turn_off": 1}))
        m.submodules.kind = kind = RequestClassifier()
        m.submodules.bar = bar = BarMatch(self.size_bits)
        m.submodules.message = message = MessageJudge()
        m.d.comb += [
            Value.cast(kind.header).eq(header), kind.max_payload.eq(self.max_payload),
            Value.cast(bar.header).eq(header), bar.base.eq(self.base),
            Value.cast(message.header).eq(header),
            judged.offset.eq(bar.offset), judged.errors.header.eq(header), judged.nonposted.eq(kind.nonposted),
            judged.errors.malformed.eq(kind.malformed),
        ]
        with m.If(kind.write):
            with m.If(~(bar.hit & self.memory_enable)):
                m.d.comb += judged.errors.unsupported.eq(1)
            with m.Elif(bar.overrun):
                m.d.comb += judged.errors.aborted.eq(1)
            with m.Elif(TlpHeader(header).ep):
                m.d.comb += judged.errors.poisoned.eq(1)
            with m.Else():
                m.d.comb += judged.write.eq(1)
        with m.If(kind.message):
            m.d.comb += [judged.turn_off.eq(message.turn_off), judged.errors.unsupported.eq(message.unsupported),
                         judged.errors.poisoned.eq(message.poisoned)]
        return judged

    def _write(self, m, beat, more, header, address, opening, done):
        """Give the lowest DW of the beat to the bus, then move the others down."""
        request = data.View(MemoryRequest(), header)
        last = Signal()
        strobe = Signal(4)
        step = Signal()
        m.d.comb += [
            last.eq(beat.last & ~more),
            strobe.eq(Mux(opening, request.first_be, Mux(last, request.last_be, 0xf))),
            self.writes.valid.eq(beat.keep[0] & strobe.any()),
            self.writes.p.write.eq(1),
            self.writes.p.address.eq(address << 2),
            self.writes.p.data.eq(beat.data[:32]),
            self.writes.p.strobe.eq(strobe),
            step.eq(self.writes.ready | ~self.writes.valid),
            done.eq(step & ~more),
        ]
        with m.If(step):
            m.d.sync += [
                address.eq(address + 1), opening.eq(0), beat.data.eq(beat.data >> 32), beat.keep.eq(beat.keep >> 1),
                more.eq(beat.keep[2:].any()),
            ]
