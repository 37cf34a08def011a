"""From transmit chains to reads."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.config import PART_REQUESTS
from hdl.dma.spec import Client, DataContext, ReadCommand
from hdl.dma.split import requests_of

from .reader import Element

__all__ = ["WalkTransmit"]


_LENGTH_BITS = 17                  # of an element that is read


class WalkTransmit(wiring.Component):
    """Turns the elements of chains into `ReadCommand`s of client DATA_TX: one packet a chain.

    The last piece of a packet carries its `DataContext` with `packet_last`: the id of the last element, the chain's
    length in slots, and `drop`. An element a cycle; 2 cycles from `elements` to `reads`.

    *Dropped* are chains with a device-writable element, with more than `longest` bytes, or with less than `shortest`.
    Of a chain found bad nothing more is read; its last piece then has 0 bytes, so that the buffer comes back used.
    Likewise a chain that is abandoned by a reset.

    *Parts*. The read engine delivers a transaction when all of it is there, so a packet is asked for in several
    transactions linked by `more` where one would need more than `part_requests` requests, or more than `PART_REQUESTS`.
    Elements are cut into pieces of half as many request sizes, and a part is closed by a piece of 0 bytes.

    Parameters
    ----------
    queue_bits : int

    Attributes
    ----------
    elements : stream of Element in
    shortest, longest : In(17)
        bytes that a packet has at least and at most, its header included. Constant while anything is under way
    request_shift, part_requests : In
        from `ReadEngine`: log2 of the request size, 7 to 9; requests that a part may have, a power of 2 from 4 on.
        Constant while anything is read
    reads : stream of ReadCommand out
    dropped : Out(1)
        a chain was dropped
    idle : Out(1)
    """

    def __init__(self, queue_bits):
        self.queue_bits = queue_bits
        self._checked = data.StructLayout({
            "queue": queue_bits, "address": 64, "length": _LENGTH_BITS, "id": 16, "slots": 16,
            "last": 1, "drop": 1,
        })
        super().__init__({
            "elements": In(stream.Signature(Element(queue_bits))),
            "shortest": In(_LENGTH_BITS), "longest": In(_LENGTH_BITS),
            "request_shift": In(4),
            "part_requests": In(9),
            "reads": Out(stream.Signature(ReadCommand(queue_bits))),
            "dropped": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        checked = Signal(self._checked)
        valid, taken, bad = Signal(), Signal(), Signal()
        self._limit = Signal(6)
        m.d.comb += [
            self.elements.ready.eq(~valid | taken),
            self.idle.eq(~valid & ~self.reads.valid),
        ]
        with m.If(self.elements.ready):
            m.d.sync += valid.eq(0)
            with m.If(self.elements.valid):
                self._check(m, checked, valid, bad)
        stale = Signal()      # the element has just got shorter
        whole, piece, needed = self._measure(m, checked, bad, stale)
        self._emit(m, checked, valid, taken, stale, whole, piece, needed)
        return m

    def _check(self, m, checked, valid, bad):
        """Adds an element to its chain, and decides whether the chain is (still) good."""
        chain = self.elements.payload.chain
        total, was_bad, slots = Signal(_LENGTH_BITS), Signal(), Signal(16)
        sum = Signal(_LENGTH_BITS + 1)
        m.d.comb += [
            sum.eq(total + chain.length[:_LENGTH_BITS]),
            bad.eq(was_bad | chain.write | self.elements.payload.abandoned | chain.length[_LENGTH_BITS:].any()
                   | (sum > self.longest) | (chain.last & (sum < self.shortest))),
        ]
        m.d.sync += [
            # Of a bad chain only the end matters.
            valid.eq(~bad | chain.last),
            checked.queue.eq(self.elements.payload.queue),
            checked.address.eq(chain.address),
            checked.length.eq(Mux(bad, 0, chain.length)),
            checked.id.eq(chain.id),
            checked.slots.eq(slots + chain.ring),
            checked.last.eq(chain.last),
            checked.drop.eq(bad),
            total.eq(Mux(chain.last, 0, sum)),
            was_bad.eq(bad & ~chain.last),
            slots.eq(Mux(chain.last, 0, slots + chain.ring)),
        ]

    def _measure(self, m, checked, bad, stale):
        """One cycle ahead: (the piece is all that is left of the element, its bytes, its requests).

        Measured is what comes, or what is left of an element; a register tells which, as `ready` comes late."""
        part = Signal(6)
        most = Signal(_LENGTH_BITS)
        m.d.comb += part.eq(Mux(self.part_requests > PART_REQUESTS, PART_REQUESTS, self.part_requests))
        # Constant while anything is under way; registers keep it out of the path.
        m.d.sync += [
            most.eq((part >> 1) << self.request_shift),
            # The piece that closes a part is a request, too.
            self._limit.eq(part - 1),
        ]
        length, address = Signal(_LENGTH_BITS), Signal(9)
        chain = self.elements.payload.chain
        m.d.comb += [
            length.eq(Mux(stale, checked.length, chain.length)), address.eq(Mux(stale, checked.address, chain.address)),
        ]
        whole, piece, needed = Signal(), Signal(_LENGTH_BITS), Signal(6)
        is_whole = length <= most
        with m.If(self.elements.ready | stale):
            m.d.sync += [
                whole.eq(is_whole), piece.eq(Mux(is_whole, length, most)),
                needed.eq(Mux(is_whole, requests_of(address, length, self.request_shift), (part >> 1) + 1)),
            ]
        # Late, since it is known late; `needed` may then be more than the 1 it takes, which does no harm.
        with m.If(self.elements.ready & bad):
            m.d.sync += [whole.eq(1), piece.eq(0)]
        return whole, piece, needed

    def _emit(self, m, checked, valid, taken, stale, whole, piece, needed):
        """Cuts elements into pieces, and packets into parts."""
        asked = Signal(6)     # requests of this part
        command, context = self.reads.payload, Signal(DataContext())
        m.d.comb += [
            context.id.eq(checked.id), context.slots.eq(checked.slots), context.drop.eq(checked.drop),
        ]
        m.d.sync += stale.eq(0)
        with m.If(self.reads.ready):
            m.d.sync += self.reads.valid.eq(0)
        with m.If(valid & ~stale & (~self.reads.valid | self.reads.ready)):
            m.d.sync += [
                self.reads.valid.eq(1),
                command.client.eq(Client.DATA_TX), command.function.eq(0), command.queue.eq(checked.queue),
                command.address.eq(checked.address), command.context.eq(context.as_value()),
                command.length.eq(0), command.last.eq(1), command.more.eq(0),
            ]
            with m.If(asked + needed > self._limit):
                m.d.sync += [command.more.eq(1), asked.eq(0)]
            with m.Elif(whole):
                m.d.comb += [
                    taken.eq(1), context.packet_last.eq(checked.last),
                    self.dropped.eq(checked.last & checked.drop),
                ]
                m.d.sync += [
                    command.length.eq(piece), command.last.eq(checked.last),
                    asked.eq(Mux(checked.last, 0, asked + needed)),
                ]
            with m.Else():
                m.d.sync += [
                    command.length.eq(piece), command.last.eq(0), asked.eq(asked + needed),
                    checked.address.eq(checked.address + piece), checked.length.eq(checked.length - piece),
                    stale.eq(1),
                ]
