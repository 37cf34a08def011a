"""The common configuration structure.

Source: VIRTIO 1.4, sections "Common configuration structure layout", "MSI-X Vector Configuration".
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.regs import RegisterBus, RegisterFile
from hdl.virtqueue.spec import QueueConfig

from .features import FeatureNegotiation
from .maps import ADDRESS_FIELDS, COMMON_CONFIG
from .queue_table import QueueTable
from .spec import FEATURE_BITS, MAX_VECTORS, NO_VECTOR, Feature
from .status import DeviceStatus

__all__ = ["QueueSetup", "QueueNumber", "CommonConfig"]


class QueueSetup(data.StructLayout):
    """A queue has been enabled, or its vector has changed, or, with `config.enabled` 0 and nothing else valid, it has
    been reset. Fields: `queue` virtqueue index; `config` as it stands."""

    def __init__(self, queue_bits):
        super().__init__({"queue": queue_bits, "config": QueueConfig})


class QueueNumber(data.StructLayout):
    """Pulse. Fields: `valid`; `queue` virtqueue index."""

    def __init__(self, queue_bits):
        super().__init__({"valid": 1, "queue": queue_bits})


class CommonConfig(wiring.Component):
    """All 64 bytes of struct virtio_pci_common_cfg behind a register bus; any width and order of accesses.

    What is stored is what was written, byte by byte; values are judged when they are used, so that a field may be
    written in parts:

    - A vector at or above `vectors` reads NO_VECTOR, and is none.
    - queue_enable takes 1 only; 0 is ignored. It stays 0 while queue_size is 0 or above the maximum.
    - The fields of an enabled queue do not change, but for its vector. The low bits of its addresses that the ring
      format wants 0 are taken as 0.
    - Before FEATURES_OK, a queue_size that is not a power of 2 reads 0: only packed rings may have one.
    - A queue_select without a queue shows queue_size, queue_enable and the addresses as 0, and its vector as NO_VECTOR;
      writes are ignored.
    - queue_reset takes 1 only, of an enabled queue, while RING_RESET is negotiated. Then it reads 1 until `finished`:
      from then on all fields of the queue are as after a reset of the device, so queue_enable reads 0.
    - queue_notif_config_data is the virtqueue's index while NOTIF_CONFIG_DATA is negotiated, else 0.
    - While a reset is under way (`quiesce`) writes are ignored.

    A read is answered in the next cycle; after a write the next request waits 2 cycles.

    Parameters
    ----------
    offered : iterable of Feature
    queues : int
        virtqueues; num_queues
    queue_size_max : int
    vectors : int
        MSI-X vectors, up to 2048

    Attributes
    ----------
    bus : In(RegisterBus())
        addresses count from the structure's start
    generation : In(8)
        config_generation
    error : In(1)
        pulse: set DEVICE_NEEDS_RESET
    quiesce, clear : In(1)
        from `LifeCycle`
    idle : Out(1)
        the initialisation is done
    settling : Out(1)
        a write may have effects that are still to come; low from the cycle of its `configure` on
    reset : Out(1)
        pulse: reset requested
    configure : Out(stream of QueueSetup), always ready
        sent 3 cycles after the write that enables a queue or changes the vector of an enabled one, which is not being
        reset, and some cycles after `finished`
    reset_queue : Out(QueueNumber)
        pulse: reset of a queue requested
    finished : In(QueueNumber)
        pulse: it is done; not again for some cycles
    features : Out(128)
        negotiated features; 0 before FEATURES_OK
    driver_ok, live, failed : Out(1)
        as in `DeviceStatus`
    config_vector : Out(12)
        vector of configuration changes; bit 11: none
    """

    def __init__(self, offered, queues, queue_size_max, vectors):
        if not 1 <= vectors <= MAX_VECTORS:
            raise ValueError(f"there are 1 to {MAX_VECTORS} vectors, not {vectors!r}")
        self.offered = tuple(offered)
        self.queues = queues
        self.queue_size_max = queue_size_max
        self.vectors = vectors
        queue_bits = max(1, (queues - 1).bit_length())
        super().__init__({
            "bus": In(RegisterBus()),
            "generation": In(8),
            "error": In(1),
            "quiesce": In(1),
            "clear": In(1),
            "idle": Out(1),
            "settling": Out(1),
            "reset": Out(1),
            "configure": Out(stream.Signature(QueueSetup(queue_bits), always_ready=True)),
            "reset_queue": Out(QueueNumber(queue_bits)),
            "finished": In(QueueNumber(queue_bits)),
            "features": Out(FEATURE_BITS),
            "driver_ok": Out(1),
            "live": Out(1),
            "failed": Out(1),
            "config_vector": Out(12),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = RegisterFile(COMMON_CONFIG)
        m.submodules.negotiation = negotiation = FeatureNegotiation(self.offered)
        m.submodules.device_status = status = DeviceStatus()
        m.submodules.table = table = QueueTable(self.queues, self.queue_size_max)
        self._connect_bus(m, registers)
        self._connect_features(m, registers, negotiation, status)
        self._connect_status(m, registers, negotiation, status)
        self._connect_config_vector(m, registers)
        self._connect_queues(m, registers, table, status)
        m.d.comb += [
            registers.clear.eq(self.clear),
            registers.num_queues.eq(self.queues),
            registers.config_generation.eq(self.generation),
            table.clear.eq(self.clear),
            self.idle.eq(~table.busy),
        ]
        return m

    def _connect_bus(self, m, registers):
        """Give requests to the registers one by one, and drop writes during a reset."""
        request = self.bus.request
        # Cycles until a write has reached everything that a read shows: the memory, the row, the judgement of the row
        settling = Signal(2)
        drop = Signal()
        m.d.comb += [
            drop.eq(request.p.write & self.quiesce),
            registers.bus.request.p.eq(request.p),
            registers.bus.request.valid.eq(request.valid & (settling == 0) & ~drop),
            request.ready.eq((settling == 0) & (registers.bus.request.ready | drop)),
            self.settling.eq(settling != 0),
            self.bus.response.p.eq(registers.bus.response.p),
            self.bus.response.valid.eq(registers.bus.response.valid),
            registers.bus.response.ready.eq(self.bus.response.ready),
        ]
        with m.If(settling != 0):
            m.d.sync += settling.eq(settling - 1)
        with m.Elif(request.valid & request.ready & request.p.write):
            m.d.sync += settling.eq(2)

    def _connect_features(self, m, registers, negotiation, status):
        m.d.comb += [
            negotiation.device_select.eq(registers.device_feature_select),
            negotiation.driver_select.eq(registers.driver_feature_select),
            negotiation.strobe.eq(registers.driver_feature_strobe),
            negotiation.data.eq(registers.driver_feature_data),
            negotiation.locked.eq(status.features_ok),
            negotiation.clear.eq(self.clear),
            registers.device_feature.eq(negotiation.device_window),
            registers.driver_feature.eq(negotiation.driver_window),
            self.features.eq(negotiation.negotiated),
        ]

    def _connect_status(self, m, registers, negotiation, status):
        m.d.comb += [
            status.write.eq(registers.device_status_strobe),
            status.data.eq(registers.device_status_data),
            status.acceptable.eq(negotiation.acceptable),
            status.error.eq(self.error),
            status.quiesce.eq(self.quiesce),
            status.clear.eq(self.clear),
            registers.device_status.eq(status.value),
            self.reset.eq(status.reset),
            self.driver_ok.eq(status.driver_ok),
            self.live.eq(status.live),
            self.failed.eq(status.failed),
        ]

    def _usable(self, vector):
        return vector < self.vectors

    def _connect_config_vector(self, m, registers):
        written = Signal(16, init=NO_VECTOR)
        for lane in range(2):
            with m.If(registers.config_msix_vector_strobe[lane]):
                m.d.sync += written.word_select(lane, 8).eq(registers.config_msix_vector_data.word_select(lane, 8))
        with m.If(self.clear):
            m.d.sync += written.eq(NO_VECTOR)
        usable = self._usable(written)
        m.d.sync += self.config_vector.eq(Cat(written[:11], ~usable))
        m.d.comb += registers.config_msix_vector.eq(Mux(usable, written, NO_VECTOR))

    def _connect_queues(self, m, registers, table, status):
        row = table.row
        exists = Signal()
        vector = Signal(16)
        is_power_of_2 = (row.size & (row.size - 1)) == 0
        presentable = Signal()
        m.d.sync += presentable.eq(exists & (status.features_ok | is_power_of_2))
        m.d.comb += [
            exists.eq(registers.queue_select < self.queues),
            vector.eq(Mux(exists & self._usable(row.vector), row.vector, NO_VECTOR)),
            registers.queue_size.eq(Mux(presentable, row.size, 0)),
            registers.queue_msix_vector.eq(vector),
            registers.queue_enable.eq(exists & row.enabled), registers.queue_reset.eq(exists & row.resetting),
            registers.queue_notify_off.eq(Mux(exists, registers.queue_select, 0)),
            # Any value would do, as the doorbell's page tells the queue.
            registers.queue_notif_config_data.eq(
                Mux(exists & self.features[Feature.NOTIF_CONFIG_DATA], registers.queue_select, 0)),
        ]
        for name in ADDRESS_FIELDS:
            m.d.comb += getattr(registers, name).eq(Mux(exists, row[name.removeprefix("queue_")], 0))
        self._write_queues(m, registers, table, exists)
        written = self._send_setup(m, registers, table, vector, exists)
        self._reset_queues(m, registers, table, exists, written)

    def _write_queues(self, m, registers, table, exists):
        row = table.row
        changeable = exists & ~row.enabled
        request = registers.bus.request.p
        m.d.comb += [
            table.queue.eq(registers.queue_select),
            table.data.eq(request.data),
            table.strobe.setup.eq(Cat(Mux(changeable, registers.queue_size_strobe, 0),
                                      Mux(exists, registers.queue_msix_vector_strobe, 0))),
            table.enable.eq(self._is_one(registers.queue_enable_strobe, registers.queue_enable_data) & changeable
                            & (row.size != 0) & (row.size <= self.queue_size_max)),
        ]
        for name in ADDRESS_FIELDS:
            m.d.comb += table.strobe[name.removeprefix("queue_")].eq(
                Mux(changeable, getattr(registers, f"{name}_strobe"), 0))

    @staticmethod
    def _is_one(strobe, value):
        """Whether 1 is written. The low byte alone will do: the high byte is 0."""
        return strobe[0] & (value[:8] == 1) & ~(strobe[1] & value[8:].any())

    def _reset_queues(self, m, registers, table, exists, written):
        """Pass on the request; restore the queue's fields when it is done and no other write is at hand."""
        row, restore, request = table.row, table.restore, registers.bus.request
        waits = Signal()
        m.d.comb += [
            table.reset.eq(self._is_one(registers.queue_reset_strobe, registers.queue_reset_data) & exists & row.enabled
                           & ~row.resetting & self.features[Feature.RING_RESET]),
            restore.valid.eq(waits & ~(request.valid & request.p.write) & ~written.any()),
        ]
        m.d.sync += [self.reset_queue.valid.eq(table.reset), self.reset_queue.queue.eq(registers.queue_select)]
        with m.If(self.finished.valid):
            m.d.sync += [waits.eq(1), restore.queue.eq(self.finished.queue)]
        with m.If(restore.valid | self.quiesce):
            m.d.sync += waits.eq(0)
        with m.If(restore.valid):
            m.d.sync += [self.configure.valid.eq(1), self.configure.p.queue.eq(restore.queue),
                         self.configure.p.config.enabled.eq(0)]

    def _send_setup(self, m, registers, table, vector, exists):
        row = table.row
        setup = self.configure.p
        # The write is in the memory after one cycle and in `row` after two.
        written = Signal(2)
        m.d.sync += written.eq(Cat(
            table.enable | (exists & row.enabled & ~row.resetting & registers.queue_msix_vector_strobe.any()),
            written[0]))
        m.d.sync += [
            self.configure.valid.eq(written[1]),
            setup.queue.eq(registers.queue_select),
            setup.config.descriptors.eq(Cat(C(0, 4), row.desc_low[4:], row.desc_high)),
            setup.config.driver.eq(Cat(C(0, 2), row.driver_low[2:], row.driver_high)),
            setup.config.device.eq(Cat(C(0, 2), row.device_low[2:], row.device_high)),
            setup.config.size.eq(row.size),
            setup.config.vector.eq(Cat(vector[:11], vector == NO_VECTOR)),
            setup.config.enabled.eq(1),
        ]
        return written
