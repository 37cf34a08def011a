"""The card: the block diagram of docs/architecture.md as code. Instantiates and connects, nothing else."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import NicConfig
from .dma.read import ReadEngine
from .dma.spec import DataContext
from .dma.write import WriteEngine
from .events import COUNTERS, count_events, count_queues
from .net.control import Control
from .net.receive import Receive
from .net.spec import HEADER_BYTES, LONG_HEADER_BYTES
from .net.statistics import Statistics
from .net.transmit import Transmit
from .pcie.completer import Completer
from .pcie.request_mux import RequestMux
from .regs.counters import CounterBank
from .stream import TlpBeat, connect_stream
from .taps import tap, tap_frame
from .virtio.device import VirtioDevice
from .virtio.interrupts import Interrupts
from .virtio.msix import MsixTable
from .virtio.queue_map import QueueMap, Role
from .virtio.spec import GUEST_OFFLOADS, Feature
from .virtqueue.engine import Direction, Engine

__all__ = ["VirtioNetNic"]


# Field of `ControlFeatures` → what it stands for; `segmentation` stands for any of several.
COMMAND_FEATURES = {
    "multiqueue": Feature.MQ, "scaling": Feature.RSS, "hash_report": Feature.HASH_REPORT,
    "coalescing": Feature.NOTF_COAL, "queue_coalescing": Feature.VQ_NOTF_COAL,
    "receive_modes": Feature.CTRL_RX, "receive_extra": Feature.CTRL_RX_EXTRA, "vlan": Feature.CTRL_VLAN,
    "mac_address": Feature.CTRL_MAC_ADDR, "announce": Feature.GUEST_ANNOUNCE, "statistics": Feature.DEVICE_STATS,
    "guest_offloads": Feature.CTRL_GUEST_OFFLOADS, "receive_checksum": Feature.GUEST_CSUM,
    "transmit_checksum": Feature.CSUM,
}


class VirtioNetNic(wiring.Component):
    """A virtio-net PCIe function.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    cq, rc : In(stream of TlpBeat); cc, rq : Out(stream of TlpBeat)
        the transaction layer, as docs/architecture.md describes it
    rq_np_ready : In(1)
        while 0 no non-posted TLP starts on `rq`
    eth_tx_*, eth_rx_* : AXI4-Stream, frames without preamble and FCS
    link_up, cfg_mac, cfg_mtu, cfg_speed : In
        straps
    idle : Out(1)
        nothing of the queues is under way
    tags_outstanding, tags_quarantined : Out
        reads sent and not retired; tags held back after a time-out
    """

    def __init__(self, config: NicConfig):
        self.config = config
        beat = stream.Signature(TlpBeat(config.width, config.segments))
        super().__init__({
            "cq": In(beat), "cc": Out(beat), "rq": Out(beat), "rc": In(beat), "rq_np_ready": In(1),
            "eth_tx_tdata": Out(config.width), "eth_tx_tkeep": Out(config.bytes_per_beat), "eth_tx_tvalid": Out(1),
            "eth_tx_tready": In(1), "eth_tx_tlast": Out(1),
            "eth_rx_tdata": In(config.width), "eth_rx_tkeep": In(config.bytes_per_beat), "eth_rx_tvalid": In(1),
            "eth_rx_tready": Out(1), "eth_rx_tlast": In(1), "eth_rx_tuser": In(1),
            "link_up": In(1), "cfg_mac": In(48), "cfg_mtu": In(16), "cfg_speed": In(32),
            "idle": Out(1),
            "tags_outstanding": Out(range(config.tags + 1)), "tags_quarantined": Out(range(config.tags + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.completer = completer = Completer(config)
        m.submodules.device = device = VirtioDevice(config)
        m.submodules.msix = msix = MsixTable(config)
        m.submodules.interrupts = interrupts = Interrupts(config)
        m.submodules.counters = counters = CounterBank(COUNTERS)
        m.submodules.rx_engine = rx = Engine(config, Direction.RX)
        m.submodules.tx_engine = tx = Engine(config, Direction.TX)
        m.submodules.read_engine = reads = ReadEngine(config)
        m.submodules.write_engine = writes = WriteEngine(config.width, config.pair_bits)
        m.submodules.request_mux = mux = RequestMux(config.width, posted=6)
        m.submodules.transmit = transmit = Transmit(config)
        m.submodules.receive = receive = Receive(config)
        m.submodules.control = control = Control(config)
        m.submodules.statistics = statistics = Statistics(config.pair_bits)

        self._connect_registers(m, completer, device, msix, counters)
        self._connect_queues(m, device, rx, tx, control)
        self._connect_reads(m, reads, rx, tx, transmit, control, completer)
        self._connect_writes(m, mux, reads, writes, rx, tx, msix, control, completer)
        self._connect_frames(m, device, rx, tx, transmit, receive, writes, control)
        self._connect_control(m, device, control, rx, tx)
        self._connect_queue_resets(m, device, rx, tx, control, receive, interrupts, msix)
        self._connect_filter(m, device, control, receive)
        self._connect_interrupts(m, device, completer, interrupts, msix, rx, tx, control)
        self._connect_life(m, device, completer, rx, tx, reads, writes, mux, transmit, receive, msix, interrupts,
                           control, statistics)
        count_events(m, counters, receive, transmit, reads, rx)
        count_queues(m, statistics, rx, tx, receive, transmit, interrupts)
        self._connect_statistics(m, statistics, control)
        self._tap(m, reads, msix)
        return m

    def _connect_registers(self, m, completer, device, msix, counters):
        connect(m, flipped(self.cq), completer.cq)
        connect(m, completer.cc, flipped(self.cc))
        connect(m, completer.bus, device.bus)
        connect(m, device.msix, msix.table_bus)
        connect(m, device.counters, counters.bus)
        m.d.comb += [
            # The strap reads like a MAC address is written, the register has its first byte lowest.
            device.mac.eq(Cat(self.cfg_mac[at:at + 8] for at in reversed(range(0, 48, 8)))),
            device.mtu.eq(self.cfg_mtu),
            device.speed.eq(self.cfg_speed),
            device.link_up.eq(self.link_up),
        ]

    def _map(self, m, name, device, virtqueue):
        """Place of a virtqueue."""
        m.submodules[name] = queue_map = QueueMap(self.config.pairs)
        m.d.comb += [
            queue_map.virtqueue.eq(virtqueue),
            queue_map.control.eq(device.features[Feature.CTRL_VQ]),
            queue_map.multiqueue.eq(device.features[Feature.MQ] | device.features[Feature.RSS]),
        ]
        return queue_map.place

    def _connect_queues(self, m, device, rx, tx, control):
        """Doorbells and queue set-ups to the engine that serves the virtqueue; none may wait for another."""
        engines = {Role.RECEIVE: rx, Role.TRANSMIT: tx}
        doorbell, setup = device.doorbells, device.configure
        rung = self._map(m, "doorbell_map", device, doorbell.p.queue)
        place = self._map(m, "setup_map", device, setup.p.queue)
        m.d.comb += [
            doorbell.ready.eq(1),
            control.doorbell.eq(doorbell.valid & (rung.role == Role.CONTROL)),
            control.configured.eq(setup.valid & (place.role == Role.CONTROL)),
            control.setup.eq(setup.p.config),
            control.queue_enable.valid.eq(
                setup.valid & ((place.role == Role.RECEIVE) | (place.role == Role.TRANSMIT))),
            control.queue_enable.transmit.eq(place.role == Role.TRANSMIT),
            control.queue_enable.queue.eq(place.index),
            control.queue_enable.enabled.eq(setup.p.config.enabled),
        ]
        for role, engine in engines.items():
            with m.If(rung.role == role):
                m.d.comb += [engine.doorbells.valid.eq(doorbell.valid), doorbell.ready.eq(engine.doorbells.ready)]
            m.d.comb += [
                engine.doorbells.p.queue.eq(rung.index),
                engine.doorbells.p.next_off.eq(doorbell.p.next_off),
                engine.doorbells.p.next_wrap.eq(doorbell.p.next_wrap),
                engine.doorbells.p.has_data.eq(doorbell.p.has_data),
                engine.configure.valid.eq(setup.valid & (place.role == role)),
                engine.configure.queue.eq(place.index),
                engine.configure.config.eq(setup.p.config),
            ]

    def _connect_queue_resets(self, m, device, rx, tx, control, receive, interrupts, msix):
        """Queues to be reset to who serves them, one by one; frames keep away from them until they are enabled."""
        resets, silent = device.queue_resets, interrupts.idle & msix.idle
        begun = self._map(m, "begun_map", device, device.reset_queue.queue)
        place = self._map(m, "reset_map", device, resets.p)
        m.d.comb += [
            resets.ready.eq(1),
            control.reset.eq(resets.valid & (place.role == Role.CONTROL)), control.silent.eq(silent),
            receive.reset.valid.eq(device.reset_queue.valid & (begun.role == Role.RECEIVE)),
            receive.reset.queue.eq(begun.index),
            receive.enabled.valid.eq(rx.configure.valid & rx.configure.config.enabled),
            receive.enabled.queue.eq(rx.configure.queue),
        ]
        with m.If(place.role == Role.CONTROL):
            m.d.comb += resets.ready.eq(control.reset_done)
        for role, engine in ((Role.RECEIVE, rx), (Role.TRANSMIT, tx)):
            m.d.comb += [
                engine.reset.valid.eq(resets.valid & (place.role == role)), engine.reset.payload.eq(place.index),
                engine.silent.eq(silent),
            ]
            with m.If(place.role == role):
                m.d.comb += resets.ready.eq(engine.reset.ready)

    def _connect_control(self, m, device, control, rx, tx):
        """What commands need to know, and what they do."""
        named = self._map(m, "command_map", device, control.virtqueue)
        m.d.comb += [
            control.place.exists.eq((named.role == Role.RECEIVE) | (named.role == Role.TRANSMIT)),
            control.place.transmit.eq(named.role == Role.TRANSMIT),
            control.place.control.eq(named.role == Role.CONTROL),
            control.place.queue.eq(named.index),
        ]
        m.d.comb += [control.features[name].eq(device.features[feature]) for name, feature in COMMAND_FEATURES.items()]
        m.d.comb += [control.negotiated_offloads[bit].eq(device.features[feature])
                     for feature, bit in GUEST_OFFLOADS.items()]
        settings = control.settings
        for engine, transmit in ((rx, 0), (tx, 1)):
            m.d.comb += [
                engine.coalescing.valid.eq(settings.valid & (settings.transmit == transmit)),
                engine.coalescing.queue.eq(settings.queue),
                engine.coalescing.max_packets.eq(settings.max_packets),
                engine.coalescing.max_usecs.eq(settings.max_usecs),
            ]

    def _connect_filter(self, m, device, control, receive):
        connect(m, control.filter, receive.filter)
        m.d.comb += [
            receive.by_address.eq(device.features[Feature.CTRL_RX]),
            receive.by_vlan.eq(device.features[Feature.CTRL_VLAN]),
            receive.mac.eq(device.mac_shown),
            device.set_mac.eq(control.mac_change.valid),
            device.new_mac.eq(control.mac_change.mac),
            device.acknowledge.eq(control.acknowledge),
        ]

    def _connect_reads(self, m, reads, rx, tx, transmit, control, completer):
        for engine, suffix in ((rx, "rx"), (tx, "tx")):
            for kind in ("fetch", "table", "event"):
                connect_stream(m, getattr(engine, f"{kind}_reads"), getattr(reads, f"{kind}_{suffix}"))
                connect_stream(m, getattr(reads, f"o_{kind}_{suffix}"), getattr(engine, f"{kind}_beats"))
                m.d.comb += getattr(reads, f"room_{kind}_{suffix}").eq(getattr(engine, f"{kind}_room"))
        connect_stream(m, tx.data_reads, reads.data_tx)
        connect_stream(m, reads.o_data_tx, transmit.i)
        connect_stream(m, control.reads, reads.control)
        connect_stream(m, reads.o_control, control.beats)
        connect(m, flipped(self.rc), reads.rc)
        m.d.comb += [
            reads.room_data_tx.eq(transmit.room),
            reads.room_control.eq(control.room),
            tx.request_shift.eq(reads.request_shift),
            tx.part_requests.eq(reads.part_requests),
            reads.max_read_request.eq(completer.max_read_request),
            reads.extended_tag_enable.eq(completer.extended_tag_enable),
            reads.completion_timeout.eq(completer.completion_timeout),
            reads.completion_timeout_disable.eq(completer.completion_timeout_disable),
            completer.unexpected_completion.eq(reads.unexpected_completion),
            completer.completion_timeout_error.eq(reads.timeout_error),
            completer.poisoned_completion.eq(reads.poisoned_completion),
            completer.unsupported_received.eq(reads.unsupported_received),
            completer.abort_received.eq(reads.abort_received),
            completer.completion_header.eq(reads.completion_header),
            completer.transactions_pending.eq(reads.outstanding != 0),
            self.tags_outstanding.eq(reads.outstanding),
            self.tags_quarantined.eq(reads.quarantined),
        ]

    def _connect_writes(self, m, mux, reads, writes, rx, tx, msix, control, completer):
        posted = [writes.o, rx.used, tx.used, msix.o, completer.messages, control.o]
        for n, source in enumerate(posted):
            connect_stream(m, source, getattr(mux, f"p{n}"))
        connect_stream(m, reads.requests, mux.reads)
        connect(m, mux.rq, flipped(self.rq))
        m.d.comb += [
            writes.accepted.eq(mux.accepted0),
            rx.used_accepted.eq(mux.accepted1),
            tx.used_accepted.eq(mux.accepted2),
            msix.accepted.eq(mux.accepted3),
            control.accepted.eq(mux.accepted5),
            reads.dropped.valid.eq(mux.dropped_valid),
            reads.dropped.payload.eq(mux.dropped_tag),
            mux.rq_np_ready.eq(self.rq_np_ready),
            mux.requester_id.eq(completer.requester_id),
            mux.bus_master_enable.eq(completer.bus_master_enable),
        ]
        for block in (writes, rx, tx):
            m.d.comb += block.max_payload.eq(completer.max_payload)

    def _connect_frames(self, m, device, rx, tx, transmit, receive, writes, control):
        connect_stream(m, transmit.completions, tx.completions)
        self._connect_offloads(m, device, tx, transmit, control)
        self._connect_verdicts(m, rx, receive)
        connect_stream(m, rx.writes, writes.commands)
        connect_stream(m, receive.data, writes.data)
        m.d.comb += [
            rx.packet_sent.eq(writes.packet_sent),
            rx.frames_behind.eq(receive.behind), rx.hurry.eq(~receive.pairs_settled),
            receive.enable.eq(device.live),
            receive.mtu.eq(device.mtu_shown),
            receive.active_pairs.eq(control.active_pairs),
            receive.engine_idle.eq(rx.idle),
            control.pairs_settled.eq(receive.pairs_settled),
            receive.sent.eq(transmit.flow),
            receive.checksum.eq(control.guest_offloads[GUEST_OFFLOADS[Feature.GUEST_CSUM]]),
            receive.hashes.eq(device.features[Feature.RSS] | device.features[Feature.HASH_REPORT]),
            receive.long_header.eq(device.features[Feature.HASH_REPORT]),
            receive.scaling.eq(control.scaling), receive.table_write.eq(control.table_write),
            self.eth_tx_tdata.eq(transmit.eth_tx_tdata),
            self.eth_tx_tkeep.eq(transmit.eth_tx_tkeep),
            self.eth_tx_tvalid.eq(transmit.eth_tx_tvalid),
            self.eth_tx_tlast.eq(transmit.eth_tx_tlast),
            transmit.eth_tx_tready.eq(self.eth_tx_tready),
            receive.eth_rx_tdata.eq(self.eth_rx_tdata),
            receive.eth_rx_tkeep.eq(self.eth_rx_tkeep),
            receive.eth_rx_tvalid.eq(self.eth_rx_tvalid),
            receive.eth_rx_tlast.eq(self.eth_rx_tlast),
            receive.eth_rx_tuser.eq(self.eth_rx_tuser),
            self.eth_rx_tready.eq(receive.eth_rx_tready),
        ]

    def _connect_offloads(self, m, device, tx, transmit, control):
        negotiated = {"csum": Feature.CSUM, "tso4": Feature.HOST_TSO4, "tso6": Feature.HOST_TSO6,
                      "ecn": Feature.HOST_ECN, "uso": Feature.HOST_USO}
        m.d.comb += [transmit.features[name].eq(device.features[bit]) for name, bit in negotiated.items()]
        m.d.comb += [
            control.features.segmentation.eq(transmit.features.segments()),
            tx.shortest.eq(transmit.shortest), tx.longest.eq(transmit.longest),
            transmit.long_header.eq(device.features[Feature.HASH_REPORT]),
        ]

    def _connect_verdicts(self, m, rx, receive):
        m.d.comb += [
            rx.frames.valid.eq(receive.frames.valid),
            receive.frames.ready.eq(rx.frames.ready),
            rx.frames.p.queue.eq(receive.frames.p.queue),
            rx.frames.p.length.eq(receive.frames.p.length),
            rx.frames.p.unwanted.eq(receive.frames.p.unwanted),
            receive.verdicts.valid.eq(rx.verdicts.valid),
            rx.verdicts.ready.eq(receive.verdicts.ready),
            receive.verdicts.p.accept.eq(rx.verdicts.p.accept),
            receive.verdicts.p.buffers.eq(rx.verdicts.p.buffers),
            receive.verdicts.p.queue.eq(rx.verdicts.p.queue),
            rx.header_bytes.eq(Mux(receive.long_header, LONG_HEADER_BYTES, HEADER_BYTES)),
        ]

    def _connect_interrupts(self, m, device, completer, interrupts, msix, rx, tx, control):
        connect_stream(m, rx.interrupts, interrupts.rx)
        connect_stream(m, tx.interrupts, interrupts.tx)
        connect_stream(m, control.interrupts, interrupts.control)
        connect_stream(m, interrupts.requests, msix.requests)
        m.d.comb += [
            interrupts.config_change.eq(device.config_changed),
            interrupts.config_vector.eq(device.config_vector),
            interrupts.live.eq(device.live),
            interrupts.notify_config.eq(device.driver_ok),
            device.queue_interrupt.eq(interrupts.isr_queue),
            completer.isr_pending.eq(device.isr_pending),
            msix.enable.eq(completer.msix_enable),
            msix.function_mask.eq(completer.msix_function_mask),
        ]
        for block in (interrupts, rx, tx, control):
            m.d.comb += block.msix_enable.eq(completer.msix_enable)

    def _connect_life(self, m, device, completer, rx, tx, reads, writes, mux, transmit, receive, msix, interrupts,
                      control, statistics):
        quiesce, clear = device.quiesce, device.clear
        m.d.comb += [
            device.error.eq(rx.error | tx.error | control.error),
            device.flr.eq(completer.flr),
            completer.flr_busy.eq(device.flr_busy),
            self.idle.eq(Cat(~statistics.clearing, *(block.idle for block in (
                rx, tx, reads, writes, mux, transmit, receive, msix, interrupts, control))).all()),
            device.all_idle.eq(self.idle),
            reads.discard.eq(quiesce), writes.discard.eq(quiesce), mux.discard.eq(quiesce),
            receive.flush.eq(quiesce), transmit.discard.eq(quiesce), interrupts.quiesce.eq(quiesce),
            # A read without an answer keeps its tag over a reset of the device: the answer may still come.
            reads.clear.eq(clear & device.flr_busy),
            transmit.clear.eq(clear), receive.clear.eq(clear), msix.clear.eq(clear), statistics.clear.eq(clear),
            msix.reset_table.eq(completer.flr),
        ]
        negotiated = {"notification_data": Feature.NOTIFICATION_DATA, "event_index": Feature.EVENT_IDX,
                      "in_order": Feature.IN_ORDER, "indirect": Feature.INDIRECT_DESC, "mergeable": Feature.MRG_RXBUF}
        for engine, features in ((rx, rx.features), (tx, tx.features), (control, control.ring_features)):
            m.d.comb += [features[name].eq(device.features[bit]) for name, bit in negotiated.items()]
            m.d.comb += [engine.live.eq(device.live), engine.quiesce.eq(quiesce), engine.clear.eq(clear)]

    def _connect_statistics(self, m, statistics, control):
        m.d.comb += [statistics.query.eq(control.query), control.value.eq(statistics.value)]

    def _tap(self, m, reads, msix):
        """What passes the card's ports and its datapaths, for timing views; the engines tell of their own."""
        for name, port in (("cq", self.cq), ("cc", self.cc), ("rq", self.rq), ("rc", self.rc)):
            header = port.p.header
            tap(m, name, port.valid & port.ready & port.p.first, dw0=header[:32], dw1=header[32:64],
                low=header[64:96])
        bytes_there = reads.o_data_tx
        context = DataContext()(bytes_there.p.context)
        tap(m, "tx.data", bytes_there.valid & bytes_there.ready & bytes_there.p.last, queue=bytes_there.p.queue,
            id=context.id, last=context.packet_last, status=bytes_there.p.status)
        tap_frame(m, "tx.wire", self.eth_tx_tvalid, self.eth_tx_tready, self.eth_tx_tlast)
        tap_frame(m, "rx.wire", self.eth_rx_tvalid, self.eth_rx_tready, self.eth_rx_tlast)
        tap(m, "msix", msix.o.valid & msix.o.ready & msix.o.p.first)
