"""RSS_CONFIG and HASH_CONFIG, byte by byte, against the model's reading of them."""

import random
import struct

import pytest

from hdl.net.control_multiqueue import Multiqueue
from model.offloads_config import hash_config, pack_hash_config, pack_rss_config, rss_config
from model.offloads_hash import HashConfig
from testbench.unit.bench import StreamBench

PAIRS, PAIR_BITS = 5, 3
PAIRS_SET, RSS, HASH = range(3)
OK, ERR = 0, 1


class MultiqueueBench(StreamBench):
    """Gives commands, and knows what must be in force after each."""

    def __init__(self, *, features=("multiqueue", "scaling", "hash_report"), enabled=range(PAIRS), **options):
        dut = Multiqueue(PAIRS, PAIR_BITS)
        super().__init__(dut, limit=400_000, **options)
        self.rng = random.Random(self.seed)
        self.features, self.enabled = features, set(enabled)
        self.tables = [[0] * 128, [0] * 128]
        self.forget()
        self.acks = []

        async def watch(ctx):
            while True:
                _, _, write = await ctx.tick().sample(dut.table_write)
                if write.valid:
                    assert write.bank != ctx.get(dut.scaling.bank), "the table in use is left alone"
                    self.tables[write.bank][write.entry] = write.queue
        self.process(watch, wait=False)

    def forget(self):
        self.active, self.config, self.scaling = 1, HashConfig(key=bytes(40)), False

    def judge(self, command, data):
        """What the command is answered, by the model."""
        found = None
        if command == PAIRS_SET and "multiqueue" in self.features and len(data) == 2:
            pairs, = struct.unpack("<H", data)
            if 1 <= pairs <= PAIRS:
                self.active, self.scaling = pairs, False
                return OK
        if command == RSS and "scaling" in self.features:
            found = rss_config(data, PAIRS, lambda queue: queue in self.enabled)
            if found:
                self.config, self.active, self.scaling = found, PAIRS, True
        if command == HASH and "hash_report" in self.features:
            found = hash_config(data)
            if found:
                self.config = HashConfig(found.types, found.key, self.config.table, self.config.unclassified)
        return ERR if found is None else OK

    async def start(self, ctx):
        for name in self.features:
            ctx.set(getattr(self.dut.features, name), 1)
        ctx.set(self.dut.settled, 1)
        ctx.set(self.dut.i.reply.ready, 1)
        await ctx.tick().until(self.dut.idle)
        for queue in self.enabled:
            await self.enable(ctx, queue, 1)

    async def enable(self, ctx, queue, enabled):
        (self.enabled.add if enabled else self.enabled.discard)(queue)
        ctx.set(self.dut.enable, {"valid": 1, "transmit": 0, "queue": queue, "enabled": enabled})
        await ctx.tick()
        # Transmit queues are none of its business.
        ctx.set(self.dut.enable, {"valid": 1, "transmit": 1, "queue": queue, "enabled": self.rng.randrange(2)})
        await ctx.tick()
        ctx.set(self.dut.enable.valid, 0)

    async def give(self, ctx, command, data, execute=True):
        port = self.dut.i
        ctx.set(port.command, command)
        ctx.set(port.begin, 1)
        await ctx.tick()
        ctx.set(port.begin, 0)
        for byte in data:
            if ctx.get(port.enough) and self.rng.random() < 0.5:
                break
            while self.rng.random() < 0.2:
                await ctx.tick()
            ctx.set(port.bytes.payload, byte)
            ctx.set(port.bytes.valid, 1)
            await ctx.tick()
            ctx.set(port.bytes.valid, 0)
        if not execute:
            return
        await ctx.tick()
        ctx.set(port.execute, 1)
        await ctx.tick()
        ctx.set(port.execute, 0)
        (reply,) = await ctx.tick().sample(port.reply.payload).until(port.reply.valid)
        expected = self.judge(command, data)
        assert (reply.data, reply.last) == (expected, 1), (self.seed, command, data.hex())
        self.acks.append(expected)
        self.compare(ctx)

    def compare(self, ctx):
        settings = ctx.get(self.dut.scaling)
        key = int(f"{int.from_bytes(self.config.key, 'big'):0320b}"[::-1], 2)
        assert (settings.types, settings.key, settings.scaling) == (self.config.types, key, self.scaling), self.seed
        assert ctx.get(self.dut.active_pairs) == self.active
        if self.scaling:
            table = self.tables[settings.bank][:settings.mask + 1]
            assert (tuple(table), settings.unclassified) == (self.config.table, self.config.unclassified), self.seed


