"""Samplers against the percentiles that they are made from."""

import pytest

from model.latency import Latency, Profile, fixed

DRAWS = 100_000

PUBLISHED = {
    "e5-warm": (520, 550, 560, 575, 600, 1000),
    "e5-dram": (587, 605, 620, 800, 900, 2000),
    "e5-remote": (640, 665, 780, 850, 920, 2400),
    "iommu-4k": (560, 880, 1000, 1100, 1300, 5000),
    "e3-tail": (493, 1213, 3000, 4700, 10000, 50000),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_percentiles(name):
    latency = Latency(name, seed=3)
    draws = sorted(latency.round_trip() for _ in range(DRAWS))
    low, p50, p95, p99, p999, high = PUBLISHED[name]
    assert low <= draws[0] <= low * 1.01
    assert draws[DRAWS // 2] == pytest.approx(p50, rel=0.01)
    assert draws[DRAWS * 95 // 100] == pytest.approx(p95, rel=0.02)
    assert draws[DRAWS * 99 // 100] == pytest.approx(p99, rel=0.03)
    assert draws[DRAWS * 999 // 1000] == pytest.approx(p999, rel=0.10)
    assert p999 < draws[-1] <= high


def test_same_seed_same_draws():
    draws = [[Latency("e5-warm", seed=seed).round_trip() for _ in range(5)] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    latency = Latency("e5-warm", seed=2)
    assert latency.round_trip() == draws[2][0]
    latency.seed(1)
    assert latency.round_trip() == draws[0][0]


def test_length_and_preceding_write_cost_more():
    flat = Profile("flat", (500.0,) * 6)
    assert Latency(flat).round_trip(64) == pytest.approx(500)
    assert Latency(flat).round_trip(4) == pytest.approx(500)
    assert Latency(flat).round_trip(64 + 448) == pytest.approx(500 + 448 * 0.29)
    latency = Latency(flat, seed=1)
    extra = [latency.round_trip(since_write=0) - 500 for _ in range(2000)]
    assert 106.9 < min(extra) < 109 and 158 < max(extra) < 160.1
    later = [latency.round_trip(since_write=130) - 500 for _ in range(2000)]
    assert min(later) == pytest.approx(0, abs=1e-9) and 28 < max(later) < 30.1
    assert latency.round_trip(since_write=160) == pytest.approx(500)


def test_profiles_for_tests():
    assert {Latency("zero").round_trip(512, since_write=0) for _ in range(20)} == {0.0}
    assert {round(Latency(fixed(300), seed=s).round_trip(512), 6) for s in range(20)} == {300.0}
    assert Profile("x", PUBLISHED["e5-warm"]).median == 550


def test_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="unknown latency profile 'fast'; there are: e5-warm"):
        Latency("fast")
