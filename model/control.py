"""Control virtqueue of the functional card: what commands do, and what is answered.

Source: VIRTIO Version 1.4, section "Control Virtqueue". Where it leaves open what to do with nonsense: a command of an
unknown kind, or whose readable or writable part has not the size of its kind, is answered VIRTIO_NET_ERR and changes
nothing; one without a writable byte is not carried out.
"""

from model import formats
from model.formats import ControlClass, Feature, MqCommand, NotfCoalCommand

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
        # (class, command): (feature, readable bytes behind class and command, bytes written ahead of ack, action)
        kinds = {
            (ControlClass.MQ, MqCommand.VQ_PAIRS_SET): (Feature.NET_MQ, 2, 0, self._set_pairs),
            (ControlClass.NOTF_COAL, NotfCoalCommand.TX_SET): (Feature.NET_NOTF_COAL, 8, 0, self._set_transmit),
            (ControlClass.NOTF_COAL, NotfCoalCommand.RX_SET): (Feature.NET_NOTF_COAL, 8, 0, self._set_receive),
            (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_SET): (Feature.NET_VQ_NOTF_COAL, 12, 0, self._set_queue),
            (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_GET): (Feature.NET_VQ_NOTF_COAL, 4, 8, self._get_queue),
        }
        self._kinds = {kind: entry[1:] for kind, entry in kinds.items() if formats.has_feature(features, entry[0])}

    def execute(self, readable, room):
        """Carry out the command in the bytes `readable`; returns what goes into the `room` writable bytes."""
        if not room:
            return b""
        kind = self._kinds.get(tuple(readable[:2])) if len(readable) >= 2 else None
        if kind is None:
            return bytes([formats.NET_ERR])
        size, answer_bytes, action = kind
        data = readable[2:]
        if len(data) != size or room != answer_bytes + 1:
            return bytes([formats.NET_ERR]) if room <= answer_bytes else bytes(answer_bytes) + bytes([formats.NET_ERR])
        answer = action(data)
        if answer is None:
            return bytes(answer_bytes) + bytes([formats.NET_ERR])
        return answer + bytes([formats.NET_OK])

    # Actions: the answer, or None for an error, of which then nothing is seen

    def _set_pairs(self, data):
        pairs = int.from_bytes(data, "little")
        if not 1 <= pairs <= self._steering.most_pairs:
            return None
        self._steering.set_pairs(pairs)
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
