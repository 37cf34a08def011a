"""Automatic receive steering: hash, flow table, and the way of a frame from the wire to its queue."""

import random
from collections import Counter
from ipaddress import IPv6Address

import pytest
from amaranth.sim import Simulator
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from hdl.config import NicConfig
from hdl.net.flow import FlowHash, FlowTable
from hdl.net.receive import Receive
from hdl.net.steer import Steer
from hdl.net.transmit import Transmit
from testbench.unit.axis import axis_beats, send_beats
from testbench.unit.bench import StreamBench
from testbench.unit.few import few
from testbench.unit.flows import FlowModel, flow_hash, spread
from testbench.unit.headers import FIELDS, endpoints_of, headers_of, random_frame
from testbench.unit.test_net_transmit import beats_of

ENTRIES = 64
CLEARED = 140      # cycles until all tables are empty
HASHED = ("endpoints", "source_port", "destination_port", "protocol", "fragment")
CONFIG = NicConfig(pairs=5, rx_buffer=8192, tx_buffer=8192, max_mtu=2000, flow_entries=ENTRIES, tags=32)


def answer(frame):
    """The frame that the other side would send: addresses and ports exchanged."""
    packet = Ether(frame)
    for layer in (Ether, IP, IPv6):
        if layer in packet:
            packet[layer].src, packet[layer].dst = packet[layer].dst, packet[layer].src
    for layer in (TCP, UDP):
        if layer in packet:
            packet[layer].sport, packet[layer].dport = packet[layer].dport, packet[layer].sport
    return bytes(packet)


def random_flow(rng):
    """A frame of a random flow that scapy can take apart again."""
    mac = ["02:" + ":".join(f"{byte:02x}" for byte in rng.randbytes(5)) for _ in range(2)]
    packet = Ether(dst=mac[0], src=mac[1])
    if rng.random() < 0.3:
        packet /= Dot1Q(vlan=rng.randrange(4096))
    if rng.random() < 0.1:
        return bytes(packet / ARP())
    if rng.random() < 0.5:
        packet /= IP(src=".".join(map(str, rng.randbytes(4))), dst=".".join(map(str, rng.randbytes(4))))
    else:
        packet /= IPv6(src=str(IPv6Address(rng.randbytes(16))), dst=str(IPv6Address(rng.randbytes(16))))
    ports = {"sport": rng.randrange(65536), "dport": rng.randrange(65536)}
    return bytes(packet / rng.choice([TCP(**ports), UDP(**ports), ICMP()]) / rng.randbytes(rng.randrange(300)))


def test_hash():
    """As the model says, and the same for frame and answer."""
    rng = random.Random(1)
    frames = [random_frame(rng) for _ in range(150)] + [random_flow(rng) for _ in range(50)]
    frames += [answer(frame) for frame in frames[-50:]]
    dut = FlowHash()
    hashes = []

    async def look(ctx):
        for frame in frames:
            headers = headers_of(frame)
            ctx.set(dut.headers, {name: headers[name] for name in HASHED})
            hashes.append(ctx.get(dut.hash))
    simulator = Simulator(dut)
    simulator.add_testbench(look)
    simulator.run()
    assert hashes == [flow_hash(headers_of(frame)) for frame in frames]
    assert hashes[-50:] == hashes[-100:-50]


def _jain(counts):
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


