"""The receive path alone: frames at the wire, verdicts, and what the write engine gets."""

import random

from hdl.config import NicConfig
from hdl.net.receive import Receive
from testbench.unit.axis import axis_beats, send_beats
from testbench.unit.bench import StreamBench

# flags 0, gso_type NONE, hdr_len, gso_size, csum_start, csum_offset 0, num_buffers 1
HEADER = bytes(10) + b"\x01\x00"
CONFIGS = {128: NicConfig.preset("tiny"),
           512: NicConfig(rx_buffer=8192, tx_buffer=8192, max_mtu=2000, flow_entries=16, tags=32)}
CAUSES = ("disabled", "bad", "runt", "oversize", "overflow")


def frame_of(rng, size, tags=()):
    """A frame of `size` bytes with VLAN tags of these EtherTypes."""
    inner = b"".join(tag.to_bytes(2, "big") + rng.randbytes(2) for tag in tags)
    return (rng.randbytes(12) + inner + b"\x08\x00" + rng.randbytes(size))[:size]


class Bench(StreamBench):
    """Frames at the wire; verdicts given by `accept(number)`; `beats` collects what comes out."""

    def __init__(self, beats, *, width=512, config=None, long_header=0, mtu=1500, accept=lambda n: True, offered=0,
                 expect=None, stall=(0, 0, 0, 0), wait=lambda: False, judge=True, **options):
        config = config or CONFIGS[width]
        dut = Receive(config)
        super().__init__(dut, **options)
        self.width = width
        self.infos = []
        self.counts = dict.fromkeys((*CAUSES, "received", "bytes"), 0)

        async def setup(ctx):
            ctx.set(dut.mtu, mtu)
            ctx.set(dut.enable, 1)
            ctx.set(dut.active_pairs, 1)
            ctx.set(dut.engine_idle, 1)
            ctx.set(dut.long_header, long_header)
        self.process(setup)
        rng = random.Random(self.seed)

        def gap():
            cycles = 0
            while rng.random() < stall[0]:
                cycles += 1
            return cycles

        async def send(ctx):
            await ctx.tick().repeat(4)
            await send_beats(ctx, dut, beats, gap)
        self.process(send, name="wire")

        async def count(ctx):
            while True:
                _, _, received, size, *dropped = await ctx.tick().sample(
                    dut.received, dut.received_bytes, *(getattr(dut, f"dropped_{cause}") for cause in CAUSES))
                assert sum(dropped) + received <= 1, "a frame is counted twice"
                self.counts["received"] += received
                self.counts["bytes"] += size if received else 0
                for cause, pulse in zip(CAUSES, dropped):
                    self.counts[cause] += pulse
        self.process(count, wait=False)

        async def decide(ctx):
            while len(self.infos) < offered or offered == 0:
                while rng.random() < stall[1]:
                    await ctx.tick()
                ctx.set(dut.frames.ready, 1)
                (info,) = await ctx.tick().sample(dut.frames.payload).until(dut.frames.valid)
                ctx.set(dut.frames.ready, 0)
                self.infos.append(info.length)
                assert info.queue == 0
                number = len(self.infos) - 1
                while wait():
                    await ctx.tick()
                while rng.random() < stall[2]:
                    await ctx.tick()
                ctx.set(dut.verdicts.payload, {"accept": accept(number), "buffers": 1})
                ctx.set(dut.verdicts.valid, 1)
                await ctx.tick().until(dut.verdicts.ready)
                ctx.set(dut.verdicts.valid, 0)
        if judge:
            self.process(decide, wait=offered > 0, name="verdicts")
        self.beats = self.get(dut.data, count=expect, stall=stall[3])

    def packets_out(self):
        return packets_of(self.beats, self.width)


def packets_of(beats, width):
    """Packets of collected beats; asserts the stream's framing."""
    packets, packet = [], None
    for beat in beats:
        assert beat.first == (packet is None)
        packet = b"" if beat.first else packet
        assert beat.bytes == width // 8 or (beat.last and beat.bytes)
        packet += beat.data.to_bytes(width // 8, "little")[:beat.bytes]
        if beat.last:
            packets.append(packet)
            packet = None
    assert packet is None
    return packets


def beats_out(frames, width, header_bytes=12):
    return sum(-(-(len(frame) + header_bytes) * 8 // width) for frame in frames)


def wire(frames, width):
    return [beat for frame in frames for beat in axis_beats(frame, width)]
