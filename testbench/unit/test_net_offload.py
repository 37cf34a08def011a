"""Checksums and segmentation on the transmit path, against the functional twin."""

import random
import struct

import pytest

from hdl.config import NicConfig
from model import formats
from model.formats import Feature, GsoType
from model.offload import MalformedPacket, frames_of
from testbench.unit.few import few
from testbench.unit.offload_packets import net_header, random_packet, spoil
from testbench.unit.test_net_transmit import MAX_FRAME, Bench, beats_of, completion_of

FEATURES = {"csum": Feature.NET_CSUM, "tso4": Feature.NET_HOST_TSO4, "tso6": Feature.NET_HOST_TSO6,
            "ecn": Feature.NET_HOST_ECN, "uso": Feature.NET_HOST_USO}
SEGMENTED = (GsoType.TCPV4, GsoType.TCPV6, GsoType.UDP_L4)


def mask(names):
    return formats.feature_set(*(FEATURES[name] for name in names))


def cut_parts(rng, packet, most=2048):
    """Parts as the walker makes them: at most `most` bytes each."""
    edges = [0]
    while edges[-1] < len(packet):
        edges.append(min(len(packet), edges[-1] + rng.choice([most, most, rng.randint(1, most)])))
    return [packet[a:b] for a, b in zip(edges, edges[1:])]


def expected(packets, features):
    """[frames of each packet], None for those that are malformed."""
    out = []
    for header, frame in packets:
        try:
            out.append(frames_of(header, frame, mask(features), MAX_FRAME))
        except MalformedPacket:
            out.append(None)
    return out


def check(packets, *, features=tuple(FEATURES), width=512, seed=1, stall=(0.1, 0.1, 0.1), header_bytes=12, **options):
    """Send (header, frame) pairs, and compare frames, completions and counts with the twin's."""
    rng = random.Random(seed)
    print("seed", seed)
    frames, queues = expected(packets, features), 1 if width == 128 else 8
    pad = bytes(header_bytes - 12)
    beats = [beat for n, (header, frame) in enumerate(packets)
             for beat in beats_of(cut_parts(rng, header + pad + frame), width, number=n, queue=n % queues)]
    leaving = [frame for some in frames if some for frame in some]
    bench = Bench(beats, width=width, frames=len(leaving), completions=len(packets), features=features, stall=stall,
                  header_bytes=header_bytes, seed=seed, **{"limit": 200_000, **options})
    bench.run(settle=1000)      # what is dropped at the end takes no wire
    for n, (got, wanted) in enumerate(zip(bench.frames, leaving)):
        assert got == wanted, f"frame {n}: {got.hex()} where {wanted.hex()} was expected"
    assert bench.completed() == [completion_of(n, queue=n % queues) for n in range(len(packets))]
    assert bench.counts == {"sent": len(leaving), "bytes": sum(map(len, leaving)),
                            "malformed": sum(some is None for some in frames), "error": 0}
    assert [told(sent) for sent in bench.sent] == [
        entry for n, some in enumerate(frames) if some for entry in entries(n % queues, *packets[n], some, features)]
    return bench


def told(sent):
    """What `FrameSent` says, as far as it means something."""
    entry = {name: getattr(sent, name) for name in ("queue", "bytes", "needs_csum", "segment")}
    if sent.segment:
        entry |= {"first": sent.first, "last": sent.last}
        if sent.last:
            entry["packet_bytes"] = sent.packet_bytes
    return entry


def entries(queue, header, packet, frames, features):
    """What `FrameSent` has to say of a packet's frames."""
    needs_csum = int(bool(header[0] & 1 and "csum" in features))
    out = [{"queue": queue, "bytes": len(frame), "needs_csum": needs_csum, "segment": int(header[1] != 0)}
           for frame in frames]
    if header[1]:
        for entry in out:
            entry |= {"first": 0, "last": 0}
        out[0]["first"], out[-1]["last"], out[-1]["packet_bytes"] = 1, 1, len(packet)
    return out


