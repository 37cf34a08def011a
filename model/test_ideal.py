"""The ideal in-order device: what its resources allow, and nothing more."""

import pytest

from model.ideal import in_order_mpps
from model.latency import Latency, fixed
from model.link import Link, Traffic, link_bound


def mpps_of(direction, profile, packets, *, seed=1, **options):
    """Over the later three quarters of `packets`, with the round trips of a profile."""
    latency = Latency(profile, seed)
    fetches, data = ([latency.round_trip() for _ in range(packets)] for _ in range(2))
    return in_order_mpps(direction, 60, fetches=fetches, data=data, per_byte=latency.profile.per_byte,
                         first=packets // 4, packets=packets - packets // 4, **options)


@pytest.mark.parametrize("direction", ["tx", "rx", "both"])
def test_short_round_trips_leave_the_link(direction):
    limit = link_bound(Link("gen3x8"), Traffic(direction, 60))
    assert mpps_of(direction, "e5-warm", 4000) == pytest.approx(limit, rel=1e-3)


def test_the_window_limits_what_is_received():
    """128 descriptors a round trip of 4 µs, and the time in which the last batch of the window is taken."""
    mpps = mpps_of("rx", fixed(4000), 20_000, window=128)
    assert mpps == pytest.approx(128 / 4, rel=0.06)


def test_tags_limit_what_is_transmitted():
    """32 tags for data, each for 4 µs."""
    assert mpps_of("tx", fixed(4000), 4000, tags=48) == pytest.approx(32 / 4, rel=0.06)


def test_a_slow_read_holds_up_what_follows():
    """With a tail, less than the median allows: in order, the slowest of all that are under way counts."""
    median = mpps_of("tx", fixed(1213), 4000)
    assert mpps_of("tx", "e3-tail", 20_000) < 0.5 * median


def test_the_same_seed_gives_the_same():
    runs = {mpps_of("both", "e3-tail", 3000, seed=seed) for seed in (1, 1, 2)}
    assert len(runs) == 2


def test_a_frame_is_one_read():
    with pytest.raises(ValueError, match="up to 500 bytes.*not 508"):
        in_order_mpps("tx", 508, fetches=[1.0], data=[1.0], first=0, packets=1)


def test_what_was_seen():
    """A read of 100 µs behind 300 of 1 µs: 224 tags and then 76 more, and what comes before it is not counted."""
    def mpps(first, packets):
        return in_order_mpps("tx", 60, fetches=[1000.0], data=[1000.0] * 300 + [100_000.0], first=first,
                             packets=packets)
    assert mpps(0, 300) > 40
    assert mpps(0, 301) == pytest.approx(301 / 104, rel=0.02)
    assert mpps(300, 1) == pytest.approx(1 / 100, rel=0.05)


def test_what_was_seen_begins_anew():
    """One slow fetch in 4 goes on slowing down what needs more of them than are given, longer ones by the byte."""
    def mpps(fetches, **options):
        return in_order_mpps("rx", 60, fetches=fetches, data=[], first=2000, packets=4000, window=16, **options)
    assert mpps([1000.0] * 3 + [5000.0], per_byte=0) == pytest.approx(mpps([2000.0], per_byte=0), rel=0.05)
    assert mpps([1000.0], per_byte=10) == pytest.approx(mpps([1000.0 + 192 * 10], per_byte=0), rel=1e-6)
