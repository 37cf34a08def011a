"""What the driver set up for each queue, for all stages to read."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .initialise import InitialiseWalk
from .spec import Configure, Pulse, QueueConfig

__all__ = ["QueueTable"]


class QueueTable(wiring.Component):
    """The engine's own copy of every queue's `QueueConfig`, and the walk that initialises all per-queue state.

    A configuration written in one cycle is read in the next; reads are combinational. After reset and after `clear` a
    walk over all queues disables them, one a cycle; `init` broadcasts it, so that every stage initialises the same
    queue at the same time. Writing a configuration touches no position, so a vector may be changed at any time.

    `enabled` is kept apart, and twice: a queue that is being reset is first closed, for readers that begin chains or
    interrupt, then disabled, for all; the rest of its configuration stays, for what is under way.

    Parameters
    ----------
    queues : int
    queue_bits : int
    readers : iterable of str
    beginners : iterable of str
        those among them for which a closed queue is not enabled

    Attributes
    ----------
    configure : In(Configure)
        not during the walk
    clear : In(1)
        pulse: start the walk
    close, disable : In(Pulse)
        held for some cycles, not during the walk; a `configure` goes first
    init : Out(Pulse)
    idle : Out(1)
        no walk
    {reader}_queue : In, {reader} : Out(QueueConfig)
        a read port for each reader
    """

    def __init__(self, queues, queue_bits, readers, beginners=()):
        self.queues = queues
        self.queue_bits = queue_bits
        self.readers = tuple(readers)
        self.beginners = frozenset(beginners)
        super().__init__({
            "configure": In(Configure(queue_bits)),
            "clear": In(1),
            "close": In(Pulse(queue_bits)),
            "disable": In(Pulse(queue_bits)),
            "init": Out(Pulse(queue_bits)),
            "idle": Out(1),
            **{f"{reader}_queue": In(queue_bits) for reader in self.readers},
            **{reader: Out(QueueConfig) for reader in self.readers},
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = InitialiseWalk(self.queues, self.queue_bits)
        walking = walk.walking
        m.d.comb += [
            walk.clear.eq(self.clear),
            self.init.valid.eq(walking), self.init.queue.eq(walk.queue),
            self.idle.eq(~walking & ~self.clear),
        ]

        m.submodules.table = table = Memory(shape=QueueConfig, depth=self.queues, init=[])
        write = table.write_port()
        m.d.comb += [
            write.addr.eq(Mux(walking, self.init.queue, self.configure.queue)),
            write.en.eq(walking | self.configure.valid),
        ]
        with m.If(~walking):
            m.d.comb += write.data.eq(self.configure.config)
        is_open, enabled = self._switch(m, "open", walking, self.close), self._switch(m, "on", walking, self.disable)
        for reader in self.readers:
            queue, config = getattr(self, f"{reader}_queue"), getattr(self, reader)
            port = table.read_port(domain="comb")
            switch = (is_open if reader in self.beginners else enabled).read_port(domain="comb")
            m.d.comb += [
                port.addr.eq(queue), switch.addr.eq(queue), config.eq(port.data), config.enabled.eq(switch.data),
            ]
        return m

    def _switch(self, m, name, walking, off):
        """A memory of one bit for each queue: as configured, until `off`."""
        m.submodules[name] = memory = Memory(shape=1, depth=self.queues, init=[])
        write, configure = memory.write_port(), self.configure
        m.d.comb += [
            write.addr.eq(Mux(walking, self.init.queue, Mux(configure.valid, configure.queue, off.queue))),
            write.data.eq(~walking & configure.valid & configure.config.enabled),
            write.en.eq(walking | configure.valid | off.valid),
        ]
        return memory
