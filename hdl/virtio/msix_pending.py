"""MSI-X pending bits: kept in words of memory, and searched by word."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["PendingBits"]


def _lowest(m, bits, name):
    """Number of the lowest bit that is set."""
    number = Signal(range(len(bits)), name=name)
    for n in reversed(range(len(bits))):
        with m.If(bits[n]):
            m.d.comb += number.eq(n)
    return number


class PendingBits(wiring.Component):
    """One pending bit per vector, and a search for those that are set.

    `search` starts a pass over the words that are not 0. It offers each pending vector once on `found`, as of when its
    word was read: the bit may have changed by the time it is taken. A `search` during a pass makes another pass after
    it, so that a pass always comes to its end. A word costs a cycle, a pending vector another.

    Parameters
    ----------
    vectors : int

    Attributes
    ----------
    vector : In
    pending : Out(1)
        bit of `vector`, in the same cycle
    set, reset : In(1)
        change it
    word_index, word : In, Out(32)
        bits 32 * n and up, as the PBA shows them, in the same cycle
    search : In(1)
        pulse
    found : stream of {vector} out
    searching : Out(1)
        a pass is under way or asked for
    cancel : In(1)
        pulse: all bits to 0, done within as many cycles as there are words; a pass goes on, but what it finds is not
        pending any more
    cancelling : Out(1)
        nothing else may be done; also after reset
    """

    def __init__(self, vectors):
        self.words = -(-vectors // 32)
        self.vector_bits = max(5, (vectors - 1).bit_length())
        self.word_bits = max(1, self.vector_bits - 5)
        super().__init__({
            "vector": In(self.vector_bits),
            "pending": Out(1),
            "set": In(1),
            "reset": In(1),
            "word_index": In(self.word_bits),
            "word": Out(32),
            "search": In(1),
            "found": Out(stream.Signature(data.StructLayout({"vector": self.vector_bits}))),
            "searching": Out(1),
            "cancel": In(1),
            "cancelling": Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=32, depth=1 << self.word_bits, init=[])
        read, show, write = memory.read_port(domain="comb"), memory.read_port(domain="comb"), memory.write_port()
        self._look = memory.read_port(domain="comb")

        occupied = Signal(self.words)       # words that are not 0
        erased = Signal(self.word_bits)
        number = self.vector[5:self.vector_bits]
        mask = Signal(32)
        m.d.comb += [
            read.addr.eq(number),
            mask.eq(1 << self.vector[:5]),
            self.pending.eq((read.data & mask).any()),
            show.addr.eq(self.word_index),
            self.word.eq(show.data),
            write.addr.eq(number),
            write.data.eq(Mux(self.set, read.data | mask, read.data & ~mask)),
            write.en.eq(self.set | self.reset),
        ]
        # `set` and `reset` come late: what doesn't depend on them goes before.
        others = Signal()
        m.d.comb += others.eq((read.data & ~mask).any())
        with m.If(self.set | self.reset):
            m.d.sync += occupied.bit_select(number, 1).eq(self.set | others)
        self._search(m, occupied)
        with m.If(self.cancelling):
            m.d.comb += [write.addr.eq(erased), write.data.eq(0), write.en.eq(1)]
            m.d.sync += erased.eq(erased + 1)
            with m.If(erased == self.words - 1):
                m.d.sync += [erased.eq(0), self.cancelling.eq(0)]
        with m.If(self.cancel):
            m.d.sync += [occupied.eq(0), erased.eq(0), self.cancelling.eq(1)]
        return m

    def _search(self, m, occupied):
        asked = Signal()
        words = Signal(self.words)      # still to be looked at
        bits = Signal(32)               # of the word in hand
        base = Signal(self.word_bits)
        word, bit = _lowest(m, words, "lowest_word"), _lowest(m, bits, "lowest_bit")
        m.d.comb += [
            self._look.addr.eq(word),
            self.searching.eq(asked | words.any() | bits.any() | self.found.valid),
        ]
        with m.If(self.found.ready):
            m.d.sync += self.found.valid.eq(0)
        with m.If(bits.any()):
            with m.If(~self.found.valid | self.found.ready):
                m.d.sync += [
                    self.found.valid.eq(1), self.found.payload.vector.eq(Cat(bit, base)), bits.eq(bits & (bits - 1)),
                ]
        with m.Elif(words.any()):
            m.d.sync += [bits.eq(self._look.data), base.eq(word), words.eq(words & (words - 1))]
        with m.Elif(asked & ~self.found.valid):
            m.d.sync += [words.eq(occupied), asked.eq(0)]
        with m.If(self.search):
            m.d.sync += asked.eq(1)
