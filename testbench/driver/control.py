"""The control queue: commands to the device, one at a time.

Source: VIRTIO Version 1.4, section "Control Virtqueue".
"""

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
    StatisticType,
    StatsCommand,
    VlanCommand,
)
from model.offloads_config import pack_hash_config, pack_rss_config
from testbench.driver.area import Area
from testbench.driver.framing import Framing
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.virtqueue import Virtqueue

__all__ = ["CommandRefused", "ControlQueue"]

_ROOM = 4096                # bytes for either half of a command, with the gaps of its framing
_UNTOUCHED = 0xa5           # what stands where the device has not written
_LINUX = Framing(cuts=(2,))


class CommandRefused(DriverError):
    """The device answered VIRTIO_NET_ERR."""


class ControlQueue(Virtqueue):
    """The queue for commands. A command waits until those before it are answered."""

    def __init__(self, nic, index, size):
        super().__init__(nic, index, size)
        self._readable = Area(nic.host, _ROOM, "control", align=64)
        self._writable = Area(nic.host, _ROOM, "control", align=64)
        self._areas += [self._readable, self._writable]
        self._busy = False
        self._free = nic.platform.event()

    async def execute(self, kind, command, data=b"", *, answer_bytes=0, result_bytes=None, framing=_LINUX,
                      answer_framing=None, indirect=None, timeout_ns=None):
        """Give a command of any kind to the device; returns (ack, answer), as much of the answer as was written.

        The readable bytes are class, command and `data`, cut as `framing` says (Linux: class and command apart). The
        writable ones are `answer_bytes` and the acknowledgement behind them; they are cut as `answer_framing` says.
        With `result_bytes` the acknowledgement comes first and room for so many bytes behind it.
        `indirect` as for `PackedRing.add`. Raises `DeviceError` if there is no acknowledgement.
        """
        while self._busy:
            self._free.clear()
            await self._free.wait()
        self._busy = True
        try:
            answer, written = await self._execute(
                bytes([kind, command]) + data, answer_bytes + 1 + (result_bytes or 0), framing,
                answer_framing or Framing(), indirect, timeout_ns)
            return self._acknowledgement(answer, written, 0 if result_bytes is not None else written - 1)
        finally:
            self._busy = False
            self._free.set()

    async def _execute(self, readable, room, framing, answer_framing, indirect, timeout_ns):
        self.check_open()
        if self.ring.in_flight:
            raise DriverError("a command is still under way")
        outgoing, incoming = framing.place(0, len(readable)), answer_framing.place(0, room)
        for area, half, length in ((self._readable, framing, len(readable)), (self._writable, answer_framing, room)):
            if half.room(length) > _ROOM:
                raise DriverError(f"{half} needs {half.room(length)} bytes, there are {_ROOM}")
            area.view[:] = bytes([_UNTOUCHED]) * _ROOM
        for at, first, end in outgoing:
            self._readable.view[at:at + end - first] = readable[first:end]
        elements = ([(self._readable.address + at, end - first, False) for at, first, end in outgoing]
                    + [(self._writable.address + at, end - first, True) for at, first, end in incoming])
        self.ring.add(elements, indirect=indirect)
        await self.kick()
        await self.wait_used(timeout_ns)
        (_, written), = self.ring.collect()
        answer = b"".join(self._writable.view[at:at + end - first] for at, first, end in incoming)
        return answer, written

    def _acknowledgement(self, answer, written, at):
        """(ack, answer) in the writable bytes of a command, the acknowledgement being byte `at`."""
        self._statistics["commands"] += 1
        if written == 0:
            raise DeviceError("a command was used without an acknowledgement")
        ack = answer[at]
        if ack not in (formats.NET_OK, formats.NET_ERR) or any(byte != _UNTOUCHED for byte in answer[written:]):
            raise DeviceError(f"a command was answered {answer.hex()}, {written} bytes of it written")
        return ack, answer[:at] + answer[at + 1:written]

    async def command(self, kind, command, data=b"", *, feature, **how):
        """As `execute`, for a command that belongs to `feature`; returns the answer. Raises `CommandRefused`."""
        if not formats.has_feature(self._nic.virtio.features, feature):
            raise DriverError(f"{command.name} without VIRTIO_{feature.name}")
        ack, answer = await self.execute(kind, command, data, **how)
        if ack != formats.NET_OK:
            raise CommandRefused(f"{command.name} {data.hex()} was refused")
        if len(answer) != how.get("answer_bytes", 0):
            raise DeviceError(f"{command.name} was answered by {len(answer)} bytes")
        return answer

    # Commands

    async def set_pairs(self, pairs, **how):
        """VQ_PAIRS_SET. See `Nic.set_pairs` for what belongs to it."""
        await self.command(ControlClass.MQ, MqCommand.VQ_PAIRS_SET, pairs.to_bytes(2, "little"),
                           feature=Feature.NET_MQ, **how)

    async def set_receive_mode(self, mode, on=True, **how):
        """Switch a mode of receiving, an `RxCommand`, on or off."""
        feature = Feature.NET_CTRL_RX if mode <= RxCommand.ALLMULTI else Feature.NET_CTRL_RX_EXTRA
        await self.command(ControlClass.RX, mode, bytes([on]), feature=feature, **how)

    async def set_addresses(self, unicast=(), multicast=(), **how):
        """MAC_TABLE_SET: addresses to receive besides the card's own."""
        await self.command(ControlClass.MAC, MacCommand.TABLE_SET, formats.mac_table(unicast, multicast),
                           feature=Feature.NET_CTRL_RX, **how)

    async def set_mac(self, mac, **how):
        """MAC_ADDR_SET. See `Nic.set_mac`."""
        await self.command(ControlClass.MAC, MacCommand.ADDR_SET, mac, feature=Feature.NET_CTRL_MAC_ADDR, **how)

    async def set_vlan(self, vlan, on=True, **how):
        """Receive frames of a VLAN, or don't."""
        await self.command(ControlClass.VLAN, VlanCommand.ADD if on else VlanCommand.DEL, vlan.to_bytes(2, "little"),
                           feature=Feature.NET_CTRL_VLAN, **how)

    async def acknowledge_announcement(self, **how):
        """ANNOUNCE_ACK: the card need not ask any more. See `Nic.announce`."""
        await self.command(ControlClass.ANNOUNCE, AnnounceCommand.ACK, feature=Feature.NET_GUEST_ANNOUNCE, **how)

    async def set_scaling(self, types, key, table, unclassified, sends, **how):
        """RSS_CONFIG: `table` and `unclassified` are pairs, and the driver sends on the first `sends` pairs. See
        `Nic.set_scaling` for what belongs to it."""
        await self.command(ControlClass.MQ, MqCommand.RSS_CONFIG,
                           pack_rss_config(types, key, table, unclassified, sends), feature=Feature.NET_RSS, **how)

    async def set_hashes(self, types, key, **how):
        """HASH_CONFIG: which hash types are reported, with automatic steering."""
        await self.command(ControlClass.MQ, MqCommand.HASH_CONFIG, pack_hash_config(types, key),
                           feature=Feature.NET_HASH_REPORT, **how)

    async def set_guest_offloads(self, *offloads, **how):
        """GUEST_OFFLOADS_SET: these `Feature`s are to be on, and no others. Raises `DriverError` for one that was not
        negotiated."""
        unknown = [offload.name for offload in offloads if offload not in formats.GUEST_OFFLOAD_BITS
                   or not formats.has_feature(self._nic.virtio.features, offload)]
        if unknown:
            raise DriverError(f"GUEST_OFFLOADS_SET of {', '.join(unknown)}, which is no offload that was negotiated")
        await self.command(ControlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET,
                           formats.guest_offloads(formats.feature_set(*offloads)).to_bytes(8, "little"),
                           feature=Feature.NET_CTRL_GUEST_OFFLOADS, **how)

    async def set_coalescing(self, direction, packets, usecs, **how):
        """Notify of used buffers after so many packets or microseconds; of all queues of `direction`, "rx" or "tx"."""
        command = {"rx": NotfCoalCommand.RX_SET, "tx": NotfCoalCommand.TX_SET}[direction]
        await self.command(ControlClass.NOTF_COAL, command, formats.COAL.pack(packets, usecs),
                           feature=Feature.NET_NOTF_COAL, **how)

    async def set_queue_coalescing(self, index, packets, usecs, **how):
        """The same, of one receive or transmit queue."""
        await self.command(ControlClass.NOTF_COAL, NotfCoalCommand.VQ_SET,
                           formats.COAL_VQ.pack(index, 0, packets, usecs), feature=Feature.NET_VQ_NOTF_COAL, **how)

    async def queue_coalescing(self, index, **how):
        """(packets, microseconds) of one receive or transmit queue."""
        return formats.COAL.unpack(await self.command(
            ControlClass.NOTF_COAL, NotfCoalCommand.VQ_GET, formats.COAL_VQ_GET.pack(index, 0),
            feature=Feature.NET_VQ_NOTF_COAL, answer_bytes=formats.COAL.size, **how))

    async def statistic_types(self, **how):
        """The `StatisticType`s that the card knows."""
        types = await self._ask_statistics(StatsCommand.QUERY, b"", 8, **how)
        return {kind for kind in StatisticType if int.from_bytes(types, "little") >> kind & 1}

    async def statistics(self, wanted, **how):
        """Counters of queues: `wanted` is {index: types}; returns {index: {name: count}}. Raises `CommandRefused`."""
        data = b"".join(formats.STATS_REQUEST.pack(index, sum(1 << kind for kind in types))
                        for index, types in wanted.items())
        room = sum(formats.STATS_REPLY.size + 8 * len(formats.STATISTICS[kind])
                   for types in wanted.values() for kind in types)
        result = await self._ask_statistics(StatsCommand.GET, data, room, **how)
        counts = {index: {} for index in wanted}
        while result:
            kind, index, size = formats.STATS_REPLY.unpack_from(result)
            names = formats.STATISTICS[kind]
            if size != formats.STATS_REPLY.size + 8 * len(names) or kind not in wanted.get(index, ()):
                raise DeviceError(f"statistics {result.hex()} for {wanted}")
            values = (int.from_bytes(result[at:at + 8], "little") for at in range(formats.STATS_REPLY.size, size, 8))
            counts[index] |= dict(zip(names, values))
            result = result[size:]
        return counts

    async def _ask_statistics(self, command, data, room, **how):
        if not formats.has_feature(self._nic.virtio.features, Feature.NET_DEVICE_STATS):
            raise DriverError(f"{command.name} without VIRTIO_NET_F_DEVICE_STATS")
        ack, result = await self.execute(ControlClass.STATS, command, data, result_bytes=room, **how)
        if ack != formats.NET_OK:
            raise CommandRefused(f"{command.name} {data.hex()} was refused")
        if len(result) != room:
            raise DeviceError(f"{command.name} was answered by {len(result)} bytes of {room}")
        return result
