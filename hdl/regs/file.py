"""A register map as hardware."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .bus import RegisterBus
from .map import Access

__all__ = ["RegisterFile"]


class RegisterFile(wiring.Component):
    """Registers of one map behind a register bus.

    A read is answered in the next cycle at the earliest; a write takes effect at the end of its cycle. Offsets without
    a field read 0 and ignore writes; address bits above the map's size are ignored.

    Parameters
    ----------
    map : RegisterMap

    Attributes
    ----------
    bus : In(RegisterBus())
    clear : In(1)
        returns every RW and W1C field that is not sticky to its reset value; wins over a write
    per field `name` of width w
        R: `name` In(w). RW: `name` Out(w), `name_written` Out(1), high in the cycle after a write of any of its bytes.
        W1C: `name` Out(w), `name_set` In(w), which wins over clearing.
        EXTERNAL: `name` In(w); `name_data` Out(w), `name_strobe` Out(byte lanes touched), in the cycle of the write;
        `name_read` Out(1), in the cycle in which the field is read with any of its bytes enabled.
    """

    def __init__(self, map):
        self.map = map
        ports = {"bus": In(RegisterBus()), "clear": In(1)}
        for field in map.fields:
            ports.update(self._ports_of(field))
        super().__init__(ports)

    @staticmethod
    def _ports_of(field):
        name, width = field.name, field.width
        return {
            Access.CONSTANT: {},
            Access.R: {name: In(width)},
            Access.RW: {name: Out(width, init=field.reset), f"{name}_written": Out(1)},
            Access.W1C: {name: Out(width, init=field.reset), f"{name}_set": In(width)},
            Access.EXTERNAL: {name: In(width), f"{name}_data": Out(width), f"{name}_strobe": Out(len(field.lanes)),
                              f"{name}_read": Out(1)},
        }[field.access]

    def elaborate(self, platform):
        m = Module()
        request = self.bus.request
        dwords = self.map.dwords()
        index = request.p.address[2:max(3, (self.map.size - 1).bit_length())]
        taken = Signal()
        answer = Signal(32)
        m.d.comb += [
            request.ready.eq(~self.bus.response.valid | self.bus.response.ready),
            taken.eq(request.valid & request.ready),
        ]
        with m.If(self.bus.response.ready):
            m.d.sync += self.bus.response.valid.eq(0)
        with m.If(taken & ~request.p.write):
            m.d.sync += [self.bus.response.payload.eq(answer), self.bus.response.valid.eq(1)]
        self._answer(m, index, dwords, answer)
        for number, fields in dwords.items():
            for field in fields:
                selected = Signal(name=f"{field.name}_selected")
                m.d.comb += selected.eq(taken & (index == number))
                self._connect(m, field, selected)
        return m

    def _answer(self, m, index, dwords, answer):
        """What is read, chosen in two steps: fewer levels than one among all."""
        low = min(2, len(index))
        rows = {number >> low: Signal(32, name=f"row{number >> low}") for number in dwords}
        for row, of_row in rows.items():
            with m.Switch(index[:low]):
                for place in range(1 << low):
                    with m.Case(place):
                        for field in dwords.get(row << low | place, ()):
                            m.d.comb += of_row[field.lsb:field.lsb + field.width].eq(self._value(field))
        with m.Switch(index[low:]):
            for row, of_row in rows.items():
                with m.Case(row):
                    m.d.comb += answer.eq(of_row)

    def _value(self, field):
        return C(field.reset, field.width) if field.access is Access.CONSTANT else getattr(self, field.name)

    def _connect(self, m, field, selected):
        request = self.bus.request.p
        written = request.data[field.lsb:field.lsb + field.width]
        # One bit per bit of the field: its byte is enabled
        enabled = Cat(request.strobe[bit // 8] for bit in range(field.lsb, field.lsb + field.width))
        lanes = request.strobe[field.lanes.start:field.lanes.stop]
        write = selected & request.write
        if field.access is Access.RW:
            value = getattr(self, field.name)
            m.d.sync += getattr(self, f"{field.name}_written").eq(write & lanes.any())
            with m.If(write):
                m.d.sync += value.eq((value & ~enabled) | (written & enabled))
            self._clear(m, field)
        elif field.access is Access.W1C:
            value, set_ = getattr(self, field.name), getattr(self, f"{field.name}_set")
            m.d.sync += value.eq((value & ~Mux(write, written & enabled, 0)) | set_)
            self._clear(m, field)
        elif field.access is Access.EXTERNAL:
            m.d.comb += [
                getattr(self, f"{field.name}_data").eq(written),
                getattr(self, f"{field.name}_strobe").eq(Mux(write, lanes, 0)),
                getattr(self, f"{field.name}_read").eq(selected & ~request.write & lanes.any()),
            ]

    def _clear(self, m, field):
        if not field.sticky:
            with m.If(self.clear):
                m.d.sync += getattr(self, field.name).eq(field.reset)
