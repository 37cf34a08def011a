"""Statistics of each queue, against what the driver and the wire saw."""

from model import formats
from model.formats import ControlClass, Feature, StatisticType, StatsCommand
from testbench.driver.framing import Framing
from testbench.driver.options import WANTED
from testbench.system.case import system_test

STATISTICS = WANTED | formats.feature_set(Feature.NET_CTRL_VQ, Feature.NET_DEVICE_STATS)
MULTIQUEUE = STATISTICS | formats.feature_set(Feature.NET_MQ)
RX, TX, CVQ = StatisticType.RX_BASIC, StatisticType.TX_BASIC, StatisticType.CVQ


@system_test("NET-189", "NET-195", "NET-196", "NET-199", "NET-200", "NET-202", "NET-203", "NET-204",
             presets=("tiny", "default"), timeout_us=6000)
async def counted_as_seen(bench):
    """Packets, bytes, doorbells and interrupts of both directions; drops for want of buffers; 0 after a reset."""
    for _ in range(2):
        nic = await bench.nic(wanted=STATISTICS, queue_size=8, receive_buffers=4)
        control, start = nic.control, nic.statistics["doorbells"]
        assert await control.statistic_types() == {RX, TX, CVQ, StatisticType.RX_SPEED, StatisticType.TX_SPEED}
        first = await control.statistics({0: [RX], 1: [TX]})
        assert first[0]["rx_packets"] == first[1]["tx_packets"] == 0 and first[0]["rx_notifications"] == 1
        sent = [bench.frame() for _ in range(9)]
        for frame in sent:
            await nic.send(frame)
        assert [await bench.wire() for _ in sent] == sent
        commands = nic.statistics["commands"]
        await bench.settle()
        doorbells = nic.statistics["doorbells"] - start - commands
        got = [bench.frame(longest=500) for _ in range(3)]
        for frame in got:
            bench.mac.send(frame)
        assert [await nic.receive() for _ in got] == got
        await bench.settle()
        flood = [bench.frame(100) for _ in range(11)]
        for frame in flood:
            bench.mac.send(frame)
        await bench.settle()
        bench.mac.send(bench.frame(9100))
        await bench.settle()
        counts = await control.statistics({1: [TX, StatisticType.TX_SPEED], 0: [RX, StatisticType.RX_SPEED]},
                                          framing=Framing.random(bench.random, 34, 6))
        rx, tx = counts[0], counts[1]
        assert (tx["tx_packets"], tx["tx_bytes"]) == (len(sent), sum(map(len, sent)))
        assert tx["tx_notifications"] == doorbells and tx["tx_drops"] == tx["tx_drop_malformed"] == 0
        passed = got + flood[:rx["rx_packets"] - len(got)]
        assert rx["rx_packets"] <= len(got) + 4 and rx["rx_bytes"] == sum(map(len, passed))
        assert rx["rx_drop_overruns"] == len(got) + len(flood) - rx["rx_packets"] > 0
        assert rx["rx_drops"] == rx["rx_drop_overruns"] + 1, "the one that was too long"
        assert rx["rx_interrupts"] == nic.messages.counts.get(1, 0)
        assert tx["tx_interrupts"] == nic.messages.counts.get(2, 0)
        assert not any(counts[n][name] for n in (0, 1) for name in counts[n] if name.endswith("exceeded"))
        asked = await control.statistics({2: [CVQ]})
        assert asked[2] == {"command_num": 4, "ok_num": 4}
        await nic.stop()
        bench.forget_wire()


@system_test("NET-190", "NET-191", "NET-192", "NET-193", "NET-194", "NET-197", "NET-201", several_pairs=True,
             timeout_us=4000)
async def requests_that_are_wrong(bench):
    """One of them is enough for the whole command to be refused; and a result gets no more than there is room for."""
    nic = await bench.nic(wanted=MULTIQUEUE, queue_size=8, pairs=2)
    control = nic.control.index

    async def get(*requests, room=300):
        data = b"".join(formats.STATS_REQUEST.pack(*request) for request in requests)
        return await nic.control.execute(ControlClass.STATS, StatsCommand.GET, data, result_bytes=room)
    good = [(0, 1 << RX), (3, 1 << TX), (control, 1 << CVQ)]
    ack, whole = await get(*good)
    assert ack == formats.NET_OK and len(whole) == 56 + 56 + 24
    for bad in ((control + 1, 0), (0xffff, 1), (0, 1 << TX), (1, 1 << CVQ), (control, 1), (2, 1 << 4), (2, 1 << 63),
                (0, 1 << 1), (0, 1 << 2), (3, 1 << 17), (3, 1 << 18)):
        assert await get(*good, bad) == (formats.NET_ERR, b""), bad
        assert await get(bad, *good) == (formats.NET_ERR, b""), bad
    for room in (0, 1, 55, 57, 135):
        ack, cut = await get(*good, room=room)
        assert ack == formats.NET_OK and len(cut) == room and cut[:16] == whole[:16][:room]
