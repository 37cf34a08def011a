"""The transmit path against a byte-level reference: frames on the wire, completions, and packets that never go out."""

import random

import pytest

from hdl.config import NicConfig
from hdl.dma.spec import Client, ReadStatus
from hdl.net.transmit import Transmit
from testbench.unit.axis import watch_frames
from testbench.unit.bench import StreamBench
from testbench.unit.few import few

CONFIGS = {128: NicConfig.preset("tiny")}
CONFIGS |= {width: NicConfig(width=width, rx_buffer=8192, tx_buffer=8192, max_mtu=2000, flow_entries=16, tags=32)
            for width in (256, 512)}
MAX_FRAME = 2022


def beats_of(parts, width, *, number=0, statuses=None, drop=None, queue=0, behind=0):
    """`ReadBeat` dicts of one packet that comes in these parts; parts before the last have a context of their own.

    `drop`: number of the part whose context says that the chain is malformed.
    """
    size = width // 8
    beats = []
    for n, part in enumerate(parts):
        last_part = n == len(parts) - 1
        chunks = [part[k:k + size] for k in range(0, len(part), size)] or [b""]
        context = (number * 7 & 0xffff if last_part else 0xdead) | (1 + number % 5) << 16 | (
            (n == drop) << 32) | last_part << 33
        for k, chunk in enumerate(chunks):
            ends = k == len(chunks) - 1
            # Bytes beyond the end of a part, and the status before it, mean nothing.
            beats.append({
                "data": int.from_bytes(chunk.ljust(size, b"\xee"), "little"), "bytes": len(chunk), "first": k == 0,
                "last": ends, "client": Client.DATA_TX, "queue": queue, "behind": behind if ends else 1,
                "status": (statuses[n] if statuses else ReadStatus.OK) if ends else ReadStatus.TIMEOUT,
                "context": context})
    return beats


def completion_of(number, *, queue=0, behind=0, filled=1):
    return {"queue": queue, "id": number * 7 & 0xffff, "length": 0, "written": 0, "slots": 1 + number % 5,
            "behind": behind, "filled": filled}


def header(rng, size=12):
    """A header of any content that asks for nothing, as long as no offload is negotiated."""
    content = rng.randbytes(size)
    return content[:1] + b"\0" + content[2:]


class Bench(StreamBench):
    """Beats into the path, sent as the read engine does: a transaction begins only while there is `room`."""

    def __init__(self, beats, *, width=512, frames=0, completions=0, header_bytes=12, stall=(0, 0, 0), obey=True,
                 flight=6, collect=True, config=None, features=(), **options):
        dut = Transmit(config or CONFIGS[width])
        super().__init__(dut, **options)
        self.width = width
        self.counts = {"sent": 0, "bytes": 0, "malformed": 0, "error": 0}
        self.sent = []
        rng = random.Random(self.seed)

        async def send(ctx):
            pipeline = [None] * (flight if obey else 0)
            todo = list(beats)
            while todo or any(beat is not None for beat in pipeline):
                beat = None
                if todo and not (todo[0]["first"] and obey and not ctx.get(dut.room)) and rng.random() >= stall[0]:
                    beat = todo.pop(0)
                pipeline.append(beat)
                beat = pipeline.pop(0)
                if beat is not None:
                    ctx.set(dut.i.payload, beat)
                    ctx.set(dut.i.valid, 1)
                    if obey:
                        assert ctx.get(dut.i.ready), "no room in spite of `room`"
                    await ctx.tick().until(dut.i.ready)
                    ctx.set(dut.i.valid, 0)
                else:
                    await ctx.tick()

        async def start(ctx):
            ctx.set(dut.long_header, header_bytes == 20)
            for name in features:
                ctx.set(dut.features[name], 1)
            await ctx.tick().repeat(3)
            await send(ctx)
        self.process(start, name="reads")

        async def count(ctx):
            while True:
                _, _, sent, malformed, error = await ctx.tick().sample(
                    dut.sent, dut.dropped_malformed + dut.refused, dut.dropped_error)
                self.counts["sent"] += sent.valid
                self.counts["bytes"] += sent.bytes if sent.valid else 0
                if sent.valid:
                    self.sent.append(sent)
                self.counts["malformed"] += malformed
                self.counts["error"] += error
        self.process(count, wait=False)
        self.frames = watch_frames(self, width, count=frames, stall=stall[1]) if frames else []
        self.completions = self.get(dut.completions, count=completions or None, stall=stall[2]) if collect else []

    def completed(self):
        return [{name: getattr(c, name) for name in ("queue", "id", "length", "written", "slots", "behind", "filled")}
                for c in self.completions]


