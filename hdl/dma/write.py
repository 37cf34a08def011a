"""The write engine: packets scattered to host memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import PacketBeat, Queue, TlpBeat, connect_stream
from .spec import WriteCommand
from .write_align import WriteAlign
from .write_plan import WritePlan
from .write_split import WriteSplit

__all__ = ["WriteEngine"]


# TLPs built but not yet accepted: the stages up to `rq` and the way back of `accepted`, doubled.
RECORDED_TLPS = 16


class WriteEngine(wiring.Component):
    """Writes packets to host memory: each piece (`WriteCommand`) takes the next bytes of the packet.

    One TLP beat a cycle as long as commands and bytes are there: an aligned packet leaves in as many beats as it came
    in. From the transfer of a command to the first beat of its TLP: 5 cycles, if the bytes are there. A packet's last
    command ends with the packet's last byte; the engine does not check it.

    While `discard` is 1, commands and bytes are taken and thrown away; a TLP that has begun is finished. Discarded
    packets are reported by `packet_sent` in their turn, so that who counts them gets to an end. Hold `discard` until
    nothing more comes and `idle` is 1.

    Parameters
    ----------
    width : int
        bits per beat
    pair_bits : int
        bits of a queue's local index

    Attributes
    ----------
    commands : In(stream(WriteCommand(pair_bits)))
    data : In(stream(PacketBeat(width)))
    o : Out(stream(TlpBeat(width)))
        memory write requests; requester id and tag are 0
    max_payload : In(3)
        Max_Payload_Size code, constant while anything is inside
    relaxed_ordering_enable : In(1)
        Relaxed Ordering attribute of every TLP
    accepted : In(1)
        pulse per TLP of this source that the `RequestMux` has passed on, in order
    packet_sent : Out(1)
        pulse, in the cycle of `accepted`, when that was the last TLP of a packet
    discard : In(1)
    idle : Out(1)
        nothing inside, and every TLP accepted
    """

    def __init__(self, width, pair_bits):
        self.width = width
        self.pair_bits = pair_bits
        super().__init__({
            "commands": In(stream.Signature(WriteCommand(pair_bits))),
            "data": In(stream.Signature(PacketBeat(width))),
            "o": Out(stream.Signature(TlpBeat(width))),
            "max_payload": In(3), "relaxed_ordering_enable": In(1),
            "accepted": In(1), "packet_sent": Out(1),
            "discard": In(1), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.split = split = WriteSplit(self.pair_bits)
        m.submodules.plan = plan = WritePlan(self.width)
        m.submodules.align = align = WriteAlign(self.width)
        # Which TLPs under way end a packet, and which requests were discarded (`void`: no TLP will be accepted).
        m.submodules.record = record = Queue(data.StructLayout({"last": 1, "void": 1}), RECORDED_TLPS)

        wiring.connect(m, wiring.flipped(self.commands), split.commands)
        wiring.connect(m, wiring.flipped(self.data), align.data)
        connect_stream(m, split.requests, plan.requests)
        connect_stream(m, plan.plans, align.plans)
        wiring.connect(m, align.o, wiring.flipped(self.o))
        m.d.comb += [
            split.max_payload.eq(self.max_payload),
            align.relaxed_ordering.eq(self.relaxed_ordering_enable),
            align.discard.eq(self.discard),
            plan.restart.eq(self.discard),
            align.hold.eq(~record.i.ready),
            record.i.valid.eq(align.taken),
            record.i.payload.last.eq(align.taken_last),
            record.i.payload.void.eq(align.taken_void),
            record.o.ready.eq(record.o.payload.void | self.accepted),
            self.packet_sent.eq(record.o.valid & record.o.ready & record.o.payload.last),
            self.idle.eq(split.idle & plan.idle & align.idle & ~record.o.valid),
        ]
        return m
