"""From the wire to the write engine."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat, Queue
from ..virtqueue.spec import Pulse
from .checksum_judge import ChecksumJudge
from .filter import FilterPort, ReceiveFilter
from .flow import SentFlow
from .frame_buffer import FrameBuffer
from .hash_spec import ScalingSettings, TableWrite
from .header import HeaderInsert, ReceiveHeader
from .ingest import DROP_CAUSES, Ingest
from .offer import FrameInfo, FrameOffer
from .packet_sum import PacketSum
from .parse import HeaderParser
from .results import ResultQueue
from .scaling import QUEUE_LATENCY, Scaling
from .spec import HEADER_BYTES, LONG_HEADER_BYTES, ChecksumVerdict, FrameHash
from .statistics import GROUPS, QueueEvent
from .steer import Steer

__all__ = ["Receive", "Verdict"]


# Verdicts that may be given ahead of the frames' bytes.
VERDICTS = 8


class Verdict(data.StructLayout):
    """What the queue engine says of a frame: `accept`, there are `buffers` for it in `queue`; else it is dropped."""

    def __init__(self, pair_bits):
        super().__init__({"accept": 1, "buffers": 16, "queue": pair_bits})


class Receive(wiring.Component):
    """Frames from the wire: judged, stored, offered to the queue of their flow, and given out behind their header.

    Frames are offered in order of arrival as soon as they are complete, well ahead of the verdicts; the verdicts, in
    the same order, may be given ahead of the bytes. From the last beat on the wire to `frames`: 3 cycles, or 6 after
    the frame's 128th byte or its last, whichever comes first, if that is later; from a verdict to the first beat of
    `data`: 2 cycles, if the verdict comes 3 cycles after its frame was offered or later. A packet leaves in consecutive
    cycles if taken so, and the next one right behind it: one of 60 bytes on the wire every 2 cycles at 512 bits. A
    rejected frame costs a cycle per beat.

    While `flush` is 1, arriving frames are dropped, frames inside are thrown away, the one offered included (the only
    time that `frames.valid` falls without a transfer), and verdicts are swallowed; a packet that `data` has begun is
    finished. Hold it until the engine has forgotten its frames and `idle` is 1.

    Parameters
    ----------
    config : NicConfig

    Attributes
    ----------
    eth_rx_tdata, eth_rx_tkeep, eth_rx_tvalid, eth_rx_tlast, eth_rx_tuser : In; eth_rx_tready : Out(1)
        AXI4-Stream; see `Ingest` for what is dropped and counted
    mtu : In(16)
        68 to 65535; more than config.max_mtu counts as config.max_mtu
    enable : In(1)
        the device is live; frames that begin while 0 are dropped
    active_pairs : In(range(pairs + 1))
        pairs in use, at least 1; frames are offered for queues below that; one offered already stays as it is
    reset, enabled : In(Pulse(pair_bits))
        a queue's reset begins, it has been enabled: frames meanwhile go to another one, if there is one
    engine_idle : In(1); pairs_settled : Out(1)
        who takes the frames has none under way; no such frame was offered before `active_pairs` changed: see
        `FrameOffer`
    sent : In(SentFlow(pair_bits))
        a frame was sent, see `Steer`
    by_address, by_vlan : In(1); mac : In(48); filter : In(FilterPort)
        see `ReceiveFilter`; unwanted frames are offered too, and marked
    checksum : In(1)
        VIRTIO_NET_F_GUEST_CSUM is negotiated, and on: see `ReceiveHeader`
    hashes : In(1)
        VIRTIO_NET_F_RSS or VIRTIO_NET_F_HASH_REPORT is negotiated, see `Scaling`; frames are offered 3 cycles later
    long_header : In(1)
        virtio_net_hdr has 20 bytes, the last of them the hash; else 12
    scaling : In(ScalingSettings(pair_bits)); table_write : In(TableWrite(pair_bits))
    frames : Out(stream(FrameInfo(pair_bits)))
    behind : Out(1)
        while `frames` is valid: another frame of its queue waits behind that one
    verdicts : In(stream(Verdict))
        one per frame taken from `frames`
    data : Out(stream(PacketBeat(width)))
        header and bytes of the accepted frames
    flush : In(1)
    idle : Out(1)
        no complete frame inside, and flows and filters forgotten after reset and `clear`
    clear : In(1)
        forget the flows, what the filters know, and the queues that are being reset
    missed : Out(QueueEvent)
        a frame that came while live for that queue was dropped here, see `FrameOffer`
    received, received_bytes : Out
        pulse: a frame was stored; its bytes
    csum_valid, csum_none, csum_bad : Out(1); csum_queue : Out(pair_bits)
        pulse: a frame was given out of which this is known (see `ChecksumJudge`), negotiated or not; its queue
    dropped_disabled, dropped_bad, dropped_runt, dropped_oversize, dropped_overflow : Out(1)
        pulses; frames rejected are counted by who rejects them
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "eth_rx_tdata": In(config.width), "eth_rx_tkeep": In(config.bytes_per_beat), "eth_rx_tvalid": In(1),
            "eth_rx_tready": Out(1), "eth_rx_tlast": In(1), "eth_rx_tuser": In(1),
            "mtu": In(16), "enable": In(1),
            "active_pairs": In(range(config.pairs + 1)), "engine_idle": In(1), "pairs_settled": Out(1),
            "reset": In(Pulse(config.pair_bits)), "enabled": In(Pulse(config.pair_bits)),
            "sent": In(SentFlow(config.pair_bits)),
            "by_address": In(1), "by_vlan": In(1), "mac": In(48), "filter": In(FilterPort()),
            "checksum": In(1), "hashes": In(1), "long_header": In(1),
            "scaling": In(ScalingSettings(config.pair_bits)), "table_write": In(TableWrite(config.pair_bits)),
            "frames": Out(stream.Signature(FrameInfo(config.pair_bits))), "behind": Out(1),
            "verdicts": In(stream.Signature(Verdict(config.pair_bits))),
            "data": Out(stream.Signature(PacketBeat(config.width))),
            "flush": In(1), "idle": Out(1), "clear": In(1),
            "missed": Out(QueueEvent(config.pair_bits, GROUPS["rx_lost"])),
            "received": Out(1), "received_bytes": Out(range(config.max_frame + 1)),
            "csum_valid": Out(1), "csum_none": Out(1), "csum_bad": Out(1), "csum_queue": Out(config.pair_bits),
            **{f"dropped_{cause}": Out(1) for cause in DROP_CAUSES},
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.ingest = ingest = Ingest(config.width, config.max_mtu)
        m.submodules.buffer = buffer = FrameBuffer(config.width, config.rx_buffer)
        for name in ("tdata", "tkeep", "tvalid", "tlast", "tuser"):
            m.d.comb += getattr(ingest, name).eq(getattr(self, f"eth_rx_{name}"))
        m.d.comb += [
            self.eth_rx_tready.eq(ingest.tready),
            ingest.mtu.eq(self.mtu), ingest.live.eq(self.enable), ingest.flush.eq(self.flush),
            ingest.full.eq(buffer.used == buffer.rows),
            buffer.write.eq(ingest.write), buffer.row.eq(ingest.row),
            buffer.commit.eq(ingest.commit), buffer.abort.eq(ingest.abort),
        ]
        m.submodules.parser = parser = HeaderParser(config.width)
        m.d.comb += [parser.beat.eq(ingest.row), parser.taken.eq(ingest.seen)]
        # Two more frames may stand in the buffer's output stages.
        depth = buffer.rows + 2
        steer, filter, offer = self._offer(m, ingest, parser, depth)
        results = self._judge(m, ingest, parser, depth)
        m.submodules.hashes_of_frames = hashes = ResultQueue(FrameHash, depth)
        m.d.comb += [hashes.valid.eq(offer.known), hashes.i.eq(offer.known_hash)]
        verdicts, insert = self._deliver(m, buffer, results, hashes)
        m.d.comb += self.idle.eq(buffer.empty & offer.idle & ~verdicts.o.valid & insert.idle & ~steer.clearing
                                 & ~filter.clearing)
        for cause in DROP_CAUSES:
            m.d.comb += getattr(self, f"dropped_{cause}").eq(getattr(ingest, f"dropped_{cause}"))
        m.d.sync += [self.received.eq(ingest.commit), self.received_bytes.eq(ingest.bytes)]
        return m

    def _judge(self, m, ingest, parser, depth):
        """What is found out of the frames that were kept. Every one has a result, so these come with the frames."""
        m.submodules.packet_sum = packet_sum = PacketSum(self.config.width, 1)
        m.submodules.checksum_judge = judge = ChecksumJudge()
        m.submodules.results = results = ResultQueue(data.StructLayout({"checksum": ChecksumVerdict}), depth)
        m.d.comb += [
            packet_sum.beat.eq(ingest.row), packet_sum.taken.eq(ingest.seen), packet_sum.context.eq(ingest.commit),
            judge.aligned.eq(parser.aligned), judge.end.eq(parser.end),
            judge.valid.eq(parser.valid), judge.headers.eq(parser.headers),
            judge.summed.eq(packet_sum.summed), judge.sum.eq(packet_sum.sum), judge.whole.eq(packet_sum.whole),
            results.valid.eq(packet_sum.summed & packet_sum.sum_context), results.i.checksum.eq(judge.verdict),
        ]
        return results

    def _offer(self, m, ingest, parser, depth):
        """Lengths and queues of the frames, ahead of their bytes. A frame takes a row at least, so there is room."""
        config = self.config
        m.submodules.steer = steer = Steer(config.pairs, config.pair_bits, config.flow_entries)
        m.submodules.filter = filter = ReceiveFilter()
        m.submodules.scaling = scaling = Scaling(config.pair_bits)
        m.submodules.offer = offer = FrameOffer(config.pairs, config.pair_bits, depth)
        wiring.connect(m, offer.frames, wiring.flipped(self.frames))
        wiring.connect(m, wiring.flipped(self.filter), filter.port)
        # The filter's word comes with the choice of `Steer`, and waits for that of `Scaling`.
        unwanted = [filter.unwanted]
        for n in range(1, QUEUE_LATENCY):
            unwanted.append(Signal(name=f"unwanted{n}"))
            m.d.sync += unwanted[n].eq(unwanted[n - 1])
        m.d.comb += [
            steer.valid.eq(parser.valid), steer.headers.eq(parser.headers),
            filter.headers.eq(parser.headers), filter.clear.eq(self.clear),
            filter.by_address.eq(self.by_address), filter.by_vlan.eq(self.by_vlan), filter.mac.eq(self.mac),
            steer.sent.eq(self.sent), steer.active_pairs.eq(self.active_pairs), steer.clear.eq(self.clear),
            offer.ended.eq(ingest.seen & ingest.row.last), offer.kept.eq(ingest.commit),
            offer.lost.eq(ingest.lost), self.missed.eq(offer.missed),
            offer.length.eq(ingest.bytes + Mux(self.long_header, LONG_HEADER_BYTES, HEADER_BYTES)),
            scaling.valid.eq(parser.valid), scaling.headers.eq(parser.headers),
            scaling.chosen.eq(steer.chosen), scaling.queue.eq(steer.queue),
            scaling.enabled.eq(self.hashes), scaling.settings.eq(self.scaling),
            scaling.table_write.eq(self.table_write),
            offer.chosen.eq(scaling.o_chosen), offer.queue.eq(scaling.o_queue), offer.hash.eq(scaling.hash),
            offer.unwanted.eq(Mux(self.hashes, unwanted[-1], filter.unwanted)),
            offer.fixed.eq(self.scaling.scaling),
            offer.active_pairs.eq(self.active_pairs),
            offer.engine_idle.eq(self.engine_idle), self.pairs_settled.eq(offer.settled),
            offer.reset.eq(self.reset), offer.enabled.eq(self.enabled), offer.clear.eq(self.clear),
            offer.flush.eq(self.flush), self.behind.eq(offer.behind),
        ]
        return steer, filter, offer

    def _deliver(self, m, buffer, results, hashes):
        """Rows of the head frame by its verdict: behind a header to `data`, or nowhere."""
        m.submodules.verdicts = verdicts = Queue(Verdict(self.config.pair_bits), VERDICTS)
        m.submodules.header = header = ReceiveHeader()
        m.submodules.insert = insert = HeaderInsert(self.config.width)
        wiring.connect(m, wiring.flipped(self.verdicts), verdicts.i)
        wiring.connect(m, insert.o, wiring.flipped(self.data))

        row, accept = buffer.o.payload, verdicts.o.payload.accept
        result = results.o.payload
        drain = self.flush & ~insert.begun
        found = results.o.valid & hashes.o.valid      # what was found out of the row's frame
        known = buffer.o.valid & found
        ends = known & buffer.o.ready & row.last
        m.d.comb += [
            header.checksum.eq(self.checksum), header.verdict.eq(result.checksum),
            header.hash.eq(hashes.o.payload), header.buffers.eq(verdicts.o.payload.buffers),
            insert.header.eq(header.header), insert.long_header.eq(self.long_header),
            insert.i.payload.eq(row),
            insert.i.valid.eq(known & verdicts.o.valid & accept & ~drain),
            buffer.o.ready.eq(found & (drain | (verdicts.o.valid & (insert.i.ready | ~accept)))),
            verdicts.o.ready.eq(drain | ends), results.o.ready.eq(ends), hashes.o.ready.eq(ends),
        ]
        passed = ends & verdicts.o.valid & accept & ~drain
        m.d.sync += self.csum_queue.eq(verdicts.o.payload.queue)
        for name in ("valid", "none", "bad"):
            m.d.sync += getattr(self, f"csum_{name}").eq(passed & (result.checksum == ChecksumVerdict[name.upper()]))
        return verdicts, insert
