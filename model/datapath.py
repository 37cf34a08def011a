"""Frames of the functional card: from transmit queues to the wire, from the wire to receive queues.

Source: VIRTIO Version 1.4, sections "Network Device" and "Packed Virtqueues". Where those leave open what to do with
nonsense: a transmit buffer that holds no legal frame comes back used and nothing is sent; a received frame that doesn't
fit into the next buffer is dropped, and the buffer stays.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from model import formats
from model.virtqueue import PackedQueue

__all__ = ["Datapath"]


@dataclass
class _Queue:
    """A live queue; `begun` are chains that are finished but not yet published, each with its bytes written."""
    ring: PackedQueue
    vector: int
    begun: list = field(default_factory=list)
    suppressed: bool = False            # doorbells are told to be of no use


class Datapath:
    """Works on all live queues in small steps.

    Parameters
    ----------
    memory : has `device_read` and `device_write`
    counters : Counter
    mtu, max_frame, rx_buffer : bytes; longest frame that can be sent; of frames that wait for receive buffers
    order : random.Random that shuffles the order of completion, or None to keep that of the ring
    suppress : tell the driver to leave out doorbells while a queue is being worked on
    interrupt : called with the vector of a queue whose driver wants to know of used buffers
    """

    def __init__(self, memory, counters, *, mtu, max_frame, rx_buffer, order, suppress, interrupt):
        self._memory = memory
        self._counters = counters
        self._mtu = mtu
        self._max_frame = max_frame
        self._rx_buffer = rx_buffer
        self._order = order
        self._suppress = suppress
        self._interrupt = interrupt
        self.wire = None
        self.stop()

    def stop(self):
        """No queue is live, no frame waits."""
        self._queues = {}
        self._kicked = set()
        self._backlog = deque()

    def start(self, queues, features):
        """`queues`: index → QueueRegisters of the enabled ones."""
        self._header_bytes = formats.net_header_bytes(features)
        header = np.zeros(1, formats.VIRTIO_NET_HDR)
        header["num_buffers"] = 1
        self._header = header.tobytes().ljust(self._header_bytes, b"\0")
        self._event_idx = bool(features >> formats.Feature.EVENT_IDX & 1)
        for index, queue in queues.items():
            ring = PackedQueue(self._memory, size=queue.size, descriptors=queue.desc, driver=queue.driver,
                               device=queue.device, event_idx=self._event_idx)
            self._queues[index] = _Queue(ring, queue.vector)
            self._kicked.add(index)     # buffers may have been made available before DRIVER_OK

    def kick(self, index):
        if index in self._queues:
            self._kicked.add(index)

    def receive(self, frame):
        """A frame from the wire: taken, or dropped and counted."""
        vlan_tags = 0
        while frame[12 + 4 * vlan_tags:14 + 4 * vlan_tags] in (b"\x81\x00", b"\x88\xa8") and vlan_tags < 2:
            vlan_tags += 1
        if 0 not in self._queues:
            self._counters["rx_not_live"] += 1
        elif len(frame) < formats.ETHERNET_HEADER:
            self._counters["rx_runt"] += 1
        elif len(frame) > self._mtu + formats.ETHERNET_HEADER + formats.VLAN_TAG * vlan_tags:
            self._counters["rx_oversize"] += 1
        elif sum(map(len, self._backlog)) + len(frame) > self._rx_buffer:
            self._counters["rx_overflow"] += 1
        else:
            self._backlog.append(bytes(frame))
            self._kicked.add(0)

    # Steps

    def step(self):
        """Do one thing, for one queue; False if there is nothing to do. Raises `QueueError` for a broken ring."""
        for index in sorted(self._kicked):
            queue = self._queues[index]
            if self._hold(queue):
                self._publish(queue)
                return True
            if self._transmit(queue) if index & 1 else self._deliver(queue):
                return True
            if queue.begun:
                self._publish(queue)
                return True
            if queue.suppressed:        # and then look once more
                self._suppress_doorbells(queue, False)
                return True
            self._kicked.discard(index)
        return False

    def _fetch(self, queue):
        chain = queue.ring.fetch()
        if chain and self._suppress and not queue.suppressed:
            self._suppress_doorbells(queue, True)
        return chain

    def _suppress_doorbells(self, queue, suppress):
        queue.suppressed = suppress
        queue.ring.suppress_doorbells(suppress)

    def _hold(self, queue):
        """Whether to publish before beginning more: at once, or, with `order`, by chance."""
        return queue.begun and (self._order is None or self._order.random() < 0.3)

    def _publish(self, queue):
        chain, written = queue.begun.pop(self._order.randrange(len(queue.begun)) if self._order else 0)
        queue.ring.use(chain, written)
        if queue.ring.wants_interrupt():
            self._counters["interrupts"] += 1
            self._interrupt(queue.vector)

    def _transmit(self, queue):
        chain = self._fetch(queue)
        if chain is None:
            return False
        queue.begun.append((chain, 0))
        length = sum(element.length for element in chain.elements) - self._header_bytes
        if chain.capacity or not formats.ETHERNET_HEADER <= length <= self._max_frame:
            self._counters["tx_malformed"] += 1
            return True
        frame = chain.gather(self._memory)[self._header_bytes:]
        self._counters["tx_frames"] += 1
        if self.wire:
            self.wire(frame)
        return True

    def _deliver(self, queue):
        if not self._backlog:
            return False
        chain = queue.ring.peek()
        if chain is None:
            return False
        data = self._header + self._backlog.popleft()
        if chain.capacity < len(data):
            self._counters["rx_buffer_too_small"] += 1
            return True
        self._fetch(queue)
        chain.scatter(self._memory, data)
        queue.begun.append((chain, len(data)))
        self._counters["rx_frames"] += 1
        return True
