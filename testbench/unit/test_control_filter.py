"""Commands for the receive filter, announcements and offloads: good ones of any size, bad ones of any kind, reset."""

import random

import pytest

from testbench.unit.control_bench import Buffer, ControlBench
from testbench.unit.control_oracle import (
    ANNOUNCE,
    ERR,
    GUEST_OFFLOADS,
    LISTED,
    MAC,
    NEGOTIATED,
    OK,
    mac_set,
    receive_mode,
    table_set,
    vlan_set,
)
from testbench.unit.test_control_faults import restart

OTHERS = ("multiqueue", "coalescing", "queue_coalescing")


def addresses(rng, count):
    return [rng.randbytes(6) for _ in range(count)]


def offloads(wanted):
    return bytes([GUEST_OFFLOADS, 0]) + wanted.to_bytes(8, "little")


def run(commands, **options):
    """Acks of (command, room) pairs; bench and oracle compare what the filter is told."""
    bench = ControlBench(**options)
    for command, room in commands:
        bench.waiting.append(bench.prepare(command, room))
    bench.run(limit=200_000)
    assert bench.errors == 0
    return bench, [content for _, content in bench.replies]


@pytest.mark.requirements("NET-138", "NET-141", "NET-142")
@pytest.mark.parametrize("seed", range(3))
def test_tables_of_any_size(seed):
    """Up to `LISTED` addresses of a kind are told apart, of more none is; none of the other kind is lost."""
    print("seed", seed)
    rng = random.Random(seed)
    counts = [(0, 0), (LISTED, LISTED), (LISTED + 1, 2), (3, LISTED + 1), (1, 0), (300, 90), (0, 5)]
    rng.shuffle(counts)
    _, acks = run([(table_set(*(addresses(rng, count) for count in pair)), 1) for pair in counts[:3 + seed]],
                  seed=seed, stall=[0, 0.2, 0][seed])
    assert set(acks) == {OK}


def bad_tables(rng):
    """Tables whose counts and bytes don't agree."""
    good = table_set(addresses(rng, 3), addresses(rng, 2))
    yield from (good[:n] for n in range(2, len(good)))
    yield from (good + bytes(n) for n in (1, 6, 40))
    for at in (2, 24):
        for count in (0, 1, 2, 4, 0x100, 0x1000000, 0xffffffff):
            if count != good[at]:
                yield good[:at] + count.to_bytes(4, "little") + good[at + 4:]


@pytest.mark.requirements("NET-119", "NET-138", "NET-141")
@pytest.mark.parametrize("part", range(3))
def test_bad_tables(part):
    """Refused, and the table that was set before stays."""
    rng = random.Random(part)
    commands = [(table_set(addresses(rng, 2), addresses(rng, 1)), 1)]
    commands += [(command, 1) for command in list(bad_tables(rng))[part::3]]
    _, acks = run(commands, stall=0, latency=(1, 3))
    assert acks == [OK] + [ERR] * (len(acks) - 1)


@pytest.mark.requirements("NET-119", "NET-143", "NET-148")
def test_bad_lengths_and_values():
    """Of each command: too short, too long, a value or a number that there is none of."""
    rng = random.Random(1)
    bad = [receive_mode(0, 2), receive_mode(5, 0xff), receive_mode(6, 1), receive_mode(255, 1), receive_mode(8, 1),
           vlan_set(1, 4096), vlan_set(0, 0xffff), vlan_set(1, 5)[:3], vlan_set(1, 5) + b"\0", bytes([2, 2, 5, 0]),
           mac_set(rng.randbytes(5)), mac_set(rng.randbytes(7)), mac_set(b""), mac_set(bytes(300)),
           bytes([ANNOUNCE, 1]), bytes([ANNOUNCE, 0, 0]), bytes([ANNOUNCE, 0]) + bytes(40),
           bytes([MAC, 2]) + rng.randbytes(6), bytes([MAC, 129]) + bytes(8)]
    bad += [receive_mode(0, 1)[:2] + data for data in (b"", b"\1\1", bytes(50))]
    bad += [offloads(NEGOTIATED | 1 << bit) for bit in (0, 8, 47, 63)]
    bad += [offloads(2)[:9], offloads(2) + b"\0", offloads(0)[:2], bytes([GUEST_OFFLOADS, 1]) + bytes(8)]
    good = [offloads(1 << 46 | 1 << 1), receive_mode(3, 1), vlan_set(1, 4095), vlan_set(1, 0), mac_set(b"\2\0\0\0\0\7")]
    bench, acks = run([(command, 1) for command in good + bad], stall=0, latency=(1, 3))
    assert acks == [OK] * len(good) + [ERR] * len(bad)
    assert bench.modes == 1 << 3 and bench.vlans == {0, 4095} and bench.offloads == 1 << 46 | 1 << 1


