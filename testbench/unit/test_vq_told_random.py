"""Doorbells of every kind, true and untrue, against an account of the ring that counts slots without end."""

import random

import pytest
from amaranth.sim import Simulator

from hdl.dma.spec import Client, FetchContext
from hdl.virtqueue.fetch import Fetch

CACHE, BATCH = 16, 4


class Account:
    """One queue of a `Fetch`: what the driver has made available, and what was fetched, judged, emptied and used, each
    counted in slots from the beginning."""

    def __init__(self, size, seed, *, honest):
        self.dut = Fetch(2, 1, client=Client.FETCH_TX, cache=CACHE, batch=BATCH)
        self.size, self.honest = size, honest
        self.rng = random.Random(seed)
        self.available = self.fetched = self.judged = self.emptied = self.used = self.told = 0
        self.epoch = 0
        self.under_way = []      # (first, count, epoch, when it is reported)

    def place(self, slot):
        return {"index": slot % self.size, "wrap": (slot // self.size + 1) % 2}

    def doorbell(self):
        """The driver's next doorbell: honest ones tell what is available, each telling more than the one before."""
        rng = self.rng
        self.available += rng.randint(0, self.used + self.size - self.available)
        kind = "true" if self.honest else rng.choice(["true", "true", "plain", "older", "anything", "near"])
        slot = {"older": max(0, self.available - rng.randint(0, self.size)),
                "near": self.available + rng.randint(0, 2 * self.size)}.get(kind, self.available)
        place = self.place(slot)
        if kind == "anything":
            place = {"index": rng.randrange(32768), "wrap": rng.randrange(2)}
        return {"queue": 0, "next_off": place["index"], "next_wrap": place["wrap"], "has_data": kind != "plain"}

    def issued(self, command, now):
        context = FetchContext().from_bits(command.context)
        if context.epoch != self.epoch % 4:
            # Decided upon before the last report came: it will be thrown away.
            assert context.epoch == (self.epoch - 1) % 4
            return
        place = self.place(self.fetched)
        assert (context.index, context.wrap) == (place["index"], place["wrap"])
        assert context.slot == self.fetched % (2 * CACHE)
        assert 1 <= context.count <= min(BATCH, self.size - context.index)
        self.under_way.append((self.fetched, context.count, self.epoch, now + self.rng.randint(4, 30)))
        self.fetched += context.count
        assert self.fetched <= self.used + self.size, "beyond the ring window"
        assert self.fetched <= self.emptied + CACHE
        if self.honest:
            assert self.fetched <= self.told and context.told, "beyond what was told"

    def report(self, now):
        """The next report, or None: what was thrown away is not reported."""
        while self.under_way and self.under_way[0][3] <= now:
            first, count, epoch, _ = self.under_way.pop(0)
            if epoch == self.epoch:
                good = min(count, max(0, self.available - first))
                self.judged = first + good
                if good == count:
                    return {"queue": 0, "full": 1, "count": good}
                self.epoch, self.fetched = epoch + 1, self.judged
                return {"queue": 0, "full": 0, "count": good, "position": self.place(self.judged),
                        "slot": self.judged % (2 * CACHE)}
        return None

    async def offer(self, ctx, port, payload):
        """Offers one payload after a random time, until it is taken."""
        while self.rng.random() < 0.3:
            await ctx.tick()
        ctx.set(port.payload, payload)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)

    async def host(self, ctx):
        """Takes fetches with stalls, and reports them."""
        dut, now = self.dut, 0
        while True:
            ready = self.rng.random() < 0.7
            ctx.set(dut.reads.ready, ready)
            report = self.report(now)
            if report is not None:
                ctx.set(dut.reports.payload, report)
                ctx.set(dut.reports.valid, 1)
            while True:
                _, _, issued, command, taken = await ctx.tick().sample(
                    dut.reads.valid & dut.reads.ready, dut.reads.payload, dut.reports.ready)
                now += 1
                if issued:
                    self.issued(command, now)
                if report is None or taken:
                    break
            ctx.set(dut.reports.valid, 0)

    async def walker(self, ctx):
        """Empties the cache, and some time later publishes used descriptors."""
        dut = self.dut
        while True:
            ctx.set(dut.space.valid, 0)
            ctx.set(dut.published.valid, 0)
            if self.rng.random() < 0.2 and self.emptied < self.judged:
                self.emptied += self.rng.randint(1, self.judged - self.emptied)
                ctx.set(dut.emptied, self.emptied % (2 * CACHE))
                ctx.set(dut.space.valid, 1)
            if self.rng.random() < 0.1 and self.used < self.emptied:
                self.used += self.rng.randint(1, self.emptied - self.used)
                ctx.set(dut.used, self.place(self.used))
                ctx.set(dut.published.valid, 1)
            await ctx.tick()

    def run(self, doorbells):
        async def driver(ctx):
            dut = self.dut
            for queue in range(2):
                ctx.set(dut.init, {"valid": 1, "queue": queue})
                await ctx.tick()
            ctx.set(dut.init.valid, 0)
            ctx.set(dut.config, {"descriptors": 0, "size": self.size, "enabled": 1})
            ctx.set(dut.used, self.place(0))
            ctx.set(dut.notification_data, 1)
            ctx.set(dut.switch.ready, 1)
            ctx.set(dut.live, 1)
            for number in range(doorbells):
                await ctx.tick().repeat(self.rng.choice([1, 3, 10, 100]))
                payload = self.doorbell()
                self.told = self.available
                await self.offer(ctx, dut.doorbells, payload)
                if number % 5 == 4:
                    # The truth asks for all there is; the second time, should a lie have made the first look old.
                    place = self.place(self.available)
                    for _ in range(1 if self.honest else 2):
                        await self.offer(ctx, dut.doorbells, {"queue": 0, "next_off": place["index"],
                                                              "next_wrap": place["wrap"], "has_data": 1})
                        await ctx.tick().repeat(300)
                    assert self.judged == self.used == self.available, "a buffer is left"
                    assert not ctx.get(dut.looking) and not self.under_way
        simulator = Simulator(self.dut)
        simulator.add_clock(4e-9)
        simulator.add_testbench(self.host, background=True)
        simulator.add_testbench(self.walker, background=True)
        simulator.add_testbench(driver)
        simulator.run()


@pytest.mark.parametrize("size, seed", [(1, 0), (2, 1), (3, 2), (5, 3), (7, 4), (16, 5), (33, 6)])
@pytest.mark.requirements("BAS-025", "PKD-014")
def test_honest_doorbells(size, seed):
    """Every slot is fetched exactly once, and none before it was told."""
    account = Account(size, seed, honest=True)
    account.run(20)
    assert account.epoch == 0 and account.fetched == account.available


@pytest.mark.parametrize("size, seed", [(1, 0), (2, 1), (3, 2), (5, 3), (7, 4), (16, 5), (33, 6)])
def test_any_doorbells(size, seed):
    """Nothing is fetched beyond the ring window, and true doorbells after them find all there is."""
    Account(size, seed, honest=False).run(20)