@pytest.mark.parametrize("kind", ["random", "one client, many ports", "a subnet to one server", "IPv6 hosts"])
def test_flows_are_spread_evenly(kind):
    """20,000 flows over 8 pairs, and over 7."""
    rng = random.Random(2)
    headers = {**dict.fromkeys(FIELDS, 0), "ipv4": 1, "protocol": 6, "destination_port": 443,
               "source": 0x0100000a, "destination": 0x0200000a}
    values = []
    for n in range(20_000):
        if kind == "random":
            headers |= {"source": rng.getrandbits(32), "destination": rng.getrandbits(32),
                        "source_port": rng.getrandbits(16), "destination_port": rng.getrandbits(16)}
        elif kind == "one client, many ports":
            headers["source_port"] = 20_000 + n
        elif kind == "a subnet to one server":
            headers |= {"source": 0x0000000a | n >> 8 << 16 | (n & 0xff) << 24,
                        "source_port": rng.randrange(1024, 65536)}
        else:
            headers |= {"ipv4": 0, "ipv6": 1, "source": 0x80fe | n << 112, "destination": rng.getrandbits(16) << 112,
                        "source_port": rng.randrange(32768, 61000)}
        values.append(flow_hash(headers | {"endpoints": endpoints_of(headers)}))
    for pairs in (8, 7):
        counts = Counter(spread(value, pairs) for value in values)
        assert len(counts) == pairs and _jain(counts.values()) >= 0.99, counts


class SteerBench(StreamBench):
    """Frames to steer and flows to learn, one of either a cycle."""

    def __init__(self, pairs=5, **options):
        self.pairs = pairs
        dut = Steer(pairs, 3, ENTRIES)
        super().__init__(dut, **options)
        self.model = FlowModel(ENTRIES)
        self.expected, self.chosen = [], []

        async def watch(ctx):
            while True:
                _, _, chosen, queue = await ctx.tick().sample(dut.chosen, dut.queue)
                if chosen:
                    self.chosen.append(queue)
        self.process(watch, wait=False)

    async def activate(self, ctx, active):
        await ctx.tick()      # a frame given in the cycle before is judged by the old number
        self.active = active
        ctx.set(self.dut.active_pairs, active)
        await ctx.tick()

    async def send(self, ctx, frame, queue):
        self.model.sent(frame, queue)
        ctx.set(self.dut.sent, {"valid": 1, "hash": flow_hash(headers_of(frame)), "queue": queue})
        await ctx.tick()
        ctx.set(self.dut.sent.valid, 0)

    async def receive(self, ctx, frame):
        self.expected.append(self.model.queue(frame, self.active))
        headers = headers_of(frame)
        ctx.set(self.dut.headers, {name: headers[name] for name in HASHED})
        ctx.set(self.dut.valid, 1)
        await ctx.tick()
        ctx.set(self.dut.valid, 0)


@pytest.mark.requirements("NET-153", "NET-156", "NET-157")
def test_flows_come_back_to_their_pair():
    """Learnt, unlearnt and colliding flows, with a number of active pairs that changes."""
    rng = random.Random(4)
    bench = SteerBench()

    async def run(ctx):
        await bench.activate(ctx, 5)
        await ctx.tick().until(~bench.dut.clearing)
        flows = [random_flow(rng) for _ in range(60)]
        for active in (5, 3, 5, 1, 2, 4):
            await bench.activate(ctx, active)
            for _ in range(100):
                flow = rng.choice(flows)
                if rng.random() < 0.4:
                    await bench.send(ctx, flow, rng.randrange(5))
                else:
                    await bench.receive(ctx, answer(flow))
        await ctx.tick().repeat(2)
    bench.process(run)
    bench.run(settle=1)
    assert bench.chosen == bench.expected
    assert all(queue < 5 for queue in bench.chosen) and len(set(bench.chosen)) == 5


@pytest.mark.requirements("NET-152", "NET-153")
def test_inactive_pairs_get_nothing():
    """Flows sent from pair 4 while five are active: with two active they go to one of these, with one to the first."""
    rng = random.Random(5)
    flows = [random_flow(rng) for _ in range(40)]
    bench = SteerBench()

    async def run(ctx):
        await bench.activate(ctx, 5)
        await ctx.tick().until(~bench.dut.clearing)
        for flow in flows:
            await bench.send(ctx, flow, 4)
        for active in (5, 2, 1):
            await bench.activate(ctx, active)
            for flow in flows:
                await bench.receive(ctx, flow)
            await ctx.tick().repeat(2)
    bench.process(run)
    bench.run(settle=1)
    five, two, one = bench.chosen[:40], bench.chosen[40:80], bench.chosen[80:]
    assert set(five) == {4} and set(two) == {0, 1} and set(one) == {0}
    assert bench.chosen == bench.expected


