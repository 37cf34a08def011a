"""A driver that costs nothing and keeps the card as busy as it can be, on any number of queue pairs."""

import struct

from testbench.driver.framing import TOGETHER

__all__ = ["BATCH", "Arrivals", "Load", "datagram"]

BATCH = 32              # frames per doorbell, and receive buffers given back at a time
DISTINCT = 251          # frames sent in turn on a pair; a prime, so that they meet every ring position
PORT = 1024             # of the first flow
HEADERS = 14 + 20 + 8   # Ethernet, IPv4, UDP


class Arrivals:
    """A load whose frames come into the driver's hands. `arrived` is an event that is set whenever some have."""

    def __init__(self, platform):
        self._platform = platform
        self.arrived = platform.event()

    async def arrival(self, timeout_ns):
        """Until the next frames have come into the driver's hands, all that are seen at once. They come by the run, so
        what is counted from one arrival to another is whole runs. Gives up after `timeout_ns`."""
        self.arrived.clear()
        await self._platform.wait(self.arrived, timeout_ns)


class Load(Arrivals):
    """Keeps rings as full as they can be kept with whole batches, and compares every frame with what it had to be.

    Each pair has a flow of its own (UDP ports), so that a card that steers by flow brings a pair's frames back to it.
    Nothing comes from the wire before somebody receives, which is after every flow was sent once: a flow that the card
    sees sent moves to another queue, and frames keep their order only on one.
    With both directions at once neither runs far ahead of the other: a packet is one out and one in, and the faster
    direction would starve the other.

    Parameters
    ----------
    bench : Bench
    nic : Nic
    length : int
        bytes of a frame without FCS
    paired : bool
        both directions at once

    Attributes
    ----------
    sent, received : list of int
        frames of each pair's flow on the wire, and in the driver's hands
    """

    def __init__(self, bench, nic, length, *, paired):
        super().__init__(bench.platform)
        pairs = len(nic.transmitters)
        self.sent, self.received = [0] * pairs, [0] * pairs
        self._bench, self._nic, self._paired = bench, nic, paired
        self._fed = [0] * pairs
        self._next_fed = 0
        self._receives = False
        distinct = DISTINCT if pairs < 16 else 17
        self._frames = [[datagram(bench, pair, length) for _ in range(distinct)] for pair in range(pairs)]
        self._given = self._frames      # to the driver, in place of what leaves
        self._distinct = distinct
        self._ring = nic.transmitters[0].ring.size
        self._batch = min(BATCH, self._ring // 4)
        # Buffers that wait to be given back are not there for frames, and a frame takes at least a row of the FIFO.
        rows = bench.manifest["receive_fifo_bytes"] * 8 // bench.parameter("width")
        beats = -(-length * 8 // bench.parameter("width"))
        self._most = min(self._ring - 2 * self._batch, max(1, rows // beats // pairs))
        # Both ways at once: frames that may come in before as many have gone out, and frames that may be made available
        # before as many have come in. Enough of both for everything between driver and wire. The former are shared by
        # all pairs, or the faster direction would use them up for longer than is measured; a batch is left to each, as
        # frames of a pair leave by the run.
        self._ahead = max(BATCH, min(256, 48 + (32 << 10) // length) // pairs)
        self._lead = min(512, 96 + (64 << 10) // length)
        self._come_in = [bench.platform.event() for _ in range(pairs)]
        bench.mac.on_frame.append(self._on_wire)

    async def set_up(self):
        """What the driver tells the card before anything else."""

    async def teach(self):
        """Send a frame of each flow, so that the card knows where the flow comes from."""
        for pair, queue in enumerate(self._nic.transmitters):
            self._post(queue, [self._given[pair][0]])
            await queue.kick()
        while not all(self.sent):
            await self._bench.platform.sleep(100)

    async def transmit(self, pair):
        """For ever: as soon as there is room for a batch, make one available and ring."""
        queue, batch = self._nic.transmitters[pair], self._batch
        frames, distinct = self._given[pair], self._distinct
        posted = self.sent[pair]
        while True:
            while queue.room() < batch:
                await queue.wait_used()
            while self._paired and posted - self.received[pair] > self._lead:
                self._come_in[pair].clear()
                await self._come_in[pair].wait()
            self._post(queue, [frames[(posted + n) % distinct] for n in range(batch)])
            posted += batch
            await queue.kick()

    def _post(self, queue, frames):
        framing = self._nic.options.framing
        if framing is TOGETHER:
            queue.post_many(frames)
            return
        for frame in frames:
            assert queue.post(frame, framing)

    async def receive(self, pair):
        """For ever: as many frames under way as there are buffers for, or as fit into the receive FIFO."""
        self._receives = True
        self._feed()
        while True:
            for frame in await self._nic.receive_many(pair=pair):
                flow = self._check(frame, self.received)
                self._come_in[flow].set()
            self.arrived.set()
            self._feed()

    def _check(self, frame, counts):
        """Compare a frame with what its flow has next, and count it; returns the flow, which is the pair's number."""
        flow = struct.unpack_from(">H", frame, 34)[0] - PORT
        number = counts[flow]
        assert frame == self._frames[flow][number % self._distinct], f"frame {number} of flow {flow} is different"
        counts[flow] = number + 1
        return flow

    def _feed(self):
        """Frames from the wire, of all pairs in turn."""
        pairs, idle = len(self._fed), 0
        while idle < pairs:
            pair = self._next_fed
            self._next_fed = (pair + 1) % pairs
            if self._may_come(pair):
                self._bench.mac.send(self._frames[pair][self._fed[pair] % self._distinct])
                self._fed[pair] += 1
                idle = 0
            else:
                idle += 1

    def _may_come(self, pair):
        fed = self._fed[pair]
        return fed - self.received[pair] < self._most and not (self._paired and fed >= self.sent[pair] + self._ahead)

    def _on_wire(self, frame):
        self._check(frame.data, self.sent)
        self._bench.mac.captured.clear()
        if self._paired and self._receives:
            self._feed()


def datagram(bench, pair, length):
    """A UDP datagram of the pair's flow with random payload; checksums are left 0, as nobody looks at them."""
    ethernet = bytes.fromhex("020000000001020000000002") + b"\x08\x00"
    address = 0x0a000000 + pair
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, length - 14, 0, 0, 64, 17, 0, address, address ^ 0x00010000)
    udp = struct.pack(">HHHH", PORT + pair, 4789, length - 34, 0)
    return ethernet + ip + udp + bench.random.randbytes(length - HEADERS)
