"""Resets of single queues of an engine, at any moment, while the others work."""

import random

import pytest
from amaranth.sim import Simulator

from hdl.dma.spec import ReadStatus
from hdl.virtqueue.engine import Direction
from hdl.virtqueue.spec import DropCause
from testbench.unit.packed_ring import Indirect, PackedRing
from testbench.unit.test_vq_engine import SMALL, chain
from testbench.unit.vq_host import BUFFERS, DRIVER_AREAS, Host

SIZES = (5, 16, 3)
TABLES = 0x20000
LIMIT = 4000        # cycles that a reset may take under this host


class ResetHost(Host):
    """A host whose drivers may reset their queue. `gone`: queues that may not be touched; `begun`: chains of each queue
    that the engine has begun; while `held`, data reads are not taken."""

    def __init__(self, direction, *, seed, only=(), tables=False, **options):
        super().__init__(SMALL, direction, SIZES, seed=seed, shift=7, **options)
        self.gone, self.life, self.refused = set(), [0] * len(SIZES), []
        self.begun, self.held = [0] * len(SIZES), False
        if "latency" in options:
            self.event_latency = options["latency"]
        self.backs, self.only, self.tables_used = [[] for _ in SIZES], only, tables
        self.steps = [None] * len(SIZES)
        for queue in range(len(SIZES)):
            self.live(queue)
        if direction is Direction.RX:
            self.drivers.append(self.arrivals())

    def buffer(self, queue, number):
        """A chain; one that can hold a frame, when frames are received."""
        write, rng = self.direction is Direction.RX, self.rng
        slots = rng.randint(1, self.rings[queue].size) if rng.random() < 0.5 else 1
        segments = chain(rng, slots, write=int(write), least=1000, most=1500)
        return Indirect(segments, TABLES + 0x4000 * queue + 0x100 * (number % 64)) if self.tables_used else segments

    def live(self, queue):
        """A driver begins to work on the queue's ring."""
        chains = [self.buffer(queue, number) for number in range(400)]
        self.backs[queue] = self.driver(queue, chains, check=self.direction is Direction.RX, pace=0.7, gap=10)
        self.steps[queue] = self.drivers[-1]

    def arrivals(self):
        while True:
            if len(self.frames) < 2 and self.rng.random() < 0.2:
                self.frames.append({"queue": self.rng.randrange(len(SIZES)), "length": self.rng.choice([72, 500, 900])})
            yield

    def judge(self, frame, verdict):
        if verdict.accept:
            self.begun[frame["queue"]] += 1
        else:
            self.refused.append((frame["queue"], verdict.cause))
            assert verdict.cause != DropCause.DISABLED or frame["queue"] in self.only

    def take(self, ctx, port):
        if self.held and port is self.dut.data_reads:
            ctx.set(port.ready, 0)
            return None
        return super().take(ctx, port)

    def _check_fetch(self, command):
        assert command.queue not in self.gone
        super()._check_fetch(command)

    def _check_table(self, command):
        assert command.queue not in self.gone
        super()._check_table(command)

    def _packet(self, queue, commands, now):
        assert queue not in self.gone
        self.begun[queue] += 1
        super()._packet(queue, commands, now)

    def _written(self, queue, address, length, last, now):
        assert queue not in self.gone
        super()._written(queue, address, length, last, now)

    def _event(self, ctx, now, taken):
        before = list(self.interrupts), len(self.asked)
        super()._event(ctx, now, taken)
        for queue in self.gone:
            assert self.interrupts[queue] == before[0][queue]
        assert not any(queue in self.gone for _, queue in self.asked[before[1]:])

    def left(self, queue):
        """What is under way of a queue."""
        ring = self.rings[queue]
        return [
            self.fetches[queue], self.tables[queue], self.packets[queue],
            [beat for beat in self.beats + self.table_beats if beat["queue"] == queue],
            [entry for entry in self.asked if entry[1] == queue], [entry for entry in self.answering if entry == queue],
            [address for _, address, _ in self.posted if ring.base <= address < ring.base + 16 * ring.size
             or address == ring.device_area],
            [c for c in self.completions + [c for _, c in self.finishing] if c["queue"] == queue],
            [w for w in self.early_writes if w[0] == queue], [f for f, _ in self.writing if f["queue"] == queue],
        ]

    async def reset_queue(self, ctx, queue):
        self.drivers.remove(self.steps[queue])
        ctx.set(self.dut.reset.payload, queue)
        ctx.set(self.dut.reset.valid, 1)
        begun, silent = self.now, self.rng.random() < 0.7
        chains, self.held = self.begun[queue], False
        while not ctx.get(self.dut.reset.ready):
            silent = silent or self.rng.random() < 0.01
            ctx.set(self.dut.silent, silent)
            assert self.now < begun + LIMIT, f"no reset of queue {queue} (seed {self.seed}): {self.left(queue)}"
            await self.cycle(ctx)
        assert silent and not any(self.left(queue)), self.left(queue)
        assert self.begun[queue] <= chains + 8, "only what was at hand goes to its end"
        self.gone.add(queue)
        await self.cycle(ctx)
        ctx.set(self.dut.reset.valid, 0)
        for _, address, content in self.invisible:      # the answer comes behind them
            self.memory[address:address + len(content)] = content
        self.invisible = []
        self.doorbells = [entry for entry in self.doorbells if entry[1]["queue"] != queue]
        self.ringing = self.ringing[:1] + [d for d in self.ringing[1:] if d["queue"] != queue]
        return self.now - begun

    async def enable(self, ctx, queue, size):
        """With another ring."""
        self.life[queue] += 1
        ring = self.rings[queue]
        base = 0x4000 + 0x2000 * queue + 0x600 * (self.life[queue] % 4)
        self.rings[queue] = PackedRing(self.memory, base, ring.device_area, size, event_index=self.event_index,
                                       in_order=self.in_order)
        self.memory[DRIVER_AREAS + 4 * queue:][:4] = bytes(4)
        self.finish_at[queue] = 0
        ctx.set(self.dut.configure, {"valid": 1, "queue": queue, "config": self.configuration(queue)})
        self.gone.discard(queue)
        await self.cycle(ctx)
        ctx.set(self.dut.configure.valid, 0)
        self.live(queue)


