"""The control virtqueue's ring: one command at a time, from doorbell to interrupt."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..virtqueue.spec import Descriptor, EngineFeatures, QueueConfig
from .control_commands import CommandPort
from .control_memory import MemoryRead, MemoryWrite
from .control_scatter import ControlScatter
from .control_spec import ROOM_BITS, ControlInterrupt, Place
from .control_used import ControlUsed

__all__ = ["ControlRing"]


class ControlRing(wiring.Component):
    """Serves one packed virtqueue (VIRTIO 1.4, Packed Virtqueues), a buffer at a time: correct first, fast never.

    After a doorbell, and after every buffer, the descriptor at the head is read. If it is available, the others are
    read one by one, from the ring or an indirect table, and all of them after the head was seen, so none can be stale.
    Device-readable bytes go to `command` as far as it wants them; when the chain has ended, the command is executed
    once and its reply written to the device-writable elements, which are read again for that. Then one used
    descriptor, and, unless Driver Event Suppression says otherwise, an interrupt; see `ControlUsed`.

    Used with length 0, and not executed: a chain without a writable byte, with a readable element behind a writable
    one, with INDIRECT anywhere but alone at its head or not negotiated, or with a table of no, of more than 65535 or
    of broken descriptors. `error`, and nothing more before `clear`: a chain that does not end within the ring's size, a
    read that failed, a writable element that is none any more when the reply wants it.

    While `quiesce`, or not `live`, nothing is begun: what has been asked for is awaited, an executed command's reply
    taken and thrown away.

    Attributes
    ----------
    features : In(EngineFeatures)
    live, quiesce, clear : In(1)
        as in `virtqueue.Engine`
    configured : In(1), setup : In(QueueConfig)
        pulse: the queue has been enabled or reset, or its vector has changed
    leave : In(1); doorbell : In(1)
        the queue is being reset: as `quiesce`, until it is configured again; a pulse
    msix_enable : In(1)
    read : Out(MemoryRead); answered, failed, data, shift; write : Out(MemoryWrite); writing
        of `ControlMemory`
    command : Out(CommandPort); interrupts : stream of {vector} out
    error : Out(1)
        pulse: the device needs a reset
    idle : Out(1)
    """

    features: In(EngineFeatures)
    live: In(1)
    quiesce: In(1)
    clear: In(1)
    configured: In(1)
    setup: In(QueueConfig)
    leave: In(1)
    doorbell: In(1)
    msix_enable: In(1)
    read: Out(MemoryRead)
    answered: In(1)
    failed: In(1)
    data: In(128)
    shift: Out(1)
    write: Out(MemoryWrite)
    writing: In(1)
    command: Out(CommandPort())
    interrupts: Out(stream.Signature(ControlInterrupt))
    error: Out(1)
    idle: Out(1)

    def elaborate(self, platform):
        m = Module()
        self.config = config = Signal(QueueConfig)
        self.kick, self.stop = Signal(), Signal()
        self.head, self.after, self.at = Signal(Place), Signal(Place), Signal(Place)
        self.beyond = Signal(Place)      # the place after `at`
        self.slots, self.id, self.length = Signal(16), Signal(16), Signal(32)
        self.in_table, self.malformed = Signal(), Signal()
        self.address, self.left, self.last = Signal(64), Signal(32), Signal()     # what is left of the element
        self.owed = Signal()             # a reply will come
        self.has_room, self.resume = Signal(), Signal(Place)      # there is a writable element; the first one
        at_end = self.at.left == 1
        m.d.comb += [
            self.stop.eq(self.quiesce | ~self.live | ~config.enabled),
            self.beyond.address.eq(Mux(at_end, config.descriptors, self.at.address + 16)),
            self.beyond.left.eq(Mux(at_end, config.size, self.at.left - 1)),
            self.beyond.wrap.eq(self.at.wrap ^ at_end),
        ]
        m.submodules.scatter = scatter = ControlScatter()
        m.submodules.used = used = ControlUsed()
        self._connect(m, scatter, used)
        with m.FSM() as fsm:
            self._look(m)
            self._walk(m)
            self._readable(m)
            self._reply(m, scatter)
            self._publish(m, used)
            with m.State("BROKEN"):
                m.d.comb += scatter.drain.eq(1)
                with m.If(self.clear):
                    m.next = "LOOK"
        self._set_up(m)
        m.d.comb += self.idle.eq((fsm.ongoing("LOOK") | fsm.ongoing("BROKEN")) & ~self.owed & ~self.clear)
        return m

    def _set_up(self, m):
        config = self.config
        with m.If(self.doorbell):
            m.d.sync += self.kick.eq(1)
        with m.If(self.configured):
            m.d.sync += config.eq(self.setup)
            with m.If(~config.enabled):
                m.d.sync += [self.head.address.eq(self.setup.descriptors), self.head.left.eq(self.setup.size),
                             self.head.wrap.eq(1)]
        with m.If(self.clear | self.leave):
            m.d.sync += [self.kick.eq(0), config.enabled.eq(0)]

    def _ask(self, m, address, length, then):
        m.d.comb += [self.read.valid.eq(1), self.read.address.eq(address), self.read.length.eq(length)]
        m.next = then

    def _break(self, m):
        m.d.comb += self.error.eq(1)
        m.next = "BROKEN"

    def _answer(self, m, *, instead=None):
        """Conditional part of a state that waits for a read: what comes after it is for a read that succeeded."""
        with m.If(self.answered):
            with m.If(self.stop):
                m.next = instead or "LOOK"
            with m.Elif(self.failed):
                self._break(m)
        return m.If(self.answered & ~self.stop & ~self.failed)

    def _look(self, m):
        descriptor = Descriptor(self.data)
        flags, table = descriptor.flags, descriptor.length
        with m.State("LOOK"):
            m.d.sync += self.at.eq(self.head)
            with m.If(self.kick & ~self.stop):
                m.d.sync += self.kick.eq(0)
                self._ask(m, self.head.address, 16, "HEAD")
        with m.State("HEAD"):
            m.d.sync += [self.malformed.eq(0), self.slots.eq(1), self.length.eq(0), self.in_table.eq(0),
                         self.command.room.eq(0), self.has_room.eq(0), self.id.eq(descriptor.id)]
            with self._answer(m):
                with m.If(~descriptor.is_available(self.head.wrap)):
                    m.next = "LOOK"
                with m.Else():
                    m.d.comb += self.command.begin.eq(1)
                    m.next = "ELEMENT"
                    with m.If(flags.indirect & ~flags.next):
                        m.next = "TABLE"
        with m.State("TABLE"):
            m.d.sync += [
                self.after.eq(self.beyond), self.in_table.eq(1),
                self.at.address.eq(descriptor.address), self.at.left.eq(table[4:20]),
            ]
            m.next = "FETCH"
            with m.If(~self.features.indirect | table[:4].any() | (table[4:20] == 0) | table[20:].any()):
                m.d.sync += self.malformed.eq(1)
                m.next = "DECIDE"

    def _walk(self, m):
        """One element of the chain after the other, up to its end."""
        element = Descriptor(self.data)
        room, most, more = self.command.room, (1 << ROOM_BITS) - 1, Signal(ROOM_BITS + 1)
        m.d.comb += more.eq(room + element.length[:ROOM_BITS])
        with m.State("FETCH"):
            m.next = "LOOK"
            with m.If(~self.stop):
                self._ask(m, self.at.address, 16, "ARRIVE")
        with m.State("ARRIVE"):
            with self._answer(m):
                m.next = "ELEMENT"
        with m.State("ELEMENT"):
            self._take(m, element)
            with m.If(~self.in_table):
                m.d.sync += [self.id.eq(element.id), self.malformed.eq(self.malformed | element.flags.indirect)]
            with m.If(element.flags.write):
                m.d.sync += [self.has_room.eq(1),
                             room.eq(Mux(element.length[ROOM_BITS:].any() | more[-1], most, more))]
                with m.If(~self.has_room):
                    m.d.sync += self.resume.eq(self.at)
                m.next = "NEXT"
            with m.Else():
                with m.If(self.has_room):
                    m.d.sync += self.malformed.eq(1)
                m.next = "READABLE"
        with m.State("NEXT"):
            m.d.sync += self.at.eq(self.beyond)
            with m.If(self.last):
                with m.If(~self.in_table):
                    m.d.sync += self.after.eq(self.beyond)
                m.next = "DECIDE"
            with m.Elif(~self.in_table & (self.slots == self.config.size)):
                self._break(m)
            with m.Else():
                m.d.sync += self.slots.eq(self.slots + ~self.in_table)
                m.next = "FETCH"
        with m.State("DECIDE"):
            m.d.sync += self.at.eq(self.resume)
            with m.If(self.stop):
                m.next = "LOOK"
            with m.Elif(self.malformed | (room == 0)):
                m.next = "PUBLISH"
            with m.Else():
                m.d.comb += self.command.execute.eq(1)
                m.next = "REFETCH"

    def _take(self, m, element):
        m.d.sync += [
            self.address.eq(element.address), self.left.eq(element.length),
            self.last.eq(Mux(self.in_table, self.at.left == 1, ~element.flags.next)),
        ]

    def _readable(self, m):
        """The bytes of a readable element, 16 at a time at most."""
        count = Signal(5)
        m.d.comb += self.command.bytes.payload.eq(self.data[:8])
        with m.State("READABLE"):
            m.d.sync += count.eq(Mux(self.left[4:].any(), 16, self.left[:4]))
            m.next = "SOME"
        with m.State("SOME"):
            with m.If(self.stop):
                m.next = "LOOK"
            with m.Elif((count == 0) | self.malformed | self.command.enough):
                m.next = "NEXT"
            with m.Else():
                m.d.sync += [self.address.eq(self.address + 16), self.left.eq(self.left - count)]
                self._ask(m, self.address, count, "BYTES")
        with m.State("BYTES"):
            with self._answer(m):
                m.next = "FEED"
        with m.State("FEED"):
            m.d.comb += [self.command.bytes.valid.eq(1), self.shift.eq(1)]
            m.d.sync += count.eq(count - 1)
            with m.If(count == 1):
                m.next = "READABLE"

    def _reply(self, m, scatter):
        """The reply into the writable elements, which are read once more."""
        element = Descriptor(self.data)
        m.d.comb += [scatter.address.eq(element.address), scatter.length.eq(element.length)]
        with m.State("REFETCH"):
            m.next = "DRAIN"
            with m.If(~self.stop):
                self._ask(m, self.at.address, 16, "WRITABLE")
        with m.State("WRITABLE"):
            self._take(m, element)
            with self._answer(m, instead="DRAIN"):
                with m.If(element.flags.write):
                    m.d.comb += scatter.start.eq(1)
                    m.next = "SCATTER"
                with m.Else():
                    self._break(m)
        with m.State("SCATTER"):
            with m.If(scatter.ended):
                m.next = "PUBLISH"
            with m.Elif(scatter.full):
                m.d.sync += self.at.eq(self.beyond)
                m.next = "REFETCH"
                with m.If(self.last & ~self.stop):
                    self._break(m)
        with m.State("DRAIN"):
            m.d.comb += scatter.drain.eq(1)
            with m.If(scatter.ended):
                m.next = "LOOK"

    def _connect(self, m, scatter, used):
        m.d.comb += [
            self.read.eq(used.read), self.write.eq(Mux(used.write.valid, used.write.as_value(),
                                                       scatter.write.as_value())),
            scatter.stop.eq(self.stop), scatter.writing.eq(self.writing), used.stop.eq(self.stop),
            used.features.eq(self.features), used.msix_enable.eq(self.msix_enable), used.config.eq(self.config),
            used.answered.eq(self.answered), used.failed.eq(self.failed), used.data.eq(self.data),
            used.writing.eq(self.writing),
            used.buffer.first.eq(self.head), used.buffer.slots.eq(self.slots), used.buffer.id.eq(self.id),
            used.buffer.length.eq(self.length),
        ]
        m.d.sync += [
            self.length.eq(self.length + scatter.taken),
            self.owed.eq(self.command.execute | (self.owed & ~scatter.ended)),
        ]
        wiring.connect(m, wiring.flipped(self.command.reply), scatter.reply)
        wiring.connect(m, used.interrupts, wiring.flipped(self.interrupts))

    def _publish(self, m, used):
        with m.State("PUBLISH"):
            m.d.comb += used.start.eq(1)
            m.next = "USED"
        with m.State("USED"):
            with m.If(used.published):
                m.d.sync += [self.head.eq(self.after), self.kick.eq(1)]
            with m.If(used.error):
                self._break(m)
            with m.Elif(used.done):
                m.next = "LOOK"
