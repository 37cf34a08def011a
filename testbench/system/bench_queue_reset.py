"""Resets of single queues, at rest and at the worst of moments, while the others work.

The host's memory refuses every access to what the driver has taken back, and that is all of the queue as soon as
queue_reset has read 0.
"""

from model import formats
from model.formats import Feature, Status
from testbench.driver.control import CommandRefused
from testbench.driver.framing import HEADER_APART, TOGETHER, Framing
from testbench.driver.options import WANTED
from testbench.driver.platform import DriverError
from testbench.driver.ring_options import RingStyle
from testbench.system.case import system_test
from testbench.system.load import datagram
from testbench.system.numbered import Numbered

RESET = WANTED | formats.feature_set(Feature.RING_RESET)
MULTIQUEUE = RESET | formats.feature_set(Feature.NET_CTRL_VQ, Feature.NET_MQ, Feature.NET_NOTF_COAL,
                                         Feature.NET_VQ_NOTF_COAL)
MANY = Framing(cuts=tuple(range(3, 120, 5)))        # more elements than the card caches


async def both_ways(bench, nic, pair=0, count=3):
    """Frames of the pair's flow pass, and come back to it."""
    for _ in range(count):
        frame = datagram(bench, pair, bench.random.randint(60, 300))
        await nic.send(frame, pair=pair)
        assert await bench.wire() == frame
        bench.mac.send(frame)
        assert await nic.receive(pair=pair, timeout_ns=100_000) == frame
    await nic.flush(pair=pair, timeout_ns=100_000)


async def registers(nic, *names):
    return [await nic.virtio.read(name) for name in names]


@system_test("BAS-018", "BAS-019", "PCI-031", "PCI-032", "PCI-033", "PCI-035", several_pairs=True, timeout_us=8000)
async def each_queue_at_rest(bench):
    """After some frames, so that positions are not the first ones; with other sizes, addresses and vectors."""
    nic = await bench.nic(wanted=MULTIQUEUE, pairs=3, queue_size=8)
    for turn, index in enumerate((0, 1, 4, 5, 0, 1)):
        pair = index // 2
        await both_ways(bench, nic, pair, 5)
        await nic.virtio.write("queue_select", index)
        assert await registers(nic, "queue_reset", "queue_enable") == [0, 1]
        await nic.stop_queue(index)
        defaults = [0, 0, bench.parameter("queue_size_max"), formats.NO_VECTOR, 0, 0, 0]
        assert await registers(nic, "queue_reset", "queue_enable", "queue_size", "queue_msix_vector", "queue_desc",
                               "queue_driver", "queue_device") == defaults
        held = bench.memory.allocate(4096 + 64 * turn)      # the new ring lies elsewhere
        await nic.start_queue(index, (3, 16, 5, 64, 8, 1)[turn])
        await nic.virtio.write("queue_select", index)
        assert await registers(nic, "queue_reset", "queue_enable") == [0, 1]
        for other in range(3):
            await both_ways(bench, nic, other, 4)
        bench.memory.free(held)


@system_test("PCI-034", "BAS-016", "PCI-035", several_pairs=True, timeout_us=4000)
async def in_progress_while_reads_are_out(bench):
    """The card can't be quiet before its reads are back, and doesn't say so."""
    for index in (0, 1):
        nic = await bench.nic(wanted=RESET, queue_size=16)
        await both_ways(bench, nic)
        bench.host.hold_reads(True)
        for _ in range(3):
            await nic.send(bench.frame())
        bench.mac.send(bench.frame())
        await bench.clocks(400)
        await nic.virtio.write("queue_select", index)
        await nic.virtio.write("queue_reset", 1)
        for _ in range(4):
            await bench.clocks(300)
            assert (await registers(nic, "queue_reset", "queue_enable"))[0] == 1
            await nic.virtio.write("queue_reset", 1)        # again; and what must change nothing
            await nic.virtio.write("queue_enable", 1)
            await nic.virtio.write("queue_msix_vector", 1)
        bench.host.hold_reads(False)
        await nic.stop_queue(index)
        await bench.settle()
        bench.forget_wire()
        await nic.start_queue(index, 5)
        if index == 1:
            nic.receivers[0].collect()
        await both_ways(bench, nic)
        await nic.stop()


