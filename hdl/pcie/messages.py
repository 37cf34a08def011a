"""Messages that the function sends: errors, the answer to PME_Turn_Off, and INTx."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.stream import TlpBeat

from .spec import Message, MessageCode, TlpType

__all__ = ["MessageSender"]


class MessageSender(wiring.Component):
    """Sends messages, one TLP of one beat each, without holding up who asks for them.

    Requests of one kind that come while one is still waiting to go out are merged. INTx follows `interrupt`: a change
    is sent when the one before has been taken, so that the last message sent always tells the final state. The
    requester id is left 0, to be filled in downstream. Latency from a request to `messages.valid`: 2 cycles.

    Parameters
    ----------
    width : int
        bits per beat

    Attributes
    ----------
    err_cor, err_nonfatal, err_fatal, pme_to_ack : In(1)
        send the message; each for one cycle
    interrupt : In(1)
        level that INTA shall have
    messages : Out(stream of TlpBeat(width))
    """

    def __init__(self, width):
        super().__init__({
            "err_cor": In(1), "err_nonfatal": In(1), "err_fatal": In(1), "pme_to_ack": In(1), "interrupt": In(1),
            "messages": Out(stream.Signature(TlpBeat(width))),
        })

    def elaborate(self, platform):
        m = Module()
        out = self.messages
        asserted = Signal()
        free = Signal()
        m.d.comb += free.eq(~out.valid | out.ready)
        with m.If(free):
            m.d.sync += out.valid.eq(0)

        def send(code, kind):
            header = Message().const({"four_dw": 1, "type": kind.value, "code": code.value})
            m.d.sync += [out.valid.eq(1), out.p.header.eq(header), out.p.first.eq(1), out.p.last.eq(1)]

        asked = [
            (self.err_fatal, MessageCode.ERR_FATAL, TlpType.MESSAGE_TO_ROOT),
            (self.err_nonfatal, MessageCode.ERR_NONFATAL, TlpType.MESSAGE_TO_ROOT),
            (self.err_cor, MessageCode.ERR_COR, TlpType.MESSAGE_TO_ROOT),
            (self.pme_to_ack, MessageCode.PME_TO_ACK, TlpType.MESSAGE_GATHERED),
        ]
        waiting = Signal(len(asked))
        m.d.sync += waiting.eq(waiting | Cat(request for request, _, _ in asked))
        served = Const(0, 1)
        for index, (request, code, kind) in enumerate(asked):
            with m.If(free & waiting[index] & ~served):
                send(code, kind)
                m.d.sync += waiting[index].eq(request)
            served = served | waiting[index]
        with m.If(free & ~served & (asserted != self.interrupt)):
            m.d.sync += asserted.eq(self.interrupt)
            with m.If(self.interrupt):
                send(MessageCode.ASSERT_INTA, TlpType.MESSAGE_LOCAL)
            with m.Else():
                send(MessageCode.DEASSERT_INTA, TlpType.MESSAGE_LOCAL)
        return m
