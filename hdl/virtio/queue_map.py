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


class QueuePlace(data.StructLayout):
    """Where a virtqueue is served. Fields: `function` PCI function; `role`; `index` local index in that role's engine,
    for receive and transmit the number of the pair."""

    def __init__(self, pair_bits):
        super().__init__({"function": 8, "role": Role, "index": pair_bits})


class QueueMap(wiring.Component):
    """Translates between a function's virtqueue index and the place that serves it: receiveq n is virtqueue 2n,
    transmitq n is 2n + 1, counted from 0. Combinational; nothing else in the card computes with virtqueue indices.

    Parameters
    ----------
    pairs : int

    Attributes
    ----------
    virtqueue : In(queue_bits) → place : Out(QueuePlace)
    of_place : In(QueuePlace) → of_virtqueue : Out(queue_bits)
    """

    def __init__(self, pairs):
        if pairs < 1:
            raise ValueError(f"there is at least 1 pair, not {pairs!r}")
        self.pairs = pairs
        self.pair_bits = max(1, (pairs - 1).bit_length())
        self.queue_bits = max(1, (2 * pairs - 1).bit_length())
        self.place_shape = QueuePlace(self.pair_bits)
        super().__init__({
            "virtqueue": In(self.queue_bits),
            "place": Out(self.place_shape),
            "of_place": In(self.place_shape),
            "of_virtqueue": Out(self.queue_bits),
        })

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.place.function.eq(0),
            self.place.role.eq(Mux(self.virtqueue[0], Role.TRANSMIT, Role.RECEIVE)),
            self.place.index.eq(self.virtqueue[1:]),
            self.of_virtqueue.eq(Cat(self.of_place.role == Role.TRANSMIT, self.of_place.index)),
        ]
        return m
