"""The two event suppression structures of a packed ring: who wants to be notified of what.

Source: VIRTIO Version 1.4, sections "Driver and Device Event Suppression" and "Sending Available Buffer Notifications".
"""

from model import formats
from testbench.driver.area import Area
from testbench.driver.platform import DeviceError

__all__ = ["EventSuppression"]


class EventSuppression:
    """Reads what the device wants to be told, and writes what the driver does.

    A position is a number from 0 to 2 * size - 1: the index in the ring, plus `size` in passes with wrap counter 0.

    Parameters
    ----------
    size : descriptors of the ring
    event_idx : VIRTIO_F_EVENT_IDX was negotiated

    Attributes
    ----------
    driver, device : addresses of the Driver Area and the Device Area
    """

    def __init__(self, host, size, event_idx):
        self._size = size
        self._event_idx = event_idx
        self._areas = (Area(host, formats.EVENT.size, "event", align=4, access="r"),
                       Area(host, formats.EVENT.size, "event", align=4, access="w"))
        self.driver, self.device = (area.address for area in self._areas)
        self._ours, self._theirs = (area.view for area in self._areas)

    def doorbell_wanted(self, end, added):
        """Whether the device wants to know that the `added` descriptors before position `end` were made available.

        With flags DESC: whether the one it names is among them. They may be more than the ring has, if it found them
        before it was told.
        """
        event, flags = formats.EVENT.unpack(self._theirs)
        flags &= 3
        if flags == formats.EVENT_DISABLE:
            return False
        if flags == formats.EVENT_ENABLE:
            return True
        if flags != formats.EVENT_DESC or not self._event_idx:
            raise DeviceError(f"device event suppression flags of {flags}"
                              + ("" if self._event_idx else " without VIRTIO_F_EVENT_IDX"))
        offset, wrap = event & 0x7fff, event >> 15
        if offset >= self._size:
            raise DeviceError(f"device event suppression names descriptor {offset} of {self._size}")
        named = offset + (0 if wrap else self._size)
        return (end - named - 1) % (2 * self._size) < added

    def arm(self, position):
        """Ask for a notification: with VIRTIO_F_EVENT_IDX once the descriptor at `position` is used, else of all."""
        if self._event_idx:
            lap, offset = divmod(position, self._size)
            formats.EVENT.pack_into(self._ours, 0, offset | (lap ^ 1) << 15, formats.EVENT_DESC)
        else:
            formats.EVENT.pack_into(self._ours, 0, 0, formats.EVENT_ENABLE)

    def disarm(self):
        """Ask for silence."""
        formats.EVENT.pack_into(self._ours, 0, 0, formats.EVENT_DISABLE)

    def close(self):
        for area in self._areas:
            area.close()
