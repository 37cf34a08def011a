"""What the card does to share and to wait: looks at rings, the read window, runs of used descriptors, turns."""

import numpy as np
import pytest

from model.perf import Card, Host, Pattern, Scenario, simulate


def times_of(direction, *, card=None, host=None, packets=512, **pattern):
    scenario = Scenario(card=card or Card(), host=host or Host(profile="1us"),
                        pattern=Pattern(direction=direction, **pattern))
    answer, = simulate([scenario], packets=packets)
    return answer.times[direction], answer.offered[direction]


def test_looks_at_a_dry_queue_grow():
    """One line of descriptors, then twice as many with every round trip."""
    times, _ = times_of("tx", burst=32, gap_ns=20_000.0)
    issued = times["fetch_issued"][0, :32]
    moments, sizes = np.unique(issued, return_counts=True)
    assert sizes[:2].tolist() == [4, 8]
    assert (np.diff(moments[:3]) >= 250).all()


def test_looks_end_with_multiples_of_the_largest():
    """A burst that doesn't begin there takes a look more, and a round trip."""
    def moments(begin):
        times, _ = times_of("tx", burst=32, gap_ns=20_000.0, begin=begin)
        return np.unique(times["fetch_issued"][0, 64:96])
    assert len(moments(1)) == len(moments(0)) + 1


def test_what_a_doorbell_tells_is_fetched_at_once():
    times, _ = times_of("tx", burst=32, gap_ns=20_000.0, notification_data=True)
    assert np.ptp(times["fetch_issued"][0, :32]) < 20


def test_queues_do_not_wait_for_each_other_to_be_looked_at():
    times, _ = times_of("tx", burst=32, gap_ns=6_000.0, queues=4)
    alone, _ = times_of("tx", burst=32, gap_ns=6_000.0)
    spent = times["fetch_issued"][3, :32] - times["doorbell"][3, :32]
    assert spent == pytest.approx(alone["fetch_issued"][0, :32] - alone["doorbell"][0, :32], abs=80)


@pytest.mark.parametrize("direction", ["tx", "rx"])
def test_no_slot_is_read_before_it_is_used(direction):
    times, _ = times_of(direction, ring=64)
    assert (times["fetch_issued"][0, 64:] >= times["used_written"][0, :-64]).all()


def test_data_does_not_stand_in_a_long_line():
    """The read window: what 240 tags allow would stand before Gen3 x8 for 8000 cycles."""
    times, _ = times_of("tx", lengths=(1514,))
    way = (times["data_there"] - times["data_issued"])[0, 256:]
    assert way.max() < 2 * 310 + 128 + 60
    assert np.median(way) > 310


def test_runs_end_when_full_and_when_nothing_is_behind():
    times, _ = times_of("rx", lengths=(252,))
    _, sizes = np.unique(times["used_written"][0, 64:320], return_counts=True)
    assert set(sizes.tolist()) == {16}
    times, _ = times_of("rx", burst=1, gap_ns=2_000.0)
    assert len(np.unique(times["used_written"][0])) == 512


def test_runs_end_at_the_end_of_the_ring():
    times, _ = times_of("tx", host=Host(), lengths=(252,), ring=1024, begin=1, packets=4096)
    used = times["used_written"][0]
    assert (used[1022:-1:1024] < used[1023::1024]).all()


def test_the_packet_that_exceeds_a_quarter_of_the_ring_ends_a_run_in_order():
    times, _ = times_of("tx", ring=64, in_order=True)
    _, sizes = np.unique(times["used_written"][0, 128:384], return_counts=True)
    assert max(sizes) == 17


def test_a_run_does_not_stay_open_for_longer_than_its_time():
    """Frames of four queues one after the other: a run of 16 would take 3000 cycles."""
    card = Card(used_timeout=256, used_bytes=1 << 16)
    times, _ = times_of("rx", card=card, lengths=(1000,), queues=4)
    open_for = [np.ptp(times["data_issued"][0][times["used_written"][0] == moment])
                for moment in np.unique(times["used_written"][0, 64:])]
    assert max(open_for) <= 256 + 1


def test_few_tags_serve_long_packets_read_by_read():
    """32 tags for data are less than two frames of 18 reads: enough for the link where the host is near, and where it
    is far still worth twice what 16 are, which aren't enough for a frame."""
    def pace(tags, profile):
        times, _ = times_of("tx", card=Card(tags=tags), host=Host(profile=profile), lengths=(9014,),
                            notification_data=True)
        return np.diff(times["first_beat"][0, 256:]).mean()
    on_the_link = (9026 + 36 * 20) / (Host().bytes_per_ns * 4)
    assert pace(48, "e5-warm") == pytest.approx(on_the_link, rel=0.02)
    assert pace(32, "2us") / pace(48, "2us") == pytest.approx((48 - 16) / (32 - 16), rel=0.02)
    assert pace(48, "2us") < 0.6 * (500 + on_the_link)      # one frame at a time
