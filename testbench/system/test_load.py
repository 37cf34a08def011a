"""What the load of `make bench` sends, and when."""

import asyncio
import random
from types import SimpleNamespace

import pytest

from testbench.system.load import Load
from testbench.system.load_scaling import ScatteredLoad


class _Nic:
    """Pairs with rings of 1024, of which the driver gets `frames`, and then no more."""

    def __init__(self, pairs):
        self.transmitters = [SimpleNamespace(ring=SimpleNamespace(size=1024)) for _ in range(pairs)]
        self.receivers = self.transmitters
        self.frames = []

    async def receive_many(self, *, pair):
        if not self.frames:
            raise TimeoutError
        frames, self.frames = self.frames, []
        return frames


def _load(pairs, *, paired, kind=Load):
    """(load, frames that went to the wire)"""
    fed = []
    bench = SimpleNamespace(
        random=random.Random(1), manifest={"receive_fifo_bytes": 65536}, parameter={"width": 512}.__getitem__,
        platform=SimpleNamespace(event=asyncio.Event),
        mac=SimpleNamespace(on_frame=[], captured=[], send=fed.append))
    return kind(bench, _Nic(pairs), 60, paired=paired), fed


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


@pytest.mark.parametrize("kind", [Load, ScatteredLoad])
def test_arrivals_are_told(kind):
    """The window of a row begins and ends with one."""
    load, fed = _load(1, paired=False, kind=kind)
    with pytest.raises(TimeoutError):
        asyncio.run(load.receive(0))
    assert not load.arrived.is_set()
    load._nic.frames = fed[:3]
    with pytest.raises(TimeoutError):
        asyncio.run(load.receive(0))
    assert load.arrived.is_set() and load.received == [3]
