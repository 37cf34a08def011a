"""Taking ring descriptors in their order: direct ones to be copied, tables to be read."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import ReadCommand, TableContext

from .run_queue import RunQueue
from .spec import Chain, Pulse, QueueConfig
from .stages import Progress, Rewind, TableCopy, TableState, slot_bits

__all__ = ["TableTake"]


class TableTake(wiring.Component):
    """Serves the queues that have ring descriptors, in turn, each in ring order.

    A direct descriptor takes 1 cycle and is handed to `copy`; a table takes 2 cycles for each read, of at most
    `read_bytes` and not beyond a multiple of it; and each turn takes 1 or 2 more. A turn ends after `TURN` of
    these. Places
    in the cache of elements are reserved here, so what was asked for always finds room. Where they don't suffice for
    the rest of a table, nor for half a batch, the queue waits by itself until the walker tells of `space`; since the
    walker begins a chain when less than a batch is free, somebody always goes on.

    INDIRECT without the feature, or together with NEXT, or within a chain, and a table of no element, of a part of an
    element or of more elements than the ring raise `error` and break the queue: nothing of it is taken from there on.

    A rewind waits until all reads of its queue are back; meanwhile nothing is taken. Then places are given from the
    rewind's on, and descriptors are taken from the one that `Receive` will put next.

    Parameters
    ----------
    queues, queue_bits : int
    client : Client
    descriptors, elements : int
        cached per queue
    batch : int
        by which ring descriptors are fetched, and which the walkers keep free
    read_bytes : int
        most bytes of a read

    Attributes
    ----------
    init, arrived, space : In(Pulse); quiesce : In(1)
    indirect : In(1)
        VIRTIO_F_INDIRECT_DESC is negotiated
    config_queue : Out, config : In(QueueConfig); progress_queue : Out, progress : In(Progress)
        of ring descriptors
    cache_queue, cache_slot, cache_enable : Out; cache : In(Chain)
        of ring descriptors
    emptied_queue : Out, emptied : In; returned_queue : Out, returned, failed : In
        how far the walker is; reads that are back and whether one has failed; answered in the same cycle
    copy : Out(TableCopy), copy_ready : In(1)
        combinational
    reads : stream of ReadCommand out
    rewinds : stream of Rewind in; ring_rewinds : stream of Rewind out; rewound : In(1)
        the walker's, and the one for `Receive`
    freed : Out(Pulse)
        a batch's worth of ring descriptors has been taken
    taken_queue, reserved_queue, looking_queue : In; taken, reserved, looking : Out
        `TableState.read` for `Fetch`, and states, answered in the same cycle
    error, idle : Out(1)
    """

    TURN = 16

    def __init__(self, queues, queue_bits, *, client, descriptors, elements, batch, read_bytes):
        self.queues, self.queue_bits, self.client = queues, queue_bits, client
        self.elements, self.batch, self.most = elements, batch, read_bytes // 16
        self.ring_bits, self.slot_bits = slot_bits(descriptors), slot_bits(elements)
        self.state = TableState(self.ring_bits, self.slot_bits)
        super().__init__({
            "init": In(Pulse(queue_bits)), "quiesce": In(1), "indirect": In(1),
            "arrived": In(Pulse(queue_bits)), "space": In(Pulse(queue_bits)),
            "config_queue": Out(queue_bits), "config": In(QueueConfig),
            "progress_queue": Out(queue_bits), "progress": In(Progress(self.ring_bits)),
            "cache_queue": Out(queue_bits), "cache_slot": Out(self.ring_bits - 1), "cache_enable": Out(1),
            "cache": In(Chain()),
            "emptied_queue": Out(queue_bits), "emptied": In(self.slot_bits),
            "returned_queue": Out(queue_bits), "returned": In(self.slot_bits), "failed": In(1),
            "copy": Out(TableCopy(queue_bits, self.slot_bits)), "copy_ready": In(1),
            "reads": Out(stream.Signature(ReadCommand(queue_bits))),
            "rewinds": In(stream.Signature(Rewind(queue_bits, self.slot_bits))),
            "ring_rewinds": Out(stream.Signature(Rewind(queue_bits, self.ring_bits))), "rewound": In(1),
            "freed": Out(Pulse(queue_bits)),
            "taken_queue": In(queue_bits), "taken": Out(self.ring_bits),
            "reserved_queue": In(queue_bits), "reserved": Out(self.state),
            "looking_queue": In(queue_bits), "looking": Out(self.state),
            "error": Out(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        self._read, self._write = self._states(m)
        self._queue = queue = Signal(self.queue_bits)
        self._again, self._again_ready = Signal(), Signal()
        self._due, self._next, self._begun = Signal(), Signal(self.queue_bits), Signal()
        self._run(m)
        self._at, self._after = at, after = Signal(self.state), Signal(self.state)
        self._free = free = Signal(self.slot_bits)      # places, as the turn began, less those given since
        self._turn = Signal(range(self.TURN))
        chosen = Signal(self.queue_bits)
        read, write = self._read, self._write
        m.d.comb += [
            chosen.eq(Mux(self.rewinds.valid, self.rewinds.payload.queue, self._next)),
            read.addr.eq(chosen), self.returned_queue.eq(chosen), self.emptied_queue.eq(chosen),
            self.config_queue.eq(queue), self.progress_queue.eq(queue),
            self.cache_queue.eq(queue), self.cache_slot.eq(at.read + 1),
            write.addr.eq(queue), write.data.eq(after), after.eq(at),
        ]
        m.d.sync += self.freed.valid.eq(0)
        with m.If(self.reads.ready):
            m.d.sync += self.reads.valid.eq(0)
        with m.FSM() as fsm:
            with m.State("TURN"):
                state = read.data
                m.d.comb += [
                    self.progress_queue.eq(chosen), self.cache_queue.eq(chosen), self.cache_slot.eq(state.read),
                    self.cache_enable.eq(1), self._begun.eq(~self.quiesce & ~self.rewinds.valid & ~self.init.valid),
                ]
                m.d.sync += [
                    queue.eq(chosen), at.eq(state), self._turn.eq(0),
                    free.eq(self.emptied + self.elements - state.slot),
                ]
                with m.If(self.rewinds.valid):
                    with m.If(state.asked == self.returned):
                        m.next = "REWIND"
                with m.Elif(self._due & self._begun & (self.progress.slot != state.read) & ~state.broken
                            & ~self.failed):
                    m.next = "TAKE"
            with m.State("TAKE"):
                self._take(m)
            with m.State("ISSUE"):
                self._issue(m)
            with m.State("AGAIN"):
                # Where that can't be done, because just now something arrived, there is another turn.
                m.d.comb += self._again.eq(1)
                with m.If(self._again_ready):
                    m.next = "TURN"
                with m.Else():
                    m.next = "TAKE"
            self._rewind(m)
        with m.If(self.init.valid):
            m.d.comb += [write.addr.eq(self.init.queue), write.data.eq(0), write.en.eq(1)]
        m.d.comb += self.idle.eq(fsm.ongoing("TURN") & ~self.reads.valid)
        return m

    def _states(self, m):
        m.submodules.states = states = Memory(shape=self.state, depth=1 << self.queue_bits, init=[])
        read, taken, reserved, looking = (states.read_port(domain="comb") for _ in range(4))
        m.d.comb += [
            taken.addr.eq(self.taken_queue), self.taken.eq(taken.data.read),
            reserved.addr.eq(self.reserved_queue), self.reserved.eq(reserved.data),
            looking.addr.eq(self.looking_queue), self.looking.eq(looking.data),
        ]
        return read, states.write_port()

    def _run(self, m):
        """Queues to be looked at: something arrived, there is space again, or a turn ended early (`_again`)."""
        m.submodules.space_run = space = RunQueue(self.queues, self.queue_bits)
        m.submodules.run = run = RunQueue(self.queues, self.queue_bits, through=True)
        # Registers on the second way in and on the way out keep paths short. No turn is over before the next is here.
        waits, waiting, free = Signal(), Signal(self.queue_bits), Signal()
        m.d.comb += run.o.ready.eq(~self._due)
        with m.If(self.init.valid | self._due & self._begun):
            m.d.sync += self._due.eq(0)
        with m.Elif(~self._due):
            m.d.sync += [self._due.eq(run.o.valid), self._next.eq(run.o.payload)]
        m.d.comb += [
            space.init.eq(self.init), space.push.eq(self.space),
            run.init.eq(self.init), run.push.eq(self.arrived),
            run.again.valid.eq(waits), run.again.payload.eq(waiting),
            free.eq(~waits | run.again.ready),
            self._again_ready.eq(free), space.o.ready.eq(free & ~self._again),
        ]
        with m.If(self.init.valid):
            m.d.sync += waits.eq(0)
        with m.Elif(free):
            m.d.sync += [
                waits.eq(self._again | space.o.valid), waiting.eq(Mux(self._again, self._queue, space.o.payload)),
            ]

    def _take(self, m):
        """The descriptor at hand: copy it, or find out what to read of its table."""
        at, after, ring = self._at, self._after, self.cache
        element, copy = self.copy.entry, self.copy
        m.d.comb += [
            copy.queue.eq(self._queue), copy.slot.eq(at.slot), copy.chain.eq(at.chain + ring.last),
            element.address.eq(ring.address), element.length.eq(ring.length), element.id.eq(ring.id),
            element.write.eq(ring.write), element.ring.eq(1), element.last.eq(ring.last),
        ]
        self._measure(m)
        with m.If(self.quiesce):
            m.next = "TURN"
        with m.Elif(ring.indirect):
            m.next = "ISSUE"
        with m.Elif(self._free == 0):
            m.next = "TURN"
        with m.Else():
            m.d.comb += copy.valid.eq(1)
            with m.If(self.copy_ready):
                m.d.comb += [
                    after.read.eq(at.read + 1), after.slot.eq(at.slot + 1), after.chain.eq(copy.chain),
                    after.inside.eq(~ring.last),
                ]
                m.d.sync += self._free.eq(self._free - 1)
                self._go_on(m, C(1))

    def _measure(self, m):
        """The next read of the table at hand: where it begins, its elements, and whether they are the rest of it."""
        at, ring = self._at, self.cache
        left, to_cut = Signal(16), Signal(range(self.most + 1))
        length = ring.length >> 4
        m.d.comb += [
            left.eq(length - at.index),
            to_cut.eq(self.most - ((ring.address >> 4) + at.index)[:(self.most - 1).bit_length()]),
        ]
        self._address, self._piece = Signal(64), Signal(range(self.most + 1))
        self._whole, self._bad = Signal(), Signal()
        m.d.sync += [
            self._address.eq(ring.address + (at.index << 4)),
            self._whole.eq(left <= to_cut), self._piece.eq(Mux(left <= to_cut, left, to_cut)),
            self._bad.eq(~self.indirect | ~ring.last | at.inside | ring.length[:4].any() | (length == 0)
                         | (length > self.config.size)),
        ]

    def _issue(self, m):
        """Ask for as much of the table as there is room for."""
        at, after = self._at, self._after
        fits, finishes, count = Signal(), Signal(), Signal(range(self.most + 1))
        m.d.comb += [
            fits.eq(self._free >= self._piece), finishes.eq(fits & self._whole),
            count.eq(Mux(fits, self._piece, self._free)),
        ]
        with m.If(self._bad):
            m.d.comb += [after.broken.eq(1), self._write.en.eq(1), self.error.eq(1)]
            m.next = "TURN"
        with m.Elif(self.quiesce | ~(fits | (self._free >= self.batch // 2))):
            m.next = "TURN"
        with m.Elif(~self.reads.valid | self.reads.ready):
            m.d.comb += [
                after.read.eq(at.read + finishes), after.slot.eq(at.slot + count), after.chain.eq(at.chain + finishes),
                after.index.eq(Mux(finishes, 0, at.index + count)), after.asked.eq(at.asked + 1),
            ]
            m.d.sync += self._free.eq(self._free - count)
            self._ask(m, count, finishes)
            self._go_on(m, finishes)

    def _ask(self, m, count, finishes):
        command, context = self.reads.payload, Signal(TableContext())
        m.d.comb += [
            context.slot.eq(self._at.slot), context.chain.eq(self._after.chain), context.count.eq(count),
            context.id.eq(self.cache.id), context.first.eq(self._at.index == 0), context.last.eq(finishes),
        ]
        m.d.sync += [
            self.reads.valid.eq(1),
            command.client.eq(self.client), command.function.eq(0), command.queue.eq(self._queue),
            command.address.eq(self._address), command.length.eq(count << 4),
            command.last.eq(1), command.more.eq(0), command.context.eq(context.as_value()),
        ]

    def _go_on(self, m, finished):
        """What was taken is settled; with `finished` the next descriptor is addressed already."""
        following = Signal(self.ring_bits)
        m.d.comb += [following.eq(self._at.read + 1), self._write.en.eq(1), self.cache_enable.eq(finished)]
        m.d.sync += [
            self._at.eq(self._after), self._turn.eq(self._turn + 1),
            self.freed.valid.eq(finished & ((following & (self.batch - 1)) == 0)), self.freed.queue.eq(self._queue),
        ]
        m.next = "TAKE"
        with m.If(finished & (self.progress.slot == following)):
            m.next = "TURN"
        with m.Elif(self._turn == self.TURN - 1):
            m.next = "AGAIN"

    def _rewind(self, m):
        """States in which a rewind takes effect: here and for the walker, then for `Receive`."""
        at, after, rewind, ring = self._at, self._after, self.rewinds.payload, self.ring_rewinds.payload
        m.d.comb += [
            ring.queue.eq(rewind.queue), ring.position.eq(rewind.position), ring.slot.eq(at.read),
            ring.chain.eq(0),
        ]
        with m.State("REWIND"):
            m.d.comb += [
                self.copy.valid.eq(1), self.copy.rewind.eq(1), self.copy.queue.eq(self._queue),
                self.copy.slot.eq(rewind.slot), self.copy.chain.eq(rewind.chain),
                after.slot.eq(rewind.slot), after.chain.eq(rewind.chain), after.index.eq(0), after.inside.eq(0),
                self._write.en.eq(self.copy_ready),
            ]
            with m.If(self.copy_ready):
                m.next = "RECEIVE"
        with m.State("RECEIVE"):
            m.d.comb += [self.ring_rewinds.valid.eq(1), self.rewinds.ready.eq(self.ring_rewinds.ready)]
            with m.If(self.ring_rewinds.ready):
                m.next = "REWOUND"
        with m.State("REWOUND"):
            with m.If(self.rewound):
                m.next = "TURN"
