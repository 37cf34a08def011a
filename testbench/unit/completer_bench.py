"""A host, a register target and a message sink around `pcie.Completer`.

    def test_something():
        async def body(host):
            await host.start()
            assert await host.read(host.bar + 4, 4) == ...
        run(body, width=128, seed=1, stall=0.3)
"""

import random
from collections import deque

from hdl.config import NicConfig
from hdl.pcie.completer import Completer
from testbench.unit import tlp as t
from testbench.unit.bench import StreamBench

__all__ = ["BAR", "Host", "run"]

BAR = 0x12_3400_0000
SUCCESS, UNSUPPORTED, ABORT = 0, 1, 4
MESSAGES = {0x20: "assert", 0x24: "deassert", 0x30: "cor", 0x31: "nonfatal", 0x33: "fatal", 0x1b: "to_ack"}


class Host:
    """What the tests talk to. `accesses` lists (write, address, data, strobe) on the bus in order."""

    def __init__(self, ctx, dut, width):
        self.ctx = ctx
        self.dut = dut
        self.width = width
        self.bar = BAR
        self.queue = deque()        # beats to send
        self.cc_beats = []
        self.message_beats = []
        self.accesses = []
        self.access_times = []
        self.sent_times = []
        self.memory = {}            # DW address → value, where written
        self.cc_open = self.messages_open = self.bus_open = True
        self.flrs = 0
        self.time = 0
        self._tag = 0

    # Cycles
    async def wait(self, cycles=1):
        await self.ctx.tick().repeat(cycles)

    async def until(self, condition, *, limit=4000):
        for _ in range(limit):
            if condition():
                return
            await self.ctx.tick()
        raise AssertionError(f"not reached in {limit} cycles")

    def set(self, name, value):
        self.ctx.set(getattr(self.dut, name), value)

    def get(self, name):
        return self.ctx.get(getattr(self.dut, name))

    async def pulse(self, *names):
        for name in names:
            self.set(name, 1)
        await self.wait()
        for name in names:
            self.set(name, 0)

    # Packets
    def send(self, *packets):
        for packet in packets:
            self.queue.extend(t.beats_of(packet, self.width))

    async def drained(self, settle=40):
        """Everything sent was taken, and has had time to take effect."""
        await self.until(lambda: not self.queue)
        await self.wait(settle)

    @property
    def answered(self):
        """Completions that have come and were not looked at."""
        return sum(beat.last for beat in self.cc_beats)

    def completions(self):
        """Those since the last call; none may be under way."""
        found = [t.completion_of(packet) for packet in t.tlps_of(self.cc_beats)]
        self.cc_beats.clear()
        return found

    def messages(self):
        names = []
        for packet in t.tlps_of(self.message_beats):
            code = packet.header[1] & 0xff
            routing = {0x20: 4, 0x24: 4, 0x1b: 5}.get(code, 0)
            assert packet.header == [0x3000_0000 | routing << 24, code, 0, 0]
            names.append(MESSAGES[code])
        return names

    async def next_messages(self):
        """Messages since the last call, once there was time for them."""
        await self.wait(40)
        names = self.messages()
        self.message_beats.clear()
        return names

    def next_tag(self):
        self._tag = self._tag + 1 & 0xff
        return self._tag

    async def ask(self, packet):
        """Send a request and return its single completion."""
        tag = self.next_tag()
        packet.header[1] |= tag << 8
        self.send(packet)
        await self.until(lambda: self.answered)
        completion, = self.completions()
        assert completion.tag == tag
        return completion

    async def config_read(self, register, **options):
        completion = await self.ask(t.config_read(register, **options))
        assert (completion.status, completion.byte_count, completion.lower_address) == (SUCCESS, 4, 0)
        return int.from_bytes(completion.data, "little")

    async def config_write(self, register, value, **options):
        completion = await self.ask(t.config_write(register, value, **options))
        assert (completion.status, completion.data, completion.byte_count) == (SUCCESS, b"", 4)

    async def read_completions(self, address, length, **options):
        """Completions of a memory read, up to the one that says that it is the last."""
        self.send(t.memory_read(address, length, **options))
        found = []
        while True:
            await self.until(lambda: self.cc_beats and self.cc_beats[-1].last)
            found += self.completions()
            last = found[-1]
            if last.status or last.lower_address % 4 + last.byte_count <= len(last.data):
                return found

    async def read(self, address, length, **options):
        """Bytes of a memory read, cut out of its completions."""
        result = b""
        for completion in await self.read_completions(address, length, **options):
            assert completion.status == SUCCESS
            lead = completion.lower_address % 4
            result += completion.data[lead:lead + completion.byte_count]
        return result

    async def start(self, *, command=0x0406, control=None):
        """Place BAR 0 and set Command (as given), and Device Control where given."""
        await self.config_write(0x10, BAR & 0xffff_ffff)
        await self.config_write(0x14, BAR >> 32)
        await self.config_write(0x04, command, enables=0b0011)
        if control is not None:
            await self.config_write(0xb4, control, enables=0b0011)

    def word(self, address):
        """What the register target holds: a pattern of the address where nothing was written."""
        return self.memory.get(address, address * 0x0101_0001 + 0x5a00_a500 & 0xffff_ffff)

    def image(self, offset, length):
        """Bytes the register target holds."""
        words = range(offset // 4 * 4, offset + length, 4)
        data = b"".join(self.word(address).to_bytes(4, "little") for address in words)
        return data[offset % 4:offset % 4 + length]


async def _drive_cq(host, ctx, rng, stall):
    port = host.dut.cq
    while True:
        while not host.queue or rng.random() < stall:
            await ctx.tick()
        ctx.set(port.payload, host.queue[0])
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        host.sent_times.append(host.time)
        host.queue.popleft()
        ctx.set(port.valid, 0)


async def _collect(host, ctx, port, beats, is_open, rng, stall):
    offered = None
    while True:
        ready = is_open() and rng.random() >= stall
        ctx.set(port.ready, ready)
        _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
        assert offered is None or (valid and payload == offered), "valid dropped or payload changed before a transfer"
        offered = payload if valid and not ready else None
        if valid and ready:
            beats.append(payload)


async def _serve_bus(host, ctx, rng, stall):
    """Register target: answers reads in order after a random time; an access is logged when it is taken."""
    request, response = host.dut.bus.request, host.dut.bus.response
    answers = deque()
    while True:
        ready = host.bus_open and rng.random() >= stall
        ctx.set(request.ready, ready)
        if answers and rng.random() >= stall:
            ctx.set(response.payload, answers[0])
            ctx.set(response.valid, 1)
        _, _, valid, p, answered, taken = await ctx.tick().sample(
            request.valid, request.payload, response.valid, response.ready)
        if answered:
            assert taken, "the completer must always take an answer"
            answers.popleft()
            ctx.set(response.valid, 0)
        if valid and ready:
            assert p.function == 0 and p.address % 4 == 0 and p.address < host.dut.layout.size
            host.accesses.append((p.write, p.address, p.data if p.write else None, p.strobe))
            host.access_times.append(host.time)
            if p.write:
                mask = sum(0xff << 8 * lane for lane in range(4) if p.strobe >> lane & 1)
                host.memory[p.address] = host.word(p.address) & ~mask | p.data & mask
            else:
                answers.append(host.word(p.address))


def run(body, *, width=128, seed=1, stall=0.0, limit=20_000, preset="tiny", **ids):
    """Run `async def body(host)` against a completer; returns the host."""
    dut = Completer(NicConfig.preset(preset).with_(width=width), **ids)
    bench = StreamBench(dut, seed=seed, limit=limit)
    rng = random.Random(seed)
    host = Host(None, dut, width)

    def background(work):
        bench.process(work, wait=False)
    background(lambda ctx: _drive_cq(host, ctx, rng, stall))
    background(lambda ctx: _collect(host, ctx, dut.cc, host.cc_beats, lambda: host.cc_open, rng, stall))
    background(lambda ctx: _collect(host, ctx, dut.messages, host.message_beats, lambda: host.messages_open, rng,
                                    stall))
    background(lambda ctx: _serve_bus(host, ctx, rng, stall))

    async def watch(ctx):
        async for _, _, flr in ctx.tick().sample(dut.flr):
            host.time += 1
            host.flrs += flr
    background(watch)

    async def main(ctx):
        host.ctx = ctx
        await body(host)
    bench.process(main, name="test body")
    bench.run()
    return host
