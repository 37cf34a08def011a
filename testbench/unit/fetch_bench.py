"""A bench for `Fetch` alone."""

from amaranth.sim import Simulator

from hdl.dma.spec import Client, FetchContext
from hdl.virtqueue.fetch import Fetch

__all__ = ["BATCH", "CACHE", "Bench"]


CACHE, BATCH = 64, 16


class Bench:
    """A `Fetch` of two queues, driven step by step. `asked` fills with (queue, index, wrap, slot, count, epoch), and
    beside it `told` with that bit of the context and `times` with cycles."""

    def __init__(self, size=1024, *, notification_data=0, cache=CACHE, **options):
        self.dut = Fetch(2, 1, client=Client.FETCH_RX, cache=cache, batch=BATCH, **options)
        self.size, self.notification_data = size, notification_data
        self.asked, self.told, self.times, self.switches, self.places = [], [], [], [], []
        self.now = 0

    def run(self, scenario):
        async def body(ctx):
            dut = self.dut
            for queue in range(2):
                ctx.set(dut.init, {"valid": 1, "queue": queue})
                await ctx.tick()
            ctx.set(dut.init.valid, 0)
            ctx.set(dut.config, {"descriptors": 0x10000, "size": self.size, "enabled": 1})
            ctx.set(dut.used, {"index": 0, "wrap": 1})
            ctx.set(dut.notification_data, self.notification_data)
            ctx.set(dut.live, 1)
            ctx.set(dut.switch.ready, 1)
            await scenario(ctx)

        async def watch(ctx):
            dut = self.dut
            ctx.set(dut.reads.ready, 1)
            while True:
                _, _, valid, command, switch, suppression = await ctx.tick().sample(
                    dut.reads.valid, dut.reads.payload, dut.switch.valid, dut.switch.payload)
                self.now += 1
                if valid:
                    context = FetchContext().from_bits(command.context)
                    assert command.address == 0x10000 + 16 * context.index
                    assert command.length == 16 * context.count and command.last and not command.more
                    self.times.append(self.now)
                    self.told.append(context.told)
                    self.asked.append((command.queue, context.index, context.wrap, context.slot, context.count,
                                       context.epoch))
                if switch:
                    self.switches.append((suppression.queue, suppression.enable))
                    self.places.append((suppression.position.index, suppression.position.wrap))
        simulator = Simulator(self.dut)
        simulator.add_clock(4e-9)
        simulator.add_testbench(watch, background=True)
        simulator.add_testbench(body)
        simulator.run()

    async def send(self, ctx, port, **payload):
        ctx.set(port.payload, payload)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)

    async def doorbell(self, ctx, queue=0, told=None):
        """Rings; with `told` (index, wrap) in 32 bits."""
        index, wrap = told or (0, 0)
        await self.send(ctx, self.dut.doorbells, queue=queue, next_off=index, next_wrap=wrap,
                        has_data=told is not None)

    async def full(self, ctx, chain=0, count=1, queue=0):
        await self.send(ctx, self.dut.reports, queue=queue, full=1, chain=chain, count=count)
        await ctx.tick().repeat(12)

    async def bad(self, ctx, index, *, wrap=1, slot=None, chain=0, count=0, queue=0, seen=None):
        """With `seen` (index, wrap, on): what was thrown away shows what is available up to there."""
        until = {"index": seen[0], "wrap": seen[1]} if seen else {}
        await self.send(ctx, self.dut.reports, queue=queue, full=0, chain=chain, count=count,
                        position={"index": index, "wrap": wrap}, slot=index if slot is None else slot,
                        seen=seen is not None, until=until, on=seen[2] if seen else 0)
        await ctx.tick().repeat(12)
