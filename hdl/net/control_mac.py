"""Which addresses are received: commands of class MAC.

Source: VIRTIO 1.4, section "Control Virtqueue / Setting MAC Address Filtering".
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from .control_fields import AckReply
from .control_spec import ControlFeatures, HandlerPort, MacCommand

__all__ = ["Addresses", "LISTED", "MacChange"]


# Addresses of each of the two tables that are told apart.
LISTED = 64


class MacChange(data.Struct):
    """Pulse: the card's address is another one. Fields: `valid`; `mac` first byte lowest."""
    valid: 1
    mac: 48


class Addresses(wiring.Component):
    """TABLE_SET: le32 count and so many addresses, of unicast, then the same of multicast. ADDR_SET: one address.

    TABLE_SET needs VIRTIO_NET_F_CTRL_RX, ADDR_SET VIRTIO_NET_F_CTRL_MAC_ADDR. A command without its feature, of
    another number, or whose counts and bytes don't agree, is VIRTIO_NET_ERR and no change. Addresses are kept in a list
    until the command has come entirely; only then a table is built of them, 2 cycles each, and put in the place of the
    old one. Of more than `LISTED` addresses in one of the two halves none is kept, and all of that kind are received.

    Attributes
    ----------
    i : In(HandlerPort)
    features : In(ControlFeatures)
    clear : In(1)
        nothing is kept here
    begin, commit : Out(1); addresses : stream of 48 bits out; too_many : Out(2)
        of `FilterPort`
    change : Out(MacChange)
    """

    i: In(HandlerPort())
    features: In(ControlFeatures)
    clear: In(1)
    begin: Out(1)
    addresses: Out(stream.Signature(48))
    commit: Out(1)
    too_many: Out(2)
    change: Out(MacChange)

    def elaborate(self, platform):
        m = Module()
        m.submodules.ack = ack = AckReply()
        m.submodules.list = listed = Memory(shape=48, depth=2 * LISTED, init=[])
        connect(m, ack.reply, flipped(self.i.reply))
        self._half = Signal()                     # of the table, or of the list: unicast, multicast
        self._last = Signal(48)                   # bytes that came last
        self._whole, self._excess = Signal(), Signal()     # both halves have come; and more
        self._kept = Array([Signal(range(LISTED + 1), name=f"kept_{kind}") for kind in ("unicast", "multicast")])
        self._length = Signal(range(8))           # bytes that came, 7 for all above 6
        self._take(m, listed.write_port())
        sets_table, sets_mac = (self.i.command == command for command in (MacCommand.TABLE_SET, MacCommand.ADDR_SET))
        m.d.comb += [
            self.i.enough.eq(Mux(sets_table, self._excess, self._length == 7)),
            self.change.valid.eq(self.i.execute & sets_mac & self.features.mac_address & (self._length == 6)),
            self.change.mac.eq(self._last),
        ]
        right_table = sets_table & self.features.receive_modes & self._whole & ~self._excess
        self._build(m, listed.read_port(), right_table, ack)
        return m

    def _take(self, m, write):
        """The bytes of a command as they come."""
        byte, last = self.i.bytes, self._last
        counting, at = Signal(), Signal(range(6))         # a count comes, or an address; its byte
        number, left = Signal(range(LISTED + 1)), Signal(32)     # addresses of this half that came, that are to come
        now = Signal(48)
        ended = Signal()                                  # the half at hand
        m.d.comb += [
            now.eq(Cat(last[8:], byte.payload)),
            write.addr.eq(Cat(number[:6], self._half)), write.data.eq(now),
        ]
        with m.If(self.i.begin):
            m.d.sync += [counting.eq(1), at.eq(0), self._half.eq(0), self._whole.eq(0), self._excess.eq(0),
                         self._length.eq(0)]
        with m.Elif(byte.valid):
            m.d.sync += [last.eq(now), at.eq(at + 1), self._excess.eq(self._whole),
                         self._length.eq(self._length + (self._length != 7))]
            with m.If(~self._whole & counting & (at == 3)):
                entries = now[16:]
                many = entries > LISTED
                m.d.comb += ended.eq(entries == 0)
                m.d.sync += [
                    counting.eq(ended), at.eq(0), left.eq(entries), number.eq(0),
                    self._kept[self._half].eq(Mux(many, 0, entries)), self.too_many.bit_select(self._half, 1).eq(many),
                ]
            with m.Elif(~self._whole & ~counting & (at == 5)):
                m.d.comb += [ended.eq(left == 1), write.en.eq(number != LISTED)]
                m.d.sync += [counting.eq(ended), at.eq(0), left.eq(left - 1), number.eq(number + (number != LISTED))]
            with m.If(ended):
                m.d.sync += [self._half.eq(1), self._whole.eq(self._half)]

    def _build(self, m, read, right_table, ack):
        """A table of the list, then the reply."""
        half, number = Signal(), Signal(range(LISTED + 1))
        m.d.comb += [read.addr.eq(Cat(number[:6], half)), self.addresses.payload.eq(read.data)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [half.eq(0), number.eq(0)]
                with m.If(self.i.execute):
                    m.d.sync += ack.ok.eq(right_table | self.change.valid)
                    m.d.comb += self.begin.eq(right_table)
                    m.next = "REPLY"
                    with m.If(right_table):
                        m.next = "LOOK"
            with m.State("LOOK"):
                with m.If(number != self._kept[half]):
                    m.next = "GIVE"
                with m.Elif(~half):
                    m.d.sync += [half.eq(1), number.eq(0)]
                with m.Elif(self.addresses.ready):
                    m.d.comb += self.commit.eq(1)
                    m.next = "REPLY"
            with m.State("GIVE"):
                m.d.comb += self.addresses.valid.eq(1)
                with m.If(self.addresses.ready):
                    m.d.sync += number.eq(number + 1)
                    m.next = "LOOK"
            with m.State("REPLY"):
                m.d.comb += ack.give.eq(1)
                m.next = "IDLE"
