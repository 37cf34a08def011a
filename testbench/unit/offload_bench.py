"""The receive path with everything that it finds out of frames: what goes in, what comes out, what it tells."""

import random
from collections import Counter

from hdl.config import NicConfig
from hdl.net.receive import Receive
from model.offloads_checksum import BAD, NONE, VALID, checksum_verdict
from model.offloads_hash import HashConfig, frame_hash, scaled_queue
from testbench.unit.axis import axis_beats, send_beats
from testbench.unit.bench import StreamBench
from testbench.unit.receive_bench import packets_of

__all__ = ["OffloadBench"]

DATA_VALID = 2
AHEAD = 8       # frames on their way at most, so that none overflows


class OffloadBench(StreamBench):
    """Frames at the wire: those with a number in `bad` are marked by the MAC, those in `rejected` get no buffer.

    checksum : negotiated; long_header : likewise, the hash report
    hashes : HashConfig that is in force, or None without RSS and hash report
    scaling : its table decides
    """

    def __init__(self, frames, *, width=512, checksum=1, long_header=0, hashes=None, scaling=False, stall=0.0, bad=(),
                 rejected=(), mtu=1500, **options):
        self.width, self.checksum, self.header_bytes = width, checksum, 20 if long_header else 12
        self.hashes, self.scaling = hashes, scaling
        config = NicConfig(pairs=8, width=width, rx_buffer=32768, tx_buffer=32768, max_mtu=9000, flow_entries=16)
        dut = Receive(config)
        super().__init__(dut, limit=1000 + 20 * sum(2 + len(frame) * 8 // width for frame in frames), **options)
        rng = random.Random(self.seed)
        self.counts = Counter()
        self.kept = [frame for n, frame in enumerate(frames) if n not in bad]
        self.wanted = [frame for n, frame in enumerate(frames) if n not in bad and n not in rejected]
        order = [n for n in range(len(frames)) if n not in bad]

        async def send(ctx):
            for signal, value in ((dut.mtu, mtu), (dut.enable, 1), (dut.engine_idle, 1), (dut.checksum, checksum),
                                  (dut.long_header, long_header), (dut.hashes, hashes is not None),
                                  (dut.active_pairs, 8 if scaling else 1)):
                ctx.set(signal, value)
            await ctx.tick().repeat(20)
            if hashes is not None:
                await self._configure(ctx, rng.randrange(2))
            ended = 0
            for n, frame in enumerate(frames):
                while ended - len(self.infos) > AHEAD:
                    await ctx.tick()
                await send_beats(ctx, dut, axis_beats(frame, width, bad=n in bad),
                                 gap=lambda: int(rng.random() < stall) * rng.randrange(4))
                ended += n not in bad
        self.process(send, name="wire")
        self.infos = self.get(dut.frames, count=len(order), stall=stall / 2)
        self.put(dut.verdicts, [{"accept": n not in rejected, "buffers": 1} for n in order], stall=stall / 2)
        self.beats = self.get(dut.data, stall=stall / 2, count=sum(
            -(-(len(frame) + self.header_bytes) * 8 // width) for frame in self.wanted))

        async def count(ctx):
            while True:
                _, _, *pulses = await ctx.tick().sample(dut.csum_valid, dut.csum_none, dut.csum_bad)
                self.counts.update(name for name, pulse in zip((VALID, NONE, BAD), pulses) if pulse)
        self.process(count, wait=False)

    async def _configure(self, ctx, bank):
        """What the control queue would do."""
        dut, hashes = self.dut, self.hashes
        for entry, queue in enumerate(hashes.table):
            ctx.set(dut.table_write, {"valid": 1, "bank": bank, "entry": entry, "queue": queue})
            await ctx.tick()
        ctx.set(dut.table_write.valid, 0)
        key = int(f"{int.from_bytes(hashes.key.ljust(40, bytes(1)), 'big'):0320b}"[::-1], 2)
        ctx.set(dut.scaling, {"scaling": self.scaling, "bank": bank, "mask": max(0, len(hashes.table) - 1),
                              "unclassified": hashes.unclassified, "types": hashes.types, "key": key})
        await ctx.tick()

    def check(self):
        """Run, and compare every field of every header, every queue, and what is counted."""
        self.run()
        for frame, info in zip(self.kept, self.infos, strict=True):
            queue = scaled_queue(frame, self.hashes) if self.scaling else 0
            assert (info.length, info.queue) == (len(frame) + self.header_bytes, queue), (self.seed, frame.hex())
        verdicts = []
        for frame, packet in zip(self.wanted, packets_of(self.beats, self.width), strict=True):
            verdicts.append(checksum_verdict(frame))
            value, report = frame_hash(frame, self.hashes or HashConfig())
            header = bytes([DATA_VALID if self.checksum and verdicts[-1] == VALID else 0]) + bytes(9) + b"\x01\x00"
            header += value.to_bytes(4, "little") + report.to_bytes(2, "little") + bytes(2)
            expected = header[:self.header_bytes] + frame
            assert packet == expected, (self.seed, packet[:20].hex(), header.hex(), frame.hex())
        assert self.counts == Counter(verdicts)
        return Counter(verdicts)
