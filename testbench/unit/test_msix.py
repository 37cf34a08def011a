"""MSI-X table and pending bits: what is masked waits, what is unmasked is sent once."""

import random

import pytest
from amaranth.hdl import Cat

from hdl.config import NicConfig
from hdl.virtio.msix import MsixTable
from testbench.unit.bench import StreamBench

PBA = 0x4000
LOW, HIGH, DATA, CONTROL = 0, 4, 8, 12


def message_of(vector):
    """Address and data that the tests give a vector; odd ones lie above 4 GiB."""
    return (0x12 << 32 if vector % 2 else 0) | 0xfee0_0000 + 4 * vector, 0x4000_0000 + vector


class Rig:
    """`MsixTable` with a register bus to read and write, and all messages taken apart."""

    def __init__(self, vectors=9, *, width=128, seed=1, stall=0.0, enable=1, limit=20_000):
        self.dut = dut = MsixTable(NicConfig(pairs=(vectors - 1) // 2, width=width), pba_offset=PBA)
        self.vectors = vectors
        self.bench = StreamBench(dut, seed=seed, limit=limit)
        self.beats = self.bench.get(dut.o, stall=stall)
        self.width = width
        self.enable = enable
        self.log = []       # (cycle, kind, value), as they happen
        self.bench.process(self.watch, wait=False)

    async def watch(self, ctx):
        dut, cycle, held = self.dut, 0, False
        ctx.set(dut.enable, self.enable)
        bus = dut.table_bus.request
        while True:
            _, _, offered, taken, request, access, blocked = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, Cat(dut.requests.valid & dut.requests.ready, dut.requests.payload.vector),
                Cat(bus.valid & bus.ready & bus.payload.write & bus.payload.strobe[0], bus.payload.data[0],
                    bus.payload.address), ~dut.enable | dut.function_mask)
            if offered and not held:
                self.log.append((cycle, "message", self.vector_of(ctx, dut.o.payload)))
            held = offered and not taken
            if request & 1:
                self.log.append((cycle, "request", request >> 1))
            if access & 1 and access >> 2 < PBA and (access >> 2) % 16 == CONTROL:
                self.log.append((cycle, "mask", (access >> 6, access >> 1 & 1)))
            self.log.append((cycle, "blocked", blocked & 1))
            cycle += 1

    def vector_of(self, ctx, payload):
        # After the tick the beat may be gone, but the register still shows it: it changes with the next message.
        return (ctx.get(payload.data) & 0xffff_ffff) - 0x4000_0000

    async def access(self, ctx, address, *, data=None, strobe=0xf):
        bus = self.dut.table_bus
        ctx.set(bus.request.payload, {"write": data is not None, "address": address, "data": data or 0,
                                      "strobe": strobe})
        ctx.set(bus.request.valid, 1)
        await ctx.tick().until(bus.request.ready)
        ctx.set(bus.request.valid, 0)
        if data is not None:
            return None
        ctx.set(bus.response.ready, 1)
        value, = await ctx.tick().sample(bus.response.payload).until(bus.response.valid)
        ctx.set(bus.response.ready, 0)
        return value

    async def program(self, ctx, masked=()):
        for vector in range(self.vectors):
            address, data = message_of(vector)
            for offset, value in ((LOW, address & 0xffff_ffff), (HIGH, address >> 32), (DATA, data)):
                await self.access(ctx, 16 * vector + offset, data=value)
            if vector not in masked:
                await self.access(ctx, 16 * vector + CONTROL, data=0)

    async def request(self, ctx, *vectors):
        for vector in vectors:
            ctx.set(self.dut.requests.payload.vector, vector)
            ctx.set(self.dut.requests.valid, 1)
            await ctx.tick().until(self.dut.requests.ready)
        ctx.set(self.dut.requests.valid, 0)

    async def mask(self, ctx, vector, value):
        await self.access(ctx, 16 * vector + CONTROL, data=value)

    async def pending(self, ctx):
        """Numbers of the vectors that the PBA shows."""
        words = [await self.access(ctx, PBA + 4 * n) for n in range(-(-self.vectors // 64) * 2)]
        bits = sum(word << 32 * n for n, word in enumerate(words))
        return [n for n in range(bits.bit_length()) if bits >> n & 1]

    async def settle(self, ctx):
        await ctx.tick()
        await ctx.tick().until(self.dut.idle)

    def run(self, body):
        self.bench.process(body)
        self.bench.run()
        return [self.parse(beat) for beat in self.beats]

    def parse(self, beat):
        """Vector of a message, taken apart without the design's own layouts."""
        dw = [beat.header >> 32 * n & 0xffff_ffff for n in range(4)]
        assert beat.first and beat.last and beat.keep == 1 and beat.data >> 32 == 0
        assert dw[0] in (0x4000_0001, 0x6000_0001), "memory write of one DW, no attribute set"
        assert dw[1] == 0x0000_000f
        address = dw[2] << 32 | dw[3] if dw[0] >> 29 == 3 else dw[2]
        assert (address >= 1 << 32) == (dw[0] >> 29 == 3) and (dw[0] >> 29 == 3 or dw[3] == 0)
        vector = beat.data - 0x4000_0000
        assert message_of(vector) == (address, beat.data)
        return vector


@pytest.mark.requirements("PCI-103")
@pytest.mark.parametrize("width", [128, 256, 512])
def test_every_vector_sends_its_message(width):
    rig = Rig(width=width)

    async def body(ctx):
        await rig.program(ctx)
        await rig.request(ctx, 3, 0, 8, 3)
        await rig.settle(ctx)
    assert rig.run(body) == [3, 0, 8, 3]


def test_table_after_reset():
    rig = Rig()

    async def body(ctx):
        for vector in range(9):
            assert [await rig.access(ctx, 16 * vector + n) for n in (LOW, HIGH, DATA, CONTROL)] == [0, 0, 0, 1]
        assert await rig.pending(ctx) == []
        await rig.request(ctx, 1)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == [1]
    assert rig.run(body) == []


def test_byte_enables_and_reserved_bits():
    rig = Rig()

    async def body(ctx):
        for offset, writable in ((LOW, 0xffff_fffc), (HIGH, 0xffff_ffff), (DATA, 0xffff_ffff), (CONTROL, 1)):
            for vector in (0, 8):
                address, value = 16 * vector + offset, 0
                await rig.access(ctx, address, data=0)
                for strobe in range(16):
                    data = random.Random(strobe).getrandbits(32) | 1
                    lanes = sum(0xff << 8 * n for n in range(4) if strobe >> n & 1)
                    value = value & ~lanes | data & lanes & writable
                    await rig.access(ctx, address, data=data, strobe=strobe)
                    assert await rig.access(ctx, address) == value
        assert await rig.access(ctx, 16 + CONTROL) == 1, "neighbours are not touched"
    rig.run(body)


def test_holes_and_the_pending_bits_are_not_written():
    rig = Rig()

    async def body(ctx):
        await rig.program(ctx, masked=[2])
        await rig.request(ctx, 2)
        for address in (16 * 9, 16 * 16, PBA - 4, PBA, PBA + 4, PBA + 8, PBA + 0x1000):
            await rig.access(ctx, address, data=0)
            assert await rig.access(ctx, address) == (4 if address == PBA else 0)
        for vector in range(9):
            assert await rig.access(ctx, 16 * vector + DATA) == message_of(vector)[1]
    assert rig.run(body) == []


def test_masked_vector_waits_and_collapses():
    rig = Rig()

    async def body(ctx):
        await rig.program(ctx, masked=[4, 5])
        await rig.request(ctx, 4, 4, 5, 4, 6)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == [4, 5]
        await rig.mask(ctx, 4, 0)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == [5]
        await rig.access(ctx, 16 * 5 + CONTROL, data=0, strobe=0xe)     # the mask bit's byte is not enabled
        await rig.settle(ctx)
        assert await rig.pending(ctx) == [5]
        await rig.mask(ctx, 5, 0)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == []
        await rig.mask(ctx, 4, 1)
        await rig.mask(ctx, 4, 0)
        await rig.settle(ctx)
    assert rig.run(body) == [6, 4, 5]


@pytest.mark.parametrize("by", ["function_mask", "enable"])
def test_function_mask(by):
    """Function mask and disabled MSI-X hold all back; a vector's own mask goes on after that."""
    rig = Rig()

    async def body(ctx):
        await rig.program(ctx, masked=[1])
        ctx.set(getattr(rig.dut, by), by == "function_mask")
        await rig.request(ctx, 7, 1, 0, 7)
        await rig.mask(ctx, 7, 0)       # not masked, but the function is
        await ctx.tick().repeat(30)
        assert await rig.pending(ctx) == [0, 1, 7] and not rig.beats
        ctx.set(getattr(rig.dut, by), by == "enable")
        await rig.settle(ctx)
        assert await rig.pending(ctx) == [1]
    assert rig.run(body) == [0, 7]


def test_vector_out_of_range_is_dropped():
    rig = Rig(vectors=9)

    async def body(ctx):
        await rig.program(ctx, masked=[2])
        await rig.request(ctx, 9, 10, 32 + 3, 0x7ff, 1)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == []
    assert rig.run(body) == [1]


@pytest.mark.requirements("BAS-010")
@pytest.mark.parametrize("reset_table", [0, 1])
def test_reset(reset_table):
    """A virtio reset cancels what is pending and leaves the table; a function level reset masks all of it."""
    rig = Rig(vectors=101)

    async def body(ctx):
        await rig.program(ctx, masked=[3, 40, 100])
        await rig.request(ctx, 3, 40, 100)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == [3, 40, 100]
        port = rig.dut.reset_table if reset_table else rig.dut.clear
        ctx.set(port, 1)
        await ctx.tick()
        ctx.set(port, 0)
        assert not ctx.get(rig.dut.idle)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == []
        row = [await rig.access(ctx, 16 * 7 + n) for n in (LOW, HIGH, DATA, CONTROL)]
        address, data = message_of(7)
        assert row == ([0, 0, 0, 1] if reset_table else [address & 0xffff_ffff, address >> 32, data, 0])
        for vector in (3, 40, 100):
            await rig.mask(ctx, vector, 0)
        await rig.settle(ctx)
        await rig.request(ctx, 5)
        await rig.settle(ctx)
    assert rig.run(body) == ([] if reset_table else [5])


def test_search_goes_by_words():
    """513 vectors, of which two far apart are pending: found at once, in order, without a look at each."""
    rig = Rig(vectors=513)

    async def body(ctx):
        ctx.set(rig.dut.function_mask, 1)
        for vector in (70, 512):
            address, data = message_of(vector)
            for offset, value in ((LOW, address & 0xffff_ffff), (HIGH, address >> 32), (DATA, data), (CONTROL, 0)):
                await rig.access(ctx, 16 * vector + offset, data=value)
        await rig.request(ctx, 512, 70)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == [70, 512]
        ctx.set(rig.dut.function_mask, 0)
        await ctx.tick().repeat(16)
        assert len(rig.beats) == 2
    assert rig.run(body) == [70, 512]


def test_unmasked_behind_the_search():
    """A vector that a search has just passed by is unmasked: it is searched again."""
    rig = Rig(vectors=71)

    async def body(ctx):
        await rig.program(ctx, masked=range(71))
        ctx.set(rig.dut.function_mask, 1)
        await rig.request(ctx, *range(71))
        await rig.settle(ctx)
        ctx.set(rig.dut.function_mask, 0)
        await ctx.tick().repeat(30)
        assert not ctx.get(rig.dut.idle), "the search is under way"
        await rig.mask(ctx, 0, 0)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == list(range(1, 71))
    assert rig.run(body) == [0]


def test_bus_does_not_wait_for_messages():
    rig = Rig(stall=1.0)

    async def body(ctx):
        await rig.program(ctx)
        await rig.request(ctx, 1)
        ctx.set(rig.dut.requests.payload.vector, 2)
        ctx.set(rig.dut.requests.valid, 1)
        await ctx.tick().repeat(10)
        assert not ctx.get(rig.dut.idle)
        for _ in range(20):
            assert await rig.access(ctx, 16 * 2 + DATA) == message_of(2)[1]
    rig.run(body)
    assert not rig.beats


def test_latency_and_rate():
    rig = Rig()

    async def body(ctx):
        await rig.program(ctx)
        await rig.request(ctx, *range(9))
        await rig.settle(ctx)
    rig.run(body)
    requests = [cycle for cycle, kind, _ in rig.log if kind == "request"]
    messages = [cycle for cycle, kind, _ in rig.log if kind == "message"]
    assert [b - a for a, b in zip(requests, messages)] == [2] * 9
    assert requests[-1] - requests[0] == 2 * 8


def test_not_idle_while_a_message_waits():
    rig = Rig(stall=1.0)

    async def body(ctx):
        await rig.program(ctx)
        await rig.request(ctx, 1)
        await ctx.tick().repeat(20)
        assert not ctx.get(rig.dut.idle)
    rig.run(body)


def test_found_vectors_take_turns_with_requests():
    """Requests without a pause don't hold up a vector that was unmasked."""
    rig = Rig()

    async def requests(ctx):
        await ctx.tick().until(rig.dut.function_mask == 1)
        await rig.request(ctx, *[1] * 100)

    async def body(ctx):
        await rig.program(ctx, masked=[6])
        await rig.request(ctx, 6)
        ctx.set(rig.dut.function_mask, 1)
        await ctx.tick()
        ctx.set(rig.dut.function_mask, 0)
        await rig.mask(ctx, 6, 0)
        await ctx.tick().repeat(20)
        assert ctx.get(rig.dut.requests.valid)
        assert 6 in [rig.parse(beat) for beat in rig.beats]
        await rig.settle(ctx)
    rig.bench.process(requests)
    assert rig.run(body).count(6) == 1


@pytest.mark.parametrize("seed", range(4))
def test_masks_race_with_requests(seed):
    """Whatever the moment at which masks change: each request is followed by a message, no message comes without a
    request since the last one, and none while masked."""
    rng = random.Random(seed)
    rig = Rig(vectors=9 if seed % 2 else 71, seed=seed, stall=rng.choice([0, 0.3, 0.7]))
    few = [rng.randrange(rig.vectors) for _ in range(4)]
    programmed = []

    async def requests(ctx):
        await ctx.tick().until(rig.dut.idle & (rig.dut.function_mask == 1))
        for _ in range(200):
            if rng.random() < 0.3:
                await ctx.tick().repeat(rng.randint(1, 12))
            await rig.request(ctx, rng.choice(few))
        programmed.append("done")

    async def driver(ctx):
        await rig.program(ctx, masked=few)
        ctx.set(rig.dut.function_mask, 1)
        while not programmed:
            what = rng.random()
            if what < 0.2:
                ctx.set(rig.dut.function_mask, rng.randrange(2))
            elif what < 0.25:
                ctx.set(rig.dut.enable, rng.randrange(2))
            else:
                await rig.mask(ctx, rng.choice(few), rng.randrange(2))
            for _ in range(rng.choice([0, 0, 1, 2, 3, 10])):
                await ctx.tick()
        ctx.set(rig.dut.enable, 1)
        ctx.set(rig.dut.function_mask, 0)
        for vector in few:
            await rig.mask(ctx, vector, 0)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == []
    rig.bench.process(requests)
    rig.run(driver)
    check_log(rig.log, rig.vectors)


def check_log(log, vectors):
    # A message was decided a cycle before it shows; its entry was read before that, after older accesses.
    masks = {vector: [(-1, 1)] for vector in range(vectors)}
    blocked = {cycle: value for cycle, kind, value in log if kind == "blocked"}
    for cycle, kind, value in log:
        if kind == "mask":
            masks[value[0]].append((cycle, value[1]))
    owed = dict.fromkeys(range(vectors), False)
    messages = 0
    # A request is judged in the cycle after it is taken, so a message in that very cycle is an older one's.
    events = sorted((cycle + (1 if kind == "request" else 0), kind, value) for cycle, kind, value in log
                    if kind in ("request", "message"))
    for cycle, kind, vector in events:
        if kind == "request":
            owed[vector] = True
            continue
        messages += 1
        assert owed[vector], "a message that nobody asked for, or the second for one request"
        owed[vector] = False
        assert not blocked[cycle - 1]
        assert [mask for when, mask in masks[vector] if when <= cycle - 3][-1] == 0
    assert not any(owed.values()), "a request without message"
    assert messages > 20


def test_pending_bits_must_lie_behind_the_table():
    with pytest.raises(ValueError, match="can't start at 128, with 9 vectors"):
        MsixTable(NicConfig(pairs=4), pba_offset=128)
