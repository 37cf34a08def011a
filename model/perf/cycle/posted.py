"""Used descriptors and what the driver is told of doorbells, on one port: `hdl.virtqueue.posted`, and before it the
registers of `used_build` and `suppress`.
"""

from .compiled import compiled
from .fifo import SLICE, put

__all__ = ["PENDING", "ROW", "SWITCH", "merge_posted"]

ROW, PENDING, SWITCH = range(3)     # a direction's registers: what is offered of a run, and what follows; a switch


@compiled
def merge_posted(w, d, now):
    """Whole TLPs in turn. Returns whether the builder may read another row."""
    x, registers = w.mergers[d], w.registers[d]
    source = x.last
    if not x.held:
        for step in range(1, 3):
            candidate = SWITCH if (x.last == ROW) == (step == 1) else ROW
            if registers[candidate, 0]:
                source = candidate
                break
    if registers[source, 0]:
        taken = w.beats_held[1 + d] < SLICE
        x.last = source
        x.held = not (taken and registers[source, 1])
        if taken:
            row = put(w.sources[1 + d])
            beat = w.sources[1 + d].rows[row]
            beat[0] = now + 1
            for field in range(1, 7):
                beat[field] = registers[source, field]
            registers[source, 0] = 0
    if registers[ROW, 0]:
        return False
    for field in range(7):
        registers[ROW, field] = registers[PENDING, field]
    registers[PENDING, 0] = 0
    return True
