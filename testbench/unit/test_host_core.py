"""The host without a simulator: order, moments of sampling, pacing, latency, faults, statistics."""

import random

import pytest

from model.latency import Profile
from model.link import Link
from testbench.bfm.host_rules import ProtocolError
from testbench.bfm.pacing import LinkBudgetError, Meter
from testbench.bfm.tlp import (
    MessageCode,
    Status,
    completion,
    config_read,
    memory_read,
    memory_write,
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

def test_saturated_completions_come_at_the_budget_and_not_faster():
    bench = Bench("gen3x8")
    count = 0
    for cycle in range(4000):
        free = [tag for tag in range(256) if tag not in bench.core.reads.outstanding]
        if free and cycle % 4 == 0:
            bench.read(512 * (count % 64), 512, free[0])
            count += 1
        bench.run(1)
    window = [tlp.link_bytes for cycle, tlp in bench.received if 1000 <= cycle < 3000]
    assert sum(window) / 2000 == pytest.approx(Link("gen3x8").spec / 8 * 4, rel=0.01)
    assert bench.core.statistics.report(bench.cycle)["in_flight"]["max"] > 40


def test_upstream_ready_holds_the_device_to_the_budget():
    bench = Bench("gen3x8")
    carried = 0
    for cycle in range(3000):
        if bench.core.rq_ready(cycle):
            bench.write(0, bytes(256))
            carried += 280 * (cycle >= 1000)
        bench.run(1)
    assert carried / 2000 == pytest.approx(Link("gen3x8").spec / 8 * 4, rel=0.02)


def test_small_tlps_are_held_by_their_number():
    bench = Bench("gen3x8")
    taken = 0
    while bench.core.rq_ready(0):
        bench.write(0, bytes(4))
        taken += 1
    assert taken == 33      # one is on the link, 32 wait


def test_overdriving_upstream_fires_the_hard_budget():
    bench = Bench("gen3x8")
    with pytest.raises(LinkBudgetError, match="upstream at cycle"):
        for _ in range(200):
            bench.write(0, bytes(256))
            bench.run(1)


def test_overdriving_downstream_fires_the_hard_budget():
    core = Bench("gen3x8").core
    with pytest.raises(LinkBudgetError, match="downstream"):
        for cycle in range(500):
            core.sent(cycle, completion(DEVICE, 0, 0, payload=bytes(64), byte_count=64))


def test_meter_allows_exactly_the_rate_in_every_span():
    meter = Meter("link", 10.0, 100)
    for cycle in range(1000):
        meter.pass_(cycle, 10)
    meter.pass_(2000, 100)
    meter.pass_(2005, 50)
    with pytest.raises(LinkBudgetError, match="1 bytes more"):
        meter.pass_(2005, 1)


def test_completions_wait_while_the_pins_stand_still():
    bench = Bench()
    for tag in range(100):
        bench.read(512 * tag, 512, tag)
        for _ in range(20):
            bench.core.advance(bench.cycle)
            bench.cycle += 1
    held = 0
    while bench.core.take_rc():
        held += 1
    assert 4096 <= held * 276 < 4096 + 2 * 276


# Reads that the link can't take, faults

def test_np_ready_and_its_grace():
    bench = Bench()
    bench.core.np_hold = True
    assert not bench.core.rq_np_ready(0)
    for tag in range(4):
        bench.read(0, 64, tag)
    bench.write(0, b"posted ones go on")
    with pytest.raises(ProtocolError, match="5 reads while rq_np_ready is 0"):
        bench.read(0, 64, 9)
    bench.core.np_hold = False
    assert bench.core.rq_np_ready(100)


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

def test_statistics():
    bench = Bench()
    count = bench.core.statistics
    count.label(bench.base, 1024, "ring")
    count.label(bench.base + 4096, 4, "event")
    count.label(bench.base + 8192, 4, "msix")
    count.label(0x20_0000_1000, 4096, "doorbell")
    bench.read(0, 256, 0)
    bench.read(256, 64, 1)
    bench.read(4096, 4, 2)
    bench.read(0x5000, 72, 3)
    bench.write(8, bytes(248))
    bench.write(24, bytes(8))
    bench.write(8192, bytes(4))
    bench.core.post(0, memory_write(0x20_0000_1000, bytes(4)))
    bench.run(200)
    report = count.report(200)
    assert report["up"]["read ring"] == {"tlps": 2, "bytes": 48, "payload": 0}
    assert report["up"]["write ring"] == {"tlps": 2, "bytes": 48 + 256, "payload": 256}
    assert report["down"]["completion ring"] == {"tlps": 2, "bytes": 40 + 320, "payload": 320}
    assert report["down"]["write doorbell"]["bytes"] == 28 and report["doorbells"] == 1 and report["messages"] == 1
    assert report["read_sizes"]["ring"] == {64: 1, 256: 1}
    assert report["write_sizes"]["ring"] == {8: 1, 248: 1}
    assert report["descriptors_per_fetch"] == 10 and report["used_per_write"] == 8.5
    assert report["up_bytes"] == 4 * 24 + 304 + 28
    assert report["in_flight"]["max"] == 4 and report["in_flight"]["mean"] == pytest.approx(2.15, abs=0.05)
    count.restart(200)
    assert count.report(300)["up"] == {} and count.label_of(bench.base + 1023) == "ring"
    assert count.label_of(bench.base + 1024) == "other"


def test_labels_may_not_overlap_and_can_be_taken_back():
    count = Bench().core.statistics
    count.label(100, 10, "ring")
    for address, length in ((95, 6), (109, 1), (100, 10), (90, 30)):
        with pytest.raises(ValueError, match="overlaps"):
            count.label(address, length, "event")
    count.label(110, 5, "event")
    count.label(95, 5, "msix")
    assert [count.label_of(at) for at in (94, 95, 99, 100, 109, 110, 115)] == [
        "other", "msix", "msix", "ring", "ring", "event", "other"]
    count.unlabel(100)
    assert count.label_of(105) == "other"
    count.label(100, 4, "rx")
    assert count.label_of(103) == "rx"