def random_data(rng, command):
    """Half of it a good configuration."""
    if command in (RSS, HASH) and rng.random() < 0.5:
        types, key = rng.randrange(0x200), rng.randbytes(rng.choice([40, 40, 16]))
        table = [rng.randrange(PAIRS) for _ in range(1 << rng.randrange(8))]
        return (pack_hash_config(types, key) if command == HASH
                else pack_rss_config(types, key, table, rng.randrange(PAIRS), rng.randint(1, PAIRS)))
    key = rng.randbytes(rng.choice([40, 40, 40, 0, 1, 39, 41, 255]))
    types = rng.choice([rng.randrange(0x200), rng.randrange(0x200), 0x1ff, 0, 0x200, 1 << 31])
    if command == HASH:
        data = bytearray(pack_hash_config(types, key))
        data[4:12] = rng.randbytes(8)
    elif command == RSS:
        count = rng.choice([1, 2, 4, 8, 32, 128, 128, 3, 127, 256])
        queues = [rng.randrange(rng.choice([5, 5, 5, 5, 5, 5, 5, 6])) for _ in range(count + 1)]
        if rng.random() < 0.1:
            queues[rng.randrange(count + 1)] |= 0x8000
        data = bytearray(pack_rss_config(types, key, queues[1:], queues[0], rng.choice([1, 3, 5, 5, 0, 6, 0x100])))
    else:
        data = bytearray(struct.pack("<H", rng.choice([1, 2, 5, 0, 6])))
    spoil = rng.random()
    if spoil < 0.1:
        data = data[:rng.randrange(len(data))]
    elif spoil < 0.2:
        data += rng.randbytes(rng.choice([1, 2, 40]))
    return bytes(data)


@pytest.mark.requirements("NET-099", "NET-100", "NET-102", "NET-160", "NET-166", "NET-167", "NET-168")
@pytest.mark.parametrize("seed, features", [
    (0, ("multiqueue", "scaling", "hash_report")), (1, ("multiqueue", "scaling", "hash_report")), (2, ("scaling",)),
    (3, ("hash_report", "multiqueue")), (4, ("multiqueue",))])
def test_random_configurations(seed, features):
    """All or nothing: what is refused leaves everything as it was, also when it is given up on the way."""
    rng = random.Random(seed)
    bench = MultiqueueBench(seed=seed, features=features)

    async def run(ctx):
        await bench.start(ctx)
        for _ in range(80):
            command = rng.choice([PAIRS_SET, RSS, RSS, RSS, HASH, HASH, 3])
            await bench.give(ctx, command, random_data(rng, command), execute=rng.random() < 0.9)
            if rng.random() < 0.1:
                await bench.enable(ctx, rng.randrange(PAIRS), rng.random() < 0.8)
            bench.compare(ctx)
    bench.process(run)
    bench.run()
    assert set(bench.acks) == {OK, ERR}
    assert bench.acks.count(OK) > (15 if seed < 2 else 3)


GOOD = pack_rss_config(0x3f, bytes(range(40)), [0, 1, 2, 4], 3, 2)


@pytest.mark.requirements("NET-166", "NET-167", "NET-168")
@pytest.mark.parametrize("at, value", [
    (0, 0x1_0000), (2, 1), (4, 2), (4, 255), (6, 5), (6, 0x8000), (8, 5), (14, 0x8001), (14, 9), (16, 0), (16, 6),
    (18, 41), (18, 39)])
def test_one_wrong_field(at, value):
    """Every field but one as it should be; before and after it a configuration that is taken."""
    wrong = bytearray(GOOD)
    size = 1 if at == 18 else 4 if at == 0 else 2
    wrong[at:at + size] = value.to_bytes(size, "little")
    bench = MultiqueueBench()

    async def run(ctx):
        await bench.start(ctx)
        await bench.give(ctx, RSS, pack_rss_config(0x7, bytes(40), [1], 1, 1))
        await bench.give(ctx, RSS, bytes(wrong))
        await bench.give(ctx, RSS, GOOD)
    bench.process(run)
    bench.run()
    assert bench.acks == [OK, ERR, OK]


@pytest.mark.requirements("NET-161", "NET-167")
def test_disabled_queues_and_reset():
    """A queue that is disabled can't be named, nor one that was enabled before a reset; a reset ends all of it."""
    bench = MultiqueueBench(enabled=[0, 1, 2, 3])

    async def run(ctx):
        await bench.start(ctx)
        await bench.give(ctx, RSS, GOOD)
        await bench.enable(ctx, 4, 1)
        await bench.give(ctx, RSS, GOOD)
        ctx.set(bench.dut.clear, 1)
        await ctx.tick()
        ctx.set(bench.dut.clear, 0)
        await ctx.tick().until(bench.dut.idle)
        bench.forget()
        bench.enabled.clear()
        bench.compare(ctx)
        await bench.give(ctx, RSS, GOOD)
        for queue in range(PAIRS):
            await bench.enable(ctx, queue, 1)
        await bench.give(ctx, RSS, GOOD)
        await bench.give(ctx, PAIRS_SET, b"\2\0")
        await bench.give(ctx, HASH, pack_hash_config(0x5, b"key"))
        assert not ctx.get(bench.dut.scaling.scaling)
    bench.process(run)
    bench.run()
    assert bench.acks == [ERR, OK, ERR, OK, OK, OK]
