"""A block with a queue configuration port, beside the table that answers it."""

from amaranth.hdl import Elaboratable, Module
from amaranth.lib.memory import Memory

from hdl.virtqueue.spec import QueueConfig

__all__ = ["WithQueueTable"]


class WithQueueTable(Elaboratable):
    """`dut`, whose `config_queue` is answered on `config` in the same cycle from a list of `QueueConfig` dicts."""

    def __init__(self, dut, queues):
        self.dut = dut
        self.queues = queues

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        depth = 1 << len(self.dut.config_queue)
        m.submodules.table = table = Memory(shape=QueueConfig, depth=depth, init=self.queues)
        read = table.read_port(domain="comb")
        m.d.comb += [read.addr.eq(self.dut.config_queue), self.dut.config.eq(read.data)]
        return m