async def random_resets(bench, rounds, *, wanted, gap_ns=4000, may_lose=False, **options):
    nic = await bench.nic(wanted=MULTIQUEUE | wanted, pairs=3, **{"queue_size": 32, **options})
    traffic = Numbered(bench, nic)
    traffic.start()
    await bench.platform.sleep(30_000)
    longest, gap = 0, traffic.wire_gap_ns
    least = len(options.get("receive_framing", TOGETHER).cuts) + 1
    for _ in range(rounds):
        index = bench.random.choice((2, 3, 4, 5))
        await bench.platform.sleep(bench.random.uniform(0, gap_ns))
        begun = bench.platform.now()
        await nic.stop_queue(index)
        longest = max(longest, bench.platform.now() - begun)
        if bench.random.random() < 0.7:
            await bench.platform.sleep(bench.random.uniform(0, gap_ns))
        await nic.start_queue(index, bench.random.choice((least, least + 3, 32, 64)))
    await bench.platform.sleep(5000)
    await traffic.stop()
    traffic.check()
    # A host that is slower than the card waits for costs frames, with and without resets.
    dropped = sum([await bench.counter(f"receive.drop.{cause}") for cause in ("no_buffer", "overflow")])
    assert traffic.lost <= (dropped if may_lose else 0), f"{traffic.lost} frames of pair 0 lost, {dropped} dropped"
    print(f"queue resets: {longest:.0f} ns at most; pair 0 was silent for {traffic.wire_gap_ns:.0f} ns at most, "
          f"{gap:.0f} before them; "
          f"{traffic.out} out, {traffic.back} back, {traffic.elsewhere} elsewhere")
    return traffic


def _under_load(name, wanted=(), rounds=20, requirements=("BAS-016", "BAS-018", "BAS-019"), profile="e5-warm",
                **options):
    @system_test(*requirements, name=name, several_pairs=True, timeout_us=20_000, simulators=("verilator",),
                 profile=profile)
    async def run(bench):
        await random_resets(bench, rounds, wanted=formats.feature_set(*wanted), **options)
    return run


under_load = _under_load("under_load", requirements=("BAS-016", "BAS-018", "BAS-019", "NET-154"))
under_load_with_slow_reads = _under_load("under_load_with_slow_reads", profile="e3-tail", gap_ns=20_000,
                                         may_lose=True)
under_load_told = _under_load("under_load_told", (Feature.NOTIFICATION_DATA,))
under_load_in_order = _under_load("under_load_in_order", (Feature.IN_ORDER, Feature.EVENT_IDX))
under_load_with_tables = _under_load("under_load_with_tables", (Feature.INDIRECT_DESC,), framing=HEADER_APART,
                                     receive_framing=HEADER_APART, style=RingStyle(indirect="always"))
under_load_with_long_chains = _under_load("under_load_with_long_chains", framing=MANY, receive_framing=MANY,
                                          queue_size=96)
under_load_with_long_tables = _under_load("under_load_with_long_tables", (Feature.INDIRECT_DESC,), framing=MANY,
                                          receive_framing=MANY, queue_size=32)


