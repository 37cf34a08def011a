"""Counters of each queue: nothing lost at any rate, wrapping, and the replies made of them."""

import random
import struct

import pytest
from amaranth.sim import Simulator

from hdl.net.statistics import GROUPS, QueueCounters, Statistics
from testbench.unit.control_bench import Buffer, ControlBench
from testbench.unit.control_oracle import ERR, OK, STATS, TYPES, pairs_set, stats_get, stats_query

PAIR_BITS = 2
MASK = (1 << 64) - 1
# Where the replies find what: type → (group, counter) in order; drops are of two groups.
PLACES = {
    0: [("rx_notified", "notifications"), ("rx_received", "packets"), ("rx_received", "bytes"),
        ("rx_interrupted", "interrupts"), ("rx_refused", "drops"), ("rx_refused", "overruns")],
    1: [("rx_checked", name) for name in ("valid", "needed", "none", "bad")],
    3: [None, None],
    16: [("tx_notified", "notifications"), ("tx_sent", "packets"), ("tx_sent", "bytes"),
         ("tx_interrupted", "interrupts"), ("tx_dropped", "drops"), ("tx_dropped", "malformed")],
    17: [("tx_checked", "none"), ("tx_checked", "needed")],
    18: [("tx_segmented", name) for name in ("packets", "bytes", "segments", "segments_bytes", "packets_noseg",
                                             "bytes_noseg")],
    19: [None, None],
}


def simulate(dut, body):
    simulator = Simulator(dut)
    simulator.add_clock(4e-9)
    simulator.add_testbench(body)
    simulator.run()


@pytest.mark.requirements("NET-198")
def test_wrap_around():
    """From just below 2**64 to just above 0, several at a time."""
    dut = QueueCounters(1, {"a": 1, "b": 17})

    async def body(ctx):
        await ctx.tick().until(~dut.clearing)
        for _ in range(2):
            ctx.set(dut.event, {"valid": 1, "queue": 1, "add": {"a": 1, "b": 0x1_ffff}})
            ctx.set(dut._memory.data[1], {"a": MASK, "b": MASK - 5})
            await ctx.tick()
            ctx.set(dut.event.valid, 0)
            ctx.set(dut.queue, 1)
            assert (ctx.get(dut.values.a), ctx.get(dut.values.b)) == (0, 0x1_ffff - 6)
    simulate(dut, body)


