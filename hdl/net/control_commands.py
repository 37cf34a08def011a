"""From the bytes of a command to the handler of its class."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .control_spec import ROOM_BITS, Ack, HandlerPort, Reply

__all__ = ["Commands", "CommandPort"]


class CommandPort(wiring.Signature):
    """Between the ring (as whose output it is written) and the dispatcher.

    As `HandlerPort`, but `bytes` begin with class and command; `execute` may come when fewer have come.
    """

    def __init__(self):
        super().__init__({
            "begin": Out(1), "bytes": Out(stream.Signature(8, always_ready=True)), "enough": In(1), "execute": Out(1),
            "room": Out(ROOM_BITS), "reply": In(stream.Signature(Reply)),
        })


class Commands(wiring.Component):
    """Takes class and command off a command's bytes and passes on the rest.

    What has no handler, and what ends before its command byte, is answered VIRTIO_NET_ERR, one byte, and changes
    nothing. A byte a cycle; 1 cycle from `bytes` to the handler's, from `execute` to the handler's, and from the
    handler's `enough` to the ring's.

    Parameters
    ----------
    rows : dict of str to ControlClass
        a port for each, by this name, to the handler of that class

    Attributes
    ----------
    i : In(CommandPort)
    <name> : Out(HandlerPort)
    """

    def __init__(self, rows):
        self.rows = dict(rows)
        if len(set(self.rows.values())) != len(self.rows):
            raise ValueError(f"two handlers of one class: {self.rows!r}")
        super().__init__({"i": In(CommandPort()), **{name: Out(HandlerPort()) for name in self.rows}})

    def elaborate(self, platform):
        m = Module()
        count = Signal(2)      # of class and command
        group, command = Signal(8), Signal(8)
        begin, execute = Signal(), Signal()
        room = Signal(ROOM_BITS)
        data = stream.Signature(8, always_ready=True).create(path=("data",))
        byte = self.i.bytes
        m.d.sync += [begin.eq(0), execute.eq(self.i.execute), data.valid.eq(byte.valid & (count == 2)),
                     data.payload.eq(byte.payload)]
        with m.If(self.i.execute):
            m.d.sync += room.eq(self.i.room)
        with m.If(self.i.begin):
            m.d.sync += [count.eq(0), group.eq(0xff)]
        with m.Elif(byte.valid & (count == 0)):
            m.d.sync += [count.eq(1), group.eq(byte.payload)]
        with m.Elif(byte.valid & (count == 1)):
            m.d.sync += [count.eq(2), command.eq(byte.payload), begin.eq(1)]

        whole = count == 2
        refused = Signal()     # the answer of a command that nobody handles
        known = Cat(group == kind for kind in self.rows.values()).any()
        m.d.sync += self.i.enough.eq(whole & ~begin & ~known)
        m.d.comb += [
            self.i.reply.valid.eq(refused), self.i.reply.payload.data.eq(Ack.ERR), self.i.reply.payload.ack.eq(1),
            self.i.reply.payload.last.eq(1),
        ]
        with m.If(execute & ~(whole & known)):
            m.d.sync += refused.eq(1)
        with m.Elif(self.i.reply.ready):
            m.d.sync += refused.eq(0)
        for name, kind in self.rows.items():
            self._connect(m, getattr(self, name), whole & (group == kind), begin, command, data, execute, room)
        return m

    def _connect(self, m, port, mine, begin, command, data, execute, room):
        m.d.comb += [
            port.begin.eq(begin & mine), port.command.eq(command),
            port.bytes.valid.eq(data.valid & mine), port.bytes.payload.eq(data.payload),
            port.execute.eq(execute & mine), port.room.eq(room),
        ]
        with m.If(mine):
            m.d.sync += self.i.enough.eq(port.enough & ~begin)
            m.d.comb += [
                self.i.reply.valid.eq(port.reply.valid), self.i.reply.payload.eq(port.reply.payload),
                port.reply.ready.eq(self.i.reply.ready),
            ]
