"""The host without a simulator: order, moments of sampling, pacing, latency, faults, statistics."""

import random

import pytest

from model.latency import Profile, fixed
from testbench.bfm.host_rules import ProtocolError
from testbench.bfm.tlp import (
    MessageCode,
    Status,
    completion,
    config_read,
    memory_read,
    message,
)
from testbench.unit.host_bench import DEVICE, Bench


def test_read_returns_memory_after_the_profiles_time():
    bench = Bench()
    bench.memory.write(bench.base, bytes(range(72)))
    bench.cycle = 10
    bench.read(0, 72, tag=5)
    bench.run(200)
    (cycle, tlp), = bench.received
    assert cycle == 110     # 400 ns are 100 cycles from the last beat of rq to the first of rc
    assert (tlp.tag, tlp.requester, tlp.byte_count, tlp.lower_address) == (5, DEVICE, 72, 0)
    assert tlp.payload == bytes(range(72))
    assert bench.core.idle


def test_what_was_drawn_is_told():
    bench = Bench(profile=fixed(400), seed=3)
    bench.core.statistics.label(bench.base, 64, "ring")
    bench.read(0, 64, tag=1)
    bench.read(64, 64, tag=2)
    bench.run(200)
    bench.core.statistics.restart(200)
    bench.read(0, 64, tag=1)
    bench.run(200)
    labels, drawn = zip(*bench.core.statistics.trips)
    assert labels == ("ring", "other", "ring") and drawn == pytest.approx([400] * 3)


def test_unaligned_read_and_bytes_not_asked_for():
    bench = Bench()
    bench.memory.write(bench.base, bytes(range(16)))
    bench.read(0x3, 6)
    bench.run(200)
    tlp = bench.received[0][1]
    assert tlp.payload[3:9] == bytes(range(3, 9))
    assert tlp.payload[:3] == b"\xa5" * 3 and tlp.payload[9:] == b"\xa5" * 3
    assert (tlp.byte_count, tlp.lower_address) == (6, 3)


def test_zero_length_read_touches_nothing():
    bench = Bench()
    bench.core.rq(0, memory_read(0x5000, 0, 1, DEVICE))
    bench.run(200)
    assert (len(bench.received[0][1].payload), bench.received[0][1].byte_count) == (4, 1)


@pytest.mark.parametrize("rcb64, expected", [
    (False, [(192, 480, 0x40), (256, 288, 0), (32, 32, 0)]),
    (True, [(64, 480, 0x40), (64, 416, 0), (64, 352, 0x40), (64, 288, 0), (64, 224, 0x40), (64, 160, 0), (64, 96, 0x40),
            (32, 32, 0)])])
def test_completions_are_cut_at_aligned_boundaries(rcb64, expected):
    bench = Bench(rcb64=rcb64)
    data = random.Random(1).randbytes(480)
    bench.memory.write(bench.base + 0x40, data)
    bench.read(0x40, 480)
    bench.run(300)
    tlps = [tlp for _, tlp in bench.received]
    assert [(len(tlp.payload), tlp.byte_count, tlp.lower_address) for tlp in tlps] == expected
    assert b"".join(tlp.payload for tlp in tlps) == data


def test_long_reads_take_longer():
    bench = Bench(profile=Profile("flat", (400.0,) * 6, 0.29, (0.0, 0.0)))
    bench.read(0, 512)
    bench.run(300)
    first, second = [cycle for cycle, _ in bench.received]
    assert first == pytest.approx(100 + (256 - 64) * 0.29 / 4, abs=1)
    assert second == pytest.approx(100 + (512 - 64) * 0.29 / 4, abs=1)


