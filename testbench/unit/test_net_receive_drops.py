"""Frames that the receive path drops: for their length, for what the MAC says of them, for want of room."""

import random

import pytest

from testbench.unit.axis import axis_beats
from testbench.unit.receive_bench import HEADER, Bench, beats_out, frame_of, wire


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
