"""Frames of the functional card: from transmit queues to the wire, from the wire to receive queues; and its commands.

Source: VIRTIO Version 1.4, sections "Network Device" and "Packed Virtqueues". Where those leave open what to do with
nonsense: a transmit buffer that holds no legal frame comes back used and nothing is sent; a received frame that doesn't
fit into the next buffer, or with VIRTIO_NET_F_MRG_RXBUF not into those of a whole ring, is dropped, and so is one whose
header doesn't fit into the next buffer; the buffers stay.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from model import formats
from model.coalescing import Coalescing
from model.control import ControlCommands, GuestOffloads
from model.filter import ReceiveFilter
from model.offload import LONGEST_PACKET, MalformedPacket, frames_of
from model.offloads_checksum import VALID, checksum_verdict
from model.offloads_hash import frame_hash
from model.statistics import Statistics
from model.steering import Steering
from model.virtqueue import PackedQueue, RingFeatures

__all__ = ["Datapath"]

_MOST_BEGUN = 8         # of a queue, before some are published, where used descriptors may stand for several buffers


@dataclass
class _Queue:
    """A live queue; `begun` are packets that are finished but not yet published, each a list of its chains with the
    bytes written there; `backlog` are frames that wait for its buffers."""
    index: int
    ring: PackedQueue
    vector: int
    begun: list = field(default_factory=list)
    backlog: deque = field(default_factory=deque)
    suppressed: bool = False            # doorbells are told to be of no use


class Datapath:
    """Works on all live queues in small steps.

    Parameters
    ----------
    memory : has `device_read` and `device_write`
    counters : Counter
    pairs : of receive and transmit queues that the card has
    mtu, max_frame, rx_buffer : bytes; longest frame that can be sent; of frames that wait for receive buffers
    order : random.Random that shuffles the order of completion, or None to keep that of the ring; with
        VIRTIO_F_IN_ORDER it only decides how many buffers a used descriptor stands for
    suppress : tell the driver to leave out doorbells while a queue is being worked on
    interrupt : called with the vector of a queue whose driver wants to know of used buffers
    config : DeviceConfig
    clock : see Coalescing; then `step` is to be called now and then though it returned False
    steering : makes a Steering of a number of pairs

    Attributes
    ----------
    wire : called with each frame sent; None drops them
    steering : Steering
    filter : ReceiveFilter
    statistics : Statistics
    """

    def __init__(self, memory, counters, *, mtu, max_frame, rx_buffer, order, suppress, interrupt, config,
                 pairs=1, clock=None, steering=Steering):
        self._memory = memory
        self._counters = counters
        self._pairs = pairs
        self._clock = clock
        self._make_steering = steering
        self._mtu = mtu
        self._max_frame = max_frame
        self._rx_buffer = rx_buffer
        self._order = order
        self._suppress = suppress
        self._interrupt = interrupt
        self._config = config
        self.wire = None
        self.stop()

    def stop(self):
        """No queue is live, no frame waits, nothing that a driver has set is left."""
        self._queues = {}
        self._kicked = set()
        self._control = None
        self._coalescing = Coalescing(self._clock)
        self.steering = self._make_steering(self._pairs)
        self.filter = ReceiveFilter(0, self._config.mac)
        self.statistics = Statistics(0, 0, None)

    def start(self, queues, features):
        """`queues`: index → QueueRegisters of the enabled ones."""
        self._negotiated = features
        self._header_bytes = formats.net_header_bytes(features)
        self._mergeable = formats.has_feature(features, formats.Feature.NET_MRG_RXBUF)
        self._offloads = GuestOffloads(features)
        self._hash_report = formats.has_feature(features, formats.Feature.NET_HASH_REPORT)
        self._features = RingFeatures.of(features)
        self._multiqueue = formats.has_feature(features, formats.Feature.NET_MQ)
        self._control = formats.control_queue(features, self._pairs)
        self.filter = ReceiveFilter(features, self._config.mac)
        self.statistics = Statistics(features, 2 if self._control == 2 else 2 * self._pairs, self._control)
        self._commands = ControlCommands(features, steering=self.steering, coalescing=self._coalescing,
                                         filter=self.filter, config=self._config, statistics=self.statistics,
                                         offloads=self._offloads, control=self._control,
                                         is_enabled=self._carries_frames)
        for index, registers in queues.items():
            self.start_queue(index, registers)

    def start_queue(self, index, registers):
        """A queue is enabled, and begins with nothing used and nothing fetched."""
        ring = PackedQueue(self._memory, size=registers.size, descriptors=registers.desc, driver=registers.driver,
                           device=registers.device, features=self._features)
        self._queues[index] = _Queue(index, ring, registers.vector)
        self._kicked.add(index)     # buffers may have been made available before DRIVER_OK
        if index != self._control:
            self._coalescing.enable(index)

    def stop_queue(self, index):
        """A queue is reset: neither it nor its buffers are touched again. Frames that wait for it go elsewhere."""
        queue = self._queues.pop(index, None)
        self._kicked.discard(index)
        if queue:
            self._steer(queue.backlog)

    def _carries_frames(self, index):
        return index in self._queues and index != self._control

    def _count(self, index, **amounts):
        direction = "tx" if index & 1 else "rx"
        self.statistics.count(index, **{f"{direction}_{name}": amount for name, amount in amounts.items()})

    def kick(self, index, told=None):
        """A doorbell; `told` is the Position that it told, if it did."""
        if index in self._queues:
            self._count(index, notifications=1)
            self._queues[index].ring.tell(told)
            self._kicked.add(index)

    def receive(self, frame):
        """A frame from the wire: taken, or dropped and counted."""
        vlan_tags = 0
        while frame[12 + 4 * vlan_tags:14 + 4 * vlan_tags] in (b"\x81\x00", b"\x88\xa8") and vlan_tags < 2:
            vlan_tags += 1
        if not self._receiving_pairs():
            self._counters["rx_not_live"] += 1
        elif len(frame) < formats.ETHERNET_HEADER:
            self._counters["rx_runt"] += 1
        elif len(frame) > self._mtu + formats.ETHERNET_HEADER + formats.VLAN_TAG * vlan_tags:
            self._counters["rx_oversize"] += 1
        elif not self.filter.wants(frame):
            self._counters["rx_filtered"] += 1
        elif len(frame) + sum(len(waiting) for queue in self._queues.values()
                              for waiting in queue.backlog) > self._rx_buffer:
            self._counters["rx_overflow"] += 1
        else:
            self._steer([bytes(frame)])

    def _receiving_pairs(self):
        """Pairs with a live receive queue that frames may be steered to."""
        return {index // 2 for index in self._queues
                if not index & 1 and index != self._control and index // 2 < self.steering.pairs}

    def _steer(self, frames):
        for frame in list(frames):
            pair = self.steering.choose(frame, self._receiving_pairs())
            if pair is None:
                self._counters["rx_not_live"] += 1
            else:
                self._queues[2 * pair].backlog.append(frame)
                self._kicked.add(2 * pair)

    # Steps

    def step(self):
        """Do one thing, for one queue; False if there is nothing to do. Raises `QueueError` for a broken ring."""
        indices = sorted(self._kicked)
        if self._order:
            self._order.shuffle(indices)
        for index in indices:
            queue = self._queues[index]
            if self._hold(queue):
                self._publish(queue)
                return True
            if self._begin(queue):
                return True
            if queue.begun:
                self._publish(queue)
                return True
            if queue.suppressed:        # and then look once more
                self._suppress_doorbells(queue, False)
                return True
            if index != self._control and self._coalescing.overdue(index):
                self._notify(queue)
                return True
            if index == self._control or not self._coalescing.waits(index):
                self._kicked.discard(index)
        return False

    def _begin(self, queue):
        if queue.index == self._control:
            return self._command(queue)
        return self._transmit(queue) if queue.index & 1 else self._deliver(queue)

    def _fetch(self, queue):
        chain = queue.ring.fetch()
        if chain:
            self._fetched(queue)
        return chain

    def _fetched(self, queue):
        # What the driver tells by doorbells, it can't if they are suppressed.
        if self._suppress and not queue.suppressed and not self._features.notification_data:
            self._suppress_doorbells(queue, True)

    def _suppress_doorbells(self, queue, suppress):
        queue.suppressed = suppress
        queue.ring.suppress_doorbells(suppress)

    def _hold(self, queue):
        """Whether to publish before beginning more: at once, or by chance, or when there is a batch."""
        if self._order:
            return queue.begun and self._order.random() < 0.3
        return len(queue.begun) >= (_MOST_BEGUN if self._features.in_order else 1)

    def _publish(self, queue):
        if self._features.in_order:
            count = self._batch(queue.begun)
            queue.ring.use_batch([used for packet in queue.begun[:count] for used in packet])
            del queue.begun[:count]
        else:
            count = 1
            queue.ring.use_packet(queue.begun.pop(self._order.randrange(len(queue.begun)) if self._order else 0))
        if queue.index == self._control:
            self._notify(queue)
            return
        self._coalescing.used(queue.index, count)
        if self._coalescing.due(queue.index):
            self._notify(queue)

    def _batch(self, begun):
        """How many packets to publish by one used descriptor: of what is skipped, all that is writable was written."""
        count = 1
        while count < len(begun) and begun[count - 1][-1][1] == begun[count - 1][-1][0].capacity:
            count += 1
        return self._order.randint(1, count) if self._order else count

    def _notify(self, queue):
        if queue.ring.wants_interrupt():
            self._counters["interrupts"] += 1
            self._count(queue.index, interrupts=1)
            self._interrupt(queue.vector)

    def _transmit(self, queue):
        chain = self._fetch(queue)
        if chain is None:
            return False
        queue.begun.append([(chain, 0)])
        length = sum(element.length for element in chain.elements) - self._header_bytes
        try:
            if any(element.writable for element in chain.elements):
                raise MalformedPacket("device-writable elements")
            if not formats.ETHERNET_HEADER <= length <= LONGEST_PACKET:
                raise MalformedPacket(f"{length} bytes")
            data, pair = chain.gather(self._memory), queue.index // 2
            frames = frames_of(data, data[self._header_bytes:], self._negotiated, self._max_frame)
        except MalformedPacket:
            self._counters["tx_malformed"] += 1
            self._count(queue.index, drops=1, drop_malformed=1)
            return True
        if self._multiqueue and pair >= self.steering.pairs:
            self._counters["tx_inactive_pair"] += 1     # no driver may do that
        self._count_offload(queue.index, data, frames)
        for frame in frames:
            self._counters["tx_frames"] += 1
            self._count(queue.index, packets=1, bytes=len(frame))
            self.steering.transmitted(frame, pair)
            if self.wire:
                self.wire(frame)
        return True

    def _count_offload(self, index, data, frames):
        completes = formats.has_feature(self._negotiated, formats.Feature.NET_CSUM)
        needs_csum = completes and data[0] & formats.NET_HDR_F_NEEDS_CSUM
        self._count(index, **{"needs_csum" if needs_csum else "csum_none": 1})
        if data[1] == formats.GsoType.NONE:
            return
        length = len(data) - self._header_bytes
        self._count(index, gso_packets=1, gso_bytes=length)
        if len(frames) == 1:
            self._count(index, gso_packets_noseg=1, gso_bytes_noseg=length)
        else:
            self._count(index, gso_segments=len(frames), gso_segments_bytes=sum(map(len, frames)))

    def _deliver(self, queue):
        if not queue.backlog:
            return False
        start, chains, length = queue.ring.avail, [], self._header_bytes + len(queue.backlog[0])
        while not chains or self._mergeable and sum(chain.capacity for chain in chains) < length:
            chain = queue.ring.fetch()
            if chain is None:
                break
            chains.append(chain)
        if not chains:
            return False
        holds_header = chains[0].capacity >= self._header_bytes
        if not holds_header or sum(chain.capacity for chain in chains) < length:
            # More may come: from the driver, or once what is finished is published.
            waits = self._mergeable and holds_header and (queue.begun or not queue.ring.holds_whole_ring())
            queue.ring.avail = start
            if waits:
                return False
            queue.backlog.popleft()
            self._counters["rx_buffer_too_small"] += 1
            self._count(queue.index, drops=1)
            return True
        self._fetched(queue)
        frame = queue.backlog.popleft()
        self._fill(queue, chains, self._header(frame, len(chains)) + frame)
        self._counters["rx_frames"] += 1
        self._count(queue.index, packets=1, bytes=length - self._header_bytes)
        return True

    def _header(self, frame, buffers):
        header = np.zeros(1, formats.VIRTIO_NET_HDR_HASH)
        header["num_buffers"] = buffers
        if formats.Feature.NET_GUEST_CSUM in self._offloads and checksum_verdict(frame) == VALID:
            header["flags"] = formats.NET_HDR_F_DATA_VALID
        if self._hash_report:
            header["hash_value"], header["hash_report"] = frame_hash(frame, self.steering.hashes)
        return header.tobytes().ljust(self._header_bytes, b"\0")[:self._header_bytes]

    def _fill(self, queue, chains, data):
        """Spread a packet over `chains`: all but the last are filled."""
        packet = []
        for chain in chains:
            part, data = data[:chain.capacity], data[chain.capacity:]
            chain.scatter(self._memory, part)
            packet.append((chain, len(part)))
        queue.begun.append(packet)

    def _command(self, queue):
        chain = self._fetch(queue)
        if chain is None:
            return False
        answer = self._commands.execute(chain.gather(self._memory), chain.capacity)
        chain.scatter(self._memory, answer)
        queue.begun.append([(chain, len(answer))])
        self._counters["commands"] += 1
        self._follow_commands()
        return True

    def _follow_commands(self):
        """What a command may have changed takes effect before its buffer is used."""
        for other in list(self._queues.values()):
            if other.index == self._control:
                continue
            if not other.index & 1 and other.index // 2 >= self.steering.pairs:
                while other.begun:
                    self._publish(other)
                frames, other.backlog = other.backlog, deque()
                self._steer(frames)
            if self._coalescing.due(other.index):
                self._notify(other)
