"""Another receive queue for frames whose queue is being reset.

Source: VIRTIO 1.4, section "Automatic receive steering in multiqueue mode".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..virtqueue.initialise import InitialiseWalk
from ..virtqueue.spec import Pulse

__all__ = ["Redirect"]


class Redirect(wiring.Component):
    """Knows the queues that rest: from the beginning of their reset until they are enabled again.

    Frames of all of them go to one queue that is active and does not rest, the same as long as that is so; so a flow
    keeps its order. When it does not do any more, the next one is looked for, a queue a cycle. If all active queues
    rest, frames keep their queue, where they are dropped.

    Parameters
    ----------
    pairs, pair_bits : int

    Attributes
    ----------
    reset, enabled : In(Pulse)
        not in the same cycle
    clear : In(1)
        pulse: no queue rests, after `pairs` cycles
    active_pairs : In(range(pairs + 1))
    resting : Out(1)
        some queue rests
    searching : Out(1)
        `instead` is not known yet
    queue : In(pair_bits) → instead : Out(pair_bits)
        where frames of this queue go, in the same cycle
    """

    def __init__(self, pairs, pair_bits):
        self.pairs, self.pair_bits = pairs, pair_bits
        super().__init__({
            "reset": In(Pulse(pair_bits)), "enabled": In(Pulse(pair_bits)), "clear": In(1),
            "active_pairs": In(range(pairs + 1)), "resting": Out(1), "searching": Out(1),
            "queue": In(pair_bits), "instead": Out(pair_bits),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = InitialiseWalk(self.pairs, self.pair_bits)
        m.submodules.rests = rests = Memory(shape=1, depth=1 << self.pair_bits, init=[])
        write = rests.write_port()
        before, asked, looked = (rests.read_port(domain="comb") for _ in range(3))
        count, change = Signal(range(self.pairs + 1)), Signal(self.pair_bits)
        m.d.comb += [
            walk.clear.eq(self.clear),
            change.eq(Mux(self.reset.valid, self.reset.queue, self.enabled.queue)),
            before.addr.eq(change), write.addr.eq(Mux(walk.walking, walk.queue, change)),
            write.data.eq(self.reset.valid & ~walk.walking),
            write.en.eq(walk.walking | self.reset.valid | self.enabled.valid),
            self.resting.eq(count != 0),
        ]
        with m.If(walk.walking):
            m.d.sync += count.eq(0)
        with m.Elif(self.reset.valid | self.enabled.valid):
            m.d.sync += count.eq(count + self.reset.valid - before.data)

        other, tried = Signal(self.pair_bits), Signal(range(self.pairs + 1))
        usable, active = Signal(), Signal.like(self.active_pairs)
        m.d.sync += active.eq(self.active_pairs)
        m.d.comb += [
            looked.addr.eq(other), asked.addr.eq(self.queue),
            usable.eq((other < self.active_pairs) & ~looked.data),
            self.searching.eq(~usable & (tried != self.pairs)),
            self.instead.eq(Mux(asked.data & usable, other, self.queue)),
        ]
        with m.If(~usable):
            m.d.sync += other.eq(Mux(other == self.pairs - 1, 0, other + 1))
        with m.If(usable | self.enabled.valid | (active != self.active_pairs)):
            m.d.sync += tried.eq(0)
        with m.Elif(tried != self.pairs):
            m.d.sync += tried.eq(tried + 1)
        return m
