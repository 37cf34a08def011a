"""Completion TLPs from headers and data words."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.stream import TlpBeat

from .spec import Completion

__all__ = ["CompletionPacker"]


class CompletionPacker(wiring.Component):
    """Packs words into completion TLPs.

    A header is taken first; with data, `length` words follow it. A beat is offered when its last word has come, so
    what is read is never announced before it was read. One word a cycle, plus one cycle a beat; latency from the last
    word, or from a header without data, to `cc.valid`: 1 cycle. While `cc` stands still, neither input is taken.

    Parameters
    ----------
    width : int
        bits per beat

    Attributes
    ----------
    headers : In(stream of Completion)
    words : In(stream of 32 bits)
    cc : Out(stream of TlpBeat(width))
    idle : Out(1)
        everything taken has been sent
    """

    def __init__(self, width):
        self.lanes = width // 32
        super().__init__({
            "headers": In(stream.Signature(Completion())),
            "words": In(stream.Signature(32)),
            "cc": Out(stream.Signature(TlpBeat(width))),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        out = self.cc
        left = Signal(10)              # words still to come for this TLP
        lane = Signal(range(self.lanes))
        begun = Signal()               # a beat of this TLP has been sent
        m.d.comb += [
            self.headers.ready.eq(~out.valid & (left == 0)),
            self.words.ready.eq(~out.valid & (left != 0)),
            self.idle.eq(~out.valid & (left == 0)),
        ]
        with m.If(out.valid & out.ready):
            m.d.sync += [out.valid.eq(0), out.p.keep.eq(0), out.p.data.eq(0), begun.eq(1)]
        with m.If(self.headers.valid & self.headers.ready):
            header = self.headers.p
            m.d.sync += [
                out.p.header.eq(header),
                left.eq(Mux(header.with_data, header.length, 0)),
                begun.eq(0),
                out.p.first.eq(1),
                out.p.last.eq(1),
                out.valid.eq(~header.with_data),
            ]
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += [
                out.p.data.word_select(lane, 32).eq(self.words.payload),
                out.p.keep.bit_select(lane, 1).eq(1),
                out.p.first.eq(~begun),
                out.p.last.eq(left == 1),
                left.eq(left - 1),
                lane.eq(lane + 1),
            ]
            with m.If((lane == self.lanes - 1) | (left == 1)):
                m.d.sync += [out.valid.eq(1), lane.eq(0)]
        return m
