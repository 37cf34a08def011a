"""How far each read request has come."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .read_records import GENERATION, ReadOpened
from .spec import ReadStatus

__all__ = ["RequestStates"]


class RequestStates(wiring.Component):
    """State of every tag's request: set up when the tag is opened, looked up in one cycle and judged in the next.

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
        looked up in this cycle
    judged : Out, state : Out
        the tag looked up in the last cycle, and its state: `done` retired or not in use; `late` timed out, and its last
        completion has not come; `status`; what the next completion must say (`byte_count`, `lower_address`) and where
        in the slot its payload goes (`position`, in DWs); `generation` and `sent` as in `ReadOpened`
    update : In(1), after : In
        state of `judged` from now on, also for what is being looked up; `generation` and `sent` are left as they are
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
            "tag": In(config.tag_bits),
            "judged": Out(config.tag_bits), "state": Out(self.state_layout),
            "update": In(1), "after": In(self.state_layout),
        })

    def elaborate(self, platform):
        m = Module()
        asked, stored = self._memories(m)
        state = Signal(self.state_layout)
        m.d.comb += [
            state.eq(stored), state.generation.eq(asked.generation), state.sent.eq(asked.sent),
        ]
        with m.If(stored.generation != asked.generation):
            m.d.comb += [
                state.done.eq(0), state.late.eq(0), state.status.eq(ReadStatus.OK),
                state.byte_count.eq(asked.length), state.lower_address.eq(asked.low), state.position.eq(0),
            ]
        m.d.sync += self.judged.eq(self.tag)
        with m.If(self.update & (self.judged == self.tag)):
            m.d.sync += self.state.eq(self.after)
        with m.Else():
            m.d.sync += self.state.eq(state)
        return m

    def _memories(self, m):
        """(what was asked with `tag`, what has been stored of it)"""
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
            write.addr.eq(Mux(self.initialise, self.index, self.judged)),
            write.data.eq(self.after),
            write.data.generation.eq(self.state.generation),
            write.en.eq(self.initialise | self.update),
        ]
        with m.If(self.initialise):
            m.d.comb += [write.data.generation.eq(0), write.data.done.eq(1), write.data.late.eq(0)]
        return asked.data, stored.data
