"""device_status.

Source: VIRTIO 1.4, sections "Device Status Field", "Device Initialization", "Device Reset".
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .spec import Status

__all__ = ["DeviceStatus"]


class DeviceStatus(wiring.Component):
    """The status byte and what follows from it.

    - The driver's writes set bits and never clear one; only a reset does.
    - FEATURES_OK is judged once, when a write would change it from 0 to 1: it stays 0 unless `acceptable`.
    - DRIVER_OK reads back as written, but without FEATURES_OK the device does not become live: no ring format has been
      agreed on.
    - SUSPEND and reserved bits stay 0; DEVICE_NEEDS_RESET is set by `error` alone.
    - Writing 0 requests a reset, also when the byte is 0 already, since queues may have been set up. While a reset is
      under way (`quiesce`) the byte keeps its value, with ACKNOWLEDGE set lest it read 0 early; writes and errors are
      ignored.

    Everything follows its cause after 1 cycle.

    Attributes
    ----------
    write, data : In(1), In(8)
        the driver writes `data`
    acceptable : In(1)
        verdict on the driver's features
    error : In(1)
        the device met an error that only a reset cures
    quiesce, clear : In(1)
        from `LifeCycle`
    value : Out(8)
        device_status as read
    features_ok : Out(1)
    driver_ok : Out(1)
        initialisation is complete: notifications of configuration changes may be sent
    live : Out(1)
        `driver_ok` without DEVICE_NEEDS_RESET: queues work
    failed : Out(1)
        pulse: DEVICE_NEEDS_RESET has become set
    reset : Out(1)
        pulse: reset requested
    """

    write: In(1)
    data: In(8)
    acceptable: In(1)
    error: In(1)
    quiesce: In(1)
    clear: In(1)
    value: Out(8)
    features_ok: Out(1)
    driver_ok: Out(1)
    live: Out(1)
    failed: Out(1)
    reset: Out(1)

    def elaborate(self, platform):
        m = Module()
        status = Signal(Status)
        wanted = Status(self.data)
        shown = Signal(Status)
        m.d.comb += [
            shown.eq(status),
            shown.acknowledge.eq(status.acknowledge | self.quiesce),
            self.value.eq(shown),
            self.features_ok.eq(status.features_ok),
            self.driver_ok.eq(status.driver_ok & status.features_ok & ~self.quiesce),
            self.live.eq(self.driver_ok & ~status.needs_reset),
        ]
        m.d.sync += [self.reset.eq(0), self.failed.eq(0)]
        with m.If(self.clear):
            m.d.sync += status.eq(0)
        with m.Elif(~self.quiesce):
            with m.If(self.error & ~status.needs_reset):
                m.d.sync += [status.needs_reset.eq(1), self.failed.eq(1)]
            with m.If(self.write):
                with m.If(self.data == 0):
                    m.d.sync += self.reset.eq(1)
                for name in ("acknowledge", "driver", "driver_ok", "failed"):
                    with m.If(wanted[name]):
                        m.d.sync += status[name].eq(1)
                with m.If(wanted.features_ok & self.acceptable):
                    m.d.sync += status.features_ok.eq(1)
        return m
