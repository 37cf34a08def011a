"""When what the RTL and `model.perf` are compared by happens, in cycles of the simulation.

What a card does at a loaded moment depends on how far its `ReadWindow` has counted since reset, so both begin at the
same cycle, later than any driver is ready.
"""

__all__ = ["BEGIN", "RESET", "TEACH"]

RESET = 4               # the card's first cycle out of reset
TEACH = 24_000          # a frame of each of several queues is sent, so that the card knows its flow
BEGIN = 32_000          # of the load
