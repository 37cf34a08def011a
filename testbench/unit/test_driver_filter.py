"""Filters, announcements and statistics of the driver, against the functional card."""

import random

import pytest

from model import formats
from model.device import OFFERED_ALL, NicParameters
from model.formats import Feature, RxCommand, StatisticType
from testbench.driver.control import CommandRefused
from testbench.driver.net import WANTED_ALL
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import Setup

FILTERS = formats.FILTER_FEATURES & ~formats.feature_set(Feature.NET_CTRL_VQ)
BROADCAST = b"\xff" * 6


def setup_with(platform, without=0, **options):
    return Setup(platform, wanted=WANTED_ALL, parameters=NicParameters(offered=OFFERED_ALL & ~without), loop=False,
                 **options)


async def passes(setup, *frames):
    """Which of the frames the driver receives."""
    for frame in frames:
        setup.nic.receive(frame)
    queue, got = setup.driver.receivers[0], []
    while queue.ring.has_used():
        got += await setup.driver.receive_many()
    return [frame in got for frame in frames]


def test_filters():
    async def scenario(platform):
        rng = random.Random(1)
        setup = setup_with(platform)
        driver = setup.driver
        await driver.start()
        control, first = driver.control, driver.mac
        other, group = b"\2" + rng.randbytes(5), b"\3" + rng.randbytes(5)
        frames = [to + bytes(50) for to in (first, other, group, BROADCAST)]
        assert await passes(setup, *frames) == [True, False, False, True]
        await control.set_addresses([other], [group])
        assert await passes(setup, *frames) == [True] * 4
        await control.set_addresses()
        await control.set_receive_mode(RxCommand.NOBCAST)
        await control.set_receive_mode(RxCommand.ALLUNI)
        assert await passes(setup, *frames) == [True, True, False, False]
        await control.set_receive_mode(RxCommand.PROMISC)
        tagged = other + bytes(6) + b"\x81\0\0\5" + bytes(50)
        assert await passes(setup, *frames, tagged) == [True] * 5
        await control.set_receive_mode(RxCommand.PROMISC, False)
        assert await passes(setup, tagged) == [False]
        await control.set_vlan(5)
        assert await passes(setup, tagged) == [True]
        await control.set_vlan(5, False)
        assert await passes(setup, tagged) == [False]
        await control.set_receive_mode(RxCommand.ALLUNI, False)
        await driver.set_mac(other)
        assert driver.mac == other and await passes(setup, *frames) == [False, True, False, False]
        with pytest.raises(CommandRefused):
            await control.set_vlan(4096)
        await setup.close()
        setup = setup_with(platform, without=FILTERS)
        await setup.driver.start()
        with pytest.raises(DriverError, match="PROMISC without VIRTIO_NET_CTRL_RX"):
            await setup.driver.control.set_receive_mode(RxCommand.PROMISC)
        await setup.close()
    run(scenario)


def test_announcements():
    async def scenario(platform):
        setup = setup_with(platform)
        driver, sent = setup.driver, []
        setup.nic.datapath.wire = sent.append
        await driver.start()
        assert not await driver.announce([bytes(60)]) and not sent
        for up in (False, True):
            setup.nic.link_up = up
        assert await driver.announce([bytes(60)]) and sent == [bytes(60)]
        assert not await driver.announce([bytes(60)])
        await setup.close()
    run(scenario)


def test_statistics():
    async def scenario(platform):
        setup = setup_with(platform)
        driver = setup.driver
        await driver.start()
        control = driver.control
        rx, tx, cvq = StatisticType.RX_BASIC, StatisticType.TX_BASIC, StatisticType.CVQ
        assert await control.statistic_types() == {
            rx, tx, cvq, StatisticType.RX_CSUM, StatisticType.TX_CSUM, StatisticType.TX_GSO, StatisticType.RX_SPEED,
            StatisticType.TX_SPEED}
        for length in (60, 70):
            await driver.send(bytes(length))
        assert await passes(setup, BROADCAST + bytes(50)) == [True]
        counts = await control.statistics({0: [rx, StatisticType.RX_SPEED], 1: [tx], control.index: [cvq]})
        rx_names = ("rx_packets", "rx_bytes", "rx_packets_allowance_exceeded")
        assert [counts[0][name] for name in rx_names] == [1, 56, 0]
        assert (counts[1]["tx_packets"], counts[1]["tx_bytes"], counts[1]["tx_notifications"]) == (2, 130, 2)
        assert counts[control.index] == {"command_num": 2, "ok_num": 2}
        for wrong in ({0: [tx]}, {control.index + 1: [cvq]}, {1: [StatisticType.RX_CSUM]}):
            with pytest.raises(CommandRefused):
                await control.statistics(wrong)
        assert (await control.statistics({control.index: [cvq]}))[control.index] == {"command_num": 6, "ok_num": 3}
        setup.nic.datapath.statistics._reply = lambda queue, kind: formats.STATS_REPLY.pack(kind, queue, 9) + bytes(48)
        with pytest.raises(DeviceError):
            await control.statistics({0: [rx]})
        await setup.close()
    run(scenario)
