"""Taking chains of transmit queues out of the cache, in turns."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .reset import StageReset
from .run_queue import RunQueue
from .spec import BufferElement, Pulse, QueueConfig
from .stages import Progress, slot_bits

__all__ = ["Element", "Reader"]


class Element(data.StructLayout):
    """An element on its way to a walker. Fields: `queue`; `chain` the element; `abandoned` the engine is being
    reset while the rest of the chain is missing: this takes its place, with `last` set and nothing else valid."""

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "chain": BufferElement(), "abandoned": 1})


class Reader(wiring.Component):
    """Serves the queues that have whole chains, in turn, an element a cycle as far as they are there; a turn takes one
    cycle more.

    A turn ends after `PACKETS` chains, or with the first chain after `BYTES` bytes, or when no chain may be
    begun. The next turn begins without a gap. A chain is begun when it is wholly in the cache or, since it might be
    longer than the cache, when less than a batch is free there; it is then read as it arrives, and nothing else with
    it.

    Of a queue that is not enabled no chain is begun. During `quiesce` none is; one that has been begun is read to its
    end, or abandoned where it is missing.

    Parameters
    ----------
    queues, queue_bits : int
    cache, batch : int
        elements cached per queue; how many are kept free, at most half of it

    Attributes
    ----------
    init : In(Pulse)
    reset : In(StageReset)
        `quiet`: no chain of the queue is at hand
    quiesce : In(1)
    config_queue : Out, config : In(QueueConfig)
    begun : Out(Pulse)
        the last element of a chain goes to `elements`
    arrived : In(Pulse)
        see `Tables`
    progress_queue : Out, progress : In(Progress)
    cache_queue, cache_slot, cache_enable : Out; cache : In(BufferElement)
        read port of the cache
    emptied_queue : In, emptied : Out
        next slot to be read of a queue: those before are free. Answered in the same cycle
    space : Out(Pulse)
        another half batch of slots is free
    elements : stream of Element out
        straight from the cache's output register, which holds it until it is taken
    idle : Out(1)
        nothing is being read or waits to be taken
    """

    PACKETS = 16
    BYTES = 16384

    def __init__(self, queues, queue_bits, *, cache, batch):
        self.queues = queues
        self.queue_bits = queue_bits
        self.slots = cache
        self.batch = batch
        self.slot_bits = slot_bits(cache)
        super().__init__({
            "init": In(Pulse(queue_bits)),
            "reset": In(StageReset(queue_bits)),
            "quiesce": In(1),
            "config_queue": Out(queue_bits),
            "config": In(QueueConfig),
            "begun": Out(Pulse(queue_bits)),
            "arrived": In(Pulse(queue_bits)),
            "progress_queue": Out(queue_bits),
            "progress": In(Progress(self.slot_bits)),
            "cache_queue": Out(queue_bits),
            "cache_slot": Out(self.slot_bits - 1),
            "cache_enable": Out(1),
            "cache": In(BufferElement()),
            "emptied_queue": In(queue_bits),
            "emptied": Out(self.slot_bits),
            "space": Out(Pulse(queue_bits)),
            "elements": Out(stream.Signature(Element(queue_bits))),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.run = run = RunQueue(self.queues, self.queue_bits)
        shape = Progress(self.slot_bits)
        m.submodules.emptied = memory = Memory(shape=shape, depth=1 << self.queue_bits, init=[])
        write, read, query = memory.write_port(), memory.read_port(domain="comb"), memory.read_port(domain="comb")
        queue, at, after = Signal(self.queue_bits), Signal(shape), Signal(shape)
        follows = Signal()      # the element behind the one at hand is there
        m.d.comb += [
            run.init.eq(self.init), run.push.eq(self.arrived), run.again.payload.eq(queue),
            query.addr.eq(self.emptied_queue), self.emptied.eq(query.data.slot),
            read.addr.eq(run.o.payload),
            self.cache_queue.eq(queue), self.cache_slot.eq(at.slot), self.progress_queue.eq(queue),
            write.addr.eq(queue), write.data.eq(after), self.config_queue.eq(self.progress_queue),
            self.begun.queue.eq(queue), follows.eq(self.progress.slot != after.slot),
            after.slot.eq(at.slot + 1), after.chain.eq(at.chain + self.cache.last),
        ]
        # Chains and bytes of this turn. A turn that can't be ended when it should, because just then a chain arrived,
        # goes on for a chain.
        packets, bytes = Signal(range(2 * self.PACKETS)), Signal(range(2 * self.BYTES))
        m.d.comb += [
            self.elements.payload.queue.eq(queue), self.elements.payload.chain.eq(self.cache),
        ]
        m.d.sync += self.space.valid.eq(0)

        with m.FSM() as fsm:
            with m.State("TURN"):
                # Addresses the cache at once; whether there is anything to be read is known in the same cycle.
                m.d.comb += [
                    self.cache_queue.eq(run.o.payload), self.cache_slot.eq(read.data.slot),
                    self.progress_queue.eq(run.o.payload), self.cache_enable.eq(1),
                    run.o.ready.eq(~self.quiesce & ~self.reset.forget), self.reset.forgotten.eq(self.reset.forget),
                ]
                m.d.sync += [queue.eq(run.o.payload), at.eq(read.data), packets.eq(0), bytes.eq(0)]
                with m.If(run.o.valid & run.o.ready & self._ready(read.data)):
                    m.next = "TAKE"
            with m.State("NEXT"):
                m.d.comb += self.cache_enable.eq(1)
                with m.If(self.progress.slot != at.slot):
                    m.next = "TAKE"
                with m.Elif(self.quiesce):
                    m.next = "ABANDON"
            with m.State("ABANDON"):
                m.d.comb += [
                    self.elements.valid.eq(1), self.elements.payload.abandoned.eq(1),
                    self.elements.payload.chain.last.eq(1),
                ]
                with m.If(self.elements.ready):
                    m.next = "TURN"
            with m.State("TAKE"):
                m.d.comb += [
                    self.elements.valid.eq(1),
                    self.cache_slot.eq(after.slot), self.cache_enable.eq(self.elements.ready),
                ]
                with m.If(self.elements.ready):
                    m.d.comb += [write.en.eq(1), self.begun.valid.eq(self.cache.last)]
                    m.d.sync += [
                        at.eq(after), self.space.valid.eq((after.slot & (self.batch // 2 - 1)) == 0),
                        self.space.queue.eq(queue), packets.eq(packets + self.cache.last),
                    ]
                    with m.If(~bytes[-1]):
                        m.d.sync += bytes.eq(bytes + Mux(self.cache.length >= self.BYTES, self.BYTES,
                                                         self.cache.length))
                    with m.If(~follows):
                        m.next = "NEXT"
                    with m.If(self.cache.last & (self.quiesce | ~self._ready(after))):
                        m.next = "TURN"
                    with m.Elif(self.cache.last & ((packets >= self.PACKETS - 1) | bytes[-1])):
                        m.d.comb += run.again.valid.eq(1)
                        with m.If(run.again.ready):
                            m.next = "TURN"
        with m.If(self.init.valid | self.reset.forgotten):
            m.d.comb += [write.addr.eq(Mux(self.init.valid, self.init.queue, self.reset.queue)), write.data.eq(0),
                         write.en.eq(1)]
        m.d.comb += self.idle.eq(fsm.ongoing("TURN"))
        m.d.sync += self.reset.quiet.eq(fsm.ongoing("TURN") | (queue != self.reset.queue))
        return m

    def _ready(self, at):
        """A chain may be begun at `at`: it is there, or there is no room for more of it."""
        filled = (self.progress.slot - at.slot)[:self.slot_bits]
        return self.config.enabled & ((self.progress.chain != at.chain) | (filled > self.slots - self.batch))
