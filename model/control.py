"""Control virtqueue of the functional card: what commands do, and what is answered.

Source: VIRTIO Version 1.4, section "Control Virtqueue". Where it leaves open what to do with nonsense: a command of an
unknown kind or without its feature, whose readable part has not the size of its kind or whose writable part has less,
is answered VIRTIO_NET_ERR and changes nothing; one without a writable byte is not carried out.
"""

from dataclasses import replace
from functools import partial

from model import formats
from model.formats import (
    AnnounceCommand,
    ControlClass,
    Feature,
    GuestOffloadsCommand,
    MacCommand,
    MqCommand,
    NotfCoalCommand,
    RxCommand,
    VlanCommand,
)
from model.offloads_config import hash_config, rss_config

__all__ = ["ControlCommands", "GuestOffloads"]


class GuestOffloads:
    """Which guest offloads are on: all that were negotiated, until a command names those that are to be.

    Parameters
    ----------
    features : what was negotiated, a mask
    """

    def __init__(self, features):
        self._negotiated = self._on = formats.guest_offloads(features)

    def __contains__(self, feature):
        return bool(self._on >> formats.GUEST_OFFLOAD_BITS[feature] & 1)

    def set(self, mask):
        """Switch them on and off; returns whether all were negotiated, else nothing changes."""
        allowed = not mask & ~self._negotiated
        if allowed:
            self._on = mask
        return allowed


class ControlCommands:
    """Carries out commands.

    Parameters
    ----------
    features : what was negotiated, a mask
    steering : Steering
    coalescing : Coalescing
    filter : ReceiveFilter
    config : DeviceConfig
    statistics : Statistics
    offloads : GuestOffloads
    control : index of the control queue
    is_enabled : is_enabled(index): whether a receive or transmit virtqueue of that index is enabled
    """

    def __init__(self, features, *, steering, coalescing, filter, config, statistics, offloads, control, is_enabled):
        self._steering = steering
        self._coalescing = coalescing
        self._filter = filter
        self._config = config
        self._statistics = statistics
        self._offloads = offloads
        self._control = control
        self._is_enabled = is_enabled
        self._features = features
        # (class, command): (feature, readable bytes behind class and command, or None if they vary, bytes written
        # ahead of ack, action)
        self._kinds = {
            **{(ControlClass.RX, mode): (
                Feature.NET_CTRL_RX if mode <= RxCommand.ALLMULTI else Feature.NET_CTRL_RX_EXTRA, 1, 0,
                partial(self._set_mode, mode)) for mode in RxCommand},
            (ControlClass.MAC, MacCommand.TABLE_SET): (Feature.NET_CTRL_RX, None, 0, self._set_addresses),
            (ControlClass.MAC, MacCommand.ADDR_SET): (Feature.NET_CTRL_MAC_ADDR, 6, 0, self._set_mac),
            (ControlClass.VLAN, VlanCommand.ADD): (Feature.NET_CTRL_VLAN, 2, 0, self._add_vlan),
            (ControlClass.VLAN, VlanCommand.DEL): (Feature.NET_CTRL_VLAN, 2, 0, self._remove_vlan),
            (ControlClass.ANNOUNCE, AnnounceCommand.ACK): (Feature.NET_GUEST_ANNOUNCE, 0, 0, self._acknowledge),
            (ControlClass.MQ, MqCommand.VQ_PAIRS_SET): (Feature.NET_MQ, 2, 0, self._set_pairs),
            (ControlClass.MQ, MqCommand.RSS_CONFIG): (Feature.NET_RSS, None, 0, self._set_scaling),
            (ControlClass.MQ, MqCommand.HASH_CONFIG): (Feature.NET_HASH_REPORT, None, 0, self._set_hashes),
            (ControlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET): (
                Feature.NET_CTRL_GUEST_OFFLOADS, 8, 0, self._set_offloads),
            (ControlClass.NOTF_COAL, NotfCoalCommand.TX_SET): (Feature.NET_NOTF_COAL, 8, 0, self._set_transmit),
            (ControlClass.NOTF_COAL, NotfCoalCommand.RX_SET): (Feature.NET_NOTF_COAL, 8, 0, self._set_receive),
            (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_SET): (Feature.NET_VQ_NOTF_COAL, 12, 0, self._set_queue),
            (ControlClass.NOTF_COAL, NotfCoalCommand.VQ_GET): (Feature.NET_VQ_NOTF_COAL, 4, 8, self._get_queue),
        }

    def execute(self, readable, room):
        """Carry out the command in the bytes `readable`; returns what goes into the first of `room` writable bytes."""
        if not room:
            return b""
        self._statistics.count(self._control, command_num=1)
        if len(readable) >= 2 and readable[0] == ControlClass.STATS:
            return self._tell(readable[1], readable[2:])[:room]
        answer = self._execute(readable, room)
        self._statistics.count(self._control, ok_num=answer[-1] == formats.NET_OK)
        return answer

    def _tell(self, number, data):
        """Statistics stand behind the acknowledgement."""
        answer = self._statistics.answer(number, data)
        if answer is None:
            return bytes([formats.NET_ERR])
        self._statistics.count(self._control, ok_num=1)
        return bytes([formats.NET_OK]) + answer()

    def _execute(self, readable, room):
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

    def _set_mode(self, mode, data):
        if data not in (b"\0", b"\1"):
            return None
        self._filter.set_mode(mode, data[0])
        return b""

    def _set_addresses(self, data):
        kinds = []
        for _ in range(2):
            end = 4 + 6 * int.from_bytes(data[:4], "little")
            if len(data) < max(4, end):
                return None
            kinds.append([data[at:at + 6] for at in range(4, end, 6)])
            data = data[end:]
        if data:
            return None
        self._filter.set_addresses(*kinds)
        return b""

    def _set_mac(self, data):
        self._filter.mac = data
        self._config.set_mac(data)
        return b""

    def _acknowledge(self, data):
        self._config.acknowledge()
        return b""

    def _add_vlan(self, data):
        return self._change_vlan(self._filter.vlans.add, data)

    def _remove_vlan(self, data):
        return self._change_vlan(self._filter.vlans.discard, data)

    def _change_vlan(self, change, data):
        vlan = int.from_bytes(data, "little")
        if vlan >= formats.VLANS:
            return None
        change(vlan)
        return b""

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

    def _set_offloads(self, data):
        return b"" if self._offloads.set(int.from_bytes(data, "little")) else None

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
