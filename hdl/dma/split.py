"""Pieces into read requests, and how many requests that makes."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .read_records import ReadRequest
from .spec import ReadCommand

__all__ = ["Splitter", "request_shift", "requests_of"]


def request_shift(read_bytes, max_read_request):
    """log2 of the largest request: 7 to log2(`read_bytes`), for a Max_Read_Request_Size code, an int or a Value."""
    most = read_bytes.bit_length() - 1
    if isinstance(max_read_request, int):
        return min(most, 7 + max_read_request)
    return Mux(max_read_request < most - 7, 7 + max_read_request, most)


def requests_of(address, length, shift):
    """Requests, and thereby tags, that a piece of `length` bytes at `address` takes with requests of 2**`shift` bytes.

    Exact: one request for each aligned block that the piece touches, one for a piece of no bytes. All arguments may be
    ints or Values; `shift` is 7 to 9. For ints it is this function itself, for Values an expression of the same value
    over `address[:9]` and `length`.
    """
    if isinstance(address, int) and isinstance(length, int) and isinstance(shift, int):
        return max(1, ((address & (1 << shift) - 1) + length + (1 << shift) - 1) >> shift)
    address, length = Value.cast(address), Value.cast(length)

    def blocks(of):
        return (address[:of] + length + ((1 << of) - 1)) >> of
    if isinstance(shift, int):
        count = blocks(shift)
    else:
        count = Mux(shift == 9, blocks(9), Mux(shift == 8, blocks(8), blocks(7)))
    return Mux(length == 0, 1, count)


class Splitter(wiring.Component):
    """Cuts pieces at every aligned block of the request size, and thereby at 4 KiB.

    Latency 1 cycle, one request a cycle, without a gap between pieces. A piece of no bytes is one request of no bytes.

    Parameters
    ----------
    pair_bits : int
    read_bytes : int
        largest request that is ever made: 128, 256 or 512

    Attributes
    ----------
    max_read_request : In(3)
        Max_Read_Request_Size code
    i : stream of `ReadCommand`, in
    o : stream of `ReadRequest`, out
        `last` only on the last request of a piece with `last`
    busy : Out(1)
        something is inside
    """

    def __init__(self, pair_bits, read_bytes):
        if read_bytes not in (128, 256, 512):
            raise ValueError(f"read_bytes must be 128, 256 or 512, not {read_bytes!r}")
        self.read_bytes = read_bytes
        self.shape = ReadRequest(pair_bits, read_bytes)
        super().__init__({
            "max_read_request": In(3),
            "i": In(stream.Signature(ReadCommand(pair_bits))),
            "o": Out(stream.Signature(self.shape)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        rest = Signal(self.i.payload.shape())
        held = Signal()                # a piece is begun, and `rest` is what is left of it
        piece = Signal.like(rest)

        mask = Signal(range(self.read_bytes), init=127)     # right from the first cycle on: the smallest there is
        m.d.sync += mask.eq((1 << request_shift(self.read_bytes, self.max_read_request)) - 1)
        room = Signal(range(self.read_bytes + 1))
        ends = Signal()
        m.d.comb += [
            piece.eq(Mux(held, rest.as_value(), self.i.payload.as_value())),
            room.eq(mask - (piece.address[:len(mask)] & mask) + 1),
            ends.eq(piece.length <= room),
        ]

        request = Signal(self.shape)
        valid = Signal()
        moves = Signal()
        m.d.comb += [
            moves.eq(~valid | self.o.ready),
            self.i.ready.eq(moves & ~held),
            self.o.payload.eq(request),
            self.o.valid.eq(valid),
            self.busy.eq(held | valid),
        ]
        with m.If(moves):
            m.d.sync += [
                valid.eq(held | self.i.valid),
                held.eq((held | self.i.valid) & ~ends),
                request.domain.queue.eq(piece.queue),
                request.domain.client.eq(piece.client),
                request.address.eq(piece.address),
                request.length.eq(Mux(ends, piece.length, room)),
                request.last.eq(piece.last & ends),
                request.more.eq(piece.more & piece.last & ends),
                request.context.eq(piece.context),
                rest.eq(piece),
                # On to the next block.
                rest.length.eq(piece.length - room),
                rest.address.eq(Cat(C(0, 7), ((piece.address | mask)[7:64] + 1)[:57])),
            ]
        return m
