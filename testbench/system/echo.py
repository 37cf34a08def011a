"""Frames out, around at the MAC and in again, never more under way than the card has room for."""

from testbench.system.latency import LatencyProbe

__all__ = ["Echo", "echo_counted", "may_lose"]

STUCK_NS = 1_000_000    # with frames under way and none coming back


def may_lose(bench):
    """Whether the host is so slow that no buffer is known for longer than the card keeps a frame waiting."""
    return bench.settings["profile"] == "e3-tail"


async def echo_counted(bench, nic, frames, *, batch):
    """Send `frames` and receive them back, but for those that the card says it had no buffer for, on a slow host."""
    run = Echo(bench, nic, batch=batch, may_lose=may_lose(bench))
    await run.run(frames)
    assert run.lost == await bench.counter("receive.drop.no_buffer")


class Echo:
    """
    Parameters
    ----------
    bench : Bench
    nic : Nic
        started
    batch : int
        most frames per doorbell; fewer as long as there is no room for more, since waiting for it costs rate
    may_lose : bool
        a host so slow that no buffer is known for longer than the card keeps a frame waiting may lose some

    Attributes
    ----------
    lost : int
        frames that did not come back
    probe : LatencyProbe
    received_at : list of float
        ns from the start of `run` at which the driver took each frame
    """

    def __init__(self, bench, nic, *, batch=32, may_lose=False):
        self._bench = bench
        self._nic = nic
        self._batch = batch
        self._may_lose = may_lose
        self.lost = 0
        self._transmit, self._receive = nic.transmitters[0], nic.receivers[0]
        self.probe = LatencyProbe(bench, self._transmit.doorbell_at)
        self.received_at = []
        self._news = bench.platform.event()
        self._row = bench.parameter("width") // 8
        # Receive buffers that wait to be given back are not there for frames.
        self._most_frames = max(1, self._receive.ring.size - 2 * nic.options.refill_batch)
        self._most_bytes = bench.manifest["receive_fifo_bytes"]

    async def run(self, frames, times=None):
        """Send `frames` in order and receive them back; with `times`, none before its time (ns from the start).

        Raises `AssertionError` for a frame that comes back different, or not at all.
        """
        bench = self._bench
        bench.mac.loopback = True
        self._frames = frames
        self._sizes = [-(-len(frame) // self._row) * self._row for frame in frames]
        self._posted = self._bytes = 0
        self._began = bench.platform.now()
        collector = bench.platform.spawn(self._collect())
        while self._posted < len(frames):
            count = self._fitting()
            if times is not None:
                count = await self._due(count, times)
            if not count:
                await self._wait()
                continue
            await self._post(count)
        await collector
        await self._nic.flush(timeout_ns=STUCK_NS)

    def _fitting(self):
        """How many of the next frames the card has room for, at most a batch."""
        room = self._most_frames - (self._posted - len(self.received_at))
        count, size = 0, self._bytes
        for length in self._sizes[self._posted:self._posted + min(self._batch, max(0, room))]:
            size += length
            if size > self._most_bytes:
                break
            count += 1
        return count

    async def _due(self, count, times):
        """Those of the next `count` frames whose time has come; waits for the first of them."""
        now = self._now()
        if count and times[self._posted] > now:
            await self._bench.platform.sleep(times[self._posted] - now)
            now = times[self._posted]
        return sum(times[self._posted + n] <= now for n in range(count))

    def _now(self):
        return self._bench.platform.now() - self._began

    async def _wait(self):
        """Until there may be more room."""
        self._news.clear()
        await self._news.wait()

    async def _post(self, count):
        queue = self._transmit
        while queue.room() < count:
            await queue.wait_used(STUCK_NS)
        first, end = self._posted, self._posted + count
        queue.post_many(self._frames[first:end])
        self._bytes += sum(self._sizes[first:end])
        self._posted = end
        if queue.ring.doorbell_wanted():
            self.probe.announce(first, end)
        await queue.kick()

    async def _collect(self):
        while len(self.received_at) < len(self._frames):
            before = len(self.received_at), self._posted
            try:
                batch = await self._nic.receive_many(timeout_ns=STUCK_NS)
            except TimeoutError:
                if self._may_lose and before[1] == self._posted:
                    self._give_up(self._posted)
                    self._news.set()
                    continue
                assert before[0] == before[1] or before[1] != self._posted, (
                    f"frame {before[0] + 1} of {len(self._frames)} did not come back within {STUCK_NS // 1000} µs")
                continue
            for frame in batch:
                if self._may_lose and frame in self._frames[len(self.received_at):self._posted]:
                    self._give_up(self._frames.index(frame, len(self.received_at)))
                number = len(self.received_at)
                assert number < self._posted and frame == self._frames[number], (
                    f"frame {number + 1} of {len(self._frames)} came back different: {len(frame)} bytes, "
                    f"{len(self._frames[number])} were sent")
                self._bytes -= self._sizes[number]
                self.received_at.append(self._now())
            self._news.set()

    def _give_up(self, end):
        """Frames before number `end` don't come any more."""
        while len(self.received_at) < end:
            self.lost += 1
            self._bytes -= self._sizes[len(self.received_at)]
            self.received_at.append(self._now())
