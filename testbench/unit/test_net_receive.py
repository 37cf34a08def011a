"""The receive path against a byte-level reference: what the write engine gets, and what becomes of the other frames."""

import random

import pytest

from hdl.config import NicConfig
from hdl.net.receive import Receive
from testbench.unit.axis import axis_beats, send_beats
from testbench.unit.bench import StreamBench

# flags 0, gso_type NONE, hdr_len, gso_size, csum_start, csum_offset 0, num_buffers 1
HEADER = bytes(10) + b"\x01\x00"
CONFIGS = {128: NicConfig.preset("tiny"),
           512: NicConfig(rx_buffer=8192, tx_buffer=8192, max_mtu=2000, flow_entries=16, tags=32)}
CAUSES = ("disabled", "bad", "runt", "oversize", "overflow")


def frame_of(rng, size, tags=()):
    """A frame of `size` bytes with VLAN tags of these EtherTypes."""
    inner = b"".join(tag.to_bytes(2, "big") + rng.randbytes(2) for tag in tags)
    return (rng.randbytes(12) + inner + b"\x08\x00" + rng.randbytes(size))[:size]


class Bench(StreamBench):
    """Frames at the wire; verdicts given by `accept(number)`; `beats` collects what comes out."""

    def __init__(self, beats, *, width=512, config=None, long_header=0, mtu=1500, accept=lambda n: True, offered=0,
                 expect=None, stall=(0, 0, 0, 0), wait=lambda: False, judge=True, **options):
        config = config or CONFIGS[width]
        dut = Receive(config)
        super().__init__(dut, **options)
        self.width = width
        self.infos = []
        self.counts = dict.fromkeys((*CAUSES, "received", "bytes"), 0)

        async def setup(ctx):
            ctx.set(dut.mtu, mtu)
            ctx.set(dut.enable, 1)
            ctx.set(dut.active_pairs, 1)
            ctx.set(dut.engine_idle, 1)
            ctx.set(dut.long_header, long_header)
        self.process(setup)
        rng = random.Random(self.seed)

        def gap():
            cycles = 0
            while rng.random() < stall[0]:
                cycles += 1
            return cycles

        async def send(ctx):
            await ctx.tick().repeat(4)
            await send_beats(ctx, dut, beats, gap)
        self.process(send, name="wire")

        async def count(ctx):
            while True:
                _, _, received, size, *dropped = await ctx.tick().sample(
                    dut.received, dut.received_bytes, *(getattr(dut, f"dropped_{cause}") for cause in CAUSES))
                assert sum(dropped) + received <= 1, "a frame is counted twice"
                self.counts["received"] += received
                self.counts["bytes"] += size if received else 0
                for cause, pulse in zip(CAUSES, dropped):
                    self.counts[cause] += pulse
        self.process(count, wait=False)

        async def decide(ctx):
            while len(self.infos) < offered or offered == 0:
                while rng.random() < stall[1]:
                    await ctx.tick()
                ctx.set(dut.frames.ready, 1)
                (info,) = await ctx.tick().sample(dut.frames.payload).until(dut.frames.valid)
                ctx.set(dut.frames.ready, 0)
                self.infos.append(info.length)
                assert info.queue == 0
                number = len(self.infos) - 1
                while wait():
                    await ctx.tick()
                while rng.random() < stall[2]:
                    await ctx.tick()
                ctx.set(dut.verdicts.payload, {"accept": accept(number), "buffers": 1})
                ctx.set(dut.verdicts.valid, 1)
                await ctx.tick().until(dut.verdicts.ready)
                ctx.set(dut.verdicts.valid, 0)
        if judge:
            self.process(decide, wait=offered > 0, name="verdicts")
        self.beats = self.get(dut.data, count=expect, stall=stall[3])

    def packets_out(self):
        return packets_of(self.beats, self.width)


