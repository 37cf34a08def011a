"""Random frames from the wire: each is dropped and counted, or delivered, as the functional card says it."""

from dataclasses import dataclass
from functools import partial

from model import formats
from model.formats import Feature, RxCommand, StatisticType
from model.offloads_hash import HashConfig
from testbench.driver.framing import TOGETHER, Framing
from testbench.driver.net import Nic
from testbench.system.bench_offloads import random_config
from testbench.system.fuzz_frames import WireFrames
from testbench.system.fuzz_session import Disagreement, Session, draw_features

__all__ = ["ReceiveSession"]

F = Feature
LIKELY = (F.NET_MRG_RXBUF, F.NET_MQ, F.NET_RSS, F.NET_HASH_REPORT, F.NET_GUEST_CSUM, F.NET_CTRL_VQ, F.NET_CTRL_RX)
FLAT = 0.3          # of sessions that begin without changing anything
# What the model counts → what the card does.
DELIVERED, BAD = "receive.frames", "receive.drop.bad"
TOO_LONG, NO_BUFFER = "receive.drop.too_long_for_buffer", "receive.drop.no_buffer"
CAUSES = {
    "rx_frames": DELIVERED, "rx_runt": BAD, "rx_oversize": "receive.drop.oversize",
    "rx_filtered": "receive.drop.filtered", "rx_not_live": "receive.drop.disabled", "rx_buffer_too_small": TOO_LONG}
TIGHT = 0.2         # of sessions whose frames may need more buffers than there are
LONGEST_STORED = 2100       # bytes that a frame takes until it is seen to be too long
UNHEARD = 3         # frames that come when the driver is gone


class WholePackets:
    """In the place of the driver's `ReceiveHeader`: packets as they were written, header and frame, unjudged."""

    @staticmethod
    def frame(data, queue, buffers=1):
        return data


@dataclass
class Expected:
    """What is to become of a frame: `counter` is of the card; `pair` gets `data`, if it is delivered."""
    number: int
    frame: bytes
    bad: bool
    counter: str
    pair: int = 0
    data: bytes = b""

    def __str__(self):
        header = self.data[:len(self.data) - len(self.frame)].hex()
        fate = (f"delivered to pair {self.pair} behind {header}" if self.counter == DELIVERED
                else f"counted by {self.counter}")
        return f"frame {self.number}{' (marked bad)' if self.bad else ''} {self.frame.hex()}: expected {fate}"


