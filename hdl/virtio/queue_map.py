"""Which engine a virtqueue belongs to.

Source: VIRTIO 1.4, section "Network Device / Virtqueues".
"""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Role", "QueuePlace", "QueueMap"]


class Role(enum.Enum, shape=2):
    """What a virtqueue is for."""
    RECEIVE = 0
    TRANSMIT = 1
    CONTROL = 2
    NONE = 3       # there is no such virtqueue


class QueuePlace(data.StructLayout):
    """Where a virtqueue is served. Fields: `function` PCI function; `role`; `index` local index in that role's engine,
    for receive and transmit the number of the pair."""

    def __init__(self, pair_bits):
        super().__init__({"function": 8, "role": Role, "index": pair_bits})


class QueueMap(wiring.Component):
    """Translates between a function's virtqueue index and the place that serves it. Combinational; nothing else in the
    card computes with virtqueue indices.

    Counted from 0, receiveq n is virtqueue 2n and transmitq n is 2n + 1. The control queue follows the last of them:
    it is virtqueue 2 * `pairs` with VIRTIO_NET_F_MQ or VIRTIO_NET_F_RSS, else virtqueue 2, and then there is only one
    pair. Without VIRTIO_NET_F_CTRL_VQ there is no control queue, and all pairs are kept.

    Parameters
    ----------
    pairs : int

    Attributes
    ----------
    control, multiqueue : In(1)
        negotiated: CTRL_VQ; MQ or RSS
    virtqueue : In(16) → place : Out(QueuePlace)
        `index` without meaning for NONE and CONTROL
    of_place : In(QueuePlace) → of_virtqueue : Out(queue_bits)
        of a queue that exists
    """

    def __init__(self, pairs):
        if pairs < 1:
            raise ValueError(f"there is at least 1 pair, not {pairs!r}")
        self.pairs = pairs
        self.pair_bits = max(1, (pairs - 1).bit_length())
        self.queue_bits = (2 * pairs).bit_length()
        self.place_shape = QueuePlace(self.pair_bits)
        super().__init__({
            "control": In(1),
            "multiqueue": In(1),
            "virtqueue": In(16),
            "place": Out(self.place_shape),
            "of_place": In(self.place_shape),
            "of_virtqueue": Out(self.queue_bits),
        })

    def elaborate(self, platform):
        m = Module()
        last = Signal(self.queue_bits)     # the control queue, or where it would be
        m.d.comb += [
            last.eq(Mux(self.control & ~self.multiqueue, 2, 2 * self.pairs)),
            self.place.function.eq(0),
            self.place.index.eq(self.virtqueue[1:]),
            self.of_virtqueue.eq(Mux(self.of_place.role == Role.CONTROL, last,
                                     Cat(self.of_place.role == Role.TRANSMIT, self.of_place.index))),
        ]
        with m.If(self.virtqueue == last):
            m.d.comb += self.place.role.eq(Mux(self.control, Role.CONTROL, Role.NONE))
        with m.Elif(self.virtqueue > last):
            m.d.comb += self.place.role.eq(Role.NONE)
        with m.Else():
            m.d.comb += self.place.role.eq(Mux(self.virtqueue[0], Role.TRANSMIT, Role.RECEIVE))
        return m
