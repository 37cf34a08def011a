"""AXI4-Stream frames for unit benches: drive a receive port, watch a transmit port."""

import random

__all__ = ["axis_beats", "send_beats", "watch_frames"]


def axis_beats(frame, width, bad=False):
    """[(tdata, tkeep, tlast, tuser)] of one frame."""
    size = width // 8
    chunks = [frame[n:n + size] for n in range(0, len(frame), size)]
    return [(int.from_bytes(chunk, "little"), (1 << len(chunk)) - 1, n == len(chunks) - 1,
             bad and n == len(chunks) - 1) for n, chunk in enumerate(chunks)]


async def send_beats(ctx, dut, beats, gap=lambda: 0):
    """Drive `beats` into `eth_rx_*` of `dut`, `gap()` idle cycles before each."""
    for data, keep, last, user in beats:
        for _ in range(gap()):
            await ctx.tick()
        ctx.set(dut.eth_rx_tdata, data)
        ctx.set(dut.eth_rx_tkeep, keep)
        ctx.set(dut.eth_rx_tlast, last)
        ctx.set(dut.eth_rx_tuser, user)
        ctx.set(dut.eth_rx_tvalid, 1)
        assert ctx.get(dut.eth_rx_tready), "eth_rx_tready fell out of reset"
        await ctx.tick()
        ctx.set(dut.eth_rx_tvalid, 0)


def watch_frames(bench, width, *, count, stall=0.0, wait=True):
    """Collect frames from the bench's `eth_tx_*`; asserts that `tvalid` stays and holds, and what `tkeep` may be."""
    dut, rng, frames = bench.dut, random.Random(bench.seed + 1), []

    async def watch(ctx):
        frame, offered, cycle = b"", None, 0
        while len(frames) < count:
            ready = rng.random() >= stall
            ctx.set(dut.eth_tx_tready, ready)
            _, _, valid, data, keep, last = await ctx.tick().sample(
                dut.eth_tx_tvalid, dut.eth_tx_tdata, dut.eth_tx_tkeep, dut.eth_tx_tlast)
            cycle += 1
            assert valid or not frame, "tvalid fell within a frame"
            assert offered in (None, (data, keep, last)) and (valid or offered is None), "a beat changed unaccepted"
            offered = (data, keep, last) if valid and not ready else None
            if valid and ready:
                size = keep.bit_count()
                assert size and keep == (1 << size) - 1, f"tkeep has holes: {keep:#x}"
                assert last or size == width // 8, "a beat that is not the last one is partial"
                frame += data.to_bytes(width // 8, "little")[:size]
                if last:
                    frames.append(frame)
                    frame = b""
        ctx.set(dut.eth_tx_tready, 0)
    bench.process(watch, name="wire", wait=wait)
    return frames
