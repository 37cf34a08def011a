"""The network driver: `await nic.send(frame)`, `await nic.receive()`.

Source: VIRTIO Version 1.4, section "Network Device".

    nic = Nic(host, platform, queue_size=64)
    await nic.start()
    await nic.send(frame)
    echo = await nic.receive()
    await nic.stop()
"""

from collections import Counter

from model import formats
from model.formats import CapType, Feature, Status
from model.pci import Command
from testbench.driver.interrupts import MessageInterrupts, PinInterrupt
from testbench.driver.naps import Naps
from testbench.driver.offload import prepare
from testbench.driver.options import REQUIRED, WANTED, WANTED_ALL, WANTED_UNFILTERED, NicOptions
from testbench.driver.pci import MsixTable, PciFunction
from testbench.driver.platform import DeviceError, DriverError
from testbench.driver.queue_builder import QueueBuilder
from testbench.driver.virtio_pci import VirtioPci
from testbench.driver.virtqueue import wait_for_any

__all__ = ["REQUIRED", "WANTED", "WANTED_ALL", "WANTED_UNFILTERED", "Nic", "NicOptions"]


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
    control : ControlQueue, or None without VIRTIO_NET_F_CTRL_VQ
    active_pairs : that frames may be sent on; all that are set up unless VIRTIO_NET_F_MQ was negotiated
    naps : Naps, or None
    msix, messages, pin : MsixTable, MessageInterrupts and PinInterrupt, as far as in use
    statistics : Counter of doorbells, doorbells_saved, config_interrupts, tx_frames, tx_bytes,
        rx_frames, rx_bytes, rx_merged (those of several buffers), used, waits, commands
    config_changed, any_used : Events, set by a configuration change interrupt and by that of any queue
    """

    def __init__(self, host, platform, **options):
        self.host = host
        self.platform = platform
        self.options = NicOptions(**options)
        self.statistics = Counter()
        self.config_changed, self.any_used = platform.event(), platform.event()
        self.function = PciFunction(host)
        self.virtio = VirtioPci(self.function, platform)
        self.mac = self.mtu = None
        self.receivers, self.transmitters, self.control = [], [], None
        self.active_pairs = 0
        self.messages = self.pin = self.msix = None
        self.naps = None
        if self.options.sleep_seed is not None:
            self.naps = Naps(platform, self.options.sleep_seed, self.options.sleep_ns)
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
            await virtio.negotiate(required=self.options.required, wanted=self.options.wanted)
            await self._read_identity()
            self._builder = QueueBuilder(self)
            await self._builder.discover()
            await self._set_up_interrupts()
            await self._set_up_queues()
            await virtio.set_status(Status.DRIVER_OK)
        except DriverError:
            await virtio.fail()
            self.release()
            raise
        for queue in self.receivers:
            await queue.kick()
        if self._has(Feature.NET_MQ) and self.options.pairs > 1:
            await self.set_pairs(self.options.pairs)

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
        for queue in self._queues():
            queue.close()
        self.receivers, self.transmitters, self.control = [], [], None
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

    async def _read_identity(self):
        self.mac = self.mtu = None
        if self._has(Feature.NET_MAC):
            self.mac = await self.virtio.read_config("mac")
        if self._has(Feature.NET_MTU):
            self.mtu = await self.virtio.read_config("mtu")

    async def _set_up_interrupts(self):
        match self.options.interrupts:
            case "msix":
                self.msix = MsixTable(self.function)
                await self.msix.discover()
                await self.msix.control(enable=True, function_mask=True)
                self.messages = MessageInterrupts(self.host)
                self.messages.connect(0, self._config_interrupt)
                for vector in range(min(self.msix.vectors, self._builder.vectors)):
                    await self.msix.set_vector(vector, self.messages.address, vector)
                await self.msix.control(enable=True)
                await self.virtio.map_config_vector(0)
            case "intx":
                self.pin = PinInterrupt(self.host, self.platform, self.virtio.read_isr, {
                    formats.ISR_QUEUE: self._all_queues_interrupt, formats.ISR_CONFIG: self._config_interrupt})

    async def _set_up_queues(self):
        for index in self._builder.indices:
            queue = await self._builder.build(index)
            if index == self._builder.control_index:
                self.control = queue
            else:
                (self.transmitters if index & 1 else self.receivers).append(queue)
        for queue in self._queues():
            vector = self._builder.vector_of(queue.index)
            if vector is not None:
                self.messages.connect(vector, self._queue_interrupt(queue.index))
            await queue.enable(vector)
        several = self._has(Feature.NET_MQ) or self._has(Feature.NET_RSS)
        self.active_pairs = 1 if several else self.options.pairs

    def _queues(self):
        return [*self.receivers, *self.transmitters, *([self.control] if self.control else [])]

    def _queue(self, index):
        return next(queue for queue in self._queues() if queue.index == index)

    def _has(self, feature):
        return formats.has_feature(self.virtio.features, feature)

    # One queue alone

    async def stop_queue(self, index):
        """With VIRTIO_F_RING_RESET: reset a queue, and take back all that the device had of it. Nothing can be sent,
        received or commanded on it until `start_queue`; returns how many buffers were in flight."""
        queue = self._queue(index)
        queue.check_open()
        if not self._has(Feature.RING_RESET):
            raise DriverError("a queue can't be reset without VIRTIO_F_RING_RESET")
        queue.closed = True
        queue.wake()
        await self.virtio.reset_queue(index)
        return len(queue.close())

    async def start_queue(self, index, size=None):
        """Set up a stopped queue anew, with another size if given."""
        if not self._queue(index).closed:
            raise DriverError(f"queue {index} was not stopped")
        queue = await self._builder.build(index, size)
        await queue.enable(self._builder.vector_of(index))
        if index == self._builder.control_index:
            self.control = queue
        else:
            (self.transmitters if index & 1 else self.receivers)[index // 2] = queue
        if queue in self.receivers:
            await queue.kick()

    async def set_pairs(self, pairs):
        """With VIRTIO_NET_F_MQ: make that many pairs active, of those set up."""
        if not 1 <= pairs <= self.options.pairs:
            raise DriverError(f"{pairs} of {self.options.pairs} pairs can't be made active")
        self.active_pairs = min(self.active_pairs, pairs)
        await self.control.set_pairs(pairs)
        self.active_pairs = pairs

    async def set_mac(self, mac):
        """With VIRTIO_NET_F_CTRL_MAC_ADDR: the card has another address."""
        await self.control.set_mac(mac)
        self.mac = await self.virtio.read_config("mac")

    async def set_scaling(self, table, *, types, key, unclassified=0, sends=None, **how):
        """With VIRTIO_NET_F_RSS: frames go to the pairs that their hash names in `table`, those without a hash to
        `unclassified`; the driver sends on the first `sends` pairs, or on all that are set up."""
        sends = sends or self.options.pairs
        await self.control.set_scaling(types, key, table, unclassified, sends, **how)
        self.active_pairs = sends

    # Events

    def _queue_interrupt(self, index):
        """Handler for the queue that has `index` when the interrupt comes."""
        return lambda: self._queue(index).interrupt()

    def _all_queues_interrupt(self):
        for queue in self._queues():
            queue.interrupt()

    def _config_interrupt(self):
        self.statistics["config_interrupts"] += 1
        self.config_changed.set()
        self._doubtful = True
        for queue in self._queues():
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
        if not self._has(Feature.NET_STATUS):
            return True
        return bool(await self.virtio.read_config("status") & formats.NET_S_LINK_UP)

    async def announce(self, frames):
        """With VIRTIO_NET_F_GUEST_ANNOUNCE: if the card asks for announcements, send these `frames` and acknowledge.
        Returns whether it did."""
        if not await self.virtio.read_config("status") & formats.NET_S_ANNOUNCE:
            return False
        await self.control.acknowledge_announcement()
        await self.send_many(frames)
        return True

    # Frames

    async def send(self, frame, *, framing=None, pair=0, checksum=False, segment=0):
        """Make a frame available to the device, waiting for room in the ring, and ring the doorbell. The device
        completes its `checksum`, or cuts the packet in segments of `segment` bytes of payload: see `prepare`."""
        offload, frame = prepare(frame, self.virtio.features, checksum=checksum, segment=segment)
        await self._transmitter(pair).send(frame, framing or self.options.framing, offload)

    async def send_many(self, frames, *, framing=None, pair=0, batch=None):
        """Send any iterable of frames with a doorbell per `batch`."""
        await self._transmitter(pair).send_many(
            frames, framing or self.options.framing, batch or self.options.doorbell_batch)

    def _transmitter(self, pair):
        if pair >= self.active_pairs:
            raise DriverError(f"pair {pair} is not among the {self.active_pairs} active ones")
        return self.transmitters[pair]

    async def flush(self, *, pair=0, timeout_ns=None):
        """Until the device has used all that was sent on `pair`."""
        await self.transmitters[pair].flush(timeout_ns)

    async def receive(self, *, pair=0, timeout_ns=None):
        """The next frame. Raises `TimeoutError`."""
        return (await self.receivers[pair].receive_many(1, timeout_ns))[0]

    async def receive_many(self, limit=None, *, pair=0, timeout_ns=None):
        """All frames that are there, at least one and at most `limit`. Raises `TimeoutError`."""
        return await self.receivers[pair].receive_many(limit, timeout_ns)

    async def receive_any(self, limit=None, *, timeout_ns=None):
        """Frames of all pairs, at least one and at most `limit` of each: a list of (pair, frame). Raises
        `TimeoutError`."""
        queues = [queue for queue in self.receivers if not queue.closed]
        await wait_for_any(queues, self.any_used, timeout_ns)
        return [(queue.index // 2, frame) for queue in queues for frame in await queue.take(limit)]