def checksum_packets(rng, count):
    for _ in range(count):
        size = rng.choice([0, 1, 2, 3, 17, 18, 64, 100, rng.randrange(1500)])
        header, frame = random_packet(rng, rng.choice(SEGMENTED), rng.randbytes(size))
        kind = rng.random()
        if kind < 0.2:      # any place at all, odd ones and those across two rows too
            start = rng.randrange(len(frame) + 2)
            header = net_header(flags=1, start=start, offset=rng.choice([0, 1, 6, 16, 61, rng.randrange(200)]))
        elif kind < 0.3:
            header = net_header(flags=rng.choice([0, 2, 0xfe]), start=14, offset=6)
        elif kind < 0.4:    # at the end, and just outside
            header = net_header(flags=1, start=14, offset=len(frame) - 14 - rng.randrange(4))
        elif kind < 0.45:
            header = net_header(flags=1, start=rng.choice([65535, 60000]), offset=rng.choice([65535, 6000]))
        yield header, frame


@pytest.mark.requirements("NET-028", "NET-029", "NET-043")
@pytest.mark.parametrize("width, seed", few(2, [(128, 1), (512, 3), (256, 2), (512, 4)]))
def test_checksums(width, seed):
    rng = random.Random(seed)
    check(list(checksum_packets(rng, 120)), features=["csum"], width=width, seed=seed,
          header_bytes=rng.choice([12, 20]))


@pytest.mark.requirements("NET-043")
def test_a_udp_checksum_is_never_zero():
    """And a TCP checksum may be."""
    packets = []
    for kind in (GsoType.UDP_L4, GsoType.TCPV4):
        header, frame = random_packet(random.Random(5), kind, bytes(40))
        start, = struct.unpack_from("<H", header, 6)
        words = struct.unpack(f">{(len(frame) - start) // 2}H", frame[start:])
        left = -sum(words) % 0xffff     # makes the sum 0xffff
        packets.append((header, frame[:-2] + struct.pack(">H", left)))
    bench = check(packets, features=["csum"])
    start, = struct.unpack_from("<H", packets[0][0], 6)
    assert bench.frames[0][start + 6:start + 8] == b"\xff\xff"
    start, = struct.unpack_from("<H", packets[1][0], 6)
    assert bench.frames[1][start + 16:start + 18] == b"\0\0"


def test_without_the_feature_nothing_is_summed():
    rng = random.Random(6)
    packets = list(checksum_packets(rng, 30))
    bench = check(packets, features=[])
    assert bench.frames == [frame for _, frame in packets]


def test_checksums_cost_no_rate():
    """64-byte frames with a checksum each, two beats a packet, one behind the other."""
    rng = random.Random(7)
    packets = [random_packet(rng, GsoType.UDP_L4, rng.randbytes(22), tags=0) for _ in range(150)]
    packets = [(header, frame[:64]) for header, frame in packets if struct.unpack_from("<H", header, 6)[0] <= 40][:60]
    assert all(len(header + frame) <= 76 for header, frame in packets)
    beats = [beat for n, (header, frame) in enumerate(packets) for beat in beats_of([header + frame], 512, number=n)]
    bench = Bench(beats, frames=len(packets), completions=len(packets), features=["csum"], limit=2 * len(packets) + 30)
    bench.run(settle=1)
    assert bench.frames == [frame for some in expected(packets, ["csum"]) for frame in some]


def test_latency_of_a_checksum():
    """From the last beat to the wire 9 cycles."""
    packets = (random_packet(random.Random(seed), GsoType.UDP_L4, bytes(22), tags=0) for seed in range(100))
    header, frame = next((header, frame) for header, frame in packets if len(frame) == 64)
    bench = Bench(beats_of([header + frame], 512), frames=1, completions=1, features=["csum"])
    dut, times = bench.dut, {}

    async def watch(ctx):
        for cycle in range(60):
            _, _, beat, wire = await ctx.tick().sample(dut.i.valid & dut.i.ready & dut.i.payload.last,
                                                       dut.eth_tx_tvalid)
            for name, value in (("beat", beat), ("wire", wire)):
                if value:
                    times.setdefault(name, cycle)
    bench.process(watch)
    bench.run()
    assert times["wire"] - times["beat"] == 9


