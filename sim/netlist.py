"""Counts and path lengths of a technology-mapped netlist, as Yosys writes it in JSON.

A path runs from a register, memory or port to the same. Each LUT on it counts 1, each carry block a quarter, wide-mux
cells nothing; a carry block never ends a path.
"""

import re
from dataclasses import dataclass, field

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
    """`Report` of module `top` (flattened) of a Yosys JSON netlist."""
    module = netlist["modules"][top]
    report = Report()
    driver = {}     # net bit → (cell name)
    inputs = {}     # combinational cell → input bits
    ends = []       # (name, bits) of what paths end in
    kinds = {}
    for name, cell in module["cells"].items():
        kind = cell["type"]
        if kind.startswith("$scopeinfo"):
            continue
        directions = cell["port_directions"]
        ins = [bit for port, bits in cell["connections"].items() if directions[port] == "input" for bit in bits
               if isinstance(bit, int)]
        outs = [bit for port, bits in cell["connections"].items() if directions[port] == "output" for bit in bits]
        combinational = _count(report, kind, name)
        if combinational:
            kinds[name] = kind
            inputs[name] = ins
            driver.update((bit, name) for bit in outs if isinstance(bit, int))
        else:
            ends.append((name, ins))
    for name, port in module["ports"].items():
        if port["direction"] == "output":
            ends.append((f"port {name}", [bit for bit in port["bits"] if isinstance(bit, int)]))
    report.levels, report.path = _longest(driver, inputs, kinds, ends)
    return report


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


def _longest(driver, inputs, kinds, ends):
    """Longest path to any end: (levels, names of the cells along it)."""
    level, via = {}, {}

    def visit(start):
        stack = [(start, iter(inputs[start]))]
        level[start] = None          # being visited
        while stack:
            cell, bits = stack[-1]
            for bit in bits:
                source = driver.get(bit)
                if source is None:
                    continue
                if source not in level:
                    level[source] = None
                    stack.append((source, iter(inputs[source])))
                    break
                if level[source] is None:
                    raise ValueError(f"combinational loop through {source}")
            else:
                stack.pop()
                best = max((driver[bit] for bit in inputs[cell] if bit in driver), key=lambda c: level[c],
                           default=None)
                via[cell] = best
                level[cell] = (level[best] if best else 0) + _weight(kinds[cell])

    worst, last, end_name = 0, None, ""
    for name, bits in ends:
        for bit in bits:
            cell = driver.get(bit)
            if cell is None:
                continue
            if cell not in level:
                visit(cell)
            if level[cell] > worst:
                worst, last, end_name = level[cell], cell, name
    path = [end_name] if last else []
    while last:
        path.append(last)
        last = via[last]
    return worst, path[::-1]
