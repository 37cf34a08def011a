"""The card as a function: what it does with registers, rings and frames, without time, lanes or packets of a link.

Used to test the driver without RTL, and beside the RTL as the scoreboard's twin.

    nic = FunctionalNic(memory)
    nic.datapath.wire = nic.receive         # loop back at the MAC
"""

from collections import Counter
from dataclasses import dataclass

from model import formats, pci
from model.common_config import CommonConfig
from model.config_space import ConfigSpace
from model.datapath import Datapath
from model.device_config import DeviceConfig
from model.formats import CapType, Feature, Status
from model.interrupts import Interrupts
from model.steering import Steering
from model.virtqueue import Position, QueueError

__all__ = ["FunctionalNic", "NicParameters", "OFFERED", "OFFERED_ALL"]

OFFERED = formats.feature_set(
    Feature.VERSION_1, Feature.RING_PACKED, Feature.ACCESS_PLATFORM, Feature.ORDER_PLATFORM,
    Feature.NET_MAC, Feature.NET_MTU, Feature.NET_STATUS, Feature.NET_SPEED_DUPLEX)
OFFERED_ALL = (OFFERED | formats.RING_FEATURES | formats.RECEIVE_FEATURES | formats.CONTROL_FEATURES
               | formats.OFFLOAD_FEATURES | formats.TRANSMIT_FEATURES | formats.FILTER_FEATURES
               | formats.feature_set(Feature.NET_GUEST_ANNOUNCE))

# Offsets in BAR 0; the areas behind start on multiples of BOUNDARY.
COMMON, ISR, DEVICE, NOTIFY, BOUNDARY = 0x0000, 0x0100, 0x0200, 0x1_0000, 0x1_0000


@dataclass(frozen=True, kw_only=True)
class NicParameters:
    """What differs from card to card.

    max_frame : bytes of the longest frame that can be sent
    rx_buffer : bytes of frames that may wait for receive buffers
    reset_reads : reads of device_status, or of queue_reset, that don't yet bring 0 after a reset request
    cookie : queue_notif_config_data of queue 0; the others follow
    """
    pairs: int = 1
    queue_size_max: int = 256
    page: int = 4096
    mac: bytes = bytes.fromhex("020000000001")
    mtu: int = 1500
    speed: int = 100_000
    offered: int = OFFERED
    max_frame: int = 9022
    rx_buffer: int = 65536
    reset_reads: int = 0
    cookie: int = 0