def test_clear_forgets_the_flows():
    flow = random_flow(random.Random(6))
    away = next(queue for queue in range(5) if queue != spread(flow_hash(headers_of(flow)), 5))
    bench = SteerBench()

    async def run(ctx):
        dut = bench.dut
        await bench.activate(ctx, 5)
        assert ctx.get(dut.clearing)
        await ctx.tick().until(~dut.clearing)
        await bench.send(ctx, flow, away)
        await bench.receive(ctx, flow)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert ctx.get(dut.clearing)
        bench.model.table.clear()
        await bench.receive(ctx, flow)
        await ctx.tick().until(~dut.clearing)
        await bench.receive(ctx, flow)
        await ctx.tick().repeat(2)
    bench.process(run)
    bench.run(settle=1)
    assert bench.chosen == bench.expected
    assert bench.chosen[0] == away and bench.chosen[1] == bench.chosen[2] != away


class ReceiveBench(StreamBench):
    """Frames from the wire with gaps, some of them bad; `infos` collects what is offered."""

    def __init__(self, frames, config=CONFIG, *, stall=(0.0, 0.0), bad=lambda n: False, count=None, learnt=(), own=None,
                 **options):
        dut = Receive(config)
        super().__init__(dut, **options)
        rng = random.Random(self.seed)
        self.sent, self.missed = [], []

        async def watch(ctx):
            while True:
                _, _, missed = await ctx.tick().sample(dut.missed)
                if missed.valid:
                    self.missed.append(missed.queue)
        self.process(watch, wait=False)

        async def send(ctx):
            ctx.set(dut.mtu, 1500)
            ctx.set(dut.enable, 1)
            ctx.set(dut.active_pairs, config.pairs)
            ctx.set(dut.engine_idle, 1)
            ctx.set(dut.by_address, own is not None)
            ctx.set(dut.mac, int.from_bytes(own or b"", "little"))
            await ctx.tick().repeat(CLEARED)
            for frame, queue in learnt:
                ctx.set(dut.sent, {"valid": 1, "hash": flow_hash(headers_of(frame)), "queue": queue})
                await ctx.tick()
            ctx.set(dut.sent.valid, 0)
            for n, frame in enumerate(frames):
                await send_beats(ctx, dut, axis_beats(frame, config.width, bad=bad(n)),
                                 gap=lambda: int(rng.random() < stall[0]) * rng.randrange(6))
        self.process(send, name="wire")
        if count:
            self.infos = self.get(dut.frames, count=count, stall=stall[1], name="frames")
            self.put(dut.verdicts, [{"accept": 0}] * count)


@pytest.mark.requirements("NET-156", "NET-140", "NET-204")
@pytest.mark.parametrize("width, stall", few(4, [
    (128, (0.3, 0.6)), (256, (0, 0)), (512, (0, 0.9)), (512, (0, 0)), (128, (0, 0)), (128, (0, 0.9)),
    (256, (0.3, 0.6)), (256, (0, 0.9)), (512, (0.3, 0.6))]))
