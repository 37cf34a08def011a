"""The driver resets one queue of the functional card, and the others go on."""

import random

import pytest

from model import formats
from model.device import OFFERED
from model.memory import OwnershipError
from testbench.driver.control import CommandRefused
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import flow, many_pairs, random_frames


@pytest.mark.requirements("DRV-037", "DRV-038", "DRV-050", "DRV-051")
@pytest.mark.parametrize("index", range(4))
def test_a_queue_is_reset_and_comes_back_with_another_size(index):
    async def scenario(platform):
        rng = random.Random(index)
        setup = many_pairs(platform, card={"reset_reads": 3}, pairs=2, queue_size=7, loop=False, sleep_seed=1)
        driver = setup.driver
        await driver.start()
        await driver.control.set_queue_coalescing(index, 5, 5)
        await driver.control.set_coalescing("tx" if index & 1 else "rx", 2, 2)
        await driver.control.set_queue_coalescing(index, 5, 5)
        for size in (5, None, 1, 3, 200):
            for frame in random_frames(rng, 4):
                for pair in (0, 1):
                    await driver.send(frame, pair=pair)
                setup.nic.receive(frame)
            stopped = [*driver.receivers, *driver.transmitters][index // 2 + 2 * (index & 1)]
            device = setup.nic.datapath._queues[index].ring
            device.told = None
            grants = len(setup.memory._grants)
            lost = await driver.stop_queue(index)
            assert lost == stopped.ring.size if not index & 1 else lost <= 4
            assert len(setup.memory._grants) < grants
            with pytest.raises(OwnershipError):
                device.peek()
            with pytest.raises(DriverError, match=f"queue {index} was stopped"):
                await driver.stop_queue(index)
            with pytest.raises(DriverError, match=f"queue {index} was stopped"):
                if index & 1:
                    await driver.send(bytes(60), pair=index // 2)
                else:
                    await driver.receive(pair=index // 2)
            before = setup.nic.counters["doorbells"]
            await stopped.kick()
            assert setup.nic.counters["doorbells"] == before
            setup.nic.common.queues[index].size = 1         # a card may keep what was written
            await driver.start_queue(index, size)
            with pytest.raises(DriverError, match=f"queue {index} was not stopped"):
                await driver.start_queue(index)
            assert setup.nic.common.queues[index].size == (size or 7)
            assert await driver.control.queue_coalescing(index) == (2, 2)
        await driver.send(flow(1), pair=index // 2)
        setup.nic.receive(flow(1))
        while flow(1) not in await driver.receive_many(pair=index // 2):
            pass
        await setup.close()
    run(scenario)


def test_frames_go_elsewhere_while_a_receive_queue_is_reset():
    async def scenario(platform):
        setup = many_pairs(platform, pairs=2, queue_size=8, loop=False)
        driver = setup.driver
        await driver.start()
        await driver.send(flow(1), pair=1)
        await driver.stop_queue(2)
        setup.nic.receive(flow(1))
        assert await driver.receive_any() == [(0, flow(1))]
        await driver.stop_queue(0)
        setup.nic.receive(flow(1))
        assert setup.nic.counters["rx_not_live"] == 1
        await driver.start_queue(0)
        await driver.start_queue(2)
        receiving = platform.spawn(driver.receive(pair=1))
        await platform.sleep(10)
        for length in range(10):
            setup.nic.receive(flow(1, length))
        assert await receiving == flow(1, 0)
        # Two of them find no buffer: they follow.
        await driver.stop_queue(2)
        assert await driver.receive_any() == [(0, flow(1, 8)), (0, flow(1, 9))]
        await setup.close()
    run(scenario)


@pytest.mark.requirements("DRV-130")
def test_while_the_device_is_asked_nothing_is_sent():
    """On a pair that is being switched off, or a queue that is being reset; nor on more pairs if that was refused."""
    async def scenario(platform):
        setup = many_pairs(platform, card={"reset_reads": 9}, deferred=True, pairs=2, queue_size=8, loop=False)
        driver = setup.driver
        await driver.start()
        switching = platform.spawn(driver.set_pairs(1))
        await platform.sleep(10)
        with pytest.raises(DriverError, match="pair 1 is not among the 1 active ones"):
            await driver.send(bytes(60), pair=1)
        await switching
        stopping = platform.spawn(driver.stop_queue(1))
        await platform.sleep(10)
        with pytest.raises(DriverError, match="queue 1 was stopped"):
            await driver.send(bytes(60))
        assert await stopping == 0
        setup.nic.datapath.steering.most_pairs = 1
        with pytest.raises(CommandRefused):
            await driver.set_pairs(2)
        assert driver.active_pairs == 1
        await setup.close()
        setup = many_pairs(platform, pairs=2)
        start = setup.nic.datapath.start

        def start_with_one(*arguments):
            start(*arguments)
            setup.nic.datapath.steering.most_pairs = 1
        setup.nic.datapath.start = start_with_one
        with pytest.raises(CommandRefused):
            await setup.driver.start()
        assert setup.driver.active_pairs == 1
    run(scenario)


def test_resets_under_way_do_not_disturb_the_other_queues():
    async def scenario(platform):
        rng = random.Random(3)
        setup = many_pairs(platform, card={"reset_reads": 2}, deferred=True, pairs=2, queue_size=5,
                           sleep_seed=3, seed=3)
        driver = setup.driver
        await driver.start()
        frames = [flow(0, n) for n in range(200)]
        sender = platform.spawn(driver.send_many(frames, batch=3))

        async def reset():
            for _ in range(20):
                index = rng.choice((2, 3))
                await driver.stop_queue(index)
                await platform.sleep(rng.uniform(0, 500))
                await driver.start_queue(index, rng.randint(1, 9))
        resets = platform.spawn(reset())
        received = []
        while len(received) < len(frames):
            received += await driver.receive_many()
        await sender
        await resets
        assert sorted(received) == sorted(frames)
        await setup.close()
    run(scenario)


def test_a_queue_that_can_not_be_reset():
    async def scenario(platform):
        setup = many_pairs(platform, card={"offered": OFFERED})
        await setup.driver.start()
        with pytest.raises(DriverError, match="without VIRTIO_F_RING_RESET"):
            await setup.driver.stop_queue(0)
        await setup.driver.send(bytes(60))
        assert await setup.driver.receive() == bytes(60)
        await setup.close()
        for reset_reads, message in ((1000, "reset of queue 1 not finished after 300 ns"), (0, "is still enabled")):
            setup = many_pairs(platform, card={"reset_reads": reset_reads})
            await setup.driver.start()
            if not reset_reads:
                setup.host.mmio_read = still_enabled(setup)
            with pytest.raises(DriverError if reset_reads else DeviceError, match=message):
                await setup.driver.virtio.reset_queue(1, timeout_ns=300)
    run(scenario)


def still_enabled(setup):
    """Reads of a card whose queue_enable is 1, whatever happens."""
    read, at = setup.host.mmio_read, setup.nic.config.bar + formats.field(formats.COMMON_CFG, "queue_enable")[0]

    async def mmio_read(address, size):
        return 1 if address == at else await read(address, size)
    return mmio_read