def _boundary(offset):
    return -(-offset // BOUNDARY) * BOUNDARY


def _ignore(offset, data):
    """Writing a read-only area."""


class FunctionalNic:
    """A virtio network card at `memory`, which has `device_read` and `device_write`.

    Parameters
    ----------
    parameters : NicParameters
    order : random.Random that shuffles the order in which buffers complete, or None to keep that of the ring
    suppress : tell the driver to leave out doorbells while a queue is being worked on
    deferred : doorbells and frames only wake the card, and its owner calls `step`; else all work is done at once
    clock : clock() in nanoseconds, for the coalescing of notifications of a `deferred` card; without one, they are sent
        when there is nothing else to do
    steering : makes a Steering of a number of pairs: a card may choose otherwise where the specification leaves it open

    Attributes
    ----------
    datapath : its `wire` is called with each frame sent; None drops them
    interrupts : its `on_intx` is called with the level of INTx when it changes
    counters : Counter of doorbells, interrupts, frames and drops
    error : the QueueError that made the card need a reset, or None
    """

    def __init__(self, memory, parameters=None, *, order=None, suppress=False, deferred=False, clock=None,
                 steering=Steering):
        self.parameters = p = parameters or NicParameters()
        self.memory = memory
        self.counters = Counter()
        self.error = None
        self._deferred = deferred
        self._working = False
        self.device_config = DeviceConfig(
            p, features=lambda: self.common.features if self.common.status & Status.DRIVER_OK else 0,
            notify=self._notify_config_change, count=self._count_config_change)
        queues = 2 * p.pairs + formats.has_feature(p.offered, Feature.NET_CTRL_VQ)
        vectors = queues + 1
        notify_bytes = queues * p.page
        table = _boundary(NOTIFY + notify_bytes)
        pending = _boundary(table + 16 * vectors)
        pending_bytes = -(-vectors // 64) * 8
        self.config = ConfigSpace(
            bar_bytes=1 << (pending + pending_bytes - 1).bit_length(), multiplier=p.page, vectors=vectors,
            table=table, pending=pending,
            structures=[(CapType.COMMON, COMMON, formats.COMMON_CFG.itemsize), (CapType.NOTIFY, NOTIFY, notify_bytes),
                        (CapType.ISR, ISR, 1), (CapType.DEVICE, DEVICE, formats.VIRTIO_NET_CONFIG.itemsize)],
            window_read=self._read, window_write=self._write, flr=self._function_level_reset)
        self.interrupts = Interrupts(vectors, self.config, self._send_message)
        self.datapath = Datapath(memory, self.counters, pairs=p.pairs, mtu=p.mtu, max_frame=p.max_frame,
                                 rx_buffer=p.rx_buffer, order=order, suppress=suppress, clock=clock,
                                 steering=steering, interrupt=self.interrupts.used_buffer, config=self.device_config)
        self.common = CommonConfig(queues=queues, queue_size_max=p.queue_size_max, vectors=vectors, offered=p.offered,
                                   reset=self._quiet, live=self._live, queue_reset=self._reset_queue,
                                   queue_live=self._enable_queue, reset_reads=p.reset_reads, cookie=p.cookie)
        self._areas = [         # (offset in BAR 0, bytes, read(offset, size), write(offset, data))
            (COMMON, formats.COMMON_CFG.itemsize, self.common.read, self.common.write),
            (ISR, 1, self.interrupts.read_isr, _ignore),
            (DEVICE, formats.VIRTIO_NET_CONFIG.itemsize, self.device_config.read, _ignore),
            (NOTIFY, notify_bytes, lambda offset, size: b"", self._doorbell),
            (table, 16 * vectors, self.interrupts.read_table, self.interrupts.write_table),
            (pending, pending_bytes, self.interrupts.read_pending, _ignore)]

    # Accesses of the host

    def config_read(self, offset, size):
        return self.config.read(offset, size)

    def config_write(self, offset, value, size):
        self.config.write(offset, value, size)
        self.interrupts.update()

    def mmio_read(self, address, size):
        """`size` bytes at a bus address, as a number; all ones where nothing answers."""
        offset = self._decode(address)
        return (1 << 8 * size) - 1 if offset is None else self._read(offset, size)

    def mmio_write(self, address, value, size):
        offset = self._decode(address)
        if offset is not None:
            self._write(offset, value, size)

    def _decode(self, address):
        offset = address - self.config.bar
        enabled = self.config.commands(pci.Command.MEMORY_SPACE)
        return offset if enabled and 0 <= offset < self.config.bar_bytes else None

    def _read(self, offset, size):
        for start, length, read, _ in self._areas:
            if start <= offset < start + length:
                return int.from_bytes(read(offset - start, size), "little")
        return 0

    def _write(self, offset, value, size):
        for start, length, _, write in self._areas:
            if start <= offset < start + length:
                write(offset - start, value.to_bytes(size, "little")[:start + length - offset])

    def _send_message(self, address, data):
        self.counters["messages"] += 1
        self.memory.device_write(address, data.to_bytes(4, "little"))

    # Device configuration

    @property
    def link_up(self):
        return self.device_config.link_up

    @link_up.setter
    def link_up(self, up):
        self.device_config.link_up = up

    def _count_config_change(self):
        self.common.generation = self.common.generation + 1 & 0xff

    def _notify_config_change(self):
        if self.common.status & Status.DRIVER_OK:
            self.interrupts.config_change(self.common.config_vector)

    # Life cycle

    def _quiet(self):
        """From here no memory is touched and nothing is signalled."""
        self.datapath.stop()
        self.interrupts.clear()
        self.device_config.restore()

    def _function_level_reset(self):
        self._quiet()
        self.common.restore()
        self.interrupts.restore_table()

    def _live(self):
        self.datapath.start({index: queue for index, queue in enumerate(self.common.queues) if queue.enable},
                            self.common.features)
        self._work()

    def _reset_queue(self, index):
        self.datapath.stop_queue(index)
        self._work()            # frames that waited for it may go elsewhere

    def _enable_queue(self, index):
        self.datapath.start_queue(index, self.common.queues[index])
        self._work()

    # Work

    def receive(self, frame):
        """A frame from the wire."""
        self.datapath.receive(frame)
        self._work()

    def _doorbell(self, offset, data):
        """A write to a queue's page. It has to name the queue as negotiated; else it is counted and nothing happens."""
        self.counters["doorbells"] += 1
        index, features = offset // self.parameters.page, self.common.features
        named = self.common.cookie(index) if formats.has_feature(features, Feature.NOTIF_CONFIG_DATA) else index
        if offset % self.parameters.page or int.from_bytes(data[:2], "little") != named:
            self.counters["bad_doorbells"] += 1
            return
        told = int.from_bytes(data[2:4], "little") if len(data) == 4 else None
        self.datapath.kick(index, None if told is None else Position(told & 0x7fff, told >> 15))
        self._work()

    def _work(self):
        """All there is to do, unless that is left to the owner or under way already."""
        if not self._deferred and not self._working:
            self._working = True
            try:
                while self.step():
                    pass
            finally:
                self._working = False

    def step(self):
        """Do one thing; False if there is nothing to do. A broken ring makes the card need a reset."""
        if not self.config.commands(pci.Command.BUS_MASTER):
            return False
        try:
            return self.datapath.step()
        except QueueError as error:
            self.error = error
            self.datapath.stop()
            self.common.status |= Status.NEEDS_RESET
            self._notify_config_change()
            return False
