"""The compiled host's rules and random numbers, against those in Python."""

import random
import subprocess
from pathlib import Path

import pytest

from model.latency import PROFILES, Latency
from sim.compiled import OPTIONS, SOURCES, compile_cached
from testbench.bfm.host_rules import Rules
from testbench.bfm.tlp import Kind, MessageCode, Tlp, memory_read, memory_write, message

DEVICE = 0x3b00
ALIKE = 16      # characters of a complaint; behind them Python's may have figures


@pytest.fixture(scope="module")
def program():
    files = [Path(__file__).with_name("compiled_host.cpp"), SOURCES / "host.cpp"]
    return compile_cached("compiled_host", [*OPTIONS, f"-I{SOURCES}", *map(str, files)],
                          [path.read_bytes() for path in [*files, *sorted(SOURCES.glob("*.h"))]])


def _answers(program, lines, *arguments):
    return subprocess.run([program, *arguments], input="\n".join(lines), capture_output=True, text=True,
                          check=True).stdout.splitlines()


def _requests(rng, count):
    """Good requests, most of them with one or two bits turned."""
    for _ in range(count):
        address = rng.choice([rng.getrandbits(32), rng.getrandbits(40) | 1 << 32])
        length = rng.choice([1, 4, 5, 64, 72, 256, 257, 512])
        make = rng.choice([lambda a=address, n=length: memory_read(a, n, rng.getrandbits(6), DEVICE),
                           lambda a=address, n=length: memory_write(a, bytes(n), DEVICE),
                           lambda: message(rng.choice(list(MessageCode)), requester=DEVICE)])
        header = make().header
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            header ^= 1 << rng.choice([rng.randrange(64), rng.randrange(10), 32 + rng.randrange(8)])
        yield Tlp(header)


@pytest.mark.parametrize("settings", [
    {"mps": 256, "bus_master": True, "extended_tags": True, "requester": DEVICE}, {"bus_master": True}, {}])
def test_rules(program, settings):
    rng = random.Random(len(settings))
    rules = Rules()
    for name, value in settings.items():
        setattr(rules, name, value)
    numbers = (rules.mps, rules.mrrs, rules.extended_tags, rules.bus_master,
               -1 if rules.requester is None else rules.requester)
    lines, expected = [" ".join(str(int(number)) for number in numbers)], []
    for tlp in _requests(rng, 4000):
        strict, outstanding = rng.random() < 0.3, rng.random() < 0.1
        words = [f"{tlp.header >> 32 * i & 0xffff_ffff:x}" for i in range(4)]
        lines.append(" ".join([*words, str(int(strict)), str(int(outstanding))]))
        complaint = rules._about_request(tlp, "ring" if strict else "rx")
        if complaint is None and tlp.kind is Kind.MEMORY_READ:
            complaint = rules._about_read(tlp, {tlp.tag} if outstanding else ())
        expected.append((complaint or "-")[:ALIKE])
    found = [answer[:ALIKE] for answer in _answers(program, lines)]
    assert found == expected
    assert "-" in found or not rules.bus_master
    assert len(set(found)) >= (12 if rules.requester is not None else 3)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_latencies(program, profile):
    latency = Latency(profile, seed=5)
    rng = random.Random(1)
    times = [rng.choice([0.0, rng.random() * 200, 1e9]) for _ in range(2000)]     # several times round the generator
    instant = latency._logs is None
    lines = [*(float(log).hex() for log in latency._logs or [0.0] * 6), str(int(instant)),
             *(float(bound).hex() for bound in profile.after_write), *map(str, latency._random.getstate()[1]),
             *(time.hex() for time in times)]
    expected = [latency.round_trip(since_write=time) for time in times]
    assert [float.fromhex(answer) for answer in _answers(program, lines, "draw")] == expected
