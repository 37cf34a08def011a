"""The whole driver against the functional card: frames both ways, in every way to wait."""

import random
from types import SimpleNamespace

import pytest

from model.device import NicParameters
from testbench.driver.framing import HEADER_APART, Framing
from testbench.driver.interrupts import PinInterrupt
from testbench.driver.ring import RingStyle
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import Setup, exchange, random_frames

SIZES = [1, 2, 3, 5, 7, 64, 255, 256]


@pytest.mark.requirements("DRV-034")
@pytest.mark.parametrize("size", SIZES)
def test_a_thousand_frames_both_ways(size):
    async def scenario(platform):
        rng = random.Random(size)
        setup = Setup(platform, deferred=True, queue_size=size, parameters=NicParameters(rx_buffer=1 << 30))
        await setup.driver.start()
        frames = random_frames(rng, 1000)
        assert await exchange(setup, rng, frames, min(size, 8)) == frames
        assert setup.nic.counters["rx_frames"] == setup.nic.counters["tx_frames"] == 1000
        await setup.close()
    run(scenario)


MODES = {
    "msix": {},
    "intx": {"interrupts": "intx"},
    "polling every 300 ns": {"polling": True, "poll_ns": 300, "interrupts": "none"},
    "polling without end": {"polling": True},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 3, 16])
@pytest.mark.parametrize("suppress", [False, True])
def test_every_way_to_wait_with_completions_in_any_order(mode, size, suppress):
    """A lost wake-up ends in `Deadlock`. Receive buffers are chains where the ring has room for one."""
    async def scenario(platform):
        rng = random.Random(size)
        setup = Setup(platform, seed=size, deferred=True, suppress=suppress, queue_size=size,
                      parameters=NicParameters(rx_buffer=1 << 30), style=RingStyle(False, False),
                      receive_framing=Framing(cuts=(5, 12, 700)[:size - 1], gap=9, offset=3), **MODES[mode])
        await setup.driver.start()
        frames = random_frames(rng, 300)
        received = await exchange(setup, rng, frames, min(size, 8))
        assert sorted(received) == sorted(frames)
        if suppress and size == 16:
            assert setup.driver.statistics["doorbells_saved"] > 0
        await setup.close()
    run(scenario)


def test_interrupts_are_off_while_nobody_waits():
    async def scenario(platform):
        setup = Setup(platform, queue_size=16)
        await setup.driver.start()
        await setup.driver.send_many([bytes(60)] * 10)
        assert setup.nic.counters["messages"] == 0
        assert [len(frame) for frame in await setup.driver.receive_many()] == [60] * 10
        with pytest.raises(TimeoutError, match="no buffer of queue 0 was used within 500 ns"):
            await setup.driver.receive(timeout_ns=500)
        setup.nic.receive(b"a frame of fourteen bytes or more")
        assert setup.nic.counters["messages"] == 1
        assert await setup.driver.receive() == b"a frame of fourteen bytes or more"
        waiting = platform.spawn(setup.driver.receive())
        await platform.sleep(10)
        setup.nic.receive(bytes(60))
        await waiting
        assert setup.nic.counters["messages"] == 2
        setup.nic.receive(bytes(60))
        assert setup.nic.counters["messages"] == 2
        await setup.close()
    run(scenario)


def test_a_buffer_used_while_interrupts_are_being_armed_is_seen():
    """It brings no interrupt, and nothing else comes: without another look the driver would sleep for ever."""
    async def scenario(platform):
        setup = Setup(platform, queue_size=16)
        await setup.driver.start()
        ring = setup.driver.receivers[0].ring
        arm = ring.enable_interrupts

        def too_late(after):
            setup.nic.receive(b"just before the flag was written")
            arm(after)
        ring.enable_interrupts = too_late
        assert await setup.driver.receive() == b"just before the flag was written"
        assert setup.nic.counters["messages"] == 0
        await setup.close()
    run(scenario)


def test_the_pin_is_served_until_it_is_deasserted():
    """A second event keeps INTA asserted after the first read of ISR: no edge tells of it."""
    async def scenario(platform):
        host, handled, answers = SimpleNamespace(on_intx=[]), [], iter([1, 2, 0])

        async def read_isr():
            value = next(answers)
            if value == 0:
                host.on_intx[0](False)
            return value
        pin = PinInterrupt(host, platform, read_isr, {1: lambda: handled.append("queue"),
                                                      2: lambda: handled.append("config")})
        host.on_intx[0](True)
        await platform.sleep(10)
        assert handled == ["queue", "config"] and pin.count == 3
        pin.close()
        assert host.on_intx == []
    run(scenario)


def test_doorbells_come_in_batches():
    async def scenario(platform):
        setup = Setup(platform, queue_size=64, loop=False, polling=True)
        sent = []
        setup.nic.datapath.wire = sent.append
        await setup.driver.start()
        before = setup.driver.statistics["doorbells"]
        frames = random_frames(random.Random(1), 320)
        await setup.driver.send_many(frames, batch=32)
        assert sent == frames
        assert setup.driver.statistics["doorbells"] - before == 10
        await setup.driver.send_many(frames, framing=HEADER_APART, batch=32)
        assert setup.driver.statistics["doorbells"] - before == 20
        assert sent == frames * 2
        await setup.close()
    run(scenario)


def test_more_frames_in_a_batch_than_the_ring_holds():
    async def scenario(platform):
        setup = Setup(platform, queue_size=5, deferred=True, parameters=NicParameters(rx_buffer=1 << 30))
        await setup.driver.start()
        frames = random_frames(random.Random(2), 100)
        sender = platform.spawn(setup.driver.send_many(iter(frames), batch=32))
        received = []
        while len(received) < 100:
            received += await setup.driver.receive_many(3)
        await sender
        assert received == frames
        await setup.close()
    run(scenario)


@pytest.mark.parametrize("cuts, gap, offset, length, pieces", [
    ((), 0, 0, 72, [(0, 0, 72)]),
    ((12,), 4, 0, 72, [(0, 0, 12), (16, 12, 72)]),
    ((12, 12, 90), 1, 2, 72, [(2, 0, 12), (15, 12, 12), (16, 12, 72)]),
])
def test_framing(cuts, gap, offset, length, pieces):
    framing = Framing(cuts=cuts, gap=gap, offset=offset)
    assert framing.place(0, length) == pieces
    assert all(at + end - first <= framing.room(length) for at, first, end in pieces)


def test_framing_refuses_what_it_cannot_do():
    for wrong in ({"cuts": (3, 1)}, {"gap": -1}, {"offset": -1}):
        with pytest.raises(ValueError, match="must ascend"):
            Framing(**wrong)
