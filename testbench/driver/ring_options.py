"""How a driver's ring may differ: by what was negotiated, and by the liberties that a driver has.

Source: VIRTIO Version 1.4, section "Packed Virtqueues".
"""

from dataclasses import dataclass

from model import formats
from testbench.driver.platform import DriverError

__all__ = ["RingFeatures", "RingStyle"]


@dataclass(frozen=True, kw_only=True)
class RingFeatures:
    """What was negotiated that changes how a ring works: VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER and
    VIRTIO_F_INDIRECT_DESC."""
    event_idx: bool = False
    in_order: bool = False
    indirect: bool = False

    @classmethod
    def of(cls, features):
        """From a feature mask."""
        return cls(event_idx=formats.has_feature(features, formats.Feature.EVENT_IDX),
                   in_order=formats.has_feature(features, formats.Feature.IN_ORDER),
                   indirect=formats.has_feature(features, formats.Feature.INDIRECT_DESC))


@dataclass(frozen=True)
class RingStyle:
    """Liberties that the specification leaves to a driver; a device has to cope with all of them.

    set_bits_on_all : give AVAIL and USED of the available state to every element of a chain; else only the first has
        them, and the others look like used in the last pass
    set_id_on_all : write the buffer id into every element, of tables too; else only where it counts, and the others
        have 0xdead
    indirect : with VIRTIO_F_INDIRECT_DESC, which buffers get a table: "several" for those of more than one element,
        "always" or "never"
    table_offset : bytes that tables begin behind a multiple of 16
    set_write_on_table : set WRITE, which has no meaning there, in descriptors that refer to a table
    """
    set_bits_on_all: bool = True
    set_id_on_all: bool = True
    indirect: str = "several"
    table_offset: int = 0
    set_write_on_table: bool = False

    def __post_init__(self):
        if self.indirect not in ("several", "always", "never"):
            raise DriverError(f"tables are used several, always or never, not {self.indirect!r}")
