"""The ideal in-order device: what its resources allow, and nothing more."""

import pytest

from model.ideal import Drawn, Seen, in_order_mpps
from model.latency import fixed
from model.link import Link, Traffic, link_bound


@pytest.mark.parametrize("direction", ["tx", "rx", "both"])
def test_short_round_trips_leave_the_link(direction):
    limit = link_bound(Link("gen3x8"), Traffic(direction, 60))
    assert in_order_mpps(direction, 60, trips=Drawn("e5-warm"), packets=4000) == pytest.approx(limit, rel=1e-3)


def test_the_window_limits_what_is_received():
    """128 descriptors a round trip of 4 µs, and the time in which the last batch of the window is taken."""
    mpps = in_order_mpps("rx", 60, trips=Drawn(fixed(4000)), window=128, packets=20_000)
    assert mpps == pytest.approx(128 / 4, rel=0.06)


def test_tags_limit_what_is_transmitted():
    """32 tags for data, each for 4 µs."""
    assert in_order_mpps("tx", 60, trips=Drawn(fixed(4000)), tags=48, packets=4000) == pytest.approx(32 / 4, rel=0.06)


def test_a_slow_read_holds_up_what_follows():
    """With a tail, less than the median allows: in order, the slowest of all that are under way counts."""
    median = in_order_mpps("tx", 60, trips=Drawn(fixed(1213)), packets=4000)
    assert in_order_mpps("tx", 60, trips=Drawn("e3-tail"), packets=20_000) < 0.5 * median


def test_the_same_seed_gives_the_same():
    runs = {in_order_mpps("both", 60, trips=Drawn("e3-tail", seed), packets=3000) for seed in (1, 1, 2)}
    assert len(runs) == 2


def test_a_frame_is_one_read():
    with pytest.raises(ValueError, match="up to 500 bytes.*not 508"):
        in_order_mpps("tx", 508, trips=Drawn("e5-warm"))


def test_what_was_seen():
    """A read of 100 µs behind 300 of 1 µs: 224 tags and then 76 more, and what comes before it is not counted."""
    def mpps(first, packets):
        return in_order_mpps("tx", 60, trips=Seen([1000.0], [1000.0] * 300 + [100_000.0]), first=first, packets=packets)
    assert mpps(0, 300) > 40
    assert mpps(0, 301) == pytest.approx(301 / 104, rel=0.02)
    assert mpps(300, 1) == pytest.approx(1 / 100, rel=0.05)


def test_what_was_seen_begins_anew():
    trips = Seen([1.0, 2.0], [3.0])
    assert [trips.fetch(64), trips.fetch(64), trips.fetch(164)] == [1.0, 2.0, pytest.approx(30.0)]
    assert [trips.data(64), trips.data(32)] == [3.0, 3.0]
