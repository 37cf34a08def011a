"""A load that comes at a pace of its own, or as fast as it can, with the moment of every packet."""

from collections import deque

from testbench.system.load import Load

__all__ = ["PacedLoad"]


class PacedLoad(Load):
    """`Load`, that also notes when each packet was offered and when it was through.

    Transmitted packets are offered when the driver has made them available and rings, and are through with their first
    beat on the wire; received ones are offered when they are given to the MAC, and are through when the driver has seen
    their buffer used.

    Parameters
    ----------
    bench, nic, length : those of `Load`
    paired : bool
        both directions at once
    gap_ns : float or None
        a batch is offered so often on each pair, in each direction for itself; None keeps the card saturated

    Attributes
    ----------
    burst : int
        frames per batch
    through : dict of direction → list of (cycle, latency in cycles)
    """

    def __init__(self, bench, nic, length, *, paired, gap_ns=None):
        super().__init__(bench, nic, length, paired=paired and gap_ns is None)
        self._gap_ns = gap_ns
        self._offered = [[deque() for _ in self.sent] for _ in range(2)]
        self._left = 0
        self.burst = min(self._batch, max(1, self._most // 2))
        self.through = {"tx": [], "rx": []}

    async def transmit(self, pair):
        if self._gap_ns is None:
            return await super().transmit(pair)
        queue, posted = self._nic.transmitters[pair], self.sent[pair]
        due = self._bench.platform.now() + pair * self._gap_ns / len(self.sent)
        while True:
            await self._until(due)
            while queue.room() < self.burst:
                await queue.wait_used()
            self._post(queue, [self._frames[pair][(posted + n) % self._distinct] for n in range(self.burst)])
            posted += self.burst
            await queue.kick()
            due += self._gap_ns

    async def receive(self, pair):
        if self._gap_ns is None:
            return await super().receive(pair)
        self._bench.platform.spawn(self._feed_paced(pair))
        while True:
            for frame in await self._nic.receive_many(pair=pair):
                self._check(frame, self.received)

    async def _feed_paced(self, pair):
        due = self._bench.platform.now() + pair * self._gap_ns / len(self.sent)
        while True:
            await self._until(due)
            for _ in range(self.burst):
                if self._may_come(pair):
                    self._offer(pair)
            due += self._gap_ns

    async def _until(self, due):
        left = due - self._bench.platform.now()
        if left > 0:
            await self._bench.platform.sleep(left)

    def _offer(self, pair):
        self._bench.mac.send(self._frames[pair][self._fed[pair] % self._distinct])
        self._fed[pair] += 1
        self._offered[1][pair].append(self._bench.env.now)

    def _post(self, queue, frames):
        super()._post(queue, frames)
        pair = self._nic.transmitters.index(queue)
        self._offered[0][pair].extend([self._bench.env.now] * len(frames))

    def _feed(self):
        if self._gap_ns is not None:
            return
        before, now = list(self._fed), self._bench.env.now
        super()._feed()
        for pair, (then, fed) in enumerate(zip(before, self._fed)):
            self._offered[1][pair].extend([now] * (fed - then))

    def _on_wire(self, frame):
        self._left = frame.first
        super()._on_wire(frame)

    def _check(self, frame, counts):
        flow = super()._check(frame, counts)
        received = counts is self.received
        offered = self._offered[received][flow]
        if offered:
            now = self._bench.env.now if received else self._left
            self.through["rx" if received else "tx"].append((now, now - offered.popleft()))
        return flow
