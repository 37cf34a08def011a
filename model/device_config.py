"""Device configuration of the functional card: what straps, link and commands make of it.

Source: VIRTIO Version 1.4, section "Network Device / Device configuration layout".
"""

import numpy as np

from model import formats
from model.formats import Feature
from model.offloads_config import HASH_TYPES, KEY_BYTES, TABLE_ENTRIES

__all__ = ["DeviceConfig"]


class DeviceConfig:
    """struct virtio_net_config, read-only to the driver.

    Parameters
    ----------
    parameters : NicParameters
    features : features() is the mask of what a running driver negotiated, 0 without one
    notify : called when the driver is to be told of a change
    count : called before the first read after a change

    Attributes
    ----------
    mac : as MAC_ADDR_SET left it
    """

    def __init__(self, parameters, *, features, notify, count):
        self._parameters = parameters
        self._features = features
        self._notify = notify
        self._count = count
        self._link_up = True
        self.restore()

    def restore(self):
        """The state after reset."""
        self.mac = self._parameters.mac
        self._announce = False
        self._changed = False

    @property
    def link_up(self):
        return self._link_up

    @link_up.setter
    def link_up(self, up):
        if up != self._link_up:
            self._link_up = up
            self._announce |= up and formats.has_feature(self._features(), Feature.NET_GUEST_ANNOUNCE)
            self._changed = True
            self._notify()

    def set_mac(self, mac):
        self.mac = mac
        self._changed = True

    def acknowledge(self):
        """The driver has sent its announcements, or will."""
        self._announce = False
        self._changed = True

    def read(self, offset, size):
        if self._changed:
            self._changed = False
            self._count()
        p = self._parameters
        image = np.zeros(1, formats.VIRTIO_NET_CONFIG)[0]
        image["mac"] = list(self.mac)
        image["status"] = (formats.NET_S_LINK_UP * self._link_up) | (formats.NET_S_ANNOUNCE * self._announce)
        if formats.has_feature(p.offered, Feature.NET_MQ):
            image["max_virtqueue_pairs"] = p.pairs
        scaling, report = (formats.has_feature(p.offered, feature)
                           for feature in (Feature.NET_RSS, Feature.NET_HASH_REPORT))
        if scaling:
            image["max_virtqueue_pairs"], image["rss_max_indirection_table_length"] = p.pairs, TABLE_ENTRIES
        if scaling or report:
            image["rss_max_key_size"], image["supported_hash_types"] = KEY_BYTES, HASH_TYPES
        image["mtu"], image["speed"], image["duplex"] = p.mtu, p.speed, formats.DUPLEX_FULL
        return image.tobytes()[offset:offset + size]
