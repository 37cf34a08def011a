"""The write engine: `hdl.dma.write`, with a register before each of its steps."""

from model.link import REQUEST

from .compiled import compiled
from .fifo import SLICE, drop, first, length, put, ready
from .host import DATA

__all__ = ["write_beats"]


@compiled
def write_beats(w, now):
    """A beat a cycle. A command is cut at Max_Payload_Size (`WriteSplit`), a request into beats (`WritePlan`), which
    take their bytes (`WriteAlign`) and leave by a register slice. What is given to a register is taken in the next
    cycle."""
    x = w.writer
    x.held = length(w.writes)
    if x.merged or x.plan or x.request or x.busy or x.held:
        _write(w, now)


@compiled
def _write(w, now):
    s, p, x = w.s, w.p, w.writer
    if x.merged and w.beats_held[0] < SLICE:
        row = put(w.sources[0])
        beat = w.sources[0].rows[row]
        beat[0], beat[1], beat[2], beat[3] = now + 1, x.merged_ends, DATA, REQUEST + 4 * -(-x.merged_bytes // 4)
        beat[4], beat[5], beat[6] = 0, x.merged_queue, x.merged_place
        x.merged = 0
    if x.plan and not x.merged:
        x.merged, x.merged_ends, x.merged_bytes = 1, x.plan_ends, x.plan_bytes
        x.merged_queue, x.merged_place = x.plan_queue, x.plan_place if x.plan_ends else -1
        x.plan = 0
        if x.merged_place >= 0:
            s.verdicts -= 1
    if x.request and not x.plan:
        x.request_left -= p.beat
        x.plan, x.plan_ends, x.plan_bytes = 1, x.request_left <= 0, x.request_bytes
        x.plan_queue, x.plan_place = x.request_queue, x.request_place
        x.request = not x.plan_ends
    if x.busy and not x.request:
        x.request, x.request_bytes = 1, min(p.max_payload, x.left)
        x.request_left = x.request_bytes
        x.left -= x.request_bytes
        x.busy = x.left > 0
        x.request_queue, x.request_place = x.queue, -1 if x.busy else x.place
    if not x.busy and ready(w.writes, now):
        row = first(w.writes)
        # Of a packet's last command its place.
        x.busy, x.left, x.queue = 1, int(w.writes.rows[row, 3]), int(w.writes.rows[row, 1])
        x.place = int(w.writes.rows[row, 2]) if w.writes.rows[row, 4] else -1
        drop(w.writes)
