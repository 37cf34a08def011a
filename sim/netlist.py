"""Counts and path lengths of a technology-mapped netlist, as Yosys writes it in JSON.

A path runs from a register, memory or port to the same. Each LUT on it counts 1, each carry block a quarter, wide-mux
cells nothing; a carry block never ends a path. It is told by the nets along it that still have a name of the source.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Report", "analyse"]


_LUT = re.compile(r"LUT[1-6](_2)?$|INV$")
_FREE = re.compile(r"MUXF[789]$|BUFG?$|IBUF$|OBUF$|VCC$|GND$|BUFGCE$")
_CARRY = re.compile(r"CARRY[48]$")
_REGISTER = re.compile(r"FD[RSCP]E(_1)?$")
_LATCH = re.compile(r"LD[CP]E$|\$_?DLATCH")
_LUTRAM = re.compile(r"RAM(32|64|128|256|512)[XM].*$|SRL")
_BRAM = re.compile(r"RAMB(18|36)")
_URAM = re.compile(r"URAM288")
_DSP = re.compile(r"DSP")


@dataclass
class Report:
    """Resources and longest path of one block. `unmapped` lists cells of no known kind: an error."""

    luts: int = 0
    lutrams: int = 0
    registers: int = 0
    latches: int = 0
    bram36: float = 0
    uram: int = 0
    dsps: int = 0
    levels: float = 0
    path: list = field(default_factory=list)
    unmapped: list = field(default_factory=list)


def _lutram_luts(kind):
    """LUTs that a distributed-RAM primitive occupies in UltraScale+ (UG574)."""
    match = re.match(r"RAM(\d+)([XM]).*?(\d*)([SD]?)", kind)
    depth = int(match.group(1)) if match else 1
    if kind.startswith("SRL"):
        return 1
    if "M" in kind[3:]:
        return {"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8}.get(kind, 4)
    ports = 2 if kind.endswith("D") else 1
    return max(1, depth // 64) * ports


def analyse(netlist, top):
    """`Report` of module `top` (flattened) of a Yosys JSON netlist. Raises `ValueError` at a combinational loop."""
    module = netlist["modules"][top]
    report = Report()
    logic = {}      # combinational cell → _Logic
    ends = []       # (bits that name it, bits) of what paths end in
    for name, cell in module["cells"].items():
        kind = cell["type"]
        if kind.startswith("$scopeinfo"):
            continue
        ins, outs = (_bits(cell, direction) for direction in ("input", "output"))
        if _count(report, kind, name):
            logic[name] = _Logic(_weight(kind), ins, outs)
        else:
            ends.append((outs, ins))
    for port in module["ports"].values():
        if port["direction"] == "output":
            bits = [bit for bit in port["bits"] if isinstance(bit, int)]
            ends.append((bits, bits))
    report.levels, nets = _longest(logic, ends)
    names = _net_names(module)
    report.path = list(dict.fromkeys(names[bit] for bit in nets if bit in names))
    return report


class _Logic(NamedTuple):
    """A cell that paths go through."""
    weight: float
    inputs: list
    outputs: list


def _bits(cell, direction):
    """Nets at a cell's ports of one direction; constants are left out."""
    return [bit for port, bits in cell["connections"].items() if cell["port_directions"][port] == direction
            for bit in bits if isinstance(bit, int)]


def _net_names(module):
    """{net: its name in the source}, of those that have one; the shortest, since it lies nearest to the top."""
    names = {}
    for name, net in sorted(module.get("netnames", {}).items(), key=lambda item: (len(item[0]), item[0])):
        if "$" not in name and not net.get("hide_name"):
            for index, bit in enumerate(net["bits"]):
                names.setdefault(bit, f"{name}[{index}]" if len(net["bits"]) > 1 else name)
    return names


def _count(report, kind, name):
    """Count a cell; returns whether paths go through it."""
    if _LUT.match(kind):
        report.luts += kind != "INV"
        return True
    if _FREE.match(kind) or _CARRY.match(kind):
        return True
    if _REGISTER.match(kind):
        report.registers += 1
    elif _LATCH.match(kind):
        report.latches += 1
    elif _LUTRAM.match(kind):
        report.lutrams += _lutram_luts(kind)
    elif match := _BRAM.match(kind):
        report.bram36 += 0.5 if match.group(1) == "18" else 1
    elif _URAM.match(kind):
        report.uram += 1
    elif _DSP.match(kind):
        report.dsps += 1
    else:
        report.unmapped.append(f"{kind} {name}")
    return False


def _weight(kind):
    return 1 if _LUT.match(kind) and kind != "INV" else 0.25 if _CARRY.match(kind) else 0


def _longest(logic, ends):
    """Longest path to any end: (levels, nets along it)."""
    driver = {bit: name for name, cell in logic.items() for bit in cell.outputs}
    levels, via = {}, {}        # cell → levels up to its output, the net that they come by

    def level_at(bit):
        return levels[driver[bit]] if bit in driver else 0

    def visit(start):
        stack = [(start, iter(logic[start].inputs))]
        levels[start] = None          # being visited
        while stack:
            cell, bits = stack[-1]
            for bit in bits:
                source = driver.get(bit)
                if source is None:
                    continue
                if source not in levels:
                    levels[source] = None
                    stack.append((source, iter(logic[source].inputs)))
                    break
                if levels[source] is None:
                    raise ValueError(f"combinational loop through {source}")
            else:
                stack.pop()
                via[cell] = max(logic[cell].inputs, key=level_at, default=None)
                levels[cell] = (level_at(via[cell]) if via[cell] is not None else 0) + logic[cell].weight

    for cell in logic:
        if cell not in levels:
            visit(cell)
    worst, last, target = 0, None, []
    for names, bits in ends:
        for bit in bits:
            if level_at(bit) > worst:
                worst, last, target = level_at(bit), bit, names
    path = [*target[:1]]
    while last is not None:
        path.append(last)
        last = via[driver[last]] if last in driver else None
    return worst, path[::-1]
