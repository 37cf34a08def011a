"""The driver from start to stop: negotiation, options, pairs, configuration changes."""


import pytest

from model.device import OFFERED, NicParameters
from model.formats import Feature, Status, feature_set
from testbench.driver.framing import Framing
from testbench.driver.net import REQUIRED, Nic
from testbench.driver.platform import DriverError, NegotiationError
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import Setup


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
        for frame, framing, message in [(bytes(13), None, "frame of 13 bytes"),
                                        (bytes(1523), None, "frame of 1523 bytes"),
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
