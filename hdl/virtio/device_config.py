"""The network device's configuration structure.

Source: VIRTIO 1.4, sections "Network device configuration layout", "Device Configuration Space"; config_generation:
section "Common configuration structure layout".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterBus, RegisterFile

from .maps import NET_CONFIG
from .spec import MIN_MTU, SPEED_UNKNOWN, Duplex, LinkStatus

__all__ = ["DeviceConfig"]


class DeviceConfig(wiring.Component):
    """struct virtio_net_config, 28 bytes, read-only, filled from the straps.

    `mac` and `mtu` are taken in the first cycle after reset and stay, the first until the driver sets another one, up
    to the next `clear`. `speed` is taken while the link is down, so it
    stays while the driver sees the link up. The link's state follows `link_up`.

    When the link comes up while `announces`, the driver is asked to send its announcements: whoever is behind the link
    may not know it. VIRTIO_NET_S_ANNOUNCE shows with the link's state, and falls with `acknowledge` or `clear`.

    config_generation: a change is remembered; the first read of any part of the structure after it increments the
    count. So it can't come back to an old value, however often the configuration changes between two reads.

    Parameters
    ----------
    max_mtu : int
        largest mtu that is shown; a strap outside 68 to `max_mtu` shows as the nearer end
    max_pairs : int
        max_virtqueue_pairs; 0 unless MQ or RSS is offered
    key_bytes, hash_types : int
        rss_max_key_size and supported_hash_types; 0 unless RSS or HASH_REPORT is offered
    table_entries : int
        rss_max_indirection_table_length; 0 unless RSS is offered

    Attributes
    ----------
    bus : In(RegisterBus())
    mac : In(48)
        [7:0] is byte 0 of the configuration, the first byte on the wire
    mtu : In(16)
    speed : In(32)
        Mbit/s; anything above 0x7fffffff shows as unknown
    link_up : In(1)
    new_mac : In(48); set_mac : In(1)
        pulse: the mac is another one; a change that the driver knows of, so `changed` stays low
    announces : In(1)
        a driver is running that can be asked for announcements
    acknowledge : In(1)
        pulse: it has heard; `changed` stays low
    clear : In(1)
        pulse: the device is reset
    generation : Out(8)
        config_generation
    changed : Out(1)
        pulse: what the driver may have read has changed
    mtu_shown : Out(16)
        the mtu that the driver reads
    mac_shown : Out(48)
        the mac that the driver reads, in the order of `mac`
    """

    def __init__(self, max_mtu, max_pairs=0, *, key_bytes=0, hash_types=0, table_entries=0):
        self.max_mtu = max_mtu
        self.max_pairs = max_pairs
        self.key_bytes = key_bytes
        self.hash_types = hash_types
        self.table_entries = table_entries
        super().__init__({
            "bus": In(RegisterBus()),
            "mac": In(48),
            "mtu": In(16),
            "speed": In(32),
            "link_up": In(1),
            "new_mac": In(48), "set_mac": In(1), "announces": In(1), "acknowledge": In(1), "clear": In(1),
            "generation": Out(8),
            "changed": Out(1),
            "mtu_shown": Out(16),
            "mac_shown": Out(48),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = RegisterFile(NET_CONFIG)
        wiring.connect(m, wiring.flipped(self.bus), registers.bus)
        mac, own_mac = Signal(48), self.mac_shown     # by the strap, and now
        status = Signal(LinkStatus)
        speed = Signal(32)
        sampled = Signal()
        with m.If(~sampled):
            m.d.sync += [sampled.eq(1), mac.eq(self.mac), own_mac.eq(self.mac),
                         self.mtu_shown.eq(self._limited(self.mtu))]
        with m.Elif(self.clear):
            m.d.sync += own_mac.eq(mac)
        with m.Elif(self.set_mac):
            m.d.sync += own_mac.eq(self.new_mac)
        new_speed = Mux(self.speed[31], SPEED_UNKNOWN, self.speed)
        changes = Signal()
        m.d.comb += changes.eq((status.link_up != self.link_up) | (~status.link_up & (speed != new_speed)))
        m.d.sync += [status.link_up.eq(self.link_up), self.changed.eq(changes)]
        with m.If(~status.link_up):
            m.d.sync += speed.eq(new_speed)
        with m.If(self.clear):
            m.d.sync += status.announce.eq(0)
        with m.Elif(self.announces & self.link_up & ~status.link_up):
            m.d.sync += status.announce.eq(1)
        with m.Elif(self.acknowledge):
            m.d.sync += status.announce.eq(0)
        m.d.comb += [
            registers.mac_low.eq(own_mac[:32]),
            registers.mac_high.eq(own_mac[32:]),
            registers.status.eq(status),
            registers.max_virtqueue_pairs.eq(self.max_pairs),
            registers.mtu.eq(self.mtu_shown),
            registers.speed.eq(speed),
            registers.duplex.eq(Duplex.FULL),
            registers.rss_max_key_size.eq(self.key_bytes),
            registers.rss_max_indirection_table_length.eq(self.table_entries),
            registers.supported_hash_types.eq(self.hash_types),
        ]
        self._count(m, changes | self.set_mac | self.acknowledge | self.clear)
        return m

    def _limited(self, mtu):
        return Mux(mtu < MIN_MTU, MIN_MTU, Mux(mtu > self.max_mtu, self.max_mtu, mtu))

    def _count(self, m, changes):
        request = self.bus.request
        unseen = Signal()
        read = Signal()
        m.d.comb += read.eq(request.valid & request.ready & ~request.p.write & request.p.strobe.any())
        with m.If(read & unseen):
            m.d.sync += [self.generation.eq(self.generation + 1), unseen.eq(0)]
        # In the cycle of a change a read still shows the old value.
        with m.If(changes):
            m.d.sync += unseen.eq(1)
