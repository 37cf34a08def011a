"""Records what passes the card's ports, for sim/reference.cpp to feed to the same RTL without a testbench."""

import struct
from pathlib import Path

import cocotb
from cocotb.triggers import RisingEdge

from testbench.bfm.stream_base import reader

__all__ = ["INPUTS", "OUTPUTS", "Recorder"]

_TLP = ("first", "last", "header", "keep", "data")
INPUTS = (
    "rst", "link_up", "cfg_mac", "cfg_mtu", "cfg_speed", "rq_ready", "cc_ready", "rq_np_ready", "eth_tx_tready",
    *(f"{stream}_{name}" for stream in ("cq", "rc") for name in ("valid", *_TLP)),
    *(f"eth_rx_t{name}" for name in ("valid", "data", "keep", "last", "user")))
# (valid, ready, the rest)
OUTPUTS = (
    *((f"{stream}_valid", f"{stream}_ready", tuple(f"{stream}_{name}" for name in _TLP)) for stream in ("rq", "cc")),
    ("eth_tx_tvalid", "eth_tx_tready", ("eth_tx_tlast", "eth_tx_tkeep", "eth_tx_tdata")))


def _words(bits):
    """A string of bits as 32-bit words, least significant first. What nobody has driven yet counts as 0."""
    count = -(-len(bits) // 32)
    known = bits.translate(_UNKNOWN_IS_0)
    return count, int(known, 2).to_bytes(4 * count, "little")


_UNKNOWN_IS_0 = str.maketrans("xXzZuU", "000000")


class Recorder:
    """From the clock's first edge on: every change of an input, and every beat that an output transferred.

    The file: the cycles at which the window begins and ends, the lengths in bytes of two lists, and the lists. An entry
    has the cycle, the number of the input or output, the number of words, and the words.
    """

    def __init__(self, dut):
        self._clock = dut.clk
        self._inputs = [reader(getattr(dut, name)) for name in INPUTS]
        self._outputs = [(reader(getattr(dut, valid)), reader(getattr(dut, ready)),
                          [reader(getattr(dut, name)) for name in rest]) for valid, ready, rest in OUTPUTS]
        self._last = [None] * len(INPUTS)
        self._changes, self._beats = [], []

    def start(self):
        cocotb.start_soon(self._run())

    async def _run(self):
        edge = RisingEdge(self._clock)
        cycle = 0
        while True:
            await edge
            for number, read in enumerate(self._inputs):
                bits = read()
                if bits != self._last[number]:
                    self._last[number] = bits
                    count, words = _words(bits)
                    self._changes.append(struct.pack("<IHH", cycle, number, count) + words)
            for number, (valid, ready, rest) in enumerate(self._outputs):
                if valid() == "1" == ready():
                    words = b"".join(_words(read())[1] for read in rest)
                    self._beats.append(struct.pack("<IHH", cycle, number, len(words) // 4) + words)
            cycle += 1

    def save(self, path, first, end):
        """Write the file; the window is [first, end)."""
        changes, beats = b"".join(self._changes), b"".join(self._beats)
        Path(path).write_bytes(struct.pack("<4I", first, end, len(changes), len(beats)) + changes + beats)
