"""Publishing a used buffer of the control virtqueue, and the interrupt for it."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..virtqueue.spec import Descriptor, EngineFeatures, EventFlags, EventSuppression, QueueConfig
from .control_memory import MemoryRead, MemoryWrite
from .control_spec import ControlInterrupt, UsedBuffer

__all__ = ["ControlUsed"]


class ControlUsed(wiring.Component):
    """Writes length, id and flags of the used descriptor in one piece; when that has its place in the posted order,
    reads Driver Event Suppression, once, and interrupts unless it says DISABLE, or, with VIRTIO_F_EVENT_IDX, DESC of
    a slot that is not among the buffer's. No vector while MSI-X is enabled: nothing is read.

    While `stop` nothing is begun; what has been begun is awaited.

    Attributes
    ----------
    start : In(1)
        pulse; `buffer` is constant from then to `done`, but for `first` after `published`
    buffer : In(UsedBuffer)
    published : Out(1), done : Out(1)
        pulses
    error : Out(1)
        with `done`: the read failed
    stop : In(1)
    features, config, msix_enable : In
    read, answered, failed, data, write, writing
        of `ControlMemory`
    interrupts : stream of ControlInterrupt out
    """

    start: In(1)
    buffer: In(UsedBuffer)
    published: Out(1)
    done: Out(1)
    error: Out(1)
    stop: In(1)
    features: In(EngineFeatures)
    config: In(QueueConfig)
    msix_enable: In(1)
    read: Out(MemoryRead)
    answered: In(1)
    failed: In(1)
    data: In(128)
    write: Out(MemoryWrite)
    writing: In(1)
    interrupts: Out(stream.Signature(ControlInterrupt))

    def elaborate(self, platform):
        m = Module()
        used, buffer = Signal(Descriptor), self.buffer
        wrap = buffer.first.wrap
        m.d.comb += [
            used.length.eq(buffer.length), used.id.eq(buffer.id), used.flags.write.eq(buffer.length != 0),
            used.flags.avail.eq(wrap), used.flags.used.eq(wrap),
            self.write.address.eq(buffer.first.address | 8), self.write.data.eq(used.as_value()[64:]),
            self.write.two.eq(1),
            self.read.address.eq(self.config.driver), self.read.length.eq(4),
            self.interrupts.payload.vector.eq(self.config.vector),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(self.stop):
                    self._end(m)
                with m.Elif(~self.writing):
                    m.d.comb += self.write.valid.eq(1)
                    m.next = "WRITTEN"
            self._ask(m)
        return m

    def _end(self, m):
        m.d.comb += self.done.eq(1)
        m.next = "IDLE"

    def _ask(self, m):
        wishes = EventSuppression(self.data[:EventSuppression.as_shape().size])
        # How far behind the buffer's first slot the one lies that the driver wants to hear of.
        distance, covered, first = Signal(signed(18)), Signal(), Signal.like(self.buffer.first)
        m.d.comb += covered.eq((distance >= 0) & (distance < self.buffer.slots))
        with m.State("WRITTEN"):
            m.d.sync += first.eq(self.buffer.first)
            with m.If(self.stop):
                self._end(m)
            with m.Elif(~self.writing):
                m.d.comb += self.published.eq(1)
                with m.If(self.msix_enable & self.config.vector[11]):
                    self._end(m)
                with m.Else():
                    m.d.comb += self.read.valid.eq(1)
                    m.next = "WISHES"
        with m.State("WISHES"):
            # `first.left` is the ring's size less the slot's index.
            m.d.sync += distance.eq(wishes.offset + first.left
                                    - Mux(wishes.wrap == first.wrap, self.config.size, 0))
            with m.If(self.answered):
                m.next = "JUDGE"
                with m.If(self.stop | self.failed):
                    m.d.comb += self.error.eq(~self.stop)
                    self._end(m)
        with m.State("JUDGE"):
            with m.If((wishes.flags == EventFlags.DISABLE) | self.stop
                      | ((wishes.flags == EventFlags.DESC) & self.features.event_index & ~covered)):
                self._end(m)
            with m.Else():
                m.next = "INTERRUPT"
        with m.State("INTERRUPT"):
            m.d.comb += self.interrupts.valid.eq(1)
            with m.If(self.interrupts.ready):
                self._end(m)
