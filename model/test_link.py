"""Budgets, packet costs and bounds against published reference points, each to its last printed digit.

Four reference points were printed off what the formulas give (18.4, 4.67, 107.1, 63.3): here what the formulas give
stands in their place, with three decimals.
"""

import pytest

from model.link import (
    BATCH,
    FOURS,
    IDEAL,
    LINKS,
    PER_PACKET,
    Link,
    Traffic,
    bound,
    bus_bound,
    frames_bound,
    link_bound,
    ring_bound,
    tags_bound,
    tlp_bytes,
    wire_bound,
)


def rates(name, frame, policy, **options):
    return [link_bound(Link(name), Traffic(way, frame, policy, **options)) for way in ("tx", "rx", "both")]


@pytest.mark.parametrize("name, raw, hard, spec", [
    ("gen3x8", 63.02, 62.85, 62.23), ("gen3x16", 126.03, 125.70, 124.95),
    ("gen4x8", 126.03, 125.70, 124.46), ("gen4x16", 252.06, 251.41, 249.91)])
def test_budgets(name, raw, hard, spec):
    link = Link(name)
    assert (round(link.raw, 2), round(link.hard, 2), round(link.spec, 2)) == (raw, hard, spec)


def test_ack_intervals():
    assert [Link(name).interval for name in LINKS] == [203, 168, 203, 168]


def test_unknown_link_is_refused():
    with pytest.raises(ValueError, match="unknown link 'gen5x8'"):
        Link("gen5x8")


@pytest.mark.parametrize("name, policy, expected", [
    ("gen3x8", PER_PACKET, [33.0, 31.4, 18.346]), ("gen3x16", PER_PACKET, [66.2, 63.0, 36.8]),
    ("gen3x8", FOURS, [63.5, 60.4, 41.9]), ("gen3x16", FOURS, [127.5, 121.3, 84.2]),
    ("gen3x8", BATCH, [69.7, 66.8, 48.4]), ("gen3x16", BATCH, [139.9, 134.2, 97.2]),
    ("gen3x8", IDEAL, [71.2, 68.4, 56.2]), ("gen3x16", IDEAL, [143.0, 137.3, 112.8])])
def test_64_byte_frames(name, policy, expected):
    assert rates(name, 60, policy) == pytest.approx(expected, abs=0.0501)


@pytest.mark.parametrize("name, frame, expected, digit", [
    ("gen3x8", 1514, [4.665, 4.60, 4.36], 0.01), ("gen3x16", 1514, [9.37, 9.23, 8.75], 0.01),
    ("gen3x8", 9014, [0.796, 0.785, 0.751], 0.001), ("gen3x16", 9014, [1.60, 1.58, 1.51], 0.01)])
def test_large_frames(name, frame, expected, digit):
    assert rates(name, frame, BATCH) == pytest.approx(expected, abs=digit * 0.501)


@pytest.mark.parametrize("change, expected", [
    ({}, 97.2), ({"fetch": 1}, 75.9), ({"used": 1}, 81.9), ({"doorbell": 1}, 84.2), ({"message": 1}, 75.1),
    ({"event": 1}, 75.9), ({"layout": "two"}, 64.608), ({"layout": "indirect"}, 60.8), ({"in_order": 16}, 107.164)])
def test_what_one_lever_is_worth(change, expected):
    assert rates("gen3x16", 60, BATCH.with_(**change))[2] == pytest.approx(expected, abs=0.0501)


def test_completions_cut_at_64_bytes():
    assert rates("gen3x8", 60, BATCH, rcb64=True)[0] == pytest.approx(57.5, abs=0.0501)


@pytest.mark.parametrize("segments, expected", [(1, [108.1, 104.6, 66.1]), (2, [140.4, 137.3, 94.7])])
def test_bus_caps(segments, expected):
    caps = [bus_bound(Traffic(way, 60), segments=segments) for way in ("tx", "rx", "both")]
    assert caps == pytest.approx(expected, abs=0.0501)


def test_bytes_of_one_packet():
    # fetch 24/16, used (248 + 24)/16, event 24/16, message 24/64, read 24;
    # doorbell 28/32, descriptors 16 + 20/16, event 24/16, frame 72 + 20
    assert Traffic("tx", 60).bytes() == (1.5 + 17 + 1.5 + 24 / 64 + 24, 0.875 + 17.25 + 1.5 + 92)


def test_tlp_bytes():
    assert [tlp_bytes(4), tlp_bytes(3), tlp_bytes(3, 72), tlp_bytes(4, 5)] == [24, 20, 92, 32]


def test_other_bounds():
    traffic = Traffic("tx", 60)
    assert traffic.reads() == 1.125
    assert tags_bound(traffic, tags=256, round_trip=560) == pytest.approx(256 / 0.56 / 1.125)
    assert ring_bound(size=1024, residence=2000, queues=2) == 1024
    assert wire_bound(60, 100) == pytest.approx(148.81, abs=0.005)
    assert wire_bound(20, 10) == wire_bound(60, 10)
    assert tags_bound(Traffic("rx", 60, IDEAL.with_(fetch=float("inf"))), tags=1, round_trip=1) == float("inf")


def test_the_smallest_bound_counts():
    link = Link("gen3x16")
    assert bound(link, "tx", 60).name == "bus"
    assert bound(Link("gen3x8"), "tx", 60).name == "link"
    assert bound(link, "tx", 60, gbps=25).name == "wire"
    low = bound(link, "tx", 60, tags=32, round_trip=560, ring=1024, residence=3000)
    assert low.name == "tags" and low.mpps == min(low.parts.values())
    assert bound(link, "tx", 60, ring=256, residence=3000, tags=256, round_trip=500).name == "ring"


def test_unknown_direction_is_refused():
    with pytest.raises(ValueError, match="not 'up'"):
        Traffic("up", 60)


def test_frames_leave_in_whole_beats():
    assert frames_bound([1514, 64, 65]) == 250 / (24 + 1 + 2)
    assert frames_bound([1514], width=128, mhz=125) == 125 / 95
    assert bound(Link("gen4x16"), "tx", 65_549, segments_of=[1514] * 44 + [1309]).name == "clock"
