"""The control queue's way to host memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..dma.spec import Client, ReadBeat, ReadCommand, ReadStatus
from ..pcie.spec import MemoryRequest, TlpType
from ..stream import TlpBeat

__all__ = ["ControlMemory", "MemoryRead", "MemoryWrite"]


class MemoryRead(data.Struct):
    """Pulse: read `length` bytes, 1 to 16, from `address` on."""
    valid: 1
    address: 64
    length: 5


class MemoryWrite(data.Struct):
    """Pulse: write one DW, of it the bytes with `enables`, or with `two` both DWs of `data` whole. Address bits 1:0 do
    not count."""
    valid: 1
    address: 64
    data: 64
    two: 1
    enables: 4


class ControlMemory(wiring.Component):
    """One read of up to 16 bytes and one write of up to 8 at a time.

    Reads are one transaction each, of client CONTROL and queue 0: a single beat, which is always taken, so that nobody
    ever waits for this client. `answered` comes 1 cycle after the beat; `read` to `reads` and `write` to `o` take
    1 cycle.

    Parameters
    ----------
    width, pair_bits : int

    Attributes
    ----------
    read : In(MemoryRead)
        only while not `reading`
    reading : Out(1)
    answered : Out(1)
        pulse: the read is over
    failed : Out(1)
        with `answered` and until the next read: it brought nothing
    data : Out(128)
        what it brought, first byte lowest, up to the next read
    shift : In(1)
        move `data` on by a byte
    write : In(MemoryWrite)
        only while not `writing`
    writing : Out(1)
        up to when the write has its place in the posted order
    reads : stream of ReadCommand out; beats : stream of ReadBeat in; room : Out(1), always 1
    o : stream of TlpBeat out; accepted : In(1)
        pulse: the write has its place
    """

    def __init__(self, width, pair_bits):
        super().__init__({
            "read": In(MemoryRead), "reading": Out(1), "answered": Out(1), "failed": Out(1), "data": Out(128),
            "shift": In(1), "write": In(MemoryWrite), "writing": Out(1),
            "reads": Out(stream.Signature(ReadCommand(pair_bits))),
            "beats": In(stream.Signature(ReadBeat(width, pair_bits))), "room": Out(1),
            "o": Out(stream.Signature(TlpBeat(width))), "accepted": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        self._read(m)
        self._write(m)
        return m

    def _read(self, m):
        command, beat = self.reads.payload, self.beats.payload
        m.d.comb += [self.room.eq(1), self.beats.ready.eq(1)]
        m.d.sync += self.answered.eq(self.beats.valid)
        with m.If(self.reads.ready):
            m.d.sync += self.reads.valid.eq(0)
        with m.If(self.read.valid):
            m.d.sync += [
                self.reads.valid.eq(1), self.reading.eq(1),
                command.client.eq(Client.CONTROL), command.address.eq(self.read.address),
                command.length.eq(self.read.length), command.last.eq(1),
            ]
        with m.If(self.beats.valid):
            m.d.sync += [self.reading.eq(0), self.data.eq(beat.data), self.failed.eq(beat.status != ReadStatus.OK)]
        with m.Elif(self.shift):
            m.d.sync += self.data.eq(self.data >> 8)

    def _write(self, m):
        header = Signal(MemoryRequest())
        four_dw, high, low = MemoryRequest.place_address(Cat(C(0, 2), self.write.address[2:]))
        m.d.comb += [
            header.type.eq(TlpType.MEMORY.value), header.with_data.eq(1), header.length.eq(1 + self.write.two),
            header.four_dw.eq(four_dw), header.high.eq(high), header.low.eq(low),
            header.first_be.eq(Mux(self.write.two, 0xf, self.write.enables)),
            header.last_be.eq(Mux(self.write.two, 0xf, 0)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.accepted):
            m.d.sync += self.writing.eq(0)
        with m.If(self.write.valid):
            m.d.sync += [
                self.o.valid.eq(1), self.writing.eq(1),
                self.o.payload.first.eq(1), self.o.payload.last.eq(1), self.o.payload.header.eq(header.as_value()),
                self.o.payload.data.eq(self.write.data), self.o.payload.keep.eq(Cat(C(1, 1), self.write.two)),
            ]
