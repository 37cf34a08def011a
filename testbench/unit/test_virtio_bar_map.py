"""BAR 0: routing, holes and order."""

import pytest

from hdl.virtio.bar_map import BarMap, Region
from testbench.unit.bench import StreamBench

REGIONS = [Region("a", 0, 64), Region("b", 0x100, 4), Region("c", 0x1_0000, 0x6000), Region("d", 0x2_0000, 0x1_0010)]


def access(accesses, *, seed=1, stall=0.0, delay=0):
    """Run `accesses`, (write, address, data), against targets that answer a read with their name and its address.
    Returns (answers, what the targets saw in order)."""
    dut = BarMap(REGIONS)
    bench = StreamBench(dut, seed=seed, limit=5000)
    seen = []

    def target(name, port):
        async def serve(ctx):
            rng = bench._random
            while True:
                ctx.set(port.request.ready, rng.random() >= stall)
                _, _, valid, ready, request = await ctx.tick().sample(
                    port.request.valid, port.request.ready, port.request.payload)
                if not (valid and ready):
                    continue
                ctx.set(port.request.ready, 0)
                seen.append((name, request.write, request.address, request.data, request.strobe))
                if not request.write:
                    await ctx.tick().repeat(1 + delay)
                    ctx.set(port.response.payload, ord(name) << 24 | request.address)
                    ctx.set(port.response.valid, 1)
                    await ctx.tick().until(port.response.ready)
                    ctx.set(port.response.valid, 0)
        bench.process(serve, wait=False)
    for region in REGIONS:
        target(region.name, getattr(dut, region.name))
    bench.put(dut.bus.request, [{"function": 0, "write": write, "address": address, "data": data, "strobe": 0b1010}
                                for write, address, data in accesses], stall=stall)
    answers = bench.get(dut.bus.response, count=sum(not write for write, *_ in accesses), stall=stall)
    bench.run()
    return answers, seen


CASES = [
    (0x0, "a", 0), (0x3c, "a", 0x3c), (0x100, "b", 0), (0x1_0000, "c", 0), (0x1_5ffc, "c", 0x5ffc),
    (0x2_0000, "d", 0), (0x3_000c, "d", 0x1_000c),
]
HOLES = [0x40, 0xfc, 0x104, 0xfffc, 0x1_6000, 0x1_fffc, 0x3_0010, 0x4_0000, 0x8000_0000]


@pytest.mark.parametrize("address, name, local", CASES)
def test_route(address, name, local):
    answers, seen = access([(0, address, 0), (1, address, 0x1234_5678)])
    assert answers == [ord(name) << 24 | local]
    assert seen == [(name, 0, local, 0, 0b1010), (name, 1, local, 0x1234_5678, 0b1010)]


@pytest.mark.parametrize("address", HOLES)
def test_hole(address):
    answers, seen = access([(1, address, 1), (0, address, 0), (0, 0, 0)])
    assert answers == [0, ord("a") << 24]
    assert seen == [("a", 0, 0, 0, 0b1010)]


@pytest.mark.parametrize("seed, delay", [(1, 0), (2, 5), (3, 1)])
def test_order_over_targets(seed, delay):
    accesses, answers, seen = [], [], []
    for n in range(60):
        address, name, local = CASES[n * 5 % len(CASES)]
        write = n % 3 == 1
        accesses.append((write, address, n))
        seen.append((name, write, local, n, 0b1010))
        if not write:
            answers.append(ord(name) << 24 | local)
        if n % 4 == 0:
            accesses.append((0, HOLES[n % len(HOLES)], 0))
            answers.append(0)
    assert access(accesses, seed=seed, stall=0.4, delay=delay) == (answers, seen)


def test_a_write_a_cycle():
    dut = BarMap(REGIONS)
    bench = StreamBench(dut)
    cycles = []

    async def body(ctx):
        ctx.set(dut.c.request.ready, 1)
        ctx.set(dut.bus.request.valid, 1)
        ctx.set(dut.bus.request.payload, {"function": 0, "write": 1, "address": 0x1_1000, "data": 0, "strobe": 3})
        for cycle in range(10):
            assert ctx.get(dut.bus.request.ready)
            if ctx.get(dut.c.request.valid):
                cycles.append(cycle)
            await ctx.tick()
    bench.process(body)
    bench.run()
    assert cycles == list(range(1, 10))


@pytest.mark.parametrize("regions, message", [
    ([Region("a", 0, 64), Region("b", 60, 4)], "overlap"),
    ([Region("a", 2, 4)], "whole DWs"),
    ([Region("a", 0, 1)], "whole DWs"),
])
def test_bad_regions(regions, message):
    with pytest.raises(ValueError, match=message):
        BarMap(regions)
