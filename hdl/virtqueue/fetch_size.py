"""How many descriptors the next fetch of a queue brings."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .fetch_state import LEAST_LEVEL, FetchState, is_ahead
from .spec import Position, QueueConfig
from .stages import slot_bits

__all__ = ["FetchSize"]


class FetchSize(wiring.Component):
    """Two registered steps from a queue's state to the size of its next fetch.

    The fetch is cut at the ring's end, at the ring window (fetched - used <= size, so that no slot is read again before
    its used descriptor is written) and, if the queue is `telling`, at the position told; where more follows, also at
    multiples of the largest batch, so that each fetch is one read request. It is not cut, but put off, while the cache
    has no room for a whole batch: fetches of single descriptors would follow otherwise. That can't last: a walker that
    has no whole chain takes descriptors out when less than a batch of the cache is free.

    Parameters
    ----------
    cache : int
    batch_level : int
        log2 of the largest batch

    Attributes
    ----------
    state, config, used, emptied : In
        of the queue, in the first cycle
    held : In
        the state a cycle later
    count : Out(6)
        2 cycles later; 0 means not now
    ring_full : Out(1)
        with `count` 0: every slot of the ring is fetched and not yet used, so there can't be anything more
    ends, reaches : Out(1)
        the fetch reaches the ring's end; the position told, if that is not at the end
    ahead, beyond : Out(1)
        with `telling`: the position told is ahead of the fetches; it is no place in the ring, and all else is void
    """

    def __init__(self, *, cache, batch_level):
        self.cache = cache
        self.batch_level = batch_level
        self.slot_bits = slot_bits(cache)
        super().__init__({
            "state": In(FetchState(self.slot_bits)),
            "held": In(FetchState(self.slot_bits)),
            "config": In(QueueConfig),
            "used": In(Position),
            "emptied": In(self.slot_bits),
            "count": Out(6),
            "ring_full": Out(1),
            "ends": Out(1),
            "reaches": Out(1),
            "ahead": Out(1),
            "beyond": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        state, size = self.state, self.config.size
        # Step 1: distances
        to_ring_end, to_told, window = Signal(16), Signal(16), Signal(16)
        filled, held_size = Signal(self.slot_bits), Signal(16)
        # Whether what may be fetched ends at the position told: in the same pass; else the ring's end is nearer.
        cut, is_cut = Signal(), state.telling & (state.told.wrap == state.wrap)
        m.d.sync += [
            to_ring_end.eq(size - state.index), to_told.eq(state.told.index - state.index), cut.eq(is_cut),
            held_size.eq(size),
            window.eq(Mux(state.wrap == self.used.wrap, size, 0) + self.used.index - state.index),
            filled.eq(state.slot - self.emptied),
        ]
        # Step 2: the smallest
        batch, part = Signal(6), Signal(6)      # the most, and what is taken of more
        # Up to a multiple of the largest batch: ring areas stand on its boundaries.
        aligned = Signal(6)
        m.d.comb += [
            aligned.eq((1 << self.batch_level) - self.held.index[:self.batch_level]),
            batch.eq(1 << self.batch_level), part.eq(aligned),
        ]
        for level in range(LEAST_LEVEL, self.batch_level):
            with m.If((self.held.level == level) & ~self.held.telling):
                m.d.comb += batch.eq(1 << level)
                with m.If(aligned >= 1 << level):
                    m.d.comb += part.eq(1 << level)
        ring, to_end = Signal(6), Signal(16)
        short, whole = Signal(), Signal()
        m.d.comb += [
            to_end.eq(Mux(cut, to_told, to_ring_end)),
            ring.eq(Mux(to_end > window, window, to_end)),
            short.eq((to_end >= 32) & (window >= 32)),
            whole.eq((to_end <= batch) & (to_end <= window)),
        ]
        m.d.sync += [
            self.count.eq(Mux(short | (ring > batch), part, ring)),
            self.ends.eq(whole & ~cut),
            self.reaches.eq(whole & cut),
            self.ring_full.eq(window == 0),
            self.ahead.eq(is_ahead(self.held.told, self.held)),
            self.beyond.eq(self.held.told.index >= held_size),
        ]
        with m.If(filled > self.cache - batch):
            m.d.sync += self.count.eq(0)
        return m