def cut(rng, packet):
    """Cut a packet in parts, empty ones among them."""
    cuts = sorted(rng.randrange(len(packet) + 1) for _ in range(rng.randrange(4)))
    return [packet[a:b] for a, b in zip([0, *cuts], [*cuts, len(packet)])]


@pytest.mark.requirements("NET-009", "NET-026", "NET-027", "NET-028", "NET-029", "NET-048", "NET-049")
@pytest.mark.parametrize("width, stall", few(4, [
    (128, (0, 0.5, 0)), (512, (0, 0, 0)), (512, (0.5, 0, 0)), (128, (0, 0, 0.8)),
    (128, (0, 0, 0)), (128, (0.5, 0, 0)), (512, (0, 0.5, 0)), (512, (0, 0, 0.8))]))
def test_frames_go_out_without_their_header(width, stall):
    """Headers of any content: nothing is offered, so nothing of them is used."""
    rng = random.Random(width)
    sizes = [14, 15, 51, 52, 53, 60, 63, 64, 65, 115, 116, 117, MAX_FRAME, *(rng.randrange(14, 300) for _ in range(40))]
    packets = [header(rng) + rng.randbytes(size) for size in sizes]
    beats = [beat for n, packet in enumerate(packets)
             for beat in beats_of([packet], width, number=n, behind=n % 3 == 0)]
    bench = Bench(beats, width=width, frames=len(packets), completions=len(packets), stall=stall, seed=width)
    bench.run()
    assert bench.frames == [packet[12:] for packet in packets]
    assert bench.completed() == [completion_of(n, behind=n % 3 == 0) for n in range(len(packets))]
    assert bench.counts == {"sent": len(packets), "bytes": sum(sizes), "malformed": 0, "error": 0}


@pytest.mark.requirements("NET-027")
@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("header_bytes", [12, 20])
def test_packets_in_parts(width, header_bytes):
    rng = random.Random(header_bytes)
    packets = [header(rng, header_bytes) + rng.randbytes(rng.choice([14, 52, 64, 116, rng.randrange(14, 400)]))
               for _ in range(50)]
    beats = [beat for n, packet in enumerate(packets) for beat in beats_of(cut(rng, packet), width, number=n)]
    bench = Bench(beats, width=width, header_bytes=header_bytes, frames=len(packets), completions=len(packets),
                  stall=(0.1, 0.1, 0.1), seed=header_bytes)
    bench.run()
    assert bench.frames == [packet[header_bytes:] for packet in packets]
    assert bench.completed() == [completion_of(n) for n in range(len(packets))]


@pytest.mark.parametrize("width", [128, 512])
def test_a_byte_at_a_time(width):
    packet = bytes(12) + bytes(range(130))
    parts = [packet[n:n + 1] for n in range(len(packet))]
    bench = Bench(beats_of(parts, width) + beats_of([packet], width), width=width, frames=2, completions=2)
    bench.run()
    assert bench.frames == [packet[12:]] * 2


