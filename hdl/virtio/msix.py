"""MSI-X table and pending bit array.

Source: PCI Express Base Specification, Revision 4.0, section 7.7.2 (MSI-X capability and table structures).
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.pcie.bar import BarLayout
from hdl.pcie.spec import MemoryRequest, TlpType
from hdl.regs.bus import RegisterBus, RegisterRequest
from hdl.stream import TlpBeat

from .msix_pending import PendingBits

__all__ = ["MsixEntry", "MsixTable"]


class MsixEntry(data.Struct):
    """A table entry, 16 bytes."""
    address: 64
    data: 32
    control: data.StructLayout({"mask": 1, "reserved": 31})


class MsixTable(wiring.Component):
    """Turns interrupt requests into messages, or into pending bits while they are masked.

    A request whose vector is masked, by its own mask bit, the function mask, or MSI-X being disabled, sets the vector's
    pending bit; any number of them make one message. When a mask may have been lifted, the pending vectors are
    searched, and each that is not masked any more is sent and its bit reset. While MSI-X is disabled pending bits are
    kept: a message too many does no harm, one too few stops a queue. A request for a vector that the table does not
    have is dropped.

    Requests, accesses of the bus and the search are done one at a time, 2 cycles each; that is why no message is lost
    or doubled when a mask changes. Accesses go first and never wait for `o`; requests and found vectors take turns.
    `requests` to `o`: 2 cycles. `o` is final: a message offered is not taken back by a mask or by `clear`.

    All vectors are masked after reset and after `reset_table`, which takes a cycle per vector; accesses wait meanwhile.
    Reserved bits, address bits 1:0 among them, read 0.

    Parameters
    ----------
    config : NicConfig
        takes width, vectors
    pba_offset : int
        where the pending bits start on the bus; by default the distance of the two in BAR 0

    Attributes
    ----------
    table_bus : In(RegisterBus())
        the table at 0, the pending bits (read only) at `pba_offset`; elsewhere reads 0, writes are ignored
    enable, function_mask : In(1)
        of Message Control
    requests : stream of {vector} in
    o : TLP stream out
        posted memory writes of one DW, with requester and tag 0
    accepted : In(1)
        pulse: the next message has its place in the posted order
    clear : In(1)
        pulse: all pending bits to 0 (virtio reset); the table stays
    reset_table : In(1)
        pulse: as `clear`, and all vectors masked, address and data 0 (function level reset)
    idle : Out(1)
        no request, message, search or initialisation under way; a message up to when it is accepted
    """

    def __init__(self, config, pba_offset=None):
        layout = BarLayout.of(config)
        self.width = config.width
        self.vectors = config.vectors
        self.pba_offset = layout.msix_pba - layout.msix_table if pba_offset is None else pba_offset
        if self.pba_offset % 8 or self.pba_offset < 16 * self.vectors:
            raise ValueError(f"the pending bits can't start at {self.pba_offset!r}, with {self.vectors!r} vectors")
        self.vector_bits = (self.vectors - 1).bit_length()
        super().__init__({
            "table_bus": In(RegisterBus()),
            "enable": In(1),
            "function_mask": In(1),
            "requests": In(stream.Signature(data.StructLayout({"vector": 11}))),
            "o": Out(stream.Signature(TlpBeat(self.width))),
            "accepted": In(1),
            "clear": In(1),
            "reset_table": In(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.pending = self._pending = pending = PendingBits(self.vectors)
        m.submodules.table = table = Memory(shape=unsigned(128), depth=self.vectors, init=[])
        self._read, self._write = table.read_port(), table.write_port(granularity=8)
        self._blocked = blocked = Signal()
        was_blocked = Signal(init=1)
        self._control_written = Signal()    # perhaps a vector is unmasked
        m.d.comb += [
            blocked.eq(~self.enable | self.function_mask),
            pending.search.eq((was_blocked & ~blocked) | self._control_written),
        ]
        m.d.sync += was_blocked.eq(blocked)
        sending = self._sequence(m)
        initialising = self._initialise(m)
        # A message is taken when the one before is in the stages up to `rq`: four at most.
        under_way = Signal(3)
        m.d.sync += under_way.eq(under_way + (self.o.valid & self.o.ready) - self.accepted)
        m.d.comb += [
            self._stop.eq(initialising),
            self.idle.eq(~initialising & ~self.requests.valid & ~sending & ~self.o.valid & ~pending.searching
                         & (under_way == 0)),
        ]
        return m

    def _sequence(self, m):
        """One thing at a time: chosen in one cycle, while the table is read, and done in the next."""
        bus, response = self.table_bus.request, self.table_bus.response
        found = self._pending.found
        self._stop = Signal()
        self._access = Signal(RegisterRequest)
        self._vector = Signal(11)
        self._was_found = Signal()
        found_next = Signal()       # found vectors go before requests
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(response.ready):
            m.d.sync += response.valid.eq(0)
        with m.FSM() as sequence:
            with m.State("CHOOSE"):
                can_send = ~self._stop & (~self.o.valid | self.o.ready)
                m.d.comb += [
                    bus.ready.eq(~self._stop & bus.valid & (bus.payload.write | ~response.valid)),
                    found.ready.eq(can_send & ~bus.ready & found.valid & (found_next | ~self.requests.valid)),
                    self.requests.ready.eq(can_send & ~bus.ready & ~found.ready),
                    self._read.addr.eq(Mux(bus.ready, bus.payload.address[4:], Mux(
                        found.ready, found.payload.vector, self.requests.payload.vector))),
                ]
                m.d.sync += [
                    self._access.eq(bus.payload),
                    self._vector.eq(Mux(found.ready, found.payload.vector, self.requests.payload.vector)),
                    self._was_found.eq(found.ready),
                ]
                with m.If(bus.ready):
                    m.next = "ACCESS"
                with m.Elif(found.ready | (self.requests.valid & self.requests.ready)):
                    m.d.sync += found_next.eq(~found.ready)
                    m.next = "SEND"
            with m.State("ACCESS"):
                self._do_access(m)
                m.next = "CHOOSE"
            with m.State("SEND"):
                self._do_send(m)
                m.next = "CHOOSE"
        return sequence.ongoing("SEND")

    def _do_access(self, m):
        access, response = self._access, self.table_bus.response
        in_table = access.address < 16 * self.vectors
        in_pending = (access.address >= self.pba_offset) & (access.address < self.pba_offset + 4 * self._pending.words)
        number = access.address[2:4]
        is_address, is_control = number == 0, number == 3
        # Address bits 1:0 and all of Vector Control but the mask bit are reserved.
        keep = Mux(is_control, 0x0000_0001, Mux(is_address, 0xffff_fffc, 0xffff_ffff))
        row = self._read.data
        m.d.comb += [
            self._pending.word_index.eq((access.address - self.pba_offset)[2:]),
            self._write.addr.eq(access.address[4:]),
            self._write.data.eq((access.data & keep).replicate(4)),
            self._write.en.eq(Mux(access.write & in_table, access.strobe << (number << 2), 0)),
            self._control_written.eq(access.write & in_table & is_control),
        ]
        m.d.sync += response.payload.eq(
            Mux(in_table, (row >> (number << 5))[:32], Mux(in_pending, self._pending.word, 0)))
        with m.If(~access.write):
            m.d.sync += response.valid.eq(1)

    def _do_send(self, m):
        pending, beat = self._pending, self.o.payload
        entry = MsixEntry(self._read.data)
        exists = (self._vector < self.vectors) & (pending.pending | ~self._was_found)
        masked = self._blocked | entry.control.mask
        header = Signal(MemoryRequest())
        four_dw, high, low = MemoryRequest.place_address(entry.address)
        m.d.comb += [
            pending.vector.eq(self._vector),
            pending.set.eq(exists & masked),
            pending.reset.eq(exists & ~masked),
            header.type.eq(TlpType.MEMORY.value),
            header.with_data.eq(1),
            header.four_dw.eq(four_dw),
            header.length.eq(1),
            header.first_be.eq(0xf),
            header.high.eq(high),
            header.low.eq(low),
        ]
        with m.If(exists & ~masked):
            m.d.sync += [
                self.o.valid.eq(1), beat.first.eq(1), beat.last.eq(1), beat.header.eq(header),
                beat.data.eq(entry.data), beat.keep.eq(1),
            ]

    def _initialise(self, m):
        """Table and pending bits after reset and by request; returns whether that is under way or asked for."""
        walking = Signal(init=1)
        row = Signal(range(self.vectors))
        m.d.comb += self._pending.cancel.eq(self.clear | self.reset_table)
        with m.If(walking):
            # Nothing else writes meanwhile.
            m.d.comb += [
                self._write.addr.eq(row),
                self._write.data.eq(MsixEntry.const({"control": {"mask": 1}}).as_bits()),
                self._write.en.eq(~0),
            ]
            m.d.sync += row.eq(row + 1)
            with m.If(row == self.vectors - 1):
                m.d.sync += [walking.eq(0), row.eq(0)]
        with m.If(self.reset_table):
            m.d.sync += [walking.eq(1), row.eq(0)]
        return walking | self._pending.cancelling | self.clear | self.reset_table
