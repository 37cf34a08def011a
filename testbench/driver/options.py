"""How the driver works: features to negotiate, and everything else that can be chosen."""

from dataclasses import dataclass

from model import formats
from model.formats import Feature
from testbench.driver.framing import TOGETHER, Framing
from testbench.driver.platform import DriverError
from testbench.driver.ring_options import RingStyle

__all__ = ["REQUIRED", "WANTED", "WANTED_ALL", "WANTED_UNFILTERED", "NicOptions"]

REQUIRED = formats.feature_set(Feature.VERSION_1, Feature.RING_PACKED)
WANTED = formats.feature_set(
    Feature.ACCESS_PLATFORM, Feature.ORDER_PLATFORM, Feature.NOTIF_CONFIG_DATA, Feature.NET_MAC, Feature.NET_MTU,
    Feature.NET_STATUS, Feature.NET_SPEED_DUPLEX)
# Everything that the driver knows how to use.
WANTED_ALL = (REQUIRED | WANTED | formats.RING_FEATURES | formats.RECEIVE_FEATURES | formats.CONTROL_FEATURES
              | formats.OFFLOAD_FEATURES | formats.TRANSMIT_FEATURES | formats.FILTER_FEATURES
              | formats.feature_set(Feature.NET_GUEST_ANNOUNCE))
# Everything but filters: frames to any address come in without a command.
WANTED_UNFILTERED = WANTED_ALL & ~formats.feature_set(
    Feature.NET_CTRL_RX, Feature.NET_CTRL_RX_EXTRA, Feature.NET_CTRL_VLAN, Feature.NET_CTRL_MAC_ADDR)


@dataclass(frozen=True, kw_only=True)
class NicOptions:
    """How the driver works.

    pairs : receive/transmit queue pairs to set up; with VIRTIO_NET_F_MQ they are made active too
    queue_size : descriptors of each ring; None takes the device's maximum
    control_size : of the control queue, or the device's maximum if that is less
    interrupts : "msix", "intx" or "none"
    polling : never wait for an interrupt but look at the ring, every `poll_ns`, or, with 0, whenever the device
        writes into it: a CPU that does nothing else
    doorbell_batch : frames that `send_many` makes available per doorbell
    refill_batch : receive buffers that are given back at a time, with one doorbell
    receive_buffers : how many; None fills the ring
    receive_buffer_bytes : of each; None is what header and largest frame take, less needs VIRTIO_NET_F_MRG_RXBUF
    receive_framing : how receive buffers are cut
    framing : how frames are cut unless `send` is told otherwise
    style : see RingStyle
    transmit_interrupt_after : with VIRTIO_F_EVENT_IDX, frames sent that are worth an interrupt while somebody waits
        for room, or all if fewer are under way
    sleep_seed : fall asleep now and then, see Naps, for `sleep_ns` on average; None never does
    buffer_align : alignment of every buffer
    buffer_slack : bytes beyond header and largest frame in each transmit buffer, for framings with gaps
    packet_bytes : longest packet that can be sent to be segmented, at most 65557
    required, wanted : feature masks
    max_payload, max_read_request, extended_tags : Device Control
    """
    pairs: int = 1
    queue_size: int | None = None
    control_size: int = 16
    interrupts: str = "msix"
    polling: bool = False
    poll_ns: float = 0
    doorbell_batch: int = 32
    refill_batch: int = 16
    receive_buffers: int | None = None
    receive_buffer_bytes: int | None = None
    receive_framing: Framing = TOGETHER
    framing: Framing = TOGETHER
    style: RingStyle = RingStyle()
    transmit_interrupt_after: int = 1
    sleep_seed: int | None = None
    sleep_ns: float = 2000
    buffer_align: int = 4096
    buffer_slack: int = 1024
    packet_bytes: int = 1522
    required: int = REQUIRED
    wanted: int = WANTED
    max_payload: int = 256
    max_read_request: int = 512
    extended_tags: bool = True

    def __post_init__(self):
        if self.interrupts not in ("msix", "intx", "none"):
            raise DriverError(f"interrupts must be msix, intx or none, not {self.interrupts!r}")
        if self.interrupts == "none" and not self.polling:
            raise DriverError("without interrupts, there is only polling")
