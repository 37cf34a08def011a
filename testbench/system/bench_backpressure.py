"""Streams that stand still, alone and together: what depends on them waits, everything else goes on."""

from testbench.bfm.tlp import memory_read
from testbench.driver.framing import Framing
from testbench.system.bench_traffic import echo
from testbench.system.case import system_test

STANDSTILL_NS = 20_000
NEVER_NS = 100_000


@system_test(presets=("tiny", "default"), timeout_us=8000)
async def stalls_everywhere(bench):
    """Every stream is stalled at random, on either side, while frames go round."""
    host, mac = bench.host, bench.mac
    nic = await bench.nic(queue_size=64)     # of which the driver may hold 16 back
    for share in (0.2, 0.6):
        for n, sink in enumerate((host.rq, host.cc, mac.sink)):
            sink.stall(share, seed=bench.seed + n)
        for n, source in enumerate((host.cq, host.rc)):
            source.stall(share, seed=bench.seed + 10 + n)
        mac.source.stall(share, seed=bench.seed + 20)
        frames = [bench.frame() for _ in range(24)] + [bench.frame(longest=90) for _ in range(24)]
        assert await echo(bench, nic, frames, batch=8) == frames
    for stream in (host.rq, host.cc, mac.sink, host.cq, host.rc, mac.source):
        stream.stall(0)


async def receive_some(bench, nic, count, **options):
    """Frames from the wire reach the driver."""
    for _ in range(count):
        frame = bench.frame(**options)
        bench.mac.send(frame)
        assert await nic.receive(timeout_ns=NEVER_NS) == frame


@system_test(timeout_us=8000)
async def wire_stands_still(bench):
    """The MAC takes nothing any more: receiving goes on, registers answer, and what waits leaves in the end."""
    nic = await bench.nic(queue_size=32)
    bench.mac.sink.paused = True
    frames = [bench.frame() for _ in range(32)]
    await nic.send_many(frames)
    await bench.platform.sleep(STANDSTILL_NS)
    assert not bench.mac.captured
    await receive_some(bench, nic, 20)
    assert await nic.virtio.status() == 15
    bench.mac.sink.paused = False
    for frame in frames:
        assert await bench.wire() == frame
    await nic.flush(timeout_ns=NEVER_NS)


@system_test(timeout_us=8000)
async def no_reads_for_a_while(bench):
    """`rq_np_ready` is 0: received frames go into the buffers that are known and are published; then all goes on."""
    nic = await bench.nic(queue_size=16, polling=True)
    bench.host.hold_reads(True)
    await bench.clocks(50)
    await nic.send_many([bench.frame(100) for _ in range(10)])
    frames = [bench.frame(longest=300) for _ in range(4)]
    for frame in frames:
        bench.mac.send(frame)
    for frame in frames:
        assert await nic.receive(timeout_ns=NEVER_NS) == frame
    await bench.platform.sleep(STANDSTILL_NS)
    assert not bench.mac.captured
    assert await nic.virtio.status() == 15
    bench.host.hold_reads(False)
    for _ in range(10):
        await bench.wire()
    await receive_some(bench, nic, 8)


@system_test(timeout_us=8000)
async def completions_of_ours_stand_still(bench):
    """`cc` is stalled: 32 reads wait inside, doorbells pass them, and frames go both ways; then all are answered."""
    nic = await bench.nic(queue_size=32, polling=True, receive_buffers=16)
    host = bench.host
    depth = bench.manifest["parameters"]["cq_np_depth"]
    common = nic.virtio.structures[1].address
    host.cc.paused = True
    answers = []

    async def ask():
        reply, = await host.complete(lambda tag: memory_read(common + 20, 1, tag, 0x0008))
        answers.append(reply.payload[0])
    host.timeout_ns = 4 * NEVER_NS
    asking = [bench.platform.spawn(ask()) for _ in range(depth)]
    await bench.clocks(100)
    frames = [bench.frame() for _ in range(12)]
    await nic.send_many(frames, batch=3)
    for frame in frames:
        assert await bench.wire() == frame
    for frame in frames:
        bench.mac.send(frame)
    for frame in frames:
        assert await nic.receive(timeout_ns=NEVER_NS) == frame
    assert not answers
    host.cc.paused = False
    for task in asking:
        await task
    assert answers == [15] * depth


