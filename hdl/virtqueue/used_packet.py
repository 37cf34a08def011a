"""How the used descriptors of a packet that has several buffers become visible together."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .spec import Completion, Position, QueueConfig
from .used_run import Entry

__all__ = ["PacketPlan"]


class PacketPlan(wiring.Component):
    """Decides for a packet's first buffer whether all its used descriptors go into the run that is open, and holds that
    of the first one back where they don't even fit into a run of their own.

    They fit if each buffer takes one slot and no limit comes before the last: that of a run, the ring's end, a page's
    end. With VIRTIO_F_IN_ORDER a packet goes into a merged run, which has no limit within a packet, never into another.

    Parameters
    ----------
    queue_bits : int
    count : range
        of used descriptors in a run

    Attributes
    ----------
    plan : In(1)
        `item` begins a packet: decide, from all of the following. `flush` and `hold` are valid from the next cycle on
    item : In(Completion); in_order : In(1); config : In(QueueConfig)
    opens, merged : In(1); used, limit : In
        no run is open; one is, and it is merged; used descriptors in it, and how many it may have
    position : In(Position)
        where the item's used descriptor goes
    flush : Out(1)
        first the open run must be closed, then plan again
    hold : Out(1)
        the item's used descriptor is held back
    stepped : In(1)
        what was decided is done
    taken : In(1)
        with `stepped`: `item` is taken, `hold` or not; the packet goes on if it has `more`
    inside : Out(1)
        a packet has begun and its last buffer is still to come
    held : Out(1); head : Out(Entry); first : Out(Position); slots : Out(16)
        a used descriptor is held back: what it says, its place, and the slots of its packet so far
    released, clear : In(1)
        it isn't any more; forget all
    """

    def __init__(self, queue_bits, count):
        super().__init__({
            "plan": In(1), "item": In(Completion(queue_bits)), "in_order": In(1), "config": In(QueueConfig),
            "opens": In(1), "merged": In(1), "used": In(count), "limit": In(count), "position": In(Position),
            "flush": Out(1), "hold": Out(1), "stepped": In(1), "taken": In(1), "inside": Out(1),
            "held": Out(1), "head": Out(Entry), "first": Out(Position), "slots": Out(16),
            "released": In(1), "clear": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        item, together, index = self.item, self.item.together, self.position.index
        fits, room = Signal(), Signal()
        page_slot = (self.config.descriptors[4:12] + index[:8])[:8]
        m.d.comb += [
            room.eq((self.used + together <= self.limit) & (index + together <= self.config.size)
                    & (page_slot + together <= 256)),
            fits.eq(Mux(self.in_order, self.opens | self.merged, room)),
        ]
        with m.If(self.plan):
            m.d.sync += [self.flush.eq(~fits & ~self.opens), self.hold.eq(~fits & self.opens)]
        with m.Elif(self.stepped):
            m.d.sync += [self.flush.eq(0), self.hold.eq(0)]
        with m.If(self.stepped & self.taken):
            m.d.sync += [self.inside.eq(item.more), self.slots.eq(self.slots + item.slots)]
            with m.If(self.hold):
                m.d.sync += [
                    self.held.eq(1), self.first.eq(self.position), self.slots.eq(item.slots),
                    *[self.head[field].eq(item[field]) for field in ("length", "id", "written")],
                ]
        with m.If(self.released | self.clear):
            m.d.sync += self.held.eq(0)
        with m.If(self.clear):
            m.d.sync += [self.inside.eq(0), self.flush.eq(0), self.hold.eq(0)]
        return m
