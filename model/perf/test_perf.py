"""The performance model: what nothing may exceed, the limits in which the answer is known, and what it refuses."""

import numpy as np
import pytest

from model.latency import PROFILES, fixed
from model.link import BATCH, Link, Traffic, bus_bound, link_bound
from model.perf import RESOURCES, STAGES, Answer, Card, Host, ParameterError, Pattern, Scenario, simulate, steady_state

ENDLESS = Card(tags=256, cache_descriptors=1024, cache_elements=1024, rx_buffer=1 << 20)
FRAMES = (60, 252, 1514)


def scenarios(direction, **pattern):
    return [Scenario(host=Host(link=link), pattern=Pattern(direction=direction, lengths=(length,), **pattern))
            for link in ("gen3x8", "gen4x16") for length in FRAMES]


def bound_of(scenario, *, width=None):
    """Mpps that link and bus carry if nothing is shared worse than the policy says, and events cost nothing."""
    traffic = Traffic(scenario.pattern.direction, scenario.pattern.lengths[0],
                      BATCH.with_(doorbell=float("inf"), message=float("inf"), event=float("inf")))
    return min(link_bound(Link(scenario.host.link), traffic), bus_bound(traffic, width=width or scenario.card.width))


@pytest.mark.parametrize("direction", ["tx", "rx", "both"])
def test_link_and_bus_are_never_exceeded(direction):
    asked = scenarios(direction)
    for scenario, answer, mpps in zip(asked, simulate(asked), steady_state(asked).mpps):
        assert min(answer.mpps.values()) <= 1.01 * bound_of(scenario)
        assert mpps <= bound_of(scenario) * 1.0001


def test_no_more_waits_for_the_link_than_fits():
    """4 KiB, or 32 TLPs: what comes behind stands still on `rq`."""
    scenario = Scenario(pattern=Pattern(direction="rx", lengths=(1514,)))
    times = simulate([scenario])[0].times["rx"]
    waited = (times["data_there"] - times["data_issued"])[0, 1000:] * scenario.card.cycle_ns
    assert waited.max() * scenario.host.bytes_per_ns <= 4096 + 2000     # with the packet itself
    assert waited.min() * scenario.host.bytes_per_ns > 3000             # and the link never waits


@pytest.mark.parametrize("direction", ["tx", "rx"])
@pytest.mark.parametrize("length", FRAMES)
def test_without_latency_and_with_endless_tags_the_bound_is_reached(direction, length):
    pattern = Pattern(direction=direction, lengths=(length,))
    scenario = Scenario(card=ENDLESS, host=Host(profile=fixed(0)), pattern=pattern)
    answer, = simulate([scenario])
    bound = bound_of(scenario)
    assert answer.mpps[direction] == pytest.approx(bound, rel=0.04)
    assert steady_state([scenario]).mpps[0] == pytest.approx(bound, rel=0.05)


@pytest.mark.parametrize("tags", [32, 64])
def test_few_tags_are_the_bottleneck(tags):
    """As many packets per round trip as there are tags for data and what is fetched for it: at most 2 reads per 16
    packets. Event suppression structures are read one after the other, or hardly ever where runs are used faster, so
    that it may be little more than one."""
    scenario = Scenario(card=Card(tags=tags), host=Host(profile="2us", link="gen4x16"))
    answer, = simulate([scenario])
    assert answer.bottleneck == "tags"
    trip, card = 2.0, 0.05      # µs
    assert (tags - 16) / (1 + 2 / 16) / (trip + card) < answer.mpps["tx"] < (tags - 16) / (1 + 1 / 16) / trip
    steady = steady_state([scenario])
    # The steady state counts a read of an event suppression structure for every run.
    assert steady.bottleneck == ["tags"] and steady.mpps[0] == pytest.approx(answer.mpps["tx"], rel=1 / 16)


def test_more_of_anything_is_never_slower():
    small = {"tags": 64, "fetch_batch": 4, "used_batch": 4, "cache_descriptors": 32, "cache_elements": 32}

    def rate(**card):
        answer, = simulate([Scenario(card=Card(**small | card), host=Host(profile="1us"), pattern=Pattern())])
        return min(answer.mpps.values())
    for better in ({"tags": 128}, {"used_batch": 8}, {"cache_descriptors": 64}, {"cache_elements": 64}):
        assert rate(**better) >= 0.99 * rate(), better      # runs end at other packets
    assert rate(fetch_batch=8, cache_descriptors=64) >= rate(cache_descriptors=64)
    # In a small cache a fetch of 8 waits for 4 more to be free than one of 4: on the average half of these are missing.
    assert rate(fetch_batch=8) >= (1 - 4 / 2 / 32) * rate()


@pytest.mark.parametrize("direction", ["tx", "rx", "both"])
@pytest.mark.parametrize("queues", [1, 4])
def test_stages_come_one_after_the_other(direction, queues):
    asked = [Scenario(host=Host(profile="iommu-4k"), pattern=Pattern(direction=direction, queues=queues, **features))
             for features in ({}, {"indirect": True}, {"notification_data": True}, {"gap_ns": 3000.0})]
    order = {"tx": ("fetch_issued", "descriptor_there", "data_issued", "data_there", "first_beat", "last_beat"),
             "rx": ("first_beat", "last_beat", "data_issued", "data_there", "used_written", "msix")}
    for answer in simulate(asked, packets=1024):
        for name, times in answer.times.items():
            assert set(times) == {*STAGES[name], "seen"}
            stages = order[name][:-2] if name == "rx" else order[name]
            for earlier, later in zip(stages, stages[1:]):
                assert (times[later] >= times[earlier] - 1e-6).all(), (name, earlier, later)
            assert (times["seen"] >= times["used_written"]).all()
            assert (np.diff(times["used_written"]) >= -1e-6).all()


