"""What the load of `make bench` sends, and when."""

import asyncio
import random
from types import SimpleNamespace

import pytest

from testbench.system.load import Load


class _Nic:
    """Pairs with rings of 64; the first that receives gets no frames."""

    def __init__(self, pairs):
        self.transmitters = [SimpleNamespace(ring=SimpleNamespace(size=64)) for _ in range(pairs)]

    async def receive_many(self, *, pair):
        raise TimeoutError


def _load(pairs, *, paired):
    """(load, frames that went to the wire)"""
    fed = []
    bench = SimpleNamespace(
        random=random.Random(1), manifest={"receive_fifo_bytes": 65536}, parameter={"width": 512}.__getitem__,
        platform=SimpleNamespace(event=asyncio.Event),
        mac=SimpleNamespace(on_frame=[], captured=[], send=fed.append))
    return Load(bench, _Nic(pairs), 60, paired=paired), fed


def test_no_frame_comes_before_its_flow_is_known():
    """While flows are taught, a frame of one not yet sent would go to another queue than those behind it."""
    load, fed = _load(8, paired=True)
    for flow in range(8):
        load._on_wire(SimpleNamespace(data=load._frames[flow][0]))
        assert not fed, f"{len(fed)} frames came when flow {flow} had been sent"
    assert load.sent == [1] * 8
    with pytest.raises(TimeoutError):
        asyncio.run(load.receive(0))
    assert {frame[34:36] for frame in fed} == {frames[0][34:36] for frames in load._frames}


@pytest.mark.parametrize("pairs, ahead", [(1, 256), (2, 128), (8, 32), (64, 32)])
def test_what_may_come_before_as_much_was_sent(pairs, ahead):
    """The lead of frames that come in is shared by the pairs: with many, it would last longer than the window."""
    load, fed = _load(pairs, paired=True)
    load._most = 1 << 20
    with pytest.raises(TimeoutError):
        asyncio.run(load.receive(0))
    assert len(fed) == pairs * ahead
