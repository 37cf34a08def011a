"""Execution of requests that want a completion."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterBus, RegisterRequest

from .config_map import MAX_PAYLOAD_CODE, WINDOW_DATA
from .errors import RequestErrors
from .ingress import NonPostedRequest
from .judge import NonPostedJudge
from .spec import Completion, CompletionStatus, ConfigRequest, MemoryRequest, TlpHeader, TlpType
from .window import ConfigWindow

__all__ = ["NonPostedExecutor"]


class NonPostedExecutor(wiring.Component):
    """Executes requests one after the other and describes their completions.

    A memory read becomes one access a DW, one at a time; its completions end at multiples of Max_Payload_Size, which
    are multiples of every Read Completion Boundary. A word read is taken from the bus at once, whether or not a
    completion can leave, so that the bus never waits. The bus and device number of an accepted configuration write are
    latched, and name us in completions. A configuration write that initiates a function level reset is answered, and
    the answer has gone out, before `flr` pulses. Latency from a request to the first access: 5 cycles; 4 cycles a DW.

    Parameters
    ----------
    size_bits : int
        log2 of the size of BAR 0

    Attributes
    ----------
    requests : In(stream of NonPostedRequest)
    bus : Out(RegisterBus())
        BAR 0
    config : Out(RegisterBus())
        configuration space
    completions : Out(stream of Completion)
        header of a completion, before its words
    words : Out(stream of 32 bits)
    packed : In(1)
        all completions have gone out
    base, memory_enable, max_payload : In
        as in `RequestIngress`
    window_bar, window_offset, window_length : In
        of the configuration access window
    initiate_flr : In(1)
        pulse from the configuration space
    flr : Out(1)
        pulse
    errors : Out(RequestErrors)
        of requests that are answered with an error status; one cycle each, before the answer can leave
    requester_id : Out(16)
        our bus, device and function number
    """

    def __init__(self, size_bits):
        self.size_bits = size_bits
        super().__init__({
            "requests": In(stream.Signature(NonPostedRequest)),
            "bus": Out(RegisterBus()), "config": Out(RegisterBus()),
            "completions": Out(stream.Signature(Completion())), "words": Out(stream.Signature(32)), "packed": In(1),
            "base": In(64 - size_bits), "memory_enable": In(1), "max_payload": In(2),
            "window_bar": In(8), "window_offset": In(32), "window_length": In(32),
            "initiate_flr": In(1), "flr": Out(1), "errors": Out(RequestErrors), "requester_id": Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.judge = self._judge = NonPostedJudge(self.size_bits)
        m.submodules.window = self._window = ConfigWindow(self.size_bits)
        self._request = Signal(NonPostedRequest)
        self._status = Signal(CompletionStatus)
        self._poisoned = Signal()
        self._addressed = Signal()     # completions name an address
        self._reading = Signal()       # words go with the completions
        self._left = Signal(11)        # words left of the request
        self._piece = Signal(8)        # words left of this completion
        self._byte_count = Signal(13)
        self._skipped = Signal(2)
        self._word = Signal(32)
        self._shift = Signal(5)
        self._mask = Signal(32)
        self._to_bus = Signal()
        self._access = Signal(RegisterRequest)
        flr_waits = Signal()
        self._judge_inputs(m)
        self._describe_completion(m)
        m.d.comb += [
            self.bus.request.payload.eq(self._access), self.config.request.payload.eq(self._access),
            self.bus.response.ready.eq(1), self.config.response.ready.eq(1),
            self.words.payload.eq(self._word), self.errors.header.eq(self._request.header),
        ]
        with m.If(self.initiate_flr):
            m.d.sync += flr_waits.eq(1)

        m.d.sync += [self.errors[name].eq(0) for name in ("poisoned", "unsupported", "aborted")]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.requests.ready.eq(1)
                m.d.sync += Value.cast(self._request).eq(Value.cast(self.requests.p))
                with m.If(self.requests.valid):
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                self._prepare(m)
                m.next = "PIECE"
            with m.State("PIECE"):
                self._cut(m)
                self._report(m)
                m.next = "HEADER"
                with m.If(self._access.write):
                    m.next = "ACCESS"
            with m.State("HEADER"):
                m.d.comb += self.completions.valid.eq(1)
                with m.If(self.completions.ready):
                    m.d.sync += [
                        self._byte_count.eq(self._byte_count - (self._piece << 2) + self._skipped),
                        self._skipped.eq(0),
                    ]
                    m.next = "IDLE"
                    with m.If(self._reading):
                        m.next = "ACCESS"
                    with m.Elif(flr_waits):
                        m.next = "RESET"
            with m.State("ACCESS"):
                m.d.comb += [self.bus.request.valid.eq(self._to_bus), self.config.request.valid.eq(~self._to_bus)]
                with m.If(Mux(self._to_bus, self.bus.request.ready, self.config.request.ready)):
                    m.next = "ANSWER"
                    with m.If(self._access.write):
                        m.next = "HEADER"
            with m.State("ANSWER"):
                answer = Mux(self._to_bus, self.bus.response.payload, self.config.response.payload)
                m.d.sync += self._word.eq((answer >> self._shift) & self._mask)
                with m.If(Mux(self._to_bus, self.bus.response.valid, self.config.response.valid)):
                    m.next = "WORD"
            with m.State("WORD"):
                m.d.comb += self.words.valid.eq(1)
                with m.If(self.words.ready):
                    self._next_word(m)
                    m.next = "ACCESS"
                    with m.If(self._left == 1):
                        m.next = "IDLE"
                    with m.Elif(self._piece == 1):
                        m.next = "PIECE"
            with m.State("RESET"):
                with m.If(self.packed):
                    m.d.comb += self.flr.eq(1)
                    m.d.sync += flr_waits.eq(0)
                    m.next = "IDLE"
        return m

    def _judge_inputs(self, m):
        header = self._request.header
        m.d.comb += [
            self._judge.header.eq(header), self._judge.base.eq(self.base),
            self._judge.memory_enable.eq(self.memory_enable),
            self._window.bar.eq(self.window_bar), self._window.offset.eq(self.window_offset),
            self._window.length.eq(self.window_length),
            self._window.enable.eq(data.View(ConfigRequest(), header).first_be),
        ]

    def _prepare(self, m):
        """Register what is to be done and answered."""
        judge, window, access = self._judge, self._window, self._access
        config = data.View(ConfigRequest(), self._request.header)
        write = judge.config & config.with_data
        m.d.sync += [
            self._status.eq(judge.status), self._poisoned.eq(judge.poisoned), self._addressed.eq(judge.read),
            self._reading.eq(judge.memory | (judge.config & ~config.with_data)),
            self._left.eq(judge.length), self._byte_count.eq(judge.byte_count), self._skipped.eq(judge.skipped),
            self._to_bus.eq(judge.memory),
            self._shift.eq(0), self._mask.eq(~0),
            access.write.eq(write), access.strobe.eq(config.first_be), access.data.eq(self._request.data),
            access.address.eq(Mux(judge.read, judge.offset << 2, config.register << 2)),
        ]
        with m.If(write):
            m.d.sync += self.requester_id.eq(Cat(C(0, 3), config.device, config.bus))
        with m.If(judge.config & (config.register == WINDOW_DATA // 4) & window.legal):
            m.d.sync += [
                self._to_bus.eq(1), self._shift.eq(window.shift), self._mask.eq(window.mask),
                access.address.eq(window.address), access.data.eq(self._request.data << window.shift),
                access.strobe.eq(Mux(write, window.write_strobe, window.read_strobe)),
            ]

    def _report(self, m):
        # Only an executed read comes to more than one piece, so an error is told once: in the next cycle, in which the
        # header is still here.
        m.d.sync += [
            self.errors.poisoned.eq(self._poisoned),
            self.errors.unsupported.eq((self._status == CompletionStatus.UNSUPPORTED_REQUEST) & ~self._poisoned),
            self.errors.aborted.eq(self._status == CompletionStatus.COMPLETER_ABORT),
        ]

    def _cut(self, m):
        """Length of the next completion: up to a multiple of Max_Payload_Size."""
        room = Signal(8)
        with m.Switch(self.max_payload):
            for code in range(MAX_PAYLOAD_CODE + 1):
                with m.Case(code):
                    m.d.comb += room.eq((32 << code) - self._access.address[2:7 + code])
        m.d.sync += self._piece.eq(Mux(self._left < room, self._left, room))

    def _describe_completion(self, m):
        header = TlpHeader(self._request.header)
        request = data.View(ConfigRequest(), self._request.header)
        completion = self.completions.p
        m.d.comb += [
            completion.type.eq(Mux(header.is_type(TlpType.MEMORY_LOCKED), TlpType.COMPLETION_LOCKED.value,
                                   TlpType.COMPLETION.value)),
            completion.with_data.eq(self._reading),
            completion.length.eq(Mux(self._reading, self._piece, 0)),
            completion.attr.eq(header.attr), completion.attr2.eq(header.attr2), completion.tc.eq(header.tc),
            completion.status.eq(self._status),
            completion.byte_count.eq(self._byte_count),
            completion.lower_address.eq(
                Mux(self._addressed, Cat(self._skipped, self._access.address[2:7]), 0)),
            completion.completer.eq(self.requester_id),
            completion.requester.eq(request.requester), completion.tag.eq(request.tag),
        ]

    def _next_word(self, m):
        last_be = data.View(MemoryRequest(), self._request.header).last_be
        m.d.sync += [
            self._left.eq(self._left - 1), self._piece.eq(self._piece - 1),
            self._access.address.eq(self._access.address + 4),
            self._access.strobe.eq(Mux(self._left == 2, last_be, 0xf)),
        ]
