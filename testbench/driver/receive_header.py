"""What stands before a received frame: struct virtio_net_hdr.

Source: VIRTIO Version 1.4, section "Processing of Incoming Packets".
"""

import numpy as np

from model import formats
from model.formats import Feature
from testbench.driver.platform import DeviceError

__all__ = ["ReceivedFrame", "ReceiveHeader"]

NUM_BUFFERS_AT = 10


class ReceivedFrame(bytes):
    """A frame, and what the device says of it.

    checksum_valid : whether it has validated the checksums
    hash_value, hash_report : of VIRTIO_NET_F_HASH_REPORT; 0 without
    """
    checksum_valid = False
    hash_value = hash_report = 0


class ReceiveHeader:
    """Takes headers off, and refuses those that the negotiated features don't allow.

    Without offloads frames are plain `bytes`, otherwise `ReceivedFrame`s.

    Parameters
    ----------
    features : negotiated
    """

    def __init__(self, features):
        checksum, report = (formats.has_feature(features, feature)
                            for feature in (Feature.NET_GUEST_CSUM, Feature.NET_HASH_REPORT))
        self._offloads = checksum or report
        self.bytes = formats.net_header_bytes(features)
        # Bits that may differ from that.
        mask = np.zeros(1, formats.VIRTIO_NET_HDR_HASH)
        mask["flags"] = formats.NET_HDR_F_DATA_VALID if checksum else 0
        if report:
            mask["hash_value"], mask["hash_report"] = 0xffff_ffff, 0xf
        self._mask = int.from_bytes(mask.tobytes().ljust(self.bytes, b"\0")[:self.bytes], "little")

    def frame(self, data, queue, buffers=1):
        """The frame in the bytes that the device wrote to `buffers` buffers of virtqueue `queue`."""
        header, frame = data[:self.bytes], data[self.bytes:]
        plain = bytes(NUM_BUFFERS_AT) + buffers.to_bytes(2, "little") + bytes(self.bytes - NUM_BUFFERS_AT - 2)
        differing = int.from_bytes(header, "little") ^ int.from_bytes(plain, "little")
        if differing & ~self._mask or not buffers or not frame:
            raise DeviceError(f"packet of queue {queue} with {len(data)} bytes has the header {header.hex()}, where "
                              f"{plain.hex()} was expected")
        return self._told(header, frame) if self._offloads else frame

    @staticmethod
    def _told(header, frame):
        told = np.frombuffer(header.ljust(formats.VIRTIO_NET_HDR_HASH.itemsize, b"\0"), formats.VIRTIO_NET_HDR_HASH,
                             count=1)[0]
        frame = ReceivedFrame(frame)
        frame.checksum_valid = bool(told["flags"] & formats.NET_HDR_F_DATA_VALID)
        frame.hash_value, frame.hash_report = int(told["hash_value"]), int(told["hash_report"])
        return frame
