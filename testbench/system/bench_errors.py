"""Reads of the card that go wrong on the bus: refused, poisoned, never answered, answered late or twice."""

from model import formats, pci
from model.formats import Feature, Status
from testbench.bfm.tlp import MessageCode, completion
from testbench.driver.framing import HEADER_APART
from testbench.driver.options import WANTED
from testbench.driver.platform import DeviceError
from testbench.system.bench_traffic import echo
from testbench.system.case import system_test

REFUSED = ("ur", "ca", "poison")
POISONED, COMPLETION_TIMEOUT, UNEXPECTED_COMPLETION = 1 << 12, 1 << 14, 1 << 16     # uncorrectable errors
ADVISORY = 1 << 13                                                                  # correctable error
TARGET_ABORT, MASTER_ABORT, PARITY_ERROR = 1 << 12, 1 << 13, 1 << 15                # of the status register
# A driver that puts what it sends into tables.
TABLES = {"wanted": WANTED | formats.feature_set(Feature.INDIRECT_DESC), "framing": HEADER_APART}
TIMEOUT_RANGE_A = 0b0001        # 50 to 100 µs
TIMEOUT_NS = 100_000
# What each fault leaves behind: status register, uncorrectable errors, error message.
TRACES = {
    "ur": (MASTER_ABORT, 0, None),
    "ca": (TARGET_ABORT, 0, None),
    "poison": (PARITY_ERROR, POISONED, MessageCode.ERR_NONFATAL),
    "drop": (0, COMPLETION_TIMEOUT, MessageCode.ERR_NONFATAL),
    "late": (0, COMPLETION_TIMEOUT, MessageCode.ERR_NONFATAL),
}


async def short_timeouts(nic):
    """Device Control 2: completions are waited for 50 to 100 µs."""
    at = nic.function.find(pci.CapId.EXPRESS)
    await nic.function.write(pci.PCIE_CAP, "device_control_2", TIMEOUT_RANGE_A, at)


async def clear_traces(bench, nic):
    await nic.function.read_errors()
    await nic.function.write(pci.PCI_HEADER, "status", 0xffff)
    bench.host.errors.clear()


async def check_traces(bench, nic, fault, label):
    """Status register, Advanced Error Reporting and messages tell of `fault`, and of nothing else."""
    status, uncorrectable, message = TRACES[fault]
    seen = await nic.function.read(pci.PCI_HEADER, "status")
    assert seen & (TARGET_ABORT | MASTER_ABORT | PARITY_ERROR) == status, f"{fault} of {label}: status {seen:#x}"
    found, correctable, _ = await nic.function.read_errors()
    # A late completion is then unexpected as well.
    found &= ~(UNEXPECTED_COMPLETION if fault == "late" else 0)
    assert found == uncorrectable, f"{fault} of {label}: {found:#x}"
    assert bench.host.errors == ([message] if message else []), f"{fault} of {label}: {bench.host.errors}"


async def needs_reset(bench, nic, what):
    """The device says so, by a configuration change interrupt and in its status; then it is reset."""
    assert await bench.platform.wait(nic.config_changed, 2 * TIMEOUT_NS), f"{what}: no interrupt"
    assert await nic.virtio.status() & Status.NEEDS_RESET, f"{what}: status {await nic.virtio.status()!r}"
    try:
        await nic.check()
    except DeviceError:
        pass
    else:
        raise AssertionError(f"{what}: the driver did not notice")
    await nic.stop()
    assert await nic.virtio.status() == 0


async def works(bench):
    """A fresh driver finds a card that passes frames in both directions."""
    nic = await bench.nic(queue_size=16)
    frames = [bench.frame(longest=300) for _ in range(12)]
    assert await echo(bench, nic, frames, batch=4) == frames
    await nic.stop()
    bench.mac.loopback = False
    bench.forget_wire()


def _fatal_refusals(label, **options):
    @system_test("BAS-005", "BAS-006", "BAS-009", name=f"{label}_read_refused", timeout_us=8000)
    async def run(bench):
        for fault in REFUSED:
            nic = await bench.nic(queue_size=16, **options)
            await clear_traces(bench, nic)
            bench.host.inject(fault, lambda read: read.label == label)
            if label == "event":
                nic.transmitters[0].ring.enable_interrupts()
            await nic.send(bench.frame(100))
            what = f"{fault} of {label}"
            assert await bench.platform.wait(nic.config_changed, TIMEOUT_NS), f"{what}: no interrupt"
            await check_traces(bench, nic, fault, label)
            await needs_reset(bench, nic, what)
            bench.forget_wire()
            await works(bench)
    return run


ring_read_refused = _fatal_refusals("ring")
event_read_refused = _fatal_refusals("event")
table_read_refused = _fatal_refusals("table", **TABLES)


def _fatal_timeout(label, **options):
    @system_test("BAS-005", "BAS-006", "BAS-009", name=f"{label}_read_never_answered", timeout_us=8000)
    async def run(bench):
        nic = await bench.nic(queue_size=16, **options)
        await short_timeouts(nic)
        await clear_traces(bench, nic)
        bench.host.inject("drop", lambda read: read.label == label)
        await nic.send(bench.frame(100))
        assert await bench.platform.wait(nic.config_changed, 2 * TIMEOUT_NS), "no interrupt"
        await check_traces(bench, nic, "drop", label)
        await needs_reset(bench, nic, f"no answer to {label}")
        bench.forget_wire()
        await works(bench)
        assert int(bench.dut.sim_tags_quarantined.value) == 1, "a tag without an answer was used again"
    return run


