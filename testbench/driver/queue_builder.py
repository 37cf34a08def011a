"""Makes the queues of a network card: how many there are, how large, and which interrupt vector each gets."""

from model import formats
from model.formats import Feature
from testbench.driver.control import ControlQueue
from testbench.driver.platform import DriverError
from testbench.driver.queues import ReceiveQueue, TransmitQueue

__all__ = ["QueueBuilder"]


class QueueBuilder:
    """
        builder = QueueBuilder(nic)
        await builder.discover()
        queue = await builder.build(index)

    Attributes
    ----------
    most_pairs : that the device has; 1 unless VIRTIO_NET_F_MQ or VIRTIO_NET_F_RSS was negotiated
    control_index : of the control queue, None without VIRTIO_NET_F_CTRL_VQ
    """

    def __init__(self, nic):
        self._nic = nic
        self._limits = {}           # virtqueue → most descriptors, as the device told before it was first set up
        self.most_pairs = 1
        self.control_index = None

    async def discover(self):
        """Ask the device what it has. Raises `DriverError` if that isn't enough for the options."""
        nic = self._nic
        features, pairs = nic.virtio.features, nic.options.pairs
        count = await nic.virtio.read("num_queues")
        if formats.has_feature(features, Feature.NET_MQ) or formats.has_feature(features, Feature.NET_RSS):
            self.most_pairs = await nic.virtio.read_config("max_virtqueue_pairs")
            if pairs > self.most_pairs:
                raise DriverError(f"{pairs} pairs of a device with {self.most_pairs}")
        elif 2 * pairs > count:
            raise DriverError(f"{pairs} pairs of a device with {count} queues")
        self.control_index = formats.control_queue(features, self.most_pairs)
        if self.control_index is not None and self.control_index < 2 * pairs:
            raise DriverError(f"{pairs} pairs need VIRTIO_NET_F_MQ: virtqueue {self.control_index} is for control")

    @property
    def indices(self):
        """Virtqueues to build: receive queues first, then transmit queues, then the control queue."""
        pairs = self._nic.options.pairs
        control = [] if self.control_index is None else [self.control_index]
        return [*range(0, 2 * pairs, 2), *range(1, 2 * pairs, 2), *control]

    @property
    def vectors(self):
        """MSI-X vectors that are of use."""
        return 1 + len(self.indices)

    async def build(self, index, size=None):
        """Make a queue with buffers for what was negotiated; the device does not know of it yet."""
        nic = self._nic
        if index == self.control_index:
            return ControlQueue(nic, index, await self._size(index, size, control=True))
        size = await self._size(index, size)
        features = nic.virtio.features
        header_bytes = formats.net_header_bytes(features)
        mtu = 1500 if nic.mtu is None else nic.mtu
        overhead = formats.ETHERNET_HEADER + 2 * formats.VLAN_TAG
        if index & 1:
            return TransmitQueue(nic, index, size, header_bytes=header_bytes, frame_bytes=mtu + overhead,
                                 packet_bytes=nic.options.packet_bytes, slack=nic.options.buffer_slack)
        length = header_bytes + max(mtu, 1500) + overhead
        mergeable = formats.has_feature(features, Feature.NET_MRG_RXBUF)
        wanted = nic.options.receive_buffer_bytes or length
        if wanted < (header_bytes if mergeable else length):
            raise DriverError(f"receive buffers of {wanted} bytes: too small")
        return ReceiveQueue(nic, index, size, header_bytes=header_bytes, buffer_bytes=wanted, mergeable=mergeable)

    async def _size(self, index, size, control=False):
        if index not in self._limits:
            self._limits[index] = await self._nic.virtio.queue_limit(index)
        limit = self._limits[index]
        if control:
            size = size or min(limit, self._nic.options.control_size)
        size = size or self._nic.options.queue_size or limit
        if not 0 < size <= limit:
            raise DriverError(f"queue {index} has at most {limit} descriptors, not {size}")
        return size

    def vector_of(self, index):
        """A vector for each queue if there are enough, else one for all of them, else the only one."""
        nic = self._nic
        if not nic.messages:
            return None
        own = 1 + 2 * nic.options.pairs if index == self.control_index else 1 + index
        return own if nic.msix.vectors >= self.vectors else min(1, nic.msix.vectors - 1)
