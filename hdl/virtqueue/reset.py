"""Reset of one queue, while all others work.

Source: VIRTIO 1.4, sections "Virtqueue Reset", "Virtqueue Re-enable".
"""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .spec import Pulse

__all__ = ["QueueReset", "StageReset"]


class StageReset(wiring.Signature):
    """Between `QueueReset` (as whose output it is written) and a stage.

    queue : Out(queue_bits)
        the one in question
    quiet : In(1)
        the stage has nothing of the queue inside, and nothing under way that it began
    forget : Out(1)
        held until `forgotten`: give the queue its initial state. Nothing of it is inside
    forgotten : In(1)
        it is done in this cycle
    """

    def __init__(self, queue_bits):
        super().__init__({"queue": Out(queue_bits), "quiet": In(1), "forget": Out(1), "forgotten": In(1)})


class QueueReset(wiring.Component):
    """Takes one queue out of use, step by step.

    - *Close*: no chain of the queue is begun any more, and no interrupt asked for. Chains that have been begun are read
      or filled to their end, and used: for that descriptors are still fetched.
    - *Disable*, once `walkers` are quiet: nothing is fetched for the queue any more. What is under way comes back.
    - *Silence*, once all stages are quiet: interrupts that were asked for before are on their way, until `silent`.
    - *Forget*: each stage initialises the queue's state, in a cycle in which it writes no other.

    A stage counts as quiet after `settle` cycles in a row, which covers what is between two stages. A `request` is
    taken when all is done. A reset of the device, which initialises all queues, resets this block too.

    Parameters
    ----------
    queue_bits : int
    walkers, stages : iterables of str
        names of the stages that chains are counted by, and of the others
    settle : int

    Attributes
    ----------
    request : stream in
        number of a queue
    silent : In(1)
        no interrupt is between the engine and the host
    closed, disabled : Out(Pulse)
        held while it applies: this queue is not to be begun; not to be fetched for
    <name> : Out(StageReset)
    """

    def __init__(self, queue_bits, *, walkers, stages, settle=16):
        self.queue_bits = queue_bits
        self.walkers = tuple(walkers)
        self.stages = (*self.walkers, *stages)
        self.settle = settle
        super().__init__({
            "request": In(stream.Signature(queue_bits)),
            "silent": In(1),
            "closed": Out(Pulse(queue_bits)), "disabled": Out(Pulse(queue_bits)),
            **{name: Out(StageReset(queue_bits)) for name in self.stages},
        })

    def elaborate(self, platform):
        m = Module()
        queue, pending = Signal(self.queue_bits), Signal(len(self.stages))      # stages that have not forgotten it
        calm, settled = Signal(range(self.settle + 1)), Signal()
        ports = [getattr(self, name) for name in self.stages]
        quiet = Cat(port.quiet for port in ports)
        m.d.comb += [
            settled.eq(calm == self.settle),
            self.closed.queue.eq(queue), self.disabled.queue.eq(queue),
        ]
        for n, port in enumerate(ports):
            m.d.comb += [port.queue.eq(queue), port.forget.eq(pending[n])]

        def wait(quiet):
            m.d.sync += calm.eq(Mux(quiet & ~settled, calm + 1, 0))

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [queue.eq(self.request.payload), calm.eq(0)]
                with m.If(self.request.valid):
                    m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += self.closed.valid.eq(1)
                wait(quiet[:len(self.walkers)].all())
                with m.If(settled):
                    m.next = "DISABLE"
            with m.State("DISABLE"):
                m.d.comb += [self.closed.valid.eq(1), self.disabled.valid.eq(1)]
                wait(quiet.all())
                with m.If(settled):
                    m.next = "SILENCE"
            with m.State("SILENCE"):
                with m.If(self.silent):
                    m.d.sync += pending.eq(~0)
                    m.next = "FORGET"
            with m.State("FORGET"):
                left = pending & ~Cat(port.forgotten for port in ports)
                m.d.sync += pending.eq(left)
                with m.If(pending == 0):
                    m.d.comb += self.request.ready.eq(1)
                    m.next = "IDLE"
        return m
