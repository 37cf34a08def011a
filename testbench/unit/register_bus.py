"""An initiator on a `RegisterBus`: reads and writes of any width, as the completer splits them into DWs.

    bus = RegisterBusAgent(dut.bus)

    async def body(ctx):
        await bus.write(ctx, 0x14, 1, size=1)
        assert await bus.read(ctx, 0x14, size=1) == 1
"""

__all__ = ["RegisterBusAgent"]


class RegisterBusAgent:
    """Issues accesses one at a time.

    Parameters
    ----------
    bus : RegisterBus interface of the device under test
    limit : int
        cycles after which an access that is not served fails
    """

    def __init__(self, bus, *, limit=1000):
        self.bus = bus
        self.limit = limit

    async def _wait(self, ctx, signal):
        for _ in range(self.limit):
            _, _, value = await ctx.tick().sample(signal)
            if value:
                return
        raise AssertionError(f"no transfer within {self.limit} cycles")

    async def request(self, ctx, address, *, write, data, strobe):
        """One DW request, until it is taken."""
        request = self.bus.request
        ctx.set(request.payload, {"function": 0, "write": write, "address": address, "data": data, "strobe": strobe})
        ctx.set(request.valid, 1)
        await self._wait(ctx, request.ready)
        ctx.set(request.valid, 0)

    async def answer(self, ctx):
        """The next answer, as it is offered."""
        response = self.bus.response
        ctx.set(response.ready, 1)
        for _ in range(self.limit):
            _, _, valid, data = await ctx.tick().sample(response.valid, response.payload)
            if valid:
                ctx.set(response.ready, 0)
                return data
        raise AssertionError(f"no answer within {self.limit} cycles")

    @staticmethod
    def _dwords(address, size):
        """(DW address, first lane, bytes) of each DW that an access touches."""
        while size:
            lane = address % 4
            count = min(size, 4 - lane)
            yield address - lane, lane, count
            address += count
            size -= count

    async def write(self, ctx, address, value, size=4):
        """Write `size` bytes, little-endian."""
        for dword, lane, count in self._dwords(address, size):
            part = value & (1 << 8 * count) - 1
            value >>= 8 * count
            await self.request(ctx, dword, write=1, data=part << 8 * lane, strobe=((1 << count) - 1) << lane)

    async def read(self, ctx, address, size=4):
        """Read `size` bytes, little-endian."""
        value, shift = 0, 0
        for dword, lane, count in self._dwords(address, size):
            await self.request(ctx, dword, write=0, data=0, strobe=((1 << count) - 1) << lane)
            data = await self.answer(ctx)
            value |= (data >> 8 * lane & (1 << 8 * count) - 1) << shift
            shift += 8 * count
        return value