def simulate(host, body):
    async def run(ctx):
        await host.start(ctx)
        await body(ctx)
    simulator = Simulator(host.dut)
    simulator.add_clock(4e-9)
    simulator.add_testbench(run)
    simulator.run()


@pytest.mark.parametrize("direction, seed, options", [
    (Direction.TX, 0, {}), (Direction.RX, 1, {}),
    (Direction.RX, 3, {"tables": True}), (Direction.TX, 4, {"in_order": True, "event_index": True}),
    *(pytest.param(*case, marks=pytest.mark.campaign) for case in [
        (Direction.TX, 2, {"tables": True}), (Direction.RX, 5, {"in_order": True}),
        (Direction.TX, 6, {"notification_data": True}), (Direction.RX, 7, {"notification_data": True}),
        (Direction.TX, 8, {"latency": (100, 500)}), (Direction.RX, 9, {"latency": (100, 500), "event_index": True}),
    ]),
])
@pytest.mark.requirements("BAS-016", "BAS-017", "BAS-018", "BAS-019")
def test_resets_at_any_moment(direction, seed, options):
    """Two of three queues are reset and come back with another ring; the third loses nothing."""
    host = ResetHost(direction, seed=seed, only=(0, 2), **options)
    rng = random.Random(seed)

    async def body(ctx):
        for _ in range(6):
            for _ in range(rng.choice((5, 60, 300))):
                await host.cycle(ctx)
            queue = rng.choice((0, 2))
            await host.reset_queue(ctx, queue)
            for _ in range(rng.choice((1, 40, 200))):
                await host.cycle(ctx)
            await host.enable(ctx, queue, rng.choice((1, 3, 5, 9, 16)))
        begun, steady = host.now, len(host.backs[1])
        while any(len(host.backs[queue]) < 4 for queue in (0, 2)) or len(host.backs[1]) < steady + 4:
            assert host.now < begun + 12_000, f"stuck (seed {seed}): {host.state()}"
            await host.cycle(ctx)
    simulate(host, body)
    assert host.errors == 0
    assert direction is Direction.TX or any(cause == DropCause.DISABLED for _, cause in host.refused)