def packets_of(beats, width):
    """Packets of collected beats; asserts the stream's framing."""
    packets, packet = [], None
    for beat in beats:
        assert beat.first == (packet is None)
        packet = b"" if beat.first else packet
        assert beat.bytes == width // 8 or (beat.last and beat.bytes)
        packet += beat.data.to_bytes(width // 8, "little")[:beat.bytes]
        if beat.last:
            packets.append(packet)
            packet = None
    assert packet is None
    return packets


def beats_out(frames, width, header_bytes=12):
    return sum(-(-(len(frame) + header_bytes) * 8 // width) for frame in frames)


def wire(frames, width):
    return [beat for frame in frames for beat in axis_beats(frame, width)]


@pytest.mark.requirements(
    "NET-026", "NET-027", "NET-050", "NET-051", "NET-052", "NET-056", "NET-077",
    "NET-058", "NET-059", "NET-060", "NET-061", "NET-062", "NET-063", "NET-083", "NET-092",
    "NET-023", "NET-152")
@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("stall", [(0, 0, 0, 0), (0.5, 0, 0, 0), (0.3, 0.8, 0.3, 0), (0.6, 0, 0.2, 0.3)],
                         ids=["flowing", "wire late", "verdicts late", "data slow"])
def test_frames_arrive_behind_their_header(width, stall):
    rng = random.Random(width)
    sizes = [14, 15, 51, 52, 53, 60, 63, 64, 65, 116, 117, 1514, *(rng.randrange(14, 300) for _ in range(20))]
    frames = [frame_of(rng, size) for size in sizes]
    bench = Bench(wire(frames, width), width=width, offered=len(frames), expect=beats_out(frames, width), stall=stall,
                  seed=rng.randrange(1000))
    bench.run()
    assert bench.packets_out() == [HEADER + frame for frame in frames]
    assert bench.infos == [12 + len(frame) for frame in frames]
    assert bench.counts == {**dict.fromkeys(CAUSES, 0), "received": len(frames), "bytes": sum(sizes)}


@pytest.mark.requirements("NET-027")
@pytest.mark.parametrize("width", [128, 512])
def test_long_header(width):
    rng = random.Random(width)
    frames = [frame_of(rng, size) for size in (14, 16, 28, 29, 32, 44, 45, 60, 64, 100, 300)]
    bench = Bench(wire(frames, width), width=width, long_header=1, offered=len(frames),
                  expect=beats_out(frames, width, 20), stall=(0.3, 0, 0, 0.3))
    bench.run()
    assert bench.packets_out() == [HEADER.ljust(20, b"\0") + frame for frame in frames]
    assert bench.infos == [20 + len(frame) for frame in frames]


@pytest.mark.parametrize("seed", range(3))
def test_rejected_frames_are_skipped(seed):
    rng = random.Random(seed)
    frames = [frame_of(rng, rng.randrange(14, 400)) for _ in range(60)]
    verdicts = [rng.random() < 0.5 for _ in frames]
    wanted = [frame for frame, accept in zip(frames, verdicts) if accept]
    bench = Bench(wire(frames, 512), accept=lambda n: verdicts[n], offered=len(frames), expect=beats_out(wanted, 512),
                  stall=(0.5, 0.1, 0.1, 0.1), seed=seed)
    bench.run()
    assert bench.packets_out() == [HEADER + frame for frame in wanted]


@pytest.mark.requirements("NET-008")
@pytest.mark.parametrize("width, mtu", [(128, 68), (512, 68), (512, 1500), (512, 2000)])
def test_mtu(width, mtu):
    """mtu + 14, and 4 more for each of two VLAN tags; what only looks like a third tag is none."""
    rng = random.Random(mtu)
    frames, good = [], []
    for tags, allowance in [((), 14), ((0x8100,), 18), ((0x88a8,), 18), ((0x88a8, 0x8100), 22), ((0x8100, 0x8100), 22),
                            ((0x8100, 0x8100, 0x8100), 22), ((0x0800, 0x8100), 14), ((0x8101,), 14), ((0x8800,), 14)]:
        for beyond in (-1, 0, 1, 5, 200):
            frames.append(frame_of(rng, mtu + allowance + beyond, tags))
            if beyond <= 0:
                good.append(frames[-1])
    bench = Bench(wire(frames, width), width=width, mtu=mtu, offered=len(good), expect=beats_out(good, width),
                  limit=40_000)
    bench.run()
    assert bench.packets_out() == [HEADER + frame for frame in good]
    assert bench.counts["oversize"] == len(frames) - len(good)


def test_mtu_beyond_what_the_buffers_are_built_for():
    rng = random.Random(1)
    frames = [frame_of(rng, 2014), frame_of(rng, 2015)]
    bench = Bench(wire(frames, 512), mtu=9000, offered=1, expect=beats_out(frames[:1], 512))
    bench.run()
    assert bench.packets_out() == [HEADER + frames[0]]
    assert bench.counts["oversize"] == 1


@pytest.mark.parametrize("width", [128, 512])
def test_bad_frames(width):
    """Marked by the MAC, too short, with holes in tkeep or a partial beat within: each dropped whole, by its cause."""
    rng = random.Random(width)
    size = width // 8
    beats, good, bad, runts = [], [], 0, 0
    for n in range(40):
        frame = frame_of(rng, rng.randrange(14, 4 * size + 20))
        kind = n % 8
        these = axis_beats(frame, width, bad=kind == 1)
        data, keep, last, user = these[-1]
        if kind == 2:
            these = axis_beats(frame[:rng.randrange(1, 14)], width)
            runts += 1
        elif kind == 3:
            these[-1] = (data, 0b101, last, user)
        elif kind == 4:
            these[-1] = (data, (1 << size) - 2, last, user)
        elif kind == 5:
            these[-1] = (data, 0, last, user)
        elif kind == 6:
            these.insert(0, (data, (1 << size) - 1 >> 1, 0, 0))
        elif kind in (0, 7):
            good.append(frame)
        bad += kind in (1, 3, 4, 5, 6)
        beats += these
    bench = Bench(beats, width=width, offered=len(good), expect=beats_out(good, width), stall=(0.2, 0, 0, 0))
    bench.run()
    assert bench.packets_out() == [HEADER + frame for frame in good]
    assert (bench.counts["bad"], bench.counts["runt"]) == (bad, runts)
    assert bench.counts["received"] == len(good)


def test_tuser_within_a_frame_means_nothing():
    frame = frame_of(random.Random(1), 200)
    beats = [(data, keep, last, not last) for data, keep, last, _ in axis_beats(frame, 512)]
    bench = Bench(beats, offered=1, expect=beats_out([frame], 512))
    bench.run()
    assert bench.packets_out() == [HEADER + frame]


@pytest.mark.parametrize("width, size", [(128, 1500), (512, 60), (512, 1500), (512, 64)])
def test_overflow_drops_whole_frames(width, size):
    """Nobody takes anything: the buffer fills, the rest is dropped whole and counted; then what is inside comes out."""
    rng = random.Random(size)
    rows = 8192 * 8 // width
    per_frame = -(-size * 8 // width)
    room = (rows + 2) // per_frame
    frames = [frame_of(rng, size) for _ in range(room + 10)]
    go = []
    bench = Bench(wire(frames, width), width=width, wait=lambda: not go)

    async def hold(ctx):
        while bench.counts["received"] + bench.counts["overflow"] < len(frames):
            await ctx.tick()
        go.append(bench.counts["received"])
        await ctx.tick().until(bench.dut.idle)
    bench.process(hold)
    bench.run()
    assert room - 1 <= go[0] <= room and bench.counts["overflow"] == len(frames) - go[0]
    assert bench.packets_out() == [HEADER + frame for frame in frames[:go[0]]]


def test_a_frame_longer_than_the_buffer_leaves_no_trace():
    rng = random.Random(5)
    frames = [frame_of(rng, 100), frame_of(rng, (1 << 17) + 200), frame_of(rng, 200)]
    bench = Bench(wire(frames, 512), offered=2, expect=beats_out([frames[0], frames[2]], 512))
    bench.run()
    assert bench.packets_out() == [HEADER + frames[0], HEADER + frames[2]]
    assert bench.counts["oversize"] == 1


def test_frames_flow_without_gaps():
    """60-byte frames on every second cycle of the wire leave as two beats each, without a cycle between them."""
    count = 100
    frames = [bytes([n]) * 60 for n in range(count)]
    bench = Bench([], judge=False, expect=2 * count, limit=2 * count + 20)
    dut = bench.dut
    bench.get(dut.frames, count=count)
    bench.put(dut.verdicts, [{"accept": 1, "buffers": 1}] * count)
    seen = []

    async def send(ctx):
        await ctx.tick().repeat(4)
        await send_beats(ctx, dut, wire(frames, 512), gap=lambda: 1)
    bench.process(send)

    async def watch(ctx):
        cycle = 0
        while len(seen) < 2 * count:
            _, _, valid = await ctx.tick().sample(dut.data.valid)
            cycle += 1
            if valid:
                seen.append(cycle)
    bench.process(watch)
    bench.run(settle=5)
    assert bench.packets_out() == [HEADER + frame for frame in frames]
    assert seen[-1] - seen[0] == 2 * count - 1


def test_verdicts_ahead_of_the_bytes():
    """At least 4 verdicts are taken while `data` stands still."""
    frames = [bytes([n]) * 100 for n in range(12)]
    bench = Bench(wire(frames, 512), judge=False, limit=200, stall=(0, 0, 0, 1))
    taken = bench.get(bench.dut.frames, count=5)
    bench.put(bench.dut.verdicts, [{"accept": 1, "buffers": 1}] * 5)
    bench.run()
    assert len(taken) == 5 and bench.beats == []


@pytest.mark.parametrize("size, cycles", [(60, 6), (128, 6), (192, 5), (256, 4), (320, 3), (1514, 3)])
def test_latencies(size, cycles):
    """Last wire beat to `frames` 6 cycles for a short frame, 3 for a long one; verdict, 3 cycles later, to the first
    beat 2 cycles."""
    bench = Bench(axis_beats(bytes(size), 512), judge=False)
    dut, times = bench.dut, {}

    async def watch(ctx):
        for cycle in range(40):
            _, _, wire_valid, frame, verdict, out = await ctx.tick().sample(
                dut.eth_rx_tvalid, dut.frames.valid, dut.verdicts.valid & dut.verdicts.ready, dut.data.valid)
            ctx.set(dut.frames.ready, frame)
            ctx.set(dut.verdicts.payload.accept, 1)
            waited = cycle - times.get("frame", cycle)
            ctx.set(dut.verdicts.valid, waited >= 2 and "verdict" not in times and not verdict)
            if wire_valid:
                times["wire"] = cycle
            for name, value in (("frame", frame), ("verdict", verdict), ("out", out)):
                if value:
                    times.setdefault(name, cycle)
    bench.process(watch)
    bench.run()
    assert times["frame"] - times["wire"] == cycles
    assert times["out"] - times["verdict"] == 2


def test_behind():
    """1 exactly while another frame waits behind the one offered."""
    bench = Bench(wire([bytes(60)] * 3, 512), judge=False)
    dut = bench.dut

    async def take(ctx):
        await ctx.tick().repeat(30)
        for behind in (1, 1, 0):
            assert ctx.get(dut.frames.valid) and ctx.get(dut.behind) == behind
            ctx.set(dut.frames.ready, 1)
            await ctx.tick()
            ctx.set(dut.frames.ready, 0)
            await ctx.tick().repeat(4)
        assert not ctx.get(dut.frames.valid)
    bench.process(take)
    bench.run()


def test_frames_while_not_live_are_dropped():
    """What counts is whether the device is live when a frame begins."""
    frames = [bytes([n]) * 200 for n in range(4)]
    bench = Bench(wire(frames, 512), offered=3, expect=beats_out(frames[1:], 512))

    async def switch(ctx):
        ctx.set(bench.dut.enable, 0)
        await ctx.tick().repeat(7)   # the first frame's second beat
        ctx.set(bench.dut.enable, 1)
    bench.process(switch)
    bench.run()
    assert bench.packets_out() == [HEADER + frame for frame in frames[1:]]
    assert bench.counts["disabled"] == 1


@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("seed", range(4))
def test_flush(width, seed):
    """A packet begun is finished, nothing else comes; afterwards the block works as after reset."""
    rng = random.Random(seed)
    frames = [frame_of(rng, rng.randrange(14, 300)) for _ in range(60)]
    later = [frame_of(rng, rng.randrange(14, 300)) for _ in range(10)]
    done = []
    beats = wire(frames, width)
    bench = Bench(beats, width=width, stall=(0.3, 0.2, 0.2, 0.5), seed=seed,
                  accept=lambda n: bool(done) or rng.random() < 0.8)
    dut = bench.dut
    begin = rng.randrange(20, 100)

    async def flush(ctx):
        await ctx.tick().repeat(begin)
        ctx.set(dut.flush, 1)
        await ctx.tick().repeat(3)
        received = bench.counts["received"]
        await ctx.tick().repeat(2 * len(beats))
        assert ctx.get(dut.idle) and bench.counts["received"] == received
        assert sum(bench.counts[cause] for cause in CAUSES) == bench.counts["disabled"] > 0
        ctx.set(dut.flush, 0)
        done.append(len(bench.beats))
        await send_beats(ctx, dut, wire(later, width))
        await ctx.tick().repeat(5)
        await ctx.tick().until(dut.idle)
    bench.process(flush)
    bench.run()
    sent = iter(HEADER + frame for frame in frames)
    before = packets_of(bench.beats[:done[0]], width)
    assert all(packet in sent for packet in before), "a packet is not one of the frames, in order"
    assert len(before) < len(frames)
    assert packets_of(bench.beats[done[0]:], width) == [HEADER + frame for frame in later]


def test_flush_withdraws_what_it_finds():
    """A frame offered is withdrawn at once; one still arriving is dropped, though it ends after the flush."""
    frames = [bytes([n]) * 200 for n in range(3)]
    gaps = iter([0] * 5 + [60] + [0] * 6)
    bench = Bench([], judge=False)
    dut = bench.dut

    async def send(ctx):
        await ctx.tick().until(dut.idle)
        await send_beats(ctx, dut, wire(frames, 512), gap=lambda: next(gaps))
    bench.process(send)

    async def flush(ctx):
        await ctx.tick().until(dut.idle)
        await ctx.tick().repeat(30)
        assert ctx.get(dut.frames.valid)
        ctx.set(dut.flush, 1)
        assert not ctx.get(dut.frames.valid)
        await ctx.tick().repeat(20)
        assert ctx.get(dut.idle)
        ctx.set(dut.flush, 0)
        await ctx.tick().repeat(50)
        assert ctx.get(dut.frames.valid) and not ctx.get(dut.behind)
    bench.process(flush)
    bench.run()
    assert bench.counts["disabled"] == 1 and bench.counts["received"] == 2
