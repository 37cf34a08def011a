"""The control virtqueue: any framing, any command, against an oracle."""

import random
import struct

import pytest

from testbench.unit.control_bench import ALL, DRIVER_AREA, ControlBench
from testbench.unit.control_oracle import (
    ERR,
    GUEST_OFFLOADS,
    NEGOTIATED,
    OK,
    TYPES,
    ask_queue,
    coalesce_all,
    coalesce_queue,
    mac_set,
    pairs_set,
    receive_mode,
    stats_get,
    stats_query,
    table_set,
    vlan_set,
)
from testbench.unit.few import few


def replies(bench):
    return [content for _, content in bench.replies]


def random_command(rng):
    """A command, most often a good one, and the room that it is given."""
    queue = rng.choice([0, 1, 2, 3, 4, 7, 8, 9, 0x100, 0xffff])
    values = rng.choice([0, 1, 0xffff_ffff, rng.getrandbits(32)]), rng.getrandbits(32)
    command, room = rng.choice([
        (pairs_set(rng.choice([0, 1, 2, 3, 4, 5, 0x100, 0x104, 0x8000])), 1),
        (coalesce_all(rng.random() < 0.5, *values), 1),
        (coalesce_queue(queue, *values, reserved=rng.getrandbits(16)), 1),
        (ask_queue(queue, reserved=rng.getrandbits(16)), 9),
        (receive_mode(rng.randrange(7), rng.choice([0, 1, 1, 2])), 1),
        (vlan_set(rng.random() < 0.7, rng.choice([0, 1, 4095, 4096, rng.randrange(1 << 16)])), 1),
        (mac_set(rng.randbytes(6)), 1),
        (bytes([3, rng.choice([0, 0, 1])]), 1),
        (bytes([GUEST_OFFLOADS, 0]) + (NEGOTIATED & rng.getrandbits(64) | rng.choice([0, 0, 1 << rng.randrange(64)]))
         .to_bytes(8, "little"), 1),
        (stats_query(), rng.choice([1, 4, 9, 20])),
        (stats_get(*random_requests(rng)), rng.choice([1, 30, 200, 1000])),
        (table_set(*([rng.randbytes(6) for _ in range(rng.choice([0, 0, 1, 5]))] for _ in range(2))), 1),
        (bytes([rng.randrange(12), rng.randrange(5)]) + rng.randbytes(rng.choice([0, 1, 2, 4, 8, 12, 300])), 1),
    ])
    spoil = rng.random()
    if spoil < 0.1:
        command = command[:rng.randrange(len(command))]
    elif spoil < 0.2:
        command += rng.randbytes(rng.choice([1, 2, 40]))
    return command, rng.choice([room, room, room, 0, 1, 3, 8, 9, 30])


