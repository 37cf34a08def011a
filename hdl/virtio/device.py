"""The virtio device as its driver sees it: everything behind BAR 0 but MSI-X and the counters."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.config import HASH_TYPES, KEY_BYTES, TABLE_ENTRIES
from hdl.pcie.bar import BarLayout
from hdl.regs import RegisterBus
from hdl.stream import Queue

from .bar_map import BarMap, Region
from .common import CommonConfig, QueueNumber, QueueSetup
from .device_config import DeviceConfig
from .features import offered_features
from .isr import Isr
from .lifecycle import LifeCycle
from .notify import Doorbell, Notify
from .spec import FEATURE_BITS, Feature

__all__ = ["VirtioDevice", "bar_regions"]


def bar_regions(layout):
    """`BarMap` regions of a `BarLayout`. MSI-X table, pending bits and what lies between are one."""
    def region(name, offset, length):
        return Region(name, offset, -(-length // 4) * 4)
    return [
        region("common", layout.common, layout.common_length),
        region("isr", layout.isr, layout.isr_length),
        region("device", layout.device, layout.device_length),
        region("counters", layout.counters, layout.counters_length),
        region("notify", layout.notify, layout.notify_length),
        region("msix", layout.msix_table, layout.msix_pba + layout.msix_pba_length - layout.msix_table),
    ]


class VirtioDevice(wiring.Component):
    """Registers, doorbells and life cycle of one virtio network function.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    bus : In(RegisterBus())
        addresses count from the start of BAR 0
    msix : Out(RegisterBus())
        addresses count from the start of the MSI-X table; the pending bits follow at the BAR's distance
    counters : Out(RegisterBus())
        addresses count from the start of the counters
    doorbells : Out(stream of Doorbell)
        2 cycles after the request; to be taken in bounded time, whatever the host does
    configure : Out(stream of QueueSetup), always ready
        a queue was enabled, or the vector of an enabled queue changed, or a queue was reset
    reset_queue : Out(QueueNumber)
        pulse: the driver resets a queue
    queue_resets : Out(stream of virtqueue index)
        the same, one by one: taken when it is done. Withdrawn by a reset of the device
    features : Out(128)
        negotiated; constant while `live`
    live : Out(1)
        queues may work: DRIVER_OK and FEATURES_OK are set, DEVICE_NEEDS_RESET is not, no reset is under way
    driver_ok : Out(1)
        as `live`, but also with DEVICE_NEEDS_RESET
    error : In(1)
        pulse: set DEVICE_NEEDS_RESET
    flr : In(1)
        pulse: reset the function
    all_idle : In(1)
        no block outside has transfers or an initialisation under way
    quiesce, clear, flr_busy : Out(1)
        see `LifeCycle`
    mac, mtu, speed, link_up : In
        see `DeviceConfig`
    new_mac : In(48); set_mac, acknowledge : In(1)
        see `DeviceConfig`
    mtu_shown : Out(16); mac_shown : Out(48)
        as the driver reads them
    config_changed : Out(1)
        pulse: send a configuration change notification; ISR bit 1 is set in the same cycle
    config_vector : Out(12)
        its vector; bit 11: none
    queue_interrupt : In(1)
        pulse: set ISR bit 0
    isr_pending : Out(1)
        an ISR bit is set
    """

    def __init__(self, config):
        self.config = config
        self.offered = offered_features(config)
        super().__init__({
            "bus": In(RegisterBus()),
            "msix": Out(RegisterBus()),
            "counters": Out(RegisterBus()),
            "doorbells": Out(stream.Signature(Doorbell(config.queue_bits))),
            "configure": Out(stream.Signature(QueueSetup(config.queue_bits), always_ready=True)),
            "reset_queue": Out(QueueNumber(config.queue_bits)),
            "queue_resets": Out(stream.Signature(config.queue_bits)),
            "features": Out(FEATURE_BITS),
            "live": Out(1),
            "driver_ok": Out(1),
            "error": In(1),
            "flr": In(1),
            "all_idle": In(1),
            "quiesce": Out(1),
            "clear": Out(1),
            "flr_busy": Out(1),
            "mac": In(48),
            "mtu": In(16),
            "speed": In(32),
            "link_up": In(1),
            "new_mac": In(48),
            "set_mac": In(1),
            "acknowledge": In(1),
            "mtu_shown": Out(16),
            "mac_shown": Out(48),
            "config_changed": Out(1),
            "config_vector": Out(12),
            "queue_interrupt": In(1),
            "isr_pending": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        multiqueue = {Feature.MQ, Feature.RSS} & set(self.offered)
        m.submodules.bar = bar = BarMap(bar_regions(BarLayout.of(config)))
        m.submodules.common = common = CommonConfig(self.offered, config.queues, config.queue_size_max, config.vectors)
        m.submodules.isr = isr = Isr()
        m.submodules.device = device = DeviceConfig(config.max_mtu, config.pairs if multiqueue else 0, **self._hashes())
        m.submodules.notify = notify = Notify(config.queues, config.page)
        m.submodules.life = life = LifeCycle()

        wiring.connect(m, wiring.flipped(self.bus), bar.bus)
        for name, target in [("common", common), ("isr", isr), ("device", device), ("notify", notify)]:
            wiring.connect(m, getattr(bar, name), target.bus)
        wiring.connect(m, bar.msix, wiring.flipped(self.msix))
        wiring.connect(m, bar.counters, wiring.flipped(self.counters))
        wiring.connect(m, notify.doorbells, wiring.flipped(self.doorbells))
        wiring.connect(m, common.configure, wiring.flipped(self.configure))
        # A doorbell is quicker than the write before it, which may have enabled its queue.
        m.d.comb += notify.hold.eq(common.settling)
        self._connect_life(m, life, common, isr, device)
        self._connect_queue_resets(m, life, common)
        self._connect_changes(m, common, device, isr)
        m.d.comb += [
            self.features.eq(common.features),
            self.live.eq(common.live),
            self.driver_ok.eq(common.driver_ok),
            self.config_vector.eq(common.config_vector),
        ]
        return m

    def _hashes(self):
        """What the configuration says of hashes."""
        scaling, report = (feature in self.offered for feature in (Feature.RSS, Feature.HASH_REPORT))
        return {"key_bytes": KEY_BYTES if scaling or report else 0, "table_entries": TABLE_ENTRIES if scaling else 0,
                "hash_types": (1 << HASH_TYPES) - 1 if scaling or report else 0}

    def _connect_life(self, m, life, common, isr, device):
        m.d.comb += [
            life.request.eq(common.reset),
            life.flr.eq(self.flr),
            life.all_idle.eq(self.all_idle & common.idle),
            self.quiesce.eq(life.quiesce),
            self.clear.eq(life.clear),
            self.flr_busy.eq(life.flr_busy),
            common.quiesce.eq(life.quiesce),
            common.clear.eq(life.clear),
            common.error.eq(self.error),
            isr.clear.eq(life.clear),
            device.clear.eq(life.clear),
        ]

    def _connect_queue_resets(self, m, life, common):
        # A queue stands in it once at most.
        waiting = Queue(self.config.queue_bits, self.config.queues, block=False)
        m.submodules.queue_resets = ResetInserter(life.quiesce)(waiting)
        wiring.connect(m, waiting.o, wiring.flipped(self.queue_resets))
        m.d.comb += [
            self.reset_queue.eq(common.reset_queue),
            waiting.i.valid.eq(common.reset_queue.valid), waiting.i.payload.eq(common.reset_queue.queue),
            common.finished.valid.eq(waiting.o.valid & waiting.o.ready), common.finished.queue.eq(waiting.o.payload),
        ]

    def _connect_changes(self, m, common, device, isr):
        """The driver is told of changes once it has said that it is there."""
        tell = Signal()
        m.d.comb += [
            device.mac.eq(self.mac),
            device.mtu.eq(self.mtu),
            device.speed.eq(self.speed),
            device.link_up.eq(self.link_up),
            device.new_mac.eq(self.new_mac),
            device.set_mac.eq(self.set_mac),
            device.announces.eq(common.driver_ok & common.features[Feature.GUEST_ANNOUNCE]),
            device.acknowledge.eq(self.acknowledge),
            self.mtu_shown.eq(device.mtu_shown),
            self.mac_shown.eq(device.mac_shown),
            common.generation.eq(device.generation),
            tell.eq((device.changed | common.failed) & common.driver_ok),
            isr.set_config.eq(tell),
            isr.set_queue.eq(self.queue_interrupt),
            self.isr_pending.eq(isr.pending),
        ]
        m.d.sync += self.config_changed.eq(tell)
