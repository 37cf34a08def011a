"""Counts and paths of a netlist made by hand."""

import pytest

from sim.netlist import analyse


def cell(kind, inputs, outputs):
    ports = {f"I{n}": bit for n, bit in enumerate(inputs)} | {f"O{n}": bit for n, bit in enumerate(outputs)}
    return {"type": kind, "connections": {port: [bit] for port, bit in ports.items()},
            "port_directions": {port: "input" if port[0] == "I" else "output" for port in ports}}


def netlist(cells, inputs=(), outputs=(), names=None):
    ports = {f"in{bit}": {"direction": "input", "bits": [bit]} for bit in inputs}
    ports |= {f"out{bit}": {"direction": "output", "bits": [bit]} for bit in outputs}
    return {"modules": {"block": {
        "ports": ports, "cells": {f"c{n}": cell(*what) for n, what in enumerate(cells)},
        "netnames": {name: {"bits": bits} for name, bits in (names or {}).items()}}}}


def report(*arguments, **more):
    return analyse(netlist(*arguments, **more), "block")


def test_counts():
    r = report([("LUT6", [1], [2]), ("LUT2", [2], [3]), ("FDRE", [3], [4]), ("FDSE", [3], [5]), ("LDCE", [3], [6]),
                ("RAMB36E2", [3], [7]), ("RAMB18E2", [3], [8]), ("URAM288", [3], [9]), ("DSP48E2", [3], [10]),
                ("RAM32M", [3], [11]), ("RAM64X1D", [3], [12]), ("INV", [3], [13]), ("$scopeinfo", [], [])], inputs=[1])
    assert (r.luts, r.registers, r.latches, r.bram36, r.uram, r.dsps) == (2, 2, 1, 1.5, 1, 1)
    assert r.lutrams == 4 + 2
    assert r.unmapped == []


def test_path_from_register_to_register_counts_luts_and_carries():
    r = report([("FDRE", [9], [1]), ("LUT6", [1, "0"], [2]), ("CARRY4", [2], [3]), ("CARRY8", [3], [4]),
                ("MUXF7", [4], [5]), ("LUT1", [5], [6]), ("FDRE", [6], [7])],
               names={"start": [1], "sum": [20, 3], "$auto$1": [4], "next": [7]})
    assert r.levels == 2.5
    assert r.path == ["start", "sum[1]", "next"]


def test_memories_and_ports_end_paths():
    chain = [("LUT6", [1], [2]), ("RAM32M", [2], [3]), ("LUT6", [3], [4]), ("LUT6", [4], [5]), ("RAMB36E2", [5], [6]),
             ("LUT6", [6], [7])]
    assert report(chain, inputs=[1], outputs=[7]).levels == 2
    assert report(chain[:1], inputs=[1], outputs=[2]).levels == 1


def test_the_longest_of_several_paths():
    r = report([("LUT6", [1], [2]), ("LUT6", [1, 2], [3]), ("LUT6", [1, 3, 2], [4]), ("LUT6", [1, 4], [5])],
               inputs=[1], outputs=[2, 5], names={"a": [2], "b": [3], "c": [4], "d": [5], "i": [1]})
    assert (r.levels, r.path) == (4, ["i", "a", "b", "c", "d"])


def test_a_block_of_wires():
    assert (report([], inputs=[1], outputs=[1]).levels, report([("FDRE", [1], [2])], inputs=[1]).levels) == (0, 0)


def test_loops_are_refused():
    with pytest.raises(ValueError, match="combinational loop through c[01]"):
        report([("LUT2", [2], [1]), ("LUT2", [1], [2])], outputs=[1])
    assert report([("LUT2", [2], [1]), ("FDRE", [1], [2])], outputs=[1]).levels == 1


def test_unmapped_cells_are_listed():
    assert report([("$add", [1], [2]), ("LUT1", [2], [3])], outputs=[3]).unmapped == ["$add c0"]
