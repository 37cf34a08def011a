"""A bench for the MSI-X table: its register bus, requests, and the messages taken apart."""

from amaranth.hdl import Cat

from hdl.config import NicConfig
from hdl.virtio.msix import MsixTable
from testbench.unit.bench import StreamBench

__all__ = ["CONTROL", "DATA", "HIGH", "LOW", "PBA", "Rig", "check_log", "message_of"]

PBA = 0x4000
LOW, HIGH, DATA, CONTROL = 0, 4, 8, 12


def message_of(vector):
    """Address and data that the tests give a vector; odd ones lie above 4 GiB."""
    return (0x12 << 32 if vector % 2 else 0) | 0xfee0_0000 + 4 * vector, 0x4000_0000 + vector


class Rig:
    """`MsixTable` with a register bus to read and write, and all messages taken apart."""

    def __init__(self, vectors=10, *, width=128, seed=1, stall=0.0, enable=1, limit=20_000):
        self.dut = dut = MsixTable(NicConfig(pairs=(vectors - 2) // 2, width=width), pba_offset=PBA)
        self.vectors = vectors
        self.bench = StreamBench(dut, seed=seed, limit=limit)
        self.beats = self.bench.get(dut.o, stall=stall)
        self.width = width
        self.enable = enable
        self.log = []       # (cycle, kind, value), as they happen
        self.bench.process(self.watch, wait=False)
        self.bench.process(self.accept, wait=False)

    async def accept(self, ctx):
        """Every message has its place in the posted order a cycle after it was taken."""
        while True:
            _, _, valid, ready = await ctx.tick().sample(self.dut.o.valid, self.dut.o.ready)
            ctx.set(self.dut.accepted, valid & ready)

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


def check_log(log, vectors):
    """Each request got its message, each message had a request, and none was sent while masked."""
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