def test_tags_overtake_each_other_but_not_themselves():
    bench = Bench(profile="e3-tail", rcb64=True)
    for tag in range(32):
        bench.read(1024 * tag, 512, tag)
        bench.run(1)
    bench.run(20000)
    first = {}
    left = dict.fromkeys(range(32), 512)
    for _, tlp in bench.received:
        first.setdefault(tlp.tag, len(first))
        assert tlp.byte_count == left[tlp.tag]
        left[tlp.tag] -= len(tlp.payload)
    assert set(left.values()) == {0}
    assert list(first) != sorted(first)


def test_lines_are_sampled_at_moments_of_their_own():
    """A writer walks through the lines while reads are under way: all mixes of old and new must be seen."""
    mixes = set()
    for seed in range(60):
        bench = Bench(seed=seed)
        bench.read(0, 192)
        bench.run(50)
        bench.memory.write(bench.base, b"\xff" * 192)
        bench.run(100)
        payload = bench.received[0][1].payload
        for line in range(0, 192, 64):
            assert len(set(payload[line:line + 64])) == 1
        mixes.add((payload[0], payload[64], payload[128]))
    assert len(mixes) == 8


def test_sampling_stays_between_arrival_and_completion():
    for seed in range(200):
        bench = Bench(seed=seed)
        bench.memory.write(bench.base, b"a" * 64)
        bench.read(0, 64)
        bench.run(1)
        early, = (moment for moment, *_ in bench.core.reads.samples) if bench.core.reads.samples else (1.0,)
        assert 24 / bench.core.link.spec_bytes(4) <= early <= 99


def test_reads_see_the_writes_before_them():
    bench = Bench(profile="zero")
    bench.write(0, b"x" * 64)
    bench.read(0, 64)
    bench.run(20)
    assert bench.received[0][1].payload == b"x" * 64


def test_a_read_behind_a_write_pays_for_it():
    def trip(gap):
        bench = Bench(profile=Profile("flat", (400.0,) * 6))
        bench.write(0, b"x" * 4)
        bench.run(gap)
        bench.read(64, 64)
        began = bench.cycle
        bench.run(300)
        return (bench.received[0][0] - began) * 4
    assert 400 + 100 <= trip(1) <= 400 + 170
    assert trip(60) == pytest.approx(400, abs=4)


