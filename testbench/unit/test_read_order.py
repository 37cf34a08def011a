"""Who waits for whom in the read engine, and who does not."""

import pytest

from hdl.config import NicConfig
from hdl.dma.read import ReadEngine
from testbench.unit.read_bench import ReadBench

TINY = NicConfig.preset("tiny").with_(pairs=2)
WIDE = NicConfig(tags=64, pairs=4)


def test_a_withheld_completion_holds_up_only_its_queue():
    config = WIDE
    bench = ReadBench(ReadEngine(config), seed=6)
    first = bench.ask("data_tx", 0, [72])
    behind = bench.ask("data_tx", 0, [72])
    bench.held = {first.number}
    for n in range(100):
        bench.ask("data_tx", 1 + n % 3, [72])
        bench.ask("fetch_tx", 0, [64], offsets=[0])

    def free(bench):
        if len(bench.delivered) == 200:
            assert not first.delivered_at and not behind.delivered_at
            bench.held = set()
    bench.script.append(free)
    bench.run()
    assert bench.delivered[200:202] == [first, behind]


def test_a_client_without_room_stalls_no_other():
    bench = ReadBench(ReadEngine(TINY), seed=7)
    bench.rooms["data_tx"] = 0
    for n in range(30):
        bench.ask("data_tx", n % 2, [72])
    for n in range(30):
        bench.ask("fetch_tx", n % 2, [64], offsets=[0])
        bench.ask("event_rx", n % 2, [4], offsets=[8])

    def room(bench):
        if len(bench.delivered) == 60:
            assert not any(t.client == "data_tx" for t in bench.delivered)
            bench.rooms["data_tx"] = 1
    bench.script.append(room)
    bench.run()


def test_no_more_is_delivered_than_room_stands_for():
    """An event client that takes away `room` one cycle after a beat is never offered a second one."""
    engine = ReadEngine(TINY)
    bench = ReadBench(engine, seed=2, latency=lambda rng, request: 200 - len(bench.requests))
    for n in range(8):
        bench.ask("event_rx", n % 2, [4], offsets=[0])
    offered = []

    async def watch(ctx):
        ctx.set(engine.room_event_rx, 1)
        while True:
            valid, = (await ctx.tick().sample(engine.o_event_rx.valid))[2:]
            if valid:
                offered.append(bench.cycle)
                await ctx.tick()
                bench.rooms["event_rx"] = 0
                await ctx.tick().repeat(30)
                bench.rooms["event_rx"] = 1
    bench.bench.process(watch, wait=False)
    bench.run(check=False)
    times = [t.delivered_at for t in bench.delivered]
    assert all(b - a > 30 for a, b in zip(times, times[1:]))


def test_behind_tells_of_the_same_domain_only():
    bench = ReadBench(ReadEngine(TINY), seed=9, latency=lambda rng, request: 60)
    three = [bench.ask("data_tx", 0, [64]) for _ in range(3)]
    other = bench.ask("data_tx", 1, [64])
    bench.run(check=False)
    assert [t.behind for t in three] == [1, 1, 0]
    assert other.behind == 0


@pytest.mark.parametrize("seed", range(3))
def test_parts_follow_each_other_and_every_older_read(seed):
    """A packet in three parts: it begins after all older packets of the client, and nothing comes between."""
    bench = ReadBench(ReadEngine(WIDE), seed=seed, latency=lambda rng, request: rng.randrange(10, 300))
    older = [bench.ask("data_tx", n % 4, [72]) for n in range(12)]
    bench.held = {older[5].number}
    parts = [bench.ask("data_tx", 2, [700], more=more) for more in (1, 1, 0)]
    younger = [bench.ask("data_tx", n % 4, [72]) for n in range(12)]
    parts += [bench.ask("data_tx", 2, [700], more=more) for more in (1, 0)]
    younger += [bench.ask("data_tx", n % 4, [72]) for n in range(12)]

    def free(bench):
        if bench.cycle > 700:
            bench.held = set()
    bench.script.append(free)
    bench.run()
    order = [t.number for t in bench.delivered][:41]
    for group in (parts[:3], parts[3:]):
        at = order.index(group[0].number)
        assert order[at:at + len(group)] == [t.number for t in group]
        assert {n for n in order[:at]} >= {n for n in range(1, group[0].number)}


def test_long_packets_are_asked_for_ahead():
    """While the first of six waits, three groups more are asked for; what comes of them waits for it."""
    bench = ReadBench(ReadEngine(WIDE), seed=3, latency=lambda rng, request: 20)
    packets = [[bench.ask("data_tx", n % 4, [64], offsets=[0], more=more) for more in (1, 0)] for n in range(6)]
    bench.held = {packets[0][0].number}

    def free(bench):
        if bench.cycle == 300:
            assert set(bench.request_at) == {t.number for packet in packets[:4] for t in packet}
            assert not bench.delivered
            bench.held = set()
    bench.script.append(free)
    bench.run()
    assert bench.delivered[:12] == [transaction for packet in packets for transaction in packet]
