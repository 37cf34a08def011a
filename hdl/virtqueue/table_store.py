"""Putting elements into their reserved places, and telling how far a queue's elements are there."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.dma.spec import ReadBeat, ReadStatus, TableContext

from .cache import CacheWrite
from .narrow import Narrow
from .spec import BufferElement, Pulse
from .stages import Progress, Stored, TableCopy

__all__ = ["TableStore"]


class TableStore(wiring.Component):
    """Writes copied descriptors and the entries of tables into the cache of elements, one a cycle; entries go first, so
    that copies wait from the first beat of a read on.

    Of an entry only address, length and WRITE count; the buffer's id comes from its ring descriptor. Elements become
    visible in their order: with the last entry of a read what was asked for up to it, and with the last of all reads
    that are under way everything. From a read's last beat to that: 2 cycles and one for each entry; from `copy`: 2.

    A read that failed raises `error` and breaks the queue: nothing more becomes visible. What was DISCARDED, and what
    comes during `quiesce`, does not become visible either.

    Parameters
    ----------
    width, queue_bits : int
    slot_bits : int
        bits of a place in the cache, modulo twice the cache
    state : TableState
    read_bytes : int

    Attributes
    ----------
    init : In(Pulse)
    quiesce : In(1)
    beats : stream of ReadBeat in; room : Out(1)
        see `Narrow`
    copy : In(TableCopy), copy_ready : Out(1)
        a register
    cache : Out(CacheWrite); stored : Out(Stored)
    reserved_queue : Out, reserved : In(TableState)
        what has been asked for, answered in the same cycle
    returned_queue : In, returned, failed : Out
        reads that are back, modulo twice the cache; one of them failed
    progress_queue, looking_queue : In; progress, looking : Out(Progress); looking_failed : Out(1)
        what is visible of a queue, answered in the same cycle
    arrived : Out(Pulse)
        more of a queue may be visible from the next cycle on
    retired : Out(1)
        a read is done with
    error, idle : Out(1)
    """

    def __init__(self, width, queue_bits, *, slot_bits, state, read_bytes):
        self.width = width
        self.queue_bits = queue_bits
        self.slot_bits = slot_bits
        self.read_bytes = read_bytes
        super().__init__({
            "init": In(Pulse(queue_bits)), "quiesce": In(1),
            "beats": In(stream.Signature(ReadBeat(width, queue_bits))), "room": Out(1),
            "copy": In(TableCopy(queue_bits, slot_bits)), "copy_ready": Out(1),
            "cache": Out(CacheWrite(queue_bits, slot_bits - 1, BufferElement())),
            "stored": Out(Stored(queue_bits, slot_bits)),
            "reserved_queue": Out(queue_bits), "reserved": In(state),
            "returned_queue": In(queue_bits), "returned": Out(slot_bits), "failed": Out(1),
            "progress_queue": In(queue_bits), "progress": Out(Progress(slot_bits)),
            "looking_queue": In(queue_bits), "looking": Out(Progress(slot_bits)), "looking_failed": Out(1),
            "arrived": Out(Pulse(queue_bits)), "retired": Out(1),
            "error": Out(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.narrow = narrow = Narrow(self.width, self.queue_bits, self.read_bytes // 16, TableContext())
        wiring.connect(m, wiring.flipped(self.beats), narrow.beats)
        # A step is what is stored, or made visible, in one cycle.
        step = Signal(data.StructLayout({
            "copy": 1, "entry": 1, "rewind": 1, "ends": 1, "status": ReadStatus,
            "queue": self.queue_bits, "slot": self.slot_bits, "after": Progress(self.slot_bits),
            "element": BufferElement(),
        }))
        m.d.sync += [step.copy.eq(0), step.entry.eq(0), step.rewind.eq(0), step.ends.eq(0)]
        self._copy(m, step)
        self._entries(m, narrow, step)
        self._commit(m, step)
        m.d.comb += [
            self.room.eq(narrow.room), self.copy_ready.eq(~narrow.descriptors.valid),
            self.idle.eq(narrow.empty & ~step.copy & ~step.entry & ~step.rewind & ~step.ends),
        ]
        return m

    def _copy(self, m, step):
        copy = self.copy
        with m.If(copy.valid & self.copy_ready):
            m.d.sync += [
                step.copy.eq(~copy.rewind), step.rewind.eq(copy.rewind), step.queue.eq(copy.queue),
                step.slot.eq(copy.slot), step.after.chain.eq(copy.chain),
                step.after.slot.eq(copy.slot + ~copy.rewind), step.element.eq(copy.entry),
            ]

    def _entries(self, m, narrow, step):
        """The entry at hand, if its read is there down to the last beat."""
        batch, entry, element = narrow.batches.payload, narrow.descriptors.payload, step.element
        context = batch.context
        number = Signal(range(self.read_bytes // 16))
        good, last, present = Signal(), Signal(), Signal()
        m.d.comb += [
            good.eq(batch.status == ReadStatus.OK),
            present.eq(narrow.batches.valid & narrow.descriptors.valid),
            # Of a failed read there are beats to be passed over, but no entries.
            last.eq(Mux(good, narrow.descriptor_last, narrow.beat_last)),
            narrow.descriptors.ready.eq(present & good), narrow.skip.eq(present & ~good),
            narrow.batches.ready.eq(present & last),
        ]
        with m.If(present):
            m.d.sync += [
                number.eq(Mux(last, 0, number + 1)),
                step.entry.eq(good), step.ends.eq(last), step.status.eq(batch.status),
                step.queue.eq(batch.queue), step.slot.eq(context.slot + number),
                step.after.slot.eq(context.slot + context.count), step.after.chain.eq(context.chain),
                element.address.eq(entry.address), element.length.eq(entry.length), element.id.eq(context.id),
                element.write.eq(entry.flags.write), element.ring.eq(context.first & (number == 0)),
                element.last.eq(context.last & last),
            ]

    def _commit(self, m, step):
        shape = data.StructLayout({"count": self.slot_bits, "failed": 1})
        m.submodules.returns = returns = Memory(shape=shape, depth=1 << self.queue_bits, init=[])
        write, own = returns.write_port(), returns.read_port(domain="comb")
        query, looking = returns.read_port(domain="comb"), returns.read_port(domain="comb")
        count = Signal(self.slot_bits)
        good, failed, none, visible = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            own.addr.eq(step.queue), self.reserved_queue.eq(step.queue),
            query.addr.eq(self.returned_queue), self.returned.eq(query.data.count), self.failed.eq(query.data.failed),
            looking.addr.eq(self.looking_queue), self.looking_failed.eq(looking.data.failed),
            good.eq((step.status == ReadStatus.OK) & ~self.quiesce),
            failed.eq(step.ends & (step.status != ReadStatus.OK) & (step.status != ReadStatus.DISCARDED)),
            count.eq(own.data.count + step.ends), none.eq(count == self.reserved.asked),
            visible.eq(step.rewind | (~own.data.failed & ((step.copy & none) | (step.ends & good)))),
            self.error.eq(failed & ~own.data.failed & ~self.quiesce), self.retired.eq(step.ends),
            write.addr.eq(step.queue), write.data.count.eq(count), write.data.failed.eq(own.data.failed | failed),
            write.en.eq(step.ends),
            self.cache.valid.eq(step.copy | step.entry), self.cache.queue.eq(step.queue),
            self.cache.slot.eq(step.slot), self.cache.chain.eq(step.element),
            self.arrived.valid.eq(step.copy | step.ends), self.arrived.queue.eq(step.queue),
        ]
        self._tell(m, step)
        self._progress(m, step, none, visible)
        with m.If(self.init.valid):
            m.d.comb += [write.addr.eq(self.init.queue), write.data.eq(0), write.en.eq(1)]

    def _tell(self, m, step):
        stored, element = self.stored, step.element
        m.d.comb += [
            stored.valid.eq(step.copy | step.entry), stored.rewind.eq(step.rewind), stored.queue.eq(step.queue),
            stored.table.eq(step.entry), stored.chain.eq(step.after.chain - 1),
            *[stored[field].eq(element[field]) for field in ("length", "write", "last")],
        ]

    def _progress(self, m, step, none, visible):
        memory = Memory(shape=Progress(self.slot_bits), depth=1 << self.queue_bits, init=[])
        m.submodules.progresses = memory
        write = memory.write_port()
        query, looking = memory.read_port(domain="comb"), memory.read_port(domain="comb")
        m.d.comb += [
            query.addr.eq(self.progress_queue), self.progress.eq(query.data),
            looking.addr.eq(self.looking_queue), self.looking.eq(looking.data),
            write.addr.eq(step.queue), write.data.eq(step.after), write.en.eq(visible),
        ]
        with m.If(step.ends & none):
            m.d.comb += [write.data.slot.eq(self.reserved.slot), write.data.chain.eq(self.reserved.chain)]
        with m.If(self.init.valid):
            m.d.comb += [write.addr.eq(self.init.queue), write.data.eq(0), write.en.eq(1)]
