"""Everything around a `virtqueue.Engine`, as behaviour: host memory, read engine, write engine, drivers.

Reads are answered in order per queue after random times; every 64-byte line of a descriptor fetch is sampled at a
moment of its own. A posted write becomes visible some time after it was accepted, and a read issued after its
acceptance samples behind it.
"""

import random

from amaranth.sim import Simulator

from hdl.dma.spec import ReadStatus
from hdl.virtqueue.engine import Direction, Engine
from testbench.unit.packed_ring import PackedRing
from testbench.unit.vq_driver import DriverSide
from testbench.unit.vq_memory import DRIVER_AREAS, MemorySide
from testbench.unit.vq_packets import PacketSide

MEMORY = 1 << 20
AREAS = 0x1000      # event suppression structures
BUFFERS = 0x40000
HEADER = 12


class Host(MemorySide, PacketSide, DriverSide):
    """A bench for one engine.

    Parameters
    ----------
    sizes : ring size of each queue in use
    stall : how often a stream is not ready or not valid
    latency : of fetches, (min, max) cycles; one outside makes races likely
    event_index, in_order : VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER
    indirect : VIRTIO_F_INDIRECT_DESC is negotiated
    merge : VIRTIO_NET_F_MRG_RXBUF is negotiated
    flags_first : drivers write an element's flags before the rest of it
    long_packets, long_header : transmit: segmentation, VIRTIO_NET_F_HASH_REPORT are negotiated
    """

    def __init__(self, config, direction, sizes, *, seed, stall=0.2, latency=(5, 60), suppress=True, head_only=False,
                 shift=9, parts=8, notification_data=False, event_index=False, in_order=False, indirect=True,
                 merge=False, long_packets=False, long_header=False, flags_first=False):
        self.config, self.direction, self.seed, self.flags_first = config, direction, seed, flags_first
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
                                 flags_first=self.flags_first, event_index=self.event_index, in_order=self.in_order)
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

    # One cycle
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
