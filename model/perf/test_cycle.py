"""The card cycle by cycle: the host's random numbers, that nothing depends on what ran before, and stages of lone
packets."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

from model.perf import Card, Host, Pattern, Scenario, simulate
from model.perf.cycle import run
from model.perf.cycle.draws import STATE, draw, skip, state_of

LONE = {"burst": 1, "gap_ns": 40_000.0, "lengths": (60,)}


def times_of(direction, *, profile, packets, seed=1, card=None, link="gen3x8", **pattern):
    answer, = simulate([Scenario(card=card or Card(), host=Host(profile=profile, link=link), seed=seed,
                                 pattern=Pattern(direction=direction, **pattern))], packets=packets)
    if direction == "both":
        return {(name, stage): times for name in answer.times for stage, times in answer.times[name].items()}
    return answer.times[direction]


@pytest.mark.parametrize("seed", [0, 1, 1 << 40])
def test_numbers_are_those_of_python(seed):
    """Two words each: the state is refilled every 312 draws."""
    state, generator = np.zeros(STATE, np.int64), random.Random(seed)
    state[:] = state_of(seed)
    assert [draw(state) for _ in range(2500)] == [generator.random() for _ in range(2500)]
    for passed in (0, 1, 311, 312, 700):
        skip(state, passed)
        assert draw(state) == [generator.random() for _ in range(passed + 1)][-1]


def same(one, other):
    return all(np.array_equal(one[stage], other[stage], equal_nan=True) for stage in one)


@pytest.mark.parametrize("direction", ["tx", "rx"])
def test_a_seed_decides_about_everything(direction):
    first, again, another = (times_of(direction, profile="iommu-4k", packets=512, seed=seed) for seed in (1, 1, 2))
    assert same(first, again) and not same(first, another)
    assert (first["seen"] != another["seen"]).any()


def test_stages_of_a_lone_packet_transmitted():
    """Cycles that the RTL takes. The first packets are looked for before the card knows what a round trip takes."""
    times = {stage: moments[0, 8:] for stage, moments in times_of("tx", profile="1us", packets=24, **LONE).items()}
    assert set(times["fetch_issued"] - times["doorbell"]) == {10}
    assert set(times["data_issued"] - times["descriptor_there"]) == {19}
    assert set(times["first_beat"] - times["data_there"]) == {12}
    assert set(times["used_written"] - times["data_there"]) == {16}


def test_stages_of_a_lone_packet_received():
    times = {stage: moments[0, 8:] for stage, moments in times_of("rx", profile="1us", packets=24, **LONE).items()}
    assert set(times["used_written"] - times["data_issued"]) == {9}


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("queues", [1, 4])
def test_no_data_is_read_before_its_descriptor_is_there(queues, indirect):
    times = times_of("tx", profile="iommu-4k", packets=1024, queues=queues, indirect=indirect)
    assert np.isfinite(times["data_issued"]).all()
    assert (times["data_issued"] > times["descriptor_there"]).all()


def everything(w, now, most):
    """Instead of `following`: each cycle, and both engines in it."""
    w.moving[:] = 1
    return now + 1


@pytest.mark.parametrize("direction, scenario", [
    ("tx", {"profile": "1us", "packets": 384, "ring": 64}), ("rx", {"profile": "1us", "packets": 384, "ring": 64}),
    ("both", {"profile": "1us", "packets": 256, "ring": 64, "lengths": (9014,), "indirect": True}),
    # A probe of the read window whose end is seen by nobody at once.
    ("tx", {"profile": "iommu-4k", "packets": 640, "ring": 512, "lengths": (9014,), "indirect": True, "seed": 945,
            "link": "gen4x8", "card": Card(tags=64, fetch_batch=8, used_batch=8, used_timeout=4096)}),
    # A burst that is due between two cycles.
    ("rx", {"profile": "1us", "packets": 1200, "ring": 512, "lengths": (252,), "notification_data": True, "seed": 370,
            "queues": 4, "burst": 32, "gap_ns": 15480.000000000002, "begin": 1, "link": "gen3x16",
            "card": Card(width=128, used_timeout=4096)})])
def test_what_is_not_followed_is_nothing(direction, scenario, monkeypatch):
    """Cycles in which nothing happens, or only TLPs are carried, are not followed; one by one they lead to the same."""
    times = times_of(direction, **scenario)
    for name in ("_follow", "_prepare", "_pass_until", "_load"):        # not compiled, so that they call what is put in
        monkeypatch.setattr(run, name, getattr(run, name).py_func)
    monkeypatch.setattr(run, "following", everything)
    monkeypatch.setattr(run, "_compiling", nullcontext)     # there is nothing to wait for
    assert same(times, times_of(direction, **scenario))


def test_what_was_followed_before_leaves_nothing():
    """The memory is a thread's: neither many queues nor many packets are seen by what comes after them, which
    is faster: of two times the later one would stay."""
    scenario = {"profile": "1us", "packets": 64, "ring": 64, "indirect": True}
    with ThreadPoolExecutor(1) as another:
        alone = another.submit(times_of, "tx", **scenario).result()
    times_of("tx", profile="2us", packets=512, queues=4, ring=256)
    times_of("rx", profile="2us", packets=96, queues=8, ring=512)
    assert same(alone, times_of("tx", **scenario))


def test_what_is_compiled_is_loaded():
    """A process that works is none that has compiled."""
    times_of("rx", profile="1us", packets=1)
    assert run._follow.stats.cache_hits and not run._follow.stats.cache_misses
