"""What stands before a received frame: struct virtio_net_hdr.

Source: VIRTIO Version 1.4, section "Processing of Incoming Packets".
"""

import numpy as np

from model import formats
from model.formats import Feature
from testbench.driver.platform import DeviceError

__all__ = ["ReceivedFrame", "ReceiveHeader"]


class ReceivedFrame(bytes):
    """A frame, and what the device says of it.

    checksum_valid : whether it has validated the checksums
    """
    checksum_valid = False


class ReceiveHeader:
    """Takes headers off, and refuses those that the negotiated features don't allow.

    Without offloads frames are plain `bytes`, otherwise `ReceivedFrame`s.

    Parameters
    ----------
    features : negotiated
    """

    def __init__(self, features):
        self._checksum = formats.has_feature(features, Feature.NET_GUEST_CSUM)
        self._offloads = self._checksum
        self.bytes = formats.net_header_bytes(features)
        header = np.zeros(1, formats.VIRTIO_NET_HDR)
        header["num_buffers"] = 1
        self._plain = header.tobytes().ljust(self.bytes, b"\0")

    def frame(self, data, queue):
        """The frame in the bytes that the device wrote to a buffer of virtqueue `queue`."""
        header, frame = data[:self.bytes], data[self.bytes:]
        if header == self._plain and frame:
            return ReceivedFrame(frame) if self._offloads else frame
        if not frame or not self._offloads or len(header) < self.bytes:
            raise DeviceError(f"receive buffer of queue {queue} with {len(data)} bytes has the header "
                              f"{header.hex()}, where {self._plain.hex()} was expected")
        return self._told(header, frame, queue)

    def _told(self, header, frame, queue):
        allowed = formats.NET_HDR_F_DATA_VALID if self._checksum else 0
        if header[0] & ~allowed or header[1:] != self._plain[1:]:
            raise DeviceError(f"a frame of queue {queue} has the header {header.hex()}")
        frame = ReceivedFrame(frame)
        frame.checksum_valid = bool(header[0] & formats.NET_HDR_F_DATA_VALID)
        return frame
