"""Random chains and headers from the driver: what leaves the wire is what the functional card makes of them."""

import math
from dataclasses import dataclass, field
from functools import partial

from model import formats
from model.formats import Feature, GsoType, StatisticType, Status
from model.offload import LONGEST_PACKET, MalformedPacket, frames_of
from testbench.driver.area import Area
from testbench.system.fuzz_packets import Packets, TransmitPacket
from testbench.system.fuzz_session import Disagreement, Session, draw_features

__all__ = ["TransmitSession"]

F = Feature
LIKELY = (F.NET_CSUM, F.NET_HOST_TSO4, F.NET_HOST_TSO6, F.NET_HOST_USO, F.NET_MQ, F.NET_CTRL_VQ, F.INDIRECT_DESC)
AREA = 1 << 20                  # bytes in which the elements of a batch lie
BATCH_BYTES = 150_000
INTERRUPT_NS = 100_000
FRAMES, BYTES, MALFORMED, FAILED = ("transmit.frames", "transmit.bytes", "transmit.drop.malformed",
                                    "transmit.drop.read_error")
WILD = 0xdead_beef_0000         # nothing is there


@dataclass
class Sent:
    """A packet of a batch at `base` in the area, and the `frames` that are to leave. Of one that is found bad only when
    segments of it have left, those are some of the first of `early`."""
    number: int
    pair: int
    packet: TransmitPacket
    base: int
    frames: list = field(default_factory=list)
    early: list = field(default_factory=list)

    def __str__(self):
        return f"packet {self.number} on pair {self.pair}, {self.packet}"


