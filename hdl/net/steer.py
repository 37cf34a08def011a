"""Which receive queue a frame goes to."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .arithmetic import add_up
from .flow import HASH_BITS, FlowHash, FlowTable, SentFlow
from .spec import PacketHeaders

__all__ = ["Steer"]


class Steer(wiring.Component):
    """Automatic receive steering: a frame goes to the queue of the pair that last sent its flow.

    (VIRTIO 1.4, "Automatic receive steering in multiqueue mode".) A flow that nobody sent, or whose pair isn't active
    any more, goes to hash * `active_pairs` / 2**16, which spreads flows evenly over the active pairs. Latency 1 cycle;
    a frame a cycle. Receive side scaling takes its place here.

    Parameters
    ----------
    pairs, pair_bits : int
    entries : int
        of the flow table

    Attributes
    ----------
    valid : In(1); headers : In(PacketHeaders)
        pulse per frame
    sent : In(SentFlow(pair_bits))
        a frame was sent
    active_pairs : In(range(pairs + 1))
        pairs in use, at least 1
    chosen : Out(1); queue : Out(pair_bits)
        a cycle after `valid`: the frame's queue
    clear : In(1)
        forget all flows
    clearing : Out(1)
        still at it
    """

    def __init__(self, pairs, pair_bits, entries):
        self.pair_bits = pair_bits
        self.entries = entries
        super().__init__({
            "valid": In(1), "headers": In(PacketHeaders), "sent": In(SentFlow(pair_bits)),
            "active_pairs": In(range(pairs + 1)),
            "chosen": Out(1), "queue": Out(pair_bits),
            "clear": In(1), "clearing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.flow = flow = FlowHash()
        m.submodules.table = table = FlowTable(self.entries, self.pair_bits)
        m.d.comb += [
            flow.headers.eq(self.headers),
            table.hash.eq(flow.hash), table.sent.eq(self.sent), table.clear.eq(self.clear),
            self.clearing.eq(table.clearing),
        ]
        # The product as a sum of shifted terms, the first pairs of which are added up before the register: a multiplier
        # block would take longer than the cycle.
        terms = [Mux(bit, flow.hash << n, 0) for n, bit in enumerate(self.active_pairs)]
        sums = [Signal(HASH_BITS + len(terms), name=f"sum{n}", reset_less=True) for n in range(0, len(terms), 2)]
        m.d.sync += self.chosen.eq(self.valid)
        m.d.sync += [total.eq(sum(terms[2 * n:2 * n + 2], C(0))) for n, total in enumerate(sums)]
        spread = Signal(HASH_BITS + len(self.active_pairs))
        m.d.comb += [
            spread.eq(add_up(m, sums, "product")),
            self.queue.eq(Mux(table.known & (table.queue < self.active_pairs), table.queue, spread[HASH_BITS:])),
        ]
        return m
