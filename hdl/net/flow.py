"""Which flow a frame belongs to, and which queue pair last sent that flow."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..virtqueue.initialise import InitialiseWalk
from .spec import PacketHeaders

__all__ = ["FlowHash", "FlowTable", "HASH_BITS", "SentFlow", "fold_pair"]


HASH_BITS = 16
# CRC-32C (RFC 3720, section 12.1), bits reflected.
POLYNOMIAL = 0x82f63b78
# Each 32-bit word of an address pair is turned so far to the left before the words are added up.
TURNS = (0, 5, 11, 19)


def _crc(value, bits):
    """CRC of the low `bits` of a number, lowest first, from 0: a linear function."""
    remainder = 0
    for n in range(bits):
        odd = (remainder ^ value >> n) & 1
        remainder = remainder >> 1 ^ (POLYNOMIAL if odd else 0)
    return remainder


def fold_pair(one, other):
    """64 bits of a pair of addresses of up to 128 bits, the same when the two are exchanged: words of the bits that
    differ, added up, and words of the bits that both have set."""
    def fold(address):
        words = [address[at:at + 32].rotate_left(turn) for at, turn in zip(range(0, 128, 32), TURNS)]
        return words[0] ^ words[1] ^ words[2] ^ words[3]
    one, other = Cat(one, C(0, 128 - len(one))), Cat(other, C(0, 128 - len(other)))
    return Cat(fold(one ^ other), fold(one & other))


class FlowHash(wiring.Component):
    """Hash of a flow, the same in both directions; no registers.

    Of each pair of fields (addresses, ports) it takes the bits that differ and the bits that are both set, which don't
    change when the two are exchanged; the addresses come folded already. These and the protocol go through a CRC. A
    fragment counts without ports and protocol, so that all fragments of a packet have one hash. A frame without IP is
    known by its MAC addresses.

    Attributes
    ----------
    headers : In(PacketHeaders)
    hash : Out(HASH_BITS)
    """

    headers: In(PacketHeaders)
    hash: Out(HASH_BITS)

    def elaborate(self, platform):
        m = Module()
        headers = self.headers
        fields = Cat(headers.endpoints, headers.source_port ^ headers.destination_port,
                     headers.source_port & headers.destination_port, Mux(headers.fragment, 0, headers.protocol))
        # Kept as it is: synthesis makes deeper logic of the sums of sums.
        key = Signal(len(fields), attrs={"keep": 1})
        m.d.comb += key.eq(fields)
        effects = [_crc(1 << n, len(key)) for n in range(len(key))]
        m.d.comb += self.hash.eq(Cat(Cat(key[n] for n, effect in enumerate(effects) if effect >> bit & 1).xor()
                                     for bit in range(HASH_BITS)))
        return m


class SentFlow(data.StructLayout):
    """Pulse that tells of a frame sent. Fields: `valid`; `hash` of its flow; `queue` local index it came from."""

    def __init__(self, pair_bits):
        super().__init__({"valid": 1, "hash": HASH_BITS, "queue": pair_bits})


class FlowTable(wiring.Component):
    """Remembers for each flow, known by the low bits of its hash, from which queue it was sent last.

    Flows that share an entry overwrite each other's. After reset and `clear` the table empties itself, an entry a
    cycle.

    Parameters
    ----------
    entries : int
        a power of 2
    pair_bits : int
        bits of a queue's local index

    Attributes
    ----------
    sent : In(SentFlow(pair_bits))
        written down; not while `clearing`
    hash : In(HASH_BITS)
        flow that is looked up
    known : Out(1); queue : Out(pair_bits)
        a cycle later: there is an entry, and what it says; nothing is known while `clearing`
    clear : In(1); clearing : Out(1)
    """

    def __init__(self, entries, pair_bits):
        if not 2 <= entries <= 1 << HASH_BITS or entries & (entries - 1):
            raise ValueError(f"a flow table has a power of 2 of entries, 2 to {1 << HASH_BITS}, not {entries!r}")
        self.entries = entries
        self.pair_bits = pair_bits
        super().__init__({
            "sent": In(SentFlow(pair_bits)), "hash": In(HASH_BITS),
            "known": Out(1), "queue": Out(pair_bits),
            "clear": In(1), "clearing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        entry = data.StructLayout({"known": 1, "queue": self.pair_bits})
        bits = (self.entries - 1).bit_length()
        m.submodules.walk = walk = InitialiseWalk(self.entries, bits)
        m.submodules.memory = table = Memory(shape=entry, depth=self.entries, init=[])
        read, write = table.read_port(), table.write_port()
        m.d.comb += [
            walk.clear.eq(self.clear), self.clearing.eq(walk.walking),
            read.addr.eq(self.hash[:bits]),
            self.known.eq(read.data.known & ~walk.walking), self.queue.eq(read.data.queue),
            write.en.eq(walk.walking | self.sent.valid),
            write.addr.eq(Mux(walk.walking, walk.queue, self.sent.hash[:bits])),
            write.data.known.eq(~walk.walking), write.data.queue.eq(self.sent.queue),
        ]
        return m