@pytest.mark.requirements("NET-049", "PKD-034")
@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("seed", few(1, range(3)))
def test_packets_that_never_go_out(width, seed):
    """Each is completed, save those not read at all, and leaves no trace in the frames around it."""
    rng = random.Random(seed)
    beats, frames, completions = [], [], []
    counts = {"sent": 0, "bytes": 0, "malformed": 0, "error": 0}
    faults = [ReadStatus.UNSUPPORTED, ReadStatus.ABORTED, ReadStatus.POISONED, ReadStatus.TIMEOUT, ReadStatus.RETRY]
    for n in range(70):
        kind = rng.choice(["good", "good", "error", "drop", "short", "long", "discarded", "empty"])
        size = {"short": rng.randrange(14), "long": rng.choice([MAX_FRAME + 1, MAX_FRAME + 2, 3000])}.get(
            kind, rng.randrange(14, 300))
        packet = header(rng) + rng.randbytes(size)
        if kind == "short":
            packet = packet[rng.choice([0, 0, 5, 12]):]
        parts = [b""] if kind == "empty" else cut(rng, packet)
        statuses = [ReadStatus.OK] * len(parts)
        if kind == "error":
            statuses[rng.randrange(len(parts))] = rng.choice(faults)
        elif kind == "discarded":
            parts = parts[:rng.randrange(len(parts)) + 1]
            statuses = [*[ReadStatus.OK] * (len(parts) - 1), ReadStatus.DISCARDED]
        beats += beats_of(parts, width, number=n, statuses=statuses,
                          drop=rng.randrange(len(parts)) if kind == "drop" else None)
        if kind != "discarded":
            completions.append(completion_of(n, filled=kind != "drop"))
        if kind == "good":
            frames.append(packet[12:])
            counts["sent"] += 1
            counts["bytes"] += size
        elif kind != "discarded":
            counts["error" if kind == "error" else "malformed"] += 1
    bench = Bench(beats, width=width, frames=len(frames), completions=len(completions), stall=(0.1, 0.2, 0.2),
                  seed=seed)
    bench.run()
    assert bench.frames == frames
    assert bench.completed() == completions
    assert bench.counts == counts


def test_a_discarded_part_ends_its_packet():
    """Also when it is not the packet's last part: what comes next is another packet."""
    packet = bytes(12) + bytes(range(100))
    first = beats_of([packet[:50], b"", b"end"], 512, statuses=[ReadStatus.OK, ReadStatus.DISCARDED, ReadStatus.OK])[:2]
    bench = Bench(first + beats_of([packet], 512, number=1), frames=1, completions=1)
    bench.run()
    assert bench.frames == [packet[12:]]
    assert bench.completed() == [completion_of(1)]


def test_endless_packet_holds_nothing_up():
    """More bytes than the buffer has: its rows are given back, and the next packet goes out."""
    rng = random.Random(3)
    parts = [header(rng), *(rng.randbytes(2000) for _ in range(50))]
    packet = header(rng) + rng.randbytes(64)
    bench = Bench(beats_of(parts, 512) + beats_of([packet], 512, number=1), frames=1, completions=2)
    bench.run()
    assert bench.frames == [packet[12:]]
    assert bench.counts["malformed"] == 1


def test_longer_transactions_than_room_reserves():
    """The wire stands still and the buffer fills up to `room`; a transaction of 16 KiB is taken even so."""
    rng = random.Random(4)
    packets = [header(rng) + rng.randbytes(2022) for _ in range(2)]
    beats = [beat for n, packet in enumerate([*packets, bytes(16384)]) for beat in beats_of([packet], 512, number=n)]
    bench = Bench(beats, completions=3, flight=8, limit=1000)
    bench.run()
    assert bench.completed() == [completion_of(n) for n in range(3)]
    assert bench.counts == {"sent": 2, "bytes": 4044, "malformed": 1, "error": 0}


