"""The whole driver against the functional card: frames both ways, in every mode, and what goes wrong."""

import random

import pytest

from model import formats
from model.device import OFFERED, FunctionalNic, NicParameters
from model.formats import Feature, Status, feature_set
from model.memory import HostMemory, OwnershipError
from model.virtqueue import PackedQueue
from testbench.driver.direct import DirectHost
from testbench.driver.framing import HEADER_APART, Framing
from testbench.driver.net import REQUIRED, Nic
from testbench.driver.platform import DeviceError, DriverError, NegotiationError
from testbench.driver.ring import RingStyle
from testbench.driver.virtual_time import run

SIZES = [1, 2, 3, 5, 7, 64, 255, 256]


class Setup:
    """Card, host and driver; `nic` is the card, `driver` the driver."""

    def __init__(self, platform, *, parameters=None, seed=None, deferred=False, suppress=False, loop=True, **options):
        self.platform = platform
        self.memory = HostMemory()
        self.nic = FunctionalNic(self.memory, parameters, order=None if seed is None else random.Random(seed),
                                 deferred=deferred, suppress=suppress)
        if loop:
            self.nic.datapath.wire = self.nic.receive
        self.host = DirectHost(self.nic, platform, latency_ns=100 if deferred else 0)
        self.driver = Nic(self.host, platform, **options)
        self.worker = platform.spawn(self.host.work(random.Random(1), 50)) if deferred else None

    async def close(self):
        """Remove the driver; nothing of the memory may be left to the card."""
        await self.driver.remove()
        if self.worker:
            self.worker.cancel()
        assert not self.memory._grants and not self.memory._allocated and not self.memory._watchers
        assert not self.host.statistics.ranges and not self.host.on_intx and not self.host.rules.bus_master


def random_frames(rng, count):
    return [rng.randbytes(rng.choice((60, rng.randint(14, 100), rng.randint(60, 1514)))) for _ in range(count)]


async def exchange(setup, rng, frames, most_elements):
    """Send all of `frames` in random framings, and receive as many, beside each other."""
    async def send():
        for frame in frames:
            await setup.driver.send(frame, framing=Framing.random(rng, len(frame) + 12, most_elements))
        await setup.driver.flush()

    sender = setup.platform.spawn(send())
    received = [await setup.driver.receive() for _ in frames]
    await sender
    return received


@pytest.mark.requirements("DRV-001", "DRV-034", "DRV-097")
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
        await setup.close()
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


@pytest.mark.requirements("DRV-080", "DRV-036")
def test_stop_takes_everything_back_and_start_begins_anew():
    async def scenario(platform):
        setup = Setup(platform, queue_size=8, parameters=NicParameters(reset_reads=5))
        driver = setup.driver
        for _ in range(3):
            await driver.start()
            with pytest.raises(DriverError, match="already started"):
                await driver.start()
            setup.nic.datapath.wire = None
            await driver.send_many([bytes(60)] * 20)
            setup.nic.receive(bytes(100))
            await driver.stop()
            assert not setup.memory._grants
            assert setup.nic.common.status == 0
        await driver.start()
        setup.nic.datapath.wire = setup.nic.receive
        await driver.send(b"once more with feeling")
        assert await driver.receive() == b"once more with feeling"
        await setup.close()
    run(scenario)


def test_those_who_wait_are_told_of_the_end():
    async def scenario(platform):
        setup = Setup(platform)
        await setup.driver.start()
        waiting = platform.spawn(setup.driver.receive())
        await platform.sleep(100)
        await setup.driver.stop()
        with pytest.raises(DriverError, match="queue 0 was stopped"):
            await waiting
    run(scenario)


def test_pairs():
    async def scenario(platform):
        setup = Setup(platform, queue_size=16, pairs=4, parameters=NicParameters(pairs=4))
        await setup.driver.start()
        for pair in range(4):
            await setup.driver.send(bytes([pair]) * 60, pair=pair)
            assert await setup.driver.receive() == bytes([pair]) * 60
        await setup.close()
        too_many = Setup(platform, pairs=2)
        with pytest.raises(DriverError, match="2 pairs of a device with 2 queues"):
            await too_many.driver.start()
        assert too_many.nic.common.status & Status.FAILED
    run(scenario)


