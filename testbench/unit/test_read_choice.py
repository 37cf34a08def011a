"""The choice among ready transactions: at once, but never beyond what a client's room stands for."""

import pytest
from amaranth.sim import Simulator

from hdl.config import NicConfig
from hdl.dma.deliver import DeliveryChoice, room_beats
from hdl.dma.read_records import READ_CLIENTS

TINY = NicConfig.preset("tiny").with_(pairs=2)
TABLE = next(row for row in READ_CLIENTS if row.name == "table_tx")
MOST = room_beats(TINY, TABLE)
LARGE = 1 << MOST.bit_length()      # needs a bit more than any number of beats that fits


@pytest.mark.parametrize("beats, expected", [
    # A transaction a cycle, a cycle after it got ready.
    ([1] * MOST, [1 + n for n in range(MOST)]),
    # One that needs the whole room waits for the last beat, which counts as taken 2 cycles after its transfer.
    ([MOST, MOST], [1, 1 + MOST + 2]),
    ([1, MOST, 1], [1, 4, 7]),
    # One that is too large goes by itself, a cycle after that.
    ([1, MOST + 1, 1], [1, 5, 9]),
    ([MOST + 1, MOST + 1], [1, 1 + MOST + 1 + 3]),
    ([1, LARGE, 1], [1, 5, 5 + LARGE - MOST + 1 + 2]),
])
def test_chosen_as_soon_as_it_fits(beats, expected):
    """The client takes a beat a cycle, from the cycle after the choice on."""
    dut = DeliveryChoice(TINY)
    chosen, takes = [], []

    async def drive(ctx):
        ctx.set(dut.room_table_tx, 1)
        ctx.set(dut.chosen.ready, 1)
        for cycle in range(60):
            ctx.set(dut.ready.valid, cycle < len(beats))
            if cycle < len(beats):
                ctx.set(dut.ready.payload, {"domain": {"client": TABLE.client}, "first": cycle, "beats": beats[cycle]})
            ctx.set(dut.taken_table_tx, cycle in takes)
            if ctx.get(dut.chosen.valid):
                assert ctx.get(dut.chosen.payload.first) == len(chosen)
                begin = max([cycle + 1, *(take + 1 for take in takes)])
                takes.extend(range(begin, begin + beats[len(chosen)]))
                chosen.append(cycle)
            under_way = sum(beats[:len(chosen)]) - sum(take + 2 <= cycle for take in takes)
            if under_way and cycle not in chosen:
                assert not ctx.get(dut.idle)
            await ctx.tick()
        assert ctx.get(dut.idle)
    sim = Simulator(dut)
    sim.add_clock(4e-9)
    sim.add_testbench(drive)
    sim.run()
    assert chosen == expected
