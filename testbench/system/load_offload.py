"""Loads that give the offloads something to do on every packet, and check what they did."""

import struct

from model import formats
from model.formats import Feature
from model.offload import frames_of, ones_sum
from model.offloads_hash import HashConfig, frame_hash
from testbench.driver.offload import prepare

from .load import Load

__all__ = ["ALL_TYPES", "OffloadLoad", "whole_datagram"]

ALL_TYPES = 0x1ff
IP, UDP = 14, 34        # where the headers of a `datagram` begin
ADDRESSES = 63          # of each kind in the filter, beside the card's own
VLANS = range(100, 108)


class OffloadLoad(Load):
    """`Load` with as many offloads at work on each frame as were negotiated. The card completes the checksum of every
    frame that leaves. Frames that come pass a filter with addresses and VLANs, their checksums have been found right,
    and their hash, from which their queue follows, is what it must be. One pair.
    """

    def __init__(self, bench, nic, length, *, paired):
        super().__init__(bench, nic, length, paired=paired)
        features = nic.virtio.features
        self._reports, self._scales = (formats.has_feature(features, feature)
                                       for feature in (Feature.NET_HASH_REPORT, Feature.NET_RSS))
        self._config = HashConfig(ALL_TYPES, bench.random.randbytes(40), (0,) * 128)
        self._frames = [[whole_datagram(frame) for frame in frames] for frames in self._frames]
        prepared = [[prepare(frame, features, checksum=True) for frame in frames] for frames in self._frames]
        self._offload = prepared[0][0][0]       # all have the same headers
        self._given = [[frame for _, frame in pair] for pair in prepared]
        header = self._offload.header(12)
        assert [frames_of(header, frame, features, length) for frame in self._given[0]] \
            == [[frame] for frame in self._frames[0]]
        self._hashes = {frame: frame_hash(frame, self._config) for frame in self._frames[0]}

    async def set_up(self):
        control, random = self._nic.control, self._bench.random
        unicast, multicast = ([bytes([first]) + random.randbytes(5) for _ in range(ADDRESSES)] for first in (2, 3))
        await control.set_addresses(unicast, multicast)
        for vlan in VLANS:
            await control.set_vlan(vlan)
        if self._scales:
            await self._nic.set_scaling(self._config.table, types=self._config.types, key=self._config.key)
        elif self._reports:
            await control.set_hashes(self._config.types, self._config.key)

    def _post(self, queue, frames):
        queue.post_many(frames, self._offload)

    def _check(self, frame, counts):
        flow = super()._check(frame, counts)
        if counts is self.received:
            assert frame.checksum_valid, f"the checksum of {frame.hex()} was not found right"
            wanted = self._hashes[bytes(frame)] if self._reports else (0, 0)
            assert (frame.hash_value, frame.hash_report) == wanted, f"wrong hash of {frame.hex()}"
        return flow


def whole_datagram(frame):
    """A `datagram` with both checksums."""
    frame = bytearray(frame)
    struct.pack_into(">H", frame, IP + 10, ~ones_sum(frame[IP:UDP]) & 0xffff)
    total = ones_sum(frame[UDP:], ones_sum(frame[IP + 12:UDP], 17 + len(frame) - UDP))
    struct.pack_into(">H", frame, UDP + 6, ~total & 0xffff or 0xffff)
    return bytes(frame)
