"""Checksums of received frames: the verdict in front of each, against the model's."""

import random

import pytest
from scapy.layers.inet import IP, TCP, UDP

from model.offloads_checksum import NONE, VALID, checksum_verdict
from testbench.unit.few import few
from testbench.unit.offload_bench import OffloadBench
from testbench.unit.traffic import ETHER, offload_frame


@pytest.mark.requirements("NET-085", "NET-086")
@pytest.mark.parametrize("width, stall", few(2, [(128, 0.5), (512, 0), (256, 0), (512, 0.5)]))
def test_verdicts(width, stall):
    """Frames of every make, some dropped and some rejected between them."""
    rng = random.Random(width + int(10 * stall))
    frames = [offload_frame(rng) for _ in range(200)]
    bad = {n for n in range(len(frames)) if n % 9 == 5}
    rejected = {n for n in range(len(frames)) if n % 7 == 3} - bad
    counts = OffloadBench(frames, width=width, stall=stall, bad=bad, rejected=rejected, seed=width).check()
    assert len(counts) == 3 and min(counts.values()) >= 5


@pytest.mark.requirements("NET-056")
def test_nothing_is_claimed_unless_negotiated():
    frames = [bytes(ETHER / IP() / UDP() / bytes(n)) for n in range(40)]
    assert OffloadBench(frames, checksum=0).check() == {VALID: 40}


@pytest.mark.parametrize("width", few(1, [512, 128]))
def test_every_length(width):
    """Payloads of 0 to 150 bytes, right and with a wrong last byte."""
    frames = []
    for layer in (TCP, UDP):
        for size in range(150):
            frame = bytearray(bytes(ETHER / IP() / layer() / (b"\xff" * size)))
            frames.append(bytes(frame))
            frame[-1] ^= 1
            frames.append(bytes(frame))
    OffloadBench(frames, width=width).check()


def test_sums_that_carry_over():
    """Jumbo frames, all ones and random; a checksum that comes out as 0xffff, and with 0 in its place none."""
    rng = random.Random(1)
    frames = [bytes(ETHER / IP() / TCP() / filler) for filler in
              (b"\xff" * 8900, b"\x00" * 8900, rng.randbytes(8959), b"\xff\xfe" * 4000)]
    frames += [bytes(ETHER / IP() / UDP() / payload.to_bytes(2, "big")) for payload in
               rng.sample(range(65536), 20)]
    zero = bytes(ETHER / IP() / UDP(chksum=0xffff) / b"\0\0")
    missing = next(value for value in range(65536) if checksum_verdict(zero[:-2] + value.to_bytes(2, "big")) == VALID)
    frames.append(zero[:-2] + missing.to_bytes(2, "big"))
    frames.append(frames[-1][:40] + b"\0\0" + frames[-1][42:])
    assert [checksum_verdict(frame) for frame in frames] == [VALID] * 25 + [NONE]
    OffloadBench(frames, mtu=9000).check()
