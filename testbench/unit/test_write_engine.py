"""The write engine against a byte-level reference: what each packet leaves in memory, and in what form."""

import random

import pytest

from hdl.dma.write import WriteEngine
from testbench.unit.bench import StreamBench
from testbench.unit.requester_tlp import memory_writes


def packet_beats(packet, width):
    size = width // 8
    chunks = [packet[n:n + size] for n in range(0, len(packet), size)] or [b""]
    return [{"data": int.from_bytes(chunk, "little"), "bytes": len(chunk), "first": n == 0,
             "last": n == len(chunks) - 1} for n, chunk in enumerate(chunks)]


def commands_of(pieces):
    return [{"function": 0, "queue": 0, "address": address, "length": length, "last": n == len(pieces) - 1}
            for n, (address, length) in enumerate(pieces)]


def split(pieces, packet, max_bytes):
    """[{address: byte}] per request, and whether it ends the packet."""
    requests, place = [], 0
    for n, (address, length) in enumerate(pieces):
        while length:
            part = min(length, max_bytes - address % 4, 4096 - address % 4096)
            requests.append(({address + k: packet[place + k] for k in range(part)},
                             n == len(pieces) - 1 and part == length))
            address, length, place = address + part, length - part, place + part
    return requests


class Engine(StreamBench):
    """The engine with packets at its input and an acceptor that says `accepted` some cycles after each TLP."""

    def __init__(self, packets, *, width=512, code=1, stall=(0, 0, 0), accept_after=3, **options):
        dut = WriteEngine(width, pair_bits=3)
        super().__init__(dut, **options)
        self.width = width
        self.sent_after = []    # TLPs accepted when each packet_sent came
        self.accepted = 0
        self.expected = [request for pieces, packet in packets for request in split(pieces, packet, 128 << code)]
        self.put(dut.commands, [c for pieces, _ in packets for c in commands_of(pieces)], stall=stall[0])
        self.put(dut.data, [b for _, packet in packets for b in packet_beats(packet, width)], stall=stall[1])
        beats = sum(-(-(len(r) + min(r) % 4) * 8 // width) for r, _ in self.expected)
        self.beats = self.get(dut.o, count=beats, stall=stall[2])

        async def setup(ctx):
            ctx.set(dut.max_payload, code)
        self.process(setup)

        async def accept(ctx):
            due, cycle = [], 0
            while True:
                now = bool(due) and due[0] <= cycle
                if now:
                    due.pop(0)
                    self.accepted += 1
                ctx.set(dut.accepted, now)
                _, _, sent, valid, ready, last = await ctx.tick().sample(
                    dut.packet_sent, dut.o.valid, dut.o.ready, dut.o.payload.last)
                cycle += 1
                if sent:
                    self.sent_after.append(self.accepted)
                if valid and ready and last:
                    due.append(cycle + accept_after - 1)
        self.process(accept, wait=False)

    def check(self):
        writes = memory_writes(self.beats, self.width)
        assert [w.bytes_at for w in writes] == [r for r, _ in self.expected], f"seed {self.seed}"
        assert all(w.dwords * 32 <= 8 * (128 << 5) for w in writes)
        assert self.sent_after == [n + 1 for n, (_, last) in enumerate(self.expected) if last]
        return writes


def random_packets(rng, count, longest):
    packets = []
    for _ in range(count):
        pieces = []
        for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
            base = rng.choice([0x1000, 0xffff_f000, 0x12_3456_7000, 0xffff_ffff_ffff_0000])
            near_page = rng.random() < 0.3
            address = base + (4096 - rng.randrange(1, 200) if near_page else rng.randrange(4096))
            pieces.append((address, rng.choice([1, 2, 3, 4, 5, 12, 60, 64, 72, rng.randrange(1, longest)])))
        packets.append((pieces, rng.randbytes(sum(length for _, length in pieces))))
    return packets


@pytest.mark.parametrize("width", [128, 256, 512])
@pytest.mark.parametrize("stall", [(0, 0, 0), (0.5, 0, 0), (0, 0.5, 0.2), (0.2, 0.2, 0.6)],
                         ids=["flowing", "commands late", "bytes late", "rq slow"])
def test_random_packets(width, stall):
    rng = random.Random(width + int(10 * sum(stall)))
    bench = Engine(random_packets(rng, 40, 700), width=width, stall=stall, seed=rng.randrange(1000))
    bench.run()
    bench.check()


@pytest.mark.parametrize("code, width", [(0, 512), (1, 128), (2, 512), (3, 512), (4, 512), (5, 512), (5, 128)])
def test_every_max_payload(code, width):
    rng = random.Random(code)
    packets = [([(0x2003, 9000)], rng.randbytes(9000)), ([(0x4_0000_0046, 9000)], rng.randbytes(9000)),
               ([(0x5ffd, 4096), (0x7, 4904)], rng.randbytes(9000))]
    bench = Engine(packets, width=width, code=code)
    bench.run()
    longest = max(w.dwords * 4 for w in bench.check())
    assert longest == 128 << code


@pytest.mark.parametrize("offset", range(4))
@pytest.mark.parametrize("start", range(4))
def test_every_alignment(offset, start):
    """The piece's first byte at every offset of the packet's beat and every offset of the address's DW."""
    packets = [([(0x100 + start, 64 * n + start + 1), (0x1000 + offset, length)],
                bytes(range(256))[:64 * n + start + 1 + length])
               for n in range(2) for length in (1, 2, 3, 4, 5, 59, 60, 61, 62, 63, 64, 65)]
    bench = Engine(packets)
    bench.run()
    bench.check()


def test_aligned_packets_flow_without_gaps():
    count = 100
    packets = [([(0x10_0000 + 0x800 * n, 72)], bytes(range(n, n + 72))) for n in range(count)]
    bench = Engine(packets, limit=2 * count + 12, accept_after=6)
    bench.run(settle=10)
    bench.check()
    assert len(bench.beats) == 2 * count


def test_one_beat_writes_flow_without_gaps():
    count = 100
    packets = [([(0x10_0000 + 0x800 * n, 64)], bytes(range(n, n + 64))) for n in range(count)]
    bench = Engine(packets, limit=count + 12, accept_after=6)
    bench.run(settle=10)
    bench.check()


def test_latency():
    """A command whose bytes wait is a TLP 5 cycles later."""
    bench = Engine([([(0x1000, 64)], bytes(64))])
    times = {}

    async def watch(ctx):
        for cycle in range(20):
            _, _, command, out = await ctx.tick().sample(bench.dut.commands.valid, bench.dut.o.valid)
            if command:
                times.setdefault("command", cycle)
            if out:
                times.setdefault("out", cycle)
    bench.process(watch)
    bench.run()
    assert times["out"] - times["command"] == 5


@pytest.mark.parametrize("enable", [0, 1])
def test_relaxed_ordering(enable):
    bench = Engine([([(0x1000, 64)], bytes(64))])

    async def setup(ctx):
        ctx.set(bench.dut.relaxed_ordering_enable, enable)
    bench.process(setup)
    bench.run()
    assert [w.attributes for w in bench.check()] == [2 * enable]


def test_no_packet_is_sent_before_it_is_accepted():
    """Everything stands still once as many TLPs as can be recorded are on their way."""
    packets = [([(0x1000, 4)], bytes(4))] * 100
    bench = Engine(packets, accept_after=10_000, limit=300)
    with pytest.raises(AssertionError, match="waiting for"):
        bench.run()
    assert bench.sent_after == []
    assert 10 <= len(bench.beats) < 20


@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("seed", range(6))
def test_discard(width, seed):
    """No half TLP, every packet reported, and nothing stays inside: afterwards the engine works as after reset."""
    rng = random.Random(seed)
    before = random_packets(rng, 20, 600)
    after = random_packets(rng, 5, 300)
    begin = rng.randrange(15, 60)
    dut = WriteEngine(width, pair_bits=3)
    bench = StreamBench(dut, seed=seed, limit=3000)
    log = {"sent": 0, "idle": False}
    bench.put(dut.commands, [c for pieces, _ in before for c in commands_of(pieces)], stall=0.2)
    bench.put(dut.data, [b for _, packet in before for b in packet_beats(packet, width)], stall=0.2)
    beats = bench.get(dut.o, stall=0.2)
    again = {}

    async def accept(ctx):
        while True:
            _, _, sent, done = await ctx.tick().sample(dut.packet_sent,
                                                       dut.o.valid & dut.o.ready & dut.o.payload.last)
            log["sent"] += sent
            ctx.set(dut.accepted, done)
    bench.process(accept, wait=False)

    async def drive(ctx):
        await ctx.tick().repeat(begin)
        ctx.set(dut.discard, 1)
        await ctx.tick().repeat(900)
        assert ctx.get(dut.idle)
        assert log["sent"] == len(before)
        ctx.set(dut.discard, 0)
        again["from"] = len(beats)

    def later(port, payloads):
        async def put(ctx):
            await ctx.tick().repeat(begin + 901)
            for payload in payloads:
                ctx.set(port.payload, payload)
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)
            await ctx.tick().until(dut.idle)
        bench.process(put)
    later(dut.commands, [c for pieces, _ in after for c in commands_of(pieces)])
    later(dut.data, [b for _, packet in after for b in packet_beats(packet, width)])
    bench.process(drive)
    bench.run()
    first = [w.bytes_at for w in memory_writes(beats[:again["from"]], width)]
    expected = [r for pieces, packet in before for r, _ in split(pieces, packet, 128)]
    assert first == expected[:len(first)] and len(first) < len(expected)
    second = [w.bytes_at for w in memory_writes(beats[again["from"]:], width)]
    assert second == [r for pieces, packet in after for r, _ in split(pieces, packet, 128)]
    assert log["sent"] == len(before) + len(after)


def test_discard_of_an_unfinished_packet():
    """Pieces whose packet never ends leave no position behind."""
    dut = WriteEngine(512, pair_bits=3)
    bench = StreamBench(dut, limit=300)
    packet = bytes(range(100))
    beats = bench.get(dut.o)

    async def drive(ctx):
        async def put(port, payload):
            ctx.set(port.payload, payload)
            ctx.set(port.valid, 1)
            await ctx.tick().until(port.ready)
            ctx.set(port.valid, 0)
        ctx.set(dut.accepted, 1)
        await put(dut.commands, {**commands_of([(0x1000, 10)])[0], "last": 0})
        await put(dut.data, packet_beats(packet, 512)[0])
        await ctx.tick().repeat(10)
        assert not ctx.get(dut.idle)
        ctx.set(dut.discard, 1)
        await ctx.tick().repeat(10)
        assert ctx.get(dut.idle)
        ctx.set(dut.discard, 0)
        await put(dut.commands, commands_of([(0x2000, 100)])[0])
        for beat in packet_beats(packet, 512):
            await put(dut.data, beat)
        await ctx.tick().until(dut.idle)
    bench.process(drive)
    bench.run()
    assert [w.bytes_at for w in memory_writes(beats, 512)] == [
        {0x1000 + n: packet[n] for n in range(10)}, {0x2000 + n: packet[n] for n in range(100)}]


def test_four_gib():
    """3-DW headers below 4 GiB, 4-DW headers from there on."""
    bench = Engine([([(0xffff_ff00, 256)], bytes(256)), ([(0x1_0000_0000, 64)], bytes(64))])
    bench.run()
    assert [w.address for w in bench.check()] == [0xffff_ff00, 0x1_0000_0000]
