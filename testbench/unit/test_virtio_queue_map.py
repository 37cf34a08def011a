"""Virtqueue indices and the places that serve them."""

import pytest
from amaranth.sim import Simulator

from hdl.virtio.queue_map import QueueMap, Role


def places(pairs, control, multiqueue, virtqueues):
    """Roles and indices of `virtqueues`, each checked to translate back."""
    dut, seen = QueueMap(pairs), []
    sim = Simulator(dut)

    async def body(ctx):
        ctx.set(dut.control, control)
        ctx.set(dut.multiqueue, multiqueue)
        for virtqueue in virtqueues:
            ctx.set(dut.virtqueue, virtqueue)
            place = ctx.get(dut.place)
            assert place.function == 0
            seen.append((place.role, place.index if place.role in (Role.RECEIVE, Role.TRANSMIT) else None))
            if place.role != Role.NONE:
                ctx.set(dut.of_place, place)
                assert ctx.get(dut.of_virtqueue) == virtqueue
    sim.add_testbench(body)
    sim.run()
    return seen


def queues_of(pair):
    return [(Role.RECEIVE, pair), (Role.TRANSMIT, pair)]


NOTHING, CONTROL = (Role.NONE, None), (Role.CONTROL, None)


@pytest.mark.requirements("NET-001", "NET-002")
@pytest.mark.parametrize("pairs", [1, 3, 8, 256])
def test_multiqueue(pairs):
    for pair in {0, pairs // 2, pairs - 1}:
        assert places(pairs, 1, 1, [2 * pair, 2 * pair + 1]) == queues_of(pair)
    assert places(pairs, 1, 1, [2 * pairs, 2 * pairs + 1, 0xffff]) == [CONTROL, NOTHING, NOTHING]


@pytest.mark.requirements("NET-002")
@pytest.mark.parametrize("pairs", [1, 3, 8, 256])
def test_control_queue_without_multiqueue(pairs):
    """It is virtqueue 2 whatever the card has, and nothing is behind it."""
    assert places(pairs, 1, 0, [0, 1, 2, 3, 4, 2 * pairs + 1, 0x8000]) == queues_of(0) + [CONTROL] + 4 * [NOTHING]


@pytest.mark.requirements("NET-003")
@pytest.mark.parametrize("pairs", [1, 3, 256])
def test_no_control_queue(pairs):
    seen = places(pairs, 0, 0, [0, 1, 2 * pairs - 2, 2 * pairs - 1, 2 * pairs, 2 * pairs + 1])
    assert seen == queues_of(0) + queues_of(pairs - 1) + [NOTHING, NOTHING]


def test_pairs_are_checked():
    with pytest.raises(ValueError, match="at least 1 pair, not 0"):
        QueueMap(0)
