"""Commands that configure hashes and receive side scaling.

Source: VIRTIO 1.4, sections "Setting RSS parameters" (struct virtio_net_rss_config) and "Hash calculation" of automatic
receive steering (struct virtio_net_hash_config).
"""

from amaranth import *
from amaranth.lib import enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..config import HASH_TYPES, KEY_BYTES, TABLE_ENTRIES
from ..virtqueue.initialise import InitialiseWalk
from .control_spec import MultiqueueCommand, QueueEnable
from .hash_spec import ScalingSettings, TableWrite
from .toeplitz import first_bit_first

__all__ = ["ScalingCommands"]


# A hash configuration has so many reserved bytes where the other has a mask, a queue, one entry and max_tx_vq.
RESERVED_BYTES = 8


class _Field(enum.Enum, shape=4):
    """What the next byte belongs to."""
    TYPES = 0
    MASK = 1
    UNCLASSIFIED = 2
    TABLE = 3
    TRANSMIT = 4
    RESERVED = 5
    KEY_LENGTH = 6
    KEY = 7
    END = 8


class ScalingCommands(wiring.Component):
    """Takes RSS_CONFIG and HASH_CONFIG apart byte by byte; what was brought is in force after `apply`, not before.

    A configuration is right if all hash types are known; if indirection_table_mask is one less than a power of 2, up to
    `TABLE_ENTRIES`; if the table and unclassified_queue name receive queues that are enabled, and max_tx_vq is 1 to
    `pairs`; and if it has as many bytes as it says, with a key of at most `KEY_BYTES`. A shorter key goes on with
    zeros. Table entries go into the bank that isn't in use. Reserved bytes are ignored. After reset and `clear` no hash
    type is enabled and nothing is scaled; a walk of a cycle per pair.

    Parameters
    ----------
    pairs, pair_bits : int

    Attributes
    ----------
    begin : In(1); command : In(8); bytes : stream of 8 bits in; enough : Out(1)
        of `HandlerPort`
    right : Out(1)
        the bytes that have come are a configuration, and a right one; of use 2 cycles after the last of them
    apply : In(1)
        pulse, while `right`
    scale : In(1)
        with `apply`: receive side scaling decides from now on, with the table that came
    steer : In(1)
        pulse: automatic steering decides from now on
    enable : In(QueueEnable(pair_bits))
    clear : In(1)
        pulse
    settings : Out(ScalingSettings(pair_bits)); table_write : Out(TableWrite(pair_bits))
    idle : Out(1)
        no walk after a reset
    """

    def __init__(self, pairs, pair_bits):
        self.pairs = pairs
        self.pair_bits = pair_bits
        super().__init__({
            "begin": In(1), "command": In(8), "bytes": In(stream.Signature(8, always_ready=True)), "enough": Out(1),
            "right": Out(1), "apply": In(1), "scale": In(1), "steer": In(1),
            "enable": In(QueueEnable(pair_bits)), "clear": In(1),
            "settings": Out(ScalingSettings(pair_bits)), "table_write": Out(TableWrite(pair_bits)), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        brought = Signal(ScalingSettings(self.pair_bits))
        key = Signal(8 * KEY_BYTES)
        wrong, ended = Signal(), Signal()
        queue, is_named = Signal(16), Signal()      # it is judged in the cycle after its second byte
        is_enabled = self._follow(m, queue)
        self._parse(m, brought, key, queue, is_named, wrong, ended)
        with m.If(is_named & ((queue >= self.pairs) | ~is_enabled)):
            m.d.sync += wrong.eq(1)
        with m.If(self.begin):
            m.d.sync += [wrong.eq(0), key.eq(0), is_named.eq(0)]
        m.d.comb += [self.enough.eq(wrong), self.right.eq(ended & ~wrong)]

        settings = self.settings
        with m.If(self.apply):
            m.d.sync += [settings.types.eq(brought.types), settings.key.eq(first_bit_first(key))]
            with m.If(self.scale):
                m.d.sync += [settings.scaling.eq(1), settings.bank.eq(~settings.bank), settings.mask.eq(brought.mask),
                             settings.unclassified.eq(brought.unclassified)]
        with m.If(self.steer):
            m.d.sync += settings.scaling.eq(0)
        with m.If(self.clear):
            m.d.sync += [settings.types.eq(0), settings.scaling.eq(0), settings.key.eq(0)]
        return m

    def _follow(self, m, queue):
        """Notes which receive queues are enabled; returns whether `queue` is."""
        enable = self.enable
        m.submodules.walk = walk = InitialiseWalk(1 << self.pair_bits, self.pair_bits)
        m.submodules.enabled = enabled = Memory(shape=1, depth=1 << self.pair_bits, init=[])
        write, read = enabled.write_port(), enabled.read_port(domain="comb")
        m.d.comb += [
            walk.clear.eq(self.clear), self.idle.eq(~walk.walking & ~self.clear),
            write.addr.eq(Mux(walk.walking, walk.queue, enable.queue)), write.data.eq(enable.enabled & ~walk.walking),
            write.en.eq(walk.walking | (enable.valid & ~enable.transmit)),
            read.addr.eq(queue),
        ]
        return read.data

    def _parse(self, m, brought, key, queue, is_named, wrong, ended):
        """Field by field, the second byte of a number of 16 bits deciding about it."""
        byte, table = self.bytes.payload, self.table_write
        field, count = Signal(_Field), Signal(range(2 * TABLE_ENTRIES))     # bytes of the field before this one
        types, left = Signal(32), Signal(range(KEY_BYTES + 1))
        all_types, number = Signal(32), Signal(16)
        second = count[0]
        m.d.comb += [all_types.eq(Cat(types[8:], byte)), number.eq(Cat(types[24:], byte)),
                     ended.eq(field == _Field.END),
                     table.bank.eq(~self.settings.bank), table.queue.eq(queue)]
        m.d.sync += [table.valid.eq(0), is_named.eq(0)]

        def go_on(following, when=1):
            with m.If(when):
                m.d.sync += [field.eq(following), count.eq(0)]
        with m.If(self.bytes.valid):
            m.d.sync += [types.eq(all_types), count.eq(count + 1)]
            with m.Switch(field):
                with m.Case(_Field.TYPES):
                    with m.If(count == 3):
                        m.d.sync += [brought.types.eq(all_types), wrong.eq(all_types[HASH_TYPES:].any())]
                    is_hash = self.command == MultiqueueCommand.HASH_CONFIG
                    go_on(Mux(is_hash, _Field.RESERVED, _Field.MASK), count == 3)
                with m.Case(_Field.RESERVED):
                    go_on(_Field.KEY_LENGTH, count == RESERVED_BYTES - 1)
                with m.Case(_Field.MASK):
                    with m.If(second):
                        m.d.sync += brought.mask.eq(number)
                        with m.If((number >= TABLE_ENTRIES) | (number & (number + 1)).any()):
                            m.d.sync += wrong.eq(1)
                    go_on(_Field.UNCLASSIFIED, second)
                with m.Case(_Field.UNCLASSIFIED, _Field.TABLE):
                    m.d.sync += [queue.eq(number), is_named.eq(second), table.entry.eq(count[1:])]
                    with m.If(field == _Field.UNCLASSIFIED):
                        m.d.sync += brought.unclassified.eq(number)
                        go_on(_Field.TABLE, second)
                    with m.Else():
                        m.d.sync += table.valid.eq(second)
                        go_on(_Field.TRANSMIT, second & (count[1:] == brought.mask))
                with m.Case(_Field.TRANSMIT):
                    with m.If(second & ((number == 0) | (number > self.pairs))):
                        m.d.sync += wrong.eq(1)
                    go_on(_Field.KEY_LENGTH, second)
                with m.Case(_Field.KEY_LENGTH):
                    m.d.sync += left.eq(byte)
                    with m.If(byte > KEY_BYTES):
                        m.d.sync += wrong.eq(1)
                    go_on(Mux(byte == 0, _Field.END, _Field.KEY))
                with m.Case(_Field.KEY):
                    m.d.sync += key.word_select(count[:(KEY_BYTES - 1).bit_length()], 8).eq(byte)
                    go_on(_Field.END, count + 1 == left)
                with m.Case(_Field.END):
                    m.d.sync += wrong.eq(1)
        with m.If(self.begin):
            m.d.sync += [field.eq(_Field.TYPES), count.eq(0)]