@pytest.mark.parametrize("width", [128, 512])
def test_wire_that_stands_still(width):
    """`room` falls while everything taken still fits; nothing is lost once the wire moves again."""
    rng = random.Random(width)
    packets = [header(rng) + rng.randbytes(rng.choice([14, 64, 500, 2022])) for _ in range(60)]
    beats = [beat for n, packet in enumerate(packets) for beat in beats_of([packet], width, number=n)]
    bench = Bench(beats, width=width, completions=len(packets), flight=8)
    dut = bench.dut
    frames = []

    async def wire(ctx):
        await ctx.tick().repeat(256_000 // width)
        assert not ctx.get(dut.room) and ctx.get(dut.eth_tx_tvalid) and 0 < bench.counts["sent"] < len(packets)
        ctx.set(dut.eth_tx_tready, 1)
        frame = b""
        while len(frames) < len(packets):
            _, _, valid, data, keep, last = await ctx.tick().sample(
                dut.eth_tx_tvalid, dut.eth_tx_tdata, dut.eth_tx_tkeep, dut.eth_tx_tlast)
            if valid:
                frame += data.to_bytes(width // 8, "little")[:keep.bit_count()]
                if last:
                    frames.append(frame)
                    frame = b""
    bench.process(wire)
    bench.run()
    assert frames == [packet[12:] for packet in packets]


@pytest.mark.parametrize("obey", [True, False])
def test_completions_that_stand_still(obey):
    """`room` falls, or `i.ready` for who does not look at it, and no completion is lost."""
    packets = [bytes(12) + bytes([n]) * 18 for n in range(100)]
    beats = [beat for n, packet in enumerate(packets) for beat in beats_of([packet], 512, number=n)]
    bench = Bench(beats, frames=len(packets), collect=False, obey=obey)
    dut, taken = bench.dut, []

    async def late(ctx):
        await ctx.tick().repeat(300)
        assert not ctx.get(dut.room) and bench.counts["sent"] < len(packets)
        while len(taken) < len(packets):
            ctx.set(dut.completions.ready, 1)
            _, _, valid, completion = await ctx.tick().sample(dut.completions.valid, dut.completions.payload)
            if valid:
                taken.append(completion.id)
    bench.process(late)
    bench.run()
    assert taken == [completion_of(n)["id"] for n in range(len(packets))]
    assert bench.frames == [packet[12:] for packet in packets]


def test_packets_flow_without_gaps():
    """Packets of 72 bytes, two beats each, one behind the other."""
    count = 100
    packets = [bytes(12) + bytes([n]) * 60 for n in range(count)]
    beats = [beat for n, packet in enumerate(packets) for beat in beats_of([packet], 512, number=n)]
    bench = Bench(beats, frames=count, completions=count, limit=2 * count + 30)
    bench.run(settle=5)
    assert bench.frames == [packet[12:] for packet in packets]


def test_latencies():
    """Last beat to the wire 4 cycles, to the completion 2."""
    bench = Bench(beats_of([bytes(76)], 512), frames=1, completions=1)
    dut, times = bench.dut, {}

    async def watch(ctx):
        for cycle in range(40):
            _, _, beat, wire, completion = await ctx.tick().sample(
                dut.i.valid & dut.i.ready & dut.i.payload.last, dut.eth_tx_tvalid, dut.completions.valid)
            for name, value in (("beat", beat), ("wire", wire), ("completion", completion)):
                if value:
                    times.setdefault(name, cycle)
    bench.process(watch)
    bench.run()
    assert times["wire"] - times["beat"] == 4
    assert times["completion"] - times["beat"] == 2


def test_clear_forgets_half_a_packet():
    half, packet = bytes(2000), bytes(12) + bytes(range(100, 200))
    bench = Bench(beats_of([half, b"rest"], 512)[:-1], frames=1, completions=1)
    dut = bench.dut

    async def then(ctx):
        await ctx.tick().repeat(60)
        assert ctx.get(dut.idle)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        for beat in beats_of([packet], 512, number=1):
            ctx.set(dut.i.payload, beat)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
    bench.process(then)
    bench.run()
    assert bench.frames == [packet[12:]]
    assert bench.completed() == [completion_of(1)]
    assert bench.counts["malformed"] == 0


@pytest.mark.parametrize("arguments, message", [
    ({"flight_beats": 25}, "at most 24, not 25"),
    ({"flight_beats": 60}, "flight_beats of 60 leave no room for a frame"),
])
def test_bad_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        Transmit(CONFIGS[512], **arguments)


def test_a_reset_does_not_wait_for_the_wire():
    """With `discard` everything is taken, though the wire stands still and the buffer is full; nothing of it leaves."""
    beats = [beat for number in range(20) for beat in beats_of([bytes(1500)], 512, number=number)]
    bench = Bench(beats, collect=False)

    async def reset(ctx):
        await ctx.tick().repeat(400)
        assert not ctx.get(bench.dut.room)
        ctx.set(bench.dut.discard, 1)
        ctx.set(bench.dut.completions.ready, 1)
        await ctx.tick().repeat(600)
        assert ctx.get(bench.dut.room) and ctx.get(bench.dut.idle)
    bench.process(reset)
    bench.run()
    assert bench.counts["sent"] < 20
