"""How much is asked for before it has come, by hosts and links of all kinds."""

import pytest
from amaranth.sim import Simulator

from hdl.dma.read_window import ReadWindow

TAGS, BYTES, HEADER = 256, 512, 20


class Host:
    """Answers each read after `trip` cycles, but brings no more than `rate` bytes a cycle. Asks as fast as it may, a
    read a cycle, while there is a tag."""

    def __init__(self, rate, trip, length=BYTES):
        self.rate, self.trip, self.length = rate, trip, length
        self.under_way, self.free = [], list(range(TAGS))
        self.link = self.cycle = 0
        self.flight, self.waited, self.came, self.closed = [], [], 0, 0
        self.dut = ReadWindow(8, BYTES, TAGS * BYTES)

    def restart(self):
        self.flight, self.waited, self.came, self.closed = [], [], 0, 0

    async def run(self, ctx, cycles):
        dut = self.dut
        for _ in range(cycles):
            is_open = ctx.get(dut.open)
            self.closed += not is_open
            asks = is_open and bool(self.free)
            ctx.set(dut.taken.valid, asks)
            if asks:
                tag = self.free.pop(0)
                ctx.set(dut.taken, {"valid": 1, "tag": tag, "length": self.length, "bulk": 1})
                self.link = max(self.link, self.cycle + self.trip) + (self.length + HEADER) / self.rate
                self.under_way.append((self.link, tag))
                self.waited.append(self.link - self.cycle)
            ends = self.under_way and self.under_way[0][0] <= self.cycle
            ctx.set(dut.retired.valid, ends)
            if ends:
                tag = self.under_way.pop(0)[1]
                ctx.set(dut.retired, {"valid": 1, "tag": tag, "sent": 1})
                self.free.append(tag)
                self.came += self.length + HEADER
            self.flight.append(len(self.under_way))
            self.cycle += 1
            await ctx.tick()

    def start(self, body):
        sim = Simulator(self.dut)
        sim.add_clock(4e-9)
        sim.add_testbench(body)
        sim.run()


@pytest.mark.parametrize("rate, trip", [(16, 140), (31, 140), (31, 520), (62, 140), (62, 270)])
def test_the_link_is_busy_and_nothing_piles_up(rate, trip):
    """What is needed is what the link brings in a trip; twice that is under way, and what `SLACK` and the least window
    add."""
    host = Host(rate, trip)

    async def body(ctx):
        await host.run(ctx, 64 * (2 * trip + 128))
        host.restart()
        await host.run(ctx, 8000)
    host.start(body)
    least = ReadWindow.LEAST * BYTES / (BYTES - ReadWindow.FREE)
    assert host.came / 8000 >= 0.99 * rate
    assert 0.9 * rate * trip <= max(host.flight) * BYTES <= max(least, rate * (2 * trip + 220) * 1.1) + 4 * BYTES


def test_small_reads_are_limited_by_tags_alone():
    host = Host(31, 400, length=64)

    async def body(ctx):
        await host.run(ctx, 8000)
    host.start(body)
    assert not host.closed and max(host.flight) >= TAGS - 3


def test_a_host_that_gets_slower():
    """The window follows at the next probe."""
    host = Host(62, 140)

    async def body(ctx):
        await host.run(ctx, 6000)
        host.trip = 900
        await host.run(ctx, (ReadWindow.PROBE + 40) * (2 * 140 + 128))
        host.restart()
        await host.run(ctx, 20_000)
    host.start(body)
    assert host.came / 20_000 >= 0.97 * 62


def test_others_wait_no_longer_than_a_trip():
    """How long an answer stands in line that is asked for now: that is what other clients feel."""
    host = Host(31, 150)

    async def body(ctx):
        await host.run(ctx, 10_000)
        host.restart()
        await host.run(ctx, 10_000)
    host.start(body)
    assert max(host.waited) <= 2.2 * 150 + 128 + 60
