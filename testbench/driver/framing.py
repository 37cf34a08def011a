"""How a frame and its header lie in memory: device and driver may assume nothing about it.

    Framing()                               # header and frame together, in one descriptor
    Framing(cuts=(12,))                     # header in a descriptor of its own
    Framing(cuts=(5, 12, 60), gap=3)        # four elements, the header in two, 3 bytes between neighbours
"""

from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Framing", "HEADER_APART", "TOGETHER"]


@dataclass(frozen=True)
class Framing:
    """Where to cut header plus frame into elements, and where to put them.

    cuts : ascending positions, counted from the header's first byte, where a new element begins; those beyond the
        end are left out. A position named twice makes an element without bytes
    gap : bytes left free between two elements
    offset : bytes left free before the first
    """
    cuts: tuple = ()
    gap: int = 0
    offset: int = 0

    def __post_init__(self):
        if list(self.cuts) != sorted(self.cuts) or self.gap < 0 or self.offset < 0:
            raise ValueError(f"cuts must ascend and gap and offset be 0 or more: {self}")

    def room(self, length):
        """Bytes of memory that `length` bytes take."""
        return self.offset + length + self.gap * len(self.cuts)

    def place(self, address, length):
        """Cut [0, length): a list of (address, first, end), starting at `address`."""
        edges = [0, *(cut for cut in self.cuts if 0 < cut < length), length]
        return [(address + self.offset + first + self.gap * i, first, end)
                for i, (first, end) in enumerate(pairwise(edges))]

    @classmethod
    def random(cls, rng, length, most=8):
        """Up to `most` elements of any sizes for `length` bytes."""
        cuts = tuple(sorted(rng.randrange(1, length) for _ in range(rng.randrange(most))))
        return cls(cuts=cuts, gap=rng.choice((0, 1, 7, 64)), offset=rng.choice((0, 1, 2, 3, 5, 17, 60)))


TOGETHER = Framing()
HEADER_APART = Framing(cuts=(12,))