class TransmitSession(Session):
    """Batches of packets on all pairs at once. The last one may be something that only a reset mends."""
    counted = (FRAMES, BYTES, MALFORMED, FAILED)

    async def run(self, told):
        """`told(number)` before each batch."""
        await self._begin()
        ends_badly = self._rng.random() < 0.8
        while self.number < self.end - ends_badly:
            told(self.number)
            await self._exchange(self._batch(self.end - ends_badly))
        await self.check_statistics((StatisticType.TX_BASIC, StatisticType.TX_CSUM, StatisticType.TX_GSO), 1,
                                    without=self._uncounted)
        if ends_badly:
            told(self.number)
            await self._break()
            self.tally["resets needed"] += 1
            self.number += 1
        await self.stop()

    async def _begin(self):
        rng, features = self._rng, draw_features(self._rng, LIKELY)
        await self.start(features, queue_size=rng.choice((4, 7, 16, 40, 64, 128)), receive_buffers=2,
                         packet_bytes=60, buffer_slack=0)
        self._areas = [Area(nic.host, AREA, "tx", align=4096) for nic in (self.nic, self.twin.nic)]
        size = self.nic.transmitters[0].ring.size
        self._longest = self._bench.parameter("max_mtu") + 22
        self._packets = Packets(rng, header_bytes=formats.net_header_bytes(features), longest=self._longest,
                                most=min(size, 40), tables=self.has(F.INDIRECT_DESC))
        self._held = None
        self._uncounted = set()         # pairs of which the model can't tell how many frames have left

    async def stop(self):
        await super().stop()
        for area in self._areas:
            area.close()

    # Good and bad packets

    def _batch(self, end):
        """Packets for which the rings have room, none posted yet."""
        rng, queues = self._rng, self.nic.transmitters[:self.nic.active_pairs]
        most, batch, base = rng.choice((1, 16, 64, 100)), [], 0
        free = [queue.ring.free for queue in queues]
        while len(batch) < most and self.number < end:
            pair, packet = self._held or (rng.randrange(len(queues)), self._packets.next())
            slots = queues[pair].ring.slots(len(packet.elements), packet.table)
            at, length, _ = packet.elements[-1]
            if batch and (slots > free[pair] or base + at + length > min(AREA, BATCH_BYTES)):
                self._held = pair, packet
                break
            self._held = None
            free[pair] -= slots
            batch.append(Sent(self.number, pair, packet, base))
            base += at + length
            self.number += 1
        return batch

    def _post(self, nic, area, sent):
        """Make it available to one of the two, without a doorbell."""
        taken, elements = 0, []
        for at, length, writable in sent.packet.elements:
            at += sent.base
            area.view[at:at + length] = sent.packet.data[taken:taken + length]
            elements.append((area.address + at if length else WILD + sent.number, length, writable))
            taken += length
        nic.transmitters[sent.pair].ring.add(elements, sent.number, indirect=sent.packet.table)

    async def _exchange(self, batch):
        bench, rng, counts = self._bench, self._rng, self.twin.card.counters
        before = counts["tx_malformed"]
        for sent in batch:
            await self._foretell(sent)
        for n, sent in enumerate(batch):
            self._post(self.nic, self._areas[0], sent)
            if rng.random() < 0.2 or n == len(batch) - 1:
                for queue in self.nic.transmitters:
                    await queue.kick()
        await self.settle()
        used = await self._used()
        frames = [frame for sent in batch for frame in sent.frames]
        unsure = any(sent.early for sent in batch)
        await self.leave(math.inf if unsure else len(frames))
        self._take_back(batch, used)
        seen = [frame.data for frame in bench.mac.captured]
        bench.mac.captured.clear()
        counted = seen if unsure else frames
        wrong = await self.miscounted({FRAMES: len(counted), BYTES: sum(map(len, counted)),
                                       MALFORMED: counts["tx_malformed"] - before})
        self._compare(batch, seen, wrong)
        self.check_counters(wrong, f"{batch[0]} (to {batch[-1].number})")
        self.tally.update({FRAMES: len(seen), MALFORMED: counts["tx_malformed"] - before})

    async def _foretell(self, sent):
        """What the model makes of it."""
        queue = self.twin.nic.transmitters[sent.pair]
        self._post(self.twin.nic, self._areas[1], sent)
        await queue.kick()
        self.agree(f"{sent}: used by the model", [(sent.number, 0)], queue.ring.collect())
        sent.frames, self.twin.sent[:] = self.twin.sent[:], []
        if not sent.frames:
            sent.early = self._early(sent.packet)
            self._uncounted |= {sent.pair} if sent.early else set()
        if sent.number == self._flip:
            sent.frames = [bytes([frame[0] ^ 1]) + frame[1:] for frame in sent.frames] or [sent.packet.data]

    async def _used(self):
        """(number, bytes written) of the buffers of each pair that come back."""
        rings = [queue.ring for queue in self.nic.transmitters]

        async def collect(ring):
            return ring.collect()
        used = await self.gather([partial(collect, ring) for ring in rings],
                                 lambda _: not any(ring.in_flight for ring in rings))
        await self.settle()
        return used

    def _early(self, packet):
        """Segments that may leave before it is seen that the packet is too long or has a device-writable element."""
        readable = sum(length for _, length, writable in packet.elements if not writable)
        header, most = formats.net_header_bytes(self._features), self._longest
        data = packet.data[:min(readable, header + LONGEST_PACKET)]
        if len(data) < header or data[1] == GsoType.NONE or len(data) == len(packet.data):
            return []
        try:
            return frames_of(data, data[header:], self._features, most)[:-1]
        except MalformedPacket:
            return []

    def _take_back(self, batch, used):
        """Each buffer comes back once, with nothing written."""
        for pair, done in enumerate(used):
            wanted = {sent.number: sent for sent in batch if sent.pair == pair}
            for number, written in done:
                sent = wanted.pop(number)
                # One used descriptor may stand for several: those that it skips count as completely used.
                if written and not (self.has(F.IN_ORDER) and written == sent.packet.capacity):
                    raise Disagreement(f"{sent}: expected to come back with nothing written, seen {written} bytes")
            for sent in wanted.values():
                raise Disagreement(f"{sent}: expected to come back used, seen not used")
        for sent in batch:
            taken = 0
            for at, length, writable in sent.packet.elements:
                at, data = at + sent.base, sent.packet.data[taken:taken + length]
                taken += length
                if writable and self._areas[0].view[at:at + length] != data:
                    raise Disagreement(f"{sent}: expected to stay as it was, seen written")

    def _compare(self, batch, seen, wrong):
        """Frames of a pair leave in order; of several pairs those of one may come between those of others."""
        left = [[(sent, frame, is_early) for sent in batch if sent.pair == pair
                 for frames, is_early in ((sent.frames, False), (sent.early, True)) for frame in frames]
                for pair in range(len(self.nic.transmitters))]
        for frame in seen:
            if any(_leaves(frames, frame) for frames in left):
                continue
            heads = [frames[0] for frames in left if frames]
            if not heads:
                raise Disagreement(f"packets {batch[0].number} to {batch[-1].number}: nothing more expected, seen "
                                   f"{frame.hex()}; {wrong}")
            sent, expected, _ = max(heads, key=lambda head: sum(a == b for a, b in zip(head[1], frame)))
            raise Disagreement(f"{sent}: expected {expected.hex()}, seen {frame.hex()}; {wrong}")
        for frames in left:
            for sent, frame, is_early in frames:
                if not is_early:
                    raise Disagreement(f"{sent}: expected {frame.hex()}, seen nothing; {wrong}")

    # What breaks the queue

    async def _break(self):
        """A list or a table that no driver may make: nothing is sent, and the device says that it needs a reset."""
        rng, indirect = self._rng, self.has(F.INDIRECT_DESC)
        size = self.nic.transmitters[0].ring.size
        kinds = ["endless"] + (["length", "linked", "inside"] if indirect else ["not negotiated"])
        kind, pair = rng.choice(kinds), rng.randrange(self.nic.active_pairs)
        length = rng.choice((0, 8, 24, 16 * (size + 1)))
        data = rng.randbytes(200)
        for nic, area in ((self.nic, self._areas[0]), (self.twin.nic, self._areas[1])):
            ring = nic.transmitters[pair].ring
            head = ring.avail_index
            area.view[:len(data)] = data
            match kind:
                case "endless":
                    ring.add([(area.address, 100, False)] * size, indirect=False)
                    ring._table["flags"] |= formats.DESC_NEXT
                case "length":
                    ring.add([(area.address, length, False)], indirect=False)
                    ring._table["flags"][head] |= formats.DESC_INDIRECT
                case "linked":
                    ring.add([(area.address, 16, False)] * 2, indirect=False)
                    ring._table["flags"][head] |= formats.DESC_INDIRECT
                case "inside":
                    ring.add([(area.address, 16, False)] * 2, indirect=False)
                    ring._table["flags"][(head + 1) % size] |= formats.DESC_INDIRECT
                case "not negotiated":
                    ring.add([(area.address, 64, False)], indirect=False)
                    ring._table["flags"][head] |= formats.DESC_INDIRECT
            await nic.transmitters[pair].kick()
        what = f"packet {self.number} on pair {pair}, {kind} of {length} in a ring of {size}"
        self.agree(f"{what}: the model needs a reset", True, bool(await self.twin.nic.virtio.status()
                                                                  & Status.NEEDS_RESET))
        self.agree(f"{what}: interrupt", True, await self._bench.platform.wait(self.nic.config_changed, INTERRUPT_NS))
        self.agree(f"{what}: status", await self.twin.nic.virtio.status(), await self.nic.virtio.status())
        self.agree(f"{what}: frames", self.twin.sent, [frame.data for frame in self._bench.mac.captured])
        self.agree(f"{what}: used", [], self.nic.transmitters[pair].ring.collect())


def _leaves(frames, frame):
    """Take `frame` from the front of `frames`, a list of (Sent, frame, is early), if it is there behind nothing but
    early ones that didn't leave; returns whether it was."""
    at = 0
    while at < len(frames):
        sent, expected, is_early = frames[at]
        if expected == frame:
            del frames[:at + 1]
            return True
        if not is_early:
            return False
        while at < len(frames) and frames[at][0] is sent:
            at += 1
    return False
