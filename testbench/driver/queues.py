"""Receive and transmit queues of the network driver: virtqueues with buffers."""

from itertools import islice

from model import formats
from testbench.driver.area import Area
from testbench.driver.framing import TOGETHER
from testbench.driver.offload import NO_OFFLOAD
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.receive_header import ReceiveHeader
from testbench.driver.virtqueue import Virtqueue

__all__ = ["ReceiveQueue", "TransmitQueue"]


class BufferQueue(Virtqueue):
    """A virtqueue with buffers of its own: `count` of `buffer_bytes` each, under `name` in the host's statistics."""

    def _allocate(self, name, buffer_bytes, count):
        align = self._options.buffer_align
        stride = -(-buffer_bytes // align) * align
        area = Area(self._host, stride * count, name, align=align)
        self._areas.append(area)
        self._buffers = [area.address + stride * i for i in range(count)]
        self._views = [area.view[stride * i:stride * i + buffer_bytes] for i in range(count)]


class TransmitQueue(BufferQueue):
    """Frames on their way out, none longer than `frame_bytes`, and packets to be segmented, none longer than
    `packet_bytes`. `slack` bytes of each buffer are for framings that leave gaps."""

    def __init__(self, nic, index, size, *, header_bytes, frame_bytes, packet_bytes, slack):
        super().__init__(nic, index, size)
        self._allocate("tx", header_bytes + max(frame_bytes, packet_bytes) + slack, size)
        self.interrupt_after = nic.options.transmit_interrupt_after
        self._header_bytes = header_bytes
        self._frame_bytes, self._packet_bytes = frame_bytes, packet_bytes
        self._free = list(reversed(range(size)))

    def reclaim(self):
        """Take back the buffers of frames that are sent."""
        done = self.ring.collect()
        self._statistics["used"] += len(done)
        for number, _ in done:
            self._free.append(number)

    def room(self):
        """Frames of one descriptor that fit now."""
        if self.ring.free < max(1, self.ring.size // 2) or not self._free:
            self.reclaim()
        return min(self.ring.free, len(self._free))

    def post(self, frame, framing, offload=NO_OFFLOAD):
        """Make a frame available, without ringing; False if there is no room for it now."""
        self.check_open()
        data = offload.header(self._header_bytes) + frame
        self._check(frame, offload)
        if framing.room(len(data)) > len(self._views[0]):
            raise DriverError(f"{framing} needs {framing.room(len(data))} bytes, a buffer has {len(self._views[0])}")
        pieces = framing.place(0, len(data))
        if len(pieces) > self.ring.size:
            raise DriverError(f"{len(pieces)} elements in a ring of {self.ring.size}")
        slots = self.ring.slots(len(pieces))
        if self.room() == 0 or slots > self.ring.free:
            self.reclaim()
            if not self._free or slots > self.ring.free:
                return False
        number = self._free.pop()
        view, base = self._views[number], self._buffers[number]
        for at, first, end in pieces:
            view[at:at + end - first] = data[first:end]
        self.ring.add([(base + at, end - first, False) for at, first, end in pieces], number)
        self._count([frame])
        return True

    def post_many(self, frames, offload=NO_OFFLOAD):
        """Make frames of one descriptor each available, without ringing; the caller knows that there is `room`."""
        numbers = [self._free.pop() for _ in frames]
        header, lengths = offload.header(self._header_bytes), []
        for number, frame in zip(numbers, frames):
            self._check(frame, offload)
            data = header + frame
            self._views[number][:len(data)] = data
            lengths.append(len(data))
        self.ring.add_batch([self._buffers[number] for number in numbers], lengths, False, numbers)
        self._count(frames)

    def _check(self, frame, offload=NO_OFFLOAD):
        least, most = formats.ETHERNET_HEADER, self._packet_bytes if offload.gso_type else self._frame_bytes
        if not least <= len(frame) <= most:
            raise DriverError(f"frame of {len(frame)} bytes, {least} to {most} can be sent")

    def _count(self, frames):
        self._statistics["tx_frames"] += len(frames)
        self._statistics["tx_bytes"] += sum(map(len, frames))

    async def send(self, frame, framing, offload=NO_OFFLOAD):
        while not self.post(frame, framing, offload):
            await self.wait_used()
        await self.kick()

    async def send_many(self, frames, framing, batch):
        """Send all of `frames`, a doorbell after each `batch` and whenever the ring is full."""
        frames = iter(frames)
        while chunk := list(islice(frames, batch)):
            while chunk:
                posted = self._post_some(chunk, framing)
                chunk = chunk[posted:]
                if posted:
                    await self.kick()
                if chunk:
                    await self.wait_used()

    def _post_some(self, frames, framing):
        """Post as many of `frames` as fit, and tell how many."""
        if framing is TOGETHER:
            count = min(self.room(), len(frames))
            if count:
                self.post_many(frames[:count])
            return count
        for count, frame in enumerate(frames):
            if not self.post(frame, framing):
                return count
        return len(frames)

    async def flush(self, timeout_ns=None):
        """Until the device has used all that was sent."""
        self.reclaim()
        while self.ring.in_flight:
            await self.wait_used(timeout_ns)
            self.reclaim()


class ReceiveQueue(BufferQueue):
    """Buffers for frames on their way in, and frames not yet asked for. A frame has one buffer, or with `mergeable` as
    many as it needs."""

    def __init__(self, nic, index, size, *, header_bytes, buffer_bytes, mergeable):
        framing = nic.options.receive_framing
        self._pieces = framing.place(0, buffer_bytes)
        if len(self._pieces) > size:
            raise DriverError(f"receive buffers of {len(self._pieces)} elements in a ring of {size}")
        super().__init__(nic, index, size)
        count = size // self.ring.slots(len(self._pieces))
        if nic.options.receive_buffers is not None:
            count = min(count, nic.options.receive_buffers)
        self._allocate("rx", framing.room(buffer_bytes), count)
        self._length = buffer_bytes
        self._header = ReceiveHeader(nic.virtio.features)
        self._mergeable = mergeable
        self._idle = list(range(count))         # buffers that the device doesn't have
        # Idle buffers at which to refill: early enough for the device to keep most of them.
        self._refill_at = max(1, min(nic.options.refill_batch, count // 4))
        self.refill()

    def refill(self):
        """Make all idle buffers available; the caller rings."""
        numbers, self._idle = self._idle, []
        if len(self._pieces) == 1:
            at = self._pieces[0][0]
            self.ring.add_batch([self._buffers[number] + at for number in numbers], [self._length] * len(numbers),
                                True, numbers)
            return
        for number in numbers:
            base = self._buffers[number]
            self.ring.add([(base + at, end - first, True) for at, first, end in self._pieces], number)

    def collect(self, limit=None):
        """Frames that have come, at most `limit`; their buffers are idle then."""
        frames = []
        if self._mergeable:
            while (limit is None or len(frames) < limit) and (done := self._collect(1)):
                frames.append(self._merge(*done[0]))
        else:
            frames = [self._frame(*used) for used in self._collect(limit)]
        self._statistics["rx_frames"] += len(frames)
        self._statistics["rx_bytes"] += sum(map(len, frames))
        return frames

    def _collect(self, limit):
        done = self.ring.collect(limit)
        self._statistics["used"] += len(done)
        self._idle += [number for number, _ in done]
        return done

    def _merge(self, number, written):
        """A frame that begins in this buffer: when the first of its buffers is used, all are."""
        head = self._bytes(number, written)
        count = int.from_bytes(head[10:12], "little")
        rest = self._collect(count - 1) if count > 1 else []
        if len(rest) < count - 1:
            raise DeviceError(f"packet of {count} buffers in queue {self.index}, of which {1 + len(rest)} are used")
        for before in [(number, written), *rest][:-1]:
            if before[1] != self._length:
                raise DeviceError(f"buffer of {self._length} bytes in queue {self.index} with {before[1]}, "
                                  "and its packet goes on")
        self._statistics["rx_merged"] += count > 1
        return self._header.frame(b"".join([head, *(self._bytes(*used) for used in rest)]), self.index, count)

    def _frame(self, number, written):
        return self._header.frame(self._bytes(number, written), self.index)

    def _bytes(self, number, written):
        """What was written into a buffer."""
        view = self._views[number]
        if len(self._pieces) == 1:
            at = self._pieces[0][0]
            return bytes(view[at:at + written])
        return b"".join(view[at:at + end - first] for at, first, end in self._pieces)[:written]

    async def receive_many(self, limit, timeout_ns):
        """1 to `limit` frames."""
        await self.wait_used(timeout_ns)
        return await self.take(limit)

    async def take(self, limit):
        """The frames that are there, up to `limit`; buffers go back to the device if it is time."""
        frames = self.collect(limit)
        if len(self._idle) >= self._refill_at:
            self.refill()
            await self.kick()
        return frames
