"""The receive path against a byte-level reference: what the write engine gets, and when."""

import random

import pytest

from testbench.unit.axis import axis_beats, send_beats
from testbench.unit.few import few
from testbench.unit.receive_bench import CAUSES, HEADER, Bench, beats_out, frame_of, packets_of, wire


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
@pytest.mark.parametrize("seed", few(1, range(4)))
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
