"""The hash of each received frame, and receive side scaling by it.

Source: VIRTIO 1.4, sections "Hash calculation for incoming packets" and "Receive-side scaling (RSS)".
"""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..config import TABLE_ENTRIES
from .hash_spec import HashType, ScalingSettings, TableWrite
from .spec import FrameHash, PacketHeaders
from .toeplitz import INPUT_BITS, Toeplitz, first_bit_first

__all__ = ["Scaling"]


# From a frame's headers to its hash, and to its queue by the indirection table.
HASH_LATENCY, QUEUE_LATENCY = 3, 4


class Scaling(wiring.Component):
    """Stands between `Steer` and `FrameOffer`, and lets through what comes while not `enabled`, in the same cycle.

    While `enabled`, which is constant while frames are inside, queues come 3 cycles later, each with its frame's hash;
    with `settings.scaling` the queue is that of the indirection table, or the unclassified one of a frame without a
    hash.

    Which fields are hashed: of the enabled types that fit a packet the first of TCP, UDP, IP; for IPv6 with extension
    headers first among the _EX types, with the addresses of the home address option and of routing header type 2 in
    place of the header's, then among the others. A fragment has no ports.

    Parameters
    ----------
    pair_bits : int

    Attributes
    ----------
    valid : In(1); headers : In(PacketHeaders)
        pulse per frame
    chosen : In(1); queue : In(pair_bits)
        of `Steer`, a cycle after `valid`
    enabled : In(1)
        VIRTIO_NET_F_RSS or VIRTIO_NET_F_HASH_REPORT is negotiated
    settings : In(ScalingSettings(pair_bits)); table_write : In(TableWrite(pair_bits))
    o_chosen : Out(1); o_queue : Out(pair_bits); hash : Out(FrameHash)
        pulse per frame; without a hash both fields are 0
    """

    def __init__(self, pair_bits):
        self.pair_bits = pair_bits
        super().__init__({
            "valid": In(1), "headers": In(PacketHeaders), "chosen": In(1), "queue": In(pair_bits), "enabled": In(1),
            "settings": In(ScalingSettings(pair_bits)), "table_write": In(TableWrite(pair_bits)),
            "o_chosen": Out(1), "o_queue": Out(pair_bits), "hash": Out(FrameHash),
        })

    def elaborate(self, platform):
        m = Module()
        settings = self.settings
        m.submodules.toeplitz = toeplitz = Toeplitz()
        m.submodules.table = table = Memory(shape=self.pair_bits, depth=2 * TABLE_ENTRIES, init=[])
        read, write = table.read_port(), table.write_port()
        report, selected = Signal(4), Signal(INPUT_BITS)
        self._select(m, report, selected)
        kept = Signal.like(selected, reset_less=True)
        reports = [report]
        for n in range(QUEUE_LATENCY):
            reports.append(Signal(4, name=f"report{n + 1}", reset_less=True))
            m.d.sync += reports[n + 1].eq(reports[n])
        m.d.sync += [kept.eq(selected), self.hash.value.eq(Mux(reports[HASH_LATENCY] != 0, toeplitz.hash, 0))]
        m.d.comb += [
            toeplitz.input.eq(kept), toeplitz.key.eq(settings.key),
            read.addr.eq(Cat(toeplitz.hash[:len(settings.mask)] & settings.mask, settings.bank)),
            write.en.eq(self.table_write.valid), write.data.eq(self.table_write.queue),
            write.addr.eq(Cat(self.table_write.entry, self.table_write.bank)),
            self.hash.report.eq(reports[QUEUE_LATENCY]),
        ]

        steered = data.StructLayout({"chosen": 1, "queue": self.pair_bits})
        delayed = [Signal(steered, name=f"steered{n}") for n in range(QUEUE_LATENCY)]
        m.d.comb += [delayed[0].chosen.eq(self.chosen & self.enabled), delayed[0].queue.eq(self.queue)]
        m.d.sync += [after.eq(before) for before, after in zip(delayed, delayed[1:])]
        found = Mux(reports[QUEUE_LATENCY] != 0, read.data, settings.unclassified)
        m.d.comb += [
            self.o_chosen.eq(Mux(self.enabled, delayed[-1].chosen, self.chosen)),
            self.o_queue.eq(Mux(self.enabled, Mux(settings.scaling, found, delayed[-1].queue), self.queue)),
        ]
        return m

    def _select(self, m, report, selected):
        """Which type the hash has, as hash_report says it, and which fields go in."""
        headers, types = self.headers, self.settings.types

        def fits(tcp, udp, ip):
            return headers.tcp & types[tcp], headers.udp & types[udp], types[ip]

        def choose(fitting, tcp, udp, ip):
            m.d.comb += [report.eq(Mux(fitting[0], tcp + 1, Mux(fitting[1], udp + 1, ip + 1))),
                         has_ports.eq(fitting[0] | fitting[1])]
        of_ipv4 = HashType.TCPV4, HashType.UDPV4, HashType.IPV4
        of_ipv6 = HashType.TCPV6, HashType.UDPV6, HashType.IPV6
        of_extended = HashType.TCP_EX, HashType.UDP_EX, HashType.IP_EX
        has_ports, extended = Signal(), Signal()
        with m.If(headers.ipv4 & Cat(fits(*of_ipv4)).any()):
            choose(fits(*of_ipv4), *of_ipv4)
        with m.Elif(headers.ipv6 & headers.extended & Cat(fits(*of_extended)).any()):
            m.d.comb += extended.eq(1)
            choose(fits(*of_extended), *of_extended)
        with m.Elif(headers.ipv6 & Cat(fits(*of_ipv6)).any()):
            choose(fits(*of_ipv6), *of_ipv6)

        ports = Mux(has_ports, Cat(headers.source_port[::-1], headers.destination_port[::-1]), 0)
        ends4 = Cat(first_bit_first(end[:32]) for end in (headers.source, headers.destination))
        ends6 = Cat(first_bit_first(Mux(extended, moved, end)) for moved, end in (
            (headers.final_source, headers.source), (headers.final_destination, headers.destination)))
        m.d.comb += selected.eq(Mux(headers.ipv4, Cat(ends4, ports), Cat(ends6, ports)))
