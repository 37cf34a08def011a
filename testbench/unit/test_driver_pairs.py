"""The driver with many queue pairs against the functional card: steering, vectors, coalescing."""

import random

import pytest

from model import formats
from model.device import OFFERED
from model.formats import Feature
from testbench.driver.platform import DriverError
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import flow, many_pairs, random_frames


@pytest.mark.requirements("DRV-127", "DRV-129", "DRV-116")
@pytest.mark.parametrize("wait", [{}, {"interrupts": "intx"}, {"polling": True, "poll_ns": 200}, {"polling": True}],
                         ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_flows_come_back_on_the_pair_that_sent_them(seed, wait):
    """Senders on all pairs at once, a receiver of any, all of them sleepy."""
    async def scenario(platform):
        rng = random.Random(seed)
        setup = many_pairs(platform, seed=seed, deferred=True, pairs=rng.choice((2, 3, 4)),
                           queue_size=rng.choice((3, 7)), sleep_seed=seed, sleep_ns=300, **wait)
        driver = setup.driver
        await driver.start()
        pairs = driver.options.pairs
        sent = {pair: [flow(100 * pair + n % 5, rng.randint(0, 900)) for n in range(40)] for pair in range(pairs)}
        senders = [platform.spawn(driver.send_many(frames, pair=pair, batch=rng.randint(1, 5)))
                   for pair, frames in sent.items()]
        received = {pair: [] for pair in sent}
        while sum(map(len, received.values())) < 40 * pairs:
            for pair, frame in await driver.receive_any(rng.choice((None, 1, 3))):
                received[pair].append(frame)
        for sender in senders:
            await sender
        assert received == sent
        assert setup.nic.counters["tx_inactive_pair"] == setup.nic.counters["bad_doorbells"] == 0
        await setup.close()
    run(scenario)


@pytest.mark.requirements("DRV-128", "DRV-130")
def test_only_active_pairs_are_used():
    async def scenario(platform):
        setup = many_pairs(platform, pairs=3, queue_size=8, loop=False)
        driver = setup.driver
        await driver.start()
        assert driver.active_pairs == 3 == setup.nic.datapath.steering.pairs
        await driver.set_pairs(2)
        assert driver.active_pairs == 2 == setup.nic.datapath.steering.pairs
        for send in (driver.send, driver.send_many):
            with pytest.raises(DriverError, match="pair 2 is not among the 2 active ones"):
                await send(bytes(60), pair=2)
        for pairs in (0, 4):
            with pytest.raises(DriverError, match=f"{pairs} of 3 pairs"):
                await driver.set_pairs(pairs)
        await driver.set_pairs(1)
        for number in range(8):
            setup.nic.receive(flow(number))
        assert len(await driver.receive_any()) == 8 and not driver.receivers[1].ring.has_used()
        await driver.set_pairs(3)
        await driver.send(bytes(60), pair=2)
        await setup.close()
        alone = many_pairs(platform, pairs=1)
        await alone.driver.start()
        assert alone.nic.counters["commands"] == 0 and alone.driver.active_pairs == 1
        await alone.close()
        with pytest.raises(DriverError, match="5 pairs of a device with 4"):
            await many_pairs(platform, pairs=5).driver.start()
    run(scenario)


def test_frames_that_wait_for_a_pair_follow_when_it_is_switched_off():
    async def scenario(platform):
        setup = many_pairs(platform, pairs=2, queue_size=4, loop=False)
        await setup.driver.start()
        await setup.driver.send(flow(1), pair=1)
        frames = [flow(1, length) for length in range(6)]
        for frame in frames:
            setup.nic.receive(frame)
        await setup.driver.set_pairs(1)
        assert await setup.driver.receive_many() == frames[4:]
        assert await setup.driver.receive_many(pair=1) == frames[:4]
        await setup.close()
    run(scenario)


@pytest.mark.parametrize("pairs, missing, vectors", [(2, 0, [1, 2, 3, 4, 5]), (2, 1, [1] * 5), (2, 4, [1] * 5),
                                                     (2, 5, [0] * 5), (1, 0, [1, 2, 3])])
def test_a_vector_for_each_queue_or_one_for_all(pairs, missing, vectors):
    async def scenario(platform):
        setup = many_pairs(platform, card={"pairs": 2}, pairs=pairs, queue_size=4)
        setup.nic.config.msix["control"] -= missing
        await setup.driver.start()
        queues = setup.nic.common.queues
        assert [queue.vector for queue in queues[:2 * pairs] + queues[4:]] == vectors
        for pair in range(pairs):
            await setup.driver.send(flow(pair), pair=pair)
            assert await setup.driver.receive(pair=pair) == flow(pair)
        await setup.close()
    run(scenario)


# Coalescing

@pytest.mark.requirements("DRV-140")
@pytest.mark.parametrize("features", [(), (Feature.EVENT_IDX,), (Feature.IN_ORDER,)], ids=str)
def test_fewer_interrupts_for_many_frames(features):
    """Nothing waits for ever, though a count is never reached."""
    async def scenario(platform):
        rng = random.Random(1)
        offered = OFFERED | formats.CONTROL_FEATURES | formats.feature_set(*features)
        messages = []
        for packets in (0, 10):
            setup = many_pairs(platform, card={"offered": offered}, deferred=True, queue_size=64)
            driver = setup.driver
            await driver.start()
            for direction in ("rx", "tx"):
                await driver.control.set_coalescing(direction, packets, 50)
            await driver.control.set_queue_coalescing(1, 2 * packets, 50)
            assert await driver.control.queue_coalescing(0) == (packets, 50)
            assert await driver.control.queue_coalescing(1) == (2 * packets, 50)
            before = setup.nic.counters["messages"]
            frames = random_frames(rng, 205)
            sender = platform.spawn(driver.send_many(frames))
            received = []
            while len(received) < len(frames):
                received += await driver.receive_many()
            await sender
            assert received == frames
            messages.append(setup.nic.counters["messages"] - before)
            await setup.close()
        assert messages[1] < messages[0] / 2
    run(scenario)