def random_requests(rng):
    """What statistics to get: mostly right, of up to 6 queues among the first 9."""
    requests = []
    for _ in range(rng.choice([0, 1, 2, 6])):
        queue = rng.choice([0, 1, 3, 6, 8])
        own = [bit for bit in TYPES if bit // 16 == (2 if queue == 8 else queue % 2)]
        requests.append((queue, sum(1 << bit for bit in own if rng.random() < 0.5)))
    if requests and rng.random() < 0.3:
        queue, types = requests[-1]
        requests[-1] = rng.choice([(queue, types | 1 << rng.randrange(64)), (rng.choice([9, 0x108, 0xffff]), types)])
    return requests


@pytest.mark.requirements("NET-117", "NET-118", "NET-119", "NET-120", "NET-123", "NET-125", "NET-127", "NET-131",
                          "NET-134", "NET-141", "NET-143", "NET-148", "NET-149", "NET-159", "NET-176", "NET-177",
                          "NET-183", "NET-184", "NET-187")
@pytest.mark.parametrize("seed", few(1, range(4)))
def test_random(seed):
    rng = random.Random(seed)
    size = [1, 3, 16, 7][seed]
    features = ALL if seed != 3 else rng.sample(ALL, 4)
    bench = ControlBench(seed=seed, size=size, features=features, width=rng.choice([128, 256, 512]),
                         stall=rng.choice([0, 0.3, 0.6]))
    for _ in range(45):
        command, room = random_command(rng)
        bench.waiting.append(bench.prepare(command, room))
    bench.run()
    assert len(bench.replies) == bench.interrupts == 45
    assert {content[-1:] for content in replies(bench)} >= {OK, ERR}
    assert bench.errors == 0


@pytest.mark.requirements("NET-117", "BAS-030")
def test_a_byte_in_each_descriptor():
    for indirect in (False, True):
        bench = ControlBench(size=32)
        for command, room in [(pairs_set(3), 1), (coalesce_queue(1, 7, 8), 1), (ask_queue(1), 9)]:
            bench.waiting.append(bench.prepare(command, room, readable=[1] * len(command), writable=[1] * room,
                                     indirect=indirect))
        bench.run()
        assert replies(bench) == [OK, OK, bytes([7, 0, 0, 0, 8, 0, 0, 0]) + OK]


@pytest.mark.requirements("PKD-011", "PKD-025", "PKD-026")
def test_chain_of_the_whole_ring():
    bench = ControlBench(size=5)
    for _ in range(4):
        bench.waiting.append(bench.prepare(pairs_set(2), readable=[1, 1, 1, 1], writable=[1], indirect=False))
        bench.waiting.append(bench.prepare(pairs_set(4), readable=[4], writable=[1], indirect=False))
    bench.run()
    assert replies(bench) == [OK] * 8


@pytest.mark.requirements("PKD-036", "PKD-037", "PKD-039")
@pytest.mark.parametrize("flags, negotiated, wanted", [
    (0, 0, 1), (1, 0, 0), (2, 0, 1), (3, 0, 1), (0, 1, 1), (1, 1, 0), (3, 1, 1)])
def test_interrupt_as_the_driver_wishes(flags, negotiated, wanted):
    bench = ControlBench(ring=("event_index",) * negotiated)
    struct.pack_into("<HH", bench.memory, DRIVER_AREA, 0x8000 | 9, 0xfffc | flags)
    for pairs in (2, 3):
        bench.waiting.append(bench.prepare(pairs_set(pairs), readable=[4], writable=[1]))
    bench.run()
    assert bench.interrupts == 2 * wanted
    assert bench.reads.count((DRIVER_AREA, 4)) == 2


@pytest.mark.requirements("PKD-038")
@pytest.mark.parametrize("size", [3, 5])
def test_interrupt_for_a_position(size):
    """Chains of 1 to `size` slots on a ring that wraps; the position lies anywhere, in either pass."""
    bench = ControlBench(size=size, ring=("event_index", "indirect"), stall=0, latency=(1, 3))
    expected = []

    async def body(ctx):
        position = 0        # in slots since reset
        for n in range(25):
            slots = 1 + n % size
            offset, wrap = bench.rng.randrange(size), bench.rng.randrange(2)
            struct.pack_into("<HH", bench.memory, DRIVER_AREA, offset | wrap << 15, 2)
            covered = {(at % size, 1 - at // size % 2) for at in range(position, position + slots)}
            expected.append((offset, wrap) in covered)
            position += slots
            before = bench.interrupts
            cuts = [1] * (slots - 2) + [6 - slots] if slots > 1 else [4]
            bench.waiting.append(bench.prepare(pairs_set(2), readable=cuts, writable=[1], indirect=slots == 1))
            await bench.finish(ctx)
            assert bench.interrupts - before == expected[-1], (position, slots, offset, wrap)
    bench.run(body)
    assert 3 < sum(expected) < 22


@pytest.mark.requirements("PCI-102", "PCI-103")
@pytest.mark.parametrize("msix, vector, interrupts", [(1, 0x800, 0), (1, 0xfff, 0), (0, 0x800, 1), (0, 3, 1)])
def test_vector(msix, vector, interrupts):
    """Without a vector the driver is not even asked; without MSI-X the vector means nothing."""
    bench = ControlBench(msix=msix, vector=vector)
    bench.waiting.append(bench.prepare(pairs_set(2)))
    bench.run()
    assert bench.interrupts == interrupts
    assert bench.reads.count((DRIVER_AREA, 4)) == interrupts


def test_device_writable_memory_is_not_read():
    bench = ControlBench()
    for room in (1, 9, 30):
        bench.waiting.append(bench.prepare(ask_queue(1), room))
    buffers = list(bench.waiting)
    bench.run()
    writable = {address for buffer in buffers for address in buffer.writable}
    assert not writable & {address + n for address, length in bench.reads for n in range(length)}


def test_no_more_is_read_than_is_wanted():
    """Of a command that nobody handles, or that is too long already, 16 bytes are enough."""
    bench = ControlBench()
    for command in (bytes([200, 1]) + bytes(1000), pairs_set(2) + bytes(1000)):
        bench.waiting.append(bench.prepare(command, 1, readable=[len(command)], writable=[1], indirect=False))
    buffers = list(bench.waiting)
    bench.run()
    assert [content for _, content in bench.replies] == [ERR, ERR]
    for buffer in buffers:
        address, length, _ = buffer.elements[0]
        assert sum(n for at, n in bench.reads if address <= at < address + length) <= 32


@pytest.mark.requirements("NET-153")
def test_pairs_are_acknowledged_when_settled():
    bench = ControlBench()
    bench.waiting.append(bench.prepare(pairs_set(3)))
    bench.waiting.append(bench.prepare(pairs_set(99)))

    async def body(ctx):
        bench.settled = 0
        for _ in range(400):
            await bench.cycle(ctx)
        assert ctx.get(bench.dut.active_pairs) == 3 and not bench.replies and not bench.posted
        bench.settled = 1
    bench.run(body)
    assert replies(bench) == [OK, ERR]


@pytest.mark.requirements("NET-178", "NET-179", "NET-187")
def test_queue_that_is_enabled_again():
    """It gets what was last set for its direction; a mere change of its vector changes nothing."""
    bench = ControlBench(enabled=(0, 1))
    one = [coalesce_all(0, 3, 4), coalesce_all(1, 5, 6), coalesce_queue(0, 7, 8), coalesce_queue(1, 9, 10)]

    async def body(ctx):
        for command in one:
            bench.waiting.append(bench.prepare(command))
        await bench.finish(ctx)
        await bench.enable(ctx, 0)
        await bench.enable(ctx, 1, enabled=0)
        await bench.enable(ctx, 1)
        await bench.enable(ctx, 3)
        bench.oracle.enabled.add(3)
        bench.oracle.settings[1] = bench.oracle.settings[3] = (5, 6)
        for queue in (0, 1, 2, 3):
            bench.waiting.append(bench.prepare(ask_queue(queue), 9))
        await bench.finish(ctx)
        await bench.enable(ctx, 3, enabled=0)
        bench.oracle.enabled.remove(3)
        bench.waiting.append(bench.prepare(ask_queue(3), 9))
    bench.run(body)
    assert replies(bench)[4:] == [struct.pack("<II", 7, 8) + OK, struct.pack("<II", 5, 6) + OK, bytes(8) + ERR,
                                  struct.pack("<II", 5, 6) + OK, bytes(8) + ERR]


@pytest.mark.parametrize("wait", [0, 2, 4])
def test_queue_enabled_while_all_are_set(wait):
    """Neither is lost: the walk over all queues steps aside."""
    bench = ControlBench(pairs=8, stall=0)
    bench.waiting.append(bench.prepare(coalesce_all(1, 3, 4)))

    async def body(ctx):
        while not any(bench.settings.get(1, (0,))):
            await bench.cycle(ctx)
        for _ in range(wait):
            await bench.cycle(ctx)
        assert bench.settings.get(15, (0, 0)) == (0, 0), "the walk is under way"
        await bench.enable(ctx, 7)
        await bench.enable(ctx, 4)
    bench.run(body)
    assert bench.settings[7] == (3, 4)
