"""Everything around a `virtqueue.Engine`, as behaviour: host memory, read engine, write engine, drivers.

Reads are answered in order per queue after random times; every 64-byte line of a descriptor fetch is sampled at a
moment of its own. A posted write becomes visible some time after it was accepted, and a read issued after its
acceptance samples behind it.
"""

import random

from amaranth.sim import Simulator

from hdl.dma.spec import DataContext, ReadStatus
from hdl.virtqueue.engine import Direction, Engine
from testbench.unit.packed_ring import Indirect, PackedRing
from testbench.unit.vq_read import Read

MEMORY = 1 << 20
AREAS = 0x1000      # event suppression structures
DRIVER_AREAS = 0x2000
BUFFERS = 0x40000
HEADER = 12


class Host:
    """A bench for one engine.

    Parameters
    ----------
    sizes : ring size of each queue in use
    stall : how often a stream is not ready or not valid
    latency : of fetches, (min, max) cycles; one outside makes races likely
    event_index, in_order : VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER
    indirect : VIRTIO_F_INDIRECT_DESC is negotiated
    merge : VIRTIO_NET_F_MRG_RXBUF is negotiated
    long_packets, long_header : transmit: segmentation, VIRTIO_NET_F_HASH_REPORT are negotiated
    """

    def __init__(self, config, direction, sizes, *, seed, stall=0.2, latency=(5, 60), suppress=True, head_only=False,
                 shift=9, parts=8, notification_data=False, event_index=False, in_order=False, indirect=True,
                 merge=False, long_packets=False, long_header=False):
        self.config, self.direction, self.seed = config, direction, seed
        self.dut = Engine(config, direction, suppress=suppress)
        self.rng = random.Random(seed)
        self.stall, self.latency = stall, latency
        self.shift, self.parts = shift, parts
        self.notification_data, self.indirect, self.merge = notification_data, indirect, merge
        self.event_index, self.in_order = event_index, in_order
        self.long_packets, self.long_header = long_packets, long_header
        header = 20 if long_header else 12
        self.packet_bytes = range(header + 14, header + (65557 if long_packets else config.max_frame) + 1)
        self.memory = bytearray(MEMORY)
        self.now = 0
        self.quiesced = False
        self.fetch_count = self.fetched = self.errors = 0
        self.event_latency = (2, 20)    # of event reads, cycles
        self.fetch_status = lambda queue: ReadStatus.OK
        self.follows = 0.3      # how often a completion says that another is behind
        self.table_status = lambda queue: ReadStatus.OK
        self.log, self.events, self.verdicts = [], [], []
        self.begin(sizes, head_only)

    def begin(self, sizes, head_only=False):
        """A life from reset to reset: empty rings, nothing under way."""
        self.rings = [PackedRing(self.memory, 0x4000 + 0x2000 * n + 16 * n, AREAS + 4 * n, size, head_only=head_only,
                                 event_index=self.event_index, in_order=self.in_order)
                      for n, size in enumerate(sizes)]
        self.fetches = [[] for _ in sizes]
        self.beats = []
        self.tables = [[] for _ in sizes]
        self.table_beats = []
        self.posted = []             # (time accepted, address, bytes)
        self.invisible = []
        self.visible_at = 0
        self.doorbells, self.ringing = [], []      # travelling: (time, payload)
        self.completions = []
        self.asked, self.answering, self.interrupts = [], [], [0] * len(sizes)
        self.packets = [[] for _ in sizes]
        self.finishing, self.finish_at = [], [0] * len(sizes)
        self.frames, self.asking, self.writing, self.early_writes = [], [], [], []
        self.sent = []
        self.drivers = []

    # Set-up
    def configuration(self, queue, enabled=1):
        ring = self.rings[queue]
        return {"descriptors": ring.base, "driver": DRIVER_AREAS + 4 * queue, "device": ring.device_area,
                "size": ring.size, "vector": queue + 1, "enabled": enabled}

    async def start(self, ctx):
        dut = self.dut
        for _ in range(2 * self.config.pairs + 10):
            await ctx.tick()
        assert ctx.get(dut.idle)
        for queue in range(len(self.rings)):
            ctx.set(dut.configure, {"valid": 1, "queue": queue, "config": self.configuration(queue)})
            await ctx.tick()
        ctx.set(dut.configure.valid, 0)
        ctx.set(dut.features.notification_data, self.notification_data)
        ctx.set(dut.features.event_index, self.event_index)
        ctx.set(dut.features.in_order, self.in_order)
        ctx.set(dut.features.indirect, self.indirect)
        ctx.set(dut.features.mergeable, self.merge)
        ctx.set(dut.live, 1)
        ctx.set(dut.max_payload, 1)
        ctx.set(dut.msix_enable, 1)
        if self.direction is Direction.TX:
            ctx.set(dut.request_shift, self.shift)
            ctx.set(dut.part_requests, self.parts)
            ctx.set(dut.shortest, self.packet_bytes[0])
            ctx.set(dut.longest, self.packet_bytes[-1])
        else:
            ctx.set(dut.header_bytes, HEADER)

    async def reset(self, ctx):
        """Device reset: the drivers stop, what is under way ends, and only then is the state initialised."""
        dut = self.dut
        self.drivers, self.quiesced = [], True
        ctx.set(dut.quiesce, 1)
        self.quiet_since = self.now
        while not ctx.get(dut.idle) or any(self.fetches) or self.beats or any(self.tables) or self.table_beats \
                or self.posted or self.asked or self.answering or self.finishing or self.completions \
                or self.writing or self.sent or self.asking or self.ringing:
            assert self.now < self.quiet_since + 2000, f"not quiet (seed {self.seed})"
            await self.cycle(ctx)
        ctx.set(dut.used_accepted, 0)
        if self.direction is Direction.RX:
            ctx.set(dut.packet_sent, 0)
        ctx.set(dut.clear, 1)
        ctx.set(dut.live, 0)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert not ctx.get(dut.idle)
        self.begin([ring.size for ring in self.rings])
        self.quiesced = False
        ctx.set(dut.quiesce, 0)

    def run(self, done, *, limit=60_000, resets=(), life=None):
        """Run until `done()`; fails after `limit` cycles. After each of `resets` cycles: a reset and a new `life()`."""
        async def body(ctx):
            await self.start(ctx)
            for cycles in resets:
                for _ in range(cycles):
                    await self.cycle(ctx)
                await self.reset(ctx)
                await self.start(ctx)
                life()
            while not done():
                assert self.now < limit, f"stuck after {limit} cycles (seed {self.seed}): {self.state()}"
                await self.cycle(ctx)
        simulator = Simulator(self.dut)
        simulator.add_clock(4e-9)
        simulator.add_testbench(body)
        simulator.run()

    def state(self):
        return [(ring.size, ring.free, ring.next_index, ring.used_index) for ring in self.rings]

    def driver(self, queue, chains, *, pace=0.5, gap=20, most=4, check=True, extra_flags=0, sleeps=False):
        """A driver that publishes `chains` on a ring, as far as there is space, and rings as it is told to.

        Every step happens with probability `pace` in a cycle; `most` buffers are published between two looks at the
        event suppression; a doorbell travels up to `gap` cycles. With `sleeps`, once nothing more has come back the
        driver asks for the next used position, looks once more, and then waits for an interrupt. Returns the list of
        buffers that came back.
        """
        ring, rng, back = self.rings[queue], random.Random(self.rng.random()), []

        def steps():
            waiting, unannounced, publishing = list(chains), 0, None
            asked, woken = None, 0      # position asked for; interrupts seen by then
            while True:
                used = None
                if asked and asked[1] and self.interrupts[queue] == woken:
                    pass
                elif rng.random() < pace:
                    used, position = ring.poll(), (ring.used_index, ring.used_wrap)
                    if sleeps and used is None and (not asked or asked[0] != position):
                        asked, woken = (position, False), self.interrupts[queue]
                        ring.ask_for(DRIVER_AREAS + 4 * queue)
                    elif asked:
                        asked = (position, used is None)
                while used is not None:
                    buffer, length, written = used
                    if check:
                        filled = getattr(buffer, "filled", 0)
                        assert (length, written) == (filled, filled > 0)
                    back.append(buffer)
                    used = ring.poll() if getattr(buffer, "more", False) else None
                    assert not getattr(buffer, "more", False) or used, "a part of a packet is visible"
                if publishing is None and waiting and slots_of(waiting[0]) <= ring.free and unannounced < most:
                    publishing = ring.publish(waiting.pop(0), rng, extra_flags)
                    next(publishing)
                elif publishing is not None and rng.random() < pace:
                    if next(publishing, self) is self:
                        publishing, unannounced = None, unannounced + 1
                elif publishing is None and unannounced and rng.random() < pace:
                    unannounced = 0
                    if ring.wants_doorbell():
                        self.doorbells.append((self.now + rng.randint(0, gap), self.doorbell(queue)))
                yield
        self.drivers.append(steps())
        return back

    def doorbell(self, queue):
        """Payload of a doorbell that is rung now."""
        ring = self.rings[queue]
        told = {"next_off": ring.next_index, "next_wrap": ring.next_wrap, "has_data": 1}
        return {"queue": queue} | (told if self.notification_data else {})

    def rang(self, doorbell):
        """A doorbell was taken."""
        self.log.append(("doorbell", self.now, doorbell["queue"]))

    # One cycle
    def chance(self):
        return self.rng.random() >= self.stall

    def take(self, ctx, port):
        """Payload of an output stream, if it is transferred in this cycle."""
        ready = self.chance()
        ctx.set(port.ready, ready)
        return ctx.get(port.payload) if ready and ctx.get(port.valid) else None

    def give(self, ctx, port, queue):
        """Offers the first of `queue`; removes it when it is transferred."""
        if not queue:
            return None
        if not ctx.get(port.valid):
            if not self.chance():
                return None
            ctx.set(port.payload, queue[0])
            ctx.set(port.valid, 1)
        return port if ctx.get(port.ready) else None

    async def cycle(self, ctx):
        dut, now = self.dut, self.now
        taken = []
        self._memory(now)
        for driver in self.drivers:
            next(driver, None)
        self._fetches(ctx, now, taken)
        self._tables(ctx, now, taken)
        self._used(ctx, now)
        self._event(ctx, now, taken)
        self._arrive(self.doorbells, self.ringing, now)
        if self.give(ctx, dut.doorbells, self.ringing):
            taken.append(dut.doorbells)
            self.rang(self.ringing.pop(0))
        if self.direction is Direction.TX:
            self._transmit(ctx, now, taken)
        else:
            self._receive(ctx, now, taken)
        self.errors += ctx.get(dut.error)
        await ctx.tick()
        for port in taken:
            ctx.set(port.valid, 0)
        self.now += 1

    @staticmethod
    def _arrive(travelling, arrived, now):
        """Moves entries (time, payload) whose time has come."""
        for entry in [entry for entry in travelling if entry[0] <= now]:
            travelling.remove(entry)
            arrived.append(entry[1])

    def _memory(self, now):
        while self.invisible and self.invisible[0][0] <= now:
            _, address, content = self.invisible.pop(0)
            self.memory[address:address + len(content)] = content
        for fetches in self.fetches + self.tables:
            for fetch in fetches:
                fetch.sample(self.memory, now)

    def _fetches(self, ctx, now, taken):
        dut = self.dut
        command = self.take(ctx, dut.fetch_reads)
        if command is not None:
            self._check_fetch(command)
            self.fetches[command.queue].append(Read(command, now, self.rng, self.latency, self.visible_at))
            self.fetch_count += 1
            self.fetched += command.length // 16
            self.log.append(("fetch", now, command.queue, command.length // 16))
        if not self.beats and ctx.get(dut.fetch_room):
            self.beats += self._answer(self.fetches, self.fetch_status, now)
        if self.give(ctx, dut.fetch_beats, self.beats):
            taken.append(dut.fetch_beats)
            if self.beats.pop(0)["last"]:
                self.log.append(("fetched", now))

    def _answer(self, reads, status, now):
        """Beats of a read that is complete and the oldest of its queue; none if there is no such read."""
        heads = [f[0] for f in reads if f and f[0].ready < now]
        if not heads:
            return []
        read = self.rng.choice(heads)
        reads[read.queue].pop(0)
        beat_bytes, status = self.config.bytes_per_beat, status(read.queue)
        pieces = range(0, read.length, beat_bytes)
        contents = [bytes(read.data[at:at + beat_bytes]) for at in pieces]
        return [{"data": int.from_bytes(content, "little"), "bytes": len(content), "first": at == 0,
                 "last": at == pieces[-1], "queue": read.queue, "status": status, "context": read.context}
                for at, content in zip(pieces, contents)]

    def _tables(self, ctx, now, taken):
        dut = self.dut
        command = self.take(ctx, dut.table_reads)
        if command is not None:
            self._check_table(command)
            self.tables[command.queue].append(Read(command, now, self.rng, self.latency, self.visible_at))
            self.log.append(("table", now, command.queue, command.length // 16))
        if not self.table_beats and ctx.get(dut.table_room):
            self.table_beats += self._answer(self.tables, self.table_status, now)
        if self.give(ctx, dut.table_beats, self.table_beats):
            taken.append(dut.table_beats)
            if self.table_beats.pop(0)["last"]:
                self.log.append(("tabled", now))

    def _check_table(self, command):
        """Within a table of an outstanding buffer, and not beyond a multiple of the largest read."""
        end, most = command.address + command.length, self.config.read_bytes
        assert command.length and command.length % 16 == 0 and command.last and not command.more
        assert (command.address & ~15) // most == ((end - 1) & ~15) // most or command.address % 16
        assert command.length <= most
        ring = self.rings[command.queue]
        assert self.quiesced or any(
            table <= command.address and end <= table + 16 * len(buffer.segments)
            for buffer in ring.outstanding.values() for table in [buffer.table] if table is not None)

    def _check_fetch(self, command):
        ring = self.rings[command.queue]
        assert command.length and command.last and not command.more
        assert ring.base <= command.address and command.address + command.length <= ring.base + 16 * ring.size
        assert command.length <= 16 * self.config.fetch_batch

    def _used(self, ctx, now):
        """Posted writes, one beat or more, accepted in order and visible later."""
        dut = self.dut
        ctx.set(dut.used_accepted, 0)
        if self.posted and self.posted[0][0] <= now:
            _, address, content = self.posted.pop(0)
            ctx.set(dut.used_accepted, 1)
            self.visible_at = max(self.visible_at, now + self.rng.randint(1, 30))
            self.invisible.append((self.visible_at, address, content))
            self.visible_at += 1
        beat = self.take(ctx, dut.used)
        if beat is not None:
            if beat.first:
                header = beat.header
                assert header >> 24 & 0xff == 0x40, "a memory write with 3 DWs of header"
                self._address, self._length, self._content = header >> 64 & 0xffff_ffff, 4 * (header & 0x3ff), b""
            self._content += beat.data.to_bytes(self.config.bytes_per_beat, "little")[:4 * beat.keep.bit_count()]
            if beat.last:
                assert len(self._content) == self._length
                if self._length == 4 and self._address < 0x4000:
                    self.events.append((now, self._address, self._content))
                self.posted.append((now + self.rng.randint(1, 10), self._address, self._content))

    def _event(self, ctx, now, taken):
        """Driver Event Suppression: interrupts are wanted unless a test writes there."""
        dut = self.dut
        command = self.take(ctx, dut.event_reads)
        if command is not None:
            assert (command.address, command.length) == (DRIVER_AREAS + 4 * command.queue, 4)
            self.asked.append((max(self.visible_at, now + self.rng.randint(*self.event_latency)), command.queue))
        self._arrive(self.asked, self.answering, now)
        answers = [{"data": int.from_bytes(self.memory[at:at + 4], "little"), "bytes": 4, "first": 1, "last": 1,
                    "queue": queue} for queue in self.answering[:1] for at in [DRIVER_AREAS + 4 * queue]]
        if self.give(ctx, dut.event_beats, answers):
            taken.append(dut.event_beats)
            self.answering.pop(0)
        interrupt = self.take(ctx, dut.interrupts)
        if interrupt is not None:
            assert interrupt.vector == interrupt.queue + 1
            self.interrupts[interrupt.queue] += 1

    def _transmit(self, ctx, now, taken):
        dut = self.dut
        command = self.take(ctx, dut.data_reads)
        if command is not None:
            self.log.append(("data", now, command.queue))
            self.packets[command.queue].append(command)
            if command.last and not command.more:
                self._packet(command.queue, self.packets[command.queue], now)
                self.packets[command.queue] = []
        self._arrive(self.finishing, self.completions, now)
        if self.give(ctx, dut.completions, self.completions):
            taken.append(dut.completions)
            self.completions.pop(0)

    def _packet(self, queue, commands, now):
        """A packet was asked for: exactly the next buffer of that ring; it completes later."""
        context = DataContext().from_bits(commands[-1].context)
        # In order per queue, as the read engine delivers.
        self.finish_at[queue] = max(self.finish_at[queue], now + self.rng.randint(5, 60))
        self.finishing.append((self.finish_at[queue], {
            "queue": queue, "id": context.id, "slots": context.slots, "behind": self.rng.random() < self.follows,
            "filled": 1}))
        if self.quiesced:
            return
        buffer = self.rings[queue].order.pop(0)
        assert context.packet_last and (context.id, context.slots % 65536) == (buffer.id, buffer.slots)
        transaction = []
        for command in commands:
            transaction.append(command)
            if command.last:
                assert sum(requests(c.address, c.length, self.shift) for c in transaction) <= self.parts
                assert DataContext().from_bits(command.context).packet_last == (command is commands[-1])
                assert command.more == (command is not commands[-1])
                transaction = []
        asked = joined((c.address, c.length) for c in commands)
        segments = joined((address, length) for address, length, _ in buffer.segments)
        total = buffer.bytes_of(0)
        bad = buffer.bytes_of(1) or total not in self.packet_bytes \
            or any(write for *_, write in buffer.segments)
        assert context.drop == bool(bad)
        if not bad:
            assert asked == segments
        else:
            assert commands[-1].length == 0 and begins(segments, asked)
        buffer.dropped = bool(bad)

    def _receive(self, ctx, now, taken):
        dut = self.dut
        if self.give(ctx, dut.frames, self.frames):
            taken.append(dut.frames)
            self.log.append(("frame", now))
            self.asking.append(self.frames.pop(0))
        verdict = self.take(ctx, dut.verdicts)
        if verdict is not None:
            self.log.append(("verdict", now))
            frame = self.asking.pop(0)
            self.verdicts.append((verdict.accept, verdict.cause))
            self.judge(frame, verdict)
            if verdict.accept:
                self.writing.append((frame | {"buffers": verdict.buffers}, []))
        write = self.take(ctx, dut.writes)
        if write is not None:
            self.log.append(("write", now))
            self.early_writes.append((write.queue, write.address, write.length, write.last))
        while self.early_writes and self.writing:
            self._written(*self.early_writes.pop(0), now)
        ctx.set(dut.packet_sent, 0)
        if self.sent and self.sent[0] <= now:
            self.sent.pop(0)
            ctx.set(dut.packet_sent, 1)
        ctx.set(dut.frames_behind, self.rng.random() < self.follows)

    def judge(self, frame, verdict):
        """Hook for tests: called with each verdict."""

    def _written(self, queue, address, length, last, now):
        frame, pieces = self.writing[0]
        pieces.append((address, length))
        assert queue == frame["queue"] and length
        assert last == (sum(length for _, length in pieces) == frame["length"])
        if last:
            self.writing.pop(0)
            self._filled(frame, pieces, now)

    def _filled(self, frame, pieces, now):
        self.sent.append(max(now + self.rng.randint(1, 20), self.sent[-1] + 1 if self.sent else 0))
        order = self.rings[frame["queue"]].order
        buffers = [order.pop(0) for _ in range(frame["buffers"])]
        if self.quiesced:
            return
        expected, left = [], frame["length"]
        for buffer in buffers:
            assert left
            before = left
            for address, length, write in buffer.segments:
                if write and left:
                    expected.append((address, min(length, left)))
                    left -= expected[-1][1]
            buffer.filled, buffer.more = before - left, left > 0
        assert left == 0 and joined(pieces) == joined(expected)


def slots_of(chain):
    return 1 if isinstance(chain, Indirect) else len(chain)


def requests(address, length, shift):
    return max(1, ((address + length - 1) >> shift) - (address >> shift) + 1) if length else 1


def joined(pieces):
    """Pieces without empty ones, neighbours put together."""
    out = []
    for address, length in pieces:
        if out and sum(out[-1]) == address:
            out[-1] = (out[-1][0], out[-1][1] + length)
        elif length:
            out.append((address, length))
    return out


def begins(segments, asked):
    """Whether `asked` is the beginning of `segments`: all that may be read of a chain that turns out bad."""
    for (address, length), (at, most) in zip(asked[:-1], segments):
        if (address, length) != (at, most):
            return False
    if not asked:
        return True
    at, most = segments[len(asked) - 1]
    return asked[-1][0] == at and asked[-1][1] <= most
