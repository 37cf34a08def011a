"""What the driver set up for each virtqueue."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .maps import ADDRESS_FIELDS
from .spec import NO_VECTOR

__all__ = ["QueueRow", "QueueTable"]


class QueueRow(data.Struct):
    """Fields of one virtqueue, as written."""
    size: 16
    vector: 16
    desc_low: 32
    desc_high: 32
    driver_low: 32
    driver_high: 32
    device_low: 32
    device_high: 32
    enabled: 1
    resetting: 1


class QueueTable(wiring.Component):
    """Per-queue fields in memories indexed by virtqueue; bytes are written one by one, no value is judged.

    `row` is a register: it shows queue `queue` with everything written to it 2 cycles after either changed.

    `clear` starts the walk that gives every queue its values after reset: `size` the maximum, `vector` NO_VECTOR, the
    rest 0. It takes a cycle per queue; meanwhile `busy` is high and writes are ignored. `restore` does it for one
    queue, in its cycle.

    Parameters
    ----------
    queues : int
    size_max : int
        `size` after reset

    Attributes
    ----------
    queue : In(range(queues))
    data, strobe : In(32), In(StructLayout of 4 bits per DW of `QueueRow`)
        bytes to write; `size` and `vector` share the DW `setup`
    enable, reset : In(1)
        set `enabled`, `resetting`
    restore : In({valid, queue})
        not in the cycle of any other write
    clear : In(1)
    busy : Out(1)
    row : Out(QueueRow)
    """

    def __init__(self, queues, size_max):
        if not 1 <= queues <= 65536:
            raise ValueError(f"there are 1 to 65536 virtqueues, not {queues!r}")
        self.queues = queues
        self.size_max = size_max
        self.dwords = ("setup", *(name.removeprefix("queue_") for name in ADDRESS_FIELDS))
        super().__init__({
            "queue": In(range(queues)),
            "data": In(32),
            "strobe": In(data.StructLayout({name: 4 for name in self.dwords})),
            "enable": In(1),
            "reset": In(1),
            "restore": In(data.StructLayout({"valid": 1, "queue": range(queues)})),
            "clear": In(1),
            "busy": Out(1),
            "row": Out(QueueRow),
        })

    def elaborate(self, platform):
        m = Module()
        walk = Signal(range(self.queues))
        with m.If(self.clear):
            m.d.sync += [walk.eq(0), self.busy.eq(1)]
        with m.Elif(self.busy):
            m.d.sync += [walk.eq(walk + 1), self.busy.eq(walk != self.queues - 1)]
        initial = self.busy | self.restore.valid
        address = Mux(self.busy, walk, Mux(self.restore.valid, self.restore.queue, self.queue))
        for name in self.dwords:
            after_reset = NO_VECTOR << 16 | self.size_max if name == "setup" else 0
            read = self._memory(m, name, 32, address, Mux(initial, 0b1111, self.strobe[name]),
                                Mux(initial, after_reset, self.data))
            if name == "setup":
                m.d.sync += [self.row.size.eq(read[:16]), self.row.vector.eq(read[16:])]
            else:
                m.d.sync += self.row[name].eq(read)
        for name, set_ in ("enabled", self.enable), ("resetting", self.reset):
            m.d.sync += self.row[name].eq(self._memory(m, name, 1, address, initial | set_, ~initial))
        return m

    def _memory(self, m, name, width, address, strobe, value):
        """A memory whose row `address` is returned, and written where `strobe` says so."""
        m.submodules[name] = storage = memory.Memory(shape=width, depth=self.queues, init=[])
        read = storage.read_port(domain="comb")
        write = storage.write_port(granularity=8 if width > 8 else None)
        m.d.comb += [
            read.addr.eq(self.queue),
            write.addr.eq(address),
            write.en.eq(strobe),
            write.data.eq(value),
        ]
        return read.data