def segment_packets(rng, count, most=6000, bad=0.0):
    for _ in range(count):
        kind = rng.choice(SEGMENTED)
        size = rng.choice([1, 63, 64, 65, 128, 1448, rng.randint(1, 3000), rng.randint(1, most)])
        gso = rng.choice([size, max(1, size // 2), 1448, 536, 64, rng.randint(1, 1600), rng.randint(16, 200)])
        gso = max(gso, -(-size // 60))
        header, frame = random_packet(rng, kind, rng.randbytes(size), gso)
        if rng.random() < 0.5:      # hdr_len of any value
            header = header[:2] + rng.randbytes(2) + header[4:]
        if rng.random() < bad:
            header, frame = spoil(rng, header, frame)
        yield header, frame


@pytest.mark.requirements("NET-034", "NET-044", "NET-045")
@pytest.mark.parametrize("width, seed", few(2, [(128, 11), (512, 13), (256, 12), (512, 14)]))
def test_segments(width, seed):
    rng = random.Random(seed)
    packets = [*segment_packets(rng, 25), *checksum_packets(rng, 15)]
    rng.shuffle(packets)
    check(packets, width=width, seed=seed)


@pytest.mark.requirements("NET-035", "NET-037", "NET-038", "NET-039")
@pytest.mark.parametrize("width, seed", few(1, [(512, 22), (128, 21), (512, 23)]))
def test_packets_that_are_wrong(width, seed):
    """Dropped and counted, each buffer used; what is good around them leaves."""
    rng = random.Random(seed)
    packets = [*segment_packets(rng, 60, most=2000, bad=0.7), *checksum_packets(rng, 10)]
    rng.shuffle(packets)
    check(packets, width=width, seed=seed, features=[name for name in FEATURES if rng.random() < 0.9])


@pytest.mark.parametrize("kind", few(1, [GsoType.TCPV6, GsoType.TCPV4]))
def test_segments_at_line_rate(kind):
    """Packets of 64 KiB in segments of 1448 bytes: at least 97 of 100 cycles have a beat on the wire."""
    rng = random.Random(33)
    packets = [random_packet(rng, kind, rng.randbytes(65_000), 1448, tags=0) for _ in range(2)]
    frames = [frame for some in expected(packets, FEATURES) for frame in some]
    beats = [beat for n, (header, frame) in enumerate(packets)
             for beat in beats_of([(header + frame)[at:at + 12_288] for at in range(0, len(frame) + 12, 12_288)], 512,
                                  number=n)]
    bench = Bench(beats, frames=len(frames), completions=2, features=tuple(FEATURES), config=NicConfig(), flight=8)
    dut, cycles = bench.dut, []

    async def watch(ctx):
        cycle = 0
        while len(cycles) < sum(-(-len(frame) // 64) for frame in frames):
            _, _, beat = await ctx.tick().sample(dut.eth_tx_tvalid & dut.eth_tx_tready)
            cycle += 1
            if beat:
                cycles.append(cycle)
    bench.process(watch)
    bench.run()
    assert bench.frames == frames
    print("beats a cycle", len(cycles) / (cycles[-1] - cycles[0] + 1))
    assert len(cycles) >= 0.97 * (cycles[-1] - cycles[0] + 1)


def test_a_packet_longer_than_the_buffer():
    """64 KiB in buffers of 8: its segments leave while it comes in."""
    rng = random.Random(31)
    packets = [random_packet(rng, kind, rng.randbytes(64_800), 1448) for kind in SEGMENTED]
    packets.append((net_header(), rng.randbytes(MAX_FRAME)))
    check(packets, seed=31)
