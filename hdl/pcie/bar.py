"""What lies where in BAR 0. A pure description: no logic."""

from dataclasses import dataclass

__all__ = ["BarLayout"]

ALIGNMENT = 0x10000


def _align(offset):
    return -(-offset // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class BarLayout:
    """Offsets and lengths, in bytes, of the structures in BAR 0.

    The notification area, the MSI-X table and the pending bits start on 64 KiB boundaries of their own, so that each
    can be mapped alone whatever the host's page size. Offsets between the structures are holes.

    Parameters
    ----------
    queues : int
        virtqueues; each has its own doorbell
    page : int
        distance of two doorbells
    vectors : int
        MSI-X vectors
    """

    queues: int
    page: int
    vectors: int

    common = 0x0000
    common_length = 64
    isr = 0x0100
    isr_length = 1
    device = 0x0200
    device_length = 28
    counters = 0x1000
    counters_length = 0x1000
    notify = ALIGNMENT

    @classmethod
    def of(cls, config):
        """Layout for a `NicConfig`."""
        return cls(queues=config.queues, page=config.page, vectors=config.vectors)

    @property
    def notify_length(self):
        return self.queues * self.page

    @property
    def msix_table(self):
        return _align(self.notify + self.notify_length)

    @property
    def msix_table_length(self):
        return 16 * self.vectors

    @property
    def msix_pba(self):
        return _align(self.msix_table + self.msix_table_length)

    @property
    def msix_pba_length(self):
        return 8 * -(-self.vectors // 64)

    @property
    def size_bits(self):
        """log2 of `size`."""
        return (self.msix_pba + self.msix_pba_length - 1).bit_length()

    @property
    def size(self):
        """Bytes of the BAR: the next power of two."""
        return 1 << self.size_bits
