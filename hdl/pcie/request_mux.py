"""Merging all that the device asks of the host onto `rq`."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import RegisterSlice, TlpBeat, rotate_priority
from .spec import MemoryRequest, TlpHeader

__all__ = ["RequestMux"]


class RequestMux(wiring.Component):
    """Merges posted sources and reads, whole TLPs at a time, in turn, without a cycle between TLPs.

    Two stages and a register slice: a beat taken from a source is on `rq` 2 cycles later, or 1 if it is a TLP by itself
    that comes while nothing else is there. A source starts a TLP only if

    - it is a message, or `bus_master_enable` is 1 (PCI Express Base 4.0, 7.5.1.1.3);
    - it is posted, or `rq_np_ready` is 1. At most 3 reads are inside when `rq_np_ready` falls; a read that may not
      start holds up no posted source;
    - `discard` is 0, or it is a message, or its source is in `keep`.

    While `discard` is 1, other TLPs not yet started are swallowed. A posted one counts as accepted, after those of its
    source that were started; a read is reported by `dropped_valid`. What has begun is finished. A source is in order:
    behind a memory request that waits for `bus_master_enable`, a message of the same source waits too.

    Parameters
    ----------
    width : int
        bits per beat
    posted : int
        posted sources `p0` .. `p{posted-1}`
    keep : collection of int
        posted sources whose TLPs are never discarded

    Attributes
    ----------
    p0, p1, .. : In(stream(TlpBeat(width)))
        memory writes and messages; once begun, a TLP's beats should follow without gaps: others wait meanwhile
    accepted0, accepted1, .. : Out(1)
        pulse per TLP of that source, in order, in the cycle after its last beat was transferred on `rq`, or after it
        was swallowed
    reads : In(stream(TlpBeat(width)))
        non-posted requests, one beat each; the tag is theirs
    dropped_valid : Out(1); dropped_tag : Out(8)
        a read was swallowed
    rq : Out(stream(TlpBeat(width)))
    rq_np_ready : In(1)
        the link side takes non-posted requests; it takes 4 more after the fall
    requester_id : In(16)
        put into every header
    bus_master_enable : In(1)
    discard : In(1)
    idle : Out(1)
        nothing between the sources and `rq`
    """

    def __init__(self, width, posted, keep=()):
        if posted < 1:
            raise ValueError(f"at least one posted source is needed, not {posted!r}")
        unknown = [n for n in keep if not 0 <= n < posted]
        if unknown:
            raise ValueError(f"sources to keep are not among the {posted} posted ones: {unknown!r}")
        self.width = width
        self.posted = posted
        self.keep = frozenset(keep)
        shape = TlpBeat(width)
        self._tagged = data.StructLayout({"beat": shape, "source": range(posted + 1)})
        super().__init__({
            **{f"p{n}": In(stream.Signature(shape)) for n in range(posted)},
            **{f"accepted{n}": Out(1) for n in range(posted)},
            "reads": In(stream.Signature(shape)),
            "dropped_valid": Out(1), "dropped_tag": Out(8),
            "rq": Out(stream.Signature(shape)),
            "rq_np_ready": In(1), "requester_id": In(16), "bus_master_enable": In(1),
            "discard": In(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        sources = [*(getattr(self, f"p{n}") for n in range(self.posted)), self.reads]
        m.submodules.slice = slice_ = RegisterSlice(self._tagged)
        sent = slice_.o.payload
        m.d.comb += [
            self.rq.payload.eq(sent.beat),
            self.rq.valid.eq(slice_.o.valid),
            slice_.o.ready.eq(self.rq.ready),
        ]
        done = Signal(self.posted)      # posted TLPs whose last beat is transferred on rq
        m.d.comb += [done[n].eq(self.rq.valid & self.rq.ready & sent.beat.last & (sent.source == n))
                     for n in range(self.posted)]

        locked = Signal()               # a TLP of `last` has begun and not ended
        last = Signal(range(len(sources)))
        started = Signal(len(sources))  # a TLP is begun or between here and rq
        swallow = Signal(len(sources))  # the beat at the head goes nowhere
        may_start = Signal(len(sources))
        for n, port in enumerate(sources[:-1]):
            self._judge_posted(m, n, port, locked & (last == n), started[n], may_start[n], swallow[n], done[n])
        m.d.comb += [
            may_start[-1].eq(self.reads.valid & self.bus_master_enable & self.rq_np_ready & ~self.discard),
            swallow[-1].eq(self.discard),
        ]
        tag = data.View(MemoryRequest(), self.reads.payload.header).tag
        m.d.sync += [self.dropped_valid.eq(self.reads.valid & self.discard), self.dropped_tag.eq(tag)]

        taken_valid = self._take(m, sources, may_start, swallow, locked, last, slice_, started, done)
        m.d.comb += self.idle.eq(~locked & ~taken_valid & ~self.rq.valid)
        return m

    def _judge_posted(self, m, n, port, inside, started, may_start, swallow, done):
        """Whether the TLP at the head of posted source `n` may start, or is swallowed."""
        message = TlpHeader(port.payload.header).is_message()
        discard = Signal(name=f"discard{n}")
        swallowing = Signal(name=f"swallowing{n}")
        m.d.comb += [
            discard.eq(C(0) if n in self.keep else self.discard & ~message),
            # Only once its started TLPs are through, so that `accepted` keeps their order.
            swallow.eq(swallowing | (discard & ~inside & ~started & port.valid)),
            may_start.eq(port.valid & ~swallowing & ~discard & (message | self.bus_master_enable)),
        ]
        swallowed = swallow & port.valid
        with m.If(swallowed):
            m.d.sync += swallowing.eq(~port.payload.last)
        m.d.sync += getattr(self, f"accepted{n}").eq(done | (swallowed & port.payload.last))

    def _take(self, m, sources, may_start, swallow, locked, last, slice_, started, done):
        """Choose a source, take its beat into a register of its own, and a cycle later bring it together with the rest.

        So the choice, and the wide multiplexer behind it, have a cycle each.
        """
        choice = rotate_priority(m, may_start, last)
        grant = Signal.like(last)
        grant_valid = Signal()
        beats = [Signal(TlpBeat(self.width), name=f"taken{n}") for n in range(len(sources))]
        taken_valid = Signal()
        taken_from = Signal.like(last)
        take = ~taken_valid | slice_.i.ready
        valids = Cat(port.valid for port in sources)
        lasts = Cat(port.payload.last for port in sources)
        m.d.comb += [
            grant.eq(Mux(locked, last, choice)),
            grant_valid.eq(Mux(locked, (valids >> last)[0], may_start.any())),
        ]
        alone, only, source = self._alone(m, sources, may_start)
        straight = Signal()             # it need not be chosen, so it spares the first register
        m.d.comb += straight.eq(alone & ~locked & ~taken_valid & slice_.i.ready)
        with m.If(take):
            m.d.sync += [taken_valid.eq(grant_valid & ~straight), taken_from.eq(grant)]
            with m.If(grant_valid):
                m.d.sync += [locked.eq(~(lasts >> grant)[0]), last.eq(grant)]
        for n, port in enumerate(sources):
            granted = Signal(name=f"granted{n}")
            m.d.comb += [granted.eq(take & grant_valid & (grant == n)), port.ready.eq(granted | swallow[n])]
            with m.If(granted):
                m.d.sync += beats[n].eq(port.payload)
            if n < self.posted:
                # TLPs whose last beat is in the stages up to rq: 3 at most.
                under_way = Signal(2, name=f"under_way{n}")
                m.d.sync += under_way.eq(under_way + (granted & port.payload.last) - done[n])
                m.d.comb += started[n].eq(under_way != 0)

        m.d.comb += [slice_.i.valid.eq(taken_valid | straight), slice_.i.payload.source.eq(taken_from)]
        merged = slice_.i.payload.beat
        with m.If(~taken_valid):
            m.d.comb += [merged.eq(only), slice_.i.payload.source.eq(source)]
        with m.Else():
            with m.Switch(taken_from):
                for n, beat in enumerate(beats):
                    with m.Case(n):
                        m.d.comb += merged.eq(beat)
        m.d.comb += data.View(MemoryRequest(), merged.header).requester.eq(self.requester_id)
        return taken_valid

    def _alone(self, m, sources, may_start):
        """(a single source has something, and it is a whole TLP that may start; its beat; its number)"""
        valids = [port.valid for port in sources]
        one, alone = Signal(), Signal()
        beat, number = Signal(TlpBeat(self.width)), Signal(range(len(sources)))
        only = [valid & ~Cat(other for other in valids if other is not valid).any() for valid in valids]
        m.d.comb += [
            one.eq(Cat(only).any()),
            alone.eq(one & Cat(start & port.payload.last for start, port in zip(may_start, sources)).any()),
        ]
        m.d.comb += [
            Value.cast(beat).eq(reduce(or_, (Mux(port.valid, port.payload.as_value(), 0) for port in sources))),
            number.eq(reduce(or_, (Mux(port.valid, n, 0) for n, port in enumerate(sources)))),
        ]
        return alone, beat, number
