"""Frames of many random flows, which receive side scaling spreads over all queues."""

import struct

from model.offloads_hash import HashConfig, scaled_queue

from .load import BATCH, Arrivals, datagram
from .load_offload import ALL_TYPES

__all__ = ["ScatteredLoad"]

FLOWS = 4096
ADDRESSES_AT, PORTS_AT = 26, 34


class ScatteredLoad(Arrivals):
    """Keeps the card as busy as it can be with received frames, each of a random flow: random addresses and ports. The
    table has as many entries for each pair; each frame is compared, on the queue and at the place where it had to come.

    Parameters
    ----------
    bench, nic, length, paired : as for `Load`; `paired` is not for this

    Attributes
    ----------
    sent, received : list of int
        frames of each pair, none sent
    """

    def __init__(self, bench, nic, length, *, paired):
        assert not paired, "frames only come"
        super().__init__(bench.platform)
        pairs = len(nic.receivers)
        self.sent, self.received = [0] * pairs, [0] * pairs
        self._bench, self._nic, self._fed = bench, nic, 0
        self._config = HashConfig(ALL_TYPES, bench.random.randbytes(40), tuple(n % pairs for n in range(128)))
        self._frames = [self._frame(length) for _ in range(FLOWS)]
        self._wanted = [[] for _ in range(pairs)]
        for frame in self._frames:
            self._wanted[scaled_queue(frame, self._config)].append(frame)
        rows = bench.manifest["receive_fifo_bytes"] * 8 // bench.parameter("width")
        # As many as any queue has buffers for, if all of them were its own.
        self._most = min(nic.receivers[0].ring.size - 2 * BATCH, rows // -(-length * 8 // bench.parameter("width")))

    def _frame(self, length):
        frame = bytearray(datagram(self._bench, 0, length))
        frame[ADDRESSES_AT:ADDRESSES_AT + 8] = self._bench.random.randbytes(8)
        struct.pack_into(">HH", frame, PORTS_AT, *(self._bench.random.randrange(1024, 65536) for _ in range(2)))
        return bytes(frame)

    async def set_up(self):
        config = self._config
        await self._nic.set_scaling(config.table, types=config.types, key=config.key)

    async def teach(self):
        """Flows need not be known before."""

    async def receive(self, pair):
        wanted = self._wanted[pair]
        self._feed()
        while True:
            for frame in await self._nic.receive_many(pair=pair):
                number = self.received[pair]
                assert frame == wanted[number % len(wanted)], f"frame {number} of queue {pair} is different"
                self.received[pair] = number + 1
            self.arrived.set()
            self._feed()

    async def transmit(self, pair):
        raise NotImplementedError("frames only come")

    def _feed(self):
        while self._fed - sum(self.received) < self._most:
            self._bench.mac.send(self._frames[self._fed % FLOWS])
            self._fed += 1
