"""The driver leaves checksums and segmentation to the functional card."""

import random

import pytest

from model import formats
from model.device import OFFERED, OFFERED_ALL, NicParameters
from model.formats import GsoType
from model.offload import frames_of
from testbench.driver.framing import Framing
from testbench.driver.net import WANTED_UNFILTERED
from testbench.driver.offload import prepare
from testbench.driver.platform import DriverError
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import Setup
from testbench.unit.offload_packets import random_packet


def test_what_leaves_is_what_was_asked_for():
    async def scenario(platform):
        rng, wire, wanted = random.Random(1), [], []
        setup = Setup(platform, wanted=WANTED_UNFILTERED, parameters=NicParameters(offered=OFFERED_ALL), loop=False,
                      queue_size=16, packet_bytes=65_557)
        setup.nic.datapath.wire = wire.append
        await setup.driver.start()
        for _ in range(60):
            segment = rng.choice([0, 536, 1448])
            size = rng.choice([1, rng.randint(1, 1200), rng.randint(1, 60_000 if segment else 1200)])
            _, frame = random_packet(rng, rng.choice([GsoType.TCPV4, GsoType.TCPV6, GsoType.UDP_L4]),
                                     rng.randbytes(size), segment)
            offload, prepared = prepare(frame, WANTED_UNFILTERED, checksum=True, segment=segment)
            wanted += frames_of(offload.header(12), prepared, WANTED_UNFILTERED, 9022)
            await setup.driver.send(frame, checksum=True, segment=segment,
                                    framing=Framing.random(rng, len(frame) + 12, 8))
        await setup.driver.flush()
        assert wire == wanted and setup.nic.counters["tx_frames"] == len(wanted)
        await setup.close()
    run(scenario)


def test_nothing_is_asked_for_that_is_not_negotiated():
    async def scenario(platform):
        setup = Setup(platform, wanted=WANTED_UNFILTERED, parameters=NicParameters(
            offered=OFFERED | formats.feature_set(formats.Feature.NET_CSUM)))
        await setup.driver.start()
        _, frame = random_packet(random.Random(2), GsoType.TCPV4, bytes(1000))
        await setup.driver.send(frame, checksum=True)
        with pytest.raises(DriverError, match="TCPV4 are not negotiated"):
            await setup.driver.send(frame, segment=500)
        with pytest.raises(DriverError, match="frame of 5000 bytes"):
            await setup.driver.send(bytes(5000))
        await setup.close()
    run(scenario)