@pytest.mark.requirements("BAS-016", "BAS-018")
def test_reset_of_a_broken_queue():
    """It is out of use already, and so is the device; the reset ends nonetheless."""
    host = ResetHost(Direction.TX, seed=20, only=(0,))
    host.fetch_status = lambda queue: ReadStatus.ABORTED if queue == 0 else ReadStatus.OK

    async def body(ctx):
        while not host.errors:
            await host.cycle(ctx)
        ctx.set(host.dut.live, 0)
        for queue in (0, 1):
            await host.reset_queue(ctx, queue)
        for _ in range(300):
            await host.cycle(ctx)
    simulate(host, body)
    assert host.errors == 1


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.requirements("BAS-018")
def test_a_reset_of_the_device_ends_it(direction):
    """Wherever it stands; afterwards all queues work."""
    host = ResetHost(direction, seed=21, only=range(3))
    rng = random.Random(21)

    async def body(ctx):
        for _ in range(6):
            for _ in range(rng.choice((50, 200))):
                await host.cycle(ctx)
            ctx.set(host.dut.reset.payload, rng.randrange(3))
            ctx.set(host.dut.reset.valid, 1)
            for _ in range(rng.randrange(120)):
                ctx.set(host.dut.silent, rng.random() < 0.02)
                if ctx.get(host.dut.reset.ready):
                    break
                await host.cycle(ctx)
            await host.reset(ctx)
            ctx.set(host.dut.reset.valid, 0)
            await host.start(ctx)
            for queue in range(3):
                host.live(queue)
            if direction is Direction.RX:
                host.drivers.append(host.arrivals())
        begun = host.now
        while any(len(back) < 4 for back in host.backs):
            assert host.now < begun + 12_000, host.state()
            await host.cycle(ctx)
    simulate(host, body)
    assert host.errors == 0


@pytest.mark.requirements("BAS-016")
def test_nothing_new_is_begun():
    """The cache is full of chains; those that have not been begun never are."""
    host = ResetHost(Direction.TX, seed=23, only=range(3))
    host.drivers.clear()
    host.driver(1, [[(BUFFERS, 100, 0)]] * 16, pace=1, check=False)
    host.steps[1] = host.drivers[-1]
    host.held = True

    async def body(ctx):
        for _ in range(400):
            await host.cycle(ctx)
        await host.reset_queue(ctx, 1)
    simulate(host, body)
    assert host.begun[1]


@pytest.mark.requirements("BAS-016", "BAS-017")
def test_the_event_structure_is_still_read():
    """A read of it is as much a read as any, and its answer makes no interrupt."""
    host = ResetHost(Direction.TX, seed=24, only=range(3))
    host.event_latency = (1500, 1500)

    async def body(ctx):
        while not any(queue == 1 for _, queue in host.asked):
            await host.cycle(ctx)
        interrupts = host.interrupts[1]
        assert await host.reset_queue(ctx, 1) > 1000
        assert host.interrupts[1] == interrupts
    simulate(host, body)


def test_nothing_under_way():
    """Of a queue that never did anything."""
    host = ResetHost(Direction.TX, seed=22, only=range(3))
    host.drivers.clear()

    async def body(ctx):
        host.drivers.append(host.steps[0])
        assert await host.reset_queue(ctx, 0) < 120
        await host.enable(ctx, 0, 4)
        while len(host.backs[0]) < 4:
            await host.cycle(ctx)
    simulate(host, body)

