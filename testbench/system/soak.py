"""Traffic for a long time with a driver that falls asleep again and again, and that nobody wakes but the card."""

import struct
from collections import deque

__all__ = ["Soak"]

STANDS_NS = 500_000     # in which something happens on a card with work to do: more than any pause or coalescing
PORT = 1024             # of the first pair's flow
HEADERS = 14 + 20 + 8   # Ethernet, IPv4, UDP
LENGTHS = ((60, 60), (60, 130), (60, 1514), (1514, 1514))


class Soak:
    """So many frames on each pair in each direction, at random times and of random lengths, while the driver naps.

    Nothing here waits with a time-out. The frames under way are few enough for the buffers that the card knows of and
    for its receive FIFO, so that none may be lost; and when they are as many as may be, only an interrupt or a doorbell
    goes on. So one that is lost makes a pair stand still, and that is an error.

    Parameters
    ----------
    bench : Bench
    nic : Nic
        with active pairs and a control queue
    count : int
        frames of each pair in each direction

    Attributes
    ----------
    delivered : int
        frames compared so far
    """

    def __init__(self, bench, nic, count):
        self.delivered = 0
        self._bench, self._nic, self._count = bench, nic, count
        self._random, self._sleep = bench.random, bench.platform.sleep
        pairs = len(nic.receivers)
        self._out, self._in = [deque() for _ in range(pairs)], [deque() for _ in range(pairs)]
        self._received = [0] * pairs
        self._bytes_in = 0
        # Buffers of each pair that the card knows of and that no frame was sent for. What waits to be given back, or
        # for its doorbell, is not there.
        self._known = [max(1, nic.receivers[0].ring.size - 2 * nic.options.refill_batch)] * pairs
        self._most_bytes_in = bench.manifest["receive_fifo_bytes"] // 2
        self._room_in = bench.platform.event()

    async def run(self):
        """Raises `AssertionError` when nothing goes on any more."""
        mac, spawn = self._bench.mac, self._bench.platform.spawn
        mac.on_frame.append(self._on_wire)
        await self._teach()
        pairs = range(len(self._received))
        traffic = [spawn(part(pair)) for part in (self._write, self._read, self._arrive) for pair in pairs]
        tasks = [*traffic, spawn(self._change_coalescing(traffic))]
        before = None
        while not all(task.done() for task in tasks):
            progress = self.delivered, self._nic.statistics["used"]
            assert progress != before, f"nobody woke up: {await self._state()}"
            before = progress
            await self._sleep(STANDS_NS)
        await self._bench.settle()
        assert not any(self._out) and not any(self._in), f"frames are missing: {await self._state()}"
        mac.on_frame.remove(self._on_wire)

    async def _state(self):
        nic = self._nic
        return ", ".join([
            f"{self.delivered} frames delivered, {nic.statistics['used']} buffers used",
            f"on the way out {[len(frames) for frames in self._out]}, in {[len(frames) for frames in self._in]}",
            f"transmit buffers in flight {[queue.ring.in_flight for queue in nic.transmitters]}",
            f"without a buffer {await self._bench.counter('receive.drop.no_buffer')}"])

    async def _teach(self):
        """A frame of each flow, so that the card knows where the flow comes from."""
        for pair in range(len(self._out)):
            await self._nic.send(self._outgoing(pair), pair=pair)
        while any(self._out):
            await self._sleep(100)

    def _frame(self, pair):
        """A frame of the pair's flow."""
        length = self._random.randint(*self._random.choice(LENGTHS))
        address = 0x0a000000 + pair
        ip = struct.pack(">BBHHHBBHII", 0x45, 0, length - 14, 0, 0, 64, 17, 0, address, address ^ 0x00010000)
        udp = struct.pack(">HHHH", PORT + pair, 4789, length - 34, 0)
        return (bytes.fromhex("020000000001020000000002") + b"\x08\x00" + ip + udp
                + self._random.randbytes(length - HEADERS))

    def _outgoing(self, pair):
        self._out[pair].append(self._frame(pair))
        return self._out[pair][-1]

    def _take(self, frame, expected):
        """The next frame of its flow has come; returns the flow, which is the pair's number."""
        flow = struct.unpack_from(">H", frame, 34)[0] - PORT
        assert frame == expected[flow].popleft(), f"a frame of flow {flow} is not the next one"
        self.delivered += 1
        return flow

    def _on_wire(self, frame):
        self._take(frame.data, self._out)
        self._bench.mac.captured.clear()

    async def _write(self, pair):
        """Bursts of all lengths with pauses, and now and then the wish to see everything sent."""
        left, choice = self._count, self._random.choice
        while left:
            burst = min(left, choice((1, 1, 3, 16, 64, 200)))
            left -= burst
            await self._nic.send_many([self._outgoing(pair) for _ in range(burst)], pair=pair, batch=choice((1, 4, 32)))
            if self._random.random() < 0.2:
                await self._nic.flush(pair=pair)
            await self._sleep(choice((0, 0, 200, 2000, 10_000)))
        await self._nic.flush(pair=pair)

    async def _arrive(self, pair):
        """The wire's side: bursts with pauses, as many as fit."""
        left, choice = self._count, self._random.choice
        while left:
            for _ in range(min(left, choice((1, 5, 30, 150)))):
                frame = self._frame(pair)
                while not self._known[pair] or self._bytes_in + len(frame) > self._most_bytes_in:
                    self._room_in.clear()
                    await self._room_in.wait()
                self._in[pair].append(frame)
                self._known[pair] -= 1
                self._bytes_in += len(frame)
                self._bench.mac.send(frame)
                left -= 1
            await self._sleep(choice((0, 0, 200, 2000, 10_000)))

    async def _read(self, pair):
        while self._received[pair] < self._count:
            frames = await self._nic.receive_many(pair=pair)
            for frame in frames:
                self._received[self._take(frame, self._in)] += 1
                self._bytes_in -= len(frame)
            # A doorbell may be on its way for long, behind what the card has read; nothing that is read passes it.
            await self._nic.virtio.read("device_status")
            self._known[pair] += len(frames)
            self._room_in.set()
            await self._sleep(self._random.choice((0, 0, 0, 500, 3000)))

    async def _change_coalescing(self, traffic):
        """Other parameters now and then, of a direction or of a queue."""
        choice, control = self._random.choice, self._nic.control
        while not all(task.done() for task in traffic):
            parameters = choice((0, 2, 16, 64)), choice((0, 5, 20, 80))
            if choice((True, False)):
                await control.set_coalescing(choice(("rx", "tx")), *parameters)
            else:
                await control.set_queue_coalescing(self._random.randrange(2 * len(self._received)), *parameters)
            await self._sleep(self._random.expovariate(1 / 40_000))
