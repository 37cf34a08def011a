"""Completions: which request one belongs to, whether it agrees with that, and how the request ends."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.pcie.spec import Completion, CompletionStatus, TlpType
from hdl.stream import TlpBeat

from .read_records import ReadOpened, ReadRetired
from .request_states import RequestStates
from .slots import SlotWrite
from .spec import ReadStatus

__all__ = ["CompletionFacts", "Completions", "read_completion"]


class CompletionFacts(data.StructLayout):
    """What a completion says by itself.

    Fields
    ------
    genuine : it is a completion, of a tag that there is
    tag : which
    status : UNSUPPORTED for UR and reserved values, ABORTED for CA and for CRS, which no memory request may get
    final : no completion of this request follows: unsuccessful, or Byte Count is not more than its payload
    poisoned, with_data : it has payload; that is poisoned
    byte_count, lower_address : as in the header, `byte_count` 1 to 4096
    dwords : of payload, as the header has it: 0 means 1024, more than any request
    exact : a final one's payload is as long as Byte Count and Lower Address demand
    next_byte_count, next_lower_address : what the next completion of the request must say
    """

    def __init__(self, tag_bits):
        super().__init__({
            "genuine": 1, "tag": tag_bits, "status": ReadStatus, "final": 1, "poisoned": 1, "with_data": 1,
            "byte_count": 13, "lower_address": 7, "dwords": 10, "exact": 1,
            "next_byte_count": 13, "next_lower_address": 7,
        })


def read_completion(m, header, facts):
    """Drive `facts` from the 128 bits of `header`, combinationally."""
    header = data.View(Completion(), header)
    offset = header.lower_address[:2]
    until = Signal(14, name="until")       # bytes from the first DW's start to the request's end
    payload = Signal(13, name="payload")
    m.d.comb += [
        facts.genuine.eq((header.type == TlpType.COMPLETION.value) & ~header.prefix & ~header.four_dw
                         & ~header.tag[len(facts.tag):].any()),
        facts.tag.eq(header.tag),
        facts.with_data.eq(header.with_data),
        facts.poisoned.eq(header.ep & header.with_data),
        facts.byte_count.eq(Cat(header.byte_count, header.byte_count == 0)),
        facts.lower_address.eq(header.lower_address),
        facts.dwords.eq(header.length),
        payload.eq(Cat(C(0, 2), header.length, header.length == 0)),
        until.eq(facts.byte_count + offset),
        facts.final.eq(~header.with_data | (header.status != CompletionStatus.SUCCESS.value) | (until <= payload)),
        facts.exact.eq((until + 3)[2:] == payload[2:]),
        facts.next_byte_count.eq(until - payload),
        facts.next_lower_address.eq(Cat(C(0, 2), (header.lower_address[2:] + header.length)[:5])),
    ]
    with m.Switch(header.status):
        with m.Case(CompletionStatus.SUCCESS.value):
            m.d.comb += facts.status.eq(ReadStatus.OK)
        with m.Case(CompletionStatus.COMPLETER_ABORT.value, CompletionStatus.RETRY.value):
            m.d.comb += facts.status.eq(ReadStatus.ABORTED)
        with m.Default():
            m.d.comb += facts.status.eq(ReadStatus.UNSUPPORTED)


class Completions(wiring.Component):
    """Ends every tag that is opened, exactly once.

    A completion that agrees with what its request still lacks (Byte Count, Lower Address, Length) is written to the
    slot. The first that doesn't, or is poisoned, spoils the request: nothing more is written, and it retires, with that
    status, with the completion that calls itself the last one, or by timeout. An unsuccessful completion ends it at
    once. A timed-out request retires then; its tag is *late* until a completion comes that calls itself the last one.
    Completions of tags that are neither opened nor late are dropped.

    Two stages: the tag's state is looked up, then judged. From the last beat of a completion to `retired`: 2 cycles,
    to `write` too.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    rc : stream of `TlpBeat`, in; `ready` is constant 1
    opened : stream of `ReadOpened`, in, always ready
    unsent : stream of {tag, status}, in
        tags whose request is not sent; not before the cycle after `opened`
    dropped : stream of tags, in
        tags whose request was thrown away on its way to the link; status DISCARDED
    expired : In(1), tag : In
        from `CompletionTimeout`; refused while the completions leave no time for it
    initialise, index : In
        while `initialise`, every tag is made neither opened nor late, and what comes is dropped
    write : stream of `SlotWrite`, out, always ready
    retired : stream of `ReadRetired`, out, always ready
    late : stream of tags, out, always ready
        a late tag's last completion has come
    timed_out : Out(1)
        pulse with the retirement: one more tag is late
    unexpected_completion, poisoned_completion, unsupported_received, abort_received : Out(1), pulses
        `unexpected_completion` also for late ones and for those that contradict their request
    completion_header : Out(128)
        of the completion that these pulses are about
    """

    def __init__(self, config):
        self.config = config
        tag = config.tag_bits
        super().__init__({
            "rc": In(stream.Signature(TlpBeat(config.width))),
            "opened": In(stream.Signature(ReadOpened(config), always_ready=True)),
            "unsent": In(stream.Signature(data.StructLayout({"tag": tag, "status": ReadStatus}))),
            "dropped": In(stream.Signature(tag)),
            "expired": In(1), "tag": In(tag),
            "initialise": In(1), "index": In(tag),
            "write": Out(stream.Signature(SlotWrite(config.width, config.tags, config.read_bytes), always_ready=True)),
            "retired": Out(stream.Signature(ReadRetired(tag), always_ready=True)),
            "late": Out(stream.Signature(tag, always_ready=True)),
            "timed_out": Out(1),
            "unexpected_completion": Out(1), "poisoned_completion": Out(1),
            "unsupported_received": Out(1), "abort_received": Out(1), "completion_header": Out(128),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.request_states = states = RequestStates(self.config)
        m.d.comb += [
            self.rc.ready.eq(1),
            states.opened.valid.eq(self.opened.valid), states.opened.payload.eq(self.opened.payload),
            states.initialise.eq(self.initialise), states.index.eq(self.index),
        ]
        # First stage: what is it about?
        other_waits = Signal()   # an end by something else waits for a cycle in which no completion retires a tag
        came = Signal()
        beat = Signal.like(self.rc.payload)
        facts = Signal(CompletionFacts(self.config.tag_bits))
        other = Signal(data.StructLayout({"valid": 1, "status": ReadStatus, "timeout": 1}))
        self._look_up(m, states, other_waits, facts, other)
        m.d.sync += [came.eq(self.rc.valid), beat.eq(self.rc.payload)]

        # Second stage: what does it mean?
        starts = Signal()        # a TLP begins
        ends = Signal()          # the tag looked at retires
        accepted = Signal()      # the completion's payload counts
        m.d.comb += [starts.eq(came & beat.first), states.after.eq(states.state)]
        m.d.sync += [self.late.valid.eq(0), self.timed_out.eq(0), self.unexpected_completion.eq(0),
                     self.poisoned_completion.eq(0), self.unsupported_received.eq(0), self.abort_received.eq(0)]
        with m.If(starts):
            m.d.sync += self.completion_header.eq(beat.header)
        with m.If(~self.initialise):
            with m.If(starts):
                self._judge(m, facts, states, ends, accepted)
            with m.Elif(other.valid):
                self._end_otherwise(m, states, other, ends)
        self._retire(m, states, came, beat, ends, other_waits)
        self._write(m, facts, states, came, beat, accepted)
        return m

    def _look_up(self, m, states, other_waits, facts, other):
        """The tag of a completion that begins, else the next that ends without one."""
        now = Signal.like(facts)
        read_completion(m, self.rc.payload.header, now)
        following, turn = self._queue_other(m)
        m.d.comb += [
            turn.eq(~(self.rc.valid & self.rc.payload.first) & ~other_waits & ~other.valid),
            states.tag.eq(Mux(self.rc.valid & self.rc.payload.first, now.tag, following.tag)),
        ]
        m.d.sync += [
            facts.eq(now),
            other.valid.eq(following.valid & turn),
            other.status.eq(following.status), other.timeout.eq(following.timeout),
        ]

    def _queue_other(self, m):
        """(tag that is not sent, or dropped on its way, or overdue; signal that it has its turn)

        An overdue one is not kept: it could retire and be opened again while it waits.
        """
        following = Signal(data.StructLayout({"valid": 1, "tag": len(self.tag), "status": ReadStatus, "timeout": 1}))
        turn = Signal()
        with m.If((~following.valid | following.timeout | turn) & ~self.initialise):
            m.d.sync += [
                following.valid.eq(self.unsent.valid | self.dropped.valid | self.expired),
                following.timeout.eq(~self.unsent.valid & ~self.dropped.valid),
            ]
            m.d.comb += [self.unsent.ready.eq(1), self.dropped.ready.eq(~self.unsent.valid)]
            with m.If(self.unsent.valid):
                m.d.sync += [following.tag.eq(self.unsent.payload.tag), following.status.eq(self.unsent.payload.status)]
            with m.Elif(self.dropped.valid):
                m.d.sync += [following.tag.eq(self.dropped.payload), following.status.eq(ReadStatus.DISCARDED)]
            with m.Else():
                m.d.sync += [following.tag.eq(self.tag), following.status.eq(ReadStatus.TIMEOUT)]
        return following, turn

    def _judge(self, m, facts, states, ends, accepted):
        """A completion: what it means for the tag that it names."""
        state, after = states.state, states.after
        fits = Signal()
        m.d.comb += fits.eq(
            facts.with_data & (facts.byte_count == state.byte_count)
            & (facts.lower_address == state.lower_address) & (~facts.final | facts.exact))
        with m.If(~facts.genuine | state.done):
            m.d.sync += self.unexpected_completion.eq(1)
            with m.If(facts.genuine & state.late & facts.final):
                self._end_late(m, states)
        with m.Else():
            m.d.comb += [
                states.update.eq(1),
                ends.eq(facts.final),
                after.done.eq(facts.final),
                after.byte_count.eq(facts.next_byte_count),
                after.lower_address.eq(facts.next_lower_address),
                after.position.eq(state.position + facts.dwords),
            ]
            m.d.sync += [
                self.poisoned_completion.eq(facts.poisoned),
                self.unsupported_received.eq(facts.status == ReadStatus.UNSUPPORTED),
                self.abort_received.eq(facts.status == ReadStatus.ABORTED),
            ]
            with m.If(state.status == ReadStatus.OK):
                with m.If(facts.status != ReadStatus.OK):
                    m.d.comb += after.status.eq(facts.status)
                with m.Elif(~fits):
                    m.d.comb += after.status.eq(ReadStatus.ABORTED)
                    m.d.sync += self.unexpected_completion.eq(1)
                with m.Elif(facts.poisoned):
                    m.d.comb += after.status.eq(ReadStatus.POISONED)
                with m.Else():
                    m.d.comb += accepted.eq(1)

    def _end_otherwise(self, m, states, other, ends):
        """The end of a tag without a completion. A late tag's dropped request has no completion to wait for."""
        with m.If(~states.state.done):
            m.d.comb += [states.update.eq(1), states.after.done.eq(1), states.after.late.eq(other.timeout),
                         states.after.status.eq(other.status), ends.eq(1)]
            m.d.sync += self.timed_out.eq(other.timeout)
        with m.Elif(states.state.late & ~other.timeout):
            self._end_late(m, states)

    def _end_late(self, m, states):
        m.d.comb += [states.update.eq(1), states.after.late.eq(0)]
        m.d.sync += [self.late.valid.eq(1), self.late.payload.eq(states.judged)]

    def _retire(self, m, states, came, beat, ends, other_waits):
        """`retired`: with a completion's last beat, or, for another end, in the first cycle that this leaves free."""
        starts = came & beat.first
        now = Signal(self.retired.payload.shape())
        held = Signal.like(now)          # of the completion that is coming in
        held_ends = Signal()
        other = Signal.like(now)
        completes = Signal()
        m.d.comb += [
            now.tag.eq(states.judged), now.generation.eq(states.state.generation), now.sent.eq(states.state.sent),
            now.status.eq(states.after.status),
            completes.eq(came & beat.last & Mux(starts, ends, held_ends)),
        ]
        with m.If(starts):
            m.d.sync += [held.eq(now), held_ends.eq(ends)]
        with m.Elif(~other_waits):
            m.d.sync += [other.eq(now), other_waits.eq(ends & completes)]
        with m.If(completes):
            m.d.sync += self.retired.payload.eq(Mux(starts, now, held))
        with m.Elif(other_waits):
            m.d.sync += [self.retired.payload.eq(other), other_waits.eq(0)]
        with m.Else():
            m.d.sync += self.retired.payload.eq(now)
        m.d.sync += self.retired.valid.eq(completes | other_waits | (ends & ~starts))

    def _write(self, m, facts, states, came, beat, accepted):
        """`write`: payload of an accepted completion, beat by beat."""
        held_tag = Signal.like(facts.tag)
        held_position = Signal.like(states.state.position)
        held_accepted = Signal()
        position = Mux(beat.first, states.state.position, held_position)
        m.d.sync += [
            self.write.valid.eq(came & Mux(beat.first, accepted, held_accepted)),
            self.write.payload.tag.eq(Mux(beat.first, facts.tag, held_tag)),
            self.write.payload.position.eq(position),
            self.write.payload.data.eq(beat.data),
            self.write.payload.keep.eq(beat.keep),
        ]
        with m.If(came):
            m.d.sync += held_position.eq(position + self.config.dwords_per_beat)
            with m.If(beat.first):
                m.d.sync += [held_tag.eq(facts.tag), held_accepted.eq(accepted)]
