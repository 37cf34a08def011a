"""What the composites don't show of the network datapaths' parts: the header beside the frame, and buffer sizes."""

import random

import pytest

from hdl.net.frame_buffer import FrameBuffer
from hdl.net.strip import HeaderStrip
from testbench.unit.bench import StreamBench
from testbench.unit.test_net_transmit import beats_of, cut


@pytest.mark.parametrize("width", [128, 512])
@pytest.mark.parametrize("header_bytes", [12, 20, 24, 32])
def test_header_beside_the_frame(width, header_bytes):
    """With `commit` the packet's header lies at `header`, however the packet was cut."""
    rng = random.Random(header_bytes)
    packets = [rng.randbytes(header_bytes + rng.randrange(14, 200)) for _ in range(20)]
    dut = HeaderStrip(width, 3, header_bytes)
    bench = StreamBench(dut)
    headers = []

    async def send(ctx):
        ctx.set(dut.enable, 1)
        ctx.set(dut.good, 1)
        for packet in packets:
            beats = beats_of(cut(rng, packet), width)
            for n, beat in enumerate(beats):
                ctx.set(dut.i.payload, beat)
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.packet_ends, n == len(beats) - 1)
                await ctx.tick()
        ctx.set(dut.i.valid, 0)
    bench.process(send)

    async def watch(ctx):
        while True:
            _, _, commit, header = await ctx.tick().sample(dut.commit, dut.header)
            if commit:
                headers.append(header.to_bytes(header_bytes, "little"))
    bench.process(watch, wait=False)
    bench.run()
    assert headers == [packet[:header_bytes] for packet in packets]


@pytest.mark.parametrize("size", [3000, 128])
def test_buffer_size_is_checked(size):
    with pytest.raises(ValueError, match=f"{size} bytes are"):
        FrameBuffer(512, size)
