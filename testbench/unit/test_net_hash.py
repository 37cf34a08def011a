"""Hashes of received frames and receive side scaling, against the model."""

import random

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import HAO, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Pad1, PadN

from model.offloads_hash import HashConfig, frame_hash
from testbench.unit.few import few
from testbench.unit.offload_bench import OffloadBench
from testbench.unit.traffic import ETHER, mobile_frame, offload_frame

ALL = 0x1ff


def random_config(rng, types=ALL):
    table = tuple(rng.randrange(8) for _ in range(1 << rng.randrange(8)))
    return HashConfig(types, rng.randbytes(rng.choice([40, 40, 40, 16])), table, rng.randrange(8))


def some_frames(rng, count):
    return [mobile_frame(rng) if rng.random() < 0.3 else offload_frame(rng) for _ in range(count)]


@pytest.mark.requirements("NET-103", "NET-104", "NET-105", "NET-106", "NET-107", "NET-108", "NET-115", "NET-116",
                          "NET-162", "NET-163", "NET-164")
@pytest.mark.parametrize("width, scaling, long_header, stall", few(2, [
    (512, True, 1, 0.4), (256, False, 1, 0.3), (512, True, 1, 0), (128, True, 0, 0)]))
def test_frames_of_every_make(width, scaling, long_header, stall):
    rng = random.Random(width + long_header)
    frames = some_frames(rng, 200)
    config = random_config(rng)
    bad = {n for n in range(len(frames)) if n % 9 == 5}
    rejected = {n for n in range(len(frames)) if n % 7 == 3} - bad
    assert {frame_hash(frame, config)[1] for frame in frames} == set(range(10))
    OffloadBench(frames, width=width, hashes=config, scaling=scaling, long_header=long_header, stall=stall, bad=bad,
                 rejected=rejected, seed=width).check()


@pytest.mark.requirements("NET-105", "NET-106", "NET-107", "NET-108", "NET-161")
@pytest.mark.parametrize("seed", few(2, range(4)))
def test_some_types_only(seed):
    rng = random.Random(seed)
    config = random_config(rng, types=0 if seed == 0 else rng.randrange(ALL))
    OffloadBench(some_frames(rng, 80), hashes=config, scaling=True, long_header=1, seed=seed).check()


def test_where_a_home_address_may_stand():
    """Behind any padding, in any slot; of two the first counts; elsewhere it is not looked for."""
    option = HAO(hoa="2001:db8::77")
    pads = [[PadN(optdata=b"\7\7")], [Pad1()] * 4, [Pad1(), PadN(optdata=b"\1")], [PadN(optdata=b""), Pad1(), Pad1()],
            [PadN(optdata=b"")] * 2, [Pad1(), PadN(optdata=b""), Pad1()]]
    tails = [IPv6ExtHdrDestOpt(options=[*pad, option], autopad=0) for pad in pads]
    tails += [IPv6ExtHdrDestOpt(options=[option, *pads[0]], autopad=0), IPv6ExtHdrDestOpt(options=[option])]
    tails += [IPv6ExtHdrHopByHop(options=[*pads[0], option], autopad=0)]
    tails += [tails[0] / IPv6ExtHdrDestOpt(options=[*pads[0], HAO(hoa="::5")], autopad=0)]
    tails += [IPv6ExtHdrRouting(type=kind, addresses=["2001:db8::99"], segleft=1) for kind in (0, 2)]
    tails += [IPv6ExtHdrRouting(type=2, addresses=["::8", "::9"], segleft=1)]
    frames = [bytes(ETHER / head / tail / TCP()) for tail in tails for head in (
        IPv6(), IPv6() / IPv6ExtHdrHopByHop(), IPv6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(20))]))]
    frames += [bytes(ETHER / IPv6() / tails[0] / TCP())[:size] for size in range(54, 110)]
    OffloadBench(frames, hashes=HashConfig(ALL, random.Random(1).randbytes(40), (3,), 4), scaling=True,
                 long_header=1).check()


@pytest.mark.requirements("NET-103")
def test_every_bit_of_key_and_input():
    """A key of one bit, a packet of ones and zeros: each place of either shows."""
    for place in (0, 31, 32, 95, 96, 200, 319):
        key = (1 << 319 - place).to_bytes(40, "big")
        frames = [bytes(ETHER / IPv6(src=f"{1 << n % 16:x}::1", dst=f"::{1 << n % 16:x}")
                        / TCP(sport=1 << n % 16, dport=0xffff ^ 1 << n % 16)) for n in range(16)]
        frames += [bytes(ETHER / IP(src=f"{1 << n}.0.0.{n}", dst=f"0.{1 << n}.255.1") / TCP()) for n in range(8)]
        OffloadBench(frames, hashes=HashConfig(ALL, key, (0,)), long_header=1).check()
