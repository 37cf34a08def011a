"""What the composites don't show of the network datapaths' parts: the header beside the frame, and buffer sizes."""

import random

import pytest
from amaranth.hdl import Value

from hdl.net.frame_buffer import FrameBuffer
from hdl.net.strip import HeaderStrip
from testbench.unit.bench import StreamBench
from testbench.unit.test_net_transmit import beats_of, cut


@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("header_bytes", [12, 20])
def test_header_beside_the_frame(width, header_bytes):
    """With `commit` the packet's length lies at `total`, and its header was the last that was complete before, however
    the packet was cut."""
    rng = random.Random(header_bytes)
    packets = [rng.randbytes(header_bytes + rng.randrange(14, 200)) for _ in range(20)]
    dut = HeaderStrip(width, 3)
    bench = StreamBench(dut)
    found = []

    async def send(ctx):
        ctx.set(dut.long_header, header_bytes == 20)
        ctx.set(dut.enable, 1)
        ctx.set(dut.good, 1)
        await ctx.tick().repeat(3)
        for packet in packets:
            beats, size = beats_of(cut(rng, packet), width), -header_bytes
            for n, beat in enumerate(beats):
                ctx.set(dut.i.payload, beat)
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.packet_ends, n == len(beats) - 1)
                await ctx.tick()
                size += beat["bytes"]
                ctx.set(dut.bytes, max(0, size))
        ctx.set(dut.i.valid, 0)
    bench.process(send)

    async def watch(ctx):
        last = None
        while True:
            _, _, commit, complete, header, total = await ctx.tick().sample(
                dut.commit, dut.header_complete, Value.cast(dut.header), dut.total)
            if commit:
                found.append((last, total))
            if complete:
                last = header.to_bytes(12, "little")
    bench.process(watch, wait=False)
    bench.run()
    assert found == [(packet[:12], len(packet) - header_bytes) for packet in packets]


@pytest.mark.parametrize("size", [3000, 128])
def test_buffer_size_is_checked(size):
    with pytest.raises(ValueError, match=f"{size} bytes are"):
        FrameBuffer(512, size)