@pytest.mark.requirements("NET-119", "NET-120", "NET-125", "NET-143", "NET-148", "NET-149", "NET-172")
@pytest.mark.parametrize("feature", [None, "receive_modes", "receive_extra", "vlan", "mac_address", "announce",
                                     "guest_offloads"])
def test_each_needs_its_feature(feature):
    """With one feature alone, or none, nothing but its own commands is done."""
    rng = random.Random(2)
    commands = {"receive_modes": [receive_mode(0, 1), receive_mode(1, 1), table_set(addresses(rng, 2), [])],
                "receive_extra": [receive_mode(number, 1) for number in range(2, 6)],
                "vlan": [vlan_set(1, 9), vlan_set(0, 3)], "mac_address": [mac_set(rng.randbytes(6))],
                "announce": [bytes([ANNOUNCE, 0])], "guest_offloads": [offloads(NEGOTIATED), offloads(2), offloads(0)]}
    both = [(name, command) for name, group in commands.items() for command in group]
    _, acks = run([(command, 1) for _, command in both], features=OTHERS + ((feature,) if feature else ()))
    assert acks == [OK if name == feature else ERR for name, _ in both]


@pytest.mark.requirements("NET-119")
def test_commands_that_are_not_carried_out():
    """A chain that is malformed behind all of a good command, or has no room for the ack: nobody is told."""
    rng = random.Random(3)
    bench = ControlBench()
    good = [table_set(addresses(rng, 5), addresses(rng, 5)), receive_mode(0, 1), vlan_set(1, 7), mac_set(bytes(6))]

    async def body(ctx):
        for command in good:
            where, back = bench.allocate(len(command), command), bench.allocate(8)
            for segments in ([(where, len(command), False), (back, 1, True), (where, 1, False)],
                             [(where, len(command), False), (back, 0, True)]):
                bench.publishing = bench.publish_raw(segments, 0, Buffer(command, segments[1:2], False, "malformed"))
                while bench.publishing or bench.outstanding:
                    await bench.cycle(ctx)
        assert (bench.modes, bench.table, bench.mac, bench.vlans) == (0, None, None, set())
        bench.waiting.append(bench.prepare(table_set(addresses(rng, 1), addresses(rng, 2))))
    bench.run(body)
    assert [content for _, content in bench.replies] == [b""] * 8 + [OK]


@pytest.mark.requirements("NET-137", "NET-173", "BAS-009")
def test_reset():
    """At any moment of a long table: quiet soon, and the modes are off again."""
    rng = random.Random(4)
    bench = ControlBench(stall=0)

    async def lives(ctx):
        for _ in range(6):
            for command in (receive_mode(0, 1), offloads(2), table_set(addresses(rng, 40), [])):
                bench.waiting.append(bench.prepare(command))
            for _ in range(rng.randrange(700)):
                await bench.cycle(ctx)
            await restart(bench, ctx)
            assert ctx.get(bench.dut.filter.modes.as_value()) == 0
            assert ctx.get(bench.dut.guest_offloads) == NEGOTIATED, "all of them, at first and after a reset"
            bench.waiting.append(bench.prepare(table_set(addresses(rng, 3), addresses(rng, 4))))
            await bench.finish(ctx)
    bench.run(lives)