@pytest.mark.requirements("NET-199", "NET-200", "NET-203", "NET-204")
@pytest.mark.parametrize("seed", range(2))
def test_every_event_is_counted(seed):
    """An event of every group in nearly every cycle, for any queue; then every counter is read, and cleared."""
    print("seed", seed)
    rng = random.Random(seed)
    dut = Statistics(PAIR_BITS)
    expected = {}

    async def read(ctx, queue, type, n):
        ctx.set(dut.query, {"transmit": type // 16, "queue": queue, "kind": type % 16, "counter": n})
        await ctx.tick().repeat(2)
        return ctx.get(dut.value)

    async def body(ctx):
        await ctx.tick().until(~dut.clearing)
        for _ in range(2):
            expected.clear()
            for _ in range(300):
                for name, counters in GROUPS.items():
                    event = {"valid": int(rng.random() < 0.8), "queue": rng.randrange(1 << PAIR_BITS),
                             "add": {counter: rng.getrandbits(bits) for counter, bits in counters.items()}}
                    ctx.set(getattr(dut, name), event)
                    for counter, amount in event["add"].items() if event["valid"] else ():
                        key = event["queue"], name, counter
                        expected[key] = expected.get(key, 0) + amount
                await ctx.tick()
            for name in GROUPS:
                ctx.set(getattr(dut, name).valid, 0)
            await ctx.tick().repeat(2)
            for queue in range(1 << PAIR_BITS):
                for type, places in PLACES.items():
                    for n, place in enumerate(places):
                        value = expected.get((queue, *place), 0) if place else 0
                        if (type, n) == (0, 4):
                            value += expected.get((queue, "rx_lost", "drops"), 0)
                        if type == 16 and n >= 4:
                            value += expected.get((queue, "tx_refused", "malformed"), 0)
                        assert await read(ctx, queue, type, n) == value, (queue, type, n)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            assert ctx.get(dut.clearing)
            await ctx.tick().until(~dut.clearing)
            for type in PLACES:
                assert await read(ctx, 1, type, 0) == 0
    simulate(dut, body)


def run(commands, **options):
    bench = ControlBench(stall=0, latency=(1, 3), **options)
    for command, room in commands:
        bench.waiting.append(bench.prepare(command, room))
    bench.run(limit=200_000)
    assert bench.errors == 0
    return bench, [content for _, content in bench.replies]


def mask(*types):
    return sum(1 << bit for bit in types)


ALL_TYPES = [(0, mask(0, 1, 3)), (1, mask(16, 17, 18, 19)), (8, mask(32))]


@pytest.mark.requirements("NET-197", "NET-195", "NET-196", "NET-199")
def test_room_of_any_size():
    """As many bytes as fit, wherever that cuts."""
    whole = 1 + 56 + 40 + 24 + 56 + 24 + 56 + 24 + 24
    rooms = [1, 2, 8, 9, 10, 57, 58, 100, whole - 1, whole, whole + 1, 4000]
    _, replies = run([(stats_get(*ALL_TYPES), room) for room in rooms])
    assert [len(reply) for reply in replies] == [min(room, whole) for room in rooms]
    _, replies = run([(stats_query(), room) for room in range(1, 12)])
    assert [len(reply) for reply in replies] == [*range(1, 10), 9, 9]


@pytest.mark.requirements("NET-190", "NET-191", "NET-192", "NET-193", "NET-194", "NET-201", "NET-119")
def test_errors():
    """One wrong request among right ones, of every kind; the reply is one byte, and nothing is counted as good."""
    right = (0, mask(0))
    wrong = [(9, 0), (9, mask(0)), (0xffff, mask(32)), (0x100, mask(0)),
             *((0, 1 << bit) for bit in range(64) if bit not in (0, 1, 3)),
             *((1, mask(16) | 1 << bit) for bit in (0, 1, 2, 3, 4, 20, 32, 63)),
             *((8, mask(32) | 1 << bit) for bit in (0, 16, 33, 40))]
    commands = [stats_get(right, bad) for bad in wrong] + [stats_get(bad, right) for bad in wrong[::4]]
    good = stats_get(right, right)
    commands += [good[:n] for n in (3, 10, 17, 19, 33)]
    commands += [good + b"\0", bytes([STATS, 2]) + good[2:], stats_query() + b"\0"]
    _, replies = run([(command, 200) for command in commands])
    assert set(replies) == {ERR}
    for missing, requests in (("receive_checksum", [(0, mask(1))]), ("transmit_checksum", [(1, mask(17))]),
                              ("segmentation", [(1, mask(18))]), ("statistics", [])):
        features = set(ControlBench().features) - {missing}
        bench, replies = run([(stats_get(*requests), 200), (stats_query(), 9)], features=sorted(features))
        assert replies[0] == ERR
        if missing != "statistics":
            legal = sum(1 << bit for bit, (_, feature) in TYPES.items() if feature != missing)
            assert replies[1] == OK + struct.pack("<Q", legal)


@pytest.mark.requirements("NET-199", "NET-190")
def test_as_many_requests_as_there_are_virtqueues():
    """16 with 9 virtqueues, the same queue more than once; one more is refused, and so is none at all answered."""
    _, replies = run([(stats_get(*[(n % 9, 0) for n in range(count)]), 50) for count in (0, 16, 17, 40)])
    assert replies == [OK, OK, ERR, ERR]
    _, replies = run([(stats_get(*[(0, mask(3))] * 16), 1000)])
    assert len(replies[0]) == 1 + 16 * 24


@pytest.mark.requirements("NET-202")
def test_commands_are_counted():
    """All that are executed, the one that asks included; those that got OK; none that was malformed."""
    bench = ControlBench()
    numbers = []

    async def body(ctx):
        where, back = bench.allocate(4, pairs_set(2)), bench.allocate(8)
        bench.publishing = bench.publish_raw([(back, 1, True), (where, 4, False)], 0,
                                             Buffer(pairs_set(2), [(back, 1, True)], False, "malformed"))
        while bench.publishing or bench.outstanding:
            await bench.cycle(ctx)
        for command in (pairs_set(2), pairs_set(99), stats_get((8, mask(0))), bytes([77, 1])):
            bench.waiting.append(bench.prepare(command))
        for _ in range(2):
            bench.waiting.append(bench.prepare(stats_get((8, mask(32))), 25))
        await bench.finish(ctx)
        numbers.extend(struct.unpack("<QQ", content[9:]) for _, content in bench.replies[-2:])
    bench.run(body)
    assert numbers == [(5, 2), (6, 3)]
