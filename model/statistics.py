"""Statistics of the functional card, and the commands that ask for them.

Source: VIRTIO Version 1.4, section "Control Virtqueue / Device Statistics".
"""

from collections import Counter

from model import formats
from model.formats import Feature, StatisticType, StatsCommand

__all__ = ["Statistics"]

_MASK = (1 << 64) - 1
# Features that a type needs, one of them, besides VIRTIO_NET_F_DEVICE_STATS.
_NEEDS = {
    StatisticType.RX_CSUM: (Feature.NET_GUEST_CSUM,),
    StatisticType.RX_GSO: (Feature.NET_GUEST_TSO4, Feature.NET_GUEST_TSO6),
    StatisticType.TX_CSUM: (Feature.NET_CSUM,),
    StatisticType.TX_GSO: (Feature.NET_HOST_TSO4, Feature.NET_HOST_TSO6, Feature.NET_HOST_USO),
}


class Statistics:
    """
    Parameters
    ----------
    features : what was negotiated, a mask
    queues : receive and transmit virtqueues
    control : index of the control queue, or None
    """

    def __init__(self, features, queues, control):
        self._features = features
        self._queues = queues
        self._control = control
        self._counts = Counter()

    def count(self, queue, **amounts):
        """Add to counters of a queue, by their names in the structures of the specification."""
        for name, amount in amounts.items():
            self._counts[queue, name] += amount

    def answer(self, number, data):
        """What STATS_QUERY or STATS_GET bring behind the ack, or None for an error. For STATS_GET a function that makes
        the bytes once the command is counted."""
        if not formats.has_feature(self._features, Feature.NET_DEVICE_STATS):
            return None
        if number == StatsCommand.QUERY and not data:
            types = sum(1 << kind for kind in StatisticType if self._is_supported(kind))
            return lambda: types.to_bytes(8, "little")
        if number != StatsCommand.GET or len(data) % formats.STATS_REQUEST.size:
            return None
        wanted = []
        for queue, types in formats.STATS_REQUEST.iter_unpack(data):
            mine = {kind for kind in StatisticType if self._belongs(kind, queue) and self._is_supported(kind)}
            if types & ~sum(1 << kind for kind in mine) or not self._exists(queue):
                return None
            wanted += [(queue, kind) for kind in sorted(mine) if types >> kind & 1]
        return lambda: b"".join(self._reply(*one) for one in wanted)

    def _exists(self, queue):
        return queue < self._queues or queue == self._control

    def _belongs(self, kind, queue):
        return kind // 16 == (2 if queue == self._control else queue & 1)

    def _is_supported(self, kind):
        return kind not in _NEEDS or any(formats.has_feature(self._features, feature) for feature in _NEEDS[kind])

    def _reply(self, queue, kind):
        names = formats.STATISTICS[kind]
        header = formats.STATS_REPLY.pack(kind, queue, formats.STATS_REPLY.size + 8 * len(names))
        return header + b"".join((self._counts[queue, name] & _MASK).to_bytes(8, "little") for name in names)
