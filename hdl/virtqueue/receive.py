"""Judging what a fetch brought."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import ReadBeat, ReadStatus
from hdl.stream import RegisterSlice

from .cache import CacheWrite
from .marks import LINE, Mark, Marks, ends_in_line, ones
from .narrow import Narrow
from .reset import StageReset
from .spec import Position, Pulse, QueueConfig
from .stages import Progress, Report, Rewind, slot_bits

__all__ = ["Receive", "ReceiveState"]


class ReceiveState(data.StructLayout):
    """State of one queue.

    Fields
    ------
    epoch : batches of other epochs are thrown away. A rewind may follow a bad descriptor before anything of the new
        epoch has come, so a batch may be two epochs old; it is never three, as batches come in order: 2 bits tell
    chain : the next descriptor belongs to a chain whose head was seen available
    trust : everything of the epoch was asked for after that head was seen, so this chain is complete in it
    length : descriptors of the chain so far
    broken : a read failed, or the driver broke the rules: nothing is taken from this queue any more
    scan : the epoch has ended, and only what is available in the rest of it is still looked for
    position, slot, count : with `scan`: of the descriptor that ended it, and good ones before it in its batch
    further : with `scan`: that batch, and more, have been looked through
    """

    def __init__(self, slot_bits):
        super().__init__({"epoch": 2, "chain": 1, "trust": 1, "broken": 1, "length": 16,
                          "scan": 1, "position": Position, "slot": slot_bits, "count": 6, "further": 1})


class Receive(wiring.Component):
    """Takes fetched batches and puts the descriptors that count into the cache, in ring order.

    Host memory gives no promise as to when each 64-byte line of a read is sampled, but each is sampled at one moment. A
    driver writes the bits of a chain's head last. So a head counts if its AVAIL and USED bits are right for its pass.
    Another element counts, whatever its bits, only if its line was surely sampled after that:

    - its read was issued after the head was seen available. That is so for the rest of a chain that a rewind goes back
      into (`trust`), and for whatever was told, by a doorbell or by an earlier read (`told` in the context);
    - or the same line of the same read shows the head;
    - or, in that line, the chain ends and an available head of the next one stands behind it, since heads are written
      in ring order. Where the chain ends must be sure: bits have to be right up to there. (This takes it that right
      bits come with the NEXT of this pass. They do, if a driver treats elements like heads, or leaves their bits unlike
      an available head's. Nothing else here depends on the bits of elements.)

    The first one that does not count ends the epoch: the rest of it is thrown away as it arrives, and `Fetch` is sent
    back to that descriptor. A doubtful element is read again with trust. Before that is reported, what is thrown away
    is looked through, up to the last batch under way: as far as bits are right without a gap, every place that turns
    out to be a head's was available then, so its chain is complete in all reads that follow the report. `Fetch` reads
    up to there as if a doorbell had told. Which of those places are heads is left to the walk over descriptors that
    count; nothing thrown away is taken for one, and so one place in a report is enough.

    One descriptor a cycle and 2 cycles a batch. From a fetch's last beat to its first descriptor's commit: 3 cycles. A
    descriptor is committed (counted in the progress) when it can be read from the cache. The report of a doubtful
    element takes 5 cycles and one for each four descriptors left of its batch, and waits for the batches under way.

    A batch whose read failed, or a chain longer than the ring, raises `error` and breaks the queue: nothing of it is
    used from there on. One that fails while it is only looked through shows nothing. DISCARDED batches, and all batches
    during `quiesce`, are dropped silently.

    Parameters
    ----------
    width, queue_bits : int
    cache, batch : int
        descriptors cached per queue; most descriptors in a fetch

    Attributes
    ----------
    init : In(Pulse)
    reset : In(StageReset)
        always `quiet`: `retired` tells
    quiesce : In(1)
    beats : stream of ReadBeat in; room : Out(1)
        see `Narrow`
    rewinds : stream of Rewind in
        taken between batches
    rewound : Out(1)
        the rewind has taken effect
    reports : stream of Report out
    config_queue : Out, config : In(QueueConfig)
        answered in the same cycle
    cache : Out(CacheWrite)
    progress_queue, looking_queue : In; progress, looking : Out(Progress)
        what may be taken of a queue, answered in the same cycle; `looking` likewise
    arrived : Out(Pulse)
        a chain became complete, or a batch ended inside one
    retired : Out(1)
        a batch is done with, whether used or dropped
    good : Out(1)
        a descriptor was committed
    error : Out(1)
    idle : Out(1)
    """

    def __init__(self, width, queue_bits, *, cache, batch):
        self.width = width
        self.queue_bits = queue_bits
        self.slots = cache
        self.batch = batch
        self.slot_bits = slot_bits(cache)
        super().__init__({
            "init": In(Pulse(queue_bits)),
            "reset": In(StageReset(queue_bits)),
            "quiesce": In(1),
            "beats": In(stream.Signature(ReadBeat(width, queue_bits))),
            "room": Out(1),
            "rewinds": In(stream.Signature(Rewind(queue_bits, self.slot_bits))),
            "rewound": Out(1),
            "reports": Out(stream.Signature(Report(queue_bits, self.slot_bits))),
            "config_queue": Out(queue_bits),
            "config": In(QueueConfig),
            "cache": Out(CacheWrite(queue_bits, self.slot_bits - 1)),
            "progress_queue": In(queue_bits),
            "progress": Out(Progress(self.slot_bits)),
            "looking_queue": In(queue_bits),
            "looking": Out(Progress(self.slot_bits)),
            "arrived": Out(Pulse(queue_bits)),
            "retired": Out(1),
            "good": Out(1),
            "error": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.narrow = narrow = Narrow(self.width, self.queue_bits, self.batch)
        wiring.connect(m, wiring.flipped(self.beats), narrow.beats)
        m.submodules.reports = reports = RegisterSlice(Report(self.queue_bits, self.slot_bits))
        wiring.connect(m, reports.o, wiring.flipped(self.reports))
        m.submodules.mark = mark = Mark(self.width, self.queue_bits, self.batch)
        m.submodules.states = states = Memory(shape=ReceiveState(self.slot_bits), depth=1 << self.queue_bits, init=[])
        write, read = states.write_port(), states.read_port(domain="comb")
        self._batch = batch = narrow.batches.payload
        self._number = number = Signal(6)     # of the descriptor at hand in its batch
        self._count = Signal.like(batch.context.count)     # of descriptors in the batch, known early in a cycle
        self._state = state = Signal(ReceiveState(self.slot_bits))
        self._marks = marks = Signal(Marks(self.batch))     # of the descriptor at hand and those behind it
        self._lane = Signal(range(LINE))     # place of the descriptor at hand in its line
        self._fresh = Signal()               # its line, as it was read, shows the head of its chain available
        here = Signal(Position)
        # What was scanned up to; a ring's end is no place in the ring, so it has a bit more at first.
        self._until = until = Signal(data.StructLayout({"index": 16, "wrap": 1}))
        self._seen, self._on = Signal(), Signal()
        skip = Signal()
        self._ring_size = Signal(16)
        m.d.sync += self._ring_size.eq(self.config.size)
        self._commit(m)
        report, reported = reports.i.payload, reports.i.ready
        m.d.comb += [
            self.room.eq(narrow.room), self.reset.quiet.eq(1),
            mark.beats.eq(self.beats.payload), mark.taken.eq(self.beats.valid & self.beats.ready),
            mark.marks.ready.eq(narrow.batches.ready),
            here.index.eq(batch.context.index + number), here.wrap.eq(batch.context.wrap),
            report.queue.eq(batch.queue),
            report.position.eq(Mux(state.scan, state.position, here)),
            report.slot.eq(Mux(state.scan, state.slot, batch.context.slot + number)),
            report.count.eq(Mux(state.scan, state.count, number)),
            report.chain.eq(state.chain),
            report.seen.eq(state.scan & self._seen), report.on.eq(self._on),
            report.until.index.eq(until.index), report.until.wrap.eq(until.wrap),
            read.addr.eq(batch.queue), write.addr.eq(batch.queue), write.data.eq(state),
            self.config_queue.eq(batch.queue),
        ]

        with m.FSM() as fsm:
            with m.State("BATCH"):
                m.d.sync += [
                    state.eq(read.data), number.eq(0), self._count.eq(batch.context.count),
                    marks.eq(mark.marks.payload), self._fresh.eq(0),
                    self._lane.eq(self.config.descriptors[4:6] + batch.context.index),
                ]
                # In a read that failed nothing is available.
                with m.If(batch.status != ReadStatus.OK):
                    m.d.sync += [marks.right.eq(0), marks.all.eq(0)]
                with m.If(self.reset.forget):
                    self._forget(m, write)
                with m.Elif(self.rewinds.valid):
                    self._rewind(m, read, write, reports.i)
                with m.Elif(narrow.batches.valid):
                    usable = (batch.context.epoch == read.data.epoch) & ~read.data.broken & ~self.quiesce
                    with m.If(~usable | (batch.status == ReadStatus.DISCARDED)):
                        m.next = "DROP"
                    with m.Elif(read.data.scan):
                        m.next = "SCAN"
                    with m.Elif(batch.status == ReadStatus.OK):
                        m.next = "JUDGE"
                    with m.Else():
                        m.next = "BREAK"
            with m.State("JUDGE"):
                self._judge(m, narrow)
            self._scan(m, write, skip, here, report.slot)
            with m.State("FULL"):
                m.d.comb += [report.full.eq(1), reports.i.valid.eq(1)]
                with m.If(reported):
                    m.d.comb += [write.en.eq(1), narrow.batches.ready.eq(1), self.retired.eq(1)]
                    m.next = "BATCH"
            with m.State("BAD"):
                m.d.comb += reports.i.valid.eq(1)
                with m.If(reported):
                    m.d.comb += [write.en.eq(1), write.data.epoch.eq(state.epoch + 1), write.data.trust.eq(state.chain),
                                 write.data.scan.eq(0)]
                    m.next = "DROP"
            with m.State("BREAK"):
                m.d.comb += [write.en.eq(1), write.data.broken.eq(1), self.error.eq(1)]
                m.next = "DROP"
            with m.State("DROP"):
                m.d.comb += skip.eq(1)
                with m.If(narrow.descriptors.valid & narrow.beat_last):
                    m.d.comb += [narrow.batches.ready.eq(1), self.retired.eq(1)]
                    m.next = "BATCH"
        with m.If(self.init.valid):
            m.d.comb += [write.addr.eq(self.init.queue), write.data.eq(0), write.en.eq(1)]
        # The last beat stays until the batch is done with.
        m.d.comb += narrow.skip.eq(skip & (fsm.ongoing("DROP") | ~narrow.beat_last))
        m.d.comb += self.idle.eq(fsm.ongoing("BATCH") & narrow.empty & ~self.reports.valid)
        # Whoever waits for a whole chain must know that it got longer.
        with m.If((fsm.ongoing("FULL") | fsm.ongoing("BAD")) & reported & state.chain):
            m.d.sync += [self.arrived.valid.eq(1), self.arrived.queue.eq(batch.queue)]
        return m

    def _judge(self, m, narrow):
        """A descriptor a cycle: commit it, or end the epoch or the queue here, leaving it at hand to be dropped."""
        batch, state, marks = narrow.batches.payload, self._state, self._marks
        descriptor, flags = narrow.descriptors.payload, narrow.descriptors.payload.flags
        good = Mux(state.chain, state.trust | batch.context.told | self._fresh
                   | ends_in_line(marks.right, marks.next, self._lane), marks.right[0])
        # `length` descriptors of its chain came before this one, and one follows at least.
        too_long = flags.next & (state.length + 1 >= self._ring_size)
        with m.If(narrow.descriptors.valid):
            with m.If(~good & state.chain):
                m.next = "DOUBT"
            with m.Elif(~good):
                m.next = "BAD"
            with m.Elif(too_long):
                m.next = "BREAK"
            with m.Else():
                m.d.comb += narrow.descriptors.ready.eq(1)
                m.d.sync += [
                    self._number.eq(self._number + 1), self._lane.eq(self._lane + 1),
                    marks.right.eq(marks.right >> 1), marks.next.eq(marks.next >> 1),
                    self._fresh.eq((self._fresh | ~state.chain) & (self._lane != LINE - 1)),
                    state.chain.eq(flags.next),
                    state.trust.eq(state.trust & flags.next),
                    state.length.eq(Mux(flags.next, state.length + 1, 0)),
                ]
                self._put(m, batch, descriptor)
                with m.If(narrow.descriptor_last):
                    m.next = "FULL"

    def _scan(self, m, write, skip, here, slot):
        """How far what is thrown away shows descriptors available without a gap, a line of marks a cycle. The report
        waits until nothing of the queue is behind; that is soon, as what is not reported counts as under way."""
        batch, state, marks, number, until = self._batch, self._state, self._marks, self._number, self._until
        line, whole = ones(marks.right[:LINE]), number == self._count
        with m.State("DOUBT"):
            m.d.sync += [state.scan.eq(1), state.position.eq(here), state.slot.eq(slot), state.count.eq(number),
                         state.further.eq(0)]
            m.next = "SCAN"
        with m.State("SCAN"):
            m.d.comb += skip.eq(1)
            m.d.sync += [number.eq(Mux(marks.all, self._count, number + line)),
                         marks.right.eq(marks.right >> LINE)]
            with m.If(marks.all | (line != LINE)):
                m.next = "SCANNED"
        with m.State("SCANNED"):
            m.d.comb += skip.eq(1)
            m.d.sync += [
                until.index.eq(batch.context.index + number), until.wrap.eq(batch.context.wrap), self._on.eq(whole),
                self._seen.eq(state.further | (number != state.count)),
            ]
            with m.If(whole & marks.behind):
                m.d.comb += [write.en.eq(1), write.data.further.eq(1)]
                m.next = "DROP"
            with m.Else():
                m.next = "UNTIL"
        with m.State("UNTIL"):
            with m.If(until.index == self._ring_size):
                m.d.sync += [until.index.eq(0), until.wrap.eq(~until.wrap)]
            m.next = "BAD"

    def _commit(self, m):
        """Progress per queue, written together with the cache: one cycle after the judgement."""
        shape = Progress(self.slot_bits)
        m.submodules.progresses = memory = Memory(shape=shape, depth=1 << self.queue_bits, init=[])
        write, own = memory.write_port(), memory.read_port(domain="comb")
        query, looking = memory.read_port(domain="comb"), memory.read_port(domain="comb")
        commit = Signal(data.StructLayout({"valid": 1, "rewind": 1, "queue": self.queue_bits, "progress": shape}))
        chain = Signal(self.slot_bits)
        m.d.comb += [
            query.addr.eq(self.progress_queue), self.progress.eq(query.data),
            looking.addr.eq(self.looking_queue), self.looking.eq(looking.data),
            own.addr.eq(self.config_queue),
            write.addr.eq(Mux(self.init.valid, self.init.queue, commit.queue)),
            write.data.eq(Mux(self.init.valid, 0, commit.progress.as_value())),
            write.en.eq(self.init.valid | commit.valid),
        ]
        m.d.sync += [
            commit.valid.eq(0), commit.rewind.eq(0), self.cache.valid.eq(0), self.arrived.valid.eq(0),
            self.rewound.eq(commit.rewind), self.good.eq(self.cache.valid),
        ]
        with m.If(self._number == 0):
            m.d.comb += chain.eq(own.data.chain)
        with m.Else():
            m.d.comb += chain.eq(commit.progress.chain)
        self._commit_register, self._chain = commit, chain

    def _put(self, m, batch, descriptor):
        commit, last = self._commit_register, ~descriptor.flags.next
        slot = Signal(self.slot_bits)
        m.d.comb += slot.eq(batch.context.slot + self._number)
        stored = self.cache.chain
        m.d.sync += [
            self.cache.valid.eq(1), self.cache.queue.eq(batch.queue), self.cache.slot.eq(slot),
            stored.address.eq(descriptor.address), stored.length.eq(descriptor.length), stored.id.eq(descriptor.id),
            stored.write.eq(descriptor.flags.write), stored.indirect.eq(descriptor.flags.indirect),
            stored.last.eq(last),
            commit.valid.eq(1), commit.queue.eq(batch.queue),
            commit.progress.slot.eq(slot + 1), commit.progress.chain.eq(self._chain + last),
            self.arrived.valid.eq(last), self.arrived.queue.eq(batch.queue),
        ]

    def _forget(self, m, write):
        reset, commit = self.reset, self._commit_register
        m.d.comb += [write.addr.eq(reset.queue), write.data.eq(0), write.en.eq(1), reset.forgotten.eq(1)]
        m.d.sync += [commit.valid.eq(1), commit.queue.eq(reset.queue), commit.progress.eq(0)]

    def _rewind(self, m, read, write, reports):
        """As if the head had been found bad, but trusted."""
        rewind, report, commit = self.rewinds.payload, reports.payload, self._commit_register
        m.d.comb += [
            read.addr.eq(rewind.queue), write.addr.eq(rewind.queue), write.data.eq(read.data),
            write.data.epoch.eq(read.data.epoch + 1), write.data.chain.eq(1), write.data.trust.eq(1),
            write.data.length.eq(0), write.data.scan.eq(0),
            write.en.eq(reports.ready),
            report.queue.eq(rewind.queue), report.position.eq(rewind.position), report.slot.eq(rewind.slot),
            report.chain.eq(1), report.count.eq(0), report.seen.eq(0),
            reports.valid.eq(1), self.rewinds.ready.eq(reports.ready),
        ]
        with m.If(reports.ready):
            m.d.sync += [
                commit.valid.eq(1), commit.rewind.eq(1), commit.queue.eq(rewind.queue),
                commit.progress.slot.eq(rewind.slot), commit.progress.chain.eq(rewind.chain),
            ]
