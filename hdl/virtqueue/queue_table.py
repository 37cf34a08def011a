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

    Parameters
    ----------
    queues : int
    queue_bits : int
    readers : iterable of str

    Attributes
    ----------
    configure : In(Configure)
        not during the walk
    clear : In(1)
        pulse: start the walk
    init : Out(Pulse)
    idle : Out(1)
        no walk
    {reader}_queue : In, {reader} : Out(QueueConfig)
        a read port for each reader
    """

    def __init__(self, queues, queue_bits, readers):
        self.queues = queues
        self.queue_bits = queue_bits
        self.readers = tuple(readers)
        super().__init__({
            "configure": In(Configure(queue_bits)),
            "clear": In(1),
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
        for reader in self.readers:
            port = table.read_port(domain="comb")
            m.d.comb += [
                port.addr.eq(getattr(self, f"{reader}_queue")),
                getattr(self, reader).eq(port.data),
            ]
        return m
