"""The stream kit: order, throughput and no combinational path from ready to valid."""

import pytest
from amaranth.hdl import unsigned

from hdl.stream import Arbiter, PacketBeat, Queue, RegisterSlice, Skid, connect_stream
from testbench.unit.bench import StreamBench


@pytest.mark.parametrize("make", [lambda: RegisterSlice(unsigned(8)), lambda: Queue(unsigned(8), 4),
                                  lambda: Queue(unsigned(8), 16, block=True),
                                  lambda: Queue(unsigned(8), 4, through=True), lambda: Skid(unsigned(8))],
                         ids=["slice", "queue", "block queue", "through", "skid"])
@pytest.mark.parametrize("stall_in, stall_out", [(0, 0), (0.5, 0), (0, 0.5), (0.4, 0.6)])
def test_order(make, stall_in, stall_out):
    dut = make()
    bench = StreamBench(dut, seed=7)
    sent = [(n * 37) % 251 for n in range(100)]
    bench.put(dut.i, sent, stall=stall_in)
    got = bench.get(dut.o, count=len(sent), stall=stall_out)
    bench.run()
    assert got == sent


@pytest.mark.parametrize("make", [lambda: RegisterSlice(unsigned(8)), lambda: Queue(unsigned(8), 4),
                                  lambda: Queue(unsigned(8), 16, block=True),
                                  lambda: Queue(unsigned(8), 4, through=True), lambda: Skid(unsigned(8))],
                         ids=["slice", "queue", "block queue", "through", "skid"])
def test_full_throughput(make):
    dut = make()
    bench = StreamBench(dut, limit=110)
    bench.put(dut.i, range(100))
    got = bench.get(dut.o, count=100)
    bench.run()
    assert got == list(range(100))


@pytest.mark.parametrize("make, latency", [
    (lambda: RegisterSlice(unsigned(8)), 1), (lambda: Queue(unsigned(8), 4), 1),
    (lambda: Queue(unsigned(8), 4, through=True), 0), (lambda: Skid(unsigned(8)), 0)])
def test_latency(make, latency):
    dut = make()
    bench = StreamBench(dut)
    bench.put(dut.i, [5])
    bench.get(dut.o, count=1)
    times = {}

    async def watch(ctx):
        for cycle in range(8):
            _, _, given, got = await ctx.tick().sample(dut.i.valid, dut.o.valid)
            for name, value in (("i", given), ("o", got)):
                if value:
                    times.setdefault(name, cycle)
    bench.process(watch)
    bench.run()
    assert times["o"] - times["i"] == latency


def test_no_queue_in_block_memory_is_through():
    with pytest.raises(ValueError, match="block memory"):
        Queue(unsigned(8), 4, block=True, through=True)


@pytest.mark.parametrize("seed", range(4))
def test_arbiter_keeps_packets_whole(seed):
    shape = PacketBeat(32)
    dut = Arbiter(shape, 3)
    bench = StreamBench(dut, seed=seed)
    for source in range(3):
        beats = []
        for packet in range(10):
            length = 1 + (packet * 7 + source) % 4
            for beat in range(length):
                beats.append({"data": source << 16 | packet << 8 | beat, "bytes": 4, "first": beat == 0,
                              "last": beat == length - 1})
        bench.put(getattr(dut, f"i{source}"), beats, stall=0.3)
    total = sum(1 + (packet * 7 + source) % 4 for packet in range(10) for source in range(3))
    got = bench.get(dut.o, count=total, stall=0.3)
    bench.run()
    expected_next = {}
    inside = None
    for beat in got:
        source, packet, number = beat.data >> 16, beat.data >> 8 & 0xff, beat.data & 0xff
        assert inside in (None, source)
        assert (packet, number) == expected_next.get(source, (0, 0))
        inside = None if beat.last else source
        expected_next[source] = (packet + 1, 0) if beat.last else (packet, number + 1)


def test_arbiter_is_fair_and_full():
    dut = Arbiter(unsigned(8), 3)
    bench = StreamBench(dut, limit=70)
    for source in range(3):
        bench.put(getattr(dut, f"i{source}"), [source] * 20)
    got = bench.get(dut.o, count=60)
    bench.run()
    assert all(set(got[n:n + 3]) == {0, 1, 2} for n in range(0, 57, 3))


def test_connect_refuses_different_shapes():
    from amaranth.hdl import Module
    a, b = Queue(PacketBeat(32), 4), Queue(PacketBeat(32, {"queue": 0}), 4)
    c = Queue(unsigned(40), 4)
    m = Module()
    m.submodules += [a, b, c]
    with pytest.raises(TypeError, match="different payload"):
        connect_stream(m, a.o, c.i)
