"""Virtqueue indices and the places that serve them."""

import pytest
from amaranth.sim import Simulator

from hdl.virtio.queue_map import QueueMap, Role


@pytest.mark.requirements("NET-001")
@pytest.mark.parametrize("pairs", [1, 3, 8, 256])
def test_round_trip(pairs):
    dut = QueueMap(pairs)
    sim = Simulator(dut)

    async def body(ctx):
        for pair in {0, pairs // 2, pairs - 1}:
            for role, virtqueue in [(Role.RECEIVE, 2 * pair), (Role.TRANSMIT, 2 * pair + 1)]:
                ctx.set(dut.virtqueue, virtqueue)
                place = ctx.get(dut.place)
                assert (place.function, place.role, place.index) == (0, role, pair)
                ctx.set(dut.of_place, place)
                assert ctx.get(dut.of_virtqueue) == virtqueue
    sim.add_testbench(body)
    sim.run()


def test_pairs_are_checked():
    with pytest.raises(ValueError, match="at least 1 pair, not 0"):
        QueueMap(0)
