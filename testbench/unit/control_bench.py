"""Everything around `net.control.Control`, as behaviour: host memory, read engine, posted path, driver."""

import random
import struct
import zlib

from amaranth.hdl import Elaboratable, Module
from amaranth.sim import Simulator

from hdl.config import NicConfig
from hdl.dma.spec import Client, ReadStatus
from hdl.net.control import Control
from hdl.pcie.spec import MemoryRequest, TlpType
from hdl.virtio.queue_map import QueueMap, Role
from testbench.unit.control_oracle import NEGOTIATED, ControlOracle
from testbench.unit.packed_ring import INDIRECT, PackedRing

__all__ = ["ControlBench", "Buffer", "ALL"]

ALL = ("multiqueue", "coalescing", "queue_coalescing", "receive_modes", "receive_extra", "vlan", "mac_address",
       "announce", "statistics", "receive_checksum", "transmit_checksum", "segmentation",
       "guest_offloads")
RING, DRIVER_AREA, DEVICE_AREA, HEAP, MEMORY = 0x1000, 0x800, 0x900, 0x20000, 1 << 20
UNTOUCHED = 0xee


class WithQueueMap(Elaboratable):
    """The control queue beside the map that translates for it."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.map = queue_map = QueueMap(dut.config.pairs)
        place = queue_map.place
        m.d.comb += [
            queue_map.control.eq(1), queue_map.multiqueue.eq(dut.features.multiqueue),
            queue_map.virtqueue.eq(dut.virtqueue),
            dut.place.exists.eq((place.role == Role.RECEIVE) | (place.role == Role.TRANSMIT)),
            dut.place.transmit.eq(place.role == Role.TRANSMIT), dut.place.queue.eq(place.index),
            dut.place.control.eq(place.role == Role.CONTROL),
        ]
        return m


class Buffer:
    """A command on its way. `elements`: (address, length, writable) in the order of the chain."""

    def __init__(self, command, elements, indirect, note):
        self.command, self.elements, self.indirect, self.note = command, elements, indirect, note
        self.writable = [address + n for address, length, write in elements if write for n in range(length)]


class ControlBench:
    """A bench for one control queue.

    Parameters
    ----------
    size : of the ring
    features : negotiated, names of `ControlFeatures`
    enabled : virtqueues that are enabled besides
    stall : how often a stream is not ready, or a step of driver or host is not done
    latency : of reads, (min, max) cycles
    ring : negotiated, names of `EngineFeatures`
    """

    def __init__(self, *, pairs=4, width=128, size=16, features=ALL, enabled=(0, 1, 2, 3), seed=1, stall=0.3,
                 latency=(1, 25), ring=("indirect",), vector=5, msix=1):
        self.config = NicConfig(pairs=pairs, width=width)
        self.dut = Control(self.config)
        self.seed, self.rng, self.stall, self.latency = seed, random.Random(seed), stall, latency
        self.features, self.enabled, self.ring_features = features, tuple(enabled), ring
        self.vector, self.msix, self.size = vector, msix, size
        self.memory = bytearray(MEMORY)
        self.now = 0
        self.status = lambda address: ReadStatus.OK
        self.hold = False        # answer no read while set
        self.settled = 1
        self.errors = 0
        self.begin()

    def begin(self):
        """A life from reset to reset."""
        self.oracle = ControlOracle(self.config.pairs, self.enabled, self.features)
        self.oracle.counter = self.counter
        self.asked = [None, None]         # counters that are asked for, the last two cycles
        self.ring = PackedRing(self.memory, RING, DEVICE_AREA, self.size)
        self.heap = HEAP
        self.memory[HEAP:] = bytes([UNTOUCHED]) * (MEMORY - HEAP)
        self.read, self.answer = None, None
        self.posted, self.writes = [], []            # (address, byte) in order of acceptance
        self.waiting, self.publishing, self.doorbells = [], None, []
        self.outstanding, self.replies = {}, []
        self.interrupts, self.reads, self.settings = 0, [], {}
        self.active_seen = []
        self.modes, self.table, self.mac, self.vlans = 0, None, None, set()      # as told to the filter
        self.building, self.acknowledged, self.filter_seen, self.offloads = None, 0, [], NEGOTIATED
        self.checks = True       # what comes back is judged

    def counter(self, virtqueue, type, n):
        """Any number that belongs to a counter and to no other."""
        return zlib.crc32(struct.pack("<HBB", virtqueue, type, n)) * 0x1_0000_0003 & (1 << 64) - 1

    # What the driver does
    def allocate(self, count, content=None):
        address = self.heap + self.rng.randrange(8)
        self.heap = address + count + self.rng.randrange(40)
        if content is not None:
            self.memory[address:address + count] = content
        return address

    def cut(self, count):
        """Random lengths, some of them 0, with sum `count`."""
        cuts = sorted(self.rng.randint(0, count) for _ in range(self.rng.choice([0, 0, 1, 2, 4])))
        return [high - low for low, high in zip([0, *cuts], [*cuts, count])]

    def prepare(self, command, room=1, *, readable=None, writable=None, indirect=None, note=None):
        """A `Buffer` with `command` and `room` bytes, cut as told or at random."""
        elements, at = [], 0
        for length in self.cut(len(command)) if readable is None else readable:
            elements.append((self.allocate(length, command[at:at + length]), length, False))
            at += length
        elements += [(self.allocate(length), length, True)
                     for length in (self.cut(room) if writable is None else writable)]
        if indirect is None:
            indirect = "indirect" in self.ring_features and self.rng.random() < 0.5
        return Buffer(command, elements, indirect or len(elements) > self.size, note)

    def _publish(self, buffer):
        segments, flags = buffer.elements, 0
        if buffer.indirect:
            table = b"".join(
                # Only WRITE counts in a table.
                struct.pack("<QIHH", address, length, self.rng.randrange(1 << 16),
                            self.rng.randrange(1 << 16) & ~2 | 2 * write)
                for address, length, write in segments)
            address = self.allocate(len(table) + 16)
            self.memory[address:address + len(table)] = table
            segments = [(address, len(table), self.rng.random() < 0.5)]
            flags = INDIRECT
        return self.publish_raw(segments, flags, buffer)

    def publish_raw(self, segments, flags, buffer):
        steps = self.ring.publish(segments, self.rng, flags)

        def run():
            self.outstanding[(yield from steps).id] = buffer
        return run()

    def _fits(self, buffer):
        return (1 if buffer.indirect else len(buffer.elements)) <= self.ring.free

    def _drive(self, ctx):
        """A step of the driver."""
        if self.publishing is None and self.waiting:
            if self._fits(self.waiting[0]):
                self.publishing = self._publish(self.waiting.pop(0))
        elif self.publishing is not None:
            try:
                next(self.publishing)
            except StopIteration:
                self.publishing = None
                if not self.waiting or self.rng.random() < 0.5 or not self._fits(self.waiting[0]):
                    self.doorbells.append(self.now + self.rng.randint(0, 20))
        used = self.ring.poll()
        if used is not None:
            ring_buffer, length, written = used
            self._used(self.outstanding.pop(ring_buffer.id), ring_buffer, length, written)

    def _used(self, buffer, ring_buffer, length, written):
        """The oracle's word on a buffer that has come back."""
        if not self.checks:
            return
        assert written == (length != 0)
        expected = b"" if buffer.note == "malformed" else self.oracle.answer(buffer.command, len(buffer.writable))
        content = bytes(self.memory[address] for address in buffer.writable)
        assert content == expected + bytes([UNTOUCHED]) * (len(content) - len(expected)), \
            f"{content.hex()} for {buffer.command.hex()}, not {expected.hex()} (seed {self.seed})"
        assert length == len(expected)
        slot = RING + 16 * ring_buffer.index + 8
        mine, self.writes = self.writes[:len(expected) + 8], self.writes[len(expected) + 8:]
        assert sorted(mine[:-8]) == sorted(zip(buffer.writable, expected)), "where they belong, once"
        assert [address for address, _ in mine[-8:]] == list(range(slot, slot + 8))
        assert self.active_seen.pop(0) == self.oracle.active, "in effect when the buffer is used"
        assert self.filter_seen.pop(0) == self.oracle.filter(), f"in effect when the buffer is used (seed {self.seed})"
        self.replies.append((buffer, content[:length]))

    # One cycle of everything
    async def start(self, ctx):
        dut = self.dut
        ctx.set(dut.live, 0)
        for _ in range(3 * self.config.pairs + 10):
            await ctx.tick()
        assert ctx.get(dut.idle)
        ctx.set(dut.msix_enable, self.msix)
        ctx.set(dut.negotiated_offloads, NEGOTIATED)
        for name in ALL:
            ctx.set(getattr(dut.features, name), name in self.features)
        for name in ("indirect", "event_index"):
            ctx.set(getattr(dut.ring_features, name), name in self.ring_features)
        ctx.set(dut.setup, {"descriptors": RING, "driver": DRIVER_AREA, "device": DEVICE_AREA, "size": self.size,
                            "vector": self.vector, "enabled": 1})
        ctx.set(dut.configured, 1)
        await ctx.tick()
        ctx.set(dut.configured, 0)
        for queue in self.enabled:
            await self.enable(ctx, queue)
        ctx.set(dut.live, 1)

    async def enable(self, ctx, queue, enabled=1):
        ctx.set(self.dut.queue_enable, {"valid": 1, "transmit": queue % 2, "queue": queue // 2, "enabled": enabled})
        await self.cycle(ctx)
        ctx.set(self.dut.queue_enable.valid, 0)

    async def cycle(self, ctx):
        dut, now = self.dut, self.now
        if self.rng.random() >= self.stall:
            self._drive(ctx)
        ctx.set(dut.doorbell, any(at <= now for at in self.doorbells))
        self.doorbells = [at for at in self.doorbells if at > now]
        ctx.set(dut.pairs_settled, self.settled)
        self._serve_reads(ctx, now)
        self._serve_writes(ctx, now)
        ready = self.rng.random() >= self.stall
        ctx.set(dut.interrupts.ready, ready)
        if ready and ctx.get(dut.interrupts.valid):
            assert ctx.get(dut.interrupts.payload.vector) == self.vector
            self.interrupts += 1
        self.errors += ctx.get(dut.error)
        settings = ctx.get(dut.settings)
        if settings.valid:
            self.settings[2 * settings.queue + settings.transmit] = (settings.max_packets, settings.max_usecs)
        self._watch_filter(ctx)
        asked = self.asked.pop(0)
        ctx.set(dut.value, self.counter(*asked) if asked else 0)
        query = ctx.get(dut.query)
        self.asked.append((2 * query.queue + query.transmit, 16 * query.transmit + query.kind.value, query.counter))
        await ctx.tick()
        ctx.set(dut.beats.valid, 0)
        self.now += 1

    def filter(self):
        """What others than the queues have been told, as the oracle puts it."""
        return self.modes, self.table, self.mac, frozenset(self.vlans), self.acknowledged, self.offloads

    def _watch_filter(self, ctx):
        """What they are told in this cycle."""
        port, ready = self.dut.filter, self.rng.random() >= self.stall
        ctx.set(port.addresses.ready, ready)
        self.modes, self.offloads = ctx.get(port.modes.as_value()), ctx.get(self.dut.guest_offloads)
        if ctx.get(port.begin):
            self.building = []
        if ready and ctx.get(port.addresses.valid):
            self.building.append(ctx.get(port.addresses.payload).to_bytes(6, "little"))
        if ctx.get(port.commit):
            assert ready
            many = ctx.get(port.too_many)
            self.table, self.building = (self.building, [bool(many & 1), bool(many & 2)]), None
        self.acknowledged += ctx.get(self.dut.acknowledge)
        change, vlan = ctx.get(self.dut.mac_change), ctx.get(port.vlan)
        if change.valid:
            self.mac = change.mac.to_bytes(6, "little")
        if vlan.valid:
            (self.vlans.add if vlan.add else self.vlans.discard)(vlan.vlan)

    def _serve_reads(self, ctx, now):
        dut = self.dut
        ready = self.rng.random() >= self.stall
        ctx.set(dut.reads.ready, ready)
        assert ctx.get(dut.room) and ctx.get(dut.beats.ready), "it never keeps anybody waiting"
        if self.read is not None and not self.hold:
            command, sample, due = self.read
            if now >= sample and self.answer is None:
                self.answer = bytes(self.memory[command.address:command.address + command.length])
            if now >= due:
                ctx.set(dut.beats.payload, {
                    "data": int.from_bytes(self.answer + self.rng.randbytes(16 - command.length), "little"),
                    "bytes": command.length, "first": 1, "last": 1, "client": Client.CONTROL,
                    "status": self.status(command.address)})
                ctx.set(dut.beats.valid, 1)
                self.read = self.answer = None
        elif ready and ctx.get(dut.reads.valid):
            command = ctx.get(dut.reads.payload)
            assert (command.client, command.queue, command.last, command.more) == (Client.CONTROL, 0, 1, 0)
            assert 1 <= command.length <= 16
            assert command.address != DRIVER_AREA or not self.posted, "used has its place before the driver is asked"
            due = now + self.rng.randint(*self.latency)
            self.read = command, self.rng.randint(now + 1, due), due
            self.reads.append((command.address, command.length))

    def _serve_writes(self, ctx, now):
        dut = self.dut
        ready = self.rng.random() >= self.stall
        ctx.set(dut.o.ready, ready)
        ctx.set(dut.accepted, 0)
        if self.posted and self.posted[0][0] <= now:
            _, changes = self.posted.pop(0)
            for address, byte in changes:
                self.memory[address] = byte
            self.writes += changes
            ctx.set(dut.accepted, 1)
        if ready and ctx.get(dut.o.valid):
            self.posted.append((now + self.rng.randint(1, 12), self._changes(ctx)))

    def _changes(self, ctx):
        beat = ctx.get(self.dut.o.payload)
        header = MemoryRequest().from_bits(beat.header)
        assert (beat.first, beat.last, header.type, header.with_data) == (1, 1, TlpType.MEMORY.value, 1)
        assert (header.requester, header.tag, beat.keep) == (0, 0, (1 << header.length) - 1)
        assert not header.four_dw and header.low == 0
        enables = header.first_be | header.last_be << 4
        assert header.first_be and (header.length == 2 or not header.last_be)
        changes = [(header.high + n, beat.data >> 8 * n & 0xff) for n in range(8) if enables >> n & 1]
        if header.length == 2:
            self.active_seen.append(ctx.get(self.dut.active_pairs))
            self.filter_seen.append(self.filter())
        return changes

    def quiet(self):
        return not (self.waiting or self.publishing or self.outstanding or self.doorbells)

    def run(self, *bodies, limit=40_000):
        """Start, then each of `bodies(ctx)`, then until every command has come back and the queue is idle."""
        async def body(ctx):
            await self.start(ctx)
            for step in bodies:
                await step(ctx)
            await self.finish(ctx, limit)
        simulator = Simulator(WithQueueMap(self.dut))
        simulator.add_clock(4e-9)
        simulator.add_testbench(body)
        simulator.run()

    async def finish(self, ctx, limit=40_000):
        end, calm = self.now + limit, 0
        while calm < 60:
            assert self.now < end, f"stuck (seed {self.seed})"
            await self.cycle(ctx)
            calm = calm + 1 if self.quiet() and ctx.get(self.dut.idle) else 0
        assert not self.writes and not self.posted, "nothing is written besides"
        applied = {queue: self.settings.get(queue, (0, 0)) for queue in self.oracle.settings}
        assert applied == self.oracle.settings
        assert ctx.get(self.dut.active_pairs) == self.oracle.active
        assert self.filter() == self.oracle.filter()
