"""Transmit chains and headers as no good driver makes them: each has one defined outcome, and harms nobody else."""

import struct

from model import formats
from model.formats import Status
from testbench.system.bench_errors import works
from testbench.system.case import system_test

INDIRECT = 4


def post(nic, data, lengths, *, writable=(), flags=0):
    """Make a chain available that holds `data` in elements of `lengths`; the numbers in `writable` are device-writable,
    `flags` go to the head too. No doorbell."""
    queue = nic.transmitters[0]
    number = queue._free.pop()
    base, view, at = queue._buffers[number], queue._views[number], 0
    view[:len(data)] = data
    elements = []
    for n, length in enumerate(lengths):
        elements.append((base + at, length, n in writable))
        at += length
    head = queue.ring.avail_index
    queue.ring.add(elements, number)
    if flags:
        queue.ring._table["flags"][head] |= flags
    return view


def header(*, flags=0, gso_type=0, hdr_len=0, gso_size=0, csum_start=0, csum_offset=0, num_buffers=0):
    return struct.pack("<BBHHHHH", flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers)


@system_test("PKD-004", "NET-049", "BAS-021", timeout_us=8000)
async def chains_that_make_no_frame(bench):
    """Too short, too long, or partly device-writable: dropped and counted, the buffer returned, nothing written."""
    nic = await bench.nic(queue_size=16, buffer_slack=2048)
    longest = bench.manifest["parameters"]["max_mtu"] + 14 + 8
    bad = [
        ([26 - 1], {}),
        ([12], {}),
        ([12, 13], {}),
        ([1], {}),
        ([12 + longest + 1], {}),
        ([12, longest, 1], {}),
        ([12, 60], {"writable": (1,)}),
        ([72], {"writable": (0,)}),
    ]
    for lengths, options in bad:
        data = bench.random.randbytes(sum(lengths))
        before = await bench.counter("transmit.drop.malformed")
        view = post(nic, data, lengths, **options)
        frame = bench.frame(longest=300)
        await nic.send(frame)
        assert await bench.wire() == frame, lengths
        await nic.flush(timeout_ns=100_000)
        assert bytes(view[:len(data)]) == data, f"{lengths}: the device has written"
        assert await bench.counter("transmit.drop.malformed") == before + 1, lengths
    await bench.quiet()
    assert len(bench.mac.captured) == len(bad)


@system_test("NET-026", timeout_us=8000)
async def shortest_and_longest(bench):
    """The limits themselves are good frames."""
    nic = await bench.nic(queue_size=16, buffer_slack=2048)
    longest = bench.manifest["parameters"]["max_mtu"] + 14 + 8
    for length in (14, longest):
        frame = bench.frame(length)
        post(nic, header() + frame, [12 + length])
        await nic.transmitters[0].kick()
        assert await bench.wire() == frame
    await nic.flush(timeout_ns=100_000)


@system_test("NET-028", "NET-029", "NET-041", "NET-048", "NET-010", timeout_us=8000)
async def header_fields_without_meaning(bench):
    """Without the features that define them no bit of the header changes the frame, or what becomes of it."""
    nic = await bench.nic(queue_size=16)
    headers = [
        header(csum_start=0xffff, csum_offset=0xffff),
        header(csum_start=14, csum_offset=2),
        header(num_buffers=0xffff),
        header(num_buffers=2),
        *(header(flags=flag) for flag in (2, 4, 8, 16, 32, 64, 128, 0xfe)),
        header(flags=0xfe, hdr_len=0xffff, csum_start=1, csum_offset=2, num_buffers=0xabcd),
    ]
    for raw in headers:
        # A TCP packet with a checksum of 0, which nobody may mend, nor cut into pieces.
        frame = bytes(12) + b"\x08\x00\x45\x00" + bench.frame(1400)
        post(nic, raw + frame, [12 + len(frame)])
        await nic.transmitters[0].kick()
        assert await bench.wire() == frame, raw.hex()
    await nic.flush(timeout_ns=100_000)
    await bench.quiet()
    assert len(bench.mac.captured) == len(headers)


async def breaks(bench, nic, what):
    """What was posted can only be cured by a reset."""
    await nic.transmitters[0].kick()
    assert await bench.platform.wait(nic.config_changed, 100_000), f"{what}: no interrupt"
    assert await nic.virtio.status() & Status.NEEDS_RESET, what
    assert not bench.mac.captured, what
    await nic.stop()
    await works(bench)
    bench.mac.captured.clear()
    bench.forget_wire()


@system_test("FEA-019", "BAS-005", "BAS-006", timeout_us=8000)
async def indirect_without_the_feature(bench):
    """An INDIRECT descriptor is not followed but breaks the queue."""
    nic = await bench.nic(queue_size=16)
    assert not nic.virtio.features >> formats.Feature.INDIRECT_DESC & 1
    post(nic, bench.random.randbytes(64), [64], flags=INDIRECT)
    await breaks(bench, nic, "INDIRECT")


@system_test("PKD-023", "BAS-005", "BAS-006", timeout_us=8000)
async def chain_longer_than_the_ring(bench):
    """NEXT in every descriptor of the ring: a chain without an end is not walked for ever."""
    for size in (1, 8, 40):
        nic = await bench.nic(queue_size=size, receive_buffers=1)
        queue = nic.transmitters[0]
        post(nic, header() + bench.frame(100), [112 - size + 1] + [1] * (size - 1))
        queue.ring._table["flags"] |= formats.DESC_NEXT
        await breaks(bench, nic, f"ring of {size}")
