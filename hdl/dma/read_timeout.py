"""Completion timeout: a coarse time of issue for each tag, and a scanner that visits one tag a cycle."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .read_records import GENERATION, ReadOpened, ReadRetired

__all__ = ["CompletionTimeout", "TIMEOUT_RANGES"]


# PCIe Base 4.0, 7.5.3.16: Completion Timeout Value -> seconds, least and most. 0 is the default range, of which the
# specification recommends 10 ms and more; reserved values count as 0.
TIMEOUT_RANGES = {
    0b0000: (10e-3, 50e-3),
    0b0001: (50e-6, 100e-6), 0b0010: (1e-3, 10e-3),
    0b0101: (16e-3, 55e-3), 0b0110: (65e-3, 210e-3),
    0b1001: (260e-3, 900e-3), 0b1010: (1.0, 3.5),
    0b1101: (4.0, 13.0), 0b1110: (17.0, 64.0),
}
_TIME_BITS = 5
_TICKS = 16      # a request is late when the tick counter has moved by so much: after 15 to 16 ticks


class CompletionTimeout(wiring.Component):
    """Offers tags whose completion is overdue.

    A tag is offered for one cycle in each round of the scanner, until it retires; who refuses it gets it again in the
    next round. What is offered may have retired in the last two cycles. Between the shortest and the longest time
    of the range: 15 to 16 ticks of 1/16 of the range's middle, and a round of the scanner.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    value : In(4)
        Completion Timeout Value
    disable : In(1)
        Completion Timeout Disable
    initialise, index : In
        while `initialise`, every tag is made retired
    opened, retired : streams of `ReadOpened`, `ReadRetired`, in, always ready
    expired : Out(1), tag : Out(tag_bits)
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "value": In(4), "disable": In(1),
            "initialise": In(1), "index": In(config.tag_bits),
            "opened": In(stream.Signature(ReadOpened(config), always_ready=True)),
            "retired": In(stream.Signature(ReadRetired(config.tag_bits), always_ready=True)),
            "expired": Out(1), "tag": Out(config.tag_bits),
        })

    def _ticks(self, m):
        """Tick counter, moving 16 times in the middle of the range that `value` stands for."""
        cycles = {value: max(1, round((least + most) / 2 / _TICKS * self.config.clock_hz))
                  for value, (least, most) in TIMEOUT_RANGES.items()}
        period = Signal(range(max(cycles.values()) + 1))
        with m.Switch(self.value):
            for value, count in cycles.items():
                if value:
                    with m.Case(value):
                        m.d.sync += period.eq(count)
            with m.Default():
                m.d.sync += period.eq(cycles[0])
        elapsed = Signal.like(period)
        now = Signal(_TIME_BITS)
        with m.If(elapsed >= period):
            m.d.sync += [elapsed.eq(1), now.eq(now + 1)]
        with m.Else():
            m.d.sync += elapsed.eq(elapsed + 1)
        return now

    def elaborate(self, platform):
        m = Module()
        now = self._ticks(m)
        tags = self.config.tags
        stamp = data.StructLayout({"time": _TIME_BITS, "sent": 1, "generation": GENERATION})
        m.submodules.stamps = stamps = memory.Memory(shape=stamp, depth=tags, init=[])
        m.submodules.ends = ends = memory.Memory(shape=GENERATION, depth=tags, init=[])
        write, end = stamps.write_port(), ends.write_port()
        opened, retired = self.opened.payload, self.retired.payload
        m.d.comb += [
            write.addr.eq(Mux(self.initialise, self.index, opened.tag)),
            write.data.time.eq(now),
            write.data.sent.eq(~self.initialise & opened.sent),
            write.data.generation.eq(~self.initialise & opened.generation),
            write.en.eq(self.initialise | self.opened.valid),
            end.addr.eq(Mux(self.initialise, self.index, retired.tag)),
            end.data.eq(~self.initialise & retired.generation),
            end.en.eq(self.initialise | self.retired.valid),
        ]

        visited = Signal(ceil_log2(tags))
        read, read_end = stamps.read_port(domain="comb"), ends.read_port(domain="comb")
        age = Signal(_TIME_BITS)
        m.d.comb += [
            read.addr.eq(visited), read_end.addr.eq(visited),
            age.eq(now - read.data.time),
        ]
        m.d.sync += [
            visited.eq(visited + 1),
            self.tag.eq(visited),
            self.expired.eq(~self.initialise & ~self.disable & read.data.sent & (age >= _TICKS)
                            & (read.data.generation != read_end.data)),
        ]
        return m
