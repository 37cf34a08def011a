"""Host and MAC compiled into the simulation, for runs in which they cost more than the card itself.

`CompiledEnvironment` stands in for `Environment`. What happens in every cycle and with every TLP (streams and their
checks, link, latencies, reads, ownership of memory, rules, counters) is done by a C++ library on VPI, which drives the
clock as well; it works alike under Verilator and Icarus. Python hears of what concerns the driver: frames on the wire,
completions and messages, writes to watched memory. The same seed gives the same cycles as with `Environment`, which
remains the reference; `testbench/unit/test_compiled.py` compares the two.

What tests do to streams and reads (stalls, faults, unasked completions) is only to be had from `Environment`.
"""

from testbench.bfm.compiled.environment import CompiledEnvironment

__all__ = ["CompiledEnvironment"]
