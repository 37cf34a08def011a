"""The whole driver against the functional card, with what serves line rate."""

import random
from itertools import combinations
from types import SimpleNamespace

import pytest

from model import formats
from model.device import OFFERED, NicParameters
from model.formats import Feature
from testbench.driver.framing import Framing
from testbench.driver.net import WANTED_UNFILTERED
from testbench.driver.ring import RingStyle
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import Setup, exchange, random_frames

RING = (Feature.NOTIFICATION_DATA, Feature.EVENT_IDX, Feature.IN_ORDER, Feature.INDIRECT_DESC)
SUBSETS = [subset for count in range(1, 5) for subset in combinations(RING, count)]


def name_of(subset):
    return "+".join(feature.name for feature in subset)


def setup_with(platform, features, **options):
    """Card and driver with `features` negotiated; the card calls its queues by numbers of its own."""
    features = formats.feature_set(*features, Feature.NOTIF_CONFIG_DATA)
    parameters = NicParameters(offered=OFFERED | features, rx_buffer=1 << 30, cookie=0x1234)
    return Setup(platform, deferred=True, parameters=parameters, wanted=WANTED_UNFILTERED, **options)


@pytest.mark.parametrize("subset", SUBSETS, ids=name_of)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_frames_both_ways_with_every_set_of_features(size, subset):
    """A lost wake-up ends in `Deadlock`. The card completes buffers in any order, or in batches of any length."""
    async def scenario(platform):
        rng = random.Random(size)
        setup = setup_with(platform, subset, seed=size, suppress=True, queue_size=size, sleep_seed=size, sleep_ns=300,
                           transmit_interrupt_after=rng.randint(1, size),
                           receive_framing=Framing(cuts=(5, 12, 700)[:size - 1], gap=9, offset=3),
                           style=RingStyle(rng.random() < .5, rng.random() < .5, rng.choice(("several", "always")),
                                           rng.randrange(16), rng.random() < .5))
        await setup.driver.start()
        assert setup.driver.virtio.features == setup.nic.parameters.offered
        frames = random_frames(rng, 100)
        received = await exchange(setup, rng, frames, min(size, 8))
        if Feature.IN_ORDER in subset:
            assert received == frames
        assert sorted(received) == sorted(frames)
        assert setup.driver.naps.count and not setup.nic.counters["bad_doorbells"] and not setup.nic.error
        await setup.close()
    run(scenario)


def test_receive_buffers_that_are_filled_completely_are_used_by_one_descriptor():
    async def scenario(platform):
        features = formats.feature_set(Feature.IN_ORDER)
        setup = Setup(platform, parameters=NicParameters(offered=OFFERED | features, rx_buffer=1 << 30),
                      wanted=WANTED_UNFILTERED, queue_size=8, loop=False, polling=True)
        await setup.driver.start()
        ring = setup.driver.receivers[0].ring
        full = [bytes(12) + b"\x81\x00\x00\x01\x81\x00\x00\x02" + bytes([n]) * 1502 for n in range(5)]
        used = []
        setup.memory.watch(ring.descriptors, 16 * 8, lambda address, data: used.append(address - ring.descriptors))
        for frame in full[:4] + [b"short" * 20] + full[4:]:
            setup.nic.datapath.receive(frame)
        setup.nic._work()
        assert await setup.driver.receive_many() == full[:4] + [b"short" * 20] + full[4:]
        assert used == [0, 16 * 5]
        setup.memory._watchers.clear()
        await setup.close()
    run(scenario)


def test_transmit_buffers_come_back_in_batches_with_one_interrupt():
    async def scenario(platform):
        features = formats.feature_set(Feature.EVENT_IDX)
        setup = Setup(platform, parameters=NicParameters(offered=OFFERED | features), wanted=WANTED_UNFILTERED,
                      queue_size=16, transmit_interrupt_after=12, deferred=True, loop=False)
        await setup.driver.start()
        await setup.driver.send_many([bytes(60)] * 160)
        await setup.driver.flush()
        assert setup.nic.counters["messages"] <= 160 / 12 + 3
        assert setup.driver.statistics["used"] == 160
        await setup.close()
    run(scenario)


@pytest.mark.parametrize("wait", [{}, {"interrupts": "intx"}, {"polling": True, "poll_ns": 300}, {"polling": True}],
                         ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_a_driver_that_sleeps_at_any_moment(seed, wait):
    """Two senders and a receiver on queues of 5, and no timeout anywhere."""
    async def scenario(platform):
        rng = random.Random(seed)
        subset = [feature for feature in RING if rng.random() < 0.5]
        setup = setup_with(platform, subset, seed=seed, suppress=rng.random() < 0.5, queue_size=5, sleep_seed=seed,
                           sleep_ns=rng.choice((50, 500, 5000)), **wait)
        await setup.driver.start()
        frames = random_frames(rng, 100)
        senders = [platform.spawn(setup.driver.send_many(frames[start::2], batch=rng.randint(1, 4)))
                   for start in (0, 1)]
        received = [await setup.driver.receive() for _ in frames]
        for sender in senders:
            await sender
        await setup.driver.flush()
        assert sorted(received) == sorted(frames)
        await setup.close()
    run(scenario)


@pytest.mark.parametrize("features", [(), (Feature.EVENT_IDX,)], ids=name_of)
def test_interrupts_stay_on_while_another_task_waits(features):
    """The card decides long after its used descriptor is seen. Meanwhile one of two tasks that wait takes the frame."""
    async def scenario(platform):
        setup = Setup(platform, parameters=NicParameters(offered=OFFERED | formats.feature_set(*features)),
                      wanted=WANTED_UNFILTERED, loop=False, queue_size=4)
        datapath = setup.nic.datapath
        notify = datapath._notify

        async def decide(queue):
            await platform.sleep(500)
            notify(queue)
        datapath._notify = lambda queue: platform.spawn(decide(queue))
        await setup.driver.start()
        first = platform.spawn(setup.driver.receive())
        await platform.sleep(10)
        setup.driver.naps = SimpleNamespace(nap=lambda: platform.sleep(100))
        second = platform.spawn(setup.driver.receive())
        await platform.sleep(10)
        setup.nic.receive(bytes(60))
        assert await second == bytes(60)
        assert not first.done()
        await platform.sleep(1000)
        setup.nic.receive(bytes(61))
        assert await first == bytes(61)
        await setup.close()
    run(scenario)