@pytest.mark.requirements("DRV-012", "DRV-013")
def test_unknown_features_are_passed_over():
    async def scenario(platform):
        offered = OFFERED | 1 << 49 | 1 << 4
        setup = Setup(platform, parameters=NicParameters(offered=offered))
        await setup.driver.start()
        assert setup.driver.virtio.features == OFFERED
        await setup.close()
    run(scenario)


@pytest.mark.requirements("DRV-004", "DRV-005", "DRV-014")
def test_missing_feature():
    async def scenario(platform):
        setup = Setup(platform, parameters=NicParameters(offered=OFFERED & ~feature_set(Feature.RING_PACKED)))
        with pytest.raises(NegotiationError, match="not offered: RING_PACKED"):
            await setup.driver.start()
        assert setup.nic.common.status == Status.ACKNOWLEDGE | Status.DRIVER | Status.FAILED
        assert not setup.memory._allocated
    run(scenario)


@pytest.mark.requirements("DRV-011")
def test_prerequisites_of_features():
    async def scenario(platform):
        tso = feature_set(Feature.NET_HOST_TSO4)
        setup = Setup(platform, parameters=NicParameters(offered=OFFERED | tso), wanted=OFFERED | tso)
        await setup.driver.start()
        assert setup.driver.virtio.features == OFFERED
        await setup.close()
        setup = Setup(platform, parameters=NicParameters(offered=OFFERED | tso), required=REQUIRED | tso)
        with pytest.raises(NegotiationError, match="prerequisites not offered: NET_HOST_TSO4"):
            await setup.driver.start()
    run(scenario)


@pytest.mark.requirements("DRV-008")
def test_refused_features():
    async def scenario(platform):
        setup = Setup(platform, required=feature_set(Feature.VERSION_1), wanted=0)
        with pytest.raises(NegotiationError, match="the device refused: VERSION_1"):
            await setup.driver.start()
        assert setup.nic.common.status & Status.FAILED
        again = Nic(setup.host, platform)
        await again.start()
        assert setup.nic.common.status == Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK | Status.DRIVER_OK
    run(scenario)


def test_options_that_make_no_sense():
    for options, message in [({"interrupts": "smoke"}, "not 'smoke'"), ({"interrupts": "none"}, "only polling")]:
        with pytest.raises(DriverError, match=message):
            Nic(None, None, **options)

    async def scenario(platform):
        for options, message in [({"queue_size": 257}, "at most 256 descriptors, not 257"),
                                 ({"max_payload": 200}, "200 is not a power of 2"),
                                 ({"queue_size": 2, "receive_framing": Framing(cuts=(1, 2))}, "3 elements in a ring")]:
            with pytest.raises(DriverError, match=message):
                await Setup(platform, **options).driver.start()
        setup = Setup(platform, queue_size=4)
        await setup.driver.start()
        for frame, framing, message in [(b"", None, "frame of 0 bytes"), (bytes(1523), None, "frame of 1523 bytes"),
                                        (bytes(1500), Framing(gap=2000, cuts=(1,)), "a buffer has"),
                                        (bytes(60), Framing(cuts=(1, 2, 3, 4)), "5 elements in a ring of 4")]:
            with pytest.raises(DriverError, match=message):
                await setup.driver.send(frame, framing=framing)
        await setup.close()
    run(scenario)


@pytest.mark.requirements("DRV-090")
def test_link_and_configuration_changes():
    async def scenario(platform):
        for interrupts in ("msix", "intx"):
            setup = Setup(platform, interrupts=interrupts)
            driver = setup.driver
            await driver.start()
            assert (driver.mac, driver.mtu) == (bytes.fromhex("020000000001"), 1500)
            assert await driver.link_up()
            receiving = platform.spawn(driver.receive())
            await platform.sleep(10)
            setup.nic.link_up = False
            assert await platform.wait(driver.config_changed, 1000)
            assert not await driver.link_up()
            setup.nic.receive(bytes(60))
            assert await receiving == bytes(60)
            await setup.close()
        setup = Setup(platform, wanted=0)
        await setup.driver.start()
        setup.nic.link_up = False
        assert (setup.driver.mac, setup.driver.mtu) == (None, None)
        assert await setup.driver.link_up()
    run(scenario)