@system_test(timeout_us=8000)
async def requests_of_ours_stand_still(bench):
    """`rq` is stalled: configuration space and registers answer all the same, and frames wait without loss."""
    nic = await bench.nic(queue_size=32)
    bench.host.rq.paused = True
    frames = [bench.frame() for _ in range(10)]
    await nic.send_many(frames)
    await bench.platform.sleep(STANDSTILL_NS)
    for _ in range(40):
        assert await bench.host.config_read(0) == 0x1041_1AF4
        assert await nic.virtio.status() == 15
    assert not bench.mac.captured
    bench.host.rq.paused = False
    for frame in frames:
        assert await bench.wire() == frame
    await receive_some(bench, nic, 4)


@system_test(timeout_us=8000)
async def answers_to_us_stand_still(bench):
    """No completion comes for long: frames go into buffers that are known, registers answer; then all goes on."""
    nic = await bench.nic(queue_size=32, polling=True, receive_buffers=16)
    bench.host.rc.stall(1.0)
    await nic.send_many([bench.frame(200) for _ in range(10)])
    await receive_some(bench, nic, 3, longest=200)
    await bench.platform.sleep(STANDSTILL_NS)
    assert await nic.virtio.status() == 15
    assert not bench.mac.captured
    bench.host.rc.stall(0)
    for _ in range(10):
        await bench.wire()
    await receive_some(bench, nic, 20, longest=200)


@system_test("BAS-026", timeout_us=8000, icarus=("tiny",))
async def doorbells_without_a_gap(bench):
    """Requests arrive as fast as the link brings them: doorbells that repeat, and reads between them."""
    nic = await bench.nic(queue_size=32, polling=True)
    queue = nic.transmitters[0]
    for _ in range(100):
        await bench.host.mmio_write(queue.doorbell_at, *queue._doorbell)
        await bench.host.mmio_write(nic.receivers[0].doorbell_at, *nic.receivers[0]._doorbell)
    frames = [bench.frame(longest=200) for _ in range(20)]
    await nic.send_many(frames, batch=1)
    for frame in frames:
        assert await bench.wire() == frame


def _circumstances(name, *, simulators=("verilator", "icarus"), count=40, settings=None, **environment):
    @system_test(timeout_us=20_000, name=name, simulators=simulators, **environment)
    async def run(bench):
        nic = await bench.nic(queue_size=32, **(settings or {}))
        frames = [bench.frame(length) for length in (60, 1514, 255, 256, 257, 1024)]
        frames += [bench.frame() for _ in range(count - len(frames))]
        assert await echo(bench, nic, frames, batch=8) == frames
    return run


completions_of_64_bytes = _circumstances("completions_of_64_bytes", rcb64=True)
smallest_sizes = _circumstances("smallest_sizes", settings={
    "max_payload": 128, "max_read_request": 128, "extended_tags": False})
largest_requests = _circumstances("largest_requests", settings={"max_read_request": 4096})
slow_memory = _circumstances("slow_memory", profile="e3-tail", count=40)
fast_memory = _circumstances("fast_memory", profile="zero", link="gen3x16")


@system_test("FEA-017", timeout_us=20_000)
async def odd_addresses(bench):
    """Buffers at every kind of address, across pages too, untranslated: bytes arrive where they belong, and no TLP
    crosses 4 KiB."""
    for offset in (1, 2, 3, 5, 62, 3, 4095 - 12, 4095, 4030):
        framing = Framing(offset=offset)
        nic = await bench.nic(queue_size=8, receive_framing=framing, framing=framing, buffer_slack=4200,
                              wanted=0)
        frames = [bench.frame(length) for length in (60, 61, 1513, 1514, 300)]
        assert await echo(bench, nic, frames, framing=framing, batch=4) == frames, offset
        await nic.stop()