def test_scenarios_do_not_disturb_each_other():
    asked = scenarios("tx") + scenarios("rx", queues=2) + scenarios("both")
    together = simulate(asked, packets=512)
    for scenario, answer in zip(asked, together):
        alone, = simulate([scenario], packets=512)
        assert alone.mpps == pytest.approx(answer.mpps)


def test_a_pace_is_kept():
    scenario = Scenario(pattern=Pattern(direction="tx", burst=16, gap_ns=1600.0))
    answer, = simulate([scenario])
    assert answer.mpps["tx"] == pytest.approx(10.0, rel=0.02)
    assert answer.utilisation["link down"] < 0.3
    times = tuple(100.0 * n for n in range(64))
    captured = Scenario(pattern=Pattern(direction="rx", lengths=(60, 1000), times_ns=times))
    assert set(simulate([captured], packets=256)[0].times) == {"rx"}


def test_the_steady_state_names_what_is_used_most():
    answer = steady_state(scenarios("tx"))
    assert answer.utilisation.shape == (6, len(RESOURCES))
    assert (answer.utilisation <= 1.0001).all()
    assert answer.bottleneck[0] == "link down"


@pytest.mark.parametrize("profile", list(PROFILES))
def test_mean_trip(profile):
    from model.perf.trips import draw_trips, mean_trip
    drawn = draw_trips(PROFILES[profile], np.random.default_rng(1), 200_000).mean()
    assert mean_trip(PROFILES[profile]) == pytest.approx(drawn, rel=0.03)


@pytest.mark.parametrize("make, word", [
    (lambda: Card(width=100), "100"), (lambda: Card(fetch_batch=12), "12"), (lambda: Card(tags=8), "reserved_tags"),
    (lambda: Host(link="gen9x1"), "gen9x1"), (lambda: Host(profile="fast"), "fast"),
    (lambda: Pattern(direction="up"), "up"), (lambda: Pattern(ring=100), "100"), (lambda: Pattern(lengths=()), "()"),
    (lambda: Card(tags=257), "tags must be at most 256"), (lambda: Pattern(ring=8192), "8192"),
    (lambda: Pattern(ring=64, begin=65), "65"),
    (lambda: Card(cache_descriptors=2048), "cache_descriptors must be at most 1024"),
    (lambda: Card(cache_elements=2048), "cache_elements must be at most 1024"),
    (lambda: Pattern(lengths=(60,) * 16385), "lengths must be at most 16384"),
    (lambda: Pattern(times_ns=(0.0,) * 16385), "times_ns must be at most 16384"),
])
def test_refusals(make, word):
    with pytest.raises(ParameterError, match=word.replace("(", r"\(").replace(")", r"\)")):
        make()


def test_the_card_may_have_more_fields():
    assert Card.of({"width": 256, "pairs": 4}).width == 256


def test_a_window_of_an_answer():
    """From the first to the last packet inside, maybe all that there are; what did not come so far is nowhere."""
    moments = np.arange(0.0, 1000.0, 10.0).reshape(1, -1)
    never = np.full_like(moments, np.nan)
    sent = np.concatenate([moments, never], axis=1)
    times = {"tx": {"first_beat": sent, "last_beat": sent + 1},
             "rx": {"seen": np.concatenate([moments, moments + 5], axis=1)}}
    offered = {"tx": np.concatenate([moments, moments], axis=1) - 30, "rx": times["rx"]["seen"] - 40}
    answer = Answer(Scenario(), times, offered, {}, {}, "")
    rates, latencies = answer.within(300, 500)
    assert rates == {"tx": pytest.approx(25.0), "rx": pytest.approx(50.0)}      # cycles of 4 ns
    assert [len(latencies["tx"]), len(latencies["rx"])] == [20, 40]
    assert set(latencies["tx"]) == {30.0} and set(latencies["rx"]) == {40.0}
    rates, latencies = answer.within(890, 1090)
    assert len(latencies["tx"]) == 11 and rates["tx"] == pytest.approx(25.0)
    assert answer.within(992, 1090)[0] == {"rx": 0.0}       # a single one
    assert answer.within(5000, 5001) == ({}, {})
    assert len(answer.latency("tx")) == 100 - 200 // 3


def test_what_is_not_reached_until_a_cycle_has_no_time():
    """Whatever passes until then is as it is without an end."""
    scenario = Scenario(host=Host(profile="iommu-4k"))
    cut, whole = simulate([scenario], cycles=[4000])[0], simulate([scenario], packets=2048)[0]
    for stage in STAGES["tx"][:-1]:
        times = cut.times["tx"][stage][0, :2048]
        there = np.isfinite(times)
        assert there[0] and times[there].max() <= 4000 + 16, stage      # delays are known beforehand
        assert np.count_nonzero(there) < 2048, stage
        assert (times[there] == whole.times["tx"][stage][0, :len(times)][there]).all(), stage