ring_read_never_answered = _fatal_timeout("ring")
event_read_never_answered = _fatal_timeout("event")
table_read_never_answered = _fatal_timeout("table", **TABLES)


@system_test("BAS-021", "NET-049", timeout_us=8000)
async def data_read_refused(bench):
    """A frame that can't be read never reaches the wire; its buffer comes back, and its neighbours pass."""
    nic = await bench.nic(queue_size=16)
    for fault in REFUSED:
        for length in (60, 1400):
            await clear_traces(bench, nic)
            before = await bench.counter("transmit.drop.read_error")
            frames = [bench.frame(length) for _ in range(4)]
            third = nic.transmitters[0]._buffers[nic.transmitters[0]._free[-3]]
            bench.host.inject(fault, lambda read, third=third: third <= read.address < third + 4096)
            await nic.send_many(frames, batch=4)
            for frame in frames[:2] + frames[3:]:
                assert await bench.wire() == frame, f"{fault}, {length} bytes"
            await nic.flush(timeout_ns=100_000)
            await check_traces(bench, nic, fault, "data")
            assert await bench.counter("transmit.drop.read_error") == before + 1
            nic.transmitters[0]._free.sort()
    assert not await nic.virtio.status() & Status.NEEDS_RESET


@system_test("BAS-021", "NET-049", timeout_us=8000)
async def data_read_never_answered(bench):
    """Frames that wait behind the one without an answer leave when its time is over."""
    nic = await bench.nic(queue_size=16)
    await short_timeouts(nic)
    await clear_traces(bench, nic)
    frames = [bench.frame(200) for _ in range(3)]
    bench.host.inject("drop", lambda read: read.label == "tx")
    await nic.send_many(frames, batch=3)
    for frame in frames[1:]:
        assert await bench.wire(2 * TIMEOUT_NS) == frame
    await nic.flush(timeout_ns=TIMEOUT_NS)
    await check_traces(bench, nic, "drop", "data")
    assert await bench.counter("read.timeout") == 1 == await bench.counter("transmit.drop.read_error")
    assert int(bench.dut.sim_tags_quarantined.value) == 1
    # The host refuses a second use of that tag: every other one comes round.
    frames = [bench.frame(longest=120) for _ in range(3 * bench.parameter("tags"))]
    await nic.send_many(frames, batch=8)
    for frame in frames:
        assert await bench.wire() == frame


@system_test(timeout_us=8000)
async def data_read_answered_late(bench):
    """A completion behind its time is unexpected, and sets its tag free."""
    nic = await bench.nic(queue_size=16)
    await short_timeouts(nic)
    await clear_traces(bench, nic)
    bench.host.inject("late", lambda read: read.label == "tx", delay=1.5 * TIMEOUT_NS / 4)
    frames = [bench.frame(200) for _ in range(2)]
    await nic.send_many(frames, batch=2)
    assert await bench.wire(2 * TIMEOUT_NS) == frames[1]
    assert int(bench.dut.sim_tags_quarantined.value) == 1
    await bench.platform.sleep(TIMEOUT_NS)
    assert int(bench.dut.sim_tags_quarantined.value) == 0
    await check_traces(bench, nic, "late", "data")
    assert await bench.counter("read.unexpected_completion") == 1
    frames = [bench.frame(longest=120) for _ in range(3 * bench.parameter("tags"))]
    await nic.send_many(frames, batch=8)
    for frame in frames:
        assert await bench.wire() == frame


@system_test(timeout_us=8000)
async def completions_nobody_asked_for(bench):
    """A second answer, and answers to tags that are not in use, are recorded and change nothing."""
    nic = await bench.nic(queue_size=16)
    await clear_traces(bench, nic)
    frames = [bench.frame(200) for _ in range(2)]
    bench.host.inject("duplicate", lambda read: read.label == "tx" and read.length > 200)
    await nic.send_many(frames, batch=2)
    for frame in frames:
        assert await bench.wire() == frame
    await bench.quiet()
    for tag in range(0, 256, 37):
        bench.host.send_completion(completion(bench.host.function, tag, 0, payload=b"\xee" * 64, byte_count=64))
    await bench.platform.sleep(2000)
    uncorrectable, correctable, _ = await nic.function.read_errors()
    # Advisory errors are masked after reset: no message.
    assert (uncorrectable, correctable, bench.host.errors) == (0, ADVISORY, [])
    at = nic.function.find(pci.EXTENDED_AER, extended=True)
    await nic.function.write(pci.AER_CAP, "correctable_mask", 0, at)
    strange = completion(bench.host.function, 200, 0, payload=b"\xee" * 64, byte_count=64)
    bench.host.send_completion(strange)
    await bench.platform.sleep(2000)
    uncorrectable, correctable, log = await nic.function.read_errors()
    assert (uncorrectable, correctable, bench.host.errors) == (
        UNEXPECTED_COMPLETION, ADVISORY, [MessageCode.ERR_COR])
    words = [strange.header >> 32 * n & 0xffff_ffff for n in range(3)]
    assert log[:12] == b"".join(word.to_bytes(4, "little") for word in words)
    assert await bench.counter("read.unexpected_completion") == 9
    for frame in frames:
        await nic.send(frame)
        assert await bench.wire() == frame
