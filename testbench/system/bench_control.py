"""The control queue: commands, in any framing, while nothing or a lot else happens."""

from model import formats
from model.formats import ControlClass, Feature, NotfCoalCommand
from testbench.driver.control import CommandRefused
from testbench.driver.framing import Framing
from testbench.driver.options import WANTED
from testbench.system.case import system_test

CONTROL = WANTED | formats.feature_set(Feature.NET_CTRL_VQ)
COALESCING = CONTROL | formats.feature_set(Feature.NET_NOTF_COAL, Feature.NET_VQ_NOTF_COAL)
MULTIQUEUE = COALESCING | formats.feature_set(Feature.NET_MQ)
OK, ERR = formats.NET_OK, formats.NET_ERR
BYTES_APART = Framing(cuts=tuple(range(1, 16)), gap=3)


async def refused(bench, nic, kind, command, data=b"", **how):
    assert await nic.control.execute(kind, command, data, **how) == (ERR, bytes(how.get("answer_bytes", 0)))


@system_test("NET-002", "NET-117", "NET-118", "NET-119", presets=("tiny", "default"), several_pairs=True,
             timeout_us=4000)
async def unknown_commands(bench):
    """Without MQ the control queue is virtqueue 2. All that nobody handles is refused, whatever its framing."""
    nic = await bench.nic(wanted=CONTROL, queue_size=8)
    assert nic.control.index == 2 and await nic.virtio.read("num_queues") == 2 * bench.parameter("pairs") + 1
    for kind in (*range(12), 255):
        for command in (0, 3, 200):
            framing = Framing.random(bench.random, 2 + 16)
            size = bench.random.choice((0, 1, 2, 4, 8, 12, 100))
            await refused(bench, nic, kind, command, bench.random.randbytes(size), framing=framing)
    frame = bench.frame()
    await nic.send(frame)
    assert await bench.wire() == frame
    assert nic.messages.counts[3] > 0, "it has a vector of its own"


@system_test("NET-003", several_pairs=True)
async def no_control_queue_unless_negotiated(bench):
    """A doorbell where it would be is not answered; nor behind it, when it is virtqueue 2."""
    ring = bench.memory.allocate(4096)       # nothing in it, and nobody is granted anything
    last = 2 * bench.parameter("pairs")
    for wanted in (WANTED, CONTROL):
        nic = await bench.nic(wanted=wanted, queue_size=8)
        assert (nic.control is None) == (wanted == WANTED)
        await bench.settle()
        before = bench.requests()
        for queue in (3, last) if nic.control else (last,):
            await nic.virtio.write("queue_select", queue)
            await nic.virtio.write("queue_desc", ring)
            await nic.virtio.write("queue_enable", 1)
            doorbells = nic.virtio.structures[formats.CapType.NOTIFY]
            await bench.host.mmio_write(doorbells.address + queue * bench.parameter("page"), queue, 2)
        await bench.clocks(500)
        assert bench.requests() == before
        await nic.stop()


async def told(nic, index):
    return await nic.control.queue_coalescing(index)


@system_test("NET-174", "NET-175", "NET-176", "NET-177", "NET-183", "NET-184", "NET-187", "NET-182", several_pairs=True,
             timeout_us=6000)
