"""Internet checksums of frames: summed on the way into the frame buffer, put in on the way out.

Source: RFC 1071. A checksum stands before the end of what it covers, so it is known only once the frame is stored.
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat
from .arithmetic import add_up, fold16

__all__ = ["ChecksumJob", "ChecksumPatch", "ChecksumSum", "Patch"]


WORDS_A_STAGE = 8     # added up in a cycle, by three adders in a row


class ChecksumJob(data.StructLayout):
    """A checksum to be made: of the bytes from `start` to the frame's end, in words counted from `start`, and of
    `initial` (0 if `start` is odd), stored at byte `at`. `wanted`; `never_zero` sends 0xffff in place of 0."""

    def __init__(self, max_frame):
        position = range(max_frame + 1)
        super().__init__({"wanted": 1, "start": position, "initial": 16, "at": position, "never_zero": 1})


class Patch(data.StructLayout):
    """Two bytes of a frame: `value`, the first one on the wire highest, `at` byte."""

    def __init__(self, max_frame):
        super().__init__({"at": range(max_frame + 1), "value": 16})


class ChecksumSum(wiring.Component):
    """Sums frames row by row, a row a cycle, and gives a `Patch` for each that wants one, 5 cycles after its last row.

    Parameters
    ----------
    width : int
        bits per row
    max_frame : int
        bytes of the longest frame

    Attributes
    ----------
    row : In(PacketBeat(width)); write : In(1)
        a row goes by; what came since the last `ends` is forgotten with a frame's first row
    ends : In(1)
        with `write`: the row is the frame's last, and the frame is kept
    job : In(ChecksumJob(max_frame))
        with each row
    patches : Out(stream(Patch(max_frame), always_ready))
    """

    def __init__(self, width, max_frame):
        self.width = width
        self.max_frame = max_frame
        super().__init__({
            "row": In(PacketBeat(width)), "write": In(1), "ends": In(1), "job": In(ChecksumJob(max_frame)),
            "patches": Out(stream.Signature(Patch(max_frame), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        job = self.job
        # What goes with a row from stage to stage.
        about = data.StructLayout({"valid": 1, "first": 1, "ends": 1, "odd": 1, "initial": 16, "never_zero": 1,
                                   "at": job.at.shape()})
        stages = [Signal(about, name=f"about{n}") for n in range(4)]
        m.d.sync += [
            stages[0].valid.eq(self.write), stages[0].first.eq(self.row.first),
            stages[0].ends.eq(self.write & self.ends & job.wanted),
            stages[0].odd.eq(job.start[0]), stages[0].initial.eq(job.initial),
            stages[0].never_zero.eq(job.never_zero), stages[0].at.eq(job.at),
            *(after.eq(before) for before, after in zip(stages, stages[1:])),
        ]
        groups = self._group(m, self._mask(m))
        # A row's words, and what came before, folded anew with each row.
        total = Signal(range((self.width // 16 + 2) << 16))
        folded, added = Signal(17), Signal(16)
        with m.If(stages[1].valid):
            m.d.sync += total.eq(Mux(stages[1].first, stages[1].initial, fold16(total)) + add_up(m, groups, "groups"))
        value = Mux(stages[3].odd, Cat(added[8:], added[:8]), added)
        m.d.comb += added.eq(folded[:16] + folded[16])
        m.d.sync += [
            folded.eq(fold16(total)),
            self.patches.payload.value.eq(Mux(added.all() & stages[3].never_zero, 0xffff, ~value)),
            self.patches.payload.at.eq(stages[3].at), self.patches.valid.eq(stages[3].ends),
        ]
        return m

    def _mask(self, m):
        """First cycle: the row with 0 for every byte that doesn't count."""
        lanes = self.width // 8
        bits = lanes.bit_length() - 1
        ahead, begin = Signal.like(self.job.start), Signal.like(self.job.start)     # bytes before `start`
        beyond = begin[bits:].any()                                                 # it lies behind this row
        m.d.comb += begin.eq(Mux(self.row.first, self.job.start, ahead))
        with m.If(self.write):
            m.d.sync += ahead.eq(Mux(beyond, begin - lanes, 0))
        row, counts = Signal(self.width), Signal(lanes)
        # Each lane by a table of few bits: a comparison would be a carry chain.
        every = ~C(0, lanes)
        m.d.sync += [
            row.eq(self.row.data),
            counts.eq(Mux(beyond, 0, (every << begin[:bits])[:lanes] & ~(every << self.row.bytes)[:lanes])),
        ]
        return Cat(Mux(counts[lane], row.word_select(lane, 8), 0) for lane in range(lanes))

    def _group(self, m, row):
        """Second cycle: sums of some words each; a word's first byte is its high one."""
        words = [Cat(row.word_select(lane + 1, 8), row.word_select(lane, 8)) for lane in range(0, self.width // 8, 2)]
        groups = []
        for at in range(0, len(words), WORDS_A_STAGE):
            group = Signal(16 + (WORDS_A_STAGE - 1).bit_length(), name=f"group{at}")
            m.d.sync += group.eq(add_up(m, words[at:at + WORDS_A_STAGE], f"words{at}_"))
            groups.append(group)
        return groups


class ChecksumPatch(wiring.Component):
    """Puts checksums into the frames that go by. Combinational; a frame waits before its first beat for its patch.

    Parameters
    ----------
    width : int
        bits per beat
    max_frame : int
        bytes of the longest frame

    Attributes
    ----------
    i : In(stream(PacketBeat(width))); patched : In(1)
        `patched` with each beat of a frame that has a patch
    patches : In(stream(Patch(max_frame)))
        one for each such frame, in order
    o : Out(stream(PacketBeat(width)))
    """

    def __init__(self, width, max_frame):
        self.width = width
        super().__init__({
            "i": In(stream.Signature(PacketBeat(width))), "patched": In(1),
            "patches": In(stream.Signature(Patch(max_frame))),
            "o": Out(stream.Signature(PacketBeat(width))),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self.width // 8
        bits = lanes.bit_length() - 1
        patch, beat = self.patches.payload, self.i.payload
        row = Signal(len(patch.at) - bits)
        # The patch begins in this beat; it began in the last byte of the one before.
        here, astride = Signal(), Signal()
        waits, taken = Signal(), Signal()
        m.d.comb += [
            waits.eq(self.patched & ~self.patches.valid),
            self.o.valid.eq(self.i.valid & ~waits), self.i.ready.eq(self.o.ready & ~waits),
            taken.eq(self.o.valid & self.o.ready),
            self.patches.ready.eq(taken & self.patched & beat.last),
            here.eq(self.patched & (patch.at[bits:] == row)),
            self.o.payload.eq(beat),
        ]
        with m.If(taken):
            m.d.sync += [row.eq(Mux(beat.last, 0, row + 1)), astride.eq(here & patch.at[:bits].all() & ~beat.last)]
        high, low = patch.value[8:], patch.value[:8]
        for lane in range(lanes):
            begins = here & (patch.at[:bits] == lane)
            ends = here & (patch.at[:bits] == lane - 1) if lane else astride
            m.d.comb += self.o.payload.data.word_select(lane, 8).eq(
                Mux(begins, high, Mux(ends, low, beat.data.word_select(lane, 8))))
        return m
