"""The request multiplexer: whole TLPs, order, fairness, what may start, and what becomes of the rest."""

import random

import pytest

from hdl.pcie.request_mux import RequestMux
from testbench.unit.bench import StreamBench
from testbench.unit.few import few
from testbench.unit.requester_tlp import beats_of, memory_header, message_header, tlps_of

ERR_COR, ERR_FATAL = 0x30, 0x33
REQUESTER = 0x1b08


def write(source, number, size):
    """A memory write that tells where it is from."""
    payload = bytes((source, number, 0, 0)) + bytes(n & 0xff for n in range(size - 4))
    return memory_header(0x1_0000_0000 + (source << 20) + 4096 * number, size // 4, write=True), payload


def read(tag):
    return memory_header(0x2000 + 64 * tag, 16, write=False, tag=tag), b""


class Mux(StreamBench):
    """The multiplexer with TLPs at its sources. `out` fills with beats; `events` with what it says, by cycle."""

    def __init__(self, posted, reads=(), *, width=512, stall=(0, 0), np_ready=1, enable=1, keep=(), **options):
        dut = RequestMux(width, len(posted), keep)
        super().__init__(dut, **options)
        self.width = width
        for n, tlps in enumerate(posted):
            self.put(getattr(dut, f"p{n}"), [b for t in tlps for b in beats_of(*t, width)], stall=stall[0],
                     name=f"source {n}")
        self.put(dut.reads, [b for t in reads for b in beats_of(*t, width)], stall=stall[0], name="reads")
        self.accepted = [0] * len(posted)
        self.dropped = []
        self.arrived = [0] * len(posted)   # TLPs per source transferred on rq

        async def setup(ctx):
            ctx.set(dut.requester_id, REQUESTER)
            ctx.set(dut.rq_np_ready, np_ready)
            ctx.set(dut.bus_master_enable, enable)
        self.process(setup)

        async def watch(ctx):
            while True:
                _, _, *accepted, dropped, tag = await ctx.tick().sample(
                    *(getattr(dut, f"accepted{n}") for n in range(len(posted))), dut.dropped_valid, dut.dropped_tag)
                self.accepted = [total + pulse for total, pulse in zip(self.accepted, accepted)]
                if dropped:
                    self.dropped.append(tag)
        self.process(watch, wait=False)

    def tlps(self, beats):
        """Collected TLPs with the requester id, checked, taken out again."""
        result = []
        for header, payload in tlps_of(beats, self.width):
            assert header >> 48 & 0xffff == REQUESTER
            result.append((header & ~(0xffff << 48), payload))
        return result


def beats_in(tlps, width):
    return sum(len(beats_of(*t, width)) for t in tlps)


@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("stall", [(0, 0), (0.5, 0), (0, 0.5), (0.3, 0.6)])
def test_whole_and_in_order(width, stall):
    rng = random.Random(width)
    posted = [[write(source, n, 4 * rng.randrange(1, 64)) for n in range(20)] for source in range(4)]
    posted[2] = [message_header(ERR_COR, tag=n) for n in range(20)]
    posted[2] = [(header, b"") for header in posted[2]]
    reads = [read(tag) for tag in range(30)]
    bench = Mux(posted, reads, width=width, stall=stall, seed=rng.randrange(1000))
    out = bench.get(bench.dut.rq, count=sum(beats_in(t, width) for t in [*posted, reads]), stall=stall[1])
    bench.run()
    got = bench.tlps(out)
    for source in [*posted, reads]:
        wanted = set(source)
        assert [t for t in got if t in wanted] == source
    assert bench.accepted == [20] * 4
    assert bench.dropped == []


def test_no_cycle_between_tlps_and_in_turn():
    count = 40
    posted = [[write(source, n, 64) for n in range(count)] for source in range(3)]
    reads = [read(tag) for tag in range(count)]
    bench = Mux(posted, reads, limit=4 * count + 6)
    out = bench.get(bench.dut.rq, count=4 * count)
    bench.run(settle=5)
    origin = [payload[0] if payload else 3 for _, payload in bench.tlps(out)]
    assert all(sorted(origin[n:n + 4]) == [0, 1, 2, 3] for n in range(0, 4 * count, 4))


@pytest.mark.parametrize("beats, others, latency", [(1, 0, 1), (2, 0, 2), (1, 1, 2)])
def test_latency(beats, others, latency):
    """A TLP of one beat that comes alone spares a cycle."""
    bench = Mux([[write(n, 0, 64 * beats)] for n in range(1 + others)])
    bench.get(bench.dut.rq, count=beats * (1 + others))
    times = {}

    async def watch(ctx):
        for cycle in range(20):
            _, _, given, out, accepted = await ctx.tick().sample(bench.dut.p0.valid, bench.dut.rq.valid,
                                                                 bench.dut.accepted0)
            for name, value in (("given", given), ("out", out), ("accepted", accepted)):
                if value:
                    times.setdefault(name, cycle)
    bench.process(watch)
    bench.run()
    assert times["out"] - times["given"] == latency
    assert times["accepted"] - times["out"] == beats * (1 + others)


def test_accepted_only_when_transferred():
    """While rq stands still nothing is accepted, however long it takes."""
    bench = Mux([[write(0, n, 64) for n in range(2)], [write(1, 0, 256)]])
    moving = []

    async def drive(ctx):
        await ctx.tick().repeat(300)
        assert ctx.get(bench.dut.rq.valid) and bench.accepted == [0, 0]
        moving.append(True)
    bench.process(drive)
    out = []

    async def take(ctx):
        while len(out) < 6:
            ctx.set(bench.dut.rq.ready, bool(moving))
            _, _, valid, ready, beat = await ctx.tick().sample(bench.dut.rq.valid, bench.dut.rq.ready,
                                                               bench.dut.rq.payload)
            if valid and ready:
                out.append(beat)
    bench.process(take)
    bench.run()
    assert bench.accepted == [2, 1]


@pytest.mark.parametrize("fall", range(4, 12))
def test_reads_wait_and_posted_do_not(fall):
    """After `rq_np_ready` falls at most 4 reads come, although rq stands still, and posted TLPs pass."""
    posted = [[write(0, n, 64) for n in range(30)]]
    bench = Mux(posted, [read(tag) for tag in range(20)], limit=400)
    dut, out, at_fall = bench.dut, [], []

    async def drive(ctx):
        for cycle in range(200):
            ctx.set(dut.rq.ready, not fall - 3 <= cycle < fall + 20)
            if cycle == fall:
                ctx.set(dut.rq_np_ready, 0)
                at_fall.append(len(out))
            _, _, valid, ready, beat = await ctx.tick().sample(dut.rq.valid, dut.rq.ready, dut.rq.payload)
            if valid and ready:
                out.append(beat)
        tlps = bench.tlps(out)
        assert sum(1 for _, payload in tlps if payload) == 30
        assert sum(1 for _, payload in tlps[at_fall[0]:] if not payload) <= 3
        assert sum(1 for _, payload in tlps if not payload) < 20
        ctx.set(dut.rq_np_ready, 1)
    bench.process(drive)

    async def rest(ctx):
        await ctx.tick().repeat(200)
        while sum(1 for beat in out if not beat.keep) < 20:
            _, _, valid, ready, beat = await ctx.tick().sample(dut.rq.valid, dut.rq.ready, dut.rq.payload)
            if valid and ready:
                out.append(beat)
    bench.process(rest)
    bench.run()
    assert [header >> 40 & 0xff for header, payload in bench.tlps(out) if not payload] == list(range(20))


def test_bus_master_enable():
    """Without it messages pass and nothing else; with it the rest follows."""
    messages = [(message_header(ERR_FATAL, tag=n), b"") for n in range(5)]
    writes = [write(0, n, 128) for n in range(5)]
    reads = [read(tag) for tag in range(5)]
    bench = Mux([writes, messages], reads, enable=0)
    out = bench.get(bench.dut.rq, count=5 + 5 + 10)

    async def drive(ctx):
        await ctx.tick().repeat(100)
        assert bench.tlps(out) == messages
        ctx.set(bench.dut.bus_master_enable, 1)
    bench.process(drive)
    bench.run()
    assert bench.accepted == [5, 5]
    assert len(bench.tlps(out)) == 15


def test_bus_master_enable_does_not_cut_a_tlp():
    long = write(0, 0, 1024)
    bench = Mux([[long, write(0, 1, 64)]])
    out = bench.get(bench.dut.rq)

    async def drive(ctx):
        await ctx.tick().repeat(8)
        ctx.set(bench.dut.bus_master_enable, 0)
        await ctx.tick().repeat(100)
        assert bench.tlps(out) == [long]
        ctx.set(bench.dut.bus_master_enable, 1)
    bench.process(drive)
    bench.run()
    assert len(bench.tlps(out)) == 2


@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("seed", few(3, range(6)))
def test_discard(width, seed):
    """Everything is accounted for once: on rq, or swallowed; messages and the kept source arrive, nothing by halves."""
    rng = random.Random(seed)
    plain = [write(0, n, 4 * rng.randrange(1, 80)) for n in range(30)]
    mixed = [write(1, n, 64) if n % 2 else (message_header(ERR_COR, tag=n), b"") for n in range(30)]
    kept = [write(2, n, 4 * rng.randrange(1, 40)) for n in range(30)]
    reads = [read(tag) for tag in range(30)]
    bench = Mux([plain, mixed, kept], reads, width=width, stall=(0.2, 0.3), keep=(2,), seed=seed)
    dut = bench.dut
    out = bench.get(dut.rq, stall=0.3)
    begin = rng.randrange(5, 60)

    async def drive(ctx):
        await ctx.tick().repeat(begin)
        ctx.set(dut.discard, 1)
        await ctx.tick().repeat(3)
        started = len(out)
        while not (bench.accepted == [30] * 3 and ctx.get(dut.idle)):
            await ctx.tick()
        assert len(out) >= started
    bench.process(drive)
    bench.run()
    got = bench.tlps(out)
    assert [t for t in got if t in kept] == kept
    assert [t for t in got if t in mixed and not t[1]] == mixed[::2]
    sent = [t for t in got if t in plain]
    assert sent == plain[:len(sent)] and len(sent) < 30
    asked = [header >> 40 & 0xff for header, payload in got if (header, payload) in reads]
    assert asked + bench.dropped == list(range(30))
    assert bench.accepted == [30] * 3


def test_discard_goes_on_while_rq_stands_still():
    """What has not started needs neither rq nor bus mastering to be swallowed."""
    bench = Mux([[write(0, n, 64) for n in range(20)], [write(1, 0, 64)] * 2], [read(tag) for tag in range(10)],
                np_ready=0, enable=0, limit=200)
    dut = bench.dut

    async def drive(ctx):
        ctx.set(dut.rq.ready, 0)
        await ctx.tick().repeat(20)
        ctx.set(dut.discard, 1)
    bench.process(drive)
    bench.run()
    assert bench.accepted == [20, 2]
    assert bench.dropped == list(range(10))


def test_discard_keeps_the_order_of_what_has_started():
    """TLPs stuck on rq are accepted before those of their source that are swallowed."""
    bench = Mux([[write(0, n, 64) for n in range(20)]])
    dut = bench.dut
    out = []

    async def drive(ctx):
        await ctx.tick().repeat(20)
        ctx.set(dut.discard, 1)
        await ctx.tick().repeat(100)
        assert bench.accepted == [0] and not ctx.get(dut.idle)
        ctx.set(dut.rq.ready, 1)
        while bench.accepted != [20]:
            _, _, valid, beat = await ctx.tick().sample(dut.rq.valid, dut.rq.payload)
            if valid:
                out.append(beat)
    bench.process(drive)
    bench.run()
    assert bench.tlps(out) == [write(0, n, 64) for n in range(3)]


def test_swallowed_to_its_end():
    """A TLP that discard has begun to swallow is swallowed whole, though discard ends meanwhile."""
    long = write(0, 0, 1024)
    bench = Mux([[long, write(0, 1, 64)]], enable=0, stall=(0.5, 0))
    out = bench.get(bench.dut.rq)

    async def drive(ctx):
        await ctx.tick().repeat(10)
        ctx.set(bench.dut.discard, 1)
        await ctx.tick().repeat(3)
        ctx.set(bench.dut.discard, 0)
        ctx.set(bench.dut.bus_master_enable, 1)
    bench.process(drive)
    bench.run()
    assert bench.tlps(out) == [write(0, 1, 64)]
    assert bench.accepted == [2]


@pytest.mark.parametrize("arguments, message", [((0,), "at least one posted source is needed, not 0"),
                                                ((2, (2,)), r"not among the 2 posted ones: \[2\]")])
def test_bad_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        RequestMux(512, *arguments)