async def coalescing_commands(bench):
    """What is set is told, and only of queues that are enabled; reset sets everything to 0."""
    for _ in range(2):
        nic = await bench.nic(wanted=COALESCING, queue_size=8)
        control = nic.control
        assert [await told(nic, index) for index in (0, 1)] == [(0, 0)] * 2
        framings = [{}, {"framing": BYTES_APART, "answer_framing": BYTES_APART},
                    {"framing": Framing(), "answer_framing": Framing(cuts=(8,), gap=1)}]
        for n, how in enumerate(framings):
            await control.set_coalescing("rx", 3 + n, 4, **how)
            await control.set_coalescing("tx", 5, 6 + n, **how)
            assert (await told(nic, 0), await told(nic, 1)) == ((3 + n, 4), (5, 6 + n))
            await control.set_queue_coalescing(1, 0xffff_ffff, 0x8000_0001, **how)
            assert await control.queue_coalescing(0, **how) == (3 + n, 4)
            assert await control.queue_coalescing(1, **how) == (0xffff_ffff, 0x8000_0001)
        vq = formats.COAL_VQ.pack(0, 0xabcd, 9, 10)       # with a reserved field that is to be ignored
        assert await control.execute(ControlClass.NOTF_COAL, NotfCoalCommand.VQ_SET, vq) == (OK, b"")
        assert await told(nic, 0) == (9, 10)
        for index in (control.index, 3, 5, 0x101, 0xffff):
            for refusal in (control.set_queue_coalescing(index, 1, 1), control.queue_coalescing(index)):
                try:
                    await refusal
                except CommandRefused:
                    continue
                raise AssertionError(f"queue {index} exists and is enabled")
        for number, size in ((0, 7), (1, 9), (2, 8), (2, 16), (3, 12)):
            await refused(bench, nic, ControlClass.NOTF_COAL, number, bytes(size),
                          answer_bytes=8 if number == 3 else 0)
        assert (await told(nic, 0), await told(nic, 1)) == ((9, 10), (0xffff_ffff, 0x8000_0001))
        await nic.stop()


@system_test("NET-119", "NET-183", icarus=("tiny",))
async def commands_need_their_feature(bench):
    """Each without the feature that it belongs to is refused and changes nothing."""
    for feature in (Feature.NET_NOTF_COAL, Feature.NET_VQ_NOTF_COAL):
        nic = await bench.nic(wanted=CONTROL | formats.feature_set(feature), queue_size=8)
        await refused(bench, nic, ControlClass.MQ, 0, b"\1\0")
        if feature == Feature.NET_NOTF_COAL:
            await nic.control.set_coalescing("rx", 3, 4)
            await refused(bench, nic, ControlClass.NOTF_COAL, NotfCoalCommand.VQ_SET, formats.COAL_VQ.pack(0, 0, 9, 9))
            await refused(bench, nic, ControlClass.NOTF_COAL, NotfCoalCommand.VQ_GET, bytes(4), answer_bytes=8)
        else:
            await nic.control.set_queue_coalescing(0, 3, 4)
            for command in (NotfCoalCommand.TX_SET, NotfCoalCommand.RX_SET):
                await refused(bench, nic, ControlClass.NOTF_COAL, command, formats.COAL.pack(9, 9))
            assert await told(nic, 0) == (3, 4)
        await nic.stop()


@system_test("NET-181", "NET-185", "NET-186", "NET-188", timeout_us=10_000, presets=("tiny", "default"))
async def coalesced_interrupts(bench):
    """Interrupts for received frames, counted and timed; new parameters count at once for what waits."""
    nic = await bench.nic(wanted=COALESCING, queue_size=32)
    vector = 1

    async def interrupts(frames, wait_ns=20_000):
        """How many come while so many frames arrive, far from each other."""
        before = nic.messages.counts.get(vector, 0)
        for _ in range(frames):
            sent = bench.frame(60)
            bench.mac.send(sent)
            await bench.platform.sleep(1500)
        await bench.platform.sleep(wait_ns)
        return nic.messages.counts.get(vector, 0) - before

    async def drain():
        while nic.receivers[0].ring.has_used():
            await nic.receive()
    nic.receivers[0].ring.enable_interrupts()
    assert await interrupts(4) == 4, "as long as a parameter is 0"
    await nic.control.set_coalescing("rx", 4, 1000)
    assert await interrupts(7) == 1, "the fourth makes one, the rest waits"
    await nic.control.set_coalescing("rx", 3, 1000)
    await bench.platform.sleep(10_000)
    assert await interrupts(2) == 0, "the three that waited have made one by now, and counting began anew"
    before = nic.messages.counts.get(vector, 0)
    await nic.control.set_coalescing("rx", 100, 30)
    await bench.platform.sleep(60_000)
    assert nic.messages.counts.get(vector, 0) == before + 1, "the time of those two is over"
    assert await interrupts(5, wait_ns=60_000) == 1
    await nic.control.set_queue_coalescing(0, 0, 30)
    assert await interrupts(3) == 3
    await nic.control.set_coalescing("rx", 2, 1000)
    nic.receivers[0].ring.disable_interrupts()
    assert await interrupts(5) == 0, "suppressed, though two are enough"
    await drain()


