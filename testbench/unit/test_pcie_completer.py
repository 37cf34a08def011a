"""The completer: what requests do, and how they are answered."""

import random

import pytest

from testbench.unit import tlp as t
from testbench.unit.completer_bench import ABORT, BAR, SUCCESS, UNSUPPORTED, run
from testbench.unit.few import few

SIZE = 0x4_0000


def check_split(completions, address, length, max_payload, options):
    """A read's completions: cuts, counts, and what is copied from the request."""
    count, left = length, address
    for completion in completions:
        assert (completion.status, completion.tag, completion.requester, completion.tc, completion.attr) == (
            SUCCESS, options["tag"], options["requester"], options["tc"], options["attr"])
        assert completion.byte_count == count
        assert completion.lower_address == left & 0x7f
        end = min((left // max_payload + 1) * max_payload, address + length)
        assert len(completion.data) == -(-end // 4) * 4 - left // 4 * 4 <= max_payload
        count -= end - left
        left = end
    assert count == 0


@pytest.mark.parametrize("width, code, stall, seed", few(3, [
    (128, 2, 0.4, 2), (256, 1, 0.3, 3), (512, 0, 0.2, 4), (128, 0, 0, 1), (512, 2, 0, 5)]))
@pytest.mark.requirements("PCI-001", "PCI-012", "PCI-013")
def test_reads_and_writes_of_any_size(width, code, stall, seed):
    rng = random.Random(seed)
    max_payload = 128 << code

    async def body(host):
        await host.start(control=code << 5)
        expected = {}
        for _ in range(12):
            offset = rng.choice([rng.randrange(0x1000), rng.randrange(SIZE - 600)])
            data = rng.randbytes(rng.choice([1, 2, 4, 8, rng.randrange(1, 70), rng.randrange(1, max_payload - 3)]))
            expected.update({offset + n: byte for n, byte in enumerate(data)})
            host.send(t.memory_write(BAR + offset, data))
            start = max(0, offset - rng.randrange(8))
            length = rng.choice([len(data), 1, rng.randrange(1, 300)])
            before = host.memory.copy()
            options = {"tag": rng.randrange(256), "requester": rng.randrange(1 << 16), "tc": rng.randrange(8),
                       "attr": rng.randrange(8)}
            completions = await host.read_completions(BAR + start, length, **options)
            check_split(completions, start, length, max_payload, options)
            got = b"".join(completion.data for completion in completions)[start % 4:][:length]
            assert got == host.image(start, length) == bytes(
                expected.get(start + n, byte) for n, byte in enumerate(host.image(start, length))), before
        for address, byte in expected.items():
            assert host.image(address, 1)[0] == byte
        # Bytes around what was written are untouched, lanes not enabled are not strobed
        for write, address, _, strobe in host.accesses:
            if write:
                assert strobe and all((address + lane in expected) for lane in range(4) if strobe >> lane & 1)
    run(body, width=width, stall=stall, seed=seed, limit=60_000)


def test_largest_read_up_to_the_end():
    async def body(host):
        await host.start(control=2 << 5)
        completions = await host.read_completions(BAR + SIZE - 4096, 4096, tag=3)
        assert [completion.byte_count for completion in completions] == [*range(4096, 0, -512)]
        assert b"".join(completion.data for completion in completions) == host.image(SIZE - 4096, 4096)
    run(body, limit=60_000)


# Byte enables → (bytes from the first to the last one enabled, number of the first one)
ENABLES = {0b0000: (1, 0), 0b0001: (1, 0), 0b0010: (1, 1), 0b0100: (1, 2), 0b1000: (1, 3), 0b0011: (2, 0),
           0b0110: (2, 1), 0b1100: (2, 2), 0b0101: (3, 0), 0b0111: (3, 0), 0b1010: (3, 1), 0b1110: (3, 1),
           0b1001: (4, 0), 0b1011: (4, 0), 0b1101: (4, 0), 0b1111: (4, 0)}


def test_every_byte_enable_of_one_dword():
    async def body(host):
        await host.start()
        for enables, (count, lane) in ENABLES.items():
            host.accesses.clear()
            answer = await host.ask(t.memory_read(BAR + 0x14, 4, enables=(enables, 0)))
            assert (answer.byte_count, answer.lower_address, len(answer.data)) == (count, 0x14 + lane, 4)
            assert host.accesses == [(0, 0x14, None, enables)]
            host.send(t.memory_write(BAR + 0x20, b"abcd", enables=(enables, 0)))
            await host.drained(10)
            assert [access[3] for access in host.accesses[1:]] == ([enables] if enables else [])
    run(body)


def test_byte_enables_at_both_ends():
    async def body(host):
        await host.start()
        for first, skipped in ((0b1111, 0), (0b1110, 1), (0b1100, 2), (0b1000, 3), (0b1010, 1)):
            for last, beyond in ((0b1111, 0), (0b0111, 1), (0b0011, 2), (0b0001, 3), (0b0101, 1)):
                host.accesses.clear()
                answer = await host.ask(t.memory_read(BAR + 0x30, 12, enables=(first, last)))
                assert (answer.byte_count, answer.lower_address) == (12 - skipped - beyond, 0x30 + skipped)
                assert [access[3] for access in host.accesses] == [first, 0xf, last]
        host.accesses.clear()
        host.send(t.memory_write(BAR + 0x30, bytes(24), enables=(0b1000, 0b0001)))
        await host.drained()
        assert [access[3] for access in host.accesses] == [0b1000, 0xf, 0xf, 0xf, 0xf, 0b0001]
    run(body)


async def refused(host, packet, status, **expected):
    """The request is answered by one completion without data, and nothing happens."""
    before = len(host.accesses)
    answer = await host.ask(packet)
    assert (answer.status, answer.data) == (status, b"")
    for name, value in expected.items():
        assert getattr(answer, name) == value, name
    assert len(host.accesses) == before


@pytest.mark.parametrize("width", [128, 256])
def test_unsupported_requests(width):
    async def body(host):
        await host.start()
        await refused(host, t.memory_read(BAR - 4, 3), UNSUPPORTED, byte_count=3, lower_address=0x7c)
        await refused(host, t.memory_read(BAR + SIZE, 100), UNSUPPORTED, byte_count=100, lower_address=0)
        await refused(host, t.memory_read(BAR + (1 << 40) + 8, 4), UNSUPPORTED, lower_address=8)
        await refused(host, t.memory_read(BAR & 0xffff_ffff, 4), UNSUPPORTED)
        await refused(host, t.memory_read(BAR + 8, 4, kind=1), UNSUPPORTED, locked=True, byte_count=4, lower_address=8)
        # I/O read and write, atomic operations of both sizes, configuration requests not for us
        await refused(host, t.memory_read(0x1004, 4, kind=2), UNSUPPORTED, byte_count=4, lower_address=0)
        await refused(host, t.memory_write(0x1004, b"abcd", kind=2), UNSUPPORTED, byte_count=4, lower_address=0)
        await refused(host, t.memory_write(BAR + 4, bytes(4), kind=0b01100), UNSUPPORTED, byte_count=4, lower_address=0)
        await refused(host, t.memory_write(BAR + 8, bytes(8), kind=0b01101), UNSUPPORTED, byte_count=8)
        await refused(host, t.memory_write(BAR, bytes(32), kind=0b01110), UNSUPPORTED, byte_count=16)
        await refused(host, t.config_read(0, kind=5), UNSUPPORTED, byte_count=4, lower_address=0)
        await refused(host, t.config_write(0x3c, 1, kind=5), UNSUPPORTED)
        await refused(host, t.config_read(0, function=1), UNSUPPORTED)
        await refused(host, t.config_write(0x3c, 1, function=7), UNSUPPORTED)
        await refused(host, t.config_write(0x3c, 1, ep=1), UNSUPPORTED)
        assert await host.config_read(0x3c) == 0x0100
        # Copied also then
        await refused(host, t.memory_read(0, 4, tc=5, attr=3, requester=0xabcd), UNSUPPORTED, tc=5, attr=3,
                      requester=0xabcd)
        # Memory Space Enable off; D3hot
        await host.config_write(0x04, 0x0404, enables=0b0011)
        await refused(host, t.memory_read(BAR, 4), UNSUPPORTED)
        await host.start()
        await host.config_write(0x44, 3)
        await refused(host, t.memory_read(BAR, 4), UNSUPPORTED)
        await host.config_write(0x44, 0)
        assert await host.read(BAR + 4, 4) == host.image(4, 4)
    run(body, width=width)


def test_reads_over_the_end_are_aborted():
    async def body(host):
        await host.start()
        assert await host.read(BAR + SIZE - 8, 8) == host.image(SIZE - 8, 8)
        await refused(host, t.memory_read(BAR + SIZE - 8, 9), ABORT, byte_count=9, lower_address=0x78)
        await refused(host, t.memory_read(BAR + SIZE - 4, 4096), ABORT, byte_count=4096)
        await refused(host, t.memory_read(BAR + SIZE - 4092, 4096), ABORT)
    run(body)


@pytest.mark.parametrize("width, stall", [(128, 0), (128, 0.3), (512, 0)])
def test_refused_writes_are_swallowed_whole(width, stall):
    """After each of them, whatever its length, a good one works; none is answered."""
    bad = [
        lambda: t.memory_write(BAR - 64, bytes(64)),
        lambda: t.memory_write(BAR + SIZE, bytes(128)),
        lambda: t.memory_write(BAR + SIZE - 64, bytes(68)),
        lambda: t.memory_write(BAR + 0x100, bytes(128), ep=1),
        lambda: t.memory_write(BAR + 0x100, bytes(4), ep=1),
        lambda: t.memory_write(BAR + 0x100, bytes(132)),             # above Max_Payload_Size
        lambda: t.memory_write(BAR + 0x100, bytes(4096)),
        lambda: t.message(0x7e, 2, range(32)),
        lambda: t.message(0x50, 4, [0x1234]),
        lambda: t.message(0x7f, 3, range(40)),
        lambda: t.Tlp([0x6b00_0001, 0xf, 0x12, 0x3400_0100], [1]),    # undefined type
        lambda: t.Tlp([0x8000_0001, 0xf, 0x12, 0x3400_0100], []),     # prefix
        lambda: t.config_write(0x3c, 0x77, length=2),
        lambda: t.memory_read(0x1000, 8, kind=2),
        lambda: t.Tlp([0x4a00_0004, 0x10, 0, 0], [1, 2, 3, 4]),       # completion
    ]

    async def body(host):
        await host.start()
        for n, packet in enumerate(bad):
            host.send(packet(), t.memory_write(BAR + 0x2000 + 8 * n, bytes([n, n])))
        await host.drained()
        assert [access[1:2] + access[3:] for access in host.accesses] == [(0x2000 + 8 * n, 0b0011)
                                                                          for n in range(len(bad))]
        assert host.answered == 0
        assert await host.config_read(0x3c) == 0x0100
    run(body, width=width, stall=stall)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_overtakes_a_write(seed):
    """Reads, also those of configuration space through the window, see every write sent before them."""
    rng = random.Random(seed)

    async def body(host):
        await host.start()
        await host.config_write(0xa4, 4)
        expected = []
        for n in range(25):
            offset = 0x1000 + 256 * n
            data = rng.randbytes(rng.choice([4, 4, 64, 128]))
            at = rng.randrange(0, len(data), 4)
            host.send(t.memory_write(BAR + offset, data))
            if n % 3 == 2:
                host.send(t.config_write(0xa0, offset + at, tag=200), t.config_read(0xa8, tag=n))
            else:
                host.send(t.memory_read(BAR + offset + at, 4, tag=n))
            expected.append((n, data[at:at + 4]))
        await host.drained(400)
        got = [(completion.tag, completion.data) for completion in host.completions() if completion.tag != 200]
        assert got == expected
    run(body, seed=seed, stall=0.4)


def test_window_is_as_the_write_just_before_made_it():
    """Requests without a pause between them."""
    async def body(host):
        await host.start(command=0)
        await host.config_write(0xa0, 0x1000)
        expected = []
        for n, length in enumerate([4, 1, 3, 2, 0, 4, 5, 1]):
            host.send(t.config_write(0xa4, length, tag=2 * n), t.config_read(0xa8, tag=2 * n + 1))
            expected.append((host.image(0x1000, length) if length in (1, 2, 4) else b"").ljust(4, b"\0"))
        await host.drained(100)
        assert [completion.data for completion in host.completions() if completion.tag % 2] == expected
    run(body)


def test_status_shows_the_error_of_the_request_just_before():
    async def body(host):
        await host.start()
        host.send(t.config_read(0, function=1, tag=1), t.config_read(0xb4, tag=2))
        await host.drained(100)
        refused, status = host.completions()
        assert refused.status == UNSUPPORTED
        assert status.data[2] & 0xf == 0b1001      # Correctable Error and Unsupported Request Detected
    run(body)


@pytest.mark.parametrize("width", [128, 256, 512])
def test_doorbell_latency_and_rate(width):
    async def body(host):
        await host.start()
        host.sent_times.clear()
        host.send(*[t.memory_write(BAR + 0x10000 + 4096 * (n % 2), bytes([n, 0])) for n in range(20)])
        await host.drained()
        assert host.access_times == [time + 1 for time in host.sent_times]
        gaps = {after - before for before, after in zip(host.access_times, host.access_times[1:], strict=False)}
        assert gaps == {1}
        # Longer ones: a DW a cycle
        host.access_times.clear()
        host.send(t.memory_write(BAR + 0x2000, bytes(128)), t.memory_write(BAR + 0x3000, bytes(64)))
        await host.drained(80)
        assert host.access_times[-1] - host.access_times[0] == 32 + 16 - 1
    run(body, width=width)
