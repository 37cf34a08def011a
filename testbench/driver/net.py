"""The network driver: `await nic.send(frame)`, `await nic.receive()`.

Source: VIRTIO Version 1.4, section "Network Device".

    nic = Nic(host, platform, queue_size=64)
    await nic.start()
    await nic.send(frame)
    echo = await nic.receive()
    await nic.stop()
"""

from collections import Counter
from dataclasses import dataclass

from model import formats
from model.formats import CapType, Feature, Status
from model.pci import Command
from testbench.driver.framing import TOGETHER, Framing
from testbench.driver.interrupts import MessageInterrupts, PinInterrupt
from testbench.driver.pci import MsixTable, PciFunction
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.queues import ReceiveQueue, TransmitQueue
from testbench.driver.ring import RingStyle
from testbench.driver.virtio_pci import VirtioPci

__all__ = ["Nic", "NicOptions"]

REQUIRED = formats.feature_set(Feature.VERSION_1, Feature.RING_PACKED)
WANTED = formats.feature_set(
    Feature.ACCESS_PLATFORM, Feature.ORDER_PLATFORM, Feature.NET_MAC, Feature.NET_MTU, Feature.NET_STATUS,
    Feature.NET_SPEED_DUPLEX)


@dataclass(frozen=True, kw_only=True)
class NicOptions:
    """How the driver works.

    pairs : receive/transmit queue pairs to set up
    queue_size : descriptors of each ring; None takes the device's maximum
    interrupts : "msix", "intx" or "none"
    polling : never wait for an interrupt but look at the ring, every `poll_ns`, or, with 0, whenever the device
        writes into it: a CPU that does nothing else
    doorbell_batch : frames that `send_many` makes available per doorbell
    refill_batch : receive buffers that are given back at a time, with one doorbell
    receive_buffers : how many; None fills the ring
    receive_framing : how receive buffers are cut
    framing : how frames are cut unless `send` is told otherwise
    style : see RingStyle
    buffer_align : alignment of every buffer
    buffer_slack : bytes beyond header and largest frame in each transmit buffer, for framings with gaps
    required, wanted : feature masks
    max_payload, max_read_request, extended_tags : Device Control
    """
    pairs: int = 1
    queue_size: int | None = None
    interrupts: str = "msix"
    polling: bool = False
    poll_ns: float = 0
    doorbell_batch: int = 32
    refill_batch: int = 16
    receive_buffers: int | None = None
    receive_framing: Framing = TOGETHER
    framing: Framing = TOGETHER
    style: RingStyle = RingStyle()
    buffer_align: int = 4096
    buffer_slack: int = 1024
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