def test_a_device_that_needs_a_reset():
    async def scenario(platform):
        setup = Setup(platform, queue_size=8)
        await setup.driver.start()
        waiting = platform.spawn(setup.driver.receive())
        await platform.sleep(10)
        address = setup.memory.allocate(64)
        setup.driver.transmitters[0].ring.add([(address, 5, False)])
        await setup.driver.transmitters[0].kick()
        with pytest.raises(DeviceError, match="needs a reset"):
            await waiting
        assert "5 bytes has no frame" in str(setup.nic.error)
        with pytest.raises(DeviceError, match="needs a reset"):
            await setup.driver.receive()
        await setup.driver.stop()
        setup.memory.free(address)
        await setup.driver.start()
        await setup.driver.send(bytes(60))
        assert await setup.driver.receive() == bytes(60)
        await setup.close()
    run(scenario)


# A card that misbehaves must be found out, by the memory or by the driver.

def write_into_transmit_buffer(queue, chain, written):
    queue._memory.device_write(chain.elements[0].address, b"x")


def read_beyond_the_buffer(queue, chain, written):
    queue._memory.device_read(chain.elements[-1].address, chain.elements[-1].length + 1)


def write_the_driver_area(queue, chain, written):
    queue._memory.device_write(queue._driver, bytes(4))


def read_after_use(queue, chain, written):
    use(queue, chain, written)
    use.after.append(lambda: queue._memory.device_read(chain.elements[0].address, 1))


def wrong_id(queue, chain, written):
    use(queue, type(chain)(chain.id ^ 0x8000, chain.elements), written)


def use_twice(queue, chain, written):
    use(queue, chain, written)
    use(queue, chain, written)


def too_many_bytes(queue, chain, written):
    use(queue, chain, chain.capacity + 1)


use = PackedQueue.use


@pytest.mark.parametrize("sabotage, error, message", [
    (write_into_transmit_buffer, OwnershipError, "device write"),
    (read_beyond_the_buffer, OwnershipError, "device read"),
    (write_the_driver_area, OwnershipError, "device write"),
    (read_after_use, OwnershipError, "device read"),
    (wrong_id, DeviceError, "not in flight"),
    (use_twice, DeviceError, "not in flight"),
    (too_many_bytes, DeviceError, "bytes written to buffer"),
])
def test_sabotage_is_found_out(monkeypatch, sabotage, error, message):
    async def scenario(platform):
        setup = Setup(platform, queue_size=4, loop=False)
        await setup.driver.start()
        monkeypatch.setattr(PackedQueue, "use", sabotage)
        use.after = []
        with pytest.raises(error, match=message):
            await setup.driver.send_many([bytes(60)] * 2)
            await setup.driver.flush()
            for access in use.after:
                access()
    run(scenario)


@pytest.mark.parametrize("header", [bytes(12), bytes([1]) + bytes(9) + b"\1\0", bytes(10) + b"\2\0"])
def test_a_wrong_receive_header_is_found_out(header):
    async def scenario(platform):
        setup = Setup(platform)
        await setup.driver.start()
        setup.nic.datapath._header = header
        setup.nic.receive(bytes(60))
        with pytest.raises(DeviceError, match="where 00000000000000000000" "0100 was expected"):
            await setup.driver.receive()
    run(scenario)


def test_a_touch_after_stop_is_found_out():
    async def scenario(platform):
        setup = Setup(platform)
        await setup.driver.start()
        queue = setup.nic.datapath._queues[1].ring
        await setup.driver.stop()
        with pytest.raises(OwnershipError):
            queue.fetch()
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


def test_header_size_is_twelve_without_offloads():
    assert formats.net_header_bytes(OFFERED) == 12
