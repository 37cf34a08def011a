"""VIRTIO_NET_F_MRG_RXBUF between driver and functional card: frames that spread over many small buffers."""

import random

import pytest

from model import formats
from model.device import OFFERED_ALL, NicParameters
from model.formats import Feature
from testbench.driver.framing import Framing
from testbench.driver.net import WANTED
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import Setup, exchange, random_frames

MERGE = WANTED | formats.feature_set(Feature.NET_MRG_RXBUF)


def setup_with(platform, *features, **options):
    return Setup(platform, wanted=MERGE | formats.feature_set(*features),
                 parameters=NicParameters(offered=OFFERED_ALL, rx_buffer=1 << 30), **options)


@pytest.mark.requirements("DRV-114")
@pytest.mark.parametrize("size, buffer_bytes, framing", [
    (64, 256, Framing()), (7, 300, Framing()), (200, 12, Framing()), (23, 1000, Framing(cuts=(12, 500), gap=5)),
    (256, 100, Framing(cuts=(3, 50))), (3, 3000, Framing())])
@pytest.mark.parametrize("features", [(), (Feature.IN_ORDER,), (Feature.INDIRECT_DESC, Feature.EVENT_IDX)])
@pytest.mark.parametrize("seed", [None, 1])
def test_frames_over_several_buffers(size, buffer_bytes, framing, features, seed):
    async def scenario(platform):
        rng = random.Random(f"{size} {seed}")
        setup = setup_with(platform, *features, seed=seed, deferred=True, suppress=seed is not None, queue_size=size,
                           receive_buffer_bytes=buffer_bytes, receive_framing=framing)
        await setup.driver.start()
        frames = random_frames(rng, 200)
        assert sorted(await exchange(setup, rng, frames, min(size, 8))) == sorted(frames)
        merged = sum(len(frame) + 12 > buffer_bytes for frame in frames)
        assert setup.driver.statistics["rx_merged"] == merged and setup.nic.counters["rx_frames"] == 200
        await setup.close()
    run(scenario)


def test_more_than_a_whole_ring_is_dropped():
    async def scenario(platform):
        setup = setup_with(platform, queue_size=4, receive_buffer_bytes=100)
        await setup.driver.start()
        for length in (389, 388, 60):
            await setup.driver.send(bytes(length))
        assert [len(await setup.driver.receive()) for _ in range(2)] == [388, 60]
        assert setup.nic.counters["rx_buffer_too_small"] == 1
        await setup.close()
    run(scenario)


@pytest.mark.parametrize("what", ["torn", "not filled"])
def test_the_driver_notices(what):
    """A part of a packet alone, and a buffer that isn't full though its packet goes on."""
    async def scenario(platform):
        setup = setup_with(platform, queue_size=8, receive_buffer_bytes=100)
        await setup.driver.start()
        ring = setup.nic.datapath._queues[0].ring

        def use_packet(packet):
            if what == "torn":
                ring.use(*packet[0])
            else:
                for n, (chain, written) in enumerate(packet):
                    ring.use(chain, written - (n == 1))
        ring.use_packet = use_packet
        await setup.driver.send(bytes(300))
        with pytest.raises(DeviceError, match="of which 1 are used" if what == "torn" else "its packet goes on"):
            await setup.driver.receive()
    run(scenario)


@pytest.mark.parametrize("wanted, buffer_bytes", [(WANTED, 500), (MERGE, 11)])
def test_buffers_that_are_too_small(wanted, buffer_bytes):
    async def scenario(platform):
        setup = Setup(platform, wanted=wanted, parameters=NicParameters(offered=OFFERED_ALL),
                      receive_buffer_bytes=buffer_bytes)
        with pytest.raises(DriverError, match=f"buffers of {buffer_bytes} bytes"):
            await setup.driver.start()
    run(scenario)