@system_test("NET-155", "NET-154", several_pairs=True, timeout_us=6000)
async def frames_for_receive_queues_in_reset(bench):
    """They come to another queue as long as there is one; else they are dropped and counted."""
    nic = await bench.nic(wanted=MULTIQUEUE, pairs=3, queue_size=16)
    frames = [datagram(bench, pair, 100) for pair in range(3)]
    for pair in range(3):
        await both_ways(bench, nic, pair)

    async def arrivals():
        for frame in frames:
            bench.mac.send(frame)
        await bench.settle()
        return [sorted(receiver.collect()) if not receiver.closed else None for receiver in nic.receivers]
    assert await arrivals() == [[frames[0]], [frames[1]], [frames[2]]]
    await nic.stop_queue(2)
    first, gone, last = await arrivals()
    assert gone is None and sorted(first + last) == sorted(frames) and len(last) == 1 + (frames[1] in last)
    await nic.stop_queue(0)
    assert await arrivals() == [None, None, sorted(frames)]
    dropped = await bench.counter("receive.drop.disabled")
    await nic.stop_queue(4)
    assert await arrivals() == [None] * 3
    assert await bench.counter("receive.drop.disabled") == dropped + 3
    for index in (4, 2, 0):
        await nic.start_queue(index, 5)
    for pair in range(3):
        await both_ways(bench, nic, pair)


@system_test("BAS-017", "NET-178", "NET-179", several_pairs=True, timeout_us=10_000)
async def coalesced_interrupts_are_forgotten(bench):
    """Buffers that wait for the time to tell of them; parameters are those of the direction afterwards."""
    nic = await bench.nic(wanted=MULTIQUEUE, pairs=3, queue_size=16)
    control = nic.control
    for index, direction in ((2, "rx"), (3, "tx")):
        await control.set_coalescing(direction, 100, 50)
        await control.set_queue_coalescing(index, 200, 60)
        await both_ways_quickly(bench, nic, 1)
        before = dict(nic.messages.counts)
        await nic.stop_queue(index)
        try:
            await control.queue_coalescing(index)
        except CommandRefused:
            pass
        else:
            raise AssertionError("it is not enabled")
        await nic.start_queue(index, 8)
        for queue in (nic.receivers[1], nic.transmitters[1]):
            queue.ring.enable_interrupts()
        assert await control.queue_coalescing(index) == (100, 50)
        await bench.platform.sleep(80_000)      # longer than what waited would have waited
        vector = 1 + index
        assert nic.messages.counts.get(vector, 0) == before.get(vector, 0)
        await control.set_coalescing(direction, 0, 0)
        nic.receivers[1].collect()
        await both_ways(bench, nic, 1)
        assert nic.messages.counts[vector] > before.get(vector, 0), "it interrupts again"


async def both_ways_quickly(bench, nic, pair):
    """Some frames each way that the driver does not look at, but wants interrupts for."""
    frame = datagram(bench, pair, 100)
    await nic.send(frame, pair=pair)
    assert await bench.wire() == frame
    for queue in (nic.receivers[pair], nic.transmitters[pair]):
        queue.ring.enable_interrupts()
    for _ in range(3):
        bench.mac.send(frame)
        await nic.send(frame, pair=pair)
    await bench.platform.sleep(8000)
    bench.forget_wire()


@system_test("BAS-016", "BAS-018", several_pairs=True, timeout_us=10_000)
async def the_control_queue(bench):
    """In the middle of commands, and with frames on the way."""
    nic = await bench.nic(wanted=MULTIQUEUE, pairs=3, queue_size=16)
    index = nic.control.index
    for turn in range(12):
        command = bench.platform.spawn(refusable(nic.control))
        await bench.platform.sleep(bench.random.uniform(0, 4000))
        frame = datagram(bench, 2, 200)
        await nic.send(frame, pair=2)
        await nic.stop_queue(index)
        await command
        await bench.clocks(bench.random.randrange(100))
        await nic.start_queue(index, bench.random.choice((3, 5, 16)))
        assert await bench.wire() == frame
        await nic.control.set_coalescing("rx", turn, 0)
        assert await nic.control.queue_coalescing(2) == (turn, 0)


async def refusable(control):
    """Commands until the queue is gone."""
    while True:
        try:
            await control.set_queue_coalescing(3, 7, 7)
        except DriverError:
            return