@system_test("NET-118", timeout_us=6000, presets=("tiny", "default"))
async def commands_beside_traffic(bench):
    """Frames in both directions go on, and so do commands; with all that a ring may do."""
    nic = await bench.nic(wanted=COALESCING | formats.RING_FEATURES, queue_size=32)
    frames = [bench.frame(longest=300) for _ in range(60)]

    async def commands():
        for n in range(20):
            await nic.control.set_queue_coalescing(1, 0, n, framing=Framing.random(bench.random, 14))
            assert await told(nic, 1) == (0, n)
    task = bench.platform.spawn(commands())
    sending = bench.platform.spawn(nic.send_many(frames, batch=4))
    for frame in frames:
        bench.mac.send(frame)
        assert await nic.receive(timeout_ns=100_000) == frame
    await sending
    assert [await bench.wire() for _ in frames] == frames
    await task


@system_test("NET-002", "NET-004", "NET-023", "NET-151", "NET-152", "NET-153", "NET-159", several_pairs=True,
             timeout_us=6000)
async def pairs_commands(bench):
    """The control queue is behind all pairs. One pair at first, then as many as told, and one again after a reset."""
    for _ in range(2):
        nic = await bench.nic(wanted=MULTIQUEUE, queue_size=8)
        assert nic.control.index == 8 and await nic.virtio.read_config("max_virtqueue_pairs") == 4
        await nic.stop()
        nic = await bench.nic(wanted=MULTIQUEUE, queue_size=16, pairs=3)
        for pairs in (3, 1, 2):
            await nic.set_pairs(pairs)
            for wrong in (0, 5, 0x100, 0x8001, 0xffff):
                await refused(bench, nic, ControlClass.MQ, 0, wrong.to_bytes(2, "little"))
            for data in (b"", b"\1", b"\1\0\0"):
                await refused(bench, nic, ControlClass.MQ, 0, data)
            await refused(bench, nic, ControlClass.MQ, 1, b"\1\0")
            for _ in range(3):          # all to one pair may be more than it has buffers for
                frames = [bench.frame() for _ in range(8)]
                for frame in frames:
                    bench.mac.send(frame)
                got = []
                while len(got) < len(frames):
                    got += await nic.receive_any(timeout_ns=100_000)
                assert sorted(frame for _, frame in got) == sorted(frames)
                assert {pair for pair, _ in got} <= set(range(pairs))
        await nic.stop()


@system_test("NET-153", several_pairs=True, timeout_us=10_000)
async def fewer_pairs_while_frames_come(bench):
    """Once the command is used, nothing is put on the queues that it took out of use."""
    nic = await bench.nic(wanted=MULTIQUEUE, queue_size=64, pairs=4)
    coming = True
    received = []

    async def receiver():
        while coming:
            try:
                received.extend(await nic.receive_any(timeout_ns=20_000))
            except TimeoutError:
                pass

    async def sender():
        while coming:
            bench.mac.send(bench.frame(longest=200))
            await bench.platform.sleep(60)
    tasks = [bench.platform.spawn(body()) for body in (receiver, sender)]
    for pairs in (1, 4, 2, 3, 1, 4, 1):
        await nic.control.set_pairs(pairs)
        at_ack = [receiver.ring.has_used() for receiver in nic.receivers]
        for pair in range(pairs, 4):
            while nic.receivers[pair].ring.has_used():
                await bench.platform.sleep(100)
        before = len(received)
        await bench.platform.sleep(10_000)
        assert all(pair < pairs for pair, _ in received[before:]), (pairs, at_ack)
        assert len(received) > before
    coming = False
    for task in tasks:
        await task
