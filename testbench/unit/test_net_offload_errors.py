"""Packets to be segmented of which a read fails, or that are too long: nothing is held up."""

import random
import struct

import pytest

from hdl.dma.spec import ReadStatus
from model import formats
from model.formats import GsoType
from model.offload import frames_of
from testbench.unit.axis import watch_frames
from testbench.unit.few import few
from testbench.unit.offload_packets import net_header, random_packet
from testbench.unit.test_net_offload import FEATURES, SEGMENTED, cut_parts, expected
from testbench.unit.test_net_transmit import MAX_FRAME, Bench, beats_of


@pytest.mark.parametrize("width", [128, 512])
def test_longer_than_a_packet_may_be(width):
    """A whole frame longer than the longest one, and a packet longer than IP can be, don't hold anything up."""
    rng = random.Random(32)
    header, frame = random_packet(rng, GsoType.TCPV4, rng.randbytes(2000), 1448)
    packets = [(net_header(), rng.randbytes(MAX_FRAME + 1)), (header, frame + bytes(65_600)), (header, frame)]
    beats = [beat for n, (header, frame) in enumerate(packets)
             for beat in beats_of(cut_parts(rng, header + frame, 2000), width, number=n)]
    bench = Bench(beats, width=width, completions=3, features=tuple(FEATURES), limit=60_000)
    frames = watch_frames(bench, width, count=1 << 30, wait=False)
    bench.run(settle=1000)
    assert bench.counts["malformed"] == 2
    # Nothing says how long the second one will be, so segments leave until it is found too long.
    assert frames[-2:] == expected(packets[2:], FEATURES)[0] and len(frames) < 2 + 65_600 // 1448


@pytest.mark.parametrize("seed", few(1, range(4)))
def test_a_read_that_fails(seed):
    """What leaves of the packet is its first segments as they should be, and only of parts that were read well; what
    comes behind it leaves."""
    rng = random.Random(seed)
    width = rng.choice([128, 512])
    beats, wanted, failing = [], [], []
    for n in range(12):
        header, frame = random_packet(rng, rng.choice(SEGMENTED), rng.randbytes(rng.randint(1, 9000)),
                                      rng.choice([64, 536, 1448]))
        frames = frames_of(header, frame, formats.TRANSMIT_FEATURES, MAX_FRAME)
        parts = cut_parts(rng, header + frame, 2000)
        statuses = [ReadStatus.OK] * len(parts)
        if rng.random() < 0.5:
            bad = rng.randrange(len(parts))
            statuses[bad] = rng.choice([ReadStatus.POISONED, ReadStatus.TIMEOUT])
            good = sum(map(len, parts[:bad])) - 12
            # Undefined data in place of what was asked for.
            parts[bad] = rng.randbytes(len(parts[bad]))
            hdr_len, gso = struct.unpack_from("<HH", header, 2)
            frames = frames[:max(0, (good - hdr_len - 1) // gso)] if good > hdr_len else []
            failing.append((len(wanted), len(frames)))
        beats += beats_of(parts, width, number=n, statuses=statuses)
        wanted.append(frames)
    bench = Bench(beats, width=width, completions=12, features=tuple(FEATURES), stall=(0.2, 0.2, 0.1), seed=seed,
                  limit=60_000, frames=0)
    frames = watch_frames(bench, width, count=1 << 30, wait=False)
    bench.run(settle=2000)
    assert bench.counts["error"] == len(failing) and bench.counts["malformed"] == 0
    for n, expected_frames in enumerate(wanted):
        if n in dict(failing):
            while expected_frames and frames and frames[0] == expected_frames[0]:
                frames.pop(0)
                expected_frames = expected_frames[1:]
        else:
            assert frames[:len(expected_frames)] == expected_frames, f"packet {n} (seed {seed})"
            del frames[:len(expected_frames)]
    assert not frames


@pytest.mark.parametrize("width, bad", few(1, [(512, 3), (128, 3), (512, 0)]))
def test_what_follows_a_failed_read_takes_no_room(width, bad):
    """Of a packet longer than the buffer, an early part fails: its rest is taken, and what comes behind it leaves."""
    rng = random.Random(34)
    packets = [random_packet(rng, GsoType.TCPV4, rng.randbytes(size), 1448) for size in (60_000, 3000)]
    frames = expected(packets, FEATURES)
    parts = cut_parts(rng, b"".join(packets[0]), 2000)
    statuses = [ReadStatus.POISONED if n == bad else ReadStatus.OK for n in range(len(parts))]
    beats = beats_of(parts, width, statuses=statuses)
    beats += beats_of(cut_parts(rng, b"".join(packets[1]), 2000), width, number=1)
    bench = Bench(beats, width=width, completions=2, features=tuple(FEATURES), limit=20_000)
    left = watch_frames(bench, width, count=1 << 30, wait=False)
    bench.run(settle=1000)
    early = len(left) - len(frames[1])
    assert left == frames[0][:early] + frames[1] and early * 1448 <= sum(map(len, parts[:bad]))
    assert bench.counts["error"] == 1 and bench.counts["malformed"] == 0
