"""From events to interrupts: MSI-X requests, or ISR status bits."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.stream import Skid, connect_stream, rotate_priority

__all__ = ["Interrupts"]


class Interrupts(wiring.Component):
    """Merges used buffer notifications of all virtqueues and configuration changes (VIRTIO 1.4, PCI-specific Device
    Operation).

    | event | MSI-X enabled | MSI-X disabled |
    | --- | --- | --- |
    | used buffer | request of the queue's vector | ISR bit 0 |
    | configuration change | ISR bit 1, then request of the configuration vector | ISR bit 1 |

    A vector with bit 11 set is none: no request. The blocks behind `isr_queue` and `isr_config` keep the ISR status
    and send INTx messages.

    Nothing is notified while `quiesce`. Used buffer notifications need `live`, configuration changes `notify_config`
    (DRIVER_OK, also with DEVICE_NEEDS_RESET). What comes at another time is taken and forgotten; so is a configuration
    change whose request is still waiting.

    Configuration changes go first; several that come before the request make one. `rx`, `tx` and `control` take turns.
    A notification a cycle; `requests` in the same cycle, `isr_queue` 1 later; `config_change` to `isr_config` 1 cycle,
    to `requests` 2 cycles. A request offered is final.

    Parameters
    ----------
    config : NicConfig
        takes pair_bits

    Attributes
    ----------
    rx, tx : streams of {queue, vector} in; control : stream of {vector} in
    config_change : In(1)
        pulse
    config_vector : In(12)
    msix_enable, live, notify_config, quiesce : In(1)
    requests : stream of {vector} out
    notified : Out(2)
        bit 0 with a transfer at `rx`, bit 1 at `tx`: the driver is interrupted
    isr_queue, isr_config : Out(1)
        pulses: set ISR bit 0, bit 1
    idle : Out(1)
        nothing waits inside
    """

    def __init__(self, config):
        interrupt = data.StructLayout({"queue": config.pair_bits, "vector": 12})
        super().__init__({
            "rx": In(stream.Signature(interrupt)),
            "tx": In(stream.Signature(interrupt)),
            "control": In(stream.Signature(data.StructLayout({"vector": 12}))),
            "config_change": In(1),
            "config_vector": In(12),
            "msix_enable": In(1),
            "live": In(1),
            "notify_config": In(1),
            "quiesce": In(1),
            "requests": Out(stream.Signature(data.StructLayout({"vector": 11}))),
            "notified": Out(2),
            "isr_queue": Out(1),
            "isr_config": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        changed = Signal()      # a configuration change waits for its request
        sources = [self.rx, self.tx, self.control]
        m.submodules.skid = out = Skid(self.requests.payload.shape())
        connect_stream(m, out.o, wiring.flipped(self.requests))
        last, free = Signal(range(len(sources)), init=len(sources) - 1), Signal()
        allowed = self.live & ~self.quiesce
        allow_config = self.notify_config & ~self.quiesce
        waiting = Cat(source.valid for source in sources)
        choice = rotate_priority(m, waiting, last)
        vector, used = Signal(12), Signal()
        m.d.comb += [
            free.eq(out.i.ready),
            used.eq(free & ~changed & waiting.any()),
            self.notified.eq(Mux(used & allowed & ~(self.msix_enable & vector[11]), 1 << choice, 0)),
            # A change that waits has either just set its ISR bit, or waits for an older request.
            self.idle.eq(~self.requests.valid & ~self.isr_queue & ~self.isr_config),
        ]
        m.d.sync += [
            self.isr_queue.eq(used & allowed & ~self.msix_enable),
            self.isr_config.eq(self.config_change & allow_config),
        ]
        with m.Switch(choice):
            for n, source in enumerate(sources):
                with m.Case(n):
                    m.d.comb += [vector.eq(source.payload.vector), source.ready.eq(used)]
        with m.If(used):
            m.d.sync += last.eq(choice)
        with m.If(free):
            m.d.sync += changed.eq(0)
        m.d.comb += [
            out.i.valid.eq(free & self.msix_enable & Mux(
                changed, allow_config & ~self.config_vector[11], used & allowed & ~vector[11])),
            out.i.payload.vector.eq(Mux(changed, self.config_vector, vector)),
        ]
        with m.If(self.isr_config):
            m.d.sync += changed.eq(1)
        return m