def test_each_frame_is_offered_for_its_queue(width, stall):
    """Short and long ones, one behind the other, with the filter's word, and frames between them that are dropped."""
    rng = random.Random(width)
    config = NicConfig(pairs=5, width=width, rx_buffer=16384, tx_buffer=8192,
                       max_mtu=2000, flow_entries=ENTRIES, tags=32)
    flows = [random_flow(rng) for _ in range(20)]
    own = b"\2\0\0\0\0\1"
    flows = [own + flow[6:] if rng.random() < 0.5 else flow for flow in flows]
    frames = [flow + bytes(rng.choice([0, 0, 0, 40, 200])) for flow in rng.choices(flows, k=60)]
    learnt = [(flow, rng.randrange(5)) for flow in flows[:10]]
    model = FlowModel(ENTRIES)
    for flow, queue in learnt:
        model.sent(flow, queue)
    good = [frame for n, frame in enumerate(frames) if n % 4]
    bench = ReceiveBench(frames, config, stall=stall, bad=lambda n: n % 4 == 0, count=len(good), learnt=learnt,
                         own=own, seed=width)
    bench.run()
    assert [(info.queue, info.length, info.unwanted) for info in bench.infos] == \
        [(model.queue(frame, 5), 12 + len(frame), frame[:6] != own) for frame in good]
    assert bench.missed == [model.queue(frame, 5) for frame in frames[:-3:4] if frame[:6] == own]


@pytest.mark.requirements("NET-153")
def test_frames_that_wait_when_pairs_become_inactive():
    """The frame already offered keeps its queue; the others wait until its buffer is back, and go to receiveq1."""
    rng = random.Random(7)
    frames = [random_flow(rng) for _ in range(10)]
    bench = ReceiveBench(frames, learnt=[(frame, 4) for frame in frames])
    dut = bench.dut

    async def narrow(ctx):
        async def take():
            ctx.set(dut.frames.ready, 1)
            (queue,) = await ctx.tick().sample(dut.frames.payload.queue).until(dut.frames.valid)
            ctx.set(dut.frames.ready, 0)
            return queue
        await ctx.tick().repeat(CLEARED + 150)
        assert ctx.get(dut.frames.valid) and ctx.get(dut.pairs_settled)
        ctx.set(dut.active_pairs, 1)
        await ctx.tick().repeat(20)
        assert not ctx.get(dut.pairs_settled), "settled though a frame of before is offered"
        assert await take() == 4
        ctx.set(dut.engine_idle, 0)
        for _ in range(30):
            await ctx.tick()
            assert not ctx.get(dut.frames.valid), "a frame is offered before those of before are done with"
            assert not ctx.get(dut.pairs_settled)
        ctx.set(dut.engine_idle, 1)
        await ctx.tick().until(dut.pairs_settled)
        assert [await take() for _ in range(9)] == [0] * 9
    bench.process(narrow)
    bench.run()


@pytest.mark.requirements("NET-157")
@pytest.mark.parametrize("width", [128, 256, 512])
def test_flows_are_told_as_they_leave(width):
    """Each frame that goes out, by its hash and its queue, and none that doesn't."""
    rng = random.Random(width)
    config = NicConfig(pairs=5, width=width, rx_buffer=8192, tx_buffer=8192,
                       max_mtu=2000, flow_entries=ENTRIES, tags=32)
    frames = [random_flow(rng) for _ in range(60)]
    beats = [beat for n, frame in enumerate(frames)
             for beat in beats_of([bytes(12) + frame], width, number=n, queue=n * 3 % 5,
                                  drop=0 if n % 4 == 1 else None)]
    dut = Transmit(config)
    bench = StreamBench(dut, seed=width)
    told = []
    bench.put(dut.i, beats, stall=0.1)
    bench.get(dut.completions, count=len(frames))

    async def watch(ctx):
        while len(told) < 45:
            ctx.set(dut.eth_tx_tready, rng.random() < 0.7)
            _, _, flow = await ctx.tick().sample(dut.flow)
            if flow.valid:
                told.append((flow.hash, flow.queue))
    bench.process(watch)
    bench.run()
    assert told == [(flow_hash(headers_of(frame)), n * 3 % 5) for n, frame in enumerate(frames) if n % 4 != 1]


def test_table_size_is_checked():
    with pytest.raises(ValueError, match="not 100"):
        FlowTable(100, 3)
