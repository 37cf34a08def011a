"""The read-data memory: a slot per tag, written wherever a completion's first DW falls, read by rows."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["SlotMemory", "SlotWrite", "rotate_lanes"]


def rotate_lanes(m, value, lane_bits, amount, name):
    """`value` rotated towards high lanes by `amount` lanes of `lane_bits`: log4 stages of 4:1 multiplexers."""
    lanes = len(value) // lane_bits
    for low in range(0, len(amount), 2):
        step = amount[low:low + 2]
        turned = Signal.like(value, name=f"{name}_{low}")
        with m.Switch(step):
            for times in range(1 << len(step)):
                with m.Case(times):
                    m.d.comb += turned.eq(value.rotate_left((times << low) % lanes * lane_bits))
        value = turned
    return value


class SlotWrite(data.StructLayout):
    """A beat of a completion: DWs `keep` of `data` go to slot `tag` from DW `position` of the request on."""

    def __init__(self, width, tags, read_bytes):
        super().__init__({"tag": ceil_log2(tags), "position": ceil_log2(read_bytes // 4), "data": width,
                          "keep": width // 32})


class SlotMemory(wiring.Component):
    """Slots of `read_bytes`, in a bank per DW lane, so that a beat that starts in any lane is written in one cycle.

    What would run over a slot's end wraps inside it: no slot can be damaged by a completion of another.

    Parameters
    ----------
    width, tags, read_bytes : int

    Attributes
    ----------
    write : stream of `SlotWrite`, in, always ready
        may be read from the next cycle on
    tag, row, enable : In
        row to read
    data : Out(width)
        of the last row enabled, one cycle later
    """

    def __init__(self, width, tags, read_bytes):
        self.width = width
        self.lanes = width // 32
        self.tags = tags
        self.rows = read_bytes // (width // 8)
        super().__init__({
            "write": In(stream.Signature(SlotWrite(width, tags, read_bytes), always_ready=True)),
            "tag": In(ceil_log2(tags)), "row": In(range(max(2, self.rows))), "enable": In(1),
            "data": Out(width),
        })

    def elaborate(self, platform):
        m = Module()
        lane_bits = ceil_log2(self.lanes)
        beat = self.write.payload
        start = beat.position[:lane_bits]
        row = beat.position[lane_bits:]
        turned = rotate_lanes(m, beat.data, 32, start, "turned")
        enables = rotate_lanes(m, beat.keep, 1, start, "enables")
        row_bits = ceil_log2(self.rows)
        for lane in range(self.lanes):
            m.submodules[f"bank{lane}"] = bank = memory.Memory(shape=32, depth=self.tags * self.rows, init=[])
            write = bank.write_port()
            read = bank.read_port()
            # Lanes before the first DW belong to the next row.
            own_row = Signal(row_bits, name=f"row{lane}")
            m.d.comb += [
                own_row.eq(row + (lane < start) if lane < self.lanes - 1 else row),
                write.addr.eq(Cat(own_row, beat.tag)),
                write.data.eq(turned.word_select(lane, 32)),
                write.en.eq(self.write.valid & enables[lane]),
                read.addr.eq(Cat(self.row[:row_bits], self.tag)),
                read.en.eq(self.enable),
                self.data.word_select(lane, 32).eq(read.data),
            ]
        return m