@system_test("PCI-033", several_pairs=True, timeout_us=4000)
async def without_the_feature(bench):
    """queue_reset reads 0 and does nothing; also with it, of a queue that is not enabled or does not exist."""
    for wanted in (WANTED, RESET):
        nic = await bench.nic(wanted=wanted, queue_size=8)
        for index in (0, 1) if wanted == WANTED else (2, 3, 7, 0xffff):
            await nic.virtio.write("queue_select", index)
            await nic.virtio.write("queue_reset", 1)
            assert await registers(nic, "queue_reset", "queue_enable") == [0, int(index < 2)]
        await both_ways(bench, nic)
        await nic.stop()


@system_test("PCI-031", "BAS-011", several_pairs=True, timeout_us=8000)
async def a_device_reset_in_the_middle(bench):
    """While reads are out, so that the queue's reset cannot end before; by the driver, or by a function level reset."""
    for turn in range(4):
        nic = await bench.nic(wanted=MULTIQUEUE, pairs=3, queue_size=16)
        await both_ways(bench, nic, 1)
        bench.host.hold_reads(True)
        await nic.send(bench.frame(), pair=1)
        await bench.clocks(200)
        for index in (2, 3, nic.control.index, 1):
            await nic.virtio.write("queue_select", index)
            await nic.virtio.write("queue_reset", 1)
        await bench.platform.sleep(bench.random.uniform(0, 2000))
        bench.host.hold_reads(turn % 2 == 0)
        if turn < 2:
            if turn == 0:
                await nic.virtio.write("device_status", 0)
                bench.host.hold_reads(False)
            await nic.stop()
        else:
            bench.host.hold_reads(False)
            await nic.function.function_level_reset(bench.platform, settle_ns=25_000)
            nic.release()
        bench.forget_wire()
    nic = await bench.nic(wanted=MULTIQUEUE, pairs=3, queue_size=16)
    for index in range(6):
        await nic.virtio.write("queue_select", index)
        assert await registers(nic, "queue_reset", "queue_enable") == [0, 1]
        await both_ways(bench, nic, index // 2, 1)


@system_test("BAS-016", "PCI-035", several_pairs=True, timeout_us=6000)
async def of_a_device_in_error(bench):
    """A read of the ring fails, so that the device needs a reset; resets of its queues end all the same."""
    nic = await bench.nic(wanted=MULTIQUEUE, pairs=3, queue_size=16)
    bench.host.inject("ur", lambda read: read.label == "ring")
    await nic.send(bench.frame(100), pair=1)
    while not await nic.virtio.status() & Status.NEEDS_RESET:
        await bench.clocks(50)
    for index in (3, 2, 0, nic.control.index):
        await nic.virtio.reset_queue(index)
    await nic.stop()
    nic = await bench.nic(wanted=MULTIQUEUE, pairs=3, queue_size=16)
    await both_ways(bench, nic, 1)


@system_test("BAS-016", "BAS-018", several_pairs=True, timeout_us=6000)
async def several_at_once(bench):
    """A driver may begin the next reset before it waits for the first."""
    nic = await bench.nic(wanted=MULTIQUEUE, pairs=3, queue_size=16)
    indices = (*range(6), nic.control.index)
    for turn in range(3):
        for pair in range(3):
            await nic.send_many([datagram(bench, pair, 90) for _ in range(5)], pair=pair)
        for index in indices:
            await nic.virtio.write("queue_select", index)
            await nic.virtio.write("queue_reset", 1)
        for index in reversed(indices):
            await nic.stop_queue(index)
        await bench.settle()
        bench.forget_wire()
        requests = bench.requests()
        bench.mac.send(bench.frame())
        await bench.clocks(300)
        assert bench.requests() == requests
        for index in indices:
            await nic.start_queue(index, 4 + turn)
        for pair in range(3):
            await both_ways(bench, nic, pair, 2)
