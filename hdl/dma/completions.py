"""Completions: which request one belongs to, whether it agrees with that, and how the request ends."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.pcie.spec import Completion, CompletionStatus, TlpType
from hdl.stream import TlpBeat

from .read_records import GENERATION, ReadOpened, ReadRetired
from .slots import SlotWrite
from .spec import ReadStatus

__all__ = ["CompletionHeader", "Completions", "RequestStates"]


class CompletionHeader(wiring.Component):
    """What a completion says by itself. Combinational.

    Attributes
    ----------
    header : In(128)
    genuine : Out(1)
        it is a completion, of a tag that there is
    tag : Out
    status : Out(ReadStatus)
        UNSUPPORTED for UR and reserved values, ABORTED for CA and for CRS, which no memory request may get
    final : Out(1)
        no completion of this request follows: unsuccessful, or Byte Count is not more than its payload
    byte_count : Out(13), lower_address : Out(7)
    dwords : Out(11)
        of payload
    exact : Out(1)
        a final one's payload is as long as Byte Count and Lower Address demand
    next_byte_count, next_lower_address : Out
        what the next completion of the request must say
    """

    def __init__(self, tag_bits):
        super().__init__({
            "header": In(128), "genuine": Out(1), "tag": Out(tag_bits), "status": Out(ReadStatus), "final": Out(1),
            "poisoned": Out(1), "with_data": Out(1), "byte_count": Out(13), "lower_address": Out(7),
            "dwords": Out(11), "exact": Out(1), "next_byte_count": Out(13), "next_lower_address": Out(7),
        })

    def elaborate(self, platform):
        m = Module()
        header = data.View(Completion(), self.header)
        bits = len(self.tag)
        offset = header.lower_address[:2]
        payload = Signal(13)
        m.d.comb += [
            self.genuine.eq((header.type == TlpType.COMPLETION.value) & ~header.prefix & ~header.four_dw
                            & ~header.tag[bits:].any()),
            self.tag.eq(header.tag),
            self.with_data.eq(header.with_data),
            self.poisoned.eq(header.ep & header.with_data),
            self.byte_count.eq(Cat(header.byte_count, header.byte_count == 0)),
            self.lower_address.eq(header.lower_address),
            self.dwords.eq(Cat(header.length, header.length == 0)),
            payload.eq((self.dwords << 2) - offset),
            self.final.eq(~header.with_data | (header.status != CompletionStatus.SUCCESS.value)
                          | (self.byte_count <= payload)),
            self.exact.eq((self.byte_count + offset + 3) >> 2 == self.dwords),
            self.next_byte_count.eq(self.byte_count - payload),
            self.next_lower_address.eq(Cat(C(0, 2), (header.lower_address[2:] + self.dwords)[:5])),
        ]
        with m.Switch(header.status):
            with m.Case(CompletionStatus.SUCCESS.value):
                m.d.comb += self.status.eq(ReadStatus.OK)
            with m.Case(CompletionStatus.COMPLETER_ABORT.value, CompletionStatus.RETRY.value):
                m.d.comb += self.status.eq(ReadStatus.ABORTED)
            with m.Default():
                m.d.comb += self.status.eq(ReadStatus.UNSUPPORTED)
        return m


class RequestStates(wiring.Component):
    """How far each tag's request has come. Written when a tag is opened and by whoever judges its completions.

    A tag whose two memories differ in generation has been opened and nothing has come back yet.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    opened : stream of `ReadOpened`, in, always ready
    initialise, index : In
        while `initialise`, every tag is made done and not late
    tag : In
    state : Out
        of `tag`, in the same cycle: `done` retired or not in use; `late` timed out, and its last completion has not
        come; `status`; what the next completion must say (`byte_count`, `lower_address`) and where in the slot its
        payload goes (`position`, in DWs); `generation` and `sent` as in `ReadOpened`
    update : In(1), after : In
        state of `tag` from the next cycle on; `generation` and `sent` are not written
    """

    def __init__(self, config):
        self.config = config
        self.state_layout = data.StructLayout({
            "generation": GENERATION, "sent": 1, "done": 1, "late": 1, "status": ReadStatus,
            "byte_count": range(config.read_bytes + 1), "lower_address": 7,
            "position": range(config.read_bytes // 4),
        })
        super().__init__({
            "opened": In(stream.Signature(ReadOpened(config), always_ready=True)),
            "initialise": In(1), "index": In(config.tag_bits),
            "tag": In(config.tag_bits), "state": Out(self.state_layout),
            "update": In(1), "after": In(self.state_layout),
        })

    def elaborate(self, platform):
        m = Module()
        asked_layout = data.StructLayout({
            "generation": GENERATION, "sent": 1, "low": 7, "length": range(self.config.read_bytes + 1),
        })
        m.submodules.requests = requests = memory.Memory(shape=asked_layout, depth=self.config.tags, init=[])
        m.submodules.states = states = memory.Memory(shape=self.state_layout, depth=self.config.tags, init=[])
        ask, write = requests.write_port(), states.write_port()
        asked, stored = requests.read_port(domain="comb"), states.read_port(domain="comb")
        opened = self.opened.payload
        m.d.comb += [
            ask.addr.eq(Mux(self.initialise, self.index, opened.tag)),
            ask.data.generation.eq(~self.initialise & opened.generation),
            ask.data.sent.eq(opened.sent), ask.data.low.eq(opened.low), ask.data.length.eq(opened.length),
            ask.en.eq(self.initialise | self.opened.valid),
            asked.addr.eq(self.tag), stored.addr.eq(self.tag),
            self.state.eq(stored.data),
            self.state.generation.eq(asked.data.generation),
            self.state.sent.eq(asked.data.sent),
            write.addr.eq(self.tag),
            write.data.eq(self.after),
            write.data.generation.eq(asked.data.generation),
            write.en.eq(self.update),
        ]
        with m.If(stored.data.generation != asked.data.generation):
            m.d.comb += [
                self.state.done.eq(0), self.state.late.eq(0), self.state.status.eq(ReadStatus.OK),
                self.state.byte_count.eq(asked.data.length), self.state.lower_address.eq(asked.data.low),
                self.state.position.eq(0),
            ]
        with m.If(self.initialise):
            m.d.comb += [
                write.addr.eq(self.index), write.en.eq(1),
                write.data.generation.eq(0), write.data.done.eq(1), write.data.late.eq(0),
            ]
        return m


class Completions(wiring.Component):
    """Ends every tag that is opened, exactly once.

    A completion that agrees with what its request still lacks (Byte Count, Lower Address, Length) is written to the
    slot. The first that doesn't, or is poisoned, spoils the request: nothing more is written, and it retires, with that
    status, with the completion that calls itself the last one, or by timeout. An unsuccessful completion ends it at
    once. A timed-out request retires then; its tag is *late* until a completion comes that calls itself the last one.
    Completions of tags that are neither opened nor late are dropped.

    From the last beat of a completion to `retired`: 1 cycle, to `write` too.

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
            "unsupported_received": Out(1), "abort_received": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.header = header = CompletionHeader(self.config.tag_bits)
        m.submodules.states = states = RequestStates(self.config)
        starts = Signal()        # a TLP begins
        ends = Signal()          # the tag looked at retires
        other_waits = Signal()   # an end by something else waits for a cycle in which no completion retires a tag
        m.d.comb += [
            self.rc.ready.eq(1),
            header.header.eq(self.rc.payload.header),
            starts.eq(self.rc.valid & self.rc.payload.first),
            states.opened.valid.eq(self.opened.valid), states.opened.payload.eq(self.opened.payload),
            states.initialise.eq(self.initialise), states.index.eq(self.index),
            states.tag.eq(header.tag),
        ]
        m.d.sync += [self.late.valid.eq(0), self.timed_out.eq(0), self.unexpected_completion.eq(0),
                     self.poisoned_completion.eq(0), self.unsupported_received.eq(0), self.abort_received.eq(0)]
        accepted = Signal()
        m.d.comb += states.after.eq(states.state)
        with m.If(self.initialise):
            pass
        with m.Elif(starts):
            self._judge(m, header, states, ends, accepted)
        with m.Elif(~other_waits):
            self._end_otherwise(m, states, ends)
        self._retire(m, states, starts, ends, other_waits)
        self._write(m, header, states, accepted)
        return m

    def _judge(self, m, header, states, ends, accepted):
        """A completion: what it means for the tag that it names."""
        state, after = states.state, states.after
        fits = Signal()
        m.d.comb += fits.eq(
            header.with_data & (header.byte_count == state.byte_count)
            & (header.lower_address == state.lower_address) & (~header.final | header.exact))
        with m.If(~header.genuine | state.done):
            m.d.sync += self.unexpected_completion.eq(1)
            with m.If(header.genuine & state.late & header.final):
                self._end_late(m, states)
        with m.Else():
            m.d.comb += [
                states.update.eq(1),
                ends.eq(header.final),
                after.done.eq(header.final),
                after.byte_count.eq(header.next_byte_count),
                after.lower_address.eq(header.next_lower_address),
                after.position.eq(state.position + header.dwords),
            ]
            m.d.sync += [
                self.poisoned_completion.eq(header.poisoned),
                self.unsupported_received.eq(header.status == ReadStatus.UNSUPPORTED),
                self.abort_received.eq(header.status == ReadStatus.ABORTED),
            ]
            with m.If(state.status == ReadStatus.OK):
                with m.If(header.status != ReadStatus.OK):
                    m.d.comb += after.status.eq(header.status)
                with m.Elif(~fits):
                    m.d.comb += after.status.eq(ReadStatus.ABORTED)
                    m.d.sync += self.unexpected_completion.eq(1)
                with m.Elif(header.poisoned):
                    m.d.comb += after.status.eq(ReadStatus.POISONED)
                with m.Else():
                    m.d.comb += accepted.eq(1)

    def _end_otherwise(self, m, states, ends):
        """No completion begins in this cycle: a tag that was not sent, or dropped on its way, or is overdue."""
        late_ends = Signal()
        valid = Signal()
        with m.If(self.unsent.valid):
            m.d.comb += [states.tag.eq(self.unsent.payload.tag), states.after.status.eq(self.unsent.payload.status),
                         self.unsent.ready.eq(1), valid.eq(1), late_ends.eq(1)]
        with m.Elif(self.dropped.valid):
            m.d.comb += [states.tag.eq(self.dropped.payload), states.after.status.eq(ReadStatus.DISCARDED),
                         self.dropped.ready.eq(1), valid.eq(1), late_ends.eq(1)]
        with m.Elif(self.expired):
            m.d.comb += [states.tag.eq(self.tag), states.after.status.eq(ReadStatus.TIMEOUT),
                         states.after.late.eq(1), valid.eq(1)]
        with m.If(valid & ~states.state.done):
            m.d.comb += [states.update.eq(1), states.after.done.eq(1), ends.eq(1)]
            m.d.sync += self.timed_out.eq(~late_ends)
        with m.Elif(late_ends & states.state.late):
            self._end_late(m, states)

    def _end_late(self, m, states):
        m.d.comb += [states.update.eq(1), states.after.late.eq(0)]
        m.d.sync += [self.late.valid.eq(1), self.late.payload.eq(states.tag)]

    def _retire(self, m, states, starts, ends, other_waits):
        """`retired`: with a completion's last beat, or, for another end, in the first cycle that this leaves free."""
        now = Signal(self.retired.payload.shape())
        held = Signal.like(now)          # of the completion that is coming in
        held_ends = Signal()
        other = Signal.like(now)
        completes = Signal()
        m.d.comb += [
            now.tag.eq(states.tag), now.generation.eq(states.state.generation), now.sent.eq(states.state.sent),
            now.status.eq(states.after.status),
            completes.eq(self.rc.valid & self.rc.payload.last & Mux(starts, ends, held_ends)),
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

    def _write(self, m, header, states, accepted):
        """`write`: payload of an accepted completion, beat by beat."""
        beat = self.rc.payload
        held_tag = Signal.like(header.tag)
        held_position = Signal.like(states.state.position)
        held_accepted = Signal()
        lanes = self.config.dwords_per_beat
        position = Mux(beat.first, states.state.position, held_position)
        m.d.sync += [
            self.write.valid.eq(self.rc.valid & Mux(beat.first, accepted, held_accepted)),
            self.write.payload.tag.eq(Mux(beat.first, header.tag, held_tag)),
            self.write.payload.position.eq(position),
            self.write.payload.data.eq(beat.data),
            self.write.payload.keep.eq(beat.keep),
        ]
        with m.If(self.rc.valid):
            m.d.sync += held_position.eq(position + lanes)
            with m.If(beat.first):
                m.d.sync += [held_tag.eq(header.tag), held_accepted.eq(accepted)]
