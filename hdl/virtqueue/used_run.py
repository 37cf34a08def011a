"""Runs of used descriptors, and where their entries are kept until they are written."""

from amaranth.lib import data

from .spec import Position
from .stages import BUFFER_COUNT

__all__ = ["Entry", "Run", "RunShape"]


class Entry(data.Struct):
    """What a used descriptor says; the rest follows from its place."""
    length: 32
    id: 16
    written: 1


class RunShape:
    """Sizes of the entry memory: per queue a ring of rows, each as wide as a beat.

    A descriptor takes 16 bytes of a beat, so a row holds `lanes` entries. Runs start on a row of their own; a queue
    has rows for two of the longest runs, so that one fills while another is built.
    """

    def __init__(self, width, batch):
        self.batch = batch
        self.lanes = width // 128
        self.run_rows = max(1, batch // self.lanes)
        self.rows = max(4, 2 * self.run_rows)
        self.row_bits = (self.rows - 1).bit_length()
        self.lane_bits = (self.lanes - 1).bit_length()
        self.count = range(batch + 1)


class Run(data.StructLayout):
    """A closed run.

    Fields: `queue`; `count` used descriptors, 1 to used_batch; `address` of byte 8 of its first slot; `wrap` for their
    flags; `row` first row of its entries, with one bit more than rows need; `next` the used position after it;
    `slots`, `buffers` as in `Published`.
    """

    def __init__(self, queue_bits, shape):
        super().__init__({"queue": queue_bits, "count": shape.count, "address": 64, "wrap": 1,
                          "row": shape.row_bits + 1, "next": Position, "slots": 16, "buffers": BUFFER_COUNT})
