"""Complete frames on their way to the queue engine: how long, and for which queue."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..stream import Queue
from ..virtqueue.initialise import InitialiseWalk
from ..virtqueue.spec import Pulse
from .redirect import Redirect
from .spec import FrameHash
from .statistics import GROUPS, QueueEvent

__all__ = ["FrameInfo", "FrameOffer"]


# Frames that may end before the queue of the first of them is known: more than the cycles that takes.
ENDED = 16
# Cycles for which the engine must be idle before it counts.
IDLE_CYCLES = 4


class FrameInfo(data.StructLayout):
    """A frame that waits for its verdict: `queue` local index; `length` bytes, virtio_net_hdr included; `unwanted`
    by the filter."""

    def __init__(self, pair_bits):
        super().__init__({"queue": pair_bits, "length": 16, "unwanted": 1})


class FrameOffer(wiring.Component):
    """Brings the end of each frame and its queue together, and offers the frames that were kept.

    Every frame that begins has one `ended` and one `chosen`, both in order of arrival. Of a long frame the queue is
    known first; then it is offered 2 cycles after `ended`. A short frame ends first, and is offered a cycle after
    `chosen`. A queue that is not active any more when its frame's turn comes is replaced by receiveq1, and one that is
    being reset by another, see `Redirect`; while there are such queues every frame takes 2 cycles more.

    When `active_pairs` changes, no frame is offered beyond the one that is, until `engine_idle` says that nothing is
    under way any more; then `settled` rises again: all that was decided by the earlier number has been published.

    Parameters
    ----------
    pairs, pair_bits : int
    depth : int
        frames kept at most that are not taken yet; there is no back-pressure

    Attributes
    ----------
    ended, kept, lost : In(1); length : In(16)
        a frame has ended; it is in the buffer, with so many bytes and a header; it is not, and to be told by `missed`
    chosen, unwanted : In(1); queue : In(pair_bits); hash : In(FrameHash)
        the queue of a frame was chosen; the filter's word on it; its hash, which isn't looked at
    fixed : In(1)
        queues that are being reset are not replaced: receive side scaling has chosen them
    active_pairs : In(range(pairs + 1))
    reset, enabled : In(Pulse); clear : In(1)
        of `Redirect`
    engine_idle : In(1)
        who takes the frames has none under way; at the latest 3 cycles after it took one this is 0
    known : Out(1); known_hash : Out(FrameHash)
        pulse: all is known of a frame that was kept; it comes to `frames` a cycle later or afterwards
    settled : Out(1)
        no frame is under way of those offered before `active_pairs` changed last; of use 2 cycles after a change
    frames : Out(stream(FrameInfo(pair_bits)))
    behind : Out(1)
        while `frames` is valid: another frame that was kept, and is wanted, had the same queue chosen as that one
    missed : Out(QueueEvent)
        pulse: a `lost` frame was for that queue
    flush : In(1)
        throw away all, also what is offered
    idle : Out(1)
        no frame inside; low for `pairs` cycles after reset, in which none may come
    """

    def __init__(self, pairs, pair_bits, depth):
        self.pairs, self.pair_bits = pairs, pair_bits
        self.depth = depth
        super().__init__({
            "reset": In(Pulse(pair_bits)), "enabled": In(Pulse(pair_bits)), "clear": In(1), "fixed": In(1),
            "ended": In(1), "kept": In(1), "lost": In(1), "length": In(16),
            "chosen": In(1), "unwanted": In(1), "queue": In(pair_bits),
            "hash": In(FrameHash), "known": Out(1), "known_hash": Out(FrameHash),
            "active_pairs": In(range(pairs + 1)), "engine_idle": In(1), "settled": Out(1, init=1),
            "frames": Out(stream.Signature(FrameInfo(pair_bits))), "behind": Out(1),
            "missed": Out(QueueEvent(pair_bits, GROUPS["rx_lost"])),
            "flush": In(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        info, known = Signal(FrameInfo(self.pair_bits)), self.known
        self._pair_up(m, info)

        # The next frame to offer is in a register; a frame that finds nothing before it goes there at once.
        m.submodules.waiting = waiting = Queue(FrameInfo(self.pair_bits), self.depth, block=True)
        m.submodules.redirect = redirect = Redirect(self.pairs, self.pair_bits)
        offered, first = Signal(), Signal(FrameInfo(self.pair_bits))
        chosen, came = Signal(self.pair_bits), Signal(self.pair_bits)     # queues before one became inactive
        free = ~offered | self.frames.ready | self.flush
        go = free & ((self.settled & ~(redirect.resting & redirect.searching)) | self.flush)
        straight = go & (waiting.level == 0) & ~redirect.resting
        # Straight from the choice a queue is active, and none is being reset; one that had to wait may have become so.
        following, waited = Signal(FrameInfo(self.pair_bits)), Signal(FrameInfo(self.pair_bits))
        m.d.comb += [
            waiting.i.valid.eq(known & ~straight), waiting.i.payload.eq(info),
            waiting.o.ready.eq(go),
            redirect.reset.eq(self.reset), redirect.enabled.eq(self.enabled), redirect.clear.eq(self.clear),
            redirect.active_pairs.eq(self.active_pairs),
            redirect.queue.eq(self._active(waiting.o.payload.queue)),
            waited.eq(waiting.o.payload), waited.queue.eq(Mux(self.fixed, redirect.queue, redirect.instead)),
            following.eq(Mux(waiting.o.valid, waited, info)),
            came.eq(Mux(waiting.o.valid, waiting.o.payload.queue, info.queue)),
            self.frames.valid.eq(offered & ~self.flush), self.frames.payload.eq(first),
        ]
        with m.If(free):
            m.d.sync += [offered.eq(go & (waiting.o.valid | (known & straight))), first.eq(following),
                         chosen.eq(came)]
        self._settle(m, offered)
        inside = Signal(range(self.depth + ENDED + 2))    # frames kept that are not taken
        m.d.sync += inside.eq(inside + (self.ended & self.kept) - (offered & free))
        enters, entered = Signal(), Signal(self.pair_bits)      # a cycle late: the choice is a long path
        m.d.sync += [enters.eq(known & ~info.unwanted), entered.eq(info.queue)]
        left = offered & free & ~first.unwanted
        walking = self._count(m, {"came": (enters, entered), "left": (left, chosen)}, chosen)
        m.d.comb += self.idle.eq((inside == 0) & ~walking)
        return m

    def _count(self, m, changes, chosen):
        """Wanted frames that came and that left, of each queue, in memories with one writer each. Returns whether those
        are still being initialised."""
        m.submodules.walk = walk = InitialiseWalk(self.pairs, self.pair_bits)
        counts = {}
        for name, (change, queue) in changes.items():
            m.submodules[name] = memory = Memory(shape=range(2 * self.depth), depth=1 << self.pair_bits, init=[])
            write, own, first = memory.write_port(), memory.read_port(domain="comb"), memory.read_port(domain="comb")
            m.d.comb += [
                own.addr.eq(queue), first.addr.eq(chosen),
                write.addr.eq(Mux(walk.walking, walk.queue, queue)),
                write.data.eq(Mux(walk.walking, 0, own.data + 1)), write.en.eq(walk.walking | change),
            ]
            counts[name] = first.data
        came, left = counts["came"], counts["left"]
        enters, entered = changes["came"]
        # The one offered has come and not left.
        m.d.comb += self.behind.eq(Mux(enters & (entered == chosen), came != left, came != (left + 1)[:len(left)]))
        return walk.walking

    def _settle(self, m, offered):
        pairs = Signal.like(self.active_pairs, init=1)
        quiet = Signal(range(IDLE_CYCLES + 1))    # for so many cycles nothing has been offered or under way
        m.d.sync += [pairs.eq(self.active_pairs), quiet.eq(0)]
        with m.If(pairs != self.active_pairs):
            m.d.sync += self.settled.eq(0)
        with m.Elif(quiet == IDLE_CYCLES):
            m.d.sync += self.settled.eq(1)
        with m.Elif(~offered & self.engine_idle):
            m.d.sync += quiet.eq(quiet + 1)

    def _active(self, queue):
        return Mux(queue < self.active_pairs, queue, 0)

    def _pair_up(self, m, info):
        shape = data.StructLayout({"kept": 1, "lost": 1, "length": 16})
        m.submodules.ends = ends = Queue(shape, ENDED)
        # What was chosen for a frame that hasn't ended.
        early, early_queue, early_unwanted = Signal(), Signal(self.pair_bits), Signal()
        early_hash = Signal(FrameHash)
        both = (self.chosen | early) & ends.o.valid
        m.d.comb += [
            ends.i.valid.eq(self.ended), ends.i.payload.kept.eq(self.kept),
            ends.i.payload.lost.eq(self.lost), ends.i.payload.length.eq(self.length),
            ends.o.ready.eq(both),
            self.known.eq(both & ends.o.payload.kept),
            self.known_hash.eq(Mux(early, early_hash.as_value(), self.hash.as_value())),
            info.queue.eq(Mux(early, self._active(early_queue), self.queue)), info.length.eq(ends.o.payload.length),
            info.unwanted.eq(Mux(early, early_unwanted, self.unwanted)),
        ]
        m.d.comb += [
            self.missed.valid.eq(both & ends.o.payload.lost & ~info.unwanted), self.missed.queue.eq(info.queue),
            self.missed.add.drops.eq(1),
        ]
        m.d.sync += early.eq((self.chosen | early) & ~ends.o.valid)
        with m.If(self.chosen):
            m.d.sync += [early_queue.eq(self.queue), early_unwanted.eq(self.unwanted), early_hash.eq(self.hash)]
