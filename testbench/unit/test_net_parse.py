"""The header parser against frames built by scapy and a byte-by-byte reading of them."""

import random

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from hdl.net.parse import HeaderParser
from testbench.unit.bench import StreamBench
from testbench.unit.headers import headers_of, random_frame

WIDTHS = (128, 256, 512)
CONTEXT_BITS = 4
LATENCY = 3


def beats_of(frame, width, filler):
    """`PacketBeat` dicts; lanes beyond the end hold `filler`."""
    size = width // 8
    chunks = [frame[n:n + size] for n in range(0, len(frame), size)]
    return [{"data": int.from_bytes(chunk + filler[len(chunk):], "little"), "bytes": len(chunk), "first": n == 0,
             "last": n == len(chunks) - 1} for n, chunk in enumerate(chunks)]


def parse(frames, width, stall=0.0, seed=1):
    """[({field: value}, context)] of frames sent through the parser, and asserts when each comes."""
    dut = HeaderParser(width, CONTEXT_BITS)
    bench = StreamBench(dut, seed=seed)
    rng = random.Random(seed)
    results, due, clock = [], [], [0]

    async def send(ctx):
        for n, frame in enumerate(frames):
            beats = beats_of(frame, width, rng.randbytes(width // 8))
            for k, beat in enumerate(beats):
                while rng.random() < stall:
                    ctx.set(dut.beat, {**beat, "data": rng.getrandbits(width), "last": rng.randrange(2)})
                    ctx.set(dut.taken, 0)
                    await ctx.tick()
                    clock[0] += 1
                ctx.set(dut.beat, beat)
                ctx.set(dut.context, n % 16)
                ctx.set(dut.taken, 1)
                if k == min(len(beats), 1024 // width) - 1:
                    due.append(clock[0] + LATENCY)
                await ctx.tick()
                clock[0] += 1
        ctx.set(dut.taken, 0)
        await ctx.tick().repeat(LATENCY + 1)
    bench.process(send)

    async def watch(ctx):
        cycle = 0
        while True:
            _, _, valid, headers, context = await ctx.tick().sample(dut.valid, dut.headers, dut.headers_context)
            if valid:
                results.append((headers, context))
                assert due[len(results) - 1] == cycle
            cycle += 1
    bench.process(watch, wait=False)
    bench.run(settle=1)
    assert len(results) == len(frames)
    return results


def check(frames, results):
    for n, (frame, (headers, context)) in enumerate(zip(frames, results)):
        expected = headers_of(frame)
        assert {name: getattr(headers, name) for name in expected} == expected, (n, frame.hex())
        assert context == n % 16


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("stall", [0, 0.4])
def test_frames_of_every_make(width, stall):
    rng = random.Random(width + int(10 * stall))
    frames = [random_frame(rng) for _ in range(width // 4 + 80)]
    check(frames, parse(frames, width, stall))


@pytest.mark.parametrize("width", WIDTHS)
def test_every_length(width):
    """The deepest stack that is followed, cut everywhere."""
    packet = (Ether() / Dot1AD(vlan=5) / Dot1Q(vlan=7) / IPv6(src="fd00::1", dst="fd00::2")
              / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(12))]) / IPv6ExtHdrRouting(addresses=["fd00::3"])
              / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / IPv6ExtHdrDestOpt() / UDP(sport=1234, dport=4321))
    options = Ether() / Dot1Q(vlan=7) / IP(options=[IPOption(b"\x01")] * 40) / TCP(sport=99, dport=98)
    for whole in (bytes(packet), bytes(options)):
        frames = [whole[:size] for size in range(14, len(whole) + 1)]
        assert headers_of(whole)["source_port"] in (1234, 99)
        check(frames, parse(frames, width))


CASES = {
    "two tags": (Ether() / Dot1AD(vlan=5, prio=3) / Dot1Q(vlan=4095) / IP(src="1.2.3.4", dst="5.6.7.8")
                 / TCP(sport=80, dport=12345),
                 {"tags": 2, "outer_tag": 0x6005, "inner_tag": 0xfff, "ethertype": 0x800, "ipv4": 1, "tcp": 1,
                  "source": 0x04030201, "destination": 0x08070605, "source_port": 80, "destination_port": 12345,
                  "l3_offset": 22, "l4_offset": 42}),
    "three tags": (Ether() / Dot1Q() / Dot1Q() / Dot1Q() / IP() / UDP(), {"tags": 2, "ethertype": 0x8100, "ipv4": 0}),
    "options": (Ether() / IP(options=[IPOption(b"\x01")] * 40) / UDP(sport=7, dport=9),
                {"udp": 1, "source_port": 7, "destination_port": 9, "l4_offset": 74, "truncated": 0}),
    "fragment": (Ether() / IP(frag=100) / UDP(sport=7, dport=9), {"fragment": 1, "udp": 0, "source_port": 0}),
    "first fragment": (Ether() / IP(flags="MF") / UDP(sport=7, dport=9), {"fragment": 1, "transport": 0}),
    "don't fragment": (Ether() / IP(flags="DF") / UDP(sport=7, dport=9), {"fragment": 0, "udp": 1}),
    "padding": (Ether() / IP(len=20, proto=6) / bytes(26), {"tcp": 0, "malformed": 1, "ipv4": 1}),
    "wrong version": (Ether(type=0x800) / IPv6() / UDP(), {"ipv4": 0, "ipv6": 0, "malformed": 1}),
    "no room for options": (Ether() / IP(ihl=4) / UDP(), {"ipv4": 0, "malformed": 1}),
    "IPv6 fragment": (Ether() / IPv6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(m=1) / TCP(),
                      {"ipv6": 1, "fragment": 1, "protocol": 6, "tcp": 0, "truncated": 0}),
    "IPv6 chain": (Ether() / IPv6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / TCP(sport=5),
                   {"tcp": 1, "source_port": 5, "l4_offset": 14 + 40 + 24}),
    "IPv6 chain too long": (Ether() / IPv6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(100))]) / UDP(),
                            {"ipv6": 1, "unreached": 1, "truncated": 0, "protocol": 0, "udp": 0}),
}


@pytest.mark.parametrize("width", WIDTHS)
def test_literal_cases(width):
    frames = [bytes(packet) for packet, _ in CASES.values()]
    results = parse(frames, width)
    check(frames, results)
    for (name, (_, expected)), (headers, _) in zip(CASES.items(), results):
        assert {field: getattr(headers, field) for field in expected} == expected, name


def test_a_frame_in_every_beat():
    """Smallest frames back to back at 512 bits: each 60 bytes, no two alike."""
    rng = random.Random(3)
    layers = [lambda: IP(src=f"10.0.0.{rng.randrange(256)}") / TCP(sport=rng.randrange(65536)),
              lambda: Dot1Q(vlan=rng.randrange(4096)) / IP() / UDP(dport=rng.randrange(65536)),
              lambda: IPv6() / bytes(6)]
    frames = [bytes(Ether() / rng.choice(layers)()).ljust(60, b"\0")[:60] for _ in range(100)]
    check(frames, parse(frames, 512))
