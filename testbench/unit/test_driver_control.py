"""The control queue of the driver against the functional card: commands in any shape, and refusals."""

import random

import pytest

from model import formats
from model.device import OFFERED, OFFERED_ALL, NicParameters
from model.formats import ControlClass, Feature, MqCommand, NotfCoalCommand
from model.offloads_checksum import VALID, checksum_verdict
from testbench.driver.control import CommandRefused
from testbench.driver.framing import Framing
from testbench.driver.net import WANTED_UNFILTERED
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.virtual_time import run
from testbench.unit.driver_setup import Setup
from testbench.unit.traffic import offload_frame


def setup_with(platform, *, offered=OFFERED_ALL, pairs=4, **options):
    return Setup(platform, wanted=WANTED_UNFILTERED, parameters=NicParameters(offered=offered, pairs=pairs), **options)


@pytest.mark.parametrize("interrupts", ["msix", "intx"])
@pytest.mark.parametrize("size", [2, 3, 5, 7, 16])
def test_commands_cut_at_any_place(size, interrupts):
    """Class, command and data, and the answer with the acknowledgement, over any descriptors, direct and indirect."""
    async def scenario(platform):
        rng = random.Random(size)
        setup = setup_with(platform, deferred=True, control_size=size, interrupts=interrupts, queue_size=4, pairs=2,
                           sleep_seed=size, sleep_ns=100)
        await setup.driver.start()
        control = setup.driver.control
        set_to = {0: (0, 0), 1: (0, 0)}
        for _ in range(100):
            how = {"framing": Framing.random(rng, 14, max(1, size // 2)), "indirect": rng.choice((None, False, True)),
                   "answer_framing": Framing.random(rng, 9, max(1, size // 2))}
            index = rng.choice((0, 1))
            if rng.random() < 0.5:
                set_to[index] = rng.randrange(1 << 32), rng.randrange(1 << 32)
                await control.set_queue_coalescing(index, *set_to[index], **how)
            else:
                assert await control.queue_coalescing(index, **how) == set_to[index]
        assert setup.nic.counters["commands"] == setup.driver.statistics["commands"] == 100
        assert not setup.nic.counters["bad_doorbells"]
        await setup.close()
    run(scenario)


@pytest.mark.parametrize("features, pairs, index", [
    ((Feature.NET_CTRL_VQ,), 1, 2), ((Feature.NET_CTRL_VQ,), 4, 2), ((Feature.NET_CTRL_VQ, Feature.NET_MQ), 4, 8)])
def test_where_the_control_queue_is(features, pairs, index):
    async def scenario(platform):
        setup = setup_with(platform, offered=OFFERED | formats.feature_set(*features), pairs=pairs)
        await setup.driver.start()
        assert setup.driver.control.index == index
        assert await setup.driver.control.execute(99, 1) == (formats.NET_ERR, b"")
        # Known, but not negotiated
        refused = int(Feature.NET_MQ not in features)
        assert await setup.driver.control.execute(ControlClass.MQ, MqCommand.VQ_PAIRS_SET, b"\1\0") == (refused, b"")
        assert (await setup.driver.control.execute(ControlClass.NOTF_COAL, NotfCoalCommand.TX_SET, bytes(8)))[0] == 1
        assert await setup.driver.control.execute(
            ControlClass.NOTF_COAL, NotfCoalCommand.VQ_GET, bytes(4), answer_bytes=8) == (1, bytes(8))
        await setup.driver.send(bytes(60))
        assert await setup.driver.receive() == bytes(60)
        await setup.close()
        no_control = setup_with(platform, offered=OFFERED)
        await no_control.driver.start()
        assert no_control.driver.control is None
        await no_control.close()
    run(scenario)


def test_commands_with_and_without_a_table():
    async def scenario(platform):
        setup = setup_with(platform)
        await setup.driver.start()
        ring, kinds = setup.nic.datapath._queues[8].ring, []
        fetch = ring.fetch
        ring.fetch = lambda: (chain := fetch()) and (kinds.append(chain.indirect), chain)[1]
        for indirect in (True, False, None):
            await setup.driver.control.set_pairs(1, indirect=indirect)
        assert kinds == [True, False, True]
        await setup.close()
    run(scenario)


def test_a_second_pair_where_the_control_queue_is():
    async def scenario(platform):
        offered = OFFERED | formats.feature_set(Feature.NET_CTRL_VQ)
        setup = Setup(platform, wanted=WANTED_UNFILTERED, parameters=NicParameters(offered=offered, pairs=4), pairs=2)
        with pytest.raises(DriverError, match="2 pairs need VIRTIO_NET_F_MQ: virtqueue 2 is for control"):
            await setup.driver.start()
    run(scenario)


@pytest.mark.parametrize("kind, command, data, answer_bytes", [
    (9, 0, b"", 0), (ControlClass.MQ, 7, b"", 0), (ControlClass.MQ, MqCommand.VQ_PAIRS_SET, b"\2", 0),
    (ControlClass.MQ, MqCommand.VQ_PAIRS_SET, b"\2\0\0", 0),
    (ControlClass.MQ, MqCommand.VQ_PAIRS_SET, b"\0\0", 0), (ControlClass.MQ, MqCommand.VQ_PAIRS_SET, b"\5\0", 0),
    (ControlClass.MQ, MqCommand.VQ_PAIRS_SET, b"\1\1", 0),
    (ControlClass.NOTF_COAL, NotfCoalCommand.RX_SET, bytes(7), 0),
    (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_SET, bytes([8, 0]) + bytes(10), 0),
    (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_SET, bytes([2, 0]) + bytes(10), 0),
    (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_GET, bytes([8, 0, 0, 0]), 8),
    (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_GET, bytes([0, 0, 0, 0]), 7),
    (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_GET, bytes(3), 8)])
def test_nonsense_is_refused_and_changes_nothing(kind, command, data, answer_bytes):
    """Queue 2 is not enabled, 8 is the control queue."""
    async def scenario(platform):
        setup = setup_with(platform)
        await setup.driver.start()
        steering, coalescing = setup.nic.datapath.steering, setup.nic.datapath._coalescing
        await setup.driver.control.set_coalescing("rx", 3, 4)
        before = steering.pairs, dict(coalescing._defaults), str(coalescing._queues)
        ack, _ = await setup.driver.control.execute(kind, command, data, answer_bytes=answer_bytes)
        assert ack == formats.NET_ERR
        assert (steering.pairs, coalescing._defaults, str(coalescing._queues)) == before
        await setup.close()
    run(scenario)


@pytest.mark.requirements("DRV-139")
def test_guest_offloads():
    """The model says what it knows of a checksum while it may; the driver enables nothing that was not negotiated."""
    rng = random.Random(1)
    frame = next(frame for frame in (offload_frame(rng) for _ in range(100)) if checksum_verdict(frame) == VALID)

    async def scenario(platform):
        setup = setup_with(platform)
        await setup.driver.start()
        control = setup.driver.control

        async def told():
            setup.nic.receive(frame)
            return (await setup.driver.receive(timeout_ns=10_000)).checksum_valid
        assert await told()
        await control.set_guest_offloads()
        assert not await told()
        for mask in (1 << 0, 1 << 1 | 1 << 7, 1 << 63):
            ack, _ = await control.execute(ControlClass.GUEST_OFFLOADS, 0, mask.to_bytes(8, "little"))
            assert ack == formats.NET_ERR and not await told()
        await control.set_guest_offloads(Feature.NET_GUEST_CSUM)
        assert await told()
        for feature in (Feature.NET_GUEST_TSO4, Feature.NET_MAC):
            with pytest.raises(DriverError, match=f"of {feature.name}, which is no offload"):
                await control.set_guest_offloads(feature)
        await setup.close()
    run(scenario)


@pytest.mark.requirements("DRV-128", "DRV-131", "DRV-140", "DRV-141")
def test_what_a_driver_may_not_ask_for():
    async def scenario(platform):
        setup = setup_with(platform, offered=OFFERED | formats.feature_set(Feature.NET_CTRL_VQ))
        await setup.driver.start()
        control = setup.driver.control
        for command, name in ((control.set_pairs(1), "VQ_PAIRS_SET without VIRTIO_NET_MQ"),
                              (control.set_coalescing("tx", 1, 1), "TX_SET without VIRTIO_NET_NOTF_COAL"),
                              (control.queue_coalescing(0), "VQ_GET without VIRTIO_NET_VQ_NOTF_COAL")):
            with pytest.raises(DriverError, match=name):
                await command
        assert setup.nic.counters["commands"] == 0
        await setup.close()
        setup = setup_with(platform)
        await setup.driver.start()
        for command in (setup.driver.control.queue_coalescing(8), setup.driver.control.set_queue_coalescing(5, 1, 1)):
            with pytest.raises(CommandRefused):
                await command
        with pytest.raises(DriverError, match="2 of 1 pairs"):
            await setup.driver.set_pairs(2)
        await setup.close()
    run(scenario)


@pytest.mark.parametrize("answer, message", [
    (b"", "without an acknowledgement"), (b"\2", "was answered 02"), (b"\1\1", "2 bytes of it written")])
def test_answers_that_no_device_may_give(answer, message):
    async def scenario(platform):
        setup = setup_with(platform)
        await setup.driver.start()
        commands = setup.nic.datapath._commands
        commands.execute = lambda readable, room: answer[:room]
        use = setup.nic.datapath._queues[8].ring.use_batch
        setup.nic.datapath._queues[8].ring.use_batch = lambda batch: use([(batch[0][0], len(answer))])
        with pytest.raises(DeviceError, match=message if len(answer) < 2 else "bytes written to buffer"):
            await setup.driver.control.execute(ControlClass.MQ, MqCommand.VQ_PAIRS_SET, b"\1\0")
    run(scenario)


def test_commands_of_several_tasks_wait_for_each_other():
    async def scenario(platform):
        setup = setup_with(platform, deferred=True)
        await setup.driver.start()
        control = setup.driver.control
        tasks = [platform.spawn(control.set_queue_coalescing(n & 1, n, n)) for n in range(20)]
        for task in tasks:
            await task
        assert [await control.queue_coalescing(index) for index in (0, 1)] == [(18, 18), (19, 19)]
        await setup.close()
    run(scenario)


def test_a_command_that_is_too_long():
    async def scenario(platform):
        setup = setup_with(platform)
        await setup.driver.start()
        with pytest.raises(DriverError, match="needs 4097 bytes"):
            await setup.driver.control.execute(9, 9, bytes(4095))
        setup.nic.config_write(0x04, 2, 2)          # without Bus Master Enable the card does nothing
        with pytest.raises(TimeoutError):
            await setup.driver.control.execute(9, 9, timeout_ns=100)
        with pytest.raises(DriverError, match="still under way"):
            await setup.driver.control.execute(9, 9)
    run(scenario)


def test_a_surplus_of_writable_bytes_is_left_alone():
    async def scenario(platform):
        setup = setup_with(platform)
        await setup.driver.start()
        control = setup.driver.control
        assert await control.execute(ControlClass.MQ, MqCommand.VQ_PAIRS_SET, b"\3\0", answer_bytes=7) == (0, b"")
        assert setup.nic.datapath.steering.pairs == 3
        commands = setup.nic.datapath._commands
        commands.execute = lambda readable, room: bytes(1)
        with pytest.raises(DeviceError, match="VQ_GET was answered by 0 bytes"):
            await control.queue_coalescing(0)
        await setup.close()
    run(scenario)


def test_without_a_writable_byte_nothing_is_carried_out():
    async def scenario(platform):
        setup = setup_with(platform)
        await setup.driver.start()
        control = setup.driver.control
        control._readable.view[:4] = bytes([ControlClass.MQ, MqCommand.VQ_PAIRS_SET, 3, 0])
        control.ring.add([(control._readable.address, 4, False)])
        await control.kick()
        await control.wait_used()
        assert control.ring.collect() == [(None, 0)] and setup.nic.datapath.steering.pairs == 1
        await setup.close()
    run(scenario)
