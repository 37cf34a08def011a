"""Which receive queue a frame goes to."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["Steer"]


class Steer(wiring.Component):
    """Chooses receiveq1 for every frame: what a driver gets that has not asked for more queues.

    (VIRTIO 1.4, "Automatic receive steering in multiqueue mode".) Receive side scaling takes its place here.

    Parameters
    ----------
    pair_bits : int
        bits of a queue's local index

    Attributes
    ----------
    queue : Out(pair_bits)
        valid in the cycle in which a frame is committed
    """

    def __init__(self, pair_bits):
        super().__init__({"queue": Out(pair_bits)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.queue.eq(0)
        return m
