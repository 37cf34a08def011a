"""Records what the card's event taps tell, for sim/timeline.py."""

import ctypes

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from testbench.bfm.compiled import CompiledEnvironment
from testbench.bfm.stream_base import reader

__all__ = ["EVENT", "TapRecorder"]

# `number` is the tap's place in the manifest; `words` its fields, as one number of 96 bits.
EVENT = np.dtype([("cycle", "<u4"), ("number", "<u4"), ("words", "<u4", 3)])


class TapRecorder:
    """Notes each event from the clock's first edge on. The build must have taps.

    Parameters
    ----------
    bench : Bench
        not started

    Raises `AttributeError` for a tap of the manifest that the build doesn't have.
    """

    def __init__(self, bench):
        self._env = bench.env
        ports = [f"sim_tap_{tap['name'].replace('.', '_')}" for tap in bench.manifest["taps"]]
        self._compiled = isinstance(bench.env, CompiledEnvironment)
        if self._compiled:
            names = (ctypes.c_char_p * len(ports))(*(port.encode() for port in ports))
            missing = self._env.library.card_taps(bench.dut._name.encode(), names, len(ports))
            if missing:
                raise AttributeError(f"the card has no port {missing.decode()!r}")
        else:
            self._events = []
            self._valid = reader(bench.dut.sim_tap_valid)
            self._payloads = [reader(getattr(bench.dut, port)) for port in ports]

    def start(self):
        if not self._compiled:
            cocotb.start_soon(self._run(self._env.dut.clk))

    async def _run(self, clock):
        edge, cycle = RisingEdge(clock), -1
        while True:
            await edge
            cycle += 1
            bits = self._valid()
            if "1" not in bits:
                continue
            last = len(bits) - 1
            for number, payload in enumerate(self._payloads):
                if bits[last - number] == "1":
                    self._events.append((cycle, number, int(payload(), 2)))

    def events(self):
        """Array of `EVENT`, by cycle."""
        if self._compiled:
            library = self._env.library
            count = library.card_tap_count()
            if not count:
                return np.zeros(0, EVENT)
            content = ctypes.string_at(library.card_tap_events(), count * EVENT.itemsize)
            return np.frombuffer(content, EVENT)
        found = np.zeros(len(self._events), EVENT)
        for place, (cycle, number, value) in zip(found, self._events):
            place["cycle"], place["number"] = cycle, number
            place["words"] = np.frombuffer(value.to_bytes(12, "little"), "<u4")
        return found
