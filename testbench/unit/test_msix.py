"""MSI-X table and pending bits: what is masked waits, what is unmasked is sent once."""

import random

import pytest

from hdl.config import NicConfig
from hdl.virtio.msix import MsixTable
from testbench.unit.few import few
from testbench.unit.msix_bench import CONTROL, DATA, HIGH, LOW, PBA, Rig, check_log, message_of


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
    rig = Rig(vectors=10)

    async def body(ctx):
        await rig.program(ctx, masked=[2])
        await rig.request(ctx, 10, 11, 32 + 3, 0x7ff, 1)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == []
    assert rig.run(body) == [1]


@pytest.mark.requirements("BAS-010")
@pytest.mark.parametrize("reset_table", [0, 1])
def test_reset(reset_table):
    """A virtio reset cancels what is pending and leaves the table; a function level reset masks all of it."""
    rig = Rig(vectors=102)

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
    """514 vectors, of which two far apart are pending: found at once, in order, without a look at each."""
    rig = Rig(vectors=514)

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
    rig = Rig(vectors=72)

    async def body(ctx):
        await rig.program(ctx, masked=range(72))
        ctx.set(rig.dut.function_mask, 1)
        await rig.request(ctx, *range(72))
        await rig.settle(ctx)
        ctx.set(rig.dut.function_mask, 0)
        await ctx.tick().repeat(30)
        assert not ctx.get(rig.dut.idle), "the search is under way"
        await rig.mask(ctx, 0, 0)
        await rig.settle(ctx)
        assert await rig.pending(ctx) == list(range(1, 72))
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


@pytest.mark.parametrize("seed", few(2, range(4)))
def test_masks_race_with_requests(seed):
    """Whatever the moment at which masks change: each request is followed by a message, no message comes without a
    request since the last one, and none while masked."""
    rng = random.Random(seed)
    rig = Rig(vectors=10 if seed % 2 else 72, seed=seed, stall=rng.choice([0, 0.3, 0.7]))
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


def test_pending_bits_must_lie_behind_the_table():
    with pytest.raises(ValueError, match="can't start at 128, with 10 vectors"):
        MsixTable(NicConfig(pairs=4), pba_offset=128)
