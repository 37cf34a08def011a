"""Event taps: what happens between the blocks, for timing views of a simulation.

A tap is declared beside the logic it watches and is nothing but names for signals that are there anyway. Only while
`collecting` is a declaration kept, and only the simulation-only shell collects: the Verilog for synthesis has none.
"""

from contextlib import contextmanager
from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data

__all__ = ["MOST_BITS", "Tap", "collecting", "tap", "tap_frame"]

# Bits of a tap's fields together.
MOST_BITS = 96

_collected = None


@dataclass(frozen=True, eq=False)
class Tap:
    """One kind of event.

    Fields: `name` dotted, the block or engine first; `layout` what is told of an event; `valid` it happens in this
    cycle; `payload` its fields.
    """
    name: str
    layout: data.StructLayout
    valid: Signal
    payload: Signal

    def describe(self):
        """Plain data for the manifest: `fields` are (name, lowest bit, bits)."""
        return {"name": self.name, "fields": [[name, field.offset, field.width] for name, field in self.layout]}


@contextmanager
def collecting():
    """Yields the list to which all taps declared meanwhile are added."""
    global _collected
    if _collected is not None:
        raise RuntimeError("taps are being collected already")
    _collected = []
    try:
        yield _collected
    finally:
        _collected = None


def tap(m, name, valid, **fields):
    """Tell of an event `name` in each cycle in which `valid` is 1, with the values of `fields`.

    Raises `ValueError` for a name that is taken, and for fields of more than `MOST_BITS` bits together.
    """
    if _collected is None:
        return
    if any(other.name == name for other in _collected):
        raise ValueError(f"there is a tap {name!r} already")
    values = {field: Value.cast(value) for field, value in fields.items()}
    layout = data.StructLayout({field: unsigned(len(value)) for field, value in values.items()})
    if layout.size > MOST_BITS:
        raise ValueError(f"tap {name!r} has {layout.size} bits, more than {MOST_BITS}")
    label = name.replace(".", "_")
    found = Tap(name, layout, Signal(name=f"tap_{label}_valid"), Signal(max(1, layout.size), name=f"tap_{label}"))
    m.d.comb += [found.valid.eq(valid), found.payload.eq(Cat(values.values()))]
    _collected.append(found)


def tap_frame(m, name, valid, ready, last):
    """`name` with field `last` at the first and at the last beat of each frame of a stream without `first`; in a frame
    of one beat `first` and `last` are both 1."""
    if _collected is None:
        return
    inside = Signal(name=f"tap_{name.replace('.', '_')}_inside")
    moves = valid & ready
    with m.If(moves):
        m.d.sync += inside.eq(~last)
    tap(m, name, moves & (~inside | last), first=~inside, last=last)