class ReceiveSession(Session):
    """Batches of frames, as many as the card surely has room and buffers for; between them the driver changes its mind
    about filters, steering and offloads."""
    counted = (*CAUSES.values(), NO_BUFFER, "receive.drop.overflow")

    async def run(self, told):
        """`told(number)` before each batch."""
        await self._begin()
        live = self.end - min(self._rng.choice((0, 0, UNHEARD)), self.end - self.number)
        while self.number < live:
            if self._rng.random() < 0.3:
                await self._change()
            if self.has(F.NET_MQ) and self._rng.random() < 0.15:
                await self._teach()
            told(self.number)
            await self._exchange(await self._batch(live))
        await self.check_statistics((StatisticType.RX_BASIC,), 0, ("rx_packets", "rx_bytes"))
        await self.stop()
        if live < self.end:
            await self._exchange(await self._batch(self.end))

    async def _begin(self):
        rng, mtu, features = self._rng, self._mtu, draw_features(self._rng, LIKELY)
        merge = features >> F.NET_MRG_RXBUF & 1
        buffer_bytes = rng.choice((32, 100, 128, 256, 700, 1536, 2048, 4096)) if merge else None
        self._tight = bool(merge) and rng.random() < TIGHT
        # If it is tight not even the whole ring may hold the longest frame, else half of it does.
        least = 2 * (-(-(mtu + 42) // buffer_bytes) if merge else 1)
        cuts = sorted(rng.randrange(1, buffer_bytes or 1500) for _ in range(rng.choice((0, 0, 0, 1, 2, 5))))
        framing = rng.choice((TOGETHER, Framing(tuple(cuts), rng.choice((0, 1, 7, 64)), rng.choice((0, 1, 3, 60)))))
        most = max(least, rng.choice((4, 16, 33, 64, 128)))
        if self._tight:
            framing, most = TOGETHER, rng.randint(max(2, least // 8), least // 2 + 1)
        size = most * (len(framing.cuts) + 1) + (0 if self._tight else rng.randrange(5))
        await self.start(features, receive_buffer_bytes=buffer_bytes, receive_framing=framing,
                         receive_buffers=most, queue_size=min(size, 1024))
        for queue in (*self.nic.receivers, *self.twin.nic.receivers):
            queue._header = WholePackets
        self._buffers, self._buffer_bytes = len(self.nic.receivers[0]._buffers), self.nic.receivers[0]._length
        self._frames = WireFrames(rng, mtu)
        self._held = None
        if rng.random() > FLAT:
            for _ in range(8):
                await self._change()

    # What the driver changes

    async def _change(self):
        rng, has, frames = self._rng, self.has, self._frames
        changes = []
        if has(F.NET_CTRL_RX):
            changes += [self._set_mode, self._set_addresses]
        if has(F.NET_CTRL_RX_EXTRA) and has(F.NET_CTRL_VQ):
            changes += [self._set_extra_mode]
        if has(F.NET_CTRL_VLAN):
            changes += [self._set_vlan] * 3
        if has(F.NET_CTRL_MAC_ADDR):
            address = frames.address(0)
            changes += [lambda: self.both(lambda nic: nic.set_mac(address), "MAC_ADDR_SET")]
        if has(F.NET_MQ):
            pairs = rng.randint(1, self.nic.options.pairs)
            changes += [lambda: self.both(lambda nic: nic.set_pairs(pairs), "VQ_PAIRS_SET")]
        if has(F.NET_RSS):
            config = random_config(rng, self.nic.options.pairs)
            changes += [lambda: self.both(lambda nic: nic.set_scaling(
                config.table, types=config.types, key=config.key, unclassified=config.unclassified), "RSS_CONFIG")]
        if has(F.NET_HASH_REPORT) and has(F.NET_CTRL_VQ):
            hashes = HashConfig(rng.randrange(0x200), rng.randbytes(40))
            changes += [lambda: self.both(lambda nic: nic.control.set_hashes(hashes.types, hashes.key), "HASH_CONFIG")]
        if has(F.NET_CTRL_GUEST_OFFLOADS) and has(F.NET_CTRL_VQ):
            on = [F.NET_GUEST_CSUM] if has(F.NET_GUEST_CSUM) and rng.random() < 0.7 else []
            changes += [lambda: self.both(lambda nic: nic.control.set_guest_offloads(*on), "GUEST_OFFLOADS_SET")]
        if has(F.NET_CTRL_VQ):
            changes += [self._command]
        if changes:
            await rng.choice(changes)()

    async def _set_mode(self):
        mode, on = self._rng.choice((RxCommand.PROMISC, RxCommand.ALLMULTI)), self._rng.random() < 0.4
        await self.both(lambda nic: nic.control.set_receive_mode(mode, on), mode.name)

    async def _set_extra_mode(self):
        extra = [mode for mode in RxCommand if mode > RxCommand.ALLMULTI]
        mode, on = self._rng.choice(extra), self._rng.random() < 0.3
        await self.both(lambda nic: nic.control.set_receive_mode(mode, on), mode.name)

    async def _set_addresses(self):
        rng, frames = self._rng, self._frames
        tables = [frames.many_addresses(group) if rng.random() < 0.1 else
                  rng.sample(frames.addresses[group::2], rng.randrange(7)) for group in (0, 1)]
        await self.both(lambda nic: nic.control.set_addresses(*tables), "MAC_TABLE_SET")

    async def _set_vlan(self):
        vlan, on = self._rng.choice(self._frames.vlans), self._rng.random() < 0.8
        await self.both(lambda nic: nic.control.set_vlan(vlan, on), "VLAN_ADD or VLAN_DEL")

    async def _command(self):
        """Any command of a class but MQ and STATS, of which the answer or what comes of it depends on time."""
        rng = self._rng
        kind, command = rng.choice((0, 1, 2, 3, 5, 6, 7, 9)), rng.randrange(8)
        data = rng.randbytes(rng.choice((0, 1, 1, 2, 4, 6, 8, 12, rng.randrange(40))))
        if rng.random() < 0.5:
            data = bytes(len(data))
        framing, room = Framing.random(rng, 2 + len(data)), rng.choice((0, 0, 8, 12))
        await self.both(lambda nic: nic.control.execute(kind, command, data, answer_bytes=room, framing=framing),
                        f"command {kind}.{command} {data.hex()} with room for {room} bytes and the ack")

    async def _teach(self):
        """Flows that come from some pair are to be received there. Of several pairs nobody can tell which was last."""
        pair = self._rng.randrange(self.nic.active_pairs)
        for _ in range(self._rng.choice((1, 4, 16))):
            frame, _ = self._frames.next(self.twin.card.datapath.filter.mac)
            if 14 <= len(frame) <= min(self._mtu, 1500) + 14:
                self._frames.known.append(frame)
                await self.both(partial(Nic.send, frame=frame, pair=pair), "send")
        await self.settle()
        await self.leave(len(self.twin.sent))
        self.agree(f"frames sent before frame {self.number}", self.twin.sent,
                   [frame.data for frame in self._bench.mac.captured])
        await self.both(partial(Nic.flush, pair=pair, timeout_ns=10_000), "flush")
        self.twin.sent.clear()
        self._bench.mac.captured.clear()

    # Frames

    async def _batch(self, end):
        """Frames for which there is room whatever becomes of them, each with what is `Expected`."""
        rng, bench = self._rng, self._bench
        most, lanes = rng.choice((1, 16, 64, 64)), bench.parameter("width") // 8
        room = bench.manifest["receive_fifo_bytes"]
        # Of the buffers given back last the card may know nothing yet, unless it is given time.
        if self._tight:
            await self.settle()
        buffers = [self._buffers if self._tight else self._buffers // 2] * self.nic.options.pairs
        batch = []
        while len(batch) < most and self.number < end:
            frame, bad = self._held or self._frames.next(self.twin.card.datapath.filter.mac)
            stored = min(-(-len(frame) // lanes) + 1, LONGEST_STORED // lanes) * lanes
            needed = -(-(len(frame) + formats.net_header_bytes(self._features)) // self._buffer_bytes)
            if batch and (stored > room or min(buffers) < needed <= self._buffers):
                self._held = frame, bad
                break
            self._held = None
            room -= stored
            expected = await self._expect(frame, bad)
            if expected.counter == DELIVERED:
                buffers[expected.pair] -= needed
            batch.append(expected)
            self.tally[expected.counter] += 1
            self.number += 1
        return batch

    async def _expect(self, frame, bad):
        expected = Expected(self.number, frame, bad, BAD)
        if not bad or not self.nic.receivers:
            counts = self.twin.card.counters
            before = counts.copy()
            self.twin.card.receive(frame)
            expected.counter, = (counter for cause, counter in CAUSES.items() if counts[cause] != before[cause])
            if expected.counter == DELIVERED:
                (expected.pair, expected.data), = [(pair, data) for pair, queue in enumerate(self.twin.nic.receivers)
                                                   for data in await queue.take(None)]
            if expected.counter == TOO_LONG and self.has(F.NET_MRG_RXBUF):
                expected.counter = NO_BUFFER        # there are not enough of them
        if self.number == self._flip:
            expected.counter, expected.data = DELIVERED, bytes(12) + frame
        return expected

    async def _exchange(self, batch):
        bench = self._bench
        for expected in batch:
            bench.mac.send(expected.frame, bad=expected.bad)
        await bench.settle()
        wrong = await self.miscounted({name: sum(expected.counter == name for expected in batch)
                                       for name in self.counted})
        wanted = [[expected for expected in batch if expected.counter == DELIVERED and expected.pair == pair]
                  for pair in range(len(self.nic.receivers))]
        seen = await self._received(wanted)
        for pair in range(len(seen)):
            self._compare(wanted[pair], pair, seen, wrong)
        self.check_counters(wrong, f"frames {batch[0].number} to {batch[-1].number}")

    async def _received(self, wanted):
        """Packets of each pair, until there are as many as in `wanted` or none comes any more."""
        return await self.gather([partial(queue.take, None) for queue in self.nic.receivers],
                                 lambda seen: all(len(some) >= len(all_) for some, all_ in zip(seen, wanted)))

    def _compare(self, wanted, pair, seen, wrong):
        """Frames `wanted` of a pair with what was seen of all pairs; `wrong` is for the message."""
        header = formats.net_header_bytes(self._features)
        for expected, data in zip(wanted, seen[pair]):
            if data == expected.data:
                continue
            if data[header:] == expected.frame:
                raise Disagreement(f"{expected}, seen {data[:header].hex()}")
            elsewhere = [number for number, packets in enumerate(seen) if expected.data in packets]
            raise Disagreement(f"{expected}, seen on pair {elsewhere[0]}" if elsewhere else
                               f"{expected}, seen {data[:header].hex()} and {data[header:].hex()}; {wrong}")
        if len(seen[pair]) < len(wanted):
            raise Disagreement(f"{wanted[len(seen[pair])]}, seen nothing more there; {wrong}")
        if len(seen[pair]) > len(wanted):
            raise Disagreement(f"pair {pair}: nothing more expected, seen {seen[pair][len(wanted)].hex()}; {wrong}")