class Nic:
    """A virtio network card, driven.

    Parameters
    ----------
    host : Host
    platform : Platform
    options : fields of NicOptions

    Attributes
    ----------
    function, virtio : the PciFunction and VirtioPci below
    mac, mtu : of the device, or None if it doesn't tell
    receivers, transmitters : queues by pair
    msix, messages, pin : MsixTable, MessageInterrupts and PinInterrupt, as far as in use
    statistics : Counter of doorbells, doorbells_saved, config_interrupts, tx_frames, tx_bytes,
        rx_frames, rx_bytes, used, waits
    config_changed : Event, set by a configuration change interrupt
    """

    def __init__(self, host, platform, **options):
        self.host = host
        self.platform = platform
        self.options = NicOptions(**options)
        self.statistics = Counter()
        self.config_changed = platform.event()
        self.function = PciFunction(host)
        self.virtio = VirtioPci(self.function, platform)
        self.mac = self.mtu = None
        self.receivers, self.transmitters = [], []
        self.messages = self.pin = self.msix = None
        self._doubtful = False

    # Life cycle

    async def start(self):
        """From nothing to a live device, in the order of the specification. Raises `DriverError`; a device that was
        given up is marked FAILED, and nothing of the memory is left to it."""
        if self.receivers:
            raise DriverError("already started")
        await self._set_up_function()
        virtio = self.virtio
        await virtio.discover()
        await virtio.reset()
        doorbells = virtio.structures[CapType.NOTIFY]
        self.host.statistics.label(doorbells.address, doorbells.length, "doorbell")
        try:
            await virtio.set_status(Status.ACKNOWLEDGE)
            await virtio.set_status(Status.DRIVER)
            features = await virtio.negotiate(required=self.options.required, wanted=self.options.wanted)
            await self._read_identity(features)
            await self._set_up_interrupts()
            await self._set_up_queues(formats.net_header_bytes(features))
            await virtio.set_status(Status.DRIVER_OK)
        except DriverError:
            await virtio.fail()
            self.release()
            raise
        for queue in self.receivers:
            await queue.kick()

    async def stop(self):
        """Reset the device, then take back everything it was given. Frames not yet received are lost."""
        await self.virtio.reset()
        if self.options.interrupts == "msix":
            await self.msix.control(enable=False)
        self.release()

    async def remove(self):
        """Stop, and cut the function off from the bus."""
        await self.stop()
        await self.function.set_command(clear=Command.BUS_MASTER | Command.MEMORY_SPACE)

    def release(self):
        """Take back everything that a device had which is reset, by whatever means."""
        self.host.statistics.unlabel(self.virtio.structures[CapType.NOTIFY].address)
        for queue in self.receivers + self.transmitters:
            queue.close()
        self.receivers, self.transmitters = [], []
        for interrupts in (self.messages, self.pin):
            if interrupts:
                interrupts.close()
        self.messages = self.pin = None

    async def _set_up_function(self):
        options = self.options
        await self.function.enumerate(formats.VENDOR_ID, formats.DEVICE_ID_NET)
        await self.function.configure_express(
            max_payload=options.max_payload, max_read_request=options.max_read_request,
            extended_tags=options.extended_tags)
        on = Command.MEMORY_SPACE | Command.BUS_MASTER
        if options.interrupts == "intx":
            await self.function.set_command(set=on, clear=Command.INTERRUPT_DISABLE)
        else:
            await self.function.set_command(set=on | Command.INTERRUPT_DISABLE)

    async def _read_identity(self, features):
        self.mac = self.mtu = None
        if features >> Feature.NET_MAC & 1:
            self.mac = await self.virtio.read_config("mac")
        if features >> Feature.NET_MTU & 1:
            self.mtu = await self.virtio.read_config("mtu")

    async def _set_up_interrupts(self):
        match self.options.interrupts:
            case "msix":
                self.msix = MsixTable(self.function)
                await self.msix.discover()
                await self.msix.control(enable=True, function_mask=True)
                self.messages = MessageInterrupts(self.host)
                self.messages.connect(0, self._config_interrupt)
                for vector in range(min(self.msix.vectors, 1 + 2 * self.options.pairs)):
                    await self.msix.set_vector(vector, self.messages.address, vector)
                await self.msix.control(enable=True)
                await self.virtio.map_config_vector(0)
            case "intx":
                self.pin = PinInterrupt(self.host, self.platform, self.virtio.read_isr, {
                    formats.ISR_QUEUE: self._all_queues_interrupt, formats.ISR_CONFIG: self._config_interrupt})

    async def _set_up_queues(self, header_bytes):
        options = self.options
        count = await self.virtio.read("num_queues")
        if 2 * options.pairs > count:
            raise DriverError(f"{options.pairs} pairs of a device with {count} queues")
        mtu = 1500 if self.mtu is None else self.mtu
        overhead = formats.ETHERNET_HEADER + 2 * formats.VLAN_TAG
        for pair in range(options.pairs):
            self.receivers.append(ReceiveQueue(
                self, 2 * pair, await self._size(2 * pair), header_bytes=header_bytes,
                frame_bytes=max(mtu, 1500) + overhead))
            self.transmitters.append(TransmitQueue(
                self, 2 * pair + 1, await self._size(2 * pair + 1), header_bytes=header_bytes,
                frame_bytes=mtu + overhead, slack=options.buffer_slack))
        for queue in self.receivers + self.transmitters:
            await queue.enable(self._vector_of(queue))

    async def _size(self, index):
        limit = await self.virtio.queue_limit(index)
        size = self.options.queue_size or limit
        if not 0 < size <= limit:
            raise DriverError(f"queue {index} has at most {limit} descriptors, not {size}")
        return size

    def _vector_of(self, queue):
        """A vector for each queue if there are enough, else one for all of them, else the only one."""
        if not self.messages:
            return None
        own = 1 + queue.index
        vector = own if self.msix.vectors > 2 * self.options.pairs else min(1, self.msix.vectors - 1)
        self.messages.connect(vector, queue.interrupt)
        return vector

    # Events

    def _all_queues_interrupt(self):
        for queue in self.receivers + self.transmitters:
            queue.interrupt()

    def _config_interrupt(self):
        self.statistics["config_interrupts"] += 1
        self.config_changed.set()
        self._doubtful = True
        for queue in self.receivers + self.transmitters:
            queue.wake()

    async def check(self):
        """After a configuration change interrupt, see whether the device still works; raises `DeviceError`."""
        if self._doubtful:
            self._doubtful = False
            if await self.virtio.status() & Status.NEEDS_RESET:
                self._doubtful = True
                raise DeviceError("the device needs a reset")

    async def link_up(self):
        """Whether the link is up; without VIRTIO_NET_F_STATUS it is taken to be."""
        if not self.virtio.features >> Feature.NET_STATUS & 1:
            return True
        return bool(await self.virtio.read_config("status") & formats.NET_S_LINK_UP)

    # Frames

    async def send(self, frame, *, framing=None, pair=0):
        """Make a frame available to the device, waiting for room in the ring, and ring the doorbell."""
        await self.transmitters[pair].send(frame, framing or self.options.framing)

    async def send_many(self, frames, *, framing=None, pair=0, batch=None):
        """Send any iterable of frames with a doorbell per `batch`."""
        await self.transmitters[pair].send_many(
            frames, framing or self.options.framing, batch or self.options.doorbell_batch)

    async def flush(self, *, pair=0, timeout_ns=None):
        """Until the device has used all that was sent on `pair`."""
        await self.transmitters[pair].flush(timeout_ns)

    async def receive(self, *, pair=0, timeout_ns=None):
        """The next frame. Raises `TimeoutError`."""
        return (await self.receivers[pair].receive_many(1, timeout_ns))[0]

    async def receive_many(self, limit=None, *, pair=0, timeout_ns=None):
        """All frames that are there, at least one and at most `limit`. Raises `TimeoutError`."""
        return await self.receivers[pair].receive_many(limit, timeout_ns)
