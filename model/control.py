"""Control virtqueue of the functional card: what commands do, and what is answered.

Source: VIRTIO Version 1.4, section "Control Virtqueue". Where it leaves open what to do with nonsense: a command of an
unknown kind or without its feature, whose readable part has not the size of its kind or whose writable part has less,
is answered VIRTIO_NET_ERR and changes nothing; one without a writable byte is not carried out.
"""

from dataclasses import replace

from model import formats
from model.formats import ControlClass, Feature, MqCommand, NotfCoalCommand
from model.offloads_config import hash_config, rss_config

__all__ = ["ControlCommands"]


class ControlCommands:
    """Carries out commands.

    Parameters
    ----------
    features : what was negotiated, a mask
    steering : Steering
    coalescing : Coalescing
    is_enabled : is_enabled(index): whether a receive or transmit virtqueue of that index is enabled
    """

    def __init__(self, features, steering, coalescing, is_enabled):
        self._steering = steering
        self._coalescing = coalescing
        self._is_enabled = is_enabled
        self._features = features
        # (class, command): (feature, readable bytes behind class and command if their number is fixed, bytes written
        # ahead of ack, action)
        self._kinds = {
            (ControlClass.MQ, MqCommand.VQ_PAIRS_SET): (Feature.NET_MQ, 2, 0, self._set_pairs),
            (ControlClass.MQ, MqCommand.RSS_CONFIG): (Feature.NET_RSS, None, 0, self._set_scaling),
            (ControlClass.MQ, MqCommand.HASH_CONFIG): (Feature.NET_HASH_REPORT, None, 0, self._set_hashes),
            (ControlClass.NOTF_COAL, NotfCoalCommand.TX_SET): (Feature.NET_NOTF_COAL, 8, 0, self._set_transmit),
            (ControlClass.NOTF_COAL, NotfCoalCommand.RX_SET): (Feature.NET_NOTF_COAL, 8, 0, self._set_receive),
            (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_SET): (Feature.NET_VQ_NOTF_COAL, 12, 0, self._set_queue),
            (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_GET): (Feature.NET_VQ_NOTF_COAL, 4, 8, self._get_queue),
        }

    def execute(self, readable, room):
        """Carry out the command in the bytes `readable`; returns what goes into the first of `room` writable bytes."""
        if not room:
            return b""
        refused = bytes([formats.NET_ERR])
        kind = self._kinds.get(tuple(readable[:2])) if len(readable) >= 2 else None
        if kind is None:
            return refused
        feature, size, answer_bytes, action = kind
        if room <= answer_bytes:
            return refused
        data = readable[2:]
        answer = None
        if formats.has_feature(self._features, feature) and size in (None, len(data)):
            answer = action(data)
        # An acknowledgement is where the driver looks for it, though there is nothing to say before it.
        return bytes(answer_bytes) + refused if answer is None else answer + bytes([formats.NET_OK])

    # Actions: the answer, or None for an error, of which then nothing is seen

    def _set_pairs(self, data):
        pairs = int.from_bytes(data, "little")
        if not 1 <= pairs <= self._steering.most_pairs:
            return None
        self._steering.set_pairs(pairs)
        return b""

    def _set_scaling(self, data):
        found = rss_config(data, self._steering.most_pairs, lambda pair: self._is_enabled(2 * pair))
        if found is None:
            return None
        self._steering.set_scaling(found)
        return b""

    def _set_hashes(self, data):
        found = hash_config(data)
        if found is None:
            return None
        self._steering.hashes = replace(self._steering.hashes, types=found.types, key=found.key)
        return b""

    def _set_transmit(self, data):
        self._coalescing.set_direction(1, *formats.COAL.unpack(data))
        return b""

    def _set_receive(self, data):
        self._coalescing.set_direction(0, *formats.COAL.unpack(data))
        return b""

    def _set_queue(self, data):
        index, _, packets, usecs = formats.COAL_VQ.unpack(data)
        if not self._is_enabled(index):
            return None
        self._coalescing.set_queue(index, packets, usecs)
        return b""

    def _get_queue(self, data):
        index, _ = formats.COAL_VQ_GET.unpack(data)
        if not self._is_enabled(index):
            return None
        return formats.COAL.pack(*self._coalescing.of_queue(index))
