"""Frames through the functional card, and what becomes of buffers that make no sense."""

from collections import Counter

import pytest

from model import formats
from model.common_config import QueueRegisters
from model.datapath import Datapath
from model.device import OFFERED, NicParameters
from model.device_config import DeviceConfig
from model.memory import HostMemory

WRITE, NEXT = formats.DESC_WRITE, formats.DESC_NEXT


class Bench:
    """A datapath with one pair of queues of four descriptors, at work on rings written by hand."""

    def __init__(self, **options):
        self.memory = HostMemory()
        self.counters, self.sent, self.vectors = Counter(), [], []
        config = DeviceConfig(NicParameters(), features=lambda: 0, notify=lambda: None, count=lambda: None)
        self.datapath = Datapath(self.memory, self.counters, interrupt=self.vectors.append, config=config, **{
            "mtu": 1500, "max_frame": 9022, "rx_buffer": 65536, "order": None, "suppress": False, **options})
        self.datapath.wire = self.sent.append
        self.queues = {index: self._queue(vector=7 + index) for index in (0, 1)}
        self.buffers = self.memory.allocate(65536)
        self.memory.give(self.buffers, 65536, "rw")
        self.datapath.start(self.queues, OFFERED)

    def _queue(self, vector):
        areas = [self.memory.allocate(64) for _ in range(3)]
        for area in areas:
            self.memory.give(area, 64, "rw")
        return QueueRegisters(4, vector, 1, *areas)

    def publish(self, index, *elements, at=0):
        """Elements (offset in the buffers, length, flags) from position `at` on, in the first pass."""
        for position, (offset, length, flags) in enumerate(elements, at):
            self.memory.write(self.queues[index].desc + 16 * position, formats.DESC.pack(
                self.buffers + offset, length, 3, flags | formats.AVAILABLE[1]))
        self.datapath.kick(index)

    def descriptor(self, index, at=0):
        return formats.DESC.unpack(self.memory.read(self.queues[index].desc + 16 * at, 16))[1:]

    def work(self):
        while self.datapath.step():
            pass


def test_a_frame_out_and_a_frame_in():
    bench = Bench()
    bench.memory.write(bench.buffers + 100, bytes(5))
    bench.memory.write(bench.buffers + 200, bytes(7) + bytes(range(60)))
    bench.publish(1, (100, 5, NEXT), (0, 0, NEXT), (200, 67, 0))
    bench.publish(0, (1000, 12, WRITE | NEXT), (2000, 100, WRITE))
    bench.datapath.receive(bytes(range(1, 71)))
    bench.work()
    assert bench.sent == [bytes(range(60))]
    assert bench.memory.read(bench.buffers + 1000, 12) == bytes(10) + b"\1\0"
    assert bench.memory.read(bench.buffers + 2000, 71) == bytes(range(1, 71)) + b"\0"
    assert bench.descriptor(1) == (0, 3, formats.USED[1])
    assert bench.descriptor(0) == (82, 3, formats.USED[1] | WRITE)
    assert sorted(bench.vectors) == [7, 8]


@pytest.mark.parametrize("elements", [
    [(0, 12 + 13, 0)], [(0, 12, 0)], [(0, 3, 0)], [(0, 12 + 9023, 0)], [(0, 12 + 60, WRITE)],
    [(0, 12 + 60, NEXT), (0, 1, WRITE)], [(0, 12 + 60, NEXT), (0, 0, WRITE)], [(0, 5, NEXT | WRITE), (0, 12 + 60, 0)]])
def test_a_transmit_buffer_without_a_legal_frame_comes_back(elements):
    bench = Bench()
    bench.publish(1, *elements)
    bench.publish(1, (0, 12 + 14, 0), at=len(elements))
    bench.work()
    assert bench.sent == [bytes(14)]
    assert bench.counters == {"tx_malformed": 1, "tx_frames": 1, "interrupts": 2}
    assert bench.descriptor(1) == (0, 3, formats.USED[1])
    assert bench.descriptor(1, len(elements)) == (0, 3, formats.USED[1])


def test_a_frame_that_does_not_fit_leaves_the_buffer_to_the_next():
    bench = Bench()
    bench.publish(0, (0, 500, NEXT), (1000, 12 + 60, WRITE))
    bench.datapath.receive(bytes(61))
    bench.datapath.receive(b"x" * 60)
    bench.work()
    assert bench.counters == {"rx_buffer_too_small": 1, "rx_frames": 1, "interrupts": 1}
    assert bench.memory.read(bench.buffers + 1012, 60) == b"x" * 60


def test_frames_wait_for_buffers():
    bench = Bench()
    for number in range(3):
        bench.datapath.receive(bytes([number]) * 60)
    bench.work()
    for number in range(3):
        bench.publish(0, (100 * number, 100, WRITE), at=number)
        bench.work()
        assert bench.memory.read(bench.buffers + 100 * number + 12, 60) == bytes([number]) * 60


def test_runts_are_dropped():
    bench = Bench()
    bench.datapath.receive(bytes(13))
    assert bench.counters == {"rx_runt": 1}


def test_doorbells_are_suppressed_while_at_work():
    bench = Bench(suppress=True)
    bench.publish(1, (0, 72, 0))
    flags = []
    while bench.datapath.step():
        flags.append(bench.memory.read_u16(bench.queues[1].device + 2))
    assert flags == [formats.EVENT_DISABLE, formats.EVENT_DISABLE, formats.EVENT_ENABLE]
