"""Common configuration of the functional card: the registers, and what writing them means.

Source: VIRTIO Version 1.4, section "Common configuration structure layout".
"""

from dataclasses import dataclass

import numpy as np

from model import formats
from model.formats import Feature, Status

__all__ = ["CommonConfig", "QueueRegisters"]

# Without these the card refuses to work: nothing older, and no split ring.
REQUIRED = formats.feature_set(Feature.VERSION_1, Feature.RING_PACKED)


@dataclass
class QueueRegisters:
    """What the driver set up for one queue."""
    size: int
    vector: int = formats.NO_VECTOR
    enable: int = 0
    desc: int = 0
    driver: int = 0
    device: int = 0
    resetting: int = 0      # reads that still bring queue_reset of 1


class CommonConfig:
    """The 64 bytes of struct virtio_pci_common_cfg, accessible in any width.

    Parameters
    ----------
    queues, queue_size_max, vectors, offered : what the card has; `offered` is a feature mask
    reset : called when 0 is written to device_status, before the registers return to their defaults
    live : called when DRIVER_OK is set
    queue_reset, queue_live : called with the index of a queue that the driver resets, or enables on a live device
    reset_reads : reads of device_status, or of queue_reset, after a reset request that do not yet bring 0
    cookie : queue_notif_config_data of queue 0; the others follow
    """

    def __init__(self, *, queues, queue_size_max, vectors, offered, reset, live, queue_reset, queue_live,
                 reset_reads=0, cookie=0):
        self._queue_size_max = queue_size_max
        self._queue_count = queues
        self._vectors = vectors
        self._reset = reset
        self._live = live
        self._queue_reset = queue_reset
        self._queue_live = queue_live
        self._reset_reads = reset_reads
        self._cookie = cookie
        self._resetting = 0
        self.offered = offered
        self.restore()

    def restore(self):
        """The state after reset."""
        self.status = Status(0)
        self.accepted = 0
        self.generation = 0
        self.config_vector = formats.NO_VECTOR
        self.queues = [QueueRegisters(self._queue_size_max) for _ in range(self._queue_count)]
        self._device_window = self._driver_window = self._selected = 0

    @property
    def features(self):
        """What was negotiated: 0 before FEATURES_OK."""
        return self.accepted if self.status & Status.FEATURES_OK else 0

    @property
    def _queue(self):
        return self.queues[self._selected] if self._selected < self._queue_count else None

    def _image(self):
        """The structure as the driver reads it now."""
        image = np.zeros(1, formats.COMMON_CFG)[0]
        image["device_feature_select"] = self._device_window
        image["device_feature"] = self.offered >> 32 * min(self._device_window, 8) & 0xffff_ffff
        image["driver_feature_select"] = self._driver_window
        image["driver_feature"] = self.accepted >> 32 * min(self._driver_window, 8) & 0xffff_ffff
        image["config_msix_vector"] = self.config_vector
        image["num_queues"] = self._queue_count
        image["device_status"] = self.status
        image["config_generation"] = self.generation
        image["queue_select"] = self._selected
        if queue := self._queue:
            image["queue_size"], image["queue_msix_vector"] = queue.size, queue.vector
            image["queue_enable"], image["queue_notify_off"] = queue.enable, self._selected
            image["queue_desc"], image["queue_driver"] = queue.desc, queue.driver
            image["queue_device"] = queue.device
            image["queue_reset"] = queue.resetting > 0
            image["queue_notif_config_data"] = self.cookie(self._selected)
        return image

    def cookie(self, index):
        """What a doorbell says to name the queue, with VIRTIO_F_NOTIF_CONFIG_DATA."""
        return index + self._cookie & 0xffff

    def read(self, offset, size):
        """`size` bytes from `offset`."""
        def touches(name):
            return offset <= formats.field(formats.COMMON_CFG, name)[0] < offset + size
        if self._resetting and touches("device_status"):
            self._resetting -= 1
            if not self._resetting:
                self.restore()
        queue = self._queue
        if queue and queue.resetting and touches("queue_reset"):
            queue.resetting -= 1
            if not queue.resetting:
                self.queues[self._selected] = QueueRegisters(self._queue_size_max)
        return self._image().tobytes()[offset:offset + size]

    def write(self, offset, data):
        """Write the bytes `data`; a field of which only some bytes are written keeps the others."""
        image = self._image()
        for name in formats.COMMON_CFG.names:
            start, size = formats.field(formats.COMMON_CFG, name)
            if offset < start + size and start < offset + len(data):
                value = bytearray(int(image[name]).to_bytes(size, "little"))
                for i in range(max(start, offset), min(start + size, offset + len(data))):
                    value[i - start] = data[i - offset]
                self._write_field(name, int.from_bytes(value, "little"))

    def _write_field(self, name, value):
        queue = self._queue
        match name:
            case "device_feature_select":
                self._device_window = value
            case "driver_feature_select":
                self._driver_window = value
            case "driver_feature" if self._driver_window < formats.FEATURE_WINDOWS and \
                    not self.status & Status.FEATURES_OK:
                shift = 32 * self._driver_window
                self.accepted = self.accepted & ~(0xffff_ffff << shift) | value << shift
            case "config_msix_vector":
                self.config_vector = self._vector(value)
            case "device_status":
                self._write_status(value)
            case "queue_select":
                self._selected = value
            case "queue_msix_vector" if queue:
                queue.vector = self._vector(value)
            case "queue_enable" if queue and value == 1 and not queue.resetting:
                queue.enable = 1
                if self.status & Status.DRIVER_OK:
                    self._queue_live(self._selected)
            case "queue_reset" if queue and value == 1 and formats.has_feature(self.features, Feature.RING_RESET):
                self._queue_reset(self._selected)
                queue.resetting = self._reset_reads
                if not queue.resetting:
                    self.queues[self._selected] = QueueRegisters(self._queue_size_max)
            case "queue_size" | "queue_desc" | "queue_driver" | "queue_device" if queue and not queue.enable:
                setattr(queue, name.removeprefix("queue_"), value)

    def _vector(self, value):
        return value if value < self._vectors else formats.NO_VECTOR

    def _write_status(self, value):
        if value == 0:
            self._reset()
            self.restore()
            self._resetting = self._reset_reads
            if self._resetting:
                self.status = Status.ACKNOWLEDGE        # anything but 0, until it is quiet
            return
        added = Status(value) & ~self.status & ~Status.NEEDS_RESET
        if added & Status.FEATURES_OK and not self._acceptable():
            added &= ~Status.FEATURES_OK
        self.status |= added
        if added & Status.DRIVER_OK:
            self._live()

    def _acceptable(self):
        return (self.accepted & ~self.offered == 0 and self.accepted & REQUIRED == REQUIRED
                and not formats.lacking_prerequisites(self.accepted))
