"""Cutting pieces of a write into memory requests."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..pcie.spec import payload_bytes
from .spec import WriteCommand

__all__ = ["WriteRequest", "WriteSplit"]


PAGE_BYTES = 4096


class WriteRequest(data.StructLayout):
    """One memory write request.

    Fields: `address` of its first byte; `lanes` bytes from the request's first DW to its last byte, that is the length
    plus `address[1:0]`, 1 to 4096; `last` the request ends a packet.
    """

    def __init__(self):
        super().__init__({"address": 64, "lanes": 13, "last": 1})


class WriteSplit(wiring.Component):
    """Cuts `WriteCommand`s into requests that neither exceed Max_Payload_Size nor cross a 4 KiB boundary.

    (PCI Express Base 4.0, 2.2.2 and 2.2.7.) Requests of a piece are as long as they may be, so all of them but the
    first start at a DW boundary. One request a cycle, also from piece to piece; latency 2 cycles.

    Parameters
    ----------
    pair_bits : int
        bits of a queue's local index

    Attributes
    ----------
    commands : In(stream(WriteCommand(pair_bits)))
    requests : Out(stream(WriteRequest()))
    max_payload : In(3)
        Max_Payload_Size code, 0 (128 bytes) to 5 (4096 bytes); constant while anything is inside
    idle : Out(1)
        nothing inside
    """

    def __init__(self, pair_bits):
        super().__init__({
            "commands": In(stream.Signature(WriteCommand(pair_bits))),
            "requests": Out(stream.Signature(WriteRequest())),
            "max_payload": In(3),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        command = self.commands.payload
        max_bytes = Signal(13)
        m.d.comb += max_bytes.eq(payload_bytes(self.max_payload))

        busy = Signal()
        address = Signal(64)
        left = Signal(command.length.shape())
        last = Signal()
        # What the next request may take was computed a cycle earlier. `at_page`: a page limits the first one.
        limit = Signal(13)
        at_page = Signal()

        final = left <= limit
        advance = busy & (~self.requests.valid | self.requests.ready)
        m.d.comb += [
            self.commands.ready.eq(~busy | (advance & final)),
            self.idle.eq(~busy & ~self.requests.valid),
        ]
        with m.If(advance):
            m.d.sync += [
                self.requests.payload.address.eq(address),
                self.requests.payload.lanes.eq(Mux(final, left[:13], limit) + address[:2]),
                self.requests.payload.last.eq(last & final),
                self.requests.valid.eq(1),
                busy.eq(~final),
                address.eq(address + limit),
                left.eq(left - limit),
            ]
            # A request not limited by the page ends Max_Payload_Size after the DW in which it began. One that is
            # limited is followed by full ones; computing as if it were not gives the same, except after a first
            # request when Max_Payload_Size is a page.
            following = Signal(12)
            m.d.comb += following.eq((address[:12] & 0xffc) + max_bytes)
            next_limit, _ = self._limit(following, max_bytes)
            m.d.sync += [
                limit.eq(Mux(at_page, max_bytes, next_limit)),
                at_page.eq(0),
            ]
        with m.Elif(self.requests.ready):
            m.d.sync += self.requests.valid.eq(0)

        with m.If(self.commands.valid & self.commands.ready):
            first_limit, first_at_page = self._limit(command.address[:12], max_bytes)
            m.d.sync += [
                busy.eq(1), address.eq(command.address), left.eq(command.length), last.eq(command.last),
                limit.eq(first_limit), at_page.eq(first_at_page),
            ]
        return m

    @staticmethod
    def _limit(low, max_bytes):
        """Most bytes of a request at an address with low 12 bits `low`, and whether the page's end is the limit."""
        # Whether a request of Max_Payload_Size would get to the page's end decides: one carry. If it just gets there,
        # both limits are the same.
        at_page = ((low & 0xffc) + max_bytes)[12]
        return Mux(at_page, PAGE_BYTES - low, max_bytes - low[:2])[:13], at_page
