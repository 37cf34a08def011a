"""Register maps as data: one list of fields is the source of the RTL, the C header and the documentation."""

import enum
from dataclasses import dataclass, field

__all__ = ["Access", "Field", "RegisterMap"]


class Access(enum.Enum):
    """How a field behaves, and which ports a `RegisterFile` has for it."""

    CONSTANT = "constant"    # always reads its reset value
    R = "R"                  # reads an input
    RW = "RW"                # stored; the value is an output
    W1C = "W1C"              # stored; set by an input, cleared by writing 1 to the bit
    EXTERNAL = "external"    # somebody else keeps it: input to read, strobes and data of writes are outputs


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a register map.

    Parameters
    ----------
    name : str
    offset : int
        byte offset of the field's lowest byte
    width : int
        bits
    access : Access
    bit : int
        lowest bit, counted from `offset`
    reset : int
    sticky : bool
        keeps its value when the register file is cleared
    doc : str
        meaning, one line
    """

    name: str
    offset: int
    width: int
    access: Access
    bit: int = 0
    reset: int = 0
    sticky: bool = False
    doc: str = ""

    def __post_init__(self):
        if not 1 <= self.width <= 32:
            raise ValueError(f"field {self.name!r} is 1 to 32 bits wide, not {self.width!r}: split a longer one")
        if self.lsb + self.width > 32:
            raise ValueError(f"field {self.name!r} crosses the DW that it starts in")
        if not 0 <= self.reset < 1 << self.width:
            raise ValueError(f"reset value {self.reset!r} of field {self.name!r} does not fit in {self.width} bits")

    @property
    def dword(self):
        """Number of the DW that holds the field."""
        return self.offset // 4

    @property
    def lsb(self):
        """Lowest bit within that DW."""
        return self.offset % 4 * 8 + self.bit

    @property
    def lanes(self):
        """Byte lanes of the DW that the field touches."""
        return range(self.lsb // 8, (self.lsb + self.width - 1) // 8 + 1)


@dataclass(frozen=True)
class RegisterMap:
    """A named list of fields in `size` bytes. Raises `ValueError` when fields overlap or lie outside."""

    name: str
    size: int
    fields: list = field(default_factory=list)

    def __post_init__(self):
        taken = {}
        names = set()
        for item in self.fields:
            if item.name in names:
                raise ValueError(f"map {self.name!r} has two fields {item.name!r}")
            names.add(item.name)
            if item.offset + (item.bit + item.width + 7) // 8 > self.size:
                raise ValueError(f"field {item.name!r} lies outside the {self.size} bytes of map {self.name!r}")
            for bit in range(item.lsb, item.lsb + item.width):
                other = taken.setdefault((item.dword, bit), item.name)
                if other != item.name:
                    raise ValueError(f"fields {other!r} and {item.name!r} of map {self.name!r} overlap")

    def __getitem__(self, name):
        for item in self.fields:
            if item.name == name:
                return item
        raise KeyError(name)

    def dwords(self):
        """{DW number: [fields]}, ascending."""
        result = {}
        for item in sorted(self.fields, key=lambda f: (f.dword, f.lsb)):
            result.setdefault(item.dword, []).append(item)
        return result

    def describe(self):
        """Plain data for the manifest."""
        return [{"name": f.name, "offset": f.offset, "bit": f.bit, "width": f.width, "access": f.access.value,
                 "reset": f.reset, "description": f.doc} for f in self.fields]

    def c_header(self):
        """C preprocessor lines: an offset for every field, and a mask where it is not a whole number of bytes."""
        prefix = self.name.upper().replace(" ", "_")
        lines = [f"/* {self.name}: {self.size} bytes */"]
        for item in self.fields:
            name = f"{prefix}_{item.name.upper()}"
            lines.append(f"#define {name} {item.offset:#06x} /* {item.access.value}: {item.doc} */")
            if item.bit or item.width % 8:
                lines.append(f"#define {name}_MASK {((1 << item.width) - 1) << item.bit:#x}")
        return "\n".join(lines) + "\n"

    def markdown(self):
        """A table for the documentation."""
        lines = ["| offset | bits | field | access | reset | meaning |", "| --- | --- | --- | --- | --- | --- |"]
        for item in self.fields:
            bits = f"{item.bit + item.width - 1}:{item.bit}" if item.width > 1 else f"{item.bit}"
            lines.append(f"| {item.offset:#05x} | {bits} | {item.name} | {item.access.value} | {item.reset:#x} "
                         f"| {item.doc} |")
        return "\n".join(lines) + "\n"