def test_writes_are_performed_in_order_when_the_link_has_carried_them():
    bench = Bench()
    order = []
    bench.memory.watch(bench.base, 1 << 16, lambda address, data: order.append((bench.cycle, address - bench.base)))
    for i in range(4):
        bench.write(4096 - 256 * i, bytes(256))
    bench.run(60)
    assert [offset for _, offset in order] == [4096, 3840, 3584, 3328]
    cycles_each = 280 / bench.core.link.spec_bytes(4)
    assert [cycle for cycle, _ in order] == [-(-(i + 1) * cycles_each // 1) for i in range(4)]


def test_byte_enables_of_writes():
    bench = Bench()
    bench.memory.write(bench.base, b"........")
    bench.write(3, b"ab")
    bench.run(10)
    assert bench.memory.read(bench.base, 8) == b"...ab..."


def test_the_devices_completion_stays_behind_its_posted_writes():
    bench = Bench()
    seen = []
    bench.memory.watch(bench.base, 1 << 16, lambda address, data: seen.append("write"))
    bench.core.request(0, lambda tag: config_read(DEVICE, 0, 4, tag), lambda completions: seen.append("completion"))
    bench.run(5)
    for _ in range(8):
        bench.write(0, bytes(256))
    bench.core.cc(bench.cycle, completion(0, bench.requests[0][1].tag, DEVICE, payload=bytes(4)))
    bench.run(100)
    assert seen == ["write"] * 8 + ["completion"]


# Budgets

@pytest.mark.parametrize("action, status", [("ur", Status.UNSUPPORTED_REQUEST), ("ca", Status.COMPLETER_ABORT)])
def test_refused_reads(action, status):
    bench = Bench()
    bench.core.inject(action, lambda read: read.tag == 2)
    bench.read(0, 64, 1)
    bench.read(64, 512, 2)
    bench.read(0, 64, 3)
    bench.run(300)
    assert {tlp.tag: (tlp.status, len(tlp.payload)) for _, tlp in bench.received} == {
        1: (0, 64), 2: (status, 0), 3: (0, 64)}
    assert bench.received[1][1].byte_count == 512 and bench.core.idle


def test_poisoned_late_and_duplicate_completions():
    bench = Bench()
    for tag, action in enumerate(("poison", "late", "duplicate")):
        bench.core.inject(action, lambda read, tag=tag: read.tag == tag, delay=1000 * (action == "late"))
        bench.read(64 * tag, 64, tag)
    bench.run(2000)
    seen = [(tlp.tag, tlp.poisoned, cycle > 1000) for cycle, tlp in bench.received]
    assert seen == [(0, 1, False), (2, 0, False), (2, 0, False), (1, 0, True)]
    assert bench.core.idle


def test_dropped_reads_never_complete_and_their_tag_stays_out_of_use():
    bench = Bench()
    bench.core.inject("drop", lambda read: read.label == "ring", count=2)
    bench.core.statistics.label(bench.base, 64, "ring")
    bench.read(64, 64, 0)
    bench.read(0, 64, 1)
    bench.run(300)
    assert [tlp.tag for _, tlp in bench.received] == [0] and bench.core.idle
    with pytest.raises(ProtocolError, match="never completed is used again"):
        bench.read(0, 64, 1)
    bench.core.forget_lost_tags()
    bench.read(0, 64, 1)


def test_completions_that_nobody_asked_for():
    bench = Bench()
    bench.core.send_completion(5, completion(DEVICE, 77, 0, payload=bytes(4)))
    bench.run(20)
    assert [(cycle, tlp.tag) for cycle, tlp in bench.received] == [(5, 77)]


def test_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="unknown fault 'explode'"):
        Bench().core.inject("explode")


# The host's own requests

def test_at_most_32_requests_of_the_host_are_outstanding():
    bench = Bench()
    results = [bench.request(lambda tag: config_read(DEVICE, 0, 4, tag)) for _ in range(40)]
    bench.run(100)
    assert len(bench.requests) == 32
    for _, tlp in bench.requests[:]:
        bench.core.cc(bench.cycle, completion(0, tlp.tag, DEVICE, payload=tlp.tag.to_bytes(4, "little")))
    bench.run(100)
    assert len(bench.requests) == 40 and sum(map(len, results)) == 32
    assert results[3][0][0].payload == b"\3\0\0\0"


def test_memory_read_answered_in_parts():
    bench = Bench()
    done = bench.request(lambda tag: memory_read(0x8000_003e, 8, tag))
    bench.run(5)
    tag = bench.requests[0][1].tag
    bench.core.cc(5, completion(0, tag, DEVICE, byte_count=8, lower_address=0x3e, payload=bytes(4)))
    bench.run(10)
    assert not done
    bench.core.cc(15, completion(0, tag, DEVICE, byte_count=6, lower_address=0x40, payload=bytes(8)))
    bench.run(10)
    assert len(done[0]) == 2


def test_messages_reach_their_listeners_in_order_with_writes():
    bench = Bench()
    seen = []
    bench.core.on_message.append(lambda tlp: seen.append(tlp.code))
    bench.memory.watch(bench.base, 4, lambda address, data: seen.append("write"))
    bench.write(0, b"last")
    bench.core.rq(0, message(MessageCode.ASSERT_INTA, requester=DEVICE))
    bench.run(10)
    assert seen == ["write", MessageCode.ASSERT_INTA]


def test_reset_forgets_what_was_under_way():
    bench = Bench()
    bench.read(0, 64, 1)
    done = bench.request(lambda tag: config_read(DEVICE, 0, 4, tag))
    bench.run(5)
    bench.core.reset(bench.cycle)
    assert bench.core.idle and done == [[]] and not bench.core.rules.bus_master
    bench.run(300)
    assert not bench.received


# Counting
