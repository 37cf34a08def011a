"""From events to interrupts: MSI-X requests, or ISR status bits."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Interrupts"]


class Interrupts(wiring.Component):
    """Merges used buffer notifications of both directions and configuration changes (VIRTIO 1.4, PCI-specific Device
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

    Configuration changes go first; several that come before the request make one. `rx` and `tx` take turns. A
    notification a cycle, 1 cycle from input to `requests` or `isr_queue`; `config_change` to `isr_config` 1 cycle, to
    `requests` 2 cycles. A request offered is final.

    Parameters
    ----------
    config : NicConfig
        takes pair_bits

    Attributes
    ----------
    rx, tx : streams of {queue, vector} in
    config_change : In(1)
        pulse
    config_vector : In(12)
    msix_enable, live, notify_config, quiesce : In(1)
    requests : stream of {vector} out
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
            "config_change": In(1),
            "config_vector": In(12),
            "msix_enable": In(1),
            "live": In(1),
            "notify_config": In(1),
            "quiesce": In(1),
            "requests": Out(stream.Signature(data.StructLayout({"vector": 11}))),
            "isr_queue": Out(1),
            "isr_config": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        changed = Signal()      # a configuration change waits for its request
        tx_next = Signal()
        take_rx, take_tx, free = Signal(), Signal(), Signal()
        allowed = self.live & ~self.quiesce
        allow_config = self.notify_config & ~self.quiesce
        vector = Mux(take_tx, self.tx.payload.vector, self.rx.payload.vector)
        used = take_rx | take_tx
        m.d.comb += [
            free.eq(~self.requests.valid | self.requests.ready),
            take_tx.eq(free & ~changed & self.tx.valid & (tx_next | ~self.rx.valid)),
            take_rx.eq(free & ~changed & self.rx.valid & ~take_tx),
            self.rx.ready.eq(take_rx),
            self.tx.ready.eq(take_tx),
            # A change that waits has either just set its ISR bit, or waits for an older request.
            self.idle.eq(~self.requests.valid & ~self.isr_queue & ~self.isr_config),
        ]
        m.d.sync += [
            self.isr_queue.eq(used & allowed & ~self.msix_enable),
            self.isr_config.eq(self.config_change & allow_config),
        ]
        with m.If(used):
            m.d.sync += tx_next.eq(take_rx)
        with m.If(free):
            m.d.sync += [
                changed.eq(0),
                self.requests.valid.eq(self.msix_enable & Mux(
                    changed, allow_config & ~self.config_vector[11], used & allowed & ~vector[11])),
                self.requests.payload.vector.eq(Mux(changed, self.config_vector, vector)),
            ]
        with m.If(self.config_change & allow_config):
            m.d.sync += changed.eq(1)
        return m
