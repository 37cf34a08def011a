"""Resets at the worst of moments: what the card does until it reads 0, what it leaves behind, how it starts anew.

The host's memory refuses every access to what the driver has taken back, and that is all of it as soon as
device_status has read 0.
"""

from model import formats, pci
from model.formats import NO_VECTOR, Feature, Status
from testbench.bfm.host import RequestFailed
from testbench.driver.net import REQUIRED, WANTED, Nic
from testbench.system.case import system_test

QUIET_CYCLES = 1000     # for which a card that was reset is watched


async def rush(bench, nic, ns):
    """Frames both ways for a time, as fast as they go; then the driver drops everything, wherever it stands."""
    async def out():
        while True:
            await nic.send_many([bench.frame() for _ in range(4)], batch=bench.random.choice((1, 2, 4)))

    async def back():
        while True:
            await nic.receive_many()

    async def wire():
        while True:
            bench.mac.send(bench.frame())
            await bench.platform.sleep(bench.random.choice((50, 200, 700)))
    tasks = [bench.platform.spawn(part()) for part in (out, back, wire)]
    await bench.platform.sleep(ns)
    for task in tasks:
        task.cancel()


async def silent(bench):
    """A card that was reset does nothing, whatever comes."""
    while not bench.mac.idle:
        await bench.clocks(8)
    requests = bench.requests()
    bench.forget_wire()
    await bench.set_link(False)
    bench.mac.send(bench.frame())
    await bench.clocks(QUIET_CYCLES // 2)
    await bench.set_link(True)
    await bench.clocks(QUIET_CYCLES // 2)
    assert bench.requests() == requests
    assert not bench.forget_wire()
    assert not bench.host.intx


async def works(bench, nic, count=3):
    """Frames pass, and only those."""
    for _ in range(count):
        outgoing, incoming = bench.frame(longest=300), bench.frame(longest=300)
        bench.mac.send(incoming)
        await nic.send(outgoing)
        assert await bench.wire() == outgoing
        assert await nic.receive(timeout_ns=100_000) == incoming
    await nic.flush(timeout_ns=100_000)


@system_test("BAS-009", "BAS-010", "BAS-011", "BAS-034", "PCI-028", "PCI-029", "PKD-010", simulators=("verilator",),
             presets=("tiny", "default"), timeout_us=8000)
async def reset_in_mid_flight(bench):
    await _resets(bench, 24)


@system_test("BAS-009", "BAS-011", "PCI-029", simulators=("icarus",), timeout_us=4000)
async def a_few_resets_in_mid_flight(bench):
    await _resets(bench, 5)


async def drained(bench):
    """Frames that were complete when the reset came may still leave; wait until none does."""
    while True:
        await bench.clocks(700)
        if not bench.forget_wire():
            return


async def _resets(bench, rounds):
    for turn in range(rounds):
        nic = await bench.nic(queue_size=bench.random.choice((4, 16, 33)),
                              interrupts=bench.random.choice(("msix", "msix", "intx")))
        await works(bench, nic, 1)
        await rush(bench, nic, bench.random.uniform(0, 12_000))
        await nic.stop()
        if turn % 4 == 0:
            await silent(bench)
        while not bench.mac.idle:
            await bench.clocks(8)
        await drained(bench)


async def _reset_behind(bench, hold, release, held_ns=8000):
    """Reset a busy card while the link doesn't take its requests. Returns whether it was in reset when that ended."""
    nic = await bench.nic(queue_size=16)
    await rush(bench, nic, 5000)
    hold()
    await rush(bench, nic, 4000)
    for _ in range(3):      # written again before it is done
        await nic.virtio.write("device_status", 0)
        await bench.platform.sleep(held_ns / 3)
    waiting = await nic.virtio.status() != 0
    release()
    await nic.stop()
    await silent(bench)
    await works(bench, await bench.nic(queue_size=8))
    return waiting


@system_test("BAS-009", "BAS-011", "PCI-029", timeout_us=2000)
async def reset_while_the_link_stalls(bench):
    """What has been offered must still go, so the reset waits for the link; what has not is given up."""
    def pause(value):
        bench.host.rq.paused = value
    assert await _reset_behind(bench, lambda: pause(True), lambda: pause(False))


@system_test("BAS-009", "BAS-011", timeout_us=2000)
async def reset_while_reads_are_refused(bench):
    await _reset_behind(bench, lambda: bench.host.hold_reads(True), lambda: bench.host.hold_reads(False))


@system_test("BAS-009", "BAS-011", timeout_us=2000)
async def reset_while_the_wire_stalls(bench):
    """With both rings and the transmit buffer full."""
    nic = await bench.nic(queue_size=16)
    bench.mac.sink.paused = True
    for _ in range(16):
        bench.mac.send(bench.frame())
    for _ in range(16):
        await nic.send(bench.frame(1514))
    await bench.clocks(2000)
    await nic.stop()                # ends though the wire still stands
    bench.mac.sink.paused = False
    await drained(bench)
    await silent(bench)
    await works(bench, await bench.nic(queue_size=8))


async def _defaults(virtio, queues, limit):
    assert await virtio.status() == 0
    for name in ("device_feature_select", "driver_feature_select", "queue_select"):
        assert await virtio.read(name) == 0, name
    assert await virtio.read("config_msix_vector") == NO_VECTOR
    for window in range(formats.FEATURE_WINDOWS):
        await virtio.write("driver_feature_select", window)
        assert await virtio.read("driver_feature") == 0
    for queue in range(queues):
        await virtio.write("queue_select", queue)
        expected = {"queue_size": limit, "queue_msix_vector": NO_VECTOR, "queue_enable": 0, "queue_desc": 0,
                    "queue_driver": 0, "queue_device": 0}
        assert {name: await virtio.read(name) for name in expected} == expected


@system_test("BAS-008", "BAS-009", "PCI-030", "PCI-043", "PCI-096", presets=("tiny", "default"))
async def a_reset_restores_the_defaults(bench):
    nic = await bench.nic(queue_size=8)
    await works(bench, nic)
    await nic.virtio.write("device_feature_select", 1)
    await nic.virtio.read_isr()
    await nic.stop()
    await _defaults(nic.virtio, bench.manifest["queues"], bench.parameter("queue_size_max"))
    assert await nic.virtio.read_isr() == 0


@system_test("PCI-001", "BAS-008", "BAS-011", timeout_us=4000)
async def function_level_reset_in_mid_flight(bench):
    for _ in range(3):
        nic = await bench.nic(queue_size=bench.random.choice((4, 16, 33)))
        await works(bench, nic, 1)
        await rush(bench, nic, bench.random.uniform(0, 12_000))
        await nic.function.function_level_reset(bench.platform, settle_ns=25_000)  # the flow table is emptied
        nic.release()
        assert await nic.function.read(pci.PCI_HEADER, "command") == 0
        assert await bench.host.config_read(0x10) & ~0xf == 0
        await silent(bench)
    await nic.function.enumerate(formats.VENDOR_ID, formats.DEVICE_ID_NET)
    await nic.function.set_command(set=pci.Command.MEMORY_SPACE)
    await nic.virtio.discover()
    await _defaults(nic.virtio, bench.manifest["queues"], bench.parameter("queue_size_max"))
    await works(bench, await bench.nic(queue_size=8))


@system_test("PKD-010", "PKD-041", "BAS-034", "PCI-043", timeout_us=4000)
async def restarts_with_other_rings(bench):
    """Position, wrap counters and everything cached of the old ring are gone."""
    for size in (3, 64, 5, 1):
        nic = await bench.nic(queue_size=size)
        await works(bench, nic, min(4, size + 2))
        await nic.stop()


@system_test("FEA-017", "FEA-019", timeout_us=4000)
async def restarts_with_other_features(bench):
    """The fewest features that the card can work with, then more, then the fewest again."""
    for wanted in (0, WANTED, 1 << Feature.ACCESS_PLATFORM, 0):
        nic = await bench.nic(queue_size=4, wanted=wanted)
        assert nic.virtio.features == REQUIRED | wanted
        await works(bench, nic, 2)
        await nic.stop()


@system_test("BAS-007", "BAS-008")
async def status_bits_read_back(bench):
    nic = await bench.nic(queue_size=4)
    virtio = nic.virtio
    assert await virtio.status() == (Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK | Status.DRIVER_OK)
    await nic.stop()
    expected = 0
    for bit in (Status.ACKNOWLEDGE, Status.DRIVER, Status.DRIVER_OK, Status.FAILED):
        expected |= bit
        await virtio.write("device_status", expected)
        assert await virtio.status() == expected
    await virtio.write("device_status", expected | 0b0111_0000)     # SUSPEND isn't offered, NEEDS_RESET the device's
    assert await virtio.status() == expected
    await virtio.reset()


async def unfinished(bench, *, leave_out, **options):
    """A driver whose writes of the fields `leave_out`, as (name, value, queue or None), never reach the card.

    Returns it and a coroutine function that does those writes."""
    nic = Nic(bench.host, bench.platform, **options)
    write, late = nic.virtio.write, []
    selected = [0]

    async def selective(name, value):
        if name == "queue_select":
            selected[0] = value
        if any(name == n and value & v and q in (None, selected[0]) for n, v, q in leave_out):
            late.append((name, value))
        else:
            await write(name, value)
    nic.virtio.write = selective
    await nic.start()
    nic.virtio.write = write

    async def finish():
        for name, value in late:
            await write(name, value)
    return nic, finish


@system_test("BAS-003", "BAS-004", "BAS-034")
async def nothing_happens_before_driver_ok(bench):
    nic, finish = await unfinished(bench, queue_size=8, leave_out=[("device_status", Status.DRIVER_OK, None)])
    await bench.settle()
    requests = bench.requests()
    frame = bench.frame()
    await nic.send(frame)
    bench.mac.send(bench.frame())
    for queue in nic.receivers + nic.transmitters:
        await queue.kick()
    await bench.clocks(2000)
    assert bench.requests() == requests
    assert not nic.messages.counts
    await finish()
    for queue in nic.receivers + nic.transmitters:
        await queue.kick()
    assert await bench.wire() == frame
    await bench.settle()
    await works(bench, nic)
    await nic.stop()


@system_test("PCI-045")
async def a_queue_that_is_not_enabled(bench):
    """Its doorbell does nothing, and the other queue works."""
    nic, finish = await unfinished(bench, queue_size=8, leave_out=[("queue_enable", 1, 1)])
    await bench.settle()
    await nic.send(bench.frame())
    await bench.clocks(2000)
    assert not bench.forget_wire() and not nic.transmitters[0].ring.has_used()
    frame = bench.frame()
    bench.mac.send(frame)
    assert await nic.receive(timeout_ns=100_000) == frame
    await nic.virtio.write("queue_select", 1)
    assert await nic.virtio.read("queue_enable") == 0
    await nic.stop()


@system_test("PCI-001", "BAS-010")
async def removal(bench):
    nic = await bench.nic(queue_size=8)
    await works(bench, nic)
    await rush(bench, nic, 5000)
    await nic.remove()
    await silent(bench)
    try:
        await nic.virtio.status()
    except RequestFailed:
        pass
    else:
        raise AssertionError("answered after its removal")
    again = await bench.nic(queue_size=8)
    await works(bench, again)
